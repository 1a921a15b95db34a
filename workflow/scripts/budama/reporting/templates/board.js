"use strict";
// The leaderboard: which rows are shown, in which order, as points of a figure, and what may be said of the best of them.
// A report has the figure alone, of its own rows.
(() => {
  const board = document.querySelector("[data-board]");
  if (!board) return;
  const read = (name) => JSON.parse(board.querySelector(`[data-${name}]`).textContent);
  const { rows, groups, pairs, locale } = read("rows"), words = read("words");
  const AT_ONCE = 100, SOON = 150, WIDTH = 760, HEIGHT = 430, LEFT = 64, RIGHT = 18, TOP = 16, BOTTOM = 54;
  const choose = Object.fromEntries([...board.querySelectorAll("[data-choose]")].map((s) => [s.dataset.choose, s]));
  const [plot, svg, legend, told, best, unknown, more, none, count, limit, loss, text] = ["plot", "figure", "legend", "told", "best", "unknown", "more", "none", "count", "limit", "loss"]
    .map((name) => board.querySelector(`[data-${name}]`)).concat(board.querySelector("input[type=search]"));
  const body = board.querySelector("tbody"), lines = [...(body?.rows ?? [])], heads = [...board.querySelectorAll("thead th")];
  const hidden = { method: new Set(), scenario: new Set() };
  const collator = new Intl.Collator(document.documentElement.lang, { numeric: true });
  const fold = (value) => value.toLocaleLowerCase(document.documentElement.lang).normalize("NFKD").replace(/\p{M}/gu, "").replaceAll("ı", "i");
  const formats = [0, 1, 2].map((digits) => new Intl.NumberFormat(locale, { maximumFractionDigits: digits, minimumFractionDigits: digits }));
  const significant = new Intl.NumberFormat(locale, { maximumSignificantDigits: 4 });
  const number = (value, digits = 2) => formats[digits].format(value), short = (value) => significant.format(value);
  const fill = (sentence, values) => sentence.replace(/\{(\w+)\}/g, (_, key) => values[key]);
  const folded = rows.map((row) => fold(row.search));
  const chosen = () => Number(choose.group?.value ?? 0); // the pair of model and data set
  let order = { column: null, descending: false }, all = false, shown = [];

  // What may be said of two rows: what a report said of them; else a test of independent runs or of two proportions.
  const key = (i, j) => Math.min(i, j) * rows.length + Math.max(i, j);
  const claims = new Map(pairs.told.map(([i, j, apart]) => [key(i, j), apart]));
  const known = new Map(pairs.p.map(([i, j, p]) => [key(i, j), p]));
  const erfc = (x) => { // Numerical Recipes' rational Chebyshev approximation; relative error below 1.2e-7
    const t = 1 / (1 + x / 2);
    return t * Math.exp(-x * x - 1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806 + t * (0.27886807
      + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277)))))))));
  };
  const proportions = (a, b) => {
    const n = Math.min(a.images, b.images), p = (a.accuracy + b.accuracy) / 200, variance = 2 * p * (1 - p) / n;
    return variance ? erfc(Math.abs(a.accuracy - b.accuracy) / 100 / Math.sqrt(2 * variance)) : 1;
  };
  const compared = (first, others) => { // [row, apart], apart being undefined where nothing can be said; Holm at 5 %
    const found = new Map(), asked = [];
    for (const other of others) {
      const at = key(first, other);
      if (claims.has(at)) found.set(other, Boolean(claims.get(at)));
      else if (known.has(at)) asked.push([other, known.get(at)]);
      else if (rows[first].images && rows[other].images) asked.push([other, proportions(rows[first], rows[other])]);
      else found.set(other, undefined);
    }
    let stopped = false;
    asked.sort((a, b) => a[1] - b[1]).forEach(([other, p], place) => { stopped ||= p >= 0.05 / (asked.length - place); found.set(other, !stopped); });
    return others.map((other) => [other, found.get(other)]);
  };

  const matching = (losses = false) => { // `losses`: whatever was lost
    const group = chosen(), kind = choose.kind?.value, asked = fold(text?.value ?? "").split(/\s+/).filter(Boolean);
    const least = loss.value === "" || losses ? -Infinity : -Number(loss.value);
    return rows.map((_, i) => i).filter((i) => rows[i].group === group && (!kind || rows[i].kind === kind) && (least === -Infinity || (rows[i].change ?? -Infinity) >= least - 1e-9) && asked.every((word) => folded[i].includes(word))
      && !hidden.method.has(rows[i].method) && !hidden.scenario.has(rows[i].scenario));
  };
  const columns = new Map(); // what the cells of a column are sorted by, read once
  const column = (at, numeric) => {
    const read = () => lines.map((line) => line.cells[at].dataset.sort ?? "").map((value) => numeric && value !== "" ? Number(value) : value);
    if (!columns.has(at)) columns.set(at, read());
    return columns.get(at);
  };
  const sorted = (found) => {
    if (order.column === null) return found;
    const numeric = heads[order.column].classList.contains("number");
    const values = column(order.column, numeric);
    return found.sort((a, b) => {
      const [x, y] = [values[a], values[b]];
      if (x === "" || y === "") return (x === "") - (y === "");
      return (order.descending ? -1 : 1) * (numeric ? x - y : collator.compare(x, y));
    });
  };
  const tabulate = () => {
    if (!body) return;
    const found = sorted([...shown]);
    body.replaceChildren(...found.slice(0, all ? undefined : AT_ONCE).map((i) => lines[i]));
    count.textContent = number(found.length, 0);
    more.hidden = all || found.length <= AT_ONCE;
    none.hidden = found.length > 0;
  };
  const alone = new Set(rows.map((row) => row.scenario)).size === 1; // a report of its own says no scenario with every name
  const variant = (i) => [rows[i].method, rows[i].ratio].filter(Boolean).join(" ");
  const name = (i) => `${variant(i)} (${alone ? "" : `${rows[i].scenario}, `}${number(rows[i].accuracy)})`;

  // The figure
  const element = (tag, attributes, parent) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
    parent.append(made);
    return made;
  };
  const ticks = (low, high) => {
    const raw = (high - low) / 6, power = 10 ** Math.floor(Math.log10(raw)), step = power * [1, 2, 5, 10].find((s) => s * power >= raw);
    return Array.from({ length: Math.floor(high / step) - Math.ceil(low / step) + 1 }, (_, k) => (Math.ceil(low / step) + k) * step);
  };
  const span = (values) => {
    const [low, high] = [Math.min(...values), Math.max(...values)], room = (high - low || Math.abs(high) || 1) * 0.06;
    return [low - room, high + room];
  };
  const drawn = () => {
    const cost = choose.cost.value, value = choose.value.value, machine = choose.machine.value;
    return shown.filter((i) => rows[i][cost] !== null && rows[i][value] !== null && (cost !== "time" || rows[i].machine === machine));
  };
  const glyph = { measured: "M0-5A5 5 0 1 1 0 5A5 5 0 1 1 0-5Z", recorded: "M-4.5-4.5H4.5V4.5H-4.5Z", published: "M0-5.5L5 4H-5Z" };
  const STAR = "M0-7.5L2.2-2.4L7.6-2L3.5 1.6L4.8 6.9L0 4L-4.8 6.9L-3.5 1.6L-7.6-2L-2.2-2.4Z";
  const draw = () => {
    const cost = choose.cost.value, value = choose.value.value, points = drawn();
    svg.replaceChildren();
    unknown.hidden = points.length === shown.length;
    unknown.textContent = fill(words.unknown, { n: number(shown.length - points.length, 0) });
    const asked = limit.value === "" ? null : Number(limit.value);
    say(asked);
    if (!points.length) { told.textContent = words.nothing; return; }
    const [x0, x1] = span(points.map((i) => rows[i][cost])), [y0, y1] = span(points.map((i) => rows[i][value]));
    const x = (v) => LEFT + (v - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT), y = (v) => HEIGHT - BOTTOM - (v - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM);
    const axes = element("g", { class: "axes", "aria-hidden": "true" }, svg);
    for (const tick of ticks(x0, x1)) {
      element("path", { d: `M${x(tick)} ${TOP}V${HEIGHT - BOTTOM}` }, axes);
      element("text", { x: x(tick), y: HEIGHT - BOTTOM + 18, "text-anchor": "middle" }, axes).textContent = short(tick);
    }
    for (const tick of ticks(y0, y1)) {
      element("path", { d: `M${LEFT} ${y(tick)}H${WIDTH - RIGHT}` }, axes);
      element("text", { x: LEFT - 8, y: y(tick) + 4, "text-anchor": "end" }, axes).textContent = short(tick);
    }
    element("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 10, "text-anchor": "middle", class: "label" }, axes).textContent = choose.cost.selectedOptions[0].text;
    element("text", { transform: `translate(14 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)`, "text-anchor": "middle", class: "label" }, axes).textContent = choose.value.selectedOptions[0].text;
    const front = [];
    for (const i of [...points].sort((a, b) => rows[a][cost] - rows[b][cost] || rows[b][value] - rows[a][value]))
      if (!front.length || rows[i][value] > rows[front.at(-1)][value]) front.push(i);
    element("path", { class: "front", d: front.map((i, k) => `${k ? `H${x(rows[i][cost])}V` : `M${x(rows[i][cost])} `}${y(rows[i][value])}`).join("") }, axes);
    if (asked !== null && asked >= x0 && asked <= x1) element("path", { class: "limit", d: `M${x(asked)} ${TOP}V${HEIGHT - BOTTOM}` }, axes);
    const marks = element("g", { class: "points" }, svg);
    const ahead = new Set(front);
    [...points].sort((a, b) => ahead.has(a) - ahead.has(b) || rows[a][cost] - rows[b][cost]).forEach((i, place) => { // the front on top
      const row = rows[i], colour = row.colour === null ? "var(--ink)" : `var(--method-${row.colour})`;
      const point = element("path", { d: row.original ? STAR : glyph[row.kind], transform: `translate(${x(row[cost])} ${y(row[value])})`, fill: colour,
        tabindex: place ? -1 : 0, role: "img", "aria-label": describe(i) }, marks);
      point.addEventListener("focus", () => tell(i, point));
      point.addEventListener("pointerenter", () => tell(i, point));
    });
  };
  const describe = (i) => fill(alone ? words.own_point : words.point, { method: variant(i), scenario: rows[i].scenario, accuracy: number(rows[i].accuracy),
    cost: choose.cost.selectedOptions[0].text, value: short(rows[i][choose.cost.value]) });
  const tell = (i, point) => {
    told.textContent = describe(i);
    svg.querySelector(".at")?.classList.remove("at");
    point.classList.add("at");
    body?.querySelector(".at")?.classList.remove("at");
    lines[i]?.classList.add("at");
  };
  const judgeable = (i) => !rows[i].original && !rows[i].control;
  const least = (some, cost) => some.reduce((a, b) => rows[b][cost] < rows[a][cost] || (rows[b][cost] === rows[a][cost] && rows[b].accuracy > rows[a].accuracy) ? b : a);
  const bestOf = (some) => some.reduce((a, b) => rows[b].accuracy > rows[a].accuracy ? b : a);
  const say = (asked) => { // the best within the limits, those that it cannot be told apart from, and what could not be judged
    const cost = choose.cost.value, every = shown.filter(judgeable), within = asked === null ? every : every.filter((i) => rows[i][cost] !== null && rows[i][cost] <= asked);
    const said = [];
    if (within.length) {
      const first = bestOf(within), judged = compared(first, within.filter((i) => i !== first));
      const ties = judged.filter(([, apart]) => apart === false), open = judged.filter(([, apart]) => apart === undefined);
      const list = (some) => some.slice(0, 8).map(([i]) => name(i)).join("; ") + (some.length > 8 ? fill(words.and_more, { n: some.length - 8 }) : "");
      const limited = asked === null ? words.best : fill(words.best_below, { limit: short(asked), cost: choose.cost.selectedOptions[0].text });
      said.push(`${limited} ${name(first)}.`);
      if (ties.length) said.push(fill(words.ties, { list: list(ties) }));
      else if (!open.length) said.push(judged.length ? words.no_ties : words.no_other);
      if (open.length) said.push(fill(words.untested, { n: number(open.length, 0) }));
      const better = asked === null ? [] : every.filter((i) => rows[i][cost] === null && rows[i].accuracy > rows[first].accuracy);
      if (better.length) said.push(fill(words.unknown_better, { n: number(better.length, 0), name: name(bestOf(better)) }));
      if (loss.value !== "") said.push(cheapest(every.filter((i) => asked === null || rows[i][cost] === null || rows[i][cost] <= asked)));
    } else if (asked !== null) said.push(words.out_of_reach);
    const dropped = loss.value === "" ? [] : matching(true).filter((i) => judgeable(i) && rows[i].change === null);
    if (dropped.length) said.push(fill(words.unknown_loss, { n: number(dropped.length, 0), name: name(bestOf(dropped)) }));
    best.textContent = said.join(" ");
  };
  const cheapest = (some) => { // by every cost of which something is known
    const told = [...choose.cost.options].filter((option) => option.value !== "time").map(({ value, text }) => {
      const known = some.filter((i) => rows[i][value] !== null);
      return `${text}: ${known.length ? `${name(least(known, value))}, ${short(rows[least(known, value)][value])}` : words.not_known}`;
    });
    return fill(words.cheapest, { loss: short(Number(loss.value)), list: told.join("; ") });
  };
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key], points = [...svg.querySelectorAll(".points path")];
    const at = points.indexOf(document.activeElement);
    if (!step || at < 0) return;
    event.preventDefault();
    const next = points[(at + step + points.length) % points.length];
    points[at].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });

  // Legends: a click hides or shows a method or a scenario.
  const legends = () => board.querySelectorAll("[data-legend]").forEach((box) => {
    const field = box.dataset.legend, own = rows.filter((row) => row.group === chosen());
    const names = [...new Map(own.map((row) => [row[field], row])).entries()].sort((a, b) => collator.compare(a[0], b[0]));
    (box.closest("details") ?? box).hidden = names.length < 2;
    box.replaceChildren(...names.map(([label, row]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = label;
      button.setAttribute("aria-pressed", String(!hidden[field].has(label)));
      if (field === "method") button.style.setProperty("--swatch", row.colour === null ? "var(--ink)" : `var(--method-${row.colour})`);
      button.addEventListener("click", () => {
        if (!hidden[field].delete(label)) hidden[field].add(label);
        button.setAttribute("aria-pressed", String(!hidden[field].has(label)));
        refresh();
      });
      return button;
    }));
  });
  const machines = () => {
    const names = [...new Set(rows.filter((row) => row.group === chosen() && row.time !== null && row.machine).map((row) => row.machine))];
    choose.machine.replaceChildren(...names.map((value) => new Option(value, value)));
    const timed = choose.cost.querySelector("[value=time]");
    timed.disabled = !names.length;
    if (timed.disabled && choose.cost.value === "time") choose.cost.selectedIndex = 0;
  };
  let waiting = 0;
  const refresh = (event) => { // the figure of thousands of rows waits until the typing pauses
    clearTimeout(waiting);
    board.querySelector("[data-machines]").hidden = choose.cost.value !== "time" || choose.machine.options.length < 2;
    shown = matching();
    tabulate();
    if (event?.type === "input") waiting = setTimeout(draw, SOON);
    else draw();
  };
  const regroup = () => { all = false; limit.value = loss.value = ""; Object.values(hidden).forEach((set) => set.clear()); machines(); legends(); refresh(); };

  heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
    const first = ["accuracy", "change", "seeds"].includes(head.querySelector("button").dataset.column);
    order = { column, descending: order.column === column ? !order.descending : first };
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", order.descending ? "descending" : "ascending");
    tabulate();
  }));
  choose.group?.addEventListener("change", regroup);
  for (const one of ["kind", "value", "machine"]) choose[one]?.addEventListener("change", refresh);
  choose.cost.addEventListener("change", () => { limit.value = ""; refresh(); });
  text?.addEventListener("input", refresh);
  limit.addEventListener("input", draw);
  loss.addEventListener("input", refresh);
  more?.addEventListener("click", () => { all = true; tabulate(); });
  board.querySelectorAll("form").forEach((form) => form.addEventListener("submit", (event) => event.preventDefault()));
  board.hidden = plot.hidden = false;
  regroup();
})();
