"""Squares of colour: whatever the numbers, the picture is one."""

from __future__ import annotations

import io

import hypothesis.strategies as st
import pytest
from hypothesis import given
from PIL import Image

from tfmagic.model.heat import Heat
from tfmagic.render import heat

rows = st.integers(1, 20).flatmap(
    lambda wide: st.lists(
        st.lists(st.floats(), min_size=wide, max_size=wide).map(tuple), min_size=1, max_size=20
    ).map(tuple)
)


@given(rows)
def test_any_numbers_have_colours_and_words(numbers: tuple[tuple[float, ...], ...]) -> None:
    assert "tfmagic-note" in heat.picture(Heat(numbers, (2, 2), (0,)))


def test_the_picture_has_the_colours_in_their_places() -> None:
    data = heat.png([[(255, 0, 0), (0, 0, 255)]], 4)
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (8, 4)
        assert [image.getpixel(at) for at in ((0, 0), (7, 3))] == [(255, 0, 0), (0, 0, 255)]


@pytest.mark.parametrize(("numbers", "words"), [((1.0, 2.0), "White 1"), ((-2.0, -1.0), "Blue -2")])
def test_numbers_of_one_sign_go_from_white(numbers: tuple[float, ...], words: str) -> None:
    said = heat.picture(Heat((numbers,)))
    assert words in said and "background-color:#ffffff" in said
