// Make a tree look like another one while keeping its nodes: focus, open menus, selected boxes and
// scroll positions stay. Children with an id are matched by it, the others by their place and tag.
// A new node with `data-keep` stands for "as it is": the old one of that id stays untouched.
(() => {
  const modelyard = (window.modelyard ??= {});

  function matches(a, b) {
    return a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id || "") === (b.id || "");
  }

  function isBusy(element) {
    return element.matches(":popover-open, dialog[open]");
  }

  function copyAttributes(from, to) {
    for (const { name, value } of [...to.attributes]) {
      if (name === "open" && to.nodeName === "DETAILS") continue;
      if (from.getAttribute(name) !== value) from.setAttribute(name, value);
    }
    for (const { name } of [...from.attributes]) {
      if (to.hasAttribute(name)) continue;
      if (name === "open" || name === "data-active" || (name === "class" && !from.className)) continue;
      from.removeAttribute(name);
    }
  }

  function morphElement(from, to, added) {
    if (to.hasAttribute("data-keep") || isBusy(from)) return;
    copyAttributes(from, to);
    morphChildren(from, to, added);
  }

  function morphChildren(from, to, added) {
    const byId = new Map();
    for (const child of from.children) if (child.id) byId.set(child.id, child);
    let cursor = from.firstChild;
    for (const wanted of [...to.childNodes]) {
      let found = null;
      if (wanted.id && byId.has(wanted.id) && byId.get(wanted.id).nodeName === wanted.nodeName) {
        found = byId.get(wanted.id);
      } else if (!wanted.id) {
        let probe = cursor;
        for (let steps = 0; probe && steps < 4; steps += 1, probe = probe.nextSibling) {
          if (matches(probe, wanted)) {
            found = probe;
            break;
          }
        }
      }
      if (found === null) {
        const node = document.importNode(wanted, true);
        node.removeAttribute?.("data-keep");
        from.insertBefore(node, cursor);
        if (node.nodeType === Node.ELEMENT_NODE) added.push(node);
        continue;
      }
      if (found === cursor) cursor = cursor.nextSibling;
      else from.insertBefore(found, cursor);
      if (found.nodeType === Node.ELEMENT_NODE) morphElement(found, wanted, added);
      else if (found.nodeValue !== wanted.nodeValue) found.nodeValue = wanted.nodeValue;
    }
    while (cursor) {
      const next = cursor.nextSibling;
      cursor.remove();
      cursor = next;
    }
  }

  function keepingFocus(work) {
    const active = document.activeElement;
    work();
    if (active && active !== document.activeElement && document.contains(active)) {
      active.focus({ preventScroll: true });
    }
  }

  // Everything: order, new rows, rows that left.
  modelyard.morph = (from, to) => {
    const added = [];
    keepingFocus(() => morphElement(from, to, added));
    return added;
  };

  // Only what stands in rows that are on both sides; no row moves, comes or goes.
  modelyard.morphRows = (from, to, selector) => {
    const added = [];
    keepingFocus(() => {
      for (const wanted of to.querySelectorAll(selector)) {
        const row = wanted.id && document.getElementById(wanted.id);
        if (row && from.contains(row)) morphElement(row, wanted, added);
      }
    });
    return added;
  };

  modelyard.sameOrder = (from, to, selector) => {
    const ids = (root) => [...root.querySelectorAll(selector)].map((row) => row.id).join();
    return ids(from) === ids(to);
  };
})();
