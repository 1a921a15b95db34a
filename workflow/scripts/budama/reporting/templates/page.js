"use strict";
(() => {
  const root = document.documentElement;
  const store = { get: () => { try { return localStorage.getItem("budama-theme"); } catch { return null; } },
                  set: (value) => { try { localStorage.setItem("budama-theme", value); } catch { /* a page from disk may keep nothing */ } } };
  const saved = store.get();
  if (saved === "dark" || saved === "light") root.dataset.theme = saved;

  const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const toggle = document.querySelector("[data-toggle-theme]");
  if (toggle) {
    const tell = () => toggle.setAttribute("aria-pressed", String(isDark()));
    toggle.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; store.set(root.dataset.theme); tell(); });
    tell();
  }
  document.querySelector("[data-print]")?.addEventListener("click", () => print());
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => { d.dataset.was = d.open ? "1" : ""; d.open = true; }));
  addEventListener("afterprint", () => document.querySelectorAll("details").forEach((d) => { d.open = d.dataset.was === "1"; }));

  // Sorting: every row of the last tbody, by its cells' data-sort; rows without a value stay at the end, the baseline in its own tbody on top.
  const collator = new Intl.Collator(root.lang, { numeric: true });
  document.querySelectorAll("table[data-sortable]").forEach((table) => {
    const body = table.tBodies[table.tBodies.length - 1];
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") !== "descending" && (head.dataset.first === "descending" || head.getAttribute("aria-sort") === "ascending");
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const value = (row) => row.cells[column].dataset.sort ?? "";
      const numeric = head.classList.contains("number");
      [...body.rows].sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const order = numeric ? Number(x) - Number(y) : collator.compare(x, y);
        return descending ? -order : order;
      }).forEach((row) => body.append(row));
    }));
  });

  // The page over all scenarios: rows that match every filter.
  const filters = document.querySelector("[data-filters]");
  if (filters) {
    const rows = [...document.querySelectorAll("tr[data-search]")];
    const text = filters.querySelector("input"), selects = [...filters.querySelectorAll("select")], shown = filters.querySelector("[data-shown]");
    const empty = document.querySelector("[data-empty]");
    const fold = (value) => value.toLocaleLowerCase(root.lang).normalize("NFKD").replace(/\p{M}/gu, "").replaceAll("ı", "i");
    const apply = () => {
      const words = fold(text.value).split(/\s+/).filter(Boolean);
      const left = new Set(); // a scenario has a row for each of its ratios
      for (const row of rows) {
        const haystack = fold(row.dataset.search);
        row.hidden = !(words.every((word) => haystack.includes(word)) && selects.every((s) => !s.value || row.dataset[s.name] === s.value));
        if (!row.hidden) left.add(row.dataset.scenario);
      }
      shown.textContent = String(left.size);
      empty.hidden = left.size > 0;
    };
    filters.addEventListener("input", apply);
    filters.addEventListener("submit", (event) => event.preventDefault());
    apply();
  }

  // The contents show where the reader is; on a wide screen they are open.
  const contents = document.querySelector("nav.contents details");
  if (contents) {
    const wide = matchMedia("(min-width: 70rem)");
    const open = () => { contents.open = wide.matches; };
    wide.addEventListener("change", open);
    open();
    const links = new Map([...contents.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]));
    const seen = new IntersectionObserver((entries) => entries.filter((e) => e.isIntersecting).forEach((entry) => {
      links.forEach((link) => link.removeAttribute("aria-current"));
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }), { rootMargin: "0px 0px -70% 0px" });
    links.forEach((_, id) => { const target = document.getElementById(id); if (target) seen.observe(target); });
  }
})();
