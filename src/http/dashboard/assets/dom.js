// Elements without HTML text: what comes from the outbox is never markup.

/** An element with attributes (`on…` are listeners) and children (text, elements, lists, nothing). */
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same for pictures. */
export function s(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children) {
    if (Array.isArray(child)) append(element, child);
    else if (child !== undefined && child !== null && child !== false) element.append(child);
  }
}

/** A table whose rows become cards on a phone. Columns: { title, cell, kind }. */
export function table(caption, columns, rows, open) {
  const head = columns.map((c) => h("th", { scope: "col", class: c.kind === "number" ? "number" : null }, c.title));
  const body = rows.map((row) =>
    h(
      "tr",
      { class: open ? "open-row" : null },
      columns.map((c) => h("td", { class: c.kind, "data-label": c.title }, c.cell(row))),
    ),
  );
  const all = h("table", { class: "rows" }, h("caption", { class: "visually-hidden" }, caption), h("thead", {}, h("tr", {}, head)), h("tbody", {}, body));
  return h("div", { class: "scroll" }, all);
}

/** What went wrong, and what to do. */
export function problem(error) {
  return h("p", { class: "problem", role: "alert" }, error.message, error.remedy && h("span", { class: "remedy" }, error.remedy));
}

/** A word that passes. */
export function toast(text) {
  document.querySelector(".toast")?.remove();
  const shown = h("div", { class: "toast", role: "status" }, text);
  document.body.append(shown);
  setTimeout(() => shown.remove(), 6000);
}

export function badge(status) {
  return h("span", { class: "badge", "data-status": status }, status);
}
