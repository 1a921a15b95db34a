// Works the leaderboard of a page as a reader would, with the network off, and prints what it answered as JSON.
//   node board.mjs CHROMIUM FILE GROUP [SCREENSHOT_PREFIX]
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [executablePath, file, group, screenshots] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"] });
const context = await browser.newContext({ offline: true, viewport: { width: 1440, height: 900 } });
const page = await context.newPage();
const found = { errors: [] };
page.on("console", (message) => { if (["error", "warning"].includes(message.type())) found.errors.push(message.text()); });
page.on("pageerror", (error) => found.errors.push(String(error)));
await page.goto(pathToFileURL(file).href, { waitUntil: "load" });

const board = page.locator("[data-board]");
const state = () => board.evaluate((b) => ({
  rows: [...b.querySelectorAll("tbody tr")].map((row) => [...row.cells].slice(0, 4).map((cell) => cell.innerText)),
  count: b.querySelector("[data-count]").textContent, points: b.querySelectorAll(".points path").length, best: b.querySelector("[data-best]").textContent,
  told: b.querySelector("[data-told]").textContent, unknown: b.querySelector("[data-unknown]").hidden ? "" : b.querySelector("[data-unknown]").textContent }));
const drawn = () => page.waitForTimeout(500); // the figure waits for a pause in typing
const choose = (name, option) => board.locator(`[data-choose=${name}]`).selectOption(option);

const label = await board.locator("[data-choose=group] option").evaluateAll((options, start) => options.find((o) => o.text.startsWith(start))?.value, group);
await choose("group", label);
found.opened = await state();
if (screenshots) await page.screenshot({ path: `${screenshots}.png`, fullPage: true });
await board.locator(".points path").first().focus();
found.first = await state();
await page.keyboard.press("ArrowRight");
found.second = await state();
await choose("cost", "gmacs");
await board.locator("[data-limit]").fill("3.2");
found.limited = await state();
await board.locator("[data-loss]").fill("1.5");
await drawn();
found.cheapest = await state();
await board.locator("[data-limit]").fill("");
await board.locator("[data-loss]").fill("");
await drawn();
const method = board.locator("[data-legend=method] button").first();
found.hiding = await method.textContent();
await method.press("Enter");
found.hidden = await state();
await method.click();
await choose("kind", "recorded");
found.recorded = await state();
await choose("kind", "");
await choose("cost", "macs");
await board.locator("input[type=search]").fill("random");
await drawn();
found.controls = await state();
await board.locator("input[type=search]").fill("");
await drawn();
const accuracy = board.locator("[data-column=accuracy]");
await accuracy.click();
found.descending = await state();
await accuracy.click();
found.ascending = await state();
await browser.close();
console.log(JSON.stringify(found));
