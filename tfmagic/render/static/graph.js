// A graph whose folds open and close, drawn from levels that were laid out before.
//
// showGraph(root, ask, first) draws into `root`. `ask(kind, content)` answers a promise:
// "level" {fold} → {levels}, "search" {text} → {found}, "reveal" {id} → {around, levels, home},
// "way" {id} → {ids, verdict}, "opened" {open} → anything. `first` has the open folds, their
// levels, the words and the looks. Where a fold opens, the plane around it is stretched: every
// box keeps its place among the others, and arrows that passed by still pass by.
//
// All text is set as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = 12; // around what is inside an open fold
const HEAD = 22; // for its name
const LEAST = 0.7; // below this scale the text in the boxes is too small
const READABLE = 0.8; // where a part is shown instead of the whole
const EDGE = 10; // around the whole
const LINE = 13.2; // from one line of a box to the next
const MODES = ["kind", "device", "time", "flops", "gradient", "dtype", "bytes"];
const GROUPS = ["#dcebfb", "#fdebc0", "#dff3e6", "#e6dcfc", "#fbe0ec", "#d7f0f2", "#f1e4d3", "#e6eaef"];
const PALE = [247, 251, 255];
const DEEP = [107, 174, 214];
const HOT_PALE = [255, 247, 236];
const HOT_DEEP = [253, 141, 90];

function build(tag, attributes = {}, ...children) {
  const svg = tag.startsWith("svg:");
  const node = svg ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function fill(text, values) {
  return text.replace(/\{(\w+)[^}]*\}/g, (_, name) => values[name]);
}

// A function that moves coordinates apart: each interval [from, to, more] becomes longer by at
// least `more`, those that lie above each other share the room, and nothing changes its order.
function stretch(intervals) {
  const edges = [...new Set(intervals.flatMap(([from, to]) => [from, to]))].sort((a, b) => a - b);
  const added = [0];
  for (let i = 1; i < edges.length; i++) {
    const middle = (edges[i] + edges[i - 1]) / 2;
    let most = 0;
    for (const [from, to, more] of intervals)
      if (from < middle && middle < to) most = Math.max(most, more / (to - from));
    added.push(added[i - 1] + most * (edges[i] - edges[i - 1]));
  }
  return (value) => {
    if (!edges.length || value <= edges[0]) return value;
    let i = 1;
    while (i < edges.length && edges[i] < value) i++;
    if (i === edges.length) return value + added[i - 1];
    const share = (value - edges[i - 1]) / (edges[i] - edges[i - 1] || 1);
    return value + added[i - 1] + share * (added[i] - added[i - 1]);
  };
}

function formatNumber(value) {
  if (value && Math.abs(value) < 1e-3) return value.toExponential(1);
  return Number(value.toPrecision(3)).toLocaleString();
}

function formatSeconds(value) {
  for (const [scale, unit] of [[1, "s"], [1e-3, "ms"], [1e-6, "µs"]])
    if (value >= scale) return `${(value / scale).toPrecision(3)} ${unit}`;
  return `${(value / 1e-9).toPrecision(2)} ns`;
}

function formatBytes(value) {
  for (const [scale, unit] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]])
    if (value >= scale) return `${(value / scale).toPrecision(3)} ${unit}`;
  return `${value} B`;
}

function showGraph(root, ask, first) {
  const { words, looks, ranges } = first;
  const levels = new Map(Object.entries(first.levels));
  const open = new Set(first.open);
  const groups = new Map(); // a device or dtype → its colour
  const boxes = new Map(); // key → what was drawn there, with its place on the plane
  let marked = new Set();
  let mode = "kind";
  let chosen = null; // key of the box that has the focus
  let view = { x: 0, y: 0, k: 1 };
  let size = { w: 1, h: 1 };
  let asking = 0;

  // --- the parts of the page ---------------------------------------------------------------

  const plane = build("svg:g");
  const svg = build("svg:svg", { class: "tfg-svg", role: "group", "aria-label": words.title }, plane);
  const viewport = build("div", { class: "tfg-view" }, svg);
  const details = build("div", { class: "tfg-details", role: "status", "aria-live": "polite" });
  const legend = build("div", { class: "tfg-legend" });
  const results = build("ul", { class: "tfg-results", hidden: "" });
  const said = build("span", { class: "tfg-said", role: "status" });
  const search = build("input", {
    type: "search", placeholder: words.search_hint, "aria-label": words.search, oninput: () => find(search.value),
    onkeydown: (event) => {
      event.stopPropagation();
      if (event.key === "Escape") { search.value = ""; find(""); focusOn(chosen); }
      if (event.key === "Enter") results.querySelector("button")?.click();
      if (event.key === "ArrowDown") results.querySelector("button")?.focus();
    },
  });
  const colour = build("select", { "aria-label": words.colour, onchange: () => { mode = colour.value; draw(); } });
  for (const name of MODES)
    if (name === "kind" || name === "device" || name === "dtype" || ranges[name])
      colour.append(build("option", { value: name }, words[name]));
  const button = (label, text, act) => build("button", { type: "button", "aria-label": label, title: label, onclick: act }, text);
  const keys = build("details", { class: "tfg-keys" }, build("summary", {}, words.help), build("p", {}, words.keys));
  const bar = build("div", { class: "tfg-bar" },
    build("span", { class: "tfg-search" }, search, results), said,
    build("label", {}, words.colour, " ", colour),
    button(words.zoom_out, "−", () => zoom(1 / 1.3)), button(words.zoom_in, "+", () => zoom(1.3)),
    button(words.fit, "⤢", fit), keys);
  const body = build("div", { class: "tfg", tabindex: "-1" }, bar, viewport, legend, details);
  root.append(body);

  // --- from levels to places ---------------------------------------------------------------

  function arrange(name) {
    const level = levels.get(name);
    const grown = new Map();
    for (const node of level.nodes) {
      if (!open.has(node.id) || !levels.has(node.id)) continue;
      const inner = arrange(node.id);
      const [x, y, w, h] = node.at;
      const title = 8 * node.lines[0][1].length + 60;
      const W = Math.max(inner.w + 2 * MARGIN, w, title);
      const H = Math.max(inner.h + HEAD + 2 * MARGIN, h);
      grown.set(node.id, { inner, W, H, x: [x - w / 2, x + w / 2, W - w], y: [y - h / 2, y + h / 2, H - h] });
    }
    const fx = stretch([...grown.values()].map((g) => g.x));
    const fy = stretch([...grown.values()].map((g) => g.y));
    return { name, level, grown, fx, fy, w: fx(level.w), h: fy(level.h) };
  }

  function place(node, { fx, fy, grown }) {
    const [x, y, w, h] = node.at;
    const big = grown.get(node.id);
    return {
      x: (fx(x - w / 2) + fx(x + w / 2)) / 2, y: (fy(y - h / 2) + fy(y + h / 2)) / 2,
      w: big ? big.W : w, h: big ? big.H : h,
    };
  }

  // An end of an arrow stays where it touched its box; the points between go with the plane.
  function route(points, tail, head, tailAt, headAt, { fx, fy }) {
    // What lies beyond the box's side stays as far from it, however large the box has grown.
    const along = (off, was, is) => {
      const beyond = Math.max(0, Math.abs(off) - was / 2);
      return (off - Math.sign(off) * beyond) * (is / was) + Math.sign(off) * beyond;
    };
    const touch = (x, y, node, at) => [
      at.x + along(x - node.at[0], node.at[2], at.w), at.y + along(y - node.at[1], node.at[3], at.h),
    ];
    const moved = [];
    for (let i = 0; i < points.length; i += 2) moved.push([fx(points[i]), fy(points[i + 1])]);
    const last = moved.length - 1;
    const ends = [touch(points[0], points[1], tail, tailAt), touch(points[2 * last], points[2 * last + 1], head, headAt)];
    const shift = [0, last].map((i, end) => [ends[end][0] - moved[i][0], ends[end][1] - moved[i][1]]);
    moved[0] = ends[0];
    moved[last] = ends[1];
    if (last > 2) {
      for (const [i, end] of [[1, 0], [last - 1, 1], [last - 2, 1]])
        moved[i] = [moved[i][0] + shift[end][0], moved[i][1] + shift[end][1]];
    }
    return moved;
  }

  // --- drawing -----------------------------------------------------------------------------

  function draw() {
    boxes.clear();
    const all = arrange(first.root);
    size = { w: all.w, h: all.h };
    const scene = build("svg:g");
    drawLevel(all, scene, 0, 0);
    plane.replaceChildren(scene);
    drawLegend();
    if (chosen && !boxes.has(chosen)) chosen = null;
    for (const box of boxes.values()) box.group.setAttribute("tabindex", "-1");
    if (chosen) mark(boxes.get(chosen), true);
    else if (boxes.size) boxes.values().next().value.group.setAttribute("tabindex", "0");
    said.textContent = all.level.rough ? words.rough : "";
    move();
  }

  function drawLevel(arranged, into, left, top) {
    const at = new Map();
    const nodes = new Map();
    for (const node of arranged.level.nodes) { at.set(node.id, place(node, arranged)); nodes.set(node.id, node); }
    for (const edge of arranged.level.edges) {
      const [tail, head] = [nodes.get(edge.t), nodes.get(edge.h)];
      if (tail && head) into.append(drawEdge(edge, route(edge.p, tail, head, at.get(edge.t), at.get(edge.h), arranged)));
    }
    for (const node of arranged.level.nodes) {
      const here = at.get(node.id);
      const key = `${arranged.name}/${node.id}`;
      const big = arranged.grown.get(node.id);
      const group = big ? drawFrame(node, here, key) : drawBox(node, here, key);
      boxes.set(key, { key, node, group, fold: arranged.name, x: left + here.x, y: top + here.y, w: here.w, h: here.h });
      into.append(group);
      if (big) {
        const [x, y] = [here.x - here.w / 2 + (here.w - big.inner.w) / 2, here.y - here.h / 2 + HEAD + MARGIN];
        const inside = build("svg:g", { transform: `translate(${x},${y})` });
        group.append(inside);
        drawLevel(big.inner, inside, left + x, top + y);
      }
    }
  }

  function drawEdge(edge, points) {
    const red = edge.marked || (marked.has(edge.t) && marked.has(edge.h));
    const last = points.length - 1;
    let path = `M${points[0]}`;
    for (let i = 1; i + 2 < last; i += 3) path += `C${points[i]} ${points[i + 1]} ${points[i + 2]}`;
    if (last < 4) path += `L${points[last - 1]}`;
    const [tx, ty] = points[last];
    let [bx, by] = points[last - 1];
    if (Math.hypot(tx - bx, ty - by) < 1) [bx, by] = points[Math.max(0, last - 2)];
    const long = Math.hypot(tx - bx, ty - by) || 1;
    const [ux, uy] = [(tx - bx) / long, (ty - by) / long];
    const tip = [[tx, ty], [tx - 8 * ux + 3 * uy, ty - 8 * uy - 3 * ux], [tx - 8 * ux - 3 * uy, ty - 8 * uy + 3 * ux]];
    const group = build("svg:g", { class: `tfg-edge tfg-${edge.k}${red ? " tfg-red" : ""}`, "aria-hidden": "true" },
      build("svg:path", { d: `${path}L${[tx - 6 * ux, ty - 6 * uy]}` }), build("svg:polygon", { points: tip.join(" ") }));
    if (edge.label) group.append(edgeLabel(edge.label, points));
    return group;
  }

  function edgeLabel(text, points) {
    const last = points.length - 1;
    const [[sx, sy], [tx, ty], [mx, my]] = [points[0], points[last], points[Math.floor(last / 2)]];
    const lies = Math.abs(tx - sx) > 2 * Math.abs(ty - sy);  // over a line that lies, beside one that stands
    const place = lies ? { x: (sx + tx) / 2, y: (sy + ty) / 2 - 5, "text-anchor": "middle" } : { x: mx + 5, y: my };
    const label = build("svg:text", place);
    label.textContent = text;
    return label;
  }

  function outline(shape, x, y, w, h) {
    const [l, t, r, b] = [x - w / 2, y - h / 2, x + w / 2, y + h / 2];
    if (shape === "ellipse") return [build("svg:ellipse", { cx: x, cy: y, rx: w / 2, ry: h / 2 })];
    if (shape === "cylinder") {
      const lid = `M${l},${t + 5}A${w / 2},5 0 0 1 ${r},${t + 5}`;
      return [build("svg:path", { d: `${lid}V${b - 5}A${w / 2},5 0 0 1 ${l},${b - 5}Z` }),
        build("svg:path", { d: `M${l},${t + 5}A${w / 2},5 0 0 0 ${r},${t + 5}`, fill: "none" })];
    }
    if (shape === "folder") return [build("svg:path", { d: `M${l},${t}H${r - 30}l4,-4H${r - 4}l4,4V${b}H${l}Z` })];
    if (shape === "note") return [build("svg:path", { d: `M${l},${t}H${r - 7}L${r},${t + 7}V${b}H${l}ZM${r - 7},${t}V${t + 7}H${r}` })];
    return [build("svg:rect", { x: l, y: t, width: w, height: h, rx: 8 })];
  }

  function drawBox(node, { x, y, w, h }, key) {
    const look = looks[node.kind] || looks.op;
    const paint = { fill: shade(node, look), stroke: look.line };
    const shape = build("svg:g", paint, ...outline(look.shape, x, y, w, h));
    if (look.border > 1) shape.append(build("svg:rect", { x: x - w / 2 + 3, y: y - h / 2 + 3, width: w - 6, height: h - 6, rx: 6, fill: "none" }));
    const group = shell(node, key, shape);
    const start = y - (node.lines.length * LINE) / 2 + (look.shape === "cylinder" ? 4 : 0);
    const wide = Math.max(0, ...node.lines.slice(1).map(([, text]) => columns(text))) * 6.7;
    node.lines.forEach(([part, text], i) => {
      const line = build("svg:text", {
        class: `tfg-${part}`, x: part === "title" ? x : x - wide / 2, y: start + i * LINE + 10,
        "text-anchor": part === "title" ? "middle" : "start",
      });
      line.textContent = text;
      group.append(line);
    });
    return group;
  }

  function drawFrame(node, { x, y, w, h }, key) {
    const frame = build("svg:rect", { class: "tfg-frame", x: x - w / 2, y: y - h / 2, width: w, height: h, rx: 8 });
    const group = shell(node, key, frame);
    const text = build("svg:text", { class: "tfg-title tfg-name", x: x - w / 2 + 10, y: y - h / 2 + 15 });
    text.textContent = `▾ ${node.lines[0][1]}`;
    group.append(text);
    return group;
  }

  function shell(node, key, shape) {
    const opened = open.has(node.id) && levels.has(node.id);
    const red = node.marked || marked.has(node.id);
    const state = node.fold ? `, ${opened ? words.opened : words.closed}` : "";
    const label = node.lines.map(([, text]) => text).join(", ") + state;
    const group = build("svg:g", {
      class: `tfg-box${node.fold ? " tfg-fold" : ""}${red ? " tfg-red" : ""}`, "aria-label": label,
      // Boxes stand inside an open fold, and a button may hold nothing that takes the focus.
      role: opened ? "group" : "button", "aria-expanded": node.fold && !opened ? "false" : null, "data-id": node.id, "data-open": node.fold ? String(opened) : null,
      onclick: (event) => {
        event.stopPropagation();
        if (dragged) return;
        choose(key);
        if (node.fold) toggle(key);
      },
      onfocus: (event) => { if (event.target === group) choose(key, false); },
      onmouseenter: () => tell(node), onmouseleave: () => tell(boxes.get(chosen)?.node),
    }, shape);
    return group;
  }

  function columns(text) {
    let count = 0;
    for (const c of text) count += c.codePointAt(0) >= 0x1100 && /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/.test(c) ? 2 : 1;
    return count;
  }

  // --- colours -----------------------------------------------------------------------------

  function blend([r, g, b], [R, G, B], share) {
    return `rgb(${[r + (R - r) * share, g + (G - g) * share, b + (B - b) * share].map(Math.round)})`;
  }

  function scale() {
    return mode === "time" || mode === "gradient" || mode === "flops" ? [HOT_PALE, HOT_DEEP] : [PALE, DEEP];
  }

  function shade(node, look) {
    if (mode === "kind") return look.fill;
    const value = node.by[mode];
    if (value === undefined) return "#ffffff";
    if (typeof value === "string") {
      if (!groups.has(value)) groups.set(value, GROUPS[groups.size % GROUPS.length]);
      return groups.get(value);
    }
    const [low, high] = ranges[mode].map(Math.log);
    const share = high > low ? (Math.log(Math.max(value, 1e-300)) - low) / (high - low) : 1;
    return blend(...scale(), Math.min(1, Math.max(0, share)));
  }

  function drawLegend() {
    const key = (paint, line, text) => {
      const mark = build("span", { class: "tfg-key" }, text);
      mark.style.background = paint;
      mark.style.borderColor = line;
      return mark;
    };
    legend.replaceChildren();
    const drawn = [...boxes.values()].map((box) => box.node);
    if (mode === "kind") {
      const kinds = new Set(drawn.map((node) => node.kind));
      for (const [kind, look] of Object.entries(looks)) if (kinds.has(kind)) legend.append(key(look.fill, look.line, look.word));
    } else if (mode === "device" || mode === "dtype") {
      const values = new Set(drawn.map((node) => node.by[mode]).filter((value) => value !== undefined));
      for (const value of values) legend.append(key(groups.get(value) || "#fff", "#8a94a0", value));
    } else {
      const written = { time: formatSeconds, bytes: formatBytes }[mode] || formatNumber;
      const [from, to] = scale().map((rgb) => `rgb(${rgb})`);
      const bar = key(`linear-gradient(90deg, ${from}, ${to})`, "#8a94a0", `${written(ranges[mode][0])} … ${written(ranges[mode][1])}`);
      legend.append(words[mode], " ", bar, " ", key("#ffffff", "#8a94a0", words.unknown));
    }
  }

  // --- what is told of a box ---------------------------------------------------------------

  function tell(node, more = "") {
    details.replaceChildren();
    if (!node) { details.append(build("p", { class: "tfg-quiet" }, words.nothing_chosen)); return; }
    const list = build("dl");
    for (const [label, text] of node.rows) list.append(build("div", {}, build("dt", {}, label), build("dd", {}, text)));
    const acts = build("span", { class: "tfg-acts" });
    if (node.fold) acts.append(build("button", { type: "button", onclick: () => toggle(keyOf(node)) }, open.has(node.id) ? words.close : words.open));
    acts.append(build("button", { type: "button", onclick: () => way(node) }, words.way));
    details.append(build("p", { class: "tfg-head" }, build("strong", {}, node.lines[0][1]), " ", acts), list);
    if (more) details.append(build("p", { class: "tfg-verdict" }, more));
  }

  function keyOf(node) {
    for (const [key, box] of boxes) if (box.node === node) return key;
    return null;
  }

  async function way(node) {
    const found = await ask("way", { id: node.id });
    if (!found) return;
    marked = new Set(found.ids);
    draw();
    focusOn(chosen);
    const count = found.ids.filter((id) => id.startsWith("o")).length;
    tell(node, [count ? fill(words.on_way, { n: count }) : words.no_way, found.verdict].filter(Boolean).join(" "));
  }

  // --- opening and closing -----------------------------------------------------------------

  async function toggle(key) {
    const box = boxes.get(key);
    if (!box || !box.node.fold) return;
    const before = { x: box.x - box.w / 2, y: box.y - box.h / 2 };
    if (open.has(box.node.id)) open.delete(box.node.id);
    else {
      if (!levels.has(box.node.id)) {
        const found = await ask("level", { fold: box.node.id });
        if (!found || !found.levels[box.node.id]) return;
        keep(found.levels);
      }
      open.add(box.node.id);
    }
    chosen = key;
    draw();
    const after = boxes.get(key);
    if (after) { // its corner stays under the eye
      view.x += (before.x - (after.x - after.w / 2)) * view.k;
      view.y += (before.y - (after.y - after.h / 2)) * view.k;
      move();
      tell(after.node);
    }
    focusOn(key);
    ask("opened", { open: [...open] });
  }

  function keep(more) {
    for (const [name, level] of Object.entries(more)) levels.set(name, level);
  }

  async function reveal(id) {
    const found = await ask("reveal", { id });
    if (!found) return;
    keep(found.levels);
    for (const name of found.around) open.add(name);
    draw();
    const box = boxes.get(`${found.home}/${id}`);
    if (!box) return;
    choose(box.key);
    centre(box);
    ask("opened", { open: [...open] });
  }

  // --- search ------------------------------------------------------------------------------

  async function find(text) {
    const mine = ++asking;
    const found = text.trim() ? await ask("search", { text }) : { found: [] };
    if (mine !== asking || !found) return;
    results.replaceChildren();
    for (const { id, title } of found.found)
      results.append(build("li", {}, build("button", {
        type: "button", onclick: () => { results.hidden = true; reveal(id); },
        onkeydown: (event) => {
          event.stopPropagation();
          const item = event.target.parentNode;
          if (event.key === "ArrowDown") item.nextSibling?.firstChild.focus();
          if (event.key === "ArrowUp") (item.previousSibling?.firstChild || search).focus();
          if (event.key === "Escape") { results.hidden = true; search.focus(); }
        },
      }, title)));
    results.hidden = !found.found.length;
    said.textContent = !text.trim() ? "" : found.found.length ? fill(words.found, { n: found.found.length }) : words.nothing_found;
  }

  // --- moving about ------------------------------------------------------------------------

  function move() {
    plane.setAttribute("transform", `translate(${view.x},${view.y}) scale(${view.k})`);
  }

  function fit() {
    const { width, height } = viewport.getBoundingClientRect();
    const k = Math.min(1, (width - 2 * EDGE) / size.w, (height - 2 * EDGE) / size.h);
    view.k = k > 0 ? k : 1;
    view.x = Math.max(EDGE, (width - size.w * view.k) / 2);
    view.y = Math.max(EDGE, (height - size.h * view.k) / 2);
    move();
  }

  function start() {
    const width = viewport.clientWidth || 800;
    const k = Math.max(LEAST, Math.min(1, (width - 2 * EDGE) / size.w));
    makeRoom(k);
    fit();
    if (view.k >= LEAST) return;
    // Too large to be read whole: its beginning, the left end of a row, else where most boxes are.
    makeRoom(READABLE);
    if (size.w > 2 * size.h) {
      view = { x: EDGE, y: EDGE, k: READABLE };
      return move();
    }
    const seen = [...boxes.values()].filter((box) => !box.node.fold && box.y * READABLE < viewport.clientHeight);
    const middle = seen.length ? seen.reduce((sum, box) => sum + box.x, 0) / seen.length : size.w / 2;
    const spare = width - size.w * READABLE;
    view = { x: spare > 0 ? spare / 2 : Math.min(EDGE, width / 2 - middle * READABLE), y: EDGE, k: READABLE };
    move();
  }

  function makeRoom(k) {
    viewport.style.height = `${Math.round(Math.min(560, Math.max(200, size.h * k + 2 * EDGE + 2)))}px`;
  }

  function zoom(factor, x = viewport.clientWidth / 2, y = viewport.clientHeight / 2) {
    const k = Math.min(4, Math.max(0.05, view.k * factor));
    view.x = x - ((x - view.x) * k) / view.k;
    view.y = y - ((y - view.y) * k) / view.k;
    view.k = k;
    move();
  }

  function centre(box) {
    view.k = Math.max(view.k, READABLE);
    view.x = viewport.clientWidth / 2 - box.x * view.k;
    view.y = viewport.clientHeight / 2 - box.y * view.k;
    move();
  }

  function show(box) {
    const [l, t] = [view.x + (box.x - box.w / 2) * view.k, view.y + (box.y - box.h / 2) * view.k];
    const [r, b] = [l + box.w * view.k, t + box.h * view.k];
    if (l < 0 || r > viewport.clientWidth) view.x += Math.max(0, -l) + 10 || viewport.clientWidth - r - 10;
    if (t < 0 || b > viewport.clientHeight) view.y += Math.max(0, -t) + 10 || viewport.clientHeight - b - 10;
    if (l < 0 || t < 0 || r > viewport.clientWidth || b > viewport.clientHeight) centreIfSmall(box);
    move();
  }

  function centreIfSmall(box) {
    if (box.w * view.k < viewport.clientWidth && box.h * view.k < viewport.clientHeight) {
      view.x = viewport.clientWidth / 2 - box.x * view.k;
      view.y = viewport.clientHeight / 2 - box.y * view.k;
    }
  }

  function choose(key, focus = true) {
    if (chosen && boxes.has(chosen)) mark(boxes.get(chosen), false);
    chosen = key;
    const box = boxes.get(key);
    if (!box) return;
    mark(box, true);
    tell(box.node);
    if (focus) focusOn(key);
  }

  // The box that is told of stays marked when the focus goes elsewhere.
  function mark(box, on) {
    box.group.setAttribute("tabindex", on ? "0" : "-1");
    if (on) box.group.setAttribute("aria-current", "true");
    else box.group.removeAttribute("aria-current");
  }

  function focusOn(key) {
    boxes.get(key)?.group.focus({ preventScroll: true });
  }

  function step(dx, dy) {
    const from = boxes.get(chosen) || boxes.values().next().value;
    if (!chosen) { choose(from.key); show(from); return; }
    let best = null;
    let least = Infinity;
    for (const box of boxes.values()) {
      const [x, y] = [box.x - from.x, box.y - from.y];
      const along = x * dx + y * dy;
      const aside = Math.abs(x * dy) + Math.abs(y * dx);
      if (box.key === from.key || along <= 1) continue;
      if (along + 2 * aside < least) { least = along + 2 * aside; best = box; }
    }
    if (best) { choose(best.key); show(best); }
  }

  function closeAround() {
    const box = boxes.get(chosen);
    if (!box || box.fold === first.root) return;
    for (const [key, other] of boxes) if (other.node.id === box.fold && open.has(box.fold)) { toggle(key); return; }
  }

  body.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || ["SELECT", "INPUT"].includes(event.target.tagName)) return;
    const inGraph = svg.contains(event.target);
    const acts = {
      ArrowLeft: () => step(-1, 0), ArrowRight: () => step(1, 0), ArrowUp: () => step(0, -1), ArrowDown: () => step(0, 1),
      Enter: () => toggle(chosen), " ": () => toggle(chosen), Escape: closeAround,
      w: () => chosen && way(boxes.get(chosen).node), W: () => chosen && way(boxes.get(chosen).node),
    };
    const always = { "/": () => search.focus(), "+": () => zoom(1.3), "=": () => zoom(1.3), "-": () => zoom(1 / 1.3), 0: fit };
    const act = (inGraph && acts[event.key]) || always[event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation(); // the notebook has keys of its own
    act();
  });

  let dragged = false;
  let grip = null;
  viewport.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    dragged = false;
    grip = { x: event.clientX - view.x, y: event.clientY - view.y, sx: event.clientX, sy: event.clientY };
  });
  viewport.addEventListener("pointermove", (event) => {
    if (!grip || !event.buttons) return;
    if (!dragged && Math.hypot(event.clientX - grip.sx, event.clientY - grip.sy) < 5) return;
    if (!dragged) viewport.setPointerCapture(event.pointerId);
    dragged = true;
    view.x = event.clientX - grip.x;
    view.y = event.clientY - grip.y;
    move();
  });
  viewport.addEventListener("pointerup", () => { grip = null; setTimeout(() => (dragged = false)); });
  viewport.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
    event.preventDefault();
    const at = viewport.getBoundingClientRect();
    zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, event.clientX - at.left, event.clientY - at.top);
  }, { passive: false });

  tell(null);
  draw();
  // The page may not have given the picture its width yet.
  const seen = new ResizeObserver(() => { if (viewport.clientWidth) { seen.disconnect(); start(); } });
  seen.observe(viewport);
  return { draw, remove: () => seen.disconnect() };
}
