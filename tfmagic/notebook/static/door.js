// A button under a static picture; pressed, it becomes the live graph in the picture's place.
//
// The live graph's script comes from the kernel when it is asked for, and is part of no saved
// notebook.
export default {
  render: (context) => openPanel(context, (root, panel, { words, picture }) => {
    let graph = null;
    let show = null;
    const knob = make("button", { type: "button", onclick: open }, words.open);
    const note = make("p", { class: "tfm-quiet", role: "status", hidden: true });
    const inside = make("div");
    const back = make("button", { type: "button", class: "tfm-back", onclick: close, hidden: true }, words.back);
    root.append(knob, note, inside, back);
    panel.root.classList.add("tfm-door");

    async function open() {
      knob.disabled = true;
      const answer = await panel.send("open");
      knob.disabled = false;
      if (!answer) return;
      note.textContent = answer.past || "";
      note.hidden = !answer.past;
      knob.hidden = true;
      if (answer.past) return;
      const showGraph = await loaded(answer.code);
      const style = make("style");
      style.textContent = answer.style;
      inside.append(style);
      show = hideSnapshot(picture);
      panel.root.classList.remove("tfm-door");
      back.hidden = false;
      graph = showGraph(inside, (kind, content) => panel.send(kind, content), answer.first);
      inside.querySelector(".tfg-box[tabindex='0']")?.focus({ preventScroll: true });
    }

    function close() {
      remove();
      knob.hidden = false;
      back.hidden = true;
      panel.root.classList.add("tfm-door");
      knob.focus();
    }

    function remove() {
      if (graph) graph.remove();
      if (show) show();
      graph = show = null;
      inside.replaceChildren();
    }

    return { remove };
  }),
};

async function loaded(code) {
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  try {
    return (await import(url)).showGraph;
  } finally {
    URL.revokeObjectURL(url);
  }
}
