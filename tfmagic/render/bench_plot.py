"""Pictures of a measurement: a sweep on logarithmic axes, or every block of each variant."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tfmagic.analysis.notation import number, timed
from tfmagic.analysis.sweep import Crossover, Curve, crossovers, curves
from tfmagic.language import say
from tfmagic.model.bench import Bench
from tfmagic.render.escape import clipped, visible
from tfmagic.render.palette import INK, QUIET
from tfmagic.render.plots import calm, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["as_text", "picture"]

#: Colours that stay apart for every kind of colour vision, with a mark each besides.
COLOURS = ("#2b6cb0", "#b7791f", "#2f855a", "#b83280", "#4a5568", "#c53030")
MARKS = ("o", "s", "^", "D", "v", "P")
#: Fonts with Hangul on Linux, Windows and the Mac.
HANGUL = ("Noto Sans CJK KR", "Noto Sans CJK JP", "NanumGothic", "Malgun Gothic", "AppleGothic")
#: Columns of a strip of text, from none to most.
STRIP = " ▁▂▃▄▅▆▇█"
#: Most blocks of one variant that are drawn as dots.
DOTS = 1500


def picture(bench: Bench) -> Figure | None:
    """The plot of a measurement; None where there is nothing to plot."""
    drawn = curves(bench)
    if any(len(curve.values) > 1 for curve in drawn):
        return _sweep(bench, drawn)
    if any(len(timing.times) > 1 for timing in bench.timings):
        return _blocks(bench)
    return None


def _sweep(bench: Bench, drawn: Sequence[Curve]) -> Figure:
    drawing = figure(6.6, 3.8)
    axes = drawing.add_subplot()
    calm(axes)
    for curve, colour, mark in zip(drawn, itertools.cycle(COLOURS), itertools.cycle(MARKS)):
        times = [t.median or math.nan for t in curve.timings]
        lows = [t.low or t.median or math.nan for t in curve.timings]
        highs = [t.high or t.median or math.nan for t in curve.timings]
        axes.fill_between(curve.values, lows, highs, color=colour, alpha=0.25, linewidth=0)
        axes.plot(curve.values, times, color=colour, marker=mark, markersize=4, label=label(curve))
    if all(value > 0 for curve in drawn for value in curve.values):
        axes.set_xscale("log")
        ticks = sorted({value for curve in drawn for value in curve.values})
        few = ticks[:: max(1, math.ceil(len(ticks) / 8))]
        axes.set_xticks(few, [f"{value:g}" for value in few])
        axes.set_xticks([], minor=True)
    for crossing in crossovers(bench):
        axes.axvline(crossing.value, color=QUIET, linewidth=1, linestyle=":")
    axes.set_xlabel(bench.timings[0].point[-1][0], color=INK)
    axes.set_yscale("log")
    _time_axis(axes.yaxis)
    axes.set_ylabel(say("bench.per_run"), color=INK, fontfamily=_fonts())
    axes.grid(True, alpha=0.25)
    axes.legend(frameon=False, labelcolor=INK)
    drawing.set_layout_engine("tight")
    return drawing


def _blocks(bench: Bench) -> Figure:
    """A row for each variant: every block as a dot, the median and its interval above."""
    timings = [timing for timing in bench.timings if timing.times]
    drawing = figure(6.6, 1.0 + 0.55 * len(timings))
    axes = drawing.add_subplot()
    calm(axes)
    for row, (timing, colour) in enumerate(zip(timings, itertools.cycle(COLOURS))):
        step = max(1, len(timing.times) // DOTS)
        times = timing.times[::step]
        heights = [row + 0.5 * ((i * 0.618034) % 1) - 0.25 for i in range(len(times))]
        axes.plot(times, heights, ".", color=colour, alpha=0.18, markersize=3, markeredgewidth=0)
        axes.plot(
            [timing.median or math.nan] * 2, [row - 0.38, row + 0.38], color=INK, linewidth=1.5
        )
        if timing.low is not None and timing.high is not None:
            axes.axvspan(
                timing.low, timing.high, *_band(row, len(timings)), color=colour, alpha=0.5
            )
    axes.set_yticks(range(len(timings)), [t.name for t in timings])
    axes.set_ylim(len(timings) - 0.5, -0.5)
    ordered = sorted(time for timing in timings for time in timing.times)
    lowest, highest = ordered[0], ordered[min(len(ordered) - 1, int(0.98 * len(ordered)))]
    if highest > 5 * lowest:
        axes.set_xscale("log")
    axes.set_xlim(lowest * 0.97, highest * 1.05)
    _time_axis(axes.xaxis)
    axes.set_xlabel(say("bench.per_run_of_block"), color=INK, fontfamily=_fonts())
    axes.grid(True, axis="x", alpha=0.25)
    drawing.set_layout_engine("tight")
    return drawing


def _fonts() -> list[str]:
    """Fonts of this machine that have Hangul, after the one that everything is written in."""
    from matplotlib.font_manager import fontManager

    there = set(fontManager.get_font_names())
    return ["DejaVu Sans", *(name for name in HANGUL if name in there)]


def _band(row: int, rows: int) -> tuple[float, float]:
    """Where row ``row`` stands in the height of the axes, the first one on top."""
    return 1 - (row + 0.88) / rows, 1 - (row + 0.12) / rows


def _time_axis(axis: Any) -> None:
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    if axis.get_scale() == "log":  # also where the times span less than a power of ten
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(EngFormatter(unit="s"))
    axis.set_minor_formatter(NullFormatter())


def label(curve: Curve) -> str:
    """The variant, and the values of the variables that the axis does not show."""
    fixed = ", ".join(f"{name} = {value:g}" for name, value in curve.fixed)
    return clipped(visible(curve.name + (f" ({fixed})" if fixed else "")), 60)


def crossing_words(crossing: Crossover, value: str) -> str:
    """``CPU:0 function is faster than CPU:0 eager from n ≈ 700 on.``"""
    return say(
        "bench.crossover",
        winner=visible(crossing.winner),
        loser=visible(crossing.loser),
        variable=visible(crossing.variable),
        value=value,
    )


def as_text(bench: Bench, width: int = 60, height: int = 12) -> str:
    """The sweep drawn with letters, or the blocks as strips, for a terminal; with logarithmic
    axes."""
    drawn = [curve for curve in curves(bench) if len(curve.values) > 1]
    if not drawn:
        return _strips(bench, width)
    xs = [value for curve in drawn for value in curve.values]
    ys = [timing.median for curve in drawn for timing in curve.timings if timing.median]
    if min(xs) <= 0 or min(ys) <= 0:
        return ""
    grid = [[" "] * width for _ in range(height)]
    for letter, curve in zip("abcdefghijklmnop", drawn, strict=False):
        for value, timing in zip(curve.values, curve.timings, strict=True):
            column = _place(value, min(xs), max(xs), width)
            row = height - 1 - _place(timing.median or min(ys), min(ys), max(ys), height)
            grid[row][column] = letter if grid[row][column] == " " else "*"
    edge = [timed(y, 3) for y in (max(ys), min(ys))]
    margin = max(map(len, edge))
    lines = []
    for row, cells in enumerate(grid):
        name = edge[0] if row == 0 else edge[1] if row == height - 1 else ""
        lines.append(f"{name:>{margin}} │{''.join(cells).rstrip()}")
    variable = bench.timings[0].point[-1][0]
    ends = f"{number(min(xs))}".ljust(width - len(number(max(xs)))) + number(max(xs))
    lines += [" " * margin + " └" + "─" * width, " " * (margin + 2) + f"{ends}  {variable}"]
    keys = (
        f"{letter} = {label(curve)}"
        for letter, curve in zip("abcdefghijklmnop", drawn, strict=False)
    )
    return "\n".join([*lines, ", ".join(keys)])


def _strips(bench: Bench, width: int) -> str:
    """A strip for each variant: the higher a column, the more of its blocks took that time."""
    timings = [timing for timing in bench.timings if len(timing.times) > 1]
    ordered = sorted(time for timing in timings for time in timing.times)
    if not ordered or ordered[0] <= 0:
        return ""
    lowest, highest = ordered[0], ordered[int(0.98 * (len(ordered) - 1))]
    names = [visible(timing.name) for timing in timings]
    margin, lines = max(map(len, names)), []
    for name, timing in zip(names, timings, strict=True):
        inside = [time for time in timing.times if time <= highest]
        counts = Counter(_place(time, lowest, highest, width) for time in inside)
        most = max(counts.values(), default=1)
        cells = "".join(STRIP[-(-8 * counts[column] // most)] for column in range(width))
        lines.append(f"{name:>{margin}} │{cells.rstrip()}")
    ends = timed(lowest, 3), timed(highest, 3)
    axis = " " * (margin + 2) + ends[0].ljust(width - len(ends[1])) + ends[1]
    return "\n".join([*lines, " " * margin + " └" + "─" * width, axis])


def _place(value: float, lowest: float, highest: float, size: int) -> int:
    if highest <= lowest:
        return 0
    return round((size - 1) * math.log(value / lowest) / math.log(highest / lowest))
