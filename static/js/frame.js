// What every page has: the theme switch, menus, dialogs, copying, leaving out what needs a script.
(() => {
  const modelyard = (window.modelyard ??= {});
  const root = document.documentElement;
  root.classList.add("has-js");

  modelyard.announce = (text) => {
    const region = document.getElementById("announce");
    if (region) region.textContent = text;
  };

  // The theme: shown at once, kept in the cookie that the server reads.
  function isDark() {
    const chosen = root.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }

  document.addEventListener("submit", (event) => {
    if (event.target.id !== "theme-form") return;
    event.preventDefault();
    const theme = isDark() ? "light" : "dark";
    root.dataset.theme = theme;
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `theme=${theme}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
  });

  // A question before something that cannot be undone.
  modelyard.ask = (question) => {
    const dialog = document.createElement("dialog");
    dialog.className = "ask";
    dialog.setAttribute("aria-label", question);
    const text = document.createElement("p");
    text.textContent = question;
    const buttons = document.createElement("div");
    buttons.className = "notice-actions";
    const yes = document.createElement("button");
    yes.className = "button danger";
    yes.textContent = "Yes, do it";
    const no = document.createElement("button");
    no.className = "button";
    no.textContent = "No";
    buttons.append(yes, no);
    dialog.append(text, buttons);
    document.body.append(dialog);
    dialog.showModal();
    no.focus();
    return new Promise((resolve) => {
      yes.addEventListener("click", () => dialog.close("yes"));
      no.addEventListener("click", () => dialog.close(""));
      dialog.addEventListener("close", () => {
        resolve(dialog.returnValue === "yes");
        dialog.remove();
      });
    });
  };

  document.addEventListener(
    "click",
    (event) => {
      const button = event.target.closest("[data-confirm]");
      if (!button || button.dataset.agreed) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      modelyard.ask(button.dataset.confirm).then((agreed) => {
        if (!agreed) {
          button.focus();
          return;
        }
        button.dataset.agreed = "yes";
        button.click();
        delete button.dataset.agreed;
      });
    },
    true,
  );

  document.addEventListener("click", async (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      const inside = menu.contains(event.target);
      if (!inside || event.target.closest(".menu-items a, .menu-items button")) menu.open = false;
    }
    const opener = event.target.closest("[data-dialog]");
    if (opener) document.getElementById(opener.dataset.dialog)?.showModal();
    if (event.target.closest("[data-close]")) event.target.closest("dialog")?.close();
    if (event.target.closest("[data-reveal]")) {
      event.target.closest(".mature")?.classList.remove("mature");
      event.target.closest("[data-reveal]").remove();
    }
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      await navigator.clipboard.writeText(copy.dataset.copy);
      copy.classList.add("is-copied");
      setTimeout(() => copy.classList.remove("is-copied"), 1500);
      modelyard.announce("Copied");
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });

  // A menu near the lower edge opens upwards.
  document.addEventListener(
    "toggle",
    (event) => {
      const menu = event.target;
      if (!menu.matches?.("details.menu") || !menu.open) return;
      for (const other of document.querySelectorAll("details.menu[open]")) {
        if (other !== menu) other.open = false;
      }
      menu.classList.remove("upwards");
      const items = menu.querySelector(".menu-items").getBoundingClientRect();
      const floor = document.querySelector(".rail")?.getBoundingClientRect();
      const bottom = floor && floor.top > 0 ? floor.top : innerHeight;
      if (items.bottom > bottom && items.height < menu.getBoundingClientRect().top) {
        menu.classList.add("upwards");
      }
    },
    true,
  );

  // An answer that is not ours (a proxy's error page) must not end up inside the page.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const type = event.detail.xhr.getResponseHeader("Content-Type") || "";
    if (!type.startsWith("text/html")) event.detail.shouldSwap = false;
  });
})();
