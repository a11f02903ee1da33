// A Chromium of this machine, and a page in it that complains about everything it should not do.
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const PLACES = [
  process.env.CHROMIUM,
  "/usr/bin/google-chrome",
  "/usr/bin/google-chrome-stable",
  "/usr/lib/chromium/chromium",
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/snap/bin/chromium",
];

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-dev-shm-usage",
];

/** Runs `work(browser)` with a profile of its own. */
export async function withBrowser(work) {
  const executablePath = PLACES.find((place) => place && existsSync(place));
  if (!executablePath) throw new Error("no Chromium here; install the package chromium, or set CHROMIUM");
  const profile = mkdtempSync(join(tmpdir(), "dashboard-browser-"));
  const browser = await chromium.launch({ executablePath, headless: true, args: FLAGS, env: { ...process.env, HOME: profile, XDG_CONFIG_HOME: profile, XDG_CACHE_HOME: profile } });
  try {
    return await work(browser);
  } finally {
    await browser.close();
    rmSync(profile, { recursive: true, force: true });
  }
}

/** A page whose console errors, policy violations and requests elsewhere are kept in `page.complaints`. */
export async function newPage(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  page.complaints = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") page.complaints.push(`${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => page.complaints.push(`exception: ${error.stack}`));
  page.on("request", (request) => {
    if (!request.url().startsWith(url.slice(0, url.indexOf("/dashboard")))) page.complaints.push(`elsewhere: ${request.url()}`);
  });
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => console.error(`violated ${event.violatedDirective}: ${event.blockedURI}`));
  });
  return page;
}

export function say(type, fields = {}) {
  console.log(JSON.stringify({ type, ...fields }));
}

export function check(condition, what) {
  if (!condition) throw new Error(`not so: ${what}`);
}

/** Nothing has to be scrolled sideways, and nothing sticks out. */
export async function checkWidth(page, what) {
  const over = await page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    const inside = (element) => {
      for (let at = element.parentElement; at; at = at.parentElement) {
        if (["auto", "scroll", "hidden"].includes(getComputedStyle(at).overflowX)) return true;
      }
      return false;
    };
    const out = [...document.body.querySelectorAll("*")].filter((e) => e.getBoundingClientRect().right > width + 1 && !inside(e) && getComputedStyle(e).position !== "absolute");
    return { page: document.documentElement.scrollWidth - width, out: out.slice(0, 3).map((e) => `${e.tagName}.${e.className}`) };
  });
  check(over.page <= 0 && over.out.length === 0, `${what} fits its width: ${JSON.stringify(over)}`);
}
