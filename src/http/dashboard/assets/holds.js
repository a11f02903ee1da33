// Who waits and why, and what an operator has paused.
import { ask, mayAct, order } from "./api.js";
import { confirm } from "./dialog.js";
import { badge, h, problem, table, toast } from "./dom.js";
import { count, since, time } from "./format.js";

export async function holds(root) {
  const pauses = h("section", { class: "card" });
  const list = h("section", { class: "card" });
  root.replaceChildren(h("div", { class: "head" }, h("h1", {}, "Holds and pauses"), h("span", { class: "note" }, "Writers go on; their events wait.")), h("div", { class: "stack" }, pauses, list));
  const load = async () => {
    try {
      const answer = await ask("holds");
      pauses.replaceChildren(...paused(answer.pauses, load));
      list.replaceChildren(...held(answer, answer.holds, load));
    } catch (error) {
      list.replaceChildren(problem(error));
    }
  };
  await load();
}

async function carryOut(path, body, done, load) {
  try {
    const answer = await order(path, body);
    toast(answer.changed ? done : "Nothing was changed: somebody else was faster.");
  } catch (error) {
    toast(`${error.message}. ${error.remedy ?? ""}`);
  }
  await load();
}

const kindOf = (pause) => pause.paused ?? pause.scope;
const scopeOf = (pause) => (kindOf(pause) === "all" ? "everything" : `${kindOf(pause)} ${pause.target}`);

function paused(all, load) {
  const resume = async (pause) => {
    const answer = await confirm(`Resume ${scopeOf(pause)}?`, { says: h("p", {}, "What has waited is published at once, in order."), yes: "Resume" });
    if (answer) await carryOut("resume", { scope: kindOf(pause), target: pause.target, reason: answer.reason }, `Resumed ${scopeOf(pause)}.`, load);
  };
  const columns = [
    { title: "What", kind: "word", cell: (p) => h("strong", {}, scopeOf(p)) },
    { title: "Since (UTC)", kind: "time", cell: (p) => time(p.since) },
    { title: "Until (UTC)", kind: "time", cell: (p) => (p.until ? time(p.until) : "resumed by somebody") },
    { title: "By", kind: "word", cell: (p) => p.actor },
    { title: "Why", kind: "wide", cell: (p) => p.reason },
    { title: "", cell: (p) => mayAct() && h("button", { class: "action", type: "button", onclick: () => resume(p) }, "Resume…") },
  ];
  const head = h("div", { class: "card-head" }, h("h2", {}, "Paused by an operator"), h("span", { class: "spacer" }), mayAct() && h("button", { class: "action", type: "button", onclick: () => pause(load) }, "Pause…"));
  return [head, all.length ? table("Pauses", columns, all) : h("p", { class: "empty" }, "Nothing is paused.")];
}

async function pause(load) {
  const target = h("input", { name: "target", autocomplete: "off", spellcheck: "false", disabled: true });
  const scope = h("select", { name: "scope", onchange: () => ((target.disabled = scope.value === "all"), (target.required = scope.value !== "all")) }, [["all", "everything"], ["tenant", "one tenant"], ["type", "one event type"]].map(([value, text]) => h("option", { value }, text)));
  const time = h("input", { name: "for", placeholder: "15m, 2h; empty: until resumed", autocomplete: "off", pattern: "\\s*\\d+\\s*[smhd]\\s*" });
  const answer = await confirm("Pause publishing", {
    says: h("p", {}, "Every relay keeps to it from its next claim on. What is on its way is still sent."),
    yes: "Pause",
    extra: [h("label", {}, "What", scope), h("label", {}, "Tenant or type", target), h("label", {}, "For how long", time)],
    fields: () => ({ scope: scope.value, target: scope.value === "all" ? "" : target.value.trim(), seconds: since(time.value)?.ago }),
  });
  if (answer) await carryOut("pause", answer, `Paused ${scopeOf(answer)}.`, load);
}

function held(answer, all, load) {
  const release = async (hold) => {
    const blocked = hold.reason === "blocked" ? " It goes on behind its failed event, which stays a dead letter." : "";
    const said = await confirm(`Release ${hold.tenant_id}?`, { says: h("p", {}, `Its next event is tried at once.${blocked}`), yes: "Release" });
    if (said) await carryOut("release", { tenant: hold.tenant_id, reason: said.reason }, `Released ${hold.tenant_id}.`, load);
  };
  const columns = [
    { title: "Tenant", kind: "word", cell: (x) => h("a", { href: `#/events?status=pending&tenant=${encodeURIComponent(x.tenant_id)}` }, x.tenant_id) },
    { title: "Reason", cell: (x) => badge2(x.reason) },
    { title: "Waiting", kind: "number", cell: (x) => count(x.backlog, x.backlog >= answer.countedMax) },
    { title: "Since (UTC)", kind: "time", cell: (x) => time(x.since) },
    { title: "Until (UTC)", kind: "time", cell: (x) => (x.until ? (x.waiting ? time(x.until) : "now: retrying") : "somebody acts") },
    { title: "Message", kind: "wide", cell: (x) => x.message },
    { title: "", cell: (x) => mayAct() && h("button", { class: "action", type: "button", onclick: () => release(x) }, "Release…") },
  ];
  const more = answer.next && h("button", { class: "action", type: "button", onclick: async () => replaceWithMore(answer, all, load) }, "More");
  const head = h("div", { class: "card-head" }, h("h2", {}, "Tenants on hold"), h("span", { class: "note" }, "what the relay holds back by itself"));
  return [head, all.length ? table("Tenants on hold", columns, all) : h("p", { class: "empty" }, "No tenant is on hold."), h("div", { class: "actions" }, more)];
}

async function replaceWithMore(answer, all, load) {
  const card = document.querySelector("main .stack").lastElementChild;
  try {
    const next = await ask("holds", { after: answer.next });
    card.replaceChildren(...held(next, [...all, ...next.holds], load));
  } catch (error) {
    card.append(problem(error));
  }
}

function badge2(reason) {
  return h("span", { class: "badge", "data-grade": reason === "blocked" || reason === "crashes" ? "critical" : "warning" }, reason);
}
