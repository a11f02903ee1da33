// The doctor, when asked.
import { ask, order } from "./api.js";
import { h, problem } from "./dom.js";
import { timeOfDay } from "./format.js";

export async function doctor(root) {
  const button = h("button", { class: "action primary", type: "button", onclick: run }, "Run the checks");
  const results = h("div", { class: "stack", "aria-live": "polite" });
  const said = h("span", { class: "note" }, "Looks at everything that a relay depends on. Changes nothing, publishes nothing.");
  root.replaceChildren(h("div", { class: "head" }, h("h1", {}, "Doctor"), said, h("span", { class: "spacer" }), button), results);
  async function run() {
    button.disabled = true;
    results.replaceChildren(h("p", { class: "quiet", role: "status" }, "Looking…"));
    try {
      show((await order("doctor")).report);
    } catch (error) {
      results.replaceChildren(problem(error));
    }
    button.disabled = false;
  }
  const show = (report) => {
    const categories = [...new Set(report.checks.map((check) => check.category))];
    const counts = ["critical", "warning", "ok", "skipped"].map((level) => [level, report.checks.filter((check) => check.level === level).length]).filter(([, n]) => n);
    results.replaceChildren(
      h("div", { class: "actions", role: "status" }, counts.map(([level, n]) => h("span", { class: "badge", "data-grade": level }, `${n} ${level}`)), h("span", { class: "quiet" }, `at ${timeOfDay(report.at)}`)),
      ...categories.map((category) => h("section", { class: "card" }, h("h2", {}, category), h("ul", { class: "reasons" }, report.checks.filter((check) => check.category === category).map(line)))),
    );
  };
  try {
    const { report } = await ask("doctor");
    if (report) show(report);
    else results.replaceChildren(h("section", { class: "card" }, h("p", { class: "empty" }, "The checks have not been run since this relay was started.")));
  } catch (error) {
    results.replaceChildren(problem(error));
  }
}

function line(check) {
  return h(
    "li",
    {},
    h("span", { class: "badge", "data-grade": check.level }, check.level),
    h("div", {}, h("strong", {}, check.check.replaceAll("_", " ")), ` – ${check.says}`, check.remedy && h("p", { class: "remedy-line" }, check.remedy), check.fixSql && h("pre", { class: "payload", tabindex: "0", "aria-label": "SQL that mends it" }, check.fixSql)),
  );
}
