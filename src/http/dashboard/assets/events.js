// Search: a window at a time, however many events there are.
import { ask } from "./api.js";
import { badge, h, problem, table } from "./dom.js";
import { since, time } from "./format.js";

const FIELDS = [
  ["tenant", "Tenant"],
  ["type", "Type"],
  ["aggregate", "Aggregate (id or type)"],
  ["code", "Error code"],
  ["id", "Id or position"],
  ["since", "Since (2h, 30m, a time)"],
];

export function events(root, parameters) {
  const inputs = Object.fromEntries(FIELDS.map(([name]) => [name, h("input", { name, value: parameters.get(name) ?? "", autocomplete: "off", spellcheck: "false" })]));
  const status = h("select", { name: "status" }, ["any", "pending", "published", "failed", "discarded"].map((one) => h("option", { value: one, selected: one === (parameters.get("status") ?? "any") }, one)));
  const results = h("div", { "aria-live": "polite" });
  const submit = (event) => {
    event.preventDefault();
    const given = Object.entries({ status: status.value, ...values() }).filter(([, value]) => value && value !== "any");
    const query = new URLSearchParams(given).toString();
    const to = query ? `#/events?${query}` : "#/events";
    if (location.hash === to) run();
    else location.hash = to;
  };
  const values = () => Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input.value.trim()]));
  const form = h(
    "form",
    { class: "card filter", role: "search", onsubmit: submit },
    h("label", {}, "Status", status),
    FIELDS.map(([name, title]) => h("label", {}, title, inputs[name])),
    h("div", { class: "actions" }, h("button", { class: "action primary", type: "submit" }, "Search"), h("a", { class: "action", href: "#/events", role: "button" }, "Clear"), h("span", { class: "quiet" }, "Newest first; pending ones by tenant, in their order. Payloads are not shown here.")),
  );
  root.replaceChildren(h("div", { class: "head" }, h("h1", {}, "Events")), h("div", { class: "stack" }, form, h("section", { class: "card", "aria-label": "Events found" }, results)));

  async function run() {
    const { since: when, ...rest } = values();
    const parsed = when ? since(when) : {};
    if (!parsed) return results.replaceChildren(problem({ message: "since is an age or a time", remedy: "write 90m, 2h, 3d, or 2026-01-23T10:30:00Z" }));
    const list = h("div");
    results.replaceChildren(list);
    await page(list, { status: status.value, ...rest, ...parsed }, {}, []);
  }

  async function page(list, filter, cursor, before) {
    const waiting = h("p", { class: "quiet", role: "status" }, "Looking…");
    list.append(waiting);
    try {
      const answer = await ask("events", { ...filter, ...cursor });
      const all = [...before, ...answer.events];
      const next = answer.next && { before: answer.next.before, after: answer.next.after, after_tenant: answer.next.tenant };
      const more = next && h("button", { class: "action", type: "button", onclick: () => page(list, filter, next, all) }, answer.window_ended ? "Look further back" : "More");
      const said = answer.window_ended ? "There is more: a page looks at a part of it only." : "";
      list.replaceChildren(all.length ? found(all) : h("p", { class: "empty" }, answer.next ? "Nothing among these." : "No event matches."), h("div", { class: "actions" }, more, said && h("span", { class: "quiet" }, said)));
      if (before.length) list.querySelectorAll("tbody tr")[before.length]?.querySelector("a")?.focus();
    } catch (error) {
      waiting.remove();
      list.append(problem(error));
    }
  }

  run();
}

/** Events as a table; each leads to its own view. */
export function found(all) {
  const state = (event) => (event.error?.discarded ? "discarded" : event.status);
  return table(
    "Events",
    [
      { title: "Position", kind: "number", cell: (e) => h("a", { href: `#/events/${e.seq}` }, String(e.seq)) },
      { title: "Status", cell: (e) => badge(state(e)) },
      { title: "Tenant", kind: "word", cell: (e) => e.tenant_id },
      { title: "Type", kind: "word", cell: (e) => e.event_type },
      { title: "Aggregate", kind: "word", cell: (e) => `${e.aggregate_type} ${e.aggregate_id}` },
      { title: "Created (UTC)", kind: "time", cell: (e) => time(e.created_at) },
      { title: "Error", kind: "wide", cell: (e) => (e.error ? `${codeOf(e)} ${e.error.message ?? ""}` : null) },
    ],
    all,
    true,
  );
}

export function codeOf(event) {
  return [event.error?.code, event.error?.ablyErrorCode].filter(Boolean).join(" ");
}
