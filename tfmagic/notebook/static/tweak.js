// The panel of %%tape --tweak: sliders on the sources, the recorded picture on their values.

export default { render: (context) => openPanel(context, buildTweak) };

function buildTweak(root, panel, first) {
  const ui = { panel, words: first.frame.words, sliders: new Map(), send: (kind, content, merge) => panel.send(kind, content, merge) };
  ui.status = make("span", { role: "status" });
  ui.picture = make("div", { class: "tfm-step-picture" });
  ui.table = make("div", {});
  ui.notes = make("div", { class: "tfm-tweak-notes", "aria-live": "polite" });
  ui.sources = make("div", { class: "tfm-step-groups" });
  const button = (text, kind) => make("button", { type: "button", "data-act": kind, onclick: () => ui.send(kind) }, text);
  root.append(
    make("div", { class: "tfm-step-bar" }, button(`↶ ${ui.words.reset}`, "reset"), button(`✕ ${ui.words.close}`, "close"), ui.status),
    ui.notes,
    make("div", { class: "tfm-step-columns" },
      make("div", { class: "tfm-step-main" }, ui.picture),
      make("div", { class: "tfm-step-side" }, ui.sources)),
    ui.table,
  );
  ui.sources.append(...first.frame.sources.map((group) => sourceGroup(ui, group)));
  paintTweak(ui, first);
  return { paint: (state) => paintTweak(ui, state) };
}

function sourceGroup(ui, group) {
  const rows = group.labels.map((label, i) => numberRow(ui, `${group.source}:${i}`, make("span", { class: "tfm-step-name" }, label), -SPAN, SPAN, 0.01, label));
  if (!rows.length) rows.push(pickedRow(ui, group));
  return make("details", { open: true, "data-group": group.name },
    make("summary", {}, `${group.name} `, make("small", {}, group.shape.join("×"))), ...rows);
}

// A source too large for a slider each: the place is typed, as in Python.
function pickedRow(ui, group) {
  const part = `${group.source}:0`;
  const name = make("span", { class: "tfm-step-name" }, group.name);
  const row = numberRow(ui, part, name, -SPAN, SPAN, 0.01, group.name);
  const held = ui.sliders.get(part);
  held.pick = make("input", { type: "text", size: 12, "aria-label": `${group.name} ${ui.words.row}`,
    onchange: () => ui.send("pick", { source: group.source, at: held.pick.value }) });
  held.name = name;
  return make("div", {}, make("label", { class: "tfm-step-picker" }, ui.words.row, held.pick), row);
}

// Paints what is new.
function paintTweak(ui, news) {
  if (news.svg !== undefined) setGraph(ui, news);
  for (const [id, box] of Object.entries(news.words || {})) paintBox(ui, id, box);
  (news.values || []).forEach((values, source) => {
    if (Array.isArray(values)) values.forEach((value, i) => showNumber(ui.sliders.get(`${source}:${i}`), value));
    else showPicked(ui.sliders.get(`${source}:0`), source, values);
  });
  if ("table" in news) ui.table.innerHTML = news.table; // escaped by the kernel
  if ("notes" in news) ui.notes.replaceChildren(...news.notes.map((note) => make("p", { class: "tfm-busy" }, note)));
  if ("status" in news) ui.status.textContent = news.status;
  if (!("unfinished" in news)) return;
  for (const part of [ui.picture, ui.table]) part.setAttribute("aria-busy", String(news.unfinished));
}

function showPicked(row, source, { at, place, value, label }) {
  row.part = `${source}:${place}`;
  row.pick.value = at.join(",");
  row.name.textContent = label;
  row.slider.setAttribute("aria-label", label);
  row.field.setAttribute("aria-label", label);
  showNumber(row, value);
}

function setGraph(ui, state) {
  if (state.svg) ui.picture.innerHTML = state.svg; // made by the kernel of shapes and words only
  else ui.picture.textContent = state.error;
  ui.boxes = new Map([...ui.picture.querySelectorAll("[data-part]")].map((group) => [group.dataset.part, group]));
}

function paintBox(ui, id, box) {
  const group = ui.boxes.get(id);
  if (!group) return;
  group.querySelectorAll("text").forEach((text, i) => {
    if (text.textContent !== box.lines[i]) text.textContent = box.lines[i];
    if (box.colours[i]) text.setAttribute("fill", box.colours[i]);
  });
  for (const shape of group.querySelectorAll("path, polygon, ellipse")) {
    shape.dataset.line ||= shape.getAttribute("stroke");
    shape.setAttribute("stroke", box.marked || shape.dataset.line);
  }
}
