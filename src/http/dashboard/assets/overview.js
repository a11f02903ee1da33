// The first view: how it is, and how it was.
import { ask } from "./api.js";
import { Charts } from "./charts.js";
import { badge, h, problem } from "./dom.js";
import { bytes, count, ms, number, plural, seconds, time } from "./format.js";
import { onState } from "./live.js";

/** Tenants, types and the table are asked for this often. */
const STATS_EVERY_MS = 10000;
const NAMES = { loop: "Relay", claims: "Database", listener: "Listener", ably: "Ably", pause: "Paused", shutdown: "Stopping" };

export function overview(root) {
  const tiles = h("dl", { class: "tiles" });
  const reasons = h("ul", { class: "reasons" });
  const codes = h("div");
  const charts = new Charts();
  const waiting = h("div", { class: "columns" });
  const health = h("section", { class: "card" }, h("h2", {}, "State of each part"), reasons);
  const failures = h("section", { class: "card" }, h("div", { class: "card-head" }, h("h2", {}, "Failures by code"), h("span", { class: "note" }, "since this relay was started")), codes);
  root.replaceChildren(
    h("h1", { class: "visually-hidden" }, "Overview"),
    h("div", { class: "stack" }, tiles, h("div", { class: "columns" }, health, failures), charts.element, waiting),
  );
  charts.load();
  let versions = null;
  const end = onState((state) => {
    tiles.replaceChildren(...tilesOf(state, versions));
    reasons.replaceChildren(...state.checks.map(reason));
    codes.replaceChildren(failuresOf(state));
    charts.add(state.sample);
  });
  let timer;
  const stats = async () => {
    try {
      const answer = await ask("stats");
      versions = answer.relays ?? [];
      waiting.replaceChildren(...waitingOf(answer));
    } catch (error) {
      waiting.replaceChildren(problem(error));
    }
    timer = setTimeout(() => (document.hidden ? (timer = setTimeout(stats, STATS_EVERY_MS)) : stats()), STATS_EVERY_MS);
  };
  stats();
  return () => {
    end();
    clearTimeout(timer);
    clearTimeout(charts.timer);
  };
}

function reason(check) {
  return h("li", {}, h("span", { class: "badge", "data-grade": check.grade }, check.grade), h("span", {}, h("strong", {}, NAMES[check.name] ?? check.name), ` – ${check.says}`));
}

function tile(name, value, unit, detail, tone) {
  return h("div", { class: "tile", "data-tone": tone }, h("dt", {}, name), h("dd", {}, h("div", { class: "value" }, value, unit && h("small", {}, unit)), h("div", { class: "detail" }, detail)));
}

function tilesOf(state, versions) {
  const { outbox, sample } = state;
  const more = (n) => outbox && n >= outbox.countedMax;
  const known = outbox ?? {};
  const check = (name) => state.checks.find((one) => one.name === name) ?? { grade: "unknown", says: "not known" };
  const tone = (grade) => ({ ok: null, degraded: "warn", failing: "bad" })[grade];
  const old = known.oldest ?? 0;
  const held = Object.values(known.held ?? {}).reduce((a, b) => a + b, 0);
  const listener = check("listener");
  const ably = check("ably");
  const relays = (versions ?? []).filter((one) => !one.name.includes("doctor"));
  return [
    tile("Backlog", count(outbox ? known.pending : null, more(known.pending)), "", known.pending ? `oldest waits ${seconds(known.oldest)}` : outbox ? "nothing waits" : "the database does not say", old > 300 ? "bad" : old > 60 ? "warn" : null),
    tile("Throughput", number(sample?.published ?? 0), "/s", `${plural(state.eventsInFlight, "event")} on the way`),
    tile("Latency p99", ms(sample?.p99), "", sample?.p50 === null || sample?.p50 === undefined ? "nothing published just now" : `p50 ${ms(sample.p50)}`),
    tile("Dead letters", count(outbox ? known.deadLetters : null, more(known.deadLetters)), "", known.deadLetters ? `oldest ${seconds(known.oldestDeadLetter)}` : "none to decide about", known.deadLetters ? "bad" : null),
    tile("Listener", listener.grade === "ok" ? "up" : "polling", "", state.canaryMs === null ? "no round trip yet" : `round trip ${ms(state.canaryMs)}`, tone(listener.grade)),
    tile("Ably", { ok: "accepts", degraded: "in trouble", failing: "refuses" }[ably.grade] ?? "–", "", ably.grade === "ok" ? "breaker closed, key accepted" : ably.says, tone(ably.grade)),
    tile("Sweep rescues", count(state.swept), "", state.swept ? "notifications got lost" : "no notification got lost", state.swept ? "warn" : null),
    tile("On hold", count(outbox ? held : null), "", held ? Object.entries(known.held).map(([name, n]) => `${n} ${name}`).join(", ") : "no tenant waits", held ? "warn" : null),
    tile("Relays", relays.length ? String(relays.length) : "–", relays.length === 1 ? "version" : relays.length ? "versions" : "", relays.map((one) => one.name.replace("outbox-relay ", "")).join(", ") || "not known yet", relays.length > 1 ? "warn" : null),
    tile("NOTIFY queue", outbox ? number(known.notifyQueue * 100) : "–", outbox ? "%" : "", "of the server's is used", known.notifyQueue > 0.5 ? "bad" : null),
  ];
}

function failuresOf(state) {
  const all = Object.entries(state.codes).sort((a, b) => b[1] - a[1]);
  if (!all.length) return h("p", { class: "empty" }, "No event has failed.");
  return bars(all.map(([name, n]) => ({ name: h("a", { href: `#/events?status=failed&code=${encodeURIComponent(name)}` }, name), number: n })));
}

function bars(rows) {
  const most = Math.max(...rows.map((row) => row.number), 1);
  return h("ul", { class: "bars" }, rows.map((row) => h("li", {}, h("span", { class: "name" }, row.name), h("span", { class: "number" }, count(row.number), row.more), h("progress", { max: most, value: row.number, "aria-hidden": "true" }))));
}

function waitingOf(stats) {
  const list = (title, counted, parameter) => {
    const rows = (counted ?? []).map((one) => ({
      name: h("a", { href: `#/events?status=pending&${parameter}=${encodeURIComponent(one.name)}` }, one.name),
      number: one.events,
      more: ` · ${seconds(one.oldest_age_seconds)}`,
    }));
    return h("section", { class: "card" }, h("h2", {}, title), rows.length ? bars(rows) : h("p", { class: "empty" }, "Nothing waits."));
  };
  const t = stats.table;
  const facts = t
    ? [
        ["Rows", `${count(t.live_rows)}, ${count(t.dead_rows)} dead`],
        ["Size", `${bytes(t.table_bytes)}, indexes ${bytes(t.index_bytes)}`],
        ["Last vacuum", time(t.vacuumed_at)],
        ["Last position", count(stats.published?.last_position)],
        ["Connected", (stats.relays ?? []).map((one) => `${one.name}: ${plural(one.sessions, "session")}`).join("; ") || "–"],
      ]
    : [];
  const table = h("section", { class: "card" }, h("h2", {}, "Event table"), t ? h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])) : h("p", { class: "empty" }, "PostgreSQL did not say in time."));
  const pauses = stats.pauses?.length ? h("section", { class: "card" }, h("h2", {}, "Paused"), stats.pauses.map((p) => h("p", {}, badge("paused"), p.paused === "all" ? " everything" : ` ${p.paused} ${p.target}`))) : null;
  return [list("Waiting, by tenant", stats.pending?.tenants, "tenant"), list("Waiting, by type", stats.pending?.types, "type"), table, pauses].filter(Boolean);
}
