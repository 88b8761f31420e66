"""The plots of the benchmarks' page, as SVG files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.rows import Row
from tfmagic.render.files import save

REACHED, MISSED, PEER = "#2f7d57", "#b3541e", "#7a8699"


def reach(rows: Sequence[Row], path: Path) -> bool:
    """Each figure as a share of what is allowed; False where none has an aim."""
    shown = [row for row in rows if row.share is not None and math.isfinite(row.share)]
    if not shown:
        return False
    figure, axes = _figure(len(shown))
    shares = [max(row.share or 0.0, 0.01) for row in shown]
    colours = [REACHED if share <= 1 else MISSED for share in shares]
    bars = axes.barh([row.label for row in shown], shares, color=colours)
    axes.bar_label(bars, [f"{row.told} ({row.aim})" for row in shown], padding=4, fontsize=8)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(0.005, max(10.0, 12 * max(shares)))
    axes.set_xlabel("share of what is allowed (left of the line: reached)")
    axes.invert_yaxis()
    _save(figure, path)
    return True


def groups(rows: Sequence[Row], folder: Path) -> list[tuple[str, str]]:
    """Title and file name of a plot for each group of rows."""
    made = []
    for title in dict.fromkeys(row.group for row in rows if row.group):
        name = "".join(c if c.isalnum() else "-" for c in title.lower()) + ".svg"
        mine = [row for row in rows if row.group == title]
        sized = [row for row in mine if row.at is not None]
        (_curves if sized else _bars)(title, sized or mine, folder / name)
        made.append((title, name))
    return made


def _bars(title: str, rows: Sequence[Row], path: Path) -> None:
    figure, axes = _figure(len(rows))
    colours = [PEER if row.share is None else REACHED for row in rows]
    bars = axes.barh([row.what for row in rows], [row.found for row in rows], color=colours)
    axes.bar_label(bars, [row.told for row in rows], padding=4, fontsize=8)
    axes.set_xlim(0, 1.25 * max(row.found for row in rows))
    axes.set_xlabel(rows[0].unit or "times the plain run")
    axes.set_title(title, fontsize=10)
    axes.invert_yaxis()
    _save(figure, path)


def _curves(title: str, rows: Sequence[Row], path: Path) -> None:
    figure, axes = _figure(8)
    for what in dict.fromkeys(row.what for row in rows):
        mine = sorted((row for row in rows if row.what == what), key=lambda row: row.at or 0)
        axes.loglog([r.at for r in mine], [max(r.found, 1e-3) for r in mine], "o-", label=what)
    for most in {row.most for row in rows if row.most is not None}:
        axes.axhline(most, color="black", linewidth=1, linestyle=":")
    axes.set_ylabel(rows[0].unit)
    axes.set_title(title, fontsize=10)
    axes.legend(fontsize=8)
    _save(figure, path)


def _figure(rows: int) -> tuple[Any, Any]:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "tfmagic"  # the same figures give the same file
    mpl.rcParams["svg.fonttype"] = "none"  # words that can be searched, not outlines
    figure = Figure(figsize=(9, 0.9 + 0.36 * rows), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.margins(y=0.02)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    from io import BytesIO

    drawn = BytesIO()
    figure.savefig(drawn, format="svg", facecolor="white", metadata={"Date": None})
    save(path, {".svg": lambda: drawn.getvalue().decode()})
