"""Training runs: those of an eager loop, found in a recording, and what is said of any run."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from tfmagic.model import BadValue, Gradient, GradientCall, Recording, Run, Series

__all__ = ["eager_runs", "first_bad", "layer_names"]

#: As many calls of ``gradient`` on one line make a run.
FEWEST = 3
_NO_FIGURE = math.nan
#: Order in which a step computes: what is bad first, in this order, is where it began.
_WAY = ("weight", "mean", "loss", "gradient", "update")
_DIRECTIONS = {"weight": "update", "mean": "forward", "loss": "forward"}


def eager_runs(recording: Recording) -> tuple[Run, ...]:
    """One run for each line that asked for the same gradients three times or more."""
    found: dict[tuple[int, int, tuple[str, ...]], list[GradientCall]] = {}
    for call in recording.gradients:
        if call.line is not None and call.gradients and call.origin == "cell":
            names = tuple(gradient.source for gradient in call.gradients)
            found.setdefault((call.cell, call.line, names), []).append(call)
    return tuple(
        _run(recording, cell, line, calls)
        for (cell, line, _), calls in found.items()
        if len(calls) >= FEWEST
    )


def _run(recording: Recording, cell: int, line: int, calls: Sequence[GradientCall]) -> Run:
    ends = [_last_op(recording, call) for call in calls]
    updates = _updates(recording)
    rows = [
        dict(_step(recording, call, updates, end, after))
        for call, end, after in zip(calls, ends, [*ends[1:], len(recording.ops)], strict=True)
    ]
    names = dict.fromkeys(key for row in rows for key in row)
    series = [
        Series(kind, name, tuple(row.get((kind, name), _NO_FIGURE) for row in rows))
        for kind, name in names
    ]
    told = Run(
        function="",
        line=line,
        line_number=recording.lines[line].number,
        cell=cell,
        steps=len(calls),
        seconds=0.0,
        numbers=tuple(range(1, len(calls) + 1)),
        series=tuple(series),
        target=" + ".join(calls[-1].targets),
        compiled=False,
    )
    return first_bad(told)


def _last_op(recording: Recording, call: GradientCall) -> int:
    """The op after which the gradients of a call were there."""
    made = [g.tensor for g in call.gradients if g.tensor is not None]
    ops = (recording.tensors[tensor].op for tensor in made)
    return max((op for op in ops if op is not None), default=0)


def _updates(recording: Recording) -> dict[int, list[tuple[int, float]]]:
    """Variable → the ops that add to it or take from it, with the norm of what they do."""
    found: dict[int, list[tuple[int, float]]] = {}
    for variable in recording.variables:
        for index in variable.assigned_by:
            op = recording.ops[index]
            if op.type in ("AssignSubVariableOp", "AssignAddVariableOp") and len(op.inputs) > 1:
                stats = recording.tensors[op.inputs[1]].value.stats
                if stats is not None and stats.norm is not None:
                    found.setdefault(variable.id, []).append((index, stats.norm))
    return found


def _step(
    recording: Recording,
    call: GradientCall,
    updates: dict[int, list[tuple[int, float]]],
    start: int,
    end: int,
) -> Iterator[tuple[tuple[str, str], float]]:
    """The figures of one turn: its call of ``gradient``, and the updates before the next."""
    value = _target(recording, call)
    if value is not None:
        yield ("loss", " + ".join(call.targets)), value
    for gradient in call.gradients:
        norm = _norm(gradient)
        yield ("gradient", gradient.source), _NO_FIGURE if norm is None else norm
        if gradient.weight_norm is not None:
            yield ("weight", gradient.source), gradient.weight_norm
        mine = updates.get(gradient.variable, ()) if gradient.variable is not None else ()
        last = bisect_left(mine, (end,)) - 1
        if last >= 0 and mine[last][0] >= start:
            yield ("update", gradient.source), mine[last][1]


def _target(recording: Recording, call: GradientCall) -> float | None:
    """The value that was differentiated: of several elements their mean."""
    figures = [recording.tensors[t].value.stats for t in call.target_tensors]
    if not figures or any(stats is None for stats in figures):
        return None
    return sum(
        _NO_FIGURE if stats is None or not stats.finite else stats.mean or 0.0 for stats in figures
    )


def _norm(gradient: Gradient) -> float | None:
    """The norm; NaN or infinity where an element is; None for a gradient that is None."""
    stats = gradient.value.stats if gradient.value is not None else None
    if stats is None:
        return None
    if stats.nan:
        return math.nan
    return math.inf if stats.inf else stats.norm


# --- any run -------------------------------------------------------------------------------


def layer_names(scopes: Iterable[str]) -> dict[str, str]:
    """Scope → what a person calls the layer: its last part, without the number by which
    TensorFlow tells one trace from another, where all have the same."""
    every = list(dict.fromkeys(scopes))
    ends = {re.sub(r".*_(?=\d+$)", "", s) if re.search(r"_\d+$", s) else "" for s in every}
    suffix = f"_{ends.pop()}" if len(ends) == 1 and ends != {""} else ""
    short = {scope: scope.rpartition("/")[2].removesuffix(suffix) or scope for scope in every}
    several = [name for name in short.values() if list(short.values()).count(name) > 1]
    return {scope: scope if name in several else name for scope, name in short.items()}


def first_bad(run: Run, after: int = 0) -> Run:
    """The run, with where its first figure that is not finite stands, if there is one; steps
    before place ``after`` are passed over."""
    known = [s for s in run.series if s.kind in _WAY]
    table = np.asarray([s.values for s in known], float) if known else np.zeros((0, 0))
    was = np.maximum.accumulate(np.isfinite(table), axis=1) if table.size else table
    # a figure that never was finite from its first step on may not have been there at all
    bad = ~np.isfinite(table) & (was.astype(bool) | np.isinf(table) | _all_lost(table, known))
    if bad.size and (skipped := run.skipped):  # nothing came of them
        back = np.asarray([s.kind == "gradient" for s in known], bool)
        bad[np.ix_(back, np.isin(run.numbers, skipped))] = False
    if not bad.size or not bad[:, after:].any():
        return run
    at = after + int(np.argmax(bad[:, after:].any(axis=0)))
    there = [s for s, row in zip(known, bad, strict=True) if row[at]]
    there.sort(key=lambda s: _WAY.index(s.kind))
    first = there[0]
    if first.kind == "gradient":  # on the way back the last layers come first
        first = [s for s in there if s.kind == "gradient"][-1]
    value = first.values[at]
    direction = _DIRECTIONS.get(first.kind, "backward")
    home = {name: layer for layer, names in run.layers for name in names}
    layer = first.name if first.kind == "mean" else home.get(first.name, "")
    figure = "inf" if math.isinf(value) else "NaN"
    return replace(
        run,
        first_bad=BadValue(run.numbers[at], layer=layer, direction=direction, figure=figure),
    )


def _all_lost(table: np.ndarray, known: Sequence[Series]) -> np.ndarray:
    """Whether a series of a compiled step is NaN from the first step on: there every figure is
    told in each; a loss that an eager loop never told is no trouble."""
    lost = ~np.isfinite(table).any(axis=1) if table.size else np.zeros(0, bool)
    kinds = np.asarray([s.kind in ("loss", "mean", "gradient") for s in known], bool)
    found: np.ndarray = (lost & kinds)[:, None] & np.ones_like(table, bool)
    return found
