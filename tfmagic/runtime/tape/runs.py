"""Training runs in compiled code: from what the twins told of each call to a :class:`Run`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tfmagic.analysis.learning import stalled
from tfmagic.analysis.runs import first_bad, layer_names
from tfmagic.model import Line, Op, Pairing, Run, Series, Trial
from tfmagic.runtime.autodiff.step_replay import first_bad_op
from tfmagic.runtime.capture.log import CompiledFunction, CompiledStep, Log, Tap
from tfmagic.runtime.capture.source import source_of
from tfmagic.runtime.compiled.interpreter import Stopped
from tfmagic.runtime.experiments.pairing import pairing
from tfmagic.runtime.experiments.trials import trials

__all__ = ["compiled_runs"]

#: The op by which data begins anew.
_BEGINS = "MakeIterator"
_NO_FIGURE = float("nan")


@dataclass(slots=True)
class _Steps:
    """The calls on one line that change the same variables by the same loss."""

    line: int | None
    keys: frozenset[int]
    calls: list[tuple[CompiledFunction, CompiledStep, str]] = field(default_factory=list)


def compiled_runs(
    log: Log, ops: Sequence[Op], lines: Sequence[Line], name_of: Callable[[int], str]
) -> tuple[Run, ...]:
    """One run for each line that called functions which train; ``name_of`` a handle's id is the
    variable's name."""
    groups: dict[tuple[int | None, frozenset[int]], _Steps] = {}
    for function in log.compiled.values():
        thrown = {"": frozenset[int]()} if function.thrown_away else {}
        for loss, keys in (_losses(function) or thrown).items():
            for step in function.steps:
                line = ops[step.entry].line if step.entry < len(ops) else None
                steps = groups.setdefault((line, keys), _Steps(line, keys))
                steps.calls.append((function, step, loss))
    return tuple(_run(log, ops, lines, steps, name_of) for steps in groups.values())


def _losses(function: CompiledFunction) -> dict[str, frozenset[int]]:
    """Loss → the variables that are changed by its gradient."""
    found: dict[str, set[int]] = {}
    for tap in _taps(function):
        if tap.kind == "gradient":
            found.setdefault(tap.key[1], set()).add(tap.key[0])
    return {loss: frozenset(keys) for loss, keys in found.items()}


def _taps(function: CompiledFunction) -> Iterator[Tap]:
    for group in function.taps:
        yield from group


def _metric_columns(function: CompiledFunction) -> Iterator[tuple[str, int, int]]:
    """Each metric, and where its figure stands: the matrix and the column in it."""
    for group, taps in enumerate(function.taps):
        column = 0
        for tap in taps:
            if tap.kind == "metric":
                yield tap.key, group, column
            column += tap.width


def _rows(function: CompiledFunction, step: CompiledStep, keys: frozenset[int]) -> list[_Row]:
    """What one call told, a row for each step that it made."""
    arrays = [np.asarray(figures, float) for figures in step.figures]
    trains = [any(tap.kind == "gradient" for tap in group) for group in function.taps]
    if function.thrown_away:
        trains = [True] * len(arrays)
    count = max((len(a) for a, t in zip(arrays, trains, strict=True) if t), default=0)
    rows: list[_Row] = [{} for _ in range(count)]
    for group, array in zip(function.taps, arrays, strict=True):
        at = 0
        for tap in group:
            if _belongs(tap, keys):
                for place, row in enumerate(rows):
                    if len(array):
                        row[tap] = array[min(place, len(array) - 1), at : at + tap.width]
            at += tap.width
    return rows


_Row = dict[Tap, Any]


def _belongs(tap: Tap, keys: frozenset[int]) -> bool:
    if tap.kind in ("gradient", "weight"):
        return tap.key[0] in keys
    return tap.kind != "update" or tap.key in keys


def _run(
    log: Log, ops: Sequence[Op], lines: Sequence[Line], steps: _Steps, name_of: Callable[[int], str]
) -> Run:
    calls = sorted(steps.calls, key=lambda call: call[1].entry)
    starts, ends = list[tuple[int, int]](), list[tuple[int, int]]()
    numbers, made_by = list[int](), list[tuple[str, int]]()
    scopes = layer_names([t.key for f, _, _ in calls for t in _taps(f) if t.kind == "layer"])
    layers: dict[str, dict[str, None]] = {name: {} for name in scopes.values()}
    rows: list[dict[tuple[str, str], float]] = []
    for function, step, loss in calls:
        starts.append((step.entry, len(rows)))
        for row in _rows(function, step, steps.keys):
            made_by.append((function.name, step.number))
            numbers.append(len(rows) + 1 if function.stride == 1 else step.number + 1)
            rows.append(dict(_figures(row, loss, scopes, name_of)))
        ends.append((step.entry, len(rows)))
        for tap in _taps(function):
            if tap.kind == "weight" and tap.key[0] in steps.keys:
                home = scopes.get(tap.key[1], layer_names([tap.key[1]]).get(tap.key[1], ""))
                layers.setdefault(home, {})[name_of(tap.key[0])] = None
    columns = {
        name: tuple(row.get(name, _NO_FIGURE) for row in rows)
        for name in dict.fromkeys(key for row in rows for key in row)
    }
    functions = {id(f): f for f, _, _ in calls}.values()
    flow = dict.fromkeys(pair for f in functions for pair in f.flow)
    first, line = calls[0][1], steps.line
    run = Run(
        function=ops[first.entry].function if first.entry < len(ops) else calls[0][0].name,
        line=line,
        line_number=lines[line].number if line is not None else 0,
        cell=ops[first.entry].cell if first.entry < len(ops) else 0,
        steps=max(len(rows), sum(f.count for f in functions)),
        seconds=sum(s.end - s.start for _, s, _ in calls) * _thinned(functions, calls),
        numbers=tuple(numbers),
        series=tuple(Series(kind, name, values) for (kind, name), values in columns.items()),
        epochs=_epochs(log, starts),
        flow=tuple((scopes[a], scopes[b]) for a, b in flow if a in scopes and b in scopes),
        layers=tuple((layer, tuple(names)) for layer, names in layers.items()),
        validation=_validation(log, ops, line, ends),
    )
    run = _with_first_bad(run, log, made_by, scopes, name_of)
    run = replace(run, pairing=_pairing(functions))
    tried = _trials(run, list(functions))
    named = [tuple(_named(name, scopes, name_of) for name in t.names) for t in tried]
    return replace(
        run, trials=tuple(replace(t, names=n) for t, n in zip(tried, named, strict=True))
    )


def _named(name: str, scopes: Mapping[str, str], name_of: Callable[[int], str]) -> str:
    """What a trial concerns, by the name of the variable or layer."""
    if name.isdigit():
        return name_of(int(name))
    return scopes.get(name) or layer_names([name])[name]


def _pairing(functions: Iterable[CompiledFunction]) -> Pairing | None:
    """How loss, model and targets go together, where the first steps were kept."""
    for function in functions:
        for filename, number, _ in function.thrown_away:
            text = source_of(filename).split("\n")[number - 1 : number]
            return Pairing("unapplied", (), (), number, text[0].strip() if text else "")
    kept = next((f.first for f in functions if f.first is not None and f.first.steps), None)
    return pairing(kept) if kept is not None else None


def _trials(run: Run, functions: Sequence[CompiledFunction]) -> tuple[Trial, ...]:
    """Trials of a run, made once for as many calls as there were."""
    for function in functions:
        if function.first is None or not function.first.steps:
            continue
        if function.tried[0] != function.count:
            made = trials(function.first, run.seconds, stalled(run))
            function.tried = (function.count, made)
        return function.tried[1]
    return ()


def _with_first_bad(
    run: Run,
    log: Log,
    made_by: Sequence[tuple[str, int]],
    scopes: Mapping[str, str],
    name_of: Callable[[int], str],
) -> Run:
    """The run with the op that made its first value that was not finite, or as much as its
    figures tell where that step cannot be made again.

    A figure can be too large for its precision where no value was: then it is looked on.
    """
    after = 0
    while (told := first_bad(run, after)).first_bad is not None:
        at = run.numbers.index(told.first_bad.step)
        # a weight that is bad before a step was made so by the step before
        maker = at - 1 if told.first_bad.direction == "update" and at else at
        try:
            found = first_bad_op(log, *made_by[maker], name_of)
        except Stopped:
            return told
        if found is not None:
            layer = scopes.get(found.layer) or layer_names([found.layer])[found.layer]
            step = run.numbers[maker]
            return replace(run, first_bad=replace(found, step=step, layer=layer))
        after = at + 1
    return run


def _thinned(functions: Any, calls: Sequence[Any]) -> float:
    """How many calls there were for each that was kept."""
    return float(sum(f.count for f in functions) / max(1, len(calls)))


def _figures(
    row: _Row, loss: str, scopes: dict[str, str], name_of: Callable[[int], str]
) -> Iterator[tuple[tuple[str, str], float]]:
    for tap, values in row.items():
        if tap.kind == "loss":
            if tap.key == loss:
                yield ("loss", "loss"), float(values[0])
        elif tap.kind == "metric":
            yield ("metric", tap.key), float(values[0])
            if not loss:  # of what is differentiated for nothing only what is answered is known
                yield ("loss", "loss"), float(values[0])
        elif tap.kind == "layer":
            yield from _layer(scopes[tap.key], *map(float, values))
        else:
            key = tap.key if tap.kind == "update" else tap.key[0]
            yield (tap.kind, name_of(key)), float(np.sqrt(2.0 * values[0]))


def _layer(
    name: str, whole: float, mean: float, half_squares: float, zeros: float, count: float
) -> Iterator[tuple[tuple[str, str], float]]:
    yield ("mean", name), mean if np.isfinite(whole) or not np.isfinite(mean) else whole
    spread = 2.0 * half_squares / max(count, 1.0) - mean * mean
    yield ("std", name), float(np.sqrt(max(spread, 0.0))) if np.isfinite(spread) else spread
    yield ("zeros", name), zeros


def _epochs(log: Log, starts: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """The steps before which the data began anew; a step is told by its entry and its place."""
    found, before = [], 0
    for entry, told in starts:
        between = log.entries[before:entry]
        if any(e.type == _BEGINS for e in between) or not told:
            found.append(told + 1)
        before = entry
    return tuple(found)


def _validation(
    log: Log, ops: Sequence[Op], line: int | None, ends: Sequence[tuple[int, int]]
) -> tuple[tuple[str, int, float], ...]:
    """What functions that do not train returned on the same line, as it stood between two steps."""
    found: dict[tuple[str, int], float] = {}
    for function in log.compiled.values():
        if function.trains or function.thrown_away:
            continue
        for step in function.steps:
            if step.entry >= len(ops) or ops[step.entry].line != line:
                continue
            after = max((told for entry, told in ends if entry < step.entry), default=0)
            for name, group, column in _metric_columns(function):
                array = np.asarray(step.figures[group], float)
                if len(array):
                    found[name, after] = float(array[-1, column])
    return tuple((name, step, value) for (name, step), value in found.items())
