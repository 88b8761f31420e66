// The panel of %tfstep. The kernel says what to write and paint; nothing is computed here.

const SPEEDS = [1, 2, 5, 10, 30];

export default { render: (context) => openPanel(context, buildStep) };

function buildStep(root, panel, first) {
  const words = first.frame.words;
  const ui = { words, panel, state: first, sliders: new Map(), playing: 0 };
  ui.send = (kind, content, merge) => panel.send(kind, content, merge);

  ui.head = make("strong", { class: "tfm-step-head", role: "status" });
  ui.warning = make("p", { class: "tfm-alert", role: "status", hidden: true });
  ui.picture = make("div", { class: "tfm-step-picture" });
  ui.formula = make("div", { class: "tfm-step-formula", "aria-live": "polite" });
  ui.agree = make("p", { class: "tfm-step-agree" });
  ui.groups = make("div", { class: "tfm-step-groups" });
  ui.curve = make("div");

  root.append(
    ui.head,
    toolbar(ui),
    ui.warning,
    make("div", { class: "tfm-step-columns" },
      make("div", { class: "tfm-step-main" }, ui.picture, guessing(ui), ui.formula, ui.agree,
        make("div", { class: "tfm-step-columns" },
          make("div", { class: "tfm-step-curve" }, ui.curve, scrub(ui)), landscape(ui))),
      make("div", { class: "tfm-step-side" }, ui.groups),
    ),
    make("p", { class: "tfm-step-hint" }, words.choose, make("br"), words.keys),
  );
  panel.root.tabIndex = 0;
  const press = (event) => shortcut(ui, event);
  panel.root.addEventListener("keydown", press);
  paintStep(ui, first);
  return {
    paint: (state) => paintStep(ui, state),
    remove: () => {
      stopPlaying(ui);
      panel.root.removeEventListener("keydown", press);
    },
  };
}

// --- buttons ----------------------------------------------------------------------------

function toolbar(ui) {
  const { words } = ui;
  const button = (text, title, onclick, attributes = {}) =>
    make("button", { type: "button", title, onclick, ...attributes }, text);
  ui.next = {};
  const stepping = ["forward", "backward", "update"].map((name) => {
    ui.next[name] = button(`${words[name]} ▸`, "", () => ui.send(name), { "data-act": name });
    const all = button("▸▸", `${words[name]}: ${words.all} (Shift+${name[0].toUpperCase()})`,
      () => ui.send(name, { all: true }), { "data-act": `${name}-all`, "aria-label": `${words[name]}: ${words.all}` });
    return make("span", { class: "tfm-step-pair" }, ui.next[name], all);
  });
  ui.count = make("input", { type: "number", min: 1, max: 10000, value: 100, "aria-label": words.steps });
  ui.play = button(`▶ ${words.play}`, "space", () => togglePlay(ui), { "aria-pressed": "false", "data-act": "play" });
  ui.speed = make("select", { "aria-label": words.speed, title: words.speed },
    ...SPEEDS.map((speed) => make("option", { value: speed, selected: speed === 5 }, `${speed}/s`)));
  ui.undo = button(`↶ ${words.undo}`, "z", () => ui.send("undo"), { "data-act": "undo" });
  ui.predict = button(words.predict, "p", () => ui.send("predict", { on: !ui.state.predicting }),
    { "aria-pressed": "false", "data-act": "predict" });
  ui.code = make("button", { type: "button", onclick: () => copyCode(ui), "data-act": "code" }, words.code);
  ui.source = make("textarea", { readonly: true, hidden: true, rows: 14, "aria-label": words.code });
  return make("div", {},
    make("div", { class: "tfm-step-bar", role: "toolbar", "aria-label": ui.panel.root.getAttribute("aria-label") || "" },
      ...stepping,
      button(words.whole_step, "s", () => ui.send("run", { n: 1 }), { "data-act": "step" }),
      make("span", { class: "tfm-step-pair" },
        button(words.run, "", () => ui.send("run", { n: Number(ui.count.value) }), { "data-act": "run" }), ui.count),
      make("span", { class: "tfm-step-pair" }, ui.play, ui.speed),
      ui.undo,
      button(words.reset, "r", () => ui.send("reset"), { "data-act": "reset" }),
      ui.predict,
      ui.code,
      button("✕", words.close, () => ui.send("close"), { "aria-label": words.close, "data-act": "close" }),
    ),
    ui.source,
  );
}

async function copyCode(ui) {
  const state = await ui.send("code");
  if (!state || !state.code) return;
  const copied = await copyText(state.code);
  ui.code.textContent = copied ? ui.words.copied : ui.words.select_code;
  ui.source.value = state.code;
  ui.source.hidden = copied;
  if (!copied) ui.source.select();
  setTimeout(() => (ui.code.textContent = ui.words.code), 2500);
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

// Plays one step after another; each begins when the last one is painted.
function togglePlay(ui) {
  if (ui.playing) return stopPlaying(ui);
  ui.playing = 1;
  showPlaying(ui);
  const turn = async () => {
    const begun = performance.now();
    const state = await ui.send("run", { n: 1 });
    if (!ui.playing) return;
    if (!state || ui.state.stop) return stopPlaying(ui);
    const pause = 1000 / Number(ui.speed.value) - (performance.now() - begun);
    ui.playing = setTimeout(turn, Math.max(0, pause));
  };
  turn();
}

function stopPlaying(ui) {
  clearTimeout(ui.playing);
  ui.playing = 0;
  showPlaying(ui);
}

function showPlaying(ui) {
  ui.play.textContent = ui.playing ? `❚❚ ${ui.words.pause}` : `▶ ${ui.words.play}`;
  ui.play.setAttribute("aria-pressed", String(Boolean(ui.playing)));
}

const KEYS = {
  f: ["forward", {}], F: ["forward", { all: true }],
  b: ["backward", {}], B: ["backward", { all: true }],
  u: ["update", {}], U: ["update", { all: true }],
  s: ["run", { n: 1 }], z: ["undo", {}], r: ["reset", {}],
};

function shortcut(ui, event) {
  const typing = event.target.matches("input[type=text], input[type=number], textarea, select");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const onButton = event.target.matches("button, summary, [role=button]");
  if (event.key === " " && !onButton) togglePlay(ui);
  else if (event.key === "p") ui.send("predict", { on: !ui.state.predicting });
  else if (KEYS[event.key]) ui.send(...KEYS[event.key]);
  else return;
  event.preventDefault();
}

// --- sliders ----------------------------------------------------------------------------

function fillGroups(ui, frame) {
  ui.sliders.clear();
  const { words } = ui;
  const titles = { X: words.inputs, Y: words.targets };
  const rate = numberRow(ui, "lr", make("span", {}, "lr"), 0, 1, 0.005);
  const parts = frame.groups.map((group) => {
    const rows = group.picker ? [pickerRow(ui, group)] : everyPlace(group).map((part) => numberRow(ui, part, chooser(ui, part)));
    const size = `${group.rows}×${group.columns}`;
    return make("details", { open: !"XY".includes(group.name) || frame.groups.length < 5, "data-group": group.name },
      make("summary", {}, `${titles[group.name] || group.name} `, make("small", {}, size)), ...rows);
  });
  ui.groups.replaceChildren(
    make("div", { class: "tfm-step-rate" }, make("span", {}, words.rate), rate),
    ...sampleRow(ui, frame), ...parts);
}

function everyPlace({ name, rows, columns }) {
  const places = [];
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) places.push(name.startsWith("b_") ? `${name}[${i}]` : `${name}[${i},${j}]`);
  }
  return places;
}

function chooser(ui, part) {
  return make("button", { type: "button", class: "tfm-step-name", "data-choose": part, onclick: () => ui.send("choose", { part }) }, part);
}

// A matrix too large for a slider each: row and column are picked.
function pickerRow(ui, group) {
  const row = numberRow(ui, `${group.name}[0,0]`, chooser(ui, `${group.name}[0,0]`));
  const held = ui.sliders.get(`${group.name}[0,0]`);
  ui.sliders.delete(`${group.name}[0,0]`);
  held.picker = group;
  ui.sliders.set(group.name, held);
  const pick = (name, most) => make("input", { type: "number", min: 0, max: most - 1, value: 0, "aria-label": `${group.name} ${name}`,
    onchange: () => choose() });
  const i = pick(ui.words.row, group.rows), j = pick(ui.words.column, group.columns);
  const choose = () => ui.send("choose", { part: group.name.startsWith("b_") ? `${group.name}[${i.value}]` : `${group.name}[${i.value},${j.value}]` });
  held.at = (place) => { i.value = place[0]; j.value = place[1]; };
  return make("div", {}, make("div", { class: "tfm-step-picker" }, ui.words.row, i, ui.words.column, j), row);
}

function sampleRow(ui, frame) {
  if (frame.samples < 2) return [];
  ui.sample = make("input", { type: "range", min: 0, max: frame.samples - 1, step: 1, "aria-label": ui.words.sample,
    oninput: () => ui.send("sample", { sample: Number(ui.sample.value) }, true) });
  ui.sampleName = make("output", {});
  return [make("label", { class: "tfm-step-row" }, make("span", {}, ui.words.sample), ui.sample, ui.sampleName)];
}

// --- history, landscape, guessing ---------------------------------------------------------

function scrub(ui) {
  ui.scrub = make("input", { type: "range", min: 0, max: 0, step: 1, value: 0, "aria-label": ui.words.scrub, "data-act": "scrub",
    oninput: () => { stopPlaying(ui); ui.send("goto", { step: Number(ui.scrub.value) }, true); } });
  ui.scrubName = make("output", {});
  return make("label", { class: "tfm-step-row" }, make("span", {}, ui.words.scrub), ui.scrub, ui.scrubName);
}

function landscape(ui) {
  ui.axes = ["first", "second"].map((name) => make("select", { "aria-label": ui.words.landscape, "data-axis": name, onchange: () => ask() }));
  ui.land = make("div", { class: "tfm-step-land" });
  const ask = () => ui.send("landscape", box.open ? { first: ui.axes[0].value, second: ui.axes[1].value } : {});
  const box = make("details", { class: "tfm-step-landscape", ontoggle: () => ask() },
    make("summary", {}, ui.words.landscape),
    make("div", { class: "tfm-step-picker" }, make("span", { class: "tfm-step-tied" }, ui.words.over, ui.axes[0]),
      make("span", { class: "tfm-step-tied" }, ui.words.and, ui.axes[1])), ui.land);
  return box;
}

function fillAxes(ui, frame) {
  const places = frame.groups.filter((group) => !"XY".includes(group.name))
    .flatMap((group) => everyPlace({ ...group, rows: Math.min(group.rows, 8), columns: Math.min(group.columns, 8) }));
  ui.axes.forEach((select, k) => {
    select.replaceChildren(...places.map((place) => make("option", { value: place }, place)));
    select.value = k ? places.find((place) => place.startsWith("W_2")) || places[places.length - 1] : places[0];
  });
}

function guessing(ui) {
  ui.guess = make("input", { type: "text", inputmode: "decimal", size: 10, "aria-label": ui.words.guess, "data-act": "guess" });
  ui.told = make("p", { class: "tfm-step-told", role: "status" });
  ui.question = make("strong", {});
  const check = () => ui.guess.value.trim() && ui.send("guess", { guess: ui.guess.value.trim().replace("−", "-").replace(",", ".") });
  ui.guess.addEventListener("keydown", (event) => event.key === "Enter" && check());
  ui.asking = make("div", { class: "tfm-step-guess", hidden: true }, make("label", {}, ui.question, " = ", ui.guess, " "),
    make("button", { type: "button", onclick: check, "data-act": "check" }, ui.words.check), ui.told);
  return ui.asking;
}

// --- painting -----------------------------------------------------------------------------

// Paints what is new; `ui.state` is the whole, as far as buttons and fields need it.
function paintStep(ui, news) {
  ui.state = { ...ui.state, ...news };
  if (news.frame) {
    fillGroups(ui, news.frame);
    fillAxes(ui, news.frame);
    setPicture(ui, news.frame.svg);
  }
  for (const [part, mark] of Object.entries(news.marks || {})) paintMark(ui, part, mark);
  for (const name of Object.keys(PAINTERS)) if (name in news) PAINTERS[name](ui, news[name]);
  if ("values" in news || "chosen" in news || "lr" in news) paintNumbers(ui, ui.state);
  if ("at" in news || "last" in news) paintScrub(ui, ui.state);
}

const PAINTERS = {
  head: (ui, text) => (ui.head.textContent = text),
  warning: (ui, text) => { ui.warning.textContent = text; ui.warning.hidden = !text; },
  agree: (ui, text) => (ui.agree.textContent = `${{ true: "✓", false: "✗" }[ui.state.agrees] || "–"} ${text}`),
  agrees: (ui, holds) => (ui.agree.dataset.agrees = holds),
  chosen: (ui, chosen) => {
    for (const group of ui.picture.querySelectorAll("[role=button]")) {
      group.setAttribute("aria-pressed", String(group.dataset.part === chosen));
    }
  },
  formula: (ui, lines) => patch(ui.formula, lines.map((line) => (line.terms.length ? chainOf(ui, line) : plainLine(line)))),
  sample: (ui, sample) => { if (ui.sample) { ui.sample.value = sample; ui.sampleName.textContent = String(sample); } },
  next: (ui, pieces) => {
    for (const [name, what] of Object.entries(pieces)) ui.next[name].title = `${ui.words.next} ${what} (${name[0]})`;
  },
  can_undo: (ui, can) => (ui.undo.disabled = !can),
  curve: (ui, svg) => (ui.curve.innerHTML = svg), // made by the kernel of shapes and figures only
  landscape: (ui, svg) => (ui.land.innerHTML = svg),
  predicting: (ui, on) => { ui.predict.setAttribute("aria-pressed", String(on)); ui.asking.hidden = !on; },
  question: (ui, text) => (ui.question.textContent = text),
  told: (ui, text) => (ui.told.textContent = text),
  told_right: (ui, right) => (ui.told.dataset.right = right),
  stop: (ui, stop) => { if (stop && ui.playing) stopPlaying(ui); },
};

function paintScrub(ui, { at, last }) {
  ui.scrub.max = last;
  if (document.activeElement !== ui.scrub || !ui.scrub.matches(":active")) ui.scrub.value = at;
  ui.scrubName.textContent = `${at} / ${last}`;
}

function setPicture(ui, svg) {
  ui.picture.innerHTML = svg; // made by the kernel of shapes and placeholders only
  ui.parts = new Map();
  const drawn = ui.picture.querySelector("svg");
  drawn.setAttribute("role", "group");
  drawn.setAttribute("aria-label", ui.panel.root.getAttribute("aria-label") || "");
  for (const group of drawn.querySelectorAll("[data-part]")) {
    ui.parts.set(group.dataset.part, group);
    const part = group.dataset.part.replace(/[<>]$/, "");
    if (!/^([WXb]|Y\[)/.test(part) || !part.endsWith("]")) continue;
    group.addEventListener("click", () => ui.send("choose", { part }));
    group.classList.add("tfm-step-choose");
    if (part !== group.dataset.part) continue;
    group.setAttribute("role", "button");
    group.setAttribute("tabindex", "0");
    group.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      event.stopPropagation();
      ui.send("choose", { part });
    });
  }
}

function paintMark(ui, part, mark) {
  const group = ui.parts.get(part);
  if (!group) return;
  const edge = !mark.fill;
  for (const shape of group.children) {
    if (shape.tagName === "text" || shape.tagName === "title") continue;
    const tip = edge && shape.tagName === "polygon";
    shape.setAttribute("stroke", mark.line);
    shape.setAttribute("stroke-width", tip ? 1 : mark.width);
    if (tip || !edge) shape.setAttribute("fill", edge ? mark.line : mark.fill);
  }
  const lines = mark.lines || [];
  group.querySelectorAll("text").forEach((text, i) => {
    if (text.textContent === lines[i]) return;
    text.textContent = lines[i];
    text.setAttribute("class", lines[i].startsWith("∇") ? "tfm-step-slope" : i ? "" : "tfm-step-title");
  });
  group.classList.toggle("tfm-step-now", Boolean(mark.now));
  if (group.getAttribute("role") === "button") group.setAttribute("aria-label", lines.join(" "));
  if (mark.title) {
    let title = group.querySelector("title");
    if (!title) group.prepend((title = make("title")));
    title.textContent = mark.title;
  }
}

function plainLine(line) {
  return make("p", { class: "tfm-mono" }, make("strong", {}, line.name), ...line.steps.map((step) => make("span", {}, ` = ${step}`)));
}

// The chain rule: under each fraction what it is made of, and under that its number. Several
// ways to the loss stand in a row each; a sign never parts from what follows it.
function chainOf(ui, line) {
  const sign = (text) => make("span", { class: "tfm-step-sign" }, text);
  const rows = line.terms.map((way, k) => make("div", { class: "tfm-step-way" },
    k ? null : make("strong", {}, line.name),
    ...way.map((factor, i) => make("span", { class: "tfm-step-tied" }, sign(i ? "·" : k ? "+" : "="), factorOf(factor)))));
  const value = make("span", { class: "tfm-step-tied" }, line.more ? sign(line.more) : null, sign("="),
    make("b", { class: "tfm-step-value" }, line.value));
  if (rows.length > 1) rows.push(make("div", { class: "tfm-step-way" }));
  rows[rows.length - 1].append(value, copyLatex(ui, line) || "");
  return make("div", { class: `tfm-step-chain${line.terms.length > 1 ? " tfm-step-ways" : ""}`, role: "group",
    "aria-label": `${line.name} = ${line.steps.join(" = ")}` }, ...rows);
}

function factorOf(factor) {
  return make("span", { class: `tfm-step-factor${factor.now ? " tfm-step-now" : ""}`, "data-factor": factor.part },
    make("span", { class: "tfm-step-fraction" }, make("span", {}, `∂${factor.over}`), make("span", {}, `∂${factor.under}`)),
    make("span", {}, factor.symbol), make("b", {}, factor.value));
}

function copyLatex(ui, line) {
  return !line.latex ? null : make("button", { type: "button", class: "tfm-step-small", "data-act": "latex", "data-latex": line.latex,
    onclick: async (event) => { if (await copyText(event.target.dataset.latex)) event.target.textContent = ui.words.copied; } }, ui.words.latex);
}

function paintNumbers(ui, state) {
  for (const [name, row] of ui.sliders) {
    if (name === "lr") showNumber(row, state.lr);
    else if (row.picker) {
      const { at, value } = state.values[name];
      row.part = name.startsWith("b_") ? `${name}[${at[0]}]` : `${name}[${at.join(",")}]`;
      row.slider.setAttribute("aria-label", row.part);
      row.at(at);
      showNumber(row, value);
    } else {
      const [, matrix, i, j] = /(\w+)\[(\d+)(?:,(\d+))?\]/.exec(name);
      showNumber(row, state.values[matrix][i][j || 0]);
      row.field.closest("label").classList.toggle("tfm-step-chosen", name === state.chosen);
    }
  }
}
