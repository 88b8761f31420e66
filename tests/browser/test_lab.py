"""What a student sees: the lesson's network, recorded, in JupyterLab."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytestmark = pytest.mark.browser

NETWORK = """%%tape
import tensorflow as tf

X = tf.constant([[2.0], [3.0]])
Y = tf.constant([1.0])
W_1 = tf.Variable([[0.11, 0.21], [0.12, 0.08]])
W_2 = tf.Variable([[0.14, 0.15]])

with tf.GradientTape() as tape:
    H_1 = tf.matmul(W_1, X)
    Y_hat = tf.matmul(W_2, H_1)
    Loss = tf.square(Y_hat - Y) / 2

dLoss_dW_1, dLoss_dW_2 = tape.gradient(Loss, [W_1, W_2])"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_recorded_cell_is_drawn(
    run_in_lab: Callable[..., Any], tmp_path: Path, language: str, dark: bool
) -> None:
    load = f'%load_ext tfmagic\n%config TFMagic.lang = "{language}"'
    page = run_in_lab([load, NETWORK], dark=dark)
    picture = page.locator(".tfmagic img").first
    picture.wait_for()
    size = picture.evaluate("image => [image.naturalWidth, image.naturalHeight]")
    page.screenshot(path=tmp_path / "page.png")
    assert min(size) > 150
    assert colours(picture.screenshot(path=tmp_path / "picture.png")) > 8
    assert picture.get_attribute("alt")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_words_stand_out_from_the_page(run_in_lab: Callable[..., Any], dark: bool) -> None:
    page = run_in_lab(["%load_ext tfmagic", NETWORK], dark=dark)
    output = page.locator(".tfmagic").first
    output.wait_for()
    assert "-0.22652" in output.inner_text()
    ratio = min(output.locator("td").evaluate_all(CONTRASTS))
    assert ratio >= 4.5  # what WCAG asks of text


def colours(png: bytes) -> int:
    """How many colours a picture has; beyond a few thousand it is not counted."""
    with Image.open(io.BytesIO(png)) as image:
        return len(image.convert("RGB").getcolors(image.width * image.height) or ())


# The contrast of each cell's text with what is painted behind it, by WCAG's formula.
CONTRASTS = """cells => {
    const parts = text => text.match(/[\\d.]+/g).map(Number);
    const light = rgb => {
        const [r, g, b] = rgb.map(v => v / 255).map(
            v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = cell => {
        for (let node = cell; node; node = node.parentElement) {
            const rgba = parts(getComputedStyle(node).backgroundColor);
            if (rgba.length < 4 || rgba[3] === 1) return rgba.slice(0, 3);
        }
        return [255, 255, 255];
    };
    return cells.map(cell => {
        const pair = [parts(getComputedStyle(cell).color).slice(0, 3), behind(cell)].map(light);
        return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    });
}"""
