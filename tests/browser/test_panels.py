"""Panels as a reader meets them: live, with a busy kernel, reopened, converted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.browser

LOAD = "%load_ext tfmagic"
KNOB = '''from tfmagic.notebook.panels import base

class Knob(base.Panel):
    value, seen = 1, []
    _css = base.style()
    _esm = base.script() + """
    export default { render: (context) => openPanel(context, (root, panel, first) => {
        const shown = make("output", {}, String(first.value));
        const slider = make("input", { type: "range", min: 1, max: 100, value: 1, "aria-label": "knob",
            oninput: () => panel.send("turn", { to: Number(slider.value) }, true) });
        root.append(slider, shown);
        return { paint: (state) => (shown.textContent = state.value) };
    }) };
    """
    def answer(self, kind, content):
        if kind == "turn":
            self.value = content["to"]
            self.seen.append(self.value)
            if self.value == 13: raise ValueError("not thirteen")
        return {"value": self.value}
    def snapshot(self):
        return {"text/plain": f"value {self.value}", "text/html": f"<b>value {self.value}</b>"}

knob = Knob()
knob.show()'''

# Moves the slider a hundred times in one go.
DRAG = """slider => { for (let i = 1; i <= 100; i++) {
    slider.value = i; slider.dispatchEvent(new Event('input')); } }"""


def test_a_drag_ends_at_its_last_value_and_the_snapshot_follows(
    run_in_lab: Callable[..., Any],
) -> None:
    page = run_in_lab([LOAD, KNOB, "print('seen', knob.seen)"])
    slider = page.locator(".tfm-panel input")
    slider.wait_for()
    snapshot = page.locator(".tfmagic-snapshot")
    assert not snapshot.is_visible()
    slider.evaluate(DRAG)
    page.locator(".tfm-panel output", has_text="100").wait_for()
    page.locator(".tfmagic-snapshot b", has_text="value 100").wait_for(state="attached")
    assert not snapshot.is_visible()
    slider.fill("13")
    page.locator(".tfm-alert", has_text="not thirteen").wait_for()
    slider.fill("14")
    page.locator(".tfm-alert").wait_for(state="hidden")


def test_a_panel_that_is_closed_leaves_its_snapshot(run_in_lab: Callable[..., Any]) -> None:
    page = run_in_lab([LOAD, KNOB, "knob.close()"])
    page.locator(".tfmagic-snapshot b", has_text="value 1").wait_for()
    assert page.locator(".tfm-panel").count() == 0


RESTART = "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
CRASH = """() => {
    const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    const died = new Promise((resolve) => kernel.statusChanged.connect((_, status) =>
        status.endsWith('restarting') && resolve()));
    kernel.requestExecute({ code: 'import os; os._exit(1)' });
    return died;
}"""
#: A knob that is moved, whether or not it can be.
MOVED = "knob => { knob.value = 20; knob.dispatchEvent(new Event('input', { bubbles: true })); }"


def test_a_panel_says_that_its_kernel_was_restarted(run_in_lab: Callable[..., Any]) -> None:
    page = run_in_lab([LOAD, KNOB])
    panel = page.locator(".tfm-panel")
    panel.locator("input").fill("20")
    panel.locator("output", has_text="20").wait_for()
    page.evaluate(RESTART)
    panel.locator(".tfm-alert", has_text="no longer live").wait_for()
    assert panel.locator("output").text_content() == "20"
    assert panel.locator(".tfm-body").evaluate("body => body.inert")


def test_a_panel_says_that_its_kernel_has_died(run_in_lab: Callable[..., Any]) -> None:
    page = run_in_lab([LOAD, KNOB])
    panel = page.locator(".tfm-panel")
    panel.locator("input").wait_for()
    page.evaluate(CRASH)
    # the panel may have heard of it already, and then nothing in it can be filled in
    panel.locator("input").evaluate(MOVED)
    panel.locator(".tfm-alert", has_text="no longer live").wait_for()
