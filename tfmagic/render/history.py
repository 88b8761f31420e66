"""The course of a training loop: one table and one plot instead of a table for each step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from tfmagic.analysis.history import Course, History
from tfmagic.analysis.notation import UNKNOWN_SIGN, number, spark
from tfmagic.language import say
from tfmagic.model import Recording
from tfmagic.render import plots
from tfmagic.render.escape import clipped, visible
from tfmagic.render.grid import Column, Row, Table
from tfmagic.render.palette import INK, QUIET

__all__ = ["plot", "plot_description", "table"]

#: Steps in a line of text, and gradients drawn at once: those with the greatest norms.
WIDEST, MOST_LINES = 32, 8
_COLOURS = ("#2f7fd0", "#c05621", "#2f855a", "#b83280", "#6b46c1", "#b7791f", "#0f8b8d", "#822727")


def table(recording: Recording, history: History) -> Table:
    """One row for the target, then one for each gradient: how it went from step to step."""
    line = recording.lines[history.line].number
    caption = say("history.caption", number=line, n=history.steps)
    courses = [*([history.target] if history.target else []), *history.gradients]
    rows = tuple(_row(course, course is history.target) for course in courses)
    columns = (
        Column(say("history.figure"), code=True),
        Column(say("history.course"), code=True),
        Column(say("history.first"), "right"),
        Column(say("history.last"), "right"),
        Column(say("report.min"), "right", spare=1),
        Column(say("report.max"), "right", spare=2),
    )
    notes = (say("history.mean"),) if history.mean else ()
    return Table(caption, columns, rows, notes)


def _row(course: Course, target: bool) -> Row:
    finite = course.finite
    name = visible(clipped(course.name, 60))
    trouble = course.first_trouble
    note = ""
    if trouble is not None:
        what = course.values[trouble - 1]
        figure = "None" if what is None else "NaN" if math.isnan(what) else "inf"
        note = say("history.trouble", step=trouble, figure=figure)
    return Row(
        (
            name if target else f"‖∇ {name}‖",
            spark(thinned(course.values)),
            _figure(course.values[0]),
            _figure(course.values[-1]),
            number(min(finite), 4) if finite else UNKNOWN_SIGN,
            number(max(finite), 4) if finite else UNKNOWN_SIGN,
        ),
        "bad" if trouble is not None else "",
        note,
    )


def _figure(value: float | None) -> str:
    return "None" if value is None else number(value, 4)


def thinned(values: Sequence[float | None]) -> list[float | None]:
    """At most :data:`WIDEST` of the values, evenly spaced; trouble in between is not lost."""
    if len(values) <= WIDEST:
        return list(values)
    edges = [round(i * len(values) / WIDEST) for i in range(WIDEST + 1)]
    found: list[float | None] = []
    for start, end in pairwise(edges):
        part = values[start:end]
        bad = [v for v in part if v is None or not math.isfinite(v)]
        found.append(bad[0] if bad else part[-1])
    return found


def plot(history: History) -> str:
    """The target and the norms over the steps, as SVG."""
    both = history.target is not None
    drawn = plots.figure(7.2, 2.6 if both else 2.8)
    axes = drawn.subplots(1, 2 if both else 1, squeeze=False)[0]
    if history.target is not None:
        _draw(axes[0], [history.target], visible(clipped(history.target.name, 30)))
    norms = sorted(history.gradients, key=lambda c: -max(c.finite, default=-1.0))[:MOST_LINES]
    kept = [course for course in history.gradients if course in norms]
    _draw(axes[-1], kept, say("history.norms"), legend=True)
    drawn.subplots_adjust(wspace=0.28)
    return plots.svg(drawn)


def _draw(axes: Any, courses: Sequence[Course], title: str, *, legend: bool = False) -> None:
    plots.calm(axes)
    for colour, course in zip(_COLOURS, courses, strict=False):
        known = [math.nan if v is None else v for v in course.values]
        few = len(known) <= 40
        name = visible(clipped(course.name, 30))
        (line,) = axes.plot(
            range(1, len(known) + 1),
            known,
            color=colour,
            linewidth=1.6,
            marker="o" if few else "",
            markersize=3,
        )
        line.set_label(f"\N{ZERO WIDTH SPACE}{name}")  # a leading _ would hide it
    if _spreads(courses):
        axes.set_yscale("log")
    axes.set_title(title, color=INK, fontsize=10, parse_math=False)
    axes.set_xlabel(say("history.step"), color=QUIET, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.locator_params(axis="x", integer=True, nbins=6)
    if legend and courses:
        made = axes.legend(
            frameon=False, fontsize=8, labelcolor=INK, loc="upper left", bbox_to_anchor=(1, 1)
        )
        for text in made.get_texts():
            text.set_parse_math(False)


def _spreads(courses: Sequence[Course]) -> bool:
    """Whether a logarithmic axis shows more: all positive, over more than a power of ten."""
    values = [v for course in courses for v in course.finite]
    return bool(values) and min(values) > 0 and max(values) / min(values) > 20


def plot_description(history: History) -> str:
    """The plot in one sentence, for whoever does not see it."""
    shown = history.target or (history.gradients[0] if history.gradients else None)
    if shown is None or not shown.finite:
        return say("history.alt_nothing", n=history.steps)
    first, last = number(shown.finite[0], 4), number(shown.finite[-1], 4)
    name = visible(clipped(shown.name, 40))
    return say("history.alt", name=name, first=first, last=last, n=history.steps)
