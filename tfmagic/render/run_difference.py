"""A training run beside another one: where they part, both courses in one table and one plot."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tfmagic.analysis.notation import number, spark
from tfmagic.analysis.run_difference import parting, total_norm
from tfmagic.language import say
from tfmagic.model import Run
from tfmagic.model.run import Array
from tfmagic.render import plots
from tfmagic.render.escape import clipped, visible
from tfmagic.render.grid import Column, Row, Table
from tfmagic.render.palette import INK, QUIET
from tfmagic.render.run import thinned

__all__ = ["plot", "sentence", "table"]

_COLOURS = ("#2f7fd0", "#c05621")


def sentence(run: Run, other: Run) -> str:
    """The first step where the two part, and why where the figures tell it."""
    found = parting(run, other)
    if found is None:
        return say("run_difference.same", n=min(run.steps, other.steps))
    name = visible(clipped(found.name, 40))
    cause = found.cause
    if cause == "rate" and found.ratio is not None:
        return say("run_difference.ratio", step=found.step, ratio=number(found.ratio, 3))
    return say(f"run_difference.{cause}", step=found.step, name=name)


def table(run: Run, other: Run, title: str) -> Table:
    """A row for loss, each metric and the gradients; ``title`` is what the other is called."""
    columns = (
        Column(say("run.figure"), code=True),
        Column(say("run_difference.here"), code=True),
        Column(say("run.last"), "right"),
        Column(visible(clipped(title, 30)), code=True),
        Column(say("run.last"), "right"),
    )
    caption = say("run_difference.caption", name=visible(clipped(title, 30)))
    return Table(caption, columns, tuple(_rows(run, other)), (sentence(run, other),))


def _rows(run: Run, other: Run) -> Iterator[Row]:
    for name, mine, theirs in _courses(run, other):
        cells = [cell for values in (mine, theirs) for cell in _cells(values)]
        yield Row((visible(clipped(name, 40)), *cells))


def _courses(run: Run, other: Run) -> Iterator[tuple[str, Array, Array]]:
    yield say("run.loss_name"), run.loss, other.loss
    metrics = other.metrics
    for name, values in run.metrics.items():
        if name != "loss" and name in metrics:
            yield name, values, metrics[name]
    yield say("run.norms"), total_norm(run), total_norm(other)


def _cells(values: Array) -> tuple[str, str]:
    last = number(float(values[-1]), 4) if len(values) else ""
    return spark(thinned([float(v) for v in values])), last


def plot(run: Run, other: Run, title: str) -> str:
    """Both losses, and the norms of all gradients, over the steps, as SVG."""
    drawn = plots.figure(7.2, 2.6)
    axes = drawn.subplots(1, 2, squeeze=False)[0]
    here, there = say("run_difference.here"), visible(clipped(title, 30))
    courses = [c for c in _courses(run, other) if len(c[1]) and len(c[2])]
    for axis, (name, mine, theirs) in zip(axes, (courses[0], courses[-1]), strict=True):
        plots.calm(axis)
        for values, of, label, colour, style in (
            (theirs, other, there, _COLOURS[1], "--"),
            (mine, run, here, _COLOURS[0], "-"),
        ):
            (line,) = axis.plot(of.numbers, values, style, color=colour, linewidth=1.6)
            line.set_label(f"\N{ZERO WIDTH SPACE}{label}")  # a leading _ would hide it
        known = np.concatenate([mine, theirs])
        known = known[np.isfinite(known)]
        if known.size and known.min() > 0 and known.max() / known.min() > 20:
            axis.set_yscale("log")
        axis.set_title(name, color=INK, fontsize=10, parse_math=False)
        axis.set_xlabel(say("run.step"), color=QUIET, fontsize=9)
        axis.tick_params(labelsize=8)
    made = axes[0].legend(frameon=False, fontsize=8, labelcolor=INK)
    for text in made.get_texts():
        text.set_parse_math(False)
    drawn.subplots_adjust(wspace=0.28)
    return plots.svg(drawn)
