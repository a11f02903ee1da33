// One chart: lines or stacked bars over time, with an axis, values under a cross that mouse, finger and arrow keys move, and the same
// as a table.
import { h, s } from "./dom.js";
import { timeOfDay } from "./format.js";

const WIDTH = 600;
const HEIGHT = 190;
const LEFT = 46;
const RIGHT = 8;
const TOP = 10;
const BOTTOM = 22;
/** Bars that still look like bars. */
const BARS_MAX = 120;
const ROWS_MAX = 60;

/** `series`: { name, values, kind: "line" | "area" | "bar", colour: 1 to 6 }, each with one value a time. */
export class Chart {
  constructor({ title, unit, format, note }) {
    this.title = title;
    this.unit = unit;
    this.format = format;
    this.at = null;
    this.svg = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", tabindex: "0", "aria-label": title });
    this.legend = h("div", { class: "legend" });
    this.spoken = h("div", { class: "visually-hidden", "aria-live": "polite" });
    this.rows = h("div", { class: "scroll" });
    this.details = h("details", { ontoggle: () => this.listRows() }, h("summary", {}, "As a table"), this.rows);
    this.element = h(
      "section",
      { class: "card chart", "aria-label": title },
      h("div", { class: "card-head" }, h("h2", {}, title), note && h("span", { class: "note" }, note)),
      this.svg,
      this.legend,
      this.spoken,
      this.details,
    );
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerdown", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.move(null));
    this.svg.addEventListener("blur", () => this.move(null));
    this.svg.addEventListener("keydown", (event) => this.key(event));
  }

  /** New data: `times` in seconds since 1970. */
  show(times, series) {
    this.data = shortened(times, series);
    this.draw();
    this.listRows();
  }

  draw() {
    const { times, series } = this.data;
    const most = nice(Math.max(...tops(series), 0));
    this.most = most;
    const parts = this.axes(times, most);
    if (times.length === 0 || !series.some((one) => one.values.some((v) => v !== null))) {
      parts.push(s("text", { class: "empty-chart", x: WIDTH / 2, y: HEIGHT / 2, "text-anchor": "middle" }, times.length ? "nothing in this time" : "no samples yet"));
    }
    parts.push(...this.shapes(times, series, most));
    this.cross = s("line", { class: "cross", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
    this.svg.replaceChildren(...parts, this.cross);
    this.move(this.at === null ? null : Math.min(this.at, times.length - 1), true);
    const newest = series.map((one) => `${one.name} ${this.format(lastOf(one.values))}`).join(", ");
    this.svg.setAttribute("aria-label", `${this.title}, ${this.unit}. Newest: ${newest || "nothing"}. Arrow keys read the values.`);
  }

  axes(times, most) {
    const parts = [];
    for (const share of [0, 0.5, 1]) {
      const y = this.y(most * share, most);
      parts.push(s("line", { class: share === 0 ? "axis" : "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y, y2: y }));
      parts.push(s("text", { x: LEFT - 7, y: y + 4, "text-anchor": "end" }, this.format(most * share)));
    }
    for (const share of [0, 0.5, 1]) {
      const index = Math.round((times.length - 1) * share);
      if (times.length < 2) break;
      const anchor = share === 0 ? "start" : share === 1 ? "end" : "middle";
      parts.push(s("text", { x: this.x(index), y: HEIGHT - 6, "text-anchor": anchor }, timeOfDay(times[index])));
    }
    return parts;
  }

  shapes(times, series, most) {
    const parts = [];
    const base = times.map(() => 0);
    series.forEach((one, place) => {
      const colour = colourOf(one, place);
      if (one.kind === "bar") {
        const step = (WIDTH - LEFT - RIGHT) / Math.max(times.length, 1);
        const width = Math.max(step - (step > 4 ? 1.5 : 0.4), 0.6);
        one.values.forEach((value, index) => {
          if (!value) return;
          const y = this.y(base[index] + value, most);
          parts.push(s("rect", { class: `bar ${colour}`, x: LEFT + step * index, width, y, height: Math.max(this.y(base[index], most) - y, 0.8) }));
          base[index] += value;
        });
        return;
      }
      for (const run of runs(one.values)) {
        const points = run.map((index) => `${this.x(index).toFixed(1)},${this.y(one.values[index], most).toFixed(1)}`);
        const floor = HEIGHT - BOTTOM;
        if (one.kind === "area") {
          const ends = [`${this.x(run.at(-1)).toFixed(1)},${floor}`, `${this.x(run[0]).toFixed(1)},${floor}`];
          parts.push(s("polygon", { class: `area ${colour}`, points: [...points, ...ends].join(" ") }));
        }
        if (points.length === 1) parts.push(s("circle", { class: colour, r: 1.6, cx: this.x(run[0]), cy: this.y(one.values[run[0]], most) }));
        else parts.push(s("polyline", { class: `line ${colour}`, points: points.join(" ") }));
      }
    });
    return parts;
  }

  x(index) {
    const count = Math.max(this.data.times.length - 1, 1);
    return LEFT + ((WIDTH - LEFT - RIGHT) * index) / count;
  }

  y(value, most) {
    return HEIGHT - BOTTOM - ((HEIGHT - TOP - BOTTOM) * value) / most;
  }

  point(event) {
    if (!this.data?.times.length) return;
    const box = this.svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * WIDTH;
    const share = (x - LEFT) / (WIDTH - LEFT - RIGHT);
    this.move(Math.round(Math.min(Math.max(share, 0), 1) * (this.data.times.length - 1)));
  }

  key(event) {
    const last = (this.data?.times.length ?? 0) - 1;
    if (last < 0) return;
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -30, PageDown: 30 };
    let to = null;
    if (event.key in steps) to = (this.at ?? last) + steps[event.key];
    else if (event.key === "Home") to = 0;
    else if (event.key === "End") to = last;
    else if (event.key === "Escape") return this.move(null);
    else return;
    event.preventDefault();
    this.move(Math.min(Math.max(to, 0), last));
    this.spoken.textContent = this.legend.textContent;
  }

  /** Puts the cross somewhere, or away. */
  move(index) {
    const { times, series } = this.data ?? { times: [], series: [] };
    this.at = index === null || times.length === 0 ? null : Math.max(index, 0);
    this.cross?.setAttribute("visibility", this.at === null ? "hidden" : "visible");
    if (this.at !== null) {
      this.cross.setAttribute("x1", this.x(this.at));
      this.cross.setAttribute("x2", this.x(this.at));
    }
    const values = series.map((one, place) => {
      const value = this.at === null ? lastOf(one.values) : one.values[this.at];
      return h("span", {}, swatch(colourOf(one, place)), `${one.name} `, h("b", {}, this.format(value)));
    });
    const when = this.at === null ? null : h("span", {}, timeOfDay(times[this.at]));
    this.legend.replaceChildren(...values, ...(when ? [when] : []));
  }

  listRows() {
    if (!this.details.open || !this.data) return;
    const { times, series } = this.data;
    const first = Math.max(times.length - ROWS_MAX, 0);
    const body = [];
    for (let index = times.length - 1; index >= first; index -= 1) {
      body.push(h("tr", {}, h("td", { class: "time" }, timeOfDay(times[index])), series.map((one) => h("td", { class: "number" }, this.format(one.values[index])))));
    }
    const head = h("tr", {}, h("th", { scope: "col" }, "Until"), series.map((one) => h("th", { scope: "col", class: "number" }, `${one.name}, ${this.unit}`)));
    this.rows.replaceChildren(h("table", {}, h("caption", { class: "visually-hidden" }, `${this.title}, the newest ${ROWS_MAX}`), h("thead", {}, head), h("tbody", {}, body)));
  }
}

function colourOf(one, place) {
  return `c${one.colour ?? (place % 6) + 1}`;
}

function swatch(colour) {
  return s("svg", { class: "swatch", viewBox: "0 0 10 10", "aria-hidden": "true" }, s("rect", { class: colour, width: 10, height: 10, rx: 3 }));
}

/** The next round number that holds them all. */
function nice(most) {
  if (!(most > 0)) return 1;
  const ten = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 4, 5, 10].map((step) => step * ten).find((round) => round >= most) ?? 10 * ten;
}

function tops(series) {
  const bars = series.filter((one) => one.kind === "bar");
  const stacked = (bars[0]?.values ?? []).map((_, index) => bars.reduce((sum, one) => sum + (one.values[index] ?? 0), 0));
  return [...stacked, ...series.filter((one) => one.kind !== "bar").flatMap((one) => one.values.map((value) => value ?? 0))];
}

/** Indexes that stand together, without a gap. */
function runs(values) {
  const all = [];
  let run = [];
  values.forEach((value, index) => {
    if (value === null || value === undefined) {
      if (run.length) all.push(run);
      run = [];
    } else run.push(index);
  });
  if (run.length) all.push(run);
  return all;
}

/** Too many bars become fewer, wider ones; of each group the mean, for they are rates. */
function shortened(times, series) {
  if (times.length <= BARS_MAX || !series.some((one) => one.kind === "bar")) return { times, series };
  const group = Math.ceil(times.length / BARS_MAX);
  const groups = [];
  // From the newest backwards, so that a group does not change when time goes on.
  for (let end = times.length; end > 0; end -= group) groups.unshift([Math.max(end - group, 0), end]);
  const mean = (values, [from, to]) => {
    const some = values.slice(from, to).filter((value) => value !== null);
    return some.length ? some.reduce((a, b) => a + b, 0) / some.length : null;
  };
  return {
    times: groups.map(([, to]) => times[to - 1]),
    series: series.map((one) => ({ ...one, values: groups.map((bounds) => mean(one.values, bounds)) })),
  };
}

function lastOf(values) {
  return values.length ? values[values.length - 1] : null;
}
