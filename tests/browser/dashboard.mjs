// node dashboard.mjs SCENARIO URL [ARGUMENT…]: drives Chromium through one scenario; the last line says {"type":"done"}.
import { statSync } from "node:fs";
import { check, checkWidth, newPage, say, withBrowser } from "./browser.mjs";

const [scenario, url, ...rest] = process.argv.slice(2);
const VIEWS = { overview: "#/", events: "#/events", "dead-letters": "#/dead-letters", holds: "#/holds", audit: "#/audit", doctor: "#/doctor" };

async function go(page, hash) {
  await page.goto(url + hash);
  await page.waitForFunction(() => document.body.dataset.link === "live");
}

const text = (page, selector) => page.locator(selector).first().innerText();

/** Each panel with real data; `secret` is in a payload, and seen only when asked for. */
async function panels(browser, secret) {
  const page = await newPage(browser, url);
  const answers = [];
  page.on("response", async (response) => {
    if (response.url().includes("/api/") && !response.url().endsWith("/live")) answers.push([response.url(), await response.text().catch(() => "")]);
  });
  const first = await page.goto(url);
  check(first.headers()["content-security-policy"].startsWith("default-src 'none'; script-src 'self'"), "the policy");
  await page.waitForFunction(() => document.body.dataset.link === "live");
  await page.waitForSelector("#grade[data-grade=ok]");
  await page.locator(".tile", { hasText: "Dead letters" }).locator(".value", { hasText: /^3$/ }).waitFor();
  await page.locator(".tile", { hasText: "Listener" }).locator(".value", { hasText: "up" }).waitFor();
  await page.locator(".tile", { hasText: "Listener" }).locator(".detail", { hasText: /round trip [0-9.]+ ms/ }).waitFor();
  await page.locator(".tile", { hasText: "Backlog" }).locator(".value", { hasText: /^2$/ }).waitFor();
  await page.locator(".tile", { hasText: "Relays" }).locator(".detail", { hasText: /\d+\.\d+/ }).waitFor();
  await page.locator(".bars a", { hasText: "40031" }).waitFor();
  await page.locator(".card", { hasText: "Waiting, by tenant" }).locator("a", { hasText: "paused" }).waitFor();
  await page.locator(".card", { hasText: "Event table" }).locator("dd", { hasText: "outbox-relay" }).waitFor();
  for (const title of ["Throughput", "Latency", "Backlog", "Oldest pending event", "Wake-ups and sweep rescues", "Throttling"]) {
    const label = await page.locator(`section[aria-label="${title}"] > svg`).getAttribute("aria-label");
    check(label.includes("Newest:"), `${title} says its newest: ${label}`);
  }
  const backlog = page.locator('section[aria-label="Backlog"]');
  await backlog.locator("summary").click();
  check((await backlog.locator("tbody td.number", { hasText: /^2$/ }).count()) > 0, "the backlog as a table");
  check((await page.locator('section[aria-label="Throughput"] polyline').count()) > 0, "a line of throughput");
  await page.locator('.segments button[data-span="6h"]').click();
  await page.locator('.segments button[data-span="6h"][aria-pressed=true]').waitFor();

  await go(page, "#/events?tenant=fine");
  await page.locator("tbody tr").first().waitFor();
  check((await page.locator("tbody tr").count()) === 4, "the four events of a tenant");
  await page.locator("tbody a").first().click();
  await page.locator(".timeline li").first().waitFor();
  const unknown = await page.locator('.timeline li[data-known="no"]').count();
  check(unknown === 0, `each stage is known: ${await text(page, ".timeline")}`);
  check(!(await page.content()).includes(secret), "the payload is hidden");
  check(answers.every(([, body]) => !body.includes(secret)), "no answer held a payload");
  await page.locator("button", { hasText: "Show payload" }).click();
  await page.locator("pre.payload", { hasText: secret }).waitFor();
  check((await text(page, "pre.payload")).includes("9007199254740993"), "large numbers survive");

  await go(page, "#/events?status=pending");
  check((await page.locator("tbody tr").count()) === 2 || (await page.locator("tbody tr").nth(1).waitFor(), true), "pending events");
  await go(page, "#/events?status=failed&code=40031");
  await page.locator("tbody tr").first().waitFor();
  await page.locator("tbody a").first().click();
  await page.locator(".remedy-line", { hasText: "requeue it" }).waitFor();
  await go(page, "#/dead-letters");
  await page.locator('section[data-code="40031"]', { hasText: "A fault was installed" }).waitFor();
  await go(page, "#/holds");
  await page.locator("td", { hasText: "tenant paused" }).waitFor();
  await page.locator("td", { hasText: "held" }).first().waitFor();
  await go(page, "#/audit");
  await page.locator("tbody strong", { hasText: "pause" }).waitFor();
  await go(page, "#/doctor");
  await page.locator("button", { hasText: "Run the checks" }).click();
  await page.locator(".reasons strong", { hasText: "claim plan" }).waitFor();
  check((await page.locator(".reasons li").count()) > 25, "all checks");
  return page;
}

async function requeue(browser) {
  const page = await newPage(browser, url);
  await go(page, "#/dead-letters");
  const card = page.locator('section[data-code="40031"]');
  await card.locator("button", { hasText: "Dry run" }).click();
  await card.getByText("A requeue would take 3 events of 1 tenant").waitFor();
  check((await card.locator("tbody tr").count()) === 3, "the sample of the dry run");
  say("looked");
  await card.locator("button", { hasText: "Requeue all" }).click();
  await page.locator("dialog h2", { hasText: "Requeue 3 events of 1 tenant?" }).waitFor();
  await page.locator("dialog input[name=reason]").fill("the consumer is mended");
  await page.locator("dialog button", { hasText: /^Requeue$/ }).click();
  await page.locator(".toast", { hasText: "3 events requeued." }).waitFor();
  await page.getByText("No failed event waits for a decision.").waitFor();
  return page;
}

async function act(browser) {
  const page = await newPage(browser, url);
  await go(page, "#/holds");
  await page.locator("button", { hasText: "Release…" }).click();
  await page.locator("dialog button", { hasText: /^Release$/ }).click();
  await page.getByText("No tenant is on hold.").waitFor();
  await page.locator("button", { hasText: "Pause…" }).click();
  await page.locator("dialog select[name=scope]").selectOption("type");
  await page.locator("dialog input[name=target]").fill("orders.order.created");
  await page.locator("dialog input[name=for]").fill("15m");
  await page.locator("dialog button", { hasText: /^Pause$/ }).click();
  await page.locator("td", { hasText: "type orders.order.created" }).waitFor();
  await page.locator("tr", { hasText: "orders.order.created" }).locator("button").click();
  await page.locator("dialog button", { hasText: /^Resume$/ }).click();
  await page.getByText("Nothing is paused.").waitFor();
  await go(page, "#/events?status=failed");
  await page.locator("tbody a").first().click();
  await page.locator("button", { hasText: "Discard…" }).click();
  await page.locator("dialog input[name=reason]").fill("a test order");
  await page.locator("dialog button", { hasText: /^Discard$/ }).click();
  await page.locator(".badge[data-status=discarded]").waitFor();
  await go(page, "#/audit");
  for (const action of ["discard", "resume", "pause", "release hold"]) await page.locator("tbody strong", { hasText: action }).first().waitFor();
  return page;
}

async function readonly(browser) {
  const page = await newPage(browser, url);
  for (const hash of ["#/dead-letters", "#/holds", "#/events?status=failed"]) {
    await go(page, hash);
    await page.locator("main section").first().waitFor();
    check((await page.locator("main button", { hasText: "…" }).count()) === 0, `no action in ${hash}`);
  }
  check((await text(page, "#mode")).startsWith("read-only"), "the footer says so");
  return page;
}

async function signedIn(browser, token) {
  const wrong = await newPage(browser, url, { httpCredentials: { username: "alice", password: "wrong-wrong-wrong-1" } });
  const refused = await wrong.goto(url).catch((error) => ({ status: () => error.message.includes("ERR_INVALID_AUTH") ? 401 : 0 }));
  check(refused.status() === 401, "a wrong password is refused");
  const page = await newPage(browser, url, { httpCredentials: { username: "alice", password: token } });
  await go(page, "#/dead-letters");
  check((await text(page, "#mode")).includes("as alice"), "the footer says who");
  await page.locator("main section button", { hasText: "Discard all" }).click();
  await page.locator("dialog input[name=reason]").fill("known");
  await page.locator("dialog button", { hasText: /^Discard$/ }).click();
  await page.getByText("No failed event waits for a decision.").waitFor();
  await go(page, "#/audit");
  await page.locator("td", { hasText: "dashboard: alice" }).waitFor();
  return page;
}

async function keyboard(browser) {
  const page = await newPage(browser, url);
  await go(page, "");
  const focused = () => page.evaluate(() => document.activeElement.textContent.trim() || document.activeElement.getAttribute("aria-label") || document.activeElement.tagName);
  await page.keyboard.press("Tab");
  check((await focused()) === "Skip to the content", "the first stop skips the header");
  check((await page.locator(".skip").evaluate((e) => e.getBoundingClientRect().top)) >= 0, "and is seen");
  await page.keyboard.press("Enter");
  check(await page.evaluate(() => document.activeElement.id === "view"), "it leads to the content");
  const seen = new Set();
  for (let step = 0; step < 40; step += 1) {
    await page.keyboard.press("Tab");
    seen.add(await focused());
    const ring = await page.evaluate(() => document.activeElement === document.body || getComputedStyle(document.activeElement).outlineStyle !== "none");
    check(ring, `the focus is seen on ${await focused()}`);
  }
  for (const name of ["10 minutes", "6 hours", "As a table"]) check(seen.has(name), `${name} is reached: ${[...seen]}`);
  await page.locator('section[aria-label="Throughput"] > svg').focus();
  await page.keyboard.press("ArrowLeft");
  await page.waitForFunction(() => /published/.test(document.querySelector('section[aria-label="Throughput"] [aria-live]').textContent));
  await page.keyboard.press("?");
  await page.locator("dialog[open]", { hasText: "Keyboard shortcuts" }).waitFor();
  await page.keyboard.press("Escape");
  await page.locator("dialog").waitFor({ state: "detached" });
  for (const [key, view] of [["e", "events"], ["d", "dead-letters"], ["h", "holds"], ["a", "audit"], ["c", "doctor"], ["o", "overview"]]) {
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press(key);
    await page.locator(`.tabs a[data-view="${view}"][aria-current=page]`).waitFor();
  }
  await page.keyboard.press("/");
  await page.waitForFunction(() => document.activeElement.name === "tenant");
  await page.keyboard.type("fine");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 4);
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await page.keyboard.press("k");
  await page.keyboard.press("Enter");
  await page.locator(".timeline").waitFor();
  return page;
}

/** Each view, dark, light and on a phone: everything fits, and pictures for whoever wants to look. */
async function looks(browser, directory) {
  let last;
  const pictures = new Map();
  for (const [name, options] of [
    ["light", { colorScheme: "light" }],
    ["dark", { colorScheme: "dark" }],
    ["phone", { colorScheme: "light", viewport: { width: 360, height: 780 }, isMobile: true, hasTouch: true }],
  ]) {
    last = await newPage(browser, url, options);
    for (const [view, hash] of Object.entries(VIEWS)) {
      await go(last, hash);
      await last.locator("main .card").first().waitFor();
      await checkWidth(last, `${view}, ${name}`);
      await picture(last, `${directory}/${name}-${view}.png`, pictures);
    }
    await go(last, "#/events?status=failed");
    await last.locator("tbody a").first().click();
    await last.locator(".timeline li").first().waitFor();
    await checkWidth(last, `event, ${name}`);
    await picture(last, `${directory}/${name}-event.png`, pictures);
  }
  check(pictures.size === 21, "all pictures");
  const ground = () => last.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const before = await ground();
  await last.locator("#theme").click();
  check((await ground()) === before, "light, chosen, is as light as before");
  await last.locator("#theme").click();
  check((await ground()) !== before, "dark was chosen");
  await last.reload();
  check((await ground()) !== before, "and is remembered");
  return last;
}

async function picture(page, path, pictures) {
  await page.screenshot({ path, fullPage: true });
  pictures.set(path, statSync(path).size);
  check(pictures.get(path) > 5000, `${path} shows something`);
}

/** The relay goes away and comes back; whoever has started this sees to that. */
async function stale(browser) {
  const page = await newPage(browser, url);
  await go(page, "");
  say("live");
  await page.locator("#link[data-link=stale]", { hasText: /stale, \d/ }).waitFor();
  check((await text(page, "#grade-text")) === "not known", "an old state does not look true");
  say("stale");
  await page.waitForFunction(() => document.body.dataset.link === "live", null, { timeout: 60_000 });
  page.complaints = page.complaints.filter((complaint) => !complaint.includes("ERR_") );
  return page;
}

const SCENARIOS = { panels, requeue, act, readonly, signedIn, keyboard, looks, stale };

await withBrowser(async (browser) => {
  const page = await SCENARIOS[scenario](browser, ...rest);
  check(page.complaints.length === 0, `the console is silent: ${page.complaints.join("\n")}`);
  say("done");
});
