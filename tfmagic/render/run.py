"""A training run: one sentence, one table, one plot instead of a table for each step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import compress, pairwise
from typing import Any

import numpy as np

from tfmagic.analysis.notation import UNKNOWN_SIGN, number, percent, spark
from tfmagic.language import say
from tfmagic.model.run import Array, BadValue, Run
from tfmagic.render import plots
from tfmagic.render.escape import clipped, visible
from tfmagic.render.grid import Column, Row, Table
from tfmagic.render.palette import INK, QUIET

__all__ = ["plot", "plot_description", "sentence", "tables"]

#: Steps in a line of text, and curves drawn at once: those with the greatest values.
WIDEST, MOST_LINES = 32, 8
_COLOURS = ("#2f7fd0", "#c05621", "#2f855a", "#b83280", "#6b46c1", "#b7791f", "#0f8b8d", "#822727")
_LONGEST = 60


# --- the sentence --------------------------------------------------------------------------


def sentence(run: Run) -> str:
    """What was trained, how long, from which loss to which, and the first trouble."""
    told = say("run.trained", number=run.line_number, n=run.steps)
    known = run.loss[np.isfinite(run.loss)]
    name = _target(run)
    bad = run.first_bad
    if bad is not None:
        return say("run.bad", told=told, where=_where(bad), step=bad.step, figure=bad.figure)
    if known.size < 2:
        return say("run.plain", told=told)
    first, last = number(float(known[0]), 3), number(float(known[-1]), 3)
    return say("run.loss", told=told, name=name, first=first, last=last)


def why(run: Run) -> str:
    """What the trials of a run that did not learn have shown; empty where there were none."""
    for verdict in run.verdicts:
        values: dict[str, Any] = dict(verdict.values)
        if "n" in values:
            values["n"] = int(values["n"])  # the form of a sentence goes by it
        form = f"_{values['form']}" if "form" in values else ""
        return say(f"learning.{verdict.code}{form}", **values)
    return ""


def _target(run: Run) -> str:
    name = run.target or next(iter(run.of("loss")), "")
    return visible(clipped(name if name and name != "loss" else say("run.loss_name"), 40))


def _where(bad: BadValue) -> str:
    """The op, line and layer where a value first was not finite, as far as they are known."""
    layer = visible(clipped(bad.layer, _LONGEST))
    if bad.op:
        start = "backward" if bad.direction == "backward" else "at"
        key = f"run.{start}_{'line' if bad.line_number else 'at' if start == 'backward' else 'op'}"
        lows, highs = [low for _, low, _ in bad.before], [high for _, _, high in bad.before]
        given = say("run.given_nothing")
        if lows:
            given = say("run.given", low=number(min(lows), 3), high=number(max(highs), 3))
        turn = say("run.turn", turn=bad.turn) if bad.turn else ""
        values = {"op": visible(bad.op), "number": bad.line_number, "layer": layer or UNKNOWN_SIGN}
        return say(key, given=given, **values) + turn
    if not layer:
        return say(f"run.in_{bad.direction}")
    return say(f"run.in_{bad.direction}_of", layer=layer)


# --- the table -----------------------------------------------------------------------------


def tables(run: Run) -> Iterator[Table]:
    """The course of loss and metrics, with a row a layer; then a row a variable, where the rows
    of layers stand for several."""
    caption = say("run.caption", number=run.line_number, n=run.steps)
    rows = [*_losses(run), *(_layers(run) if run.layers else _variables(run))]
    yield _lean(Table(caption, _columns(), tuple(rows), tuple(_notes(run))))


def variables(run: Run) -> Table | None:
    """One row a variable, for who opens the layers."""
    if not run.layers:
        return None
    return _lean(Table(say("run.variables"), _columns(), tuple(_variables(run))))


def _columns() -> tuple[Column, ...]:
    return (
        Column(say("run.figure"), code=True),
        Column(say("run.course"), code=True),
        Column(say("run.first"), "right"),
        Column(say("run.last"), "right"),
        Column(say("run.update"), "right", spare=2),
        Column(say("run.output"), "right", spare=1),
        Column(say("run.zeros"), "right", spare=3),
    )


def _lean(table: Table) -> Table:
    """Without the columns in which no row tells anything."""
    keep = [any(row.cells[i] != UNKNOWN_SIGN for row in table.rows) for i in range(7)]
    rows = tuple(replace(row, cells=tuple(compress(row.cells, keep))) for row in table.rows)
    return replace(table, columns=tuple(compress(table.columns, keep)), rows=rows)


def _losses(run: Run) -> Iterator[Row]:
    for kind in ("loss", "metric"):
        for name, values in run.of(kind).items():
            title = _target(run) if kind == "loss" else visible(clipped(name, _LONGEST))
            if kind == "loss" or name != "loss":
                yield _row(title, values, run)
    for name in dict.fromkeys(name for name, _, _ in run.validation):
        every = [v for n, _, v in run.validation if n == name]
        yield _row(say("run.validated", name=visible(clipped(name, 40))), np.asarray(every), run)


def _layers(run: Run) -> Iterator[Row]:
    norms, ratios = run.gradient_norm, run.update_ratio
    for layer, names in run.layers:
        mine = [norms[name] for name in names if name in norms]
        norm = np.sqrt(np.sum(np.square(mine), axis=0)) if mine else None
        changes = [ratios[name] for name in names if name in ratios]
        yield _row(visible(clipped(layer, _LONGEST)), norm, run, changes, layer)


def _variables(run: Run) -> Iterator[Row]:
    ratios = run.update_ratio
    for name, norm in run.gradient_norm.items():
        changes = [ratios[name]] if name in ratios else []
        yield _row(f"‖∇ {visible(clipped(name, _LONGEST))}‖", norm, run, changes)


def _row(
    title: str, values: Array | None, run: Run, changes: Sequence[Array] = (), layer: str = ""
) -> Row:
    bad = None if values is None else _first_trouble(values)
    note = ""
    if bad is not None and values is not None:
        step = run.numbers[bad] if len(values) == len(run.numbers) else bad + 1
        note = say("run.trouble", step=step, figure=_figure(values[bad]))
    usual = [float(v) for change in changes if (v := _usual(change)) is not None]
    return Row(
        (
            title,
            spark(thinned([float(v) for v in values])) if values is not None else UNKNOWN_SIGN,
            _figure(values[0]) if values is not None and len(values) else UNKNOWN_SIGN,
            _figure(values[-1]) if values is not None and len(values) else UNKNOWN_SIGN,
            number(max(usual), 2) if usual else UNKNOWN_SIGN,
            *_output(run, layer),
        ),
        "bad" if bad is not None else "",
        note,
    )


def _output(run: Run, layer: str) -> tuple[str, str]:
    """Mean and spread of a layer's output in the last step, and its share of zeros."""
    if layer not in run.mean:
        return UNKNOWN_SIGN, UNKNOWN_SIGN
    mean, std, zeros = (float(run.of(k)[layer][-1]) for k in ("mean", "std", "zeros"))
    if not math.isfinite(mean):
        return _figure(mean), UNKNOWN_SIGN
    return f"{number(mean, 2)} ± {number(std, 2)}", percent(round(zeros * 10_000), 10_000)


def _usual(change: Array) -> float | None:
    known = change[np.isfinite(change)]
    return float(np.median(known)) if known.size else None


def _first_trouble(values: Array) -> int | None:
    bad = np.flatnonzero(~np.isfinite(values))
    return int(bad[0]) if bad.size else None


def _figure(value: float) -> str:
    return number(float(value), 4)


def _notes(run: Run) -> Iterator[str]:
    if len(run.epochs) > 1:
        yield say("run.epochs", n=len(run.epochs), steps=", ".join(map(str, run.epochs[1:9])))
    if run.skipped:
        yield say("run.skipped", n=len(run.skipped), last=run.skipped[-1])
    if len(run.numbers) < run.steps:
        yield say("run.thinned", kept=len(run.numbers), n=run.steps)


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


# --- the plot ------------------------------------------------------------------------------


def plot(run: Run) -> str:
    """Loss and metrics, and the norms of the gradients, over the steps, as SVG."""
    left = {_target(run): run.loss} if run.of("loss") else {}
    left |= {name: v for name, v in run.metrics.items() if name != "loss"}
    drawn = plots.figure(7.2, 2.6 if left else 2.8)
    axes = drawn.subplots(1, 2 if left else 1, squeeze=False)[0]
    if left:
        title = visible(clipped(next(iter(left)), 30))
        _draw(axes[0], run, left, title, legend=len(left) > 1, inside=True)
    norms = dict(_by_layer(run) if run.layers else run.gradient_norm)
    most = sorted(norms, key=lambda n: -max((v for v in norms[n] if np.isfinite(v)), default=-1.0))
    kept = {name: v for name, v in norms.items() if name in most[:MOST_LINES]}
    _draw(axes[-1], run, kept, say("run.norms"), legend=True)
    drawn.subplots_adjust(wspace=0.28)
    return plots.svg(drawn)


def _by_layer(run: Run) -> Iterator[tuple[str, Array]]:
    norms = run.gradient_norm
    for layer, names in run.layers:
        mine = [norms[name] for name in names if name in norms]
        if mine:
            yield layer, np.sqrt(np.sum(np.square(mine), axis=0))


def _draw(
    axes: Any,
    run: Run,
    courses: dict[str, Array],
    title: str,
    *,
    legend: bool = False,
    inside: bool = False,
) -> None:
    plots.calm(axes)
    few = len(run.numbers) <= 40
    for colour, (name, values) in zip(_COLOURS, courses.items(), strict=False):
        (line,) = axes.plot(
            run.numbers,
            values,
            color=colour,
            linewidth=1.6,
            marker="o" if few else "",
            markersize=3,
        )
        # a leading _ would hide it
        line.set_label(f"\N{ZERO WIDTH SPACE}{visible(clipped(name, 30))}")
    for step in run.epochs[1:]:
        axes.axvline(step - 0.5, color=QUIET, linewidth=0.6, linestyle=":")
    if _spreads(list(courses.values())):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: number(value, 3))  # mathtext takes long
        axes.yaxis.set_minor_formatter("")
    axes.set_title(title, color=INK, fontsize=10, parse_math=False)
    axes.set_xlabel(say("run.step"), color=QUIET, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.locator_params(axis="x", integer=True, nbins=6)
    if legend and courses:
        beside = {} if inside else {"bbox_to_anchor": (1, 1)}
        place = "best" if inside else "upper left"
        made = axes.legend(frameon=False, fontsize=8, labelcolor=INK, loc=place, **beside)
        for text in made.get_texts():
            text.set_parse_math(False)


def _spreads(courses: Sequence[Array]) -> bool:
    """Whether a logarithmic axis shows more: all positive, over more than a power of ten."""
    values = [float(v) for course in courses for v in course if np.isfinite(v)]
    return bool(values) and min(values) > 0 and max(values) / min(values) > 20


def plot_description(run: Run) -> str:
    """The plot in one sentence, for whoever does not see it."""
    shown = run.loss if run.of("loss") else next(iter(run.gradient_norm.values()), run.loss)
    name = _target(run) if run.of("loss") else visible(next(iter(run.gradient_norm), ""))
    known = shown[np.isfinite(shown)]
    if not known.size:
        return say("run.alt_nothing", n=run.steps)
    first, last = number(float(known[0]), 4), number(float(known[-1]), 4)
    return say("run.alt", name=clipped(name, 40), first=first, last=last, n=run.steps)
