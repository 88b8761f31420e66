"""What every plot shares: matplotlib, imported late, drawing SVG whose text stays text."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tfmagic.render.palette import INK, QUIET, SANS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["calm", "figure", "svg"]

#: The font that is part of matplotlib: by it the text is measured.
_MEASURED = "DejaVu Sans"


def figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, outside pyplot: nothing of it stays behind."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), facecolor="white")


def calm(axes: Any) -> None:
    """The axes' lines and figures in the colours of the pictures."""
    axes.tick_params(colors=INK)
    for side in axes.spines.values():
        side.set_color(QUIET)


def svg(drawn: Figure) -> str:
    """The figure as SVG; its text is drawn by the reader's fonts, Hangul among them."""
    from matplotlib import rc_context

    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "tfmagic",
        "font.family": _MEASURED,
        "axes.unicode_minus": False,
    }
    out = io.StringIO()
    with _unnoticed(), rc_context(settings), _quiet():
        drawn.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None})
    return out.getvalue().replace(f"'{_MEASURED}'", SANS)


@contextmanager
def _unnoticed() -> Iterator[None]:
    """Warnings that were shown once are not shown again after a plot of ours.

    Each change of the filters, and matplotlib makes some, tells Python to forget what it has
    shown.  Those inside are undone at the end, so nothing needs to be told.
    """
    told = [name for name in vars(warnings) if name.startswith("_filters_mutated")]
    kept = {name: getattr(warnings, name) for name in told}
    for name in told:
        setattr(warnings, name, lambda: None)
    try:
        yield
    finally:
        for name, original in kept.items():
            setattr(warnings, name, original)


@contextmanager
def _quiet() -> Iterator[None]:
    """matplotlib's own font has no Hangul, and says so for every letter."""
    log = logging.getLogger("matplotlib.font_manager")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        log.setLevel(before)
