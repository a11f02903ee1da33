// Who decided what.
import { ask } from "./api.js";
import { h, problem, table } from "./dom.js";
import { count, time } from "./format.js";

export async function audit(root) {
  const list = h("div");
  root.replaceChildren(h("div", { class: "head" }, h("h1", {}, "Audit log"), h("span", { class: "note" }, "Who requeued, discarded, released, paused and resumed what; by command or here.")), h("section", { class: "card", "aria-label": "Decisions" }, list));
  await page(list, null, []);
}

async function page(list, before, earlier) {
  try {
    const answer = await ask("audit", { before });
    const all = [...earlier, ...answer.entries];
    const more = answer.next && h("button", { class: "action", type: "button", onclick: () => page(list, answer.next, all) }, "More");
    list.replaceChildren(all.length ? shown(all) : h("p", { class: "empty" }, "Nobody has decided anything yet."), h("div", { class: "actions" }, more));
  } catch (error) {
    list.replaceChildren(problem(error));
  }
}

function shown(all) {
  const events = (a) => {
    if (!a.seqs.length) return null;
    const links = a.seqs.slice(0, 3).flatMap((seq) => [h("a", { href: `#/events/${seq}` }, String(seq)), " "]);
    return [links, a.count > 3 ? `and ${count(a.count - 3)} more` : null];
  };
  return table(
    "Decisions, newest first",
    [
      { title: "When (UTC)", kind: "time", cell: (a) => time(a.at) },
      { title: "What", cell: (a) => h("strong", {}, a.action.replace("_", " ")) },
      { title: "Who", kind: "word", cell: (a) => [a.actor, h("br"), h("span", { class: "quiet" }, `role ${a.db_role}`)] },
      { title: "Tenant", kind: "word", cell: (a) => a.tenant_id || null },
      { title: "Events", kind: "word", cell: events },
      { title: "Asked for", kind: "word", cell: (a) => a.filter && h("span", { class: "mono" }, a.filter) },
      { title: "Why", kind: "wide", cell: (a) => a.reason },
    ],
    all,
  );
}
