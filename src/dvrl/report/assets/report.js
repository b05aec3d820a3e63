/* The table of rows and their review. Data reaches the page as text nodes only, never as markup. */
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const n = data.ids.length;
  if (!n) return;
  document.documentElement.classList.add("script");
  document.querySelector(".interactive").hidden = false;

  // ------------------------------------------------------------------ columns and rows

  const decoded = (column) =>
    column.codes ? column.codes.map((code) => (code < 0 ? null : column.words[code])) : column.values;
  const columns = data.columns.map((column) => ({ ...column, values: decoded(column) }));
  const byRole = Object.fromEntries(
    columns.filter((column) => column.role !== "field").map((column) => [column.role, column])
  );
  const at = (role, i) => (byRole[role] ? byRole[role].values[i] : null);
  const shown = (value) => (value === null || value === undefined ? "" : String(value));
  const number = (value, digits) =>
    value === null || value === undefined ? "" : digits === undefined ? String(value) : value.toFixed(digits);
  const cellText = (column, value) => (column.number ? number(value, column.digits) : shown(value));
  const isUnexpected = (i) => at("expected", i) !== null && shown(at("expected", i)) !== shown(at("label", i));

  // A row holds its place alone; its cells are looked up in the columns. 50,000 rows are made at once.
  class Row {
    constructor(i) {
      this.i = i;
      this.decision = "";
    }
  }
  // The library writes back what it has read when it draws a row anew; nothing of it is new.
  const looksUp = (name, values) =>
    Object.defineProperty(Row.prototype, name, { get() { return values[this.i]; }, set() {} });
  looksUp("id", data.ids);
  columns.forEach((column, c) => {
    column.field = `c${c}`;
    looksUp(column.field, column.values);
  });
  const rows = Array.from({ length: n }, (_, i) => new Row(i));

  function element(tag, text, className) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  function picture(i) {
    const image = element("img");
    image.src = data.images[i];
    image.alt = "";
    return image;
  }

  // ------------------------------------------------------------------ decisions

  const decisions = new Map(); // row -> {decision, label}
  const past = []; // rows in the order in which they were decided, with what was there before
  let stored = true;

  function load() {
    if (!data.review) return;
    try {
      const kept = JSON.parse(localStorage.getItem(data.storage) || "[]");
      if (!kept.length) return;
      const places = new Map(data.ids.map((id, i) => [id, i]));
      for (const [id, decision, label] of kept) {
        if (places.has(id)) set(places.get(id), { decision, label });
      }
    } catch {
      stored = false;
    }
  }

  function save() {
    try {
      const kept = [...decisions].map(([i, { decision, label }]) => [data.ids[i], decision, label]);
      localStorage.setItem(data.storage, JSON.stringify(kept));
      stored = true;
    } catch {
      stored = false;
    }
  }

  function set(i, entry) {
    if (entry) decisions.set(i, entry);
    else decisions.delete(i);
    rows[i].decision = entry ? (entry.decision === "relabel" ? `relabel → ${entry.label}` : entry.decision) : "";
  }

  const quoted = (text) => (/[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

  function csv() {
    const lines = ["id,decision,new_label"];
    for (const i of [...decisions.keys()].sort((a, b) => a - b)) {
      const { decision, label } = decisions.get(i);
      lines.push([data.ids[i], decision, label].map(quoted).join(","));
    }
    return lines.join("\n") + "\n";
  }

  // ------------------------------------------------------------------ the table

  const compare = new Intl.Collator(undefined, { numeric: true }).compare;
  function sorter(a, b, _rowA, _rowB, _column, direction) {
    const gapA = a === null || a === "", gapB = b === null || b === "";
    if (gapA || gapB) return gapA === gapB ? 0 : (gapA ? 1 : -1) * (direction === "asc" ? 1 : -1);
    return typeof a === "number" && typeof b === "number" ? a - b : compare(String(a), String(b));
  }

  // "<0.2", ">= 3", "1..5"; anything else is looked for as text.
  function numberFilter(wanted, value) {
    const text = wanted.trim();
    const limit = /^(<=|>=|<|>|=)\s*(-?[\d.]+(?:e-?\d+)?)$/i.exec(text);
    const range = /^(-?[\d.]+)\s*\.\.\s*(-?[\d.]+)$/.exec(text);
    if (limit || range) {
      if (value === null) return false;
      if (range) return value >= Number(range[1]) && value <= Number(range[2]);
      const bound = Number(limit[2]);
      return { "<": value < bound, "<=": value <= bound, ">": value > bound, ">=": value >= bound, "=": value === bound }[limit[1]];
    }
    return shown(value).includes(text);
  }
  const textFilter = (wanted, value) => shown(value).toLowerCase().includes(wanted.toLowerCase());

  function heading(cell) {
    const button = element("button", cell.getValue());
    button.type = "button";
    return button;
  }

  function tableColumn(title, field, width, more) {
    return {
      title, field, width, sorter, titleFormatter: heading,
      headerFilter: "input", headerFilterFunc: textFilter, headerFilterPlaceholder: "contains",
      headerFilterParams: { elementAttributes: { "aria-label": `Filter ${title}` } },
      formatter: (cell) => element("span", shown(cell.getValue())),
      ...more,
    };
  }

  function numeric(column) {
    return {
      hozAlign: "right", headerFilterFunc: numberFilter, headerFilterPlaceholder: "like <0.5",
      formatter: (cell) => element("span", number(cell.getValue(), column.digits)),
    };
  }

  function bar(column) {
    return {
      ...numeric(column), hozAlign: "left",
      formatter: (cell) => {
        const holder = element("span", undefined, "value");
        const share = element("i");
        share.style.setProperty("--share", `${Math.max(0, Math.min(1, cell.getValue())) * 100}%`);
        holder.append(element("span", number(cell.getValue(), column.digits)), share);
        return holder;
      },
    };
  }

  const WIDTHS = { value: 150, std: 95, marginal: 110, probability: 150, label: 120, expected: 125, reason: 320, text: 360 };

  function tableColumns() {
    const list = [];
    if (data.review) {
      list.push(tableColumn("Decision", "decision", 120, {
        formatter: (cell) => element("span", cell.getValue(), `d-${cell.getValue().split(" ")[0]}`),
      }));
    }
    if (data.has_images) {
      list.push({
        title: "Image", field: "i", width: 64, headerSort: false, titleFormatter: (cell) => element("span", cell.getValue()),
        formatter: (cell) => (data.images[cell.getValue()] ? picture(cell.getValue()) : element("span", "")),
      });
    }
    list.push(tableColumn(data.id_title, "id", 110));
    for (const column of columns) {
      const more = column.role === "value" ? bar(column) : column.number ? numeric(column) : {};
      list.push(tableColumn(column.title, column.field, WIDTHS[column.role] || 130, more));
    }
    return list;
  }

  let current = 0;
  let order = null; // rows as the table shows them; null when it has changed
  let places = new Map();
  function shownOrder() {
    if (!order) {
      order = table.getData("active").map((row) => row.i);
      places = new Map(order.map((i, place) => [i, place]));
    }
    return order;
  }

  const phone = matchMedia("(max-width: 60rem)").matches;
  const table = new Tabulator("#table", {
    index: "i",
    columns: tableColumns(),
    height: phone ? 420 : 720,
    rowHeight: data.has_images ? 43 : 34,
    layout: "fitData",
    nestedFieldSeparator: false, // names of fields may hold dots
    columnDefaults: { resizable: "header", vertAlign: "middle", headerSortTristate: true, headerWordWrap: true },
    placeholder: "No row fits these filters.",
    rowFormatter: (row) => row.getElement().classList.toggle("current", row.getData().i === current),
  });

  table.on("dataFiltered", () => { order = null; });
  table.on("dataSorted", () => { order = null; });
  table.on("renderComplete", counted);
  table.on("rowClick", (_event, row) => {
    go(row.getData().i, false);
    $("card").focus({ preventScroll: true });
    $("card").scrollIntoView({ block: "nearest" });
  });

  function redraw(i) {
    const row = table.getRow(i);
    if (row) row.reformat();
  }

  function counted() {
    const text = `${shownOrder().length.toLocaleString("en")} of ${n.toLocaleString("en")} rows`;
    if ($("shown").textContent !== text) $("shown").textContent = text;
    placed();
  }

  function placed() {
    const list = shownOrder();
    const place = places.get(current);
    $("card-place").textContent = place === undefined ? "not in the table as filtered" : `${(place + 1).toLocaleString("en")} of ${list.length.toLocaleString("en")}`;
  }

  // ------------------------------------------------------------------ filters

  let haystack = null;
  function textOf(i) {
    haystack ??= rows.map((row) =>
      [row.id, ...columns.map((column) => cellText(column, row[column.field]))].join("\n").toLowerCase()
    );
    return haystack[i];
  }

  function filter() {
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const show = $("show").value;
    const given = $("given") ? $("given").value : "";
    if (!words.length && show === "all" && !given) {
      table.clearFilter();
      return;
    }
    table.setFilter(({ i }) =>
      (!given || shown(at("label", i)) === given) &&
      (show === "all" ||
        (show === "unexpected" && isUnexpected(i)) ||
        (show === "decided" && decisions.has(i)) ||
        (show === "undecided" && !decisions.has(i))) &&
      words.every((word) => textOf(i).includes(word))
    );
  }

  let waiting = 0;
  $("search").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(filter, 150);
  });
  $("show").addEventListener("change", filter);
  if ($("given")) $("given").addEventListener("change", filter);
  $("reset").addEventListener("click", () => {
    $("search").value = "";
    $("show").value = "all";
    if ($("given")) $("given").value = "";
    table.clearHeaderFilter();
    table.clearFilter();
  });

  // ------------------------------------------------------------------ the card

  function entry(list, name, value, strong) {
    list.append(element("dt", name), element("dd", value, strong ? "strong" : ""));
  }

  function mainFacts(i) {
    const list = $("card-main");
    list.replaceChildren();
    for (const role of ["label", "expected", "probability", "marginal"]) {
      const column = byRole[role];
      if (column) entry(list, column.title, cellText(column, column.values[i]), role === "label" || role === "expected");
    }
    const std = at("std", i);
    entry(list, "Data value", number(at("value", i), byRole.value.digits) + (std === null ? "" : ` ± ${number(std, byRole.std.digits)}`));
  }

  function neighbours(i) {
    const holder = $("near");
    holder.replaceChildren();
    for (const [kind, title] of [["agreeing", "Nearest rows with the same label"], ["disagreeing", "Nearest rows with another label"]]) {
      const near = data.near[kind] ? data.near[kind][i] : null;
      if (!near || !near.length) continue;
      holder.append(element("p", title));
      const group = element("div", undefined, "neighbours");
      for (const j of near) {
        const button = element("button");
        button.type = "button";
        if (data.images[j]) button.append(picture(j));
        button.append(element("span", byRole.label ? `${data.ids[j]}: ${shown(at("label", j))}` : data.ids[j]));
        button.addEventListener("click", () => go(j, true));
        group.append(button);
      }
      holder.append(group);
    }
    holder.hidden = !holder.childElementCount;
  }

  function ownFields(i) {
    const fields = columns.filter((column) => column.role === "field");
    $("card-fields").hidden = !fields.length;
    const list = $("card-fields").querySelector("dl");
    list.replaceChildren();
    for (const column of fields) entry(list, column.title, cellText(column, column.values[i]));
  }

  function suggestion(i) {
    const known = decisions.get(i);
    if (known && known.decision === "relabel") return known.label;
    const expected = at("expected", i);
    if (expected === null) return "";
    if (data.whole_labels && typeof expected === "number") return String(Math.round(expected));
    return isUnexpected(i) ? shown(expected) : "";
  }

  function show(i) {
    $("card-id").textContent = data.ids[i];
    const image = data.images[i];
    $("card-image").hidden = !image;
    if (image) {
      $("card-image").src = image;
      $("card-image").alt = `Image of row ${data.ids[i]}`;
    }
    $("card-text").hidden = !byRole.text;
    if (byRole.text) $("card-text").textContent = shown(at("text", i));
    mainFacts(i);
    const reason = shown(at("reason", i));
    $("card-reason").hidden = !reason;
    $("card-reason").textContent = reason;
    neighbours(i);
    ownFields(i);
    if (!data.review) return;
    $("new-label").value = suggestion(i);
    const decided = decisions.get(i);
    for (const kind of ["keep", "relabel", "drop"]) {
      $(kind).setAttribute("aria-pressed", String(Boolean(decided && decided.decision === kind)));
    }
  }

  function go(i, scroll) {
    const before = current;
    current = i;
    show(i);
    redraw(before);
    redraw(i);
    shownOrder();
    placed();
    if (scroll && places.has(i)) table.scrollToRow(i, "nearest", false).catch(() => {});
  }

  function step(by) {
    const list = shownOrder();
    if (!list.length) return;
    const place = places.get(current);
    const next = place === undefined ? 0 : place + by;
    if (next >= 0 && next < list.length) go(list[next], true);
  }

  // ------------------------------------------------------------------ deciding

  function decide(decision) {
    const label = decision === "relabel" ? $("new-label").value : "";
    if (decision === "relabel" && !label.trim()) {
      $("said").textContent = "Type the new label first.";
      $("new-label").focus();
      return;
    }
    past.push([current, decisions.get(current)]);
    set(current, { decision, label });
    changed();
    $("said").textContent = `Row ${data.ids[current]}: ${rows[current].decision}.`;
    const decided = current;
    step(1);
    if (current === decided) go(current, false);
  }

  function undo() {
    if (!past.length) {
      $("said").textContent = "Nothing to take back.";
      return;
    }
    const [i, before] = past.pop();
    set(i, before);
    changed();
    $("said").textContent = `Row ${data.ids[i]}: decision taken back.`;
    go(i, true);
  }

  function changed() {
    save();
    summarised();
  }

  function summarised() {
    const counts = { keep: 0, relabel: 0, drop: 0 };
    for (const { decision } of decisions.values()) counts[decision] += 1;
    $("summary").textContent = decisions.size
      ? `${decisions.size.toLocaleString("en")} decided: ${counts.keep} keep, ${counts.relabel} relabel, ${counts.drop} drop.`
      : "No row decided yet.";
    $("export").disabled = $("forget").disabled = !decisions.size;
    $("storage-note").textContent = stored
      ? "Decisions are kept in this browser until you forget them."
      : "This browser keeps nothing for this page: save your decisions before you close it.";
  }

  function download() {
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    link.download = "review.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  function forget() {
    if (!confirm(`Forget ${decisions.size} decisions?`)) return;
    const decided = [...decisions.keys()];
    decided.forEach((i) => set(i, undefined));
    past.length = 0;
    decided.forEach(redraw);
    changed();
    go(current, false);
  }

  const KEYS = {
    n: () => step(1), arrowright: () => step(1), p: () => step(-1), arrowleft: () => step(-1),
    ...(data.review && {
      k: () => decide("keep"), r: () => decide("relabel"), d: () => decide("drop"), u: undo,
      l: () => { $("new-label").focus(); $("new-label").select(); },
    }),
  };

  $("card").addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.id === "new-label") {
      if (event.key === "Enter") decide("relabel");
      if (event.key === "Enter" || event.key === "Escape") {
        event.preventDefault();
        $("card").focus();
      }
      return;
    }
    const action = KEYS[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  });
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  if (data.review) {
    for (const kind of ["keep", "relabel", "drop"]) $(kind).addEventListener("click", () => decide(kind));
    $("undo").addEventListener("click", undo);
    $("export").addEventListener("click", download);
    $("forget").addEventListener("click", forget);
    addEventListener("beforeunload", (event) => { if (!stored && decisions.size) event.preventDefault(); });
  }

  load();
  show(current);
  if (data.review) summarised();
  table.on("tableBuilt", async () => {
    await table.setData(rows); // as an option they would be copied, all of them
    order = null;
    counted();
    // The part that scrolls takes the focus, so it needs a role of its own within the grid.
    $("table").removeAttribute("aria-owns");
    $("table").setAttribute("aria-label", "Rows");
    document.querySelector(".tabulator-tableholder").setAttribute("role", "rowgroup");
    document.querySelector(".tabulator-table").setAttribute("role", "presentation");
    document.documentElement.dataset.ready = String(Math.round(performance.now()));
  });
})();
