// The link box: recognises the source while typing, looks links up by itself, keeps one card for
// each line, and starts what is ready with Enter. Without this script the form posts the lines.
(() => {
  const modelyard = (window.modelyard ??= {});
  const TYPED_MS = 500;
  const PASTED_MS = 30;
  const MOST_LINKS = 20;
  const AT_ONCE = 3;

  const form = document.getElementById("linkbox");
  const box = document.getElementById("link");
  const cards = document.getElementById("cards");
  if (!form || !box || !cards) return;

  let timer = 0;
  let asking = 0;
  const waiting = [];

  const SOURCES = { civitai: "CivitAI", huggingface: "HuggingFace", direct: "the server" };

  function sourceOf(line) {
    const text = line.trim();
    if (/^urn:air:[^:]*:[^:]*:civitai:/i.test(text) || /^civitai:/i.test(text)) return "civitai";
    if (/^urn:air:[^:]*:[^:]*:huggingface:/i.test(text) || /^(hf|huggingface):/i.test(text)) return "huggingface";
    const host = /^(?:https?:\/\/)?([^/\s:]+\.[a-z]{2,})(?:[:/?#]|$)/i.exec(text)?.[1]?.toLowerCase() ?? "";
    if (/(^|\.)(civitai\.(com|red|green)|civarchive\.com|civitaiarchive\.com)$/.test(host)) return "civitai";
    if (/(^|\.)(huggingface\.co|hf\.co|hf-mirror\.com)$/.test(host)) return "huggingface";
    if (/^https?:\/\/\S+\/\S*/i.test(text)) return "direct";
    return "none";
  }

  function lines() {
    const all = box.value.split(/\r?\n/).map((line) => line.trim()).filter(Boolean);
    return [...new Set(all)].slice(0, MOST_LINKS);
  }

  function cardFor(link) {
    return [...cards.querySelectorAll(".card")].find((card) => card.dataset.link === link);
  }

  function showSource() {
    const found = [...new Set(lines().map(sourceOf))];
    const source = found.length === 1 ? found[0] : "none";
    for (const mark of document.querySelectorAll("#link-source [data-source]")) {
      mark.hidden = mark.dataset.source !== source;
    }
    document.getElementById("link-source").dataset.is = source;
    box.rows = Math.min(8, Math.max(1, box.value.split("\n").length));
  }

  function countCards() {
    const all = cards.querySelectorAll(".card");
    const ready = cards.querySelectorAll(".card.is-ready [data-start]");
    document.getElementById("cards-head").hidden = all.length < 2;
    document.getElementById("cards-count").textContent =
      `${all.length} links, ${ready.length} ready`;
    document.getElementById("cards-start").disabled = ready.length === 0;
  }

  function skeleton(link) {
    const card = document.createElement("article");
    card.className = "card panel is-loading";
    card.dataset.link = link;
    card.setAttribute("aria-busy", "true");
    const picture = document.createElement("div");
    picture.className = "card-picture is-empty";
    const main = document.createElement("div");
    main.className = "card-main";
    const text = document.createElement("p");
    text.className = "muted";
    text.textContent = `Asking ${SOURCES[sourceOf(link)] ?? "the source"}…`;
    const name = document.createElement("p");
    name.className = "mono small loading-link";
    name.textContent = link;
    const lineA = document.createElement("div");
    lineA.className = "bone";
    const lineB = document.createElement("div");
    lineB.className = "bone short";
    main.append(text, name, lineA, lineB);
    card.append(picture, main);
    return card;
  }

  function pump() {
    while (asking < AT_ONCE && waiting.length) {
      const card = waiting.shift();
      if (!card.isConnected) continue;
      asking += 1;
      const values = {
        url: card.dataset.link,
        csrfmiddlewaretoken: form.querySelector("[name=csrfmiddlewaretoken]").value,
      };
      window.htmx
        .ajax("POST", cards.dataset.resolve, { source: card, target: card, swap: "outerHTML", values })
        .catch(() => undefined)
        .finally(() => {
          asking -= 1;
          if (card.isConnected && card.classList.contains("is-loading")) fail(card);
          countCards();
          pump();
        });
    }
  }

  function fail(card) {
    card.classList.remove("is-loading");
    card.removeAttribute("aria-busy");
    for (const bone of card.querySelectorAll(".bone")) bone.remove();
    card.querySelector("p").textContent = "Modelyard did not answer. Press Enter in the box to ask again.";
    card.dataset.failed = "yes";
  }

  // By itself only what looks like a link is asked for; Enter asks for every line.
  function lookUp({ byItself = false } = {}) {
    clearTimeout(timer);
    const wanted = lines();
    for (const card of cards.querySelectorAll(".card")) {
      if (!wanted.includes(card.dataset.link) || card.dataset.failed) card.remove();
    }
    for (const link of wanted) {
      if (cardFor(link) || (byItself && sourceOf(link) === "none")) continue;
      const card = skeleton(link);
      cards.append(card);
      waiting.push(card);
    }
    countCards();
    pump();
  }

  function later(ms) {
    clearTimeout(timer);
    timer = setTimeout(() => lookUp({ byItself: true }), ms);
  }

  function setLinks(links) {
    box.value = links.join("\n");
    showSource();
    lookUp();
  }

  function drop(link) {
    const left = box.value.split(/\r?\n/).filter((line) => line.trim() !== link);
    box.value = left.join("\n").trim();
    showSource();
    countCards();
  }

  box.addEventListener("input", (event) => {
    showSource();
    later(event.inputType === "insertFromPaste" || event.inputType === "insertFromDrop" ? PASTED_MS : TYPED_MS);
  });

  box.addEventListener("keydown", (event) => {
    if (event.key === "Escape") box.blur();
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    const wanted = lines();
    if (wanted.length === 0) return;
    if (wanted.every((link) => cardFor(link)?.classList.contains("is-ready"))) startAll();
    else lookUp();
  });

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    lookUp();
  });

  // A link dropped anywhere on the page goes into the box.
  document.addEventListener("dragover", (event) => {
    if ([...event.dataTransfer.types].some((type) => type === "text/uri-list" || type === "text/plain")) {
      event.preventDefault();
      form.classList.add("is-target");
    }
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) form.classList.remove("is-target");
  });
  document.addEventListener("drop", (event) => {
    form.classList.remove("is-target");
    const text = event.dataTransfer.getData("text/uri-list") || event.dataTransfer.getData("text/plain");
    const links = text.split(/\r?\n/).filter((line) => line.trim() && !line.startsWith("#"));
    if (!links.length) return;
    event.preventDefault();
    setLinks([...lines(), ...links]);
    box.focus();
  });

  function startAll() {
    for (const button of cards.querySelectorAll(".card.is-ready [data-start]")) button.click();
  }

  document.getElementById("cards-start").addEventListener("click", startAll);
  document.getElementById("cards-clear").addEventListener("click", () => {
    setLinks([]);
    box.focus();
  });

  cards.addEventListener("click", (event) => {
    const card = event.target.closest(".card");
    if (!card) return;
    if (event.target.closest("[data-card-close]")) {
      const link = card.dataset.link;
      card.remove();
      drop(link);
      box.focus();
      return;
    }
    const version = event.target.closest("[data-version]");
    if (!version) return;
    const old = card.dataset.link;
    const replaced = lines().map((line) => (line === old ? version.dataset.version : line));
    setLinks(replaced.length ? replaced : [version.dataset.version]);
  });

  // The server says that a row was made: its card has gone, and so does its line.
  document.body.addEventListener("queue-changed", (event) => {
    const gone = lines().filter((link) => !cardFor(link));
    const card = event.target.closest?.(".card");
    for (const link of card ? [card.dataset.link, ...gone] : gone) drop(link);
    modelyard.announce(`${event.detail?.name ?? "The download"} is on its way.`);
    if (!cards.querySelector(".card")) box.focus();
  });

  document.addEventListener("htmx:afterSwap", countCards);

  document.addEventListener("click", (event) => {
    const example = event.target.closest("[data-example]");
    if (!example) return;
    event.preventDefault();
    setLinks([example.dataset.example]);
    box.focus();
  });

  showSource();
  if (box.value.trim() && !cards.querySelector(".card")) lookUp();
  box.focus({ preventScroll: true });
  countCards();
})();
