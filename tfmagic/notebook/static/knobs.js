// Numbers that can be moved: a slider and a field for each, which never fall out of step.

const FIELD = 9; // characters that a field shows
const SPAN = 2; // sliders reach at least from -SPAN to SPAN
let gesture = 0; // counts drags and key presses: one of them is undone as a whole

// One number: its name, a slider and a field; all three speak of the same part.
function numberRow(ui, part, name, low = -SPAN, high = SPAN, step = 0.01, label = part) {
  const slider = make("input", { type: "range", min: low, max: high, step, "aria-label": label, "data-part": part });
  const field = make("input", { type: "text", inputmode: "decimal", size: 7, "aria-label": label, "data-field": part });
  const row = { slider, field, part, low, high };
  slider.addEventListener("pointerdown", () => gesture++);
  slider.addEventListener("keydown", () => gesture++);
  slider.addEventListener("input", () => {
    field.value = slider.value;
    ui.send("set", { [row.part]: Number(slider.value), gesture: String(gesture) }, true);
  });
  const enter = async () => {
    if (field.value === row.shown) return;
    const state = await ui.send("set", { [row.part]: typedNumber(field.value) });
    field.setAttribute("aria-invalid", String(!state));
    if (!state) showNumber(row, row.value, true);
  };
  field.addEventListener("change", enter);
  ui.sliders.set(part, row);
  return make("label", { class: "tfm-step-row" }, name, slider, field);
}

// What was typed as a number where it is a finite one; else as it stands, for the kernel to refuse.
function typedNumber(text) {
  const typed = text.trim().replace("\u2212", "-").replace(",", ".");
  return typed !== "" && Number.isFinite(Number(typed)) ? Number(typed) : typed || "NaN";
}

// As many digits as a field shows, at most six; the whole number is its title.
function shortNumber(value) {
  for (const digits of [6, 5, 4]) {
    const text = String(Number(value.toPrecision(digits)));
    if (text.length <= FIELD) return text;
  }
  return value.toExponential(2).replace("e+", "e");
}

// A field that one types in, and a slider that one drags, are left alone.
function showNumber(row, value, always = false) {
  row.value = value;
  const text = value === null ? "NaN" : shortNumber(value);
  row.field.title = value === null ? "" : String(value);
  if (always || document.activeElement !== row.field || row.field.value === row.shown) row.field.value = text;
  row.shown = text;
  if (value === null) return;
  const { slider } = row;
  if (value >= Number(slider.max)) slider.max = Math.max(2 * value, Number(slider.max));
  if (value <= Number(slider.min)) slider.min = Math.min(2 * value, Number(slider.min));
  if (!slider.matches(":active")) slider.value = value;
  slider.setAttribute("aria-valuetext", text);
}
