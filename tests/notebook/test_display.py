"""``%config TFMagic.display``: a card beside the repr, never instead of it."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import pytest
from PIL import Image

import tfmagic

SETUP = """
import tensorflow as tf, keras
W_1 = tf.Variable([[0.11, -0.21], [0.12, 0.08]])
big = tf.reshape(tf.range(60_000.0), [300, 200]) - 100.0
"""


@pytest.fixture
def filled(shell: Any) -> Any:
    assert shell.run_cell(SETUP).success
    yield shell
    shell.run_line_magic("config", "TFMagic.display = False")


def shown(shell: Any, name: str) -> dict[str, str]:
    """What the notebook would show of a value."""
    return shell.display_formatter.format(shell.user_ns[name])[0]


VALUES = [
    "W_1",
    "keras.Variable([1.0])",
    "big",
    "tf.constant(['<b>'])",
    "tf.ragged.constant([[1]])",
]


@pytest.mark.parametrize("expression", VALUES)
def test_the_repr_stays_and_a_card_comes_and_goes(filled: Any, expression: str) -> None:
    filled.run_cell(f"value = {expression}")
    before = shown(filled, "value")
    assert "text/html" not in before
    filled.run_line_magic("config", "TFMagic.display = True")
    card = shown(filled, "value")
    assert card.pop("text/html").startswith('<div class="tfmagic"') and card == before
    filled.run_line_magic("config", "TFMagic.display = False")
    assert shown(filled, "value") == before


def test_unloading_takes_the_cards_away(filled: Any) -> None:
    filled.run_line_magic("config", "TFMagic.display = True")
    filled.run_line_magic("unload_ext", "tfmagic")
    assert "text/html" not in shown(filled, "W_1")


def test_a_small_matrix_has_its_numbers_in_its_colours(filled: Any) -> None:
    filled.run_line_magic("config", "TFMagic.display = True")
    card = shown(filled, "W_1")["text/html"]
    assert "W_1 · variable · (2, 2)" in card
    cells = {
        value: colour
        for colour, value in re.findall(r"background-color:(#\w+);color:#\w+\">([-\d.]+)<", card)
    }
    assert cells["-0.21"] == "#2166ac" and len(set(cells.values())) == 4


def test_a_large_matrix_is_a_small_picture(filled: Any) -> None:
    filled.run_line_magic("config", "TFMagic.display = True")
    card = shown(filled, "big")["text/html"]
    (data,) = re.findall(r"data:image/png;base64,([^\"]+)", card)
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        image.load()
        assert image.size == (400, 300) and len(image.getcolors(10_000) or ()) > 20
    assert "mean of up to 10 × 5 elements" in card and len(card) < 30_000


def test_looking_at_a_value_is_not_recorded(filled: Any) -> None:
    heard = []
    for shows in (False, True):
        filled.run_line_magic("config", f"TFMagic.display = {shows}")
        filled.run_cell("%%tape\ny = W_1 * 2.0\nW_1")
        heard.append([op.type for op in tfmagic.last.ops])
    assert heard[0] == heard[1] and "Mul" in heard[0]


def test_the_magic_shows_the_same_card_with_what_changed(filled: Any) -> None:
    filled.run_line_magic("tfvars", "-q W_1")
    filled.run_cell("W_1.assign_add([[0.3, 0.0], [0.0, 0.4]]);")
    filled.run_line_magic("tfvars", "-q -o view_ W_1")
    view = filled.user_ns["view_"]
    assert view.inventory.holdings[0].heat.rows[0][0] == pytest.approx(0.41)
    html = view.mimebundle()["text/html"].replace("\N{NO-BREAK SPACE}", " ")
    assert "‖Δ‖ = 0.5" in repr(view) and "‖Δ‖ = 0.5" in html
    assert html.count("-0.21") == 2  # in its square and as the least, not once more


def test_a_slice_and_what_is_not_finite_are_told() -> None:
    import numpy as np

    cube = np.ones((2, 1, 3, 4))
    cube[0, 0, 1, 1] = np.nan
    card = tfmagic.variables(cube, title="cube").mimebundle()["text/html"]
    assert "slice [0]" in card and "Black is NaN" in card and "#000000;color:#ffffff" in card
