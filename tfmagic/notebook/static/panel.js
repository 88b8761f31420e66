// What every panel stands on; the panel's own module follows it in the same file.
//
// openPanel({model, el}, build) shows nothing until the kernel has answered: a panel that is
// only remembered (a saved notebook, a kernel that is gone) leaves its snapshot in sight.
// `build(root, panel, first)` makes the controls from the first answer, and gives back
// `paint(state)`, which is called with every later one, and optionally `remove()`.
//
// One message is under way at a time. Moves that are made meanwhile are merged, so that a
// slider never queues up and the last value always arrives.

const STILL = 700; // ms without a move after which the snapshot is brought up to date
const REST = 250; // … after which a panel that left something out of its answers is asked for it
const PATIENCE = 400; // ms without an answer after which the kernel is called busy
const LOST = "jupyter-widgets-disconnected"; // what Jupyter marks a view by whose kernel restarts

function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "path", "text", "title", "circle", "line", "rect", "polyline", "ellipse"];
  const node = svg.includes(tag)
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// Makes the children of a node like fresh ones, and touches only what differs. A listener stays
// with the old node: what it needs to know stands in an attribute.
function patch(node, fresh) {
  const old = [...node.childNodes];
  if (old.length !== fresh.length) return node.replaceChildren(...fresh);
  old.forEach((child, i) => patchOne(child, fresh[i]));
}

function patchOne(old, fresh) {
  if (old.nodeName !== fresh.nodeName) return old.replaceWith(fresh);
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const name of old.getAttributeNames()) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  patch(old, [...fresh.childNodes]);
}

// Hides the static twin of a live panel, wherever it is drawn anew; the last view shows it again.
function hideSnapshot(name) {
  const id = `tfmagic-hides-${name}`;
  let style = document.getElementById(id);
  if (!style) {
    style = make("style", { id });
    style.textContent = `.${CSS.escape(name)} { display: none !important; }`;
    style.dataset.views = 0;
    document.head.append(style);
  }
  style.dataset.views = Number(style.dataset.views) + 1;
  return () => {
    style.dataset.views = Number(style.dataset.views) - 1;
    if (Number(style.dataset.views) <= 0) style.remove();
  };
}

function openPanel({ model, el }, build) {
  const view = Math.random().toString(36).slice(2);
  const alert = make("p", { class: "tfm-alert", role: "alert", hidden: true });
  const busy = make("p", { class: "tfm-busy", role: "status", hidden: true });
  const body = make("div", { class: "tfm-body" });
  const root = make("section", { class: "tfm-panel", hidden: true }, alert, busy, body);
  // A notebook would take the keys for its own commands: "b" adds a cell, Enter edits one, an
  // arrow moves on. It looks for this mark from the focused element up, and may find one of its
  // commands for whatever has the focus first: so that bears the mark too.
  root.dataset.lmSuppressShortcuts = "true";
  root.addEventListener("focusin", (event) => (event.target.dataset.lmSuppressShortcuts = "true"));
  root.addEventListener("keydown", (event) => event.stopPropagation());
  el.append(root);

  let made = null;
  let showAgain = null;
  let underWay = null;
  let begun = 0;
  let patience = 0;
  let stillness = 0;
  let sequence = 0;
  let turn = 0;
  let unfinished = false; // something was left out while a slider moves
  let snapshotTime = 0; // ms that the last snapshot took: the next one waits for a longer rest
  let closed = false;
  let ended = false; // the kernel that this panel spoke with is no more
  let farewell = "";
  const queue = [];
  const waiting = new Map();

  function next() {
    if (underWay || !queue.length || closed || ended) return;
    underWay = queue.shift();
    const { seq, kind, content } = underWay;
    begun = performance.now();
    if (post({ view, seq, kind, content }, { iopub: { status: hurry } })) wait(PATIENCE);
  }

  // Whether a message could be sent: the line to a kernel that has died is cut.
  function post(message, callbacks) {
    try {
      model.send(message, callbacks);
      return true;
    } catch {
      end();
      return false;
    }
  }

  // While no answer comes the line is tried again, less and less often.
  function wait(pause) {
    patience = setTimeout(() => {
      busy.hidden = false;
      if (post({ kind: "hurry" })) wait(2 * pause);
    }, pause);
  }

  // Nagle's algorithm holds a small answer back in the server's socket until this side confirms
  // that it heard "busy", and a computer that has nothing to send puts that off for 40 ms. So
  // here is something to send; the kernel does not answer it.
  function hurry({ content }) {
    const hasty = underWay && !["snapshot", "close"].includes(underWay.kind);
    if (content.execution_state === "busy" && hasty && !closed) post({ kind: "hurry" });
  }

  // Ask the kernel for something. With `merge`, an equal request that still waits takes over
  // the new content. Answers a promise of the state that came of it.
  function send(kind, content = {}, merge = false) {
    clearTimeout(stillness);
    const last = queue[queue.length - 1];
    if (merge && last && last.kind === kind) {
      Object.assign(last.content, content);
      return last.done;
    }
    const message = { kind, content: { ...content }, seq: ++sequence };
    message.done = new Promise((resolve) => waiting.set(message.seq, resolve));
    queue.push(message);
    next();
    return message.done;
  }

  // What is shown stays, says that it is the last, and takes no more moves.
  function end() {
    ended = true;
    clearTimeout(patience);
    clearTimeout(stillness);
    busy.hidden = true;
    body.inert = true;
    underWay = null;
    queue.length = 0;
    waiting.clear();
    say(farewell);
  }

  // A line that was cut may be mended: then the kernel is asked anew.
  function reconnect() {
    if (el.classList.contains(LOST)) return end();
    if (!ended) return;
    ended = body.inert = false;
    say("");
    send("hello");
  }

  function say(text) {
    alert.textContent = text || "";
    alert.hidden = !text;
  }

  function live(answer) {
    root.lang = answer.lang;
    root.setAttribute("aria-label", answer.title);
    busy.textContent = answer.busy;
    farewell = answer.gone;
    made = build(body, panel, answer.state) || {};
    note(answer.state);
    root.hidden = false;
    showAgain = hideSnapshot(answer.snapshot);
  }

  // An answer that tells only what is new counts them; where one got lost the whole is asked for.
  function paint(state) {
    const lost = state.turn > turn + 1 && !state.frame;
    note(state);
    made.paint(state);
    if (lost) send("hello");
  }

  function note(state) {
    turn = state.turn;
    if ("unfinished" in state) unfinished = state.unfinished;
  }

  // Once nothing moves any more: first what was left out, then the snapshot.
  function settleDown() {
    clearTimeout(stillness);
    const rest = unfinished ? REST : Math.max(STILL, 2 * snapshotTime);
    stillness = setTimeout(() => !underWay && send(unfinished ? "rest" : "snapshot"), rest);
  }

  function settle(answer) {
    clearTimeout(patience);
    busy.hidden = true;
    underWay = null;
    const resolve = waiting.get(answer.seq);
    waiting.delete(answer.seq);
    if (resolve) resolve(answer.state);
    if (answer.kind === "rest") unfinished = false;
    if (answer.kind === "snapshot") snapshotTime = performance.now() - begun;
    next();
    if (!queue.length && answer.kind !== "snapshot") settleDown();
  }

  function receive(answer) {
    if (closed) return;
    const mine = answer.view === view && underWay && answer.seq === underWay.seq;
    try {
      if (mine || !answer.view) say(answer.error);
      if (!made && mine && answer.state) live(answer);
      else if (made && made.paint && answer.state) paint(answer.state);
      if (!made && answer.error) root.hidden = false;
    } catch (error) {
      say(String(error));
      root.hidden = false;
    } finally {
      if (mine) settle(answer);
    }
  }

  const panel = { send, say, root };
  model.on("msg:custom", receive);
  model.on("comm_live_update", reconnect);
  send("hello");

  return () => {
    closed = true;
    clearTimeout(patience);
    clearTimeout(stillness);
    model.off("msg:custom", receive);
    model.off("comm_live_update", reconnect);
    if (made && made.remove) made.remove();
    if (showAgain) showAgain();
    root.remove();
  };
}
