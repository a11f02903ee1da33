// Views by the address behind #, the header, and the keyboard.
import { session } from "./api.js";
import { audit } from "./audit.js";
import { deadLetters } from "./dead_letters.js";
import { open } from "./dialog.js";
import { doctor } from "./doctor.js";
import { h } from "./dom.js";
import { event } from "./event.js";
import { events } from "./events.js";
import { count, seconds } from "./format.js";
import { holds } from "./holds.js";
import { onState, start } from "./live.js";
import { overview } from "./overview.js";

const view = document.getElementById("view");
const VIEWS = {
  "": ["overview", "Overview", overview],
  events: ["events", "Events", events],
  "dead-letters": ["dead-letters", "Dead letters", deadLetters],
  holds: ["holds", "Holds and pauses", holds],
  audit: ["audit", "Audit log", audit],
  doctor: ["doctor", "Doctor", doctor],
};
const KEYS = { o: "#/", e: "#/events", d: "#/dead-letters", h: "#/holds", a: "#/audit", c: "#/doctor" };

let leave = null;

function show(focus) {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, rest] = path.split("/");
  const [id, title, build] = VIEWS[name] ?? VIEWS[""];
  if (typeof leave === "function") leave();
  for (const tab of document.querySelectorAll(".tabs a")) {
    if (tab.dataset.view === id) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  document.querySelector('.tabs a[aria-current="page"]').scrollIntoView({ block: "nearest", inline: "nearest" });
  const one = name === "events" && rest;
  document.title = `${one ? `Event ${rest}` : title} · outbox-relay`;
  // A view of its own, so that a slow answer for one that was left finds nothing to fill.
  const root = h("div");
  view.replaceChildren(root);
  const left = one ? event(root, rest) : build(root, new URLSearchParams(query ?? ""));
  leave = typeof left === "function" ? left : null;
  if (focus) view.focus({ preventScroll: true });
  scrollTo(0, 0);
}

function showState(state) {
  const grade = document.getElementById("grade");
  const words = { ok: "healthy", degraded: "degraded", failing: "failing" };
  grade.dataset.grade = state.grade;
  grade.title = state.checks.filter((check) => check.grade !== "ok").map((check) => `${check.name}: ${check.says}`).join("\n");
  const text = document.getElementById("grade-text");
  if (text.textContent !== words[state.grade]) text.textContent = words[state.grade] ?? state.grade;
  const held = Object.values(state.outbox?.held ?? {}).reduce((a, b) => a + b, 0) + Object.values(state.outbox?.paused ?? {}).reduce((a, b) => a + b, 0);
  badge("count-dead", state.outbox?.deadLetters ?? 0, state.outbox?.countedMax);
  badge("count-holds", held, state.outbox?.countedMax);
  const everything = state.outbox?.paused?.all > 0;
  const banner = document.getElementById("banner");
  if (everything !== !banner.hidden) {
    banner.hidden = !everything;
    banner.textContent = everything ? "An operator has paused everything: nothing is published." : "";
  }
}

function badge(id, n, most) {
  const element = document.getElementById(id);
  element.hidden = !n;
  element.textContent = count(n, n >= most);
}

function showLink(link, silent) {
  const element = document.getElementById("link");
  const text = link === "live" ? "live" : silent ? `stale, ${seconds(silent)}` : "stale";
  element.dataset.link = link;
  if (element.textContent !== text) element.textContent = text;
  document.body.dataset.link = link;
  if (link === "stale") {
    const grade = document.getElementById("grade");
    grade.dataset.grade = "unknown";
    document.getElementById("grade-text").textContent = "not known";
  }
}

function help() {
  const keys = [
    ["o", "Overview"],
    ["e", "Events"],
    ["d", "Dead letters"],
    ["h", "Holds and pauses"],
    ["a", "Audit log"],
    ["c", "Doctor (checks)"],
    ["/", "Search events"],
    ["j  k", "Next and previous row of a table"],
    ["←  →", "Values of a chart that has the focus"],
    ["t", "Colours: system, light, dark"],
    ["?", "This list"],
    ["Esc", "Close"],
  ];
  open("Keyboard shortcuts", (close) =>
    h("div", { class: "stack" }, h("div", { class: "keys" }, keys.map(([key, text]) => [h("kbd", {}, key), h("span", {}, text)])), h("div", { class: "actions" }, h("button", { class: "action", type: "button", onclick: () => close() }, "Close"))),
  );
}

/** The first control of the next row, or of the one before. */
function row(step) {
  const rows = [...view.querySelectorAll("tbody tr")].filter((one) => one.querySelector("a, button"));
  if (!rows.length) return;
  const now = rows.indexOf(document.activeElement?.closest("tr"));
  const next = now < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(Math.max(now + step, 0), rows.length - 1);
  rows[next].querySelector("a, button").focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest?.("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "?") help();
  else if (event.key === "t") document.getElementById("theme").click();
  else if (event.key === "j" || event.key === "k") row(event.key === "j" ? 1 : -1);
  else if (event.key === "/") {
    if (!location.hash.startsWith("#/events") || location.hash.startsWith("#/events/")) location.hash = "#/events";
    setTimeout(() => view.querySelector('input[name="tenant"]')?.focus(), 50);
  } else if (event.key in KEYS) location.hash = KEYS[event.key];
  else return;
  event.preventDefault();
});

document.getElementById("help").addEventListener("click", help);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  view.focus();
});
addEventListener("hashchange", () => show(true));

const known = await session().catch((error) => {
  const banner = document.getElementById("banner");
  banner.hidden = false;
  banner.textContent = `${error.message}. ${error.remedy ?? ""}`;
  return null;
});
if (known) {
  document.getElementById("source").textContent = `${known.database} · schema ${known.schema}`;
  document.getElementById("version").textContent = `outbox-relay ${known.version}`;
  document.getElementById("mode").textContent = `${known.actions ? "actions on" : "read-only"}${known.user ? `, as ${known.user}` : ""}`;
  onState(showState);
  start(showLink);
  show(false);
}
