// Questions that must be answered before anything goes on.
import { h } from "./dom.js";

/** Opens a dialog; `build(close)` gives what is in it. Resolves with what `close` was called with. */
export function open(title, build) {
  return new Promise((resolve) => {
    const before = document.activeElement;
    let answer;
    const dialog = h("dialog", { "aria-labelledby": "dialog-title" });
    const close = (value) => {
      answer = value;
      dialog.close();
    };
    dialog.append(h("h2", { id: "dialog-title" }, title), build(close));
    dialog.addEventListener("close", () => {
      dialog.remove();
      before?.focus?.();
      resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Asks for a yes and a reason. Resolves with `{ reason }`, or undefined for a no. */
export function confirm(title, { says, yes, danger, reasonNeeded, extra = [], fields = () => ({}) }) {
  return open(title, (close) => {
    const reason = h("input", { name: "reason", maxlength: "500", required: reasonNeeded, autocomplete: "off" });
    return h(
      "form",
      {
        method: "dialog",
        onsubmit: (event) => {
          event.preventDefault();
          close({ reason: reason.value.trim() || undefined, ...fields() });
        },
      },
      says,
      extra,
      h("label", {}, reasonNeeded ? "Why (kept with the event and in the audit log)" : "Why (optional, for the audit log)", reason),
      h(
        "div",
        { class: "actions" },
        h("button", { type: "button", class: "action", onclick: () => close(undefined) }, "Cancel"),
        h("button", { type: "submit", class: danger ? "action danger" : "action primary" }, yes),
      ),
    );
  });
}
