// Opens pages from disk with the network off and prints, as JSON, what a reader would meet.
//   node inspect.mjs CHROMIUM FILE [SCREENSHOT_PREFIX]
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [executablePath, file, screenshots] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath, args: flags });
const found = { errors: [], requests: [], views: [] };

async function open(width, colorScheme) {
  // bypassCSP lets axe in; the page's own policy is looked at as text by the test
  const context = await browser.newContext({ offline: true, colorScheme, viewport: { width, height: 900 }, bypassCSP: true });
  const page = await context.newPage();
  page.on("console", (message) => { if (["error", "warning"].includes(message.type())) found.errors.push(message.text()); });
  page.on("pageerror", (error) => found.errors.push(String(error)));
  page.on("dialog", (dialog) => { found.errors.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("request", (request) => { if (!/^(file|data):/.test(request.url())) found.requests.push(request.url()); });
  await page.goto(pathToFileURL(file).href, { waitUntil: "load" });
  return page;
}

const background = () => getComputedStyle(document.body).backgroundColor;
for (const width of [390, 1440]) {
  for (const scheme of ["light", "dark"]) {
    const page = await open(width, scheme);
    const view = { width, scheme, background: await page.evaluate(background) };
    view.scrollWidth = await page.evaluate(() => document.documentElement.scrollWidth);
    view.pictures = await page.evaluate(() => [...document.querySelectorAll("main svg:not([role=group])")].map((svg) => ({
      role: svg.getAttribute("role"), named: svg.getAttribute("aria-labelledby").split(" ").every((id) => svg.querySelector(`#${CSS.escape(id)}`)?.textContent),
      width: svg.getBoundingClientRect().width })));
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
    view.violations = violations.map((v) => ({ id: v.id, impact: v.impact, help: v.help, where: v.nodes.slice(0, 3).map((n) => n.html.slice(0, 200)) }));
    if (screenshots) await page.screenshot({ path: `${screenshots}-${width}-${scheme}.png`, fullPage: true });
    found.views.push(view);
    await page.context().close();
  }
}

const page = await open(1440, "light");
found.toggled = [await page.evaluate(background)];
await page.click("[data-toggle-theme]");
found.toggled.push(await page.evaluate(background));
await page.click("[data-toggle-theme]");

const table = page.locator("table[data-sortable]").first();
if (await table.count()) {
  const column = (n) => table.evaluate((t, i) => [...t.tBodies[t.tBodies.length - 1].rows].map((r) => r.cells[i].dataset.sort ?? null), n);
  const head = table.locator("thead th").nth(1);
  found.sorted = { before: await column(1), top: await table.evaluate((t) => t.tBodies[0].rows[0].textContent) };
  await head.locator("button").click();
  found.sorted.first = { order: await column(1), aria: await head.getAttribute("aria-sort") };
  await head.locator("button").click();
  found.sorted.second = { order: await column(1), aria: await head.getAttribute("aria-sort") };
  found.sorted.topAfter = await table.evaluate((t) => t.tBodies[0].rows[0].textContent);
}

const search = page.locator("[data-filters] input");
if (await search.count()) {
  const visible = () => page.evaluate(() => [...document.querySelectorAll("tr[data-search]")].filter((r) => !r.hidden).map((r) => r.cells[0].querySelector("a").textContent));
  found.filtered = { all: await visible() };
  await search.fill("efficientnet");
  found.filtered.typed = await visible();
  await search.fill("no such scenario");
  found.filtered.none = await visible();
}
await browser.close();
console.log(JSON.stringify(found));
