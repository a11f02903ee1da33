// The charts of the last ten minutes or six hours: asked for once, then fed by the stream.
import { ask } from "./api.js";
import { Chart } from "./chart.js";
import { h, problem } from "./dom.js";
import { count, ms, number } from "./format.js";

const FINE_MAX = 600;
/** Coarse samples come by asking. */
const COARSE_EVERY_MS = 15000;
export const REASONS = { notification: "notified", sweep: "sweep", listener_up: "listener up", due: "due", more: "more to do", request: "on request" };

export class Charts {
  constructor() {
    this.span = "10m";
    this.columns = {};
    this.reasons = [];
    this.step = 1;
    this.backlog = new Chart({ title: "Backlog", unit: "events", format: (v) => count(v === null ? null : Math.round(v)), note: "pending events" });
    this.throughput = new Chart({ title: "Throughput", unit: "events a second", format: number, note: "a second" });
    this.latency = new Chart({ title: "Latency", unit: "ms", format: ms, note: "commit to accepted by Ably" });
    this.wakes = new Chart({ title: "Wake-ups and sweep rescues", unit: "a second", format: number, note: "why the relay looked, a second" });
    this.throttled = new Chart({ title: "Throttling", unit: "refusals a second", format: number, note: "publishes over a rate, a second" });
    this.age = new Chart({ title: "Oldest pending event", unit: "seconds", format: (v) => (v === null ? "–" : `${number(v)} s`), note: "how long it has waited" });
    this.buttons = [this.button("10m", "10 minutes"), this.button("6h", "6 hours")];
    this.failed = h("div");
    const head = h("div", { class: "card-head" }, h("h2", {}, "Over time"), h("span", { class: "note" }, "since this relay was started"), h("span", { class: "spacer" }), h("div", { class: "segments", role: "group", "aria-label": "Time shown" }, this.buttons));
    const all = [this.throughput, this.latency, this.backlog, this.age, this.wakes, this.throttled];
    this.element = h("div", { class: "stack" }, head, this.failed, h("div", { class: "charts" }, all.map((chart) => chart.element)));
  }

  button(span, text) {
    return h("button", { type: "button", "aria-pressed": String(span === this.span), "data-span": span, onclick: () => this.choose(span) }, text);
  }

  async choose(span) {
    this.span = span;
    for (const button of this.buttons) button.setAttribute("aria-pressed", String(button.dataset.span === span));
    await this.load();
  }

  async load() {
    clearTimeout(this.timer);
    try {
      const span = this.span;
      const answer = await ask("history", { span });
      if (span !== this.span) return;
      this.columns = answer.columns;
      this.reasons = answer.reasons;
      this.step = answer.step;
      this.failed.replaceChildren();
      this.draw();
    } catch (error) {
      this.failed.replaceChildren(problem(error));
    }
    if (this.span === "6h" && this.element.isConnected) this.timer = setTimeout(() => this.load(), COARSE_EVERY_MS);
  }

  /** A state of the stream. After a gap the whole is asked for again. */
  add(sample) {
    if (!sample || this.span !== "10m" || !this.reasons.length) return;
    const last = this.columns.at?.at(-1);
    if (last === sample.at) return;
    if (last !== undefined && sample.at - last > 3) return void this.load();
    for (const [name, value] of Object.entries(sample)) {
      const column = (this.columns[name] ??= []);
      column.push(value);
      if (column.length > FINE_MAX) column.shift();
    }
    this.draw();
  }

  draw() {
    const c = (name) => this.columns[name] ?? [];
    const rate = (values) => values.map((value) => value / this.step);
    const at = c("at");
    this.throughput.show(at, [
      { name: "published", kind: "area", values: rate(c("published")) },
      { name: "failed", kind: "line", colour: 4, values: rate(c("failed")) },
    ]);
    this.latency.show(at, [
      { name: "p50", kind: "line", values: c("p50") },
      { name: "p99", kind: "line", colour: 3, values: c("p99") },
    ]);
    this.backlog.show(at, [{ name: "pending", kind: "area", values: c("pending") }]);
    this.age.show(at, [{ name: "oldest", kind: "area", values: c("oldest") }]);
    const woken = c("woken");
    const wakes = this.reasons.map((reason, place) => ({ name: REASONS[reason] ?? reason, kind: "bar", values: rate(woken.map((all) => all[place])) }));
    const rescues = { name: "events rescued by the sweep", kind: "line", values: rate(c("swept")) };
    this.wakes.show(at, [...wakes, rescues].filter((one, place) => place < 2 || one === rescues || one.values.some((value) => value > 0)));
    this.throttled.show(at, [
      { name: "a channel's rate", kind: "bar", values: rate(c("throttledChannel")) },
      { name: "the account's rate", kind: "bar", values: rate(c("throttledAccount")) },
    ]);
  }
}
