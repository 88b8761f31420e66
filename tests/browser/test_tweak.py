"""Sliders on a recorded cell, in JupyterLab: values, gradients and what cannot be followed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.browser

LOAD = "%load_ext tfmagic"
CELL = """%%tape --tweak
import tensorflow as tf
X = tf.constant([[2.0], [3.0]])
W_1 = tf.Variable([[0.11, 0.21], [0.12, 0.08]])
W_2 = tf.Variable([[0.14, 0.15]])
with tf.GradientTape() as tape:
    H_1 = W_1 @ X
    Y_hat = W_2 @ H_1
    Loss = (Y_hat - 1.0) ** 2 / 2
    if Loss > 0.1:
        Loss = Loss * 1.0
g = tape.gradient(Loss, [W_1, W_2])"""

DRAG = """slider => { for (let i = 1; i <= 100; i++) {
    slider.value = i / 100; slider.dispatchEvent(new Event('input')); } }"""


def test_a_drag_replays_the_cell_and_the_snapshot_follows(run_in_lab: Callable[..., Any]) -> None:
    page = run_in_lab([LOAD, CELL])
    picture = page.locator(".tfm-step-picture")
    picture.locator("text", has_text="0.85").wait_for()
    page.get_by_role("slider", name="W_1[0,0]").evaluate(DRAG)
    picture.locator("text", has_text="2.63").wait_for()
    page.locator(".tfm-panel td", has_text="-0.15674").first.wait_for()
    assert not page.locator(".tfm-tweak-notes p").count()
    field = page.get_by_role("textbox", name="W_2[0,0]")
    field.fill("0.36")
    field.press("Enter")
    page.locator(".tfm-tweak-notes p", has_text="if Loss > 0.1:").wait_for()
    page.locator(".tfmagic-snapshot", has_text="decided otherwise").wait_for(state="attached")
    page.locator('[data-act="reset"]').click()
    picture.locator("text", has_text="0.85").wait_for()
    page.locator('[data-act="close"]').click()
    page.locator(".tfmagic-snapshot img").first.wait_for()


def test_a_slow_run_shows_its_target_while_one_drags_and_the_rest_after(
    run_in_lab: Callable[..., Any],
) -> None:
    slow = "import tfmagic.notebook.panels.tweak as panel\npanel.SLOW = panel.MANY = -1"
    page = run_in_lab([LOAD, slow, CELL])
    picture, status = page.locator(".tfm-step-picture"), page.locator(".tfm-step-bar [role=status]")
    picture.locator("text", has_text="0.85").wait_for()
    page.evaluate(WATCH_STATUS)
    page.get_by_role("slider", name="W_1[0,0]").evaluate(DRAG)
    picture.locator("text", has_text="2.63").wait_for()
    page.locator(".tfm-panel td", has_text="-0.15674").first.wait_for()
    status.filter(has_text="run again").wait_for()
    assert picture.get_attribute("aria-busy") == "false"
    told = page.evaluate("window.told")
    assert any(text.startswith("Loss = 0.15") for text in told) and "busy" in told


# Keeps what the status said, and that the picture was marked as behind.
WATCH_STATUS = """() => {
    const [status, picture] = [".tfm-step-bar [role=status]", ".tfm-step-picture"].map(s => document.querySelector(s));
    window.told = [];
    new MutationObserver(() => {
        window.told.push(status.textContent);
        if (picture.getAttribute("aria-busy") === "true") window.told.push("busy");
    }).observe(document.querySelector(".tfm-panel"), { subtree: true, childList: true, characterData: true, attributes: true });
}"""
