// Sets limits in a report's own figure, as a reader would, with the network off, and prints what it answered as JSON.
//   node explore.mjs CHROMIUM FILE LIMIT
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [executablePath, file, limit] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"] });
const page = await (await browser.newContext({ offline: true, viewport: { width: 1440, height: 900 } })).newPage();
const found = { errors: [] };
page.on("console", (message) => { if (["error", "warning"].includes(message.type())) found.errors.push(message.text()); });
page.on("pageerror", (error) => found.errors.push(String(error)));
await page.goto(pathToFileURL(file).href, { waitUntil: "load" });

const board = page.locator("[data-board]");
const state = () => board.evaluate((b) => ({ points: b.querySelectorAll(".points path").length,
  best: b.querySelector("[data-best]").textContent, told: b.querySelector("[data-told]").textContent }));
found.opened = await state();
await board.locator("[data-limit]").fill(limit);
found.limited = await state();
await board.locator(".points path").first().focus();
found.focused = await state();
await browser.close();
console.log(JSON.stringify(found));
