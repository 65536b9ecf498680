// Make a tree look like another one while keeping its nodes: focus, open menus, selected boxes and
// scroll positions stay. Elements are the same when their name and id agree, or, without an id,
// their name and first class. Blank text counts for nothing.
// A new node with `data-keep` stands for "as it is": the old one of that id stays untouched.
(() => {
  const modelyard = (window.modelyard ??= {});

  function isBlank(node) {
    return node.nodeType === Node.COMMENT_NODE || (node.nodeType === Node.TEXT_NODE && !node.nodeValue.trim());
  }

  function signature(node) {
    if (node.nodeType !== Node.ELEMENT_NODE) return node.nodeName;
    return node.id ? `${node.nodeName}#${node.id}` : `${node.nodeName}.${node.classList[0] ?? ""}`;
  }

  function nextReal(node) {
    let probe = node;
    while (probe && isBlank(probe)) probe = probe.nextSibling;
    return probe;
  }

  function isBusy(element) {
    return element.matches(":popover-open, dialog[open]");
  }

  function copyAttributes(from, to) {
    const isDetails = from.nodeName === "DETAILS";
    for (const { name, value } of [...to.attributes]) {
      if (isDetails && name === "open") continue;
      if (from.getAttribute(name) !== value) from.setAttribute(name, value);
    }
    for (const { name } of [...from.attributes]) {
      if (to.hasAttribute(name) || (isDetails && name === "open")) continue;
      from.removeAttribute(name);
    }
  }

  function morphElement(from, to, added) {
    if (to.hasAttribute("data-keep") || isBusy(from)) return;
    copyAttributes(from, to);
    morphChildren(from, to, added);
  }

  function ahead(cursor, wanted) {
    for (let probe = cursor; probe; probe = nextReal(probe.nextSibling)) {
      if (signature(probe) === wanted) return probe;
    }
    return null;
  }

  function morphChildren(from, to, added) {
    const children = [...to.childNodes].filter((node) => !isBlank(node));
    const open = new Map(); // How many of each kind are still to be placed.
    for (const child of children) {
      const kind = signature(child);
      open.set(kind, (open.get(kind) ?? 0) + 1);
    }
    let cursor = nextReal(from.firstChild);
    for (const wanted of children) {
      const kind = signature(wanted);
      while (cursor && !open.get(signature(cursor))) {
        const gone = cursor;
        cursor = nextReal(cursor.nextSibling);
        gone.remove();
      }
      const found = ahead(cursor, kind);
      open.set(kind, open.get(kind) - 1);
      if (!found) {
        const node = document.importNode(wanted, true);
        node.removeAttribute?.("data-keep");
        from.insertBefore(node, cursor);
        if (node.nodeType === Node.ELEMENT_NODE) added.push(node);
        continue;
      }
      if (found === cursor) cursor = nextReal(cursor.nextSibling);
      else from.insertBefore(found, cursor);
      if (found.nodeType === Node.ELEMENT_NODE) morphElement(found, wanted, added);
      else if (found.nodeValue !== wanted.nodeValue) found.nodeValue = wanted.nodeValue;
    }
    while (cursor) {
      const gone = cursor;
      cursor = nextReal(cursor.nextSibling);
      gone.remove();
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
