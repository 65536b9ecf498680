// The queue: asks once a second while something moves, keeps rows where they are while the pointer
// is among them, draws the speed, says what finished, and listens to the keyboard.
(() => {
  const modelyard = (window.modelyard ??= {});
  const SPARK_MS = 120_000;
  const POINTER_RESTS_MS = 2500;
  const SLOWEST_MS = 15_000;

  const queue = document.getElementById("queue");
  const form = document.getElementById("queue-form");
  const offline = document.getElementById("offline");
  if (!queue || !form) return;

  const unfolded = new Set([...form.querySelectorAll("[name=open]")].map((input) => input.value));
  const whole = new URLSearchParams(location.search).get("show") ?? "";
  let timer = 0;
  let failures = 0;
  let turn = 0; // Answers to questions asked before the last command are thrown away.
  let pointerMoved = -Infinity;
  let deferred = false;
  let stamp = queue.dataset.stamp;

  // --- Swapping ---------------------------------------------------------------------------------

  function statuses() {
    return new Map([...queue.querySelectorAll(".row")].map((row) => [row.id, row.dataset.status]));
  }

  function pointerIsHere() {
    return queue.matches(":hover") && performance.now() - pointerMoved < POINTER_RESTS_MS;
  }

  function applyQueue(wanted) {
    const before = statuses();
    const keepOrder =
      pointerIsHere() && before.size > 0 && !modelyard.sameOrder(queue, wanted, "[id^=row-], .group");
    let added;
    if (keepOrder) {
      added = modelyard.morphRows(queue, wanted, ".row, .summary");
      queue.dataset.speed = wanted.dataset.speed;
    } else {
      added = modelyard.morph(queue, wanted);
      stamp = wanted.dataset.stamp;
    }
    deferred = keepOrder;
    queue.dataset.next = wanted.dataset.next;
    sayChanges(before);
    if (queue.querySelector("li[id^=row-]:empty")) {
      stamp = "";
      schedule(50);
    }
    countSelected();
    return added;
  }

  window.htmx.defineExtension("morph", {
    isInlineSwap: (style) => style === "morph",
    handleSwap: (style, target, fragment) => {
      if (style !== "morph") return false;
      const wanted = fragment.firstElementChild ?? fragment;
      return target.id === "queue" ? applyQueue(wanted) : modelyard.morph(target, wanted);
    },
  });

  function sayChanges(before) {
    const said = [];
    for (const row of queue.querySelectorAll(".rows > .row")) {
      const { status, name, say } = row.dataset;
      if (before.get(row.id) === status || !["completed", "failed", "review"].includes(status)) continue;
      said.push(`${name}: ${say}`);
    }
    if (said.length && before.size) modelyard.announce(said.join(". "));
  }

  // --- Asking -----------------------------------------------------------------------------------

  function schedule(ms) {
    clearTimeout(timer);
    timer = 0;
    if (ms > 0 && !document.hidden) timer = setTimeout(ask, ms);
  }

  function next() {
    record(Number(queue.dataset.speed));
    const wanted = Number(queue.dataset.next);
    schedule(deferred && !wanted ? 1000 : wanted);
  }

  function answered(isGood) {
    if (isGood) {
      failures = 0;
      offline.hidden = true;
      next();
      return;
    }
    failures += 1;
    offline.hidden = false;
    schedule(Math.min(SLOWEST_MS, 1000 * 2 ** Math.min(failures, 5)));
  }

  // One question to the server, from an element of its own so that its events are told apart.
  function send(verb, url, values) {
    if (verb !== "GET") turn += 1;
    const mine = turn;
    clearTimeout(timer);
    const source = document.createElement("div");
    source.hidden = true;
    document.body.append(source);
    let request = null;
    source.addEventListener("htmx:beforeOnLoad", (event) => (request = event.detail.xhr));
    const isCurrent = () => verb !== "GET" || mine === turn;
    const isGood = () => request !== null && request.status < 500;
    const guard = (event) => {
      if (event.detail.xhr === request && !(isCurrent() && isGood())) event.detail.shouldSwap = false;
    };
    queue.addEventListener("htmx:beforeSwap", guard);
    return window.htmx
      .ajax(verb, url, { source, target: queue, swap: "morph", values })
      .catch(() => undefined)
      .finally(() => {
        queue.removeEventListener("htmx:beforeSwap", guard);
        source.remove();
        if (isCurrent()) answered(isGood());
      });
  }

  function ask() {
    const values = { open: [...unfolded] };
    if (stamp) values.since = stamp;
    if (whole) values.show = whole;
    return send("GET", queue.dataset.url, values);
  }

  function valuesOf(source, submitter) {
    const values = {};
    for (const [name, value] of new FormData(source, submitter)) {
      if (name in values) values[name] = [].concat(values[name], value);
      else values[name] = value;
    }
    values.open = [...unfolded];
    if (whole) values.show = whole;
    return values;
  }

  document.addEventListener("submit", (event) => {
    const source = event.target;
    const isPopup = source.matches("[data-queue-form]");
    if (source !== form && !isPopup) return;
    event.preventDefault();
    const button = event.submitter;
    const url = button?.getAttribute("formaction") || source.getAttribute("action");
    button?.setAttribute("disabled", "");
    send("POST", url, valuesOf(source, button)).then(() => {
      button?.removeAttribute("disabled");
      if (isPopup) closePopup(source);
    });
  });

  function closePopup(source) {
    const notice = queue.querySelector(".queue-notice");
    const popup = source.closest("[popover]");
    if (!popup || !notice) {
      popup?.hidePopover?.();
      return;
    }
    let text = source.querySelector(".error-text");
    if (!text) {
      text = document.createElement("p");
      text.className = "error-text";
      text.setAttribute("role", "alert");
      source.querySelector(".notice-actions").before(text);
    }
    text.textContent = notice.textContent;
  }

  document.body.addEventListener("queue-changed", () => ask());
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) clearTimeout(timer);
    else ask();
  });
  window.addEventListener("focus", () => timer || ask());
  window.addEventListener("online", () => ask());
  queue.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse") pointerMoved = performance.now();
  });
  queue.addEventListener("pointerleave", () => {
    pointerMoved = -Infinity;
    if (deferred) schedule(1);
  });

  queue.addEventListener("click", (event) => {
    const fold = event.target.closest("[data-unfold]");
    if (!fold) return;
    event.preventDefault();
    const pk = fold.dataset.unfold;
    if (!unfolded.delete(pk)) unfolded.add(pk);
    pointerMoved = -Infinity;
    stamp = "";
    ask();
  });

  // --- Groups stay as they were folded ------------------------------------------------------------

  const FOLDED = "modelyard.folded";
  const folded = new Set(JSON.parse(sessionStorage.getItem(FOLDED) ?? "[]"));
  for (const group of queue.querySelectorAll(".group")) if (folded.has(group.id)) group.open = false;
  queue.addEventListener(
    "toggle",
    (event) => {
      if (!event.target.matches(".group")) return;
      if (event.target.open) folded.delete(event.target.id);
      else folded.add(event.target.id);
      sessionStorage.setItem(FOLDED, JSON.stringify([...folded]));
    },
    true,
  );

  // --- The speed of the last two minutes ----------------------------------------------------------

  const SPEEDS = "modelyard.speeds";
  let speeds = JSON.parse(sessionStorage.getItem(SPEEDS) ?? "[]");

  function record(speed) {
    const now = Date.now();
    speeds = speeds.filter(([at]) => now - at < SPARK_MS);
    speeds.push([now, speed]);
    sessionStorage.setItem(SPEEDS, JSON.stringify(speeds));
    draw(now);
    const shown = document.getElementById("speed")?.textContent.trim();
    document.title = speed > 0 ? `${shown} · Downloads · Modelyard` : "Downloads · Modelyard";
  }

  function draw(now) {
    const spark = document.getElementById("spark");
    if (!spark) return;
    const [width, height] = [240, 32];
    const most = Math.max(1, ...speeds.map(([, speed]) => speed));
    const points = speeds.map(([at, speed]) => {
      const x = width - ((now - at) / SPARK_MS) * width;
      const y = height - 2 - (speed / most) * (height - 4);
      return `${x.toFixed(1)} ${y.toFixed(1)}`;
    });
    const line = `M${points.join("L")}`;
    spark.querySelector(".spark-line").setAttribute("d", line);
    const first = points[0].split(" ")[0];
    spark.querySelector(".spark-area").setAttribute("d", `${line}L${width} ${height}L${first} ${height}Z`);
  }

  // --- Selection and keys -------------------------------------------------------------------------

  function countSelected() {
    const count = document.getElementById("selection-count");
    if (count) count.textContent = String(queue.querySelectorAll("[name=ids]:checked").length);
  }

  queue.addEventListener("change", countSelected);

  function rows() {
    return [...queue.querySelectorAll(".rows .row")].filter((row) => row.offsetParent !== null);
  }

  function current() {
    const row = document.activeElement?.closest?.(".row");
    return row && queue.contains(row) ? row : null;
  }

  function step(by) {
    const all = rows();
    if (!all.length) return;
    const here = all.indexOf(current());
    const there = here < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, here + by));
    all[there].focus({ preventScroll: true });
    all[there].scrollIntoView({ block: "nearest" });
  }

  function press(row, selectors) {
    const button = row && [...row.querySelectorAll(selectors)].find((item) => item.closest(".row") === row);
    button?.click();
    return Boolean(button);
  }

  const keys = {
    "/": () => document.getElementById("link")?.focus(),
    "?": () => document.getElementById("help")?.showModal(),
    j: () => step(1),
    k: () => step(-1),
    " ": () => press(current(), ".act-pause, .act-resume"),
    r: () => press(current(), ".next[formaction$='/retry'], .act-retry, .act-now, [formaction$='/retry']"),
    x: () => {
      const box = current()?.querySelector("[name=ids]");
      if (box) box.click();
    },
    Escape: () => {
      for (const box of queue.querySelectorAll("[name=ids]:checked")) box.checked = false;
      countSelected();
    },
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (document.querySelector("dialog[open], :popover-open")) return;
    const target = event.target;
    if (target.matches("input:not([type=checkbox]), textarea, select, [contenteditable]")) return;
    if (event.key === " " && !target.matches(".row")) return;
    const action = keys[event.key];
    if (!action) return;
    if (event.key !== "Escape") event.preventDefault();
    action();
  });

  countSelected();
  next();
})();
