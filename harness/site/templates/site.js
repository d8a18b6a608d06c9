"use strict";
// Hides what filters do not want, and keeps the choice in the address, so that it can be passed on.
(() => {
  const form = document.getElementById("filters");
  if (!form) return;
  const tables = [...document.querySelectorAll("section.condition")].map((section) => ({
    section,
    nats: [...section.querySelectorAll("thead th")].map((head) => (head.dataset.nat || "").split("|")),
    heads: [...section.querySelectorAll("thead th")],
    rows: [...section.querySelectorAll("tbody tr")].map((row) => ({ row, cells: [...row.children], part: row.classList.contains("part") })),
  }));
  const total = tables.reduce((sum, table) => sum + table.rows.filter((one) => !one.part).length, 0);
  const names = [...form.elements].map((field) => field.name).filter(Boolean);
  const count = document.getElementById("count"), nothing = document.getElementById("nothing");
  const wanted = () => Object.fromEntries(names.map((name) => [name, form.elements[name].value]));

  const update = () => {
    const want = wanted();
    let seen = 0;
    for (const { section, nats, heads, rows } of tables) {
      const columns = nats.map((pair, at) => at === 0 || !want.nat || pair.includes(want.nat));
      const fits = !want.link || section.dataset.link === want.link;
      let some = 0;
      for (const { row, cells, part } of rows) {
        const shown = fits && (want.machine ? row.dataset.machine === want.machine : !part)
          && ["overlay", "mode", "version", "run"].every((name) => !want[name] || row.dataset[name] === want[name])
          && cells.some((cell, at) => at > 0 && columns[at] && !cell.classList.contains("untried"));
        row.hidden = !shown;
        some += shown;
        cells.forEach((cell, at) => { cell.hidden = !columns[at]; });
      }
      heads.forEach((head, at) => {
        head.hidden = !columns[at] || (at > 0 && !rows.some(({ row, cells }) => !row.hidden && !cells[at].classList.contains("untried")));
        if (head.hidden) rows.forEach(({ cells }) => { cells[at].hidden = true; });
      });
      section.hidden = some === 0;
      seen += some;
    }
    count.textContent = `${seen} of ${total} rows`;
    if (nothing) nothing.hidden = seen > 0;
  };
  const read = () => {
    const text = location.hash.slice(1);
    if (text && !text.includes("=")) return;
    const given = new URLSearchParams(text);
    for (const name of names) {
      const field = form.elements[name], value = given.get(name) || "";
      field.value = [...field.options].some((option) => (option.value || "") === value) ? value : "";
    }
    update();
  };
  const write = () => {
    const chosen = Object.entries(wanted()).filter(([, value]) => value);
    history.replaceState(null, "", chosen.length ? `#${new URLSearchParams(chosen)}` : "#");
    update();
  };
  form.addEventListener("change", write);
  form.addEventListener("reset", () => setTimeout(write));
  addEventListener("hashchange", read);
  form.hidden = false;
  update();
  read();
})();
