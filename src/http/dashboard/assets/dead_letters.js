// Failed events about which nobody has decided, by reason; looked at before anything is done.
import { ask, mayAct, order } from "./api.js";
import { confirm } from "./dialog.js";
import { h, problem, toast } from "./dom.js";
import { found } from "./events.js";
import { count, plural, time } from "./format.js";

/** Between two requests of an order: 500 events a second, as the command does. */
const PACE_MS = 1000;

export async function deadLetters(root) {
  const list = h("div", { class: "stack" }, h("p", { class: "quiet", role: "status" }, "Looking…"));
  root.replaceChildren(h("div", { class: "head" }, h("h1", {}, "Dead letters"), h("span", { class: "note", id: "dead-total" })), list);
  const load = async () => {
    try {
      const answer = await ask("dead-letters");
      root.querySelector("#dead-total").textContent = `${plural(answer.events, "event", answer.more)} wait for a decision`;
      list.replaceChildren(...(answer.groups.length ? answer.groups.map((group) => card(group, load)) : [h("section", { class: "card" }, h("p", { class: "empty" }, "No failed event waits for a decision."))]));
      if (answer.more) list.append(h("p", { class: "quiet" }, "Grouped are the first 20,000."));
    } catch (error) {
      list.replaceChildren(problem(error));
    }
  };
  await load();
}

function card(group, load) {
  const result = h("div", { class: "stack", "aria-live": "polite" });
  const filter = { code: group.code };
  const decide = async (path, past, options) => {
    let looked;
    try {
      looked = await order(path, { filter, dryRun: true });
    } catch (error) {
      return result.replaceChildren(problem(error));
    }
    const what = `${plural(looked.events, "event", looked.more)} of ${plural(looked.tenants, "tenant")}`;
    const answer = await confirm(`${options.yes} ${what}?`, { ...options, says: h("p", {}, options.text) });
    if (answer) await carryOut(path, past, { filter, reason: answer.reason }, result, load);
  };
  const dryRun = async () => {
    try {
      const looked = await order("requeue", { filter, dryRun: true });
      result.replaceChildren(h("p", {}, `A requeue would take ${plural(looked.events, "event", looked.more)} of ${plural(looked.tenants, "tenant")}. The first are:`), found(looked.sample));
    } catch (error) {
      result.replaceChildren(problem(error));
    }
  };
  const requeue = () => decide("requeue", "requeued", { yes: "Requeue", text: "They are published once more, in order within a tenant, under new message ids. At most 500 a second." });
  const discard = () => decide("discard", "discarded", { yes: "Discard", danger: true, reasonNeeded: true, text: "They stay in the outbox as failed and are never published." });
  return h(
    "section",
    { class: "card stack", "aria-label": `Failures with code ${group.code}`, "data-code": group.code },
    h("div", { class: "card-head" }, h("h2", { class: "mono" }, group.code), group.kind !== group.code && h("span", { class: "note" }, group.kind), h("span", { class: "spacer" }), h("strong", {}, count(group.events)), h("span", { class: "note" }, `events, ${plural(group.tenants, "tenant")}, ${plural(group.types, "type")}`)),
    h("p", {}, group.message ?? "no message"),
    h("p", { class: "quiet" }, `Written ${time(group.oldest)} to ${time(group.newest)} UTC.`),
    h(
      "div",
      { class: "actions" },
      mayAct() && h("button", { class: "action", type: "button", onclick: dryRun }, "Dry run"),
      mayAct() && h("button", { class: "action primary", type: "button", onclick: requeue }, "Requeue all…"),
      mayAct() && h("button", { class: "action danger", type: "button", onclick: discard }, "Discard all…"),
      h("a", { href: `#/events?status=failed&code=${encodeURIComponent(group.code)}` }, "Show events"),
      !mayAct() && h("span", { class: "quiet" }, "read-only: `outbox-relay events requeue` decides"),
    ),
    result,
  );
}

/** Request after request, until nothing is left. */
async function carryOut(path, past, body, result, load) {
  let [changed, next] = [0, {}];
  const blocked = new Set();
  try {
    while (next) {
      const done = await order(path, { ...body, ...next });
      changed += done.changed;
      done.stillBlocked.forEach((tenant) => blocked.add(tenant));
      next = done.next;
      result.replaceChildren(h("p", { role: "status" }, `${count(changed)} ${past} so far…`));
      if (next) await new Promise((resolve) => setTimeout(resolve, PACE_MS));
    }
    const waits = blocked.size ? ` Still blocked: ${[...blocked].slice(0, 5).join(", ")}.` : "";
    toast(`${plural(changed, "event")} ${past}.${waits}`);
    await load();
  } catch (error) {
    result.replaceChildren(h("p", {}, `${plural(changed, "event")} ${past} before this:`), problem(error));
  }
}
