// One event: its way, its error with the remedy, what was decided, and its payload when asked for.
import { ask, askText, mayAct, order } from "./api.js";
import { confirm } from "./dialog.js";
import { badge, h, problem, table, toast } from "./dom.js";
import { codeOf } from "./events.js";
import { REASONS } from "./charts.js";
import { bytes, ms, plural, time } from "./format.js";

export async function event(root, seq) {
  root.replaceChildren(h("p", { class: "quiet", role: "status" }, "Looking…"));
  let answer;
  try {
    answer = await ask(`events/${encodeURIComponent(seq)}`);
  } catch (error) {
    root.replaceChildren(h("div", { class: "stack" }, h("h1", {}, "Event"), problem(error), h("a", { href: "#/events" }, "All events")));
    return;
  }
  const it = answer.event;
  const state = it.error?.discarded ? "discarded" : it.status;
  const again = () => event(root, seq);
  root.replaceChildren(
    h("div", { class: "head" }, h("h1", {}, `Event ${it.seq}`), badge(state), h("span", { class: "note mono" }, it.id)),
    h("div", { class: "stack" }, way(answer), it.error && failure(answer, state, again), h("div", { class: "columns" }, facts(it), payload(it)), answer.hold && held(answer.hold), decisions(answer.audit)),
  );
}

function way({ event: it, timeline: t }) {
  const unknown = "not known to this relay";
  // From the creation where that is known, else from the claim.
  const zero = t ? (t.waitedMs ?? null) : null;
  const at = (offset) => (offset === null ? null : zero === null ? `claim ${offset < 0 ? "−" : "+"} ${ms(Math.abs(offset))}` : `+ ${ms(Math.max(zero + offset, 0))}`);
  const woken = t && t.wokenBeforeMs !== null ? (zero !== null && t.wokenBeforeMs > zero ? `was awake already (${REASONS[t.wokenBy] ?? t.wokenBy})` : `${at(-t.wokenBeforeMs)}, ${REASONS[t.wokenBy] ?? t.wokenBy}`) : null;
  const stages = [
    ["Created", time(it.created_at), true],
    ["Woken", woken ?? unknown, woken],
    ["Claimed", t ? at(0) : unknown, t],
    ["Sent", t?.sentAfterMs === null ? "was not sent" : t ? at(t.sentAfterMs) : unknown, t && t.sentAfterMs !== null],
    [t?.failed ? "Answered" : "Accepted", t?.acceptedAfterMs === null ? "was not asked" : t ? at(t.acceptedAfterMs) : unknown, t && t.acceptedAfterMs !== null],
    [t?.failed ? "Failed" : "Settled", t ? at(t.settledAfterMs) : it.published_at ? time(it.published_at) : it.status === "pending" ? "not yet" : unknown, t || it.published_at, it.status === "failed"],
  ];
  const note = t ? "as this relay saw it; times count from the commit or insertion" : "Only what the row says: another relay published it, or it is not among the last 4,096 here";
  return h(
    "section",
    { class: "card" },
    h("div", { class: "card-head" }, h("h2", {}, "Timeline"), h("span", { class: "note" }, note)),
    h("ol", { class: "timeline" }, stages.map(([name, when, known, bad]) => h("li", { "data-known": bad ? "bad" : known ? "yes" : "no" }, h("span", { class: "stage" }, name), h("span", { class: "when" }, when)))),
  );
}

function failure({ event: it, remedy }, state, again) {
  const discarded = it.error.discarded;
  const decide = async (path, title, options, body) => {
    const answer = await confirm(title, options);
    if (!answer) return;
    try {
      const done = await order(path, { seqs: [it.seq], reason: answer.reason, ...body });
      toast(done.changed ? `Event ${it.seq} was ${path === "requeue" ? "requeued" : "discarded"}.` : "Nothing was changed: somebody else was faster.");
    } catch (error) {
      toast(`${error.message}. ${error.remedy ?? ""}`);
    }
    again();
  };
  const requeue = () => decide("requeue", `Requeue event ${it.seq}?`, { says: h("p", {}, "It is published once more, under a new message id; its envelope id stays."), yes: "Requeue" }, { discarded: Boolean(discarded) });
  const discard = () => decide("discard", `Discard event ${it.seq}?`, { says: h("p", {}, "It stays in the outbox as failed and is never published. `Requeue` takes that back."), yes: "Discard", danger: true, reasonNeeded: true });
  const buttons = it.status === "failed" && mayAct() && h("div", { class: "actions" }, h("button", { class: "action primary", type: "button", onclick: requeue }, "Requeue…"), !discarded && h("button", { class: "action danger", type: "button", onclick: discard }, "Discard…"));
  return h(
    "section",
    { class: "card stack" },
    h("div", { class: "card-head" }, h("h2", {}, state === "pending" ? "Last refusal" : "Error"), h("span", { class: "mono" }, codeOf(it)), h("span", { class: "note" }, plural(it.attempts, "attempt"))),
    h("p", {}, it.error.message ?? JSON.stringify(it.error)),
    remedy && h("p", { class: "remedy-line" }, remedy),
    discarded && h("p", { class: "quiet" }, `Discarded ${time(discarded.at)} by ${discarded.by}: ${discarded.reason}`),
    buttons,
  );
}

function facts(it) {
  const rows = [
    ["Tenant", h("a", { href: `#/events?tenant=${encodeURIComponent(it.tenant_id)}` }, it.tenant_id)],
    ["Type", h("a", { href: `#/events?type=${encodeURIComponent(it.event_type)}` }, it.event_type)],
    ["Aggregate", `${it.aggregate_type} ${it.aggregate_id}`],
    ["Occurred", it.occurred_at ? time(it.occurred_at) : "the producer did not say"],
    ["Created", time(it.created_at)],
    ["Published", it.published_at ? time(it.published_at) : "–"],
    ["Attempts", String(it.attempts)],
    ["Requeued", plural(it.generation, "time")],
  ];
  return h("section", { class: "card" }, h("h2", {}, "Facts"), h("dl", { class: "facts" }, rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
}

function payload(it) {
  const shown = h("div", { class: "stack" });
  const show = async () => {
    try {
      const text = await askText(`events/${it.seq}/payload`);
      const { storedBytes, shownBytesMax } = JSON.parse(text);
      const part = JSON.parse(text).payload === null ? null : pretty(cut(text));
      shown.replaceChildren(part === null ? h("p", { class: "quiet" }, `It takes ${bytes(storedBytes)} where it is stored; up to ${bytes(shownBytesMax)} are shown here.`) : h("pre", { class: "payload", tabindex: "0", "aria-label": "Payload and headers" }, part));
    } catch (error) {
      shown.replaceChildren(problem(error));
    }
  };
  shown.append(h("p", { class: "quiet" }, "Hidden: it may be personal data. The relay's log notes who looked."), h("div", { class: "actions" }, h("button", { class: "action", type: "button", onclick: show }, "Show payload")));
  return h("section", { class: "card" }, h("h2", {}, "Payload"), shown);
}

/** Payload and headers of the answer as they came: parsing would round large numbers. */
function cut(text) {
  return `{${text.slice(text.indexOf('"payload":'))}`;
}

/** JSON text with line breaks, digit by digit as it is. */
function pretty(text) {
  let out = "";
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const c = text[at];
    if (quoted) {
      out += c;
      if (c === "\\") out += text[(at += 1)] ?? "";
      else if (c === '"') quoted = false;
    } else if (c === '"') {
      quoted = true;
      out += c;
    } else if ("{[".includes(c)) {
      const close = c === "{" ? "}" : "]";
      if (text[at + 1] === close) out += c + text[(at += 1)];
      else out += `${c}\n${"  ".repeat((depth += 1))}`;
    } else if ("}]".includes(c)) out += `\n${"  ".repeat((depth = Math.max(depth - 1, 0)))}${c}`;
    else if (c === ",") out += `,\n${"  ".repeat(depth)}`;
    else if (c === ":") out += ": ";
    else if (c !== " ") out += c;
  }
  return out;
}

function held(hold) {
  return h("section", { class: "card" }, h("div", { class: "card-head" }, h("h2", {}, "Its tenant is on hold"), h("span", { class: "note" }, hold.reason)), h("p", {}, hold.message), h("p", { class: "quiet" }, `Since ${time(hold.since)} until ${hold.until ? time(hold.until) : "somebody acts"}. `, h("a", { href: "#/holds" }, "Holds")));
}

function decisions(audit) {
  if (!audit.length) return null;
  return h(
    "section",
    { class: "card" },
    h("h2", {}, "What was decided"),
    table(
      "Decisions about this event",
      [
        { title: "When (UTC)", kind: "time", cell: (a) => time(a.at) },
        { title: "What", cell: (a) => a.action },
        { title: "Who", kind: "word", cell: (a) => `${a.actor}, role ${a.db_role}` },
        { title: "Why", kind: "wide", cell: (a) => [a.reason, a.filter && `one of ${a.count} by ${a.filter}`].filter(Boolean).join("; ") || null },
      ],
      audit,
    ),
  );
}
