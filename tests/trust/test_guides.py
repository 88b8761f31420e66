"""Notebooks in the style of TensorFlow's guides do the same with ``%%tape`` as without.

In ``guides/`` cells begin with ``# %%``.  ``TFMAGIC_WRAPS=quiet,named,story`` tries
other ways to wrap them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

GUIDES = sorted(Path(__file__).with_name("guides").glob("*.py"))
WRAPS = os.environ.get("TFMAGIC_WRAPS", "shown,second").split(",")


def cells_of(guide: Path) -> list[str]:
    """The cells of a file, without the lines that part them."""
    parts = re.split(r"^# %%\n", guide.read_text(encoding="utf-8"), flags=re.M)
    return [part[:-1] for part in parts[1:]]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_a_guide_is_the_same(player: Any, guide: Path) -> None:
    found = player.differences(cells_of(guide), *WRAPS, seconds=200)
    assert not found, "\n".join(found)


def test_the_guides_play_at_all(player: Any) -> None:
    """A guide that ends at once, or compares nothing, would prove nothing."""
    cells = cells_of(next(guide for guide in GUIDES if guide.stem == "autodiff"))
    played = player.play(cells, "none")
    assert len(played) == len(cells) and "6.0" in played[2]["stdout"]
    errors = [cell["error"] and cell["error"][0] for cell in played]
    assert errors.count("LookupError") == 1 and len(set(errors)) == 2
