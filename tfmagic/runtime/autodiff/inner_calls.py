"""The gradients that a function asks for itself, once more: the way to its target run op by op.

Such a call is made while the function is traced, so no op of it is heard and its answer is a
tensor of a graph.  The part of the graph that leads to the target is run on what the function
was given, on copies of its variables; where tracing ended in an exception, on made-up numbers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from tfmagic.runtime import private
from tfmagic.runtime.autodiff.differentiate import apart
from tfmagic.runtime.autodiff.step_replay import StepReplay
from tfmagic.runtime.capture.log import InnerCall, Log, Tap, handle_of
from tfmagic.runtime.capture.snapshot import Snapshot, take
from tfmagic.runtime.capture.structure import leaves
from tfmagic.runtime.compiled.interpreter import FunctionTrace, read, run

__all__ = ["InnerGradients", "InnerSource", "look_into"]

#: Seconds for all of them, and ops above which the way is only read.
_LONGEST, _LARGEST = 1.0, 1_500


@dataclass(slots=True)
class InnerSource:
    """One source: its number in the trace (None where nothing was computed from it), the id of a
    variable's handle, and the gradient by it."""

    label: str
    number: int | None
    key: int | None
    dtype: str
    trainable: bool
    none: bool
    gradient: Snapshot | None = None


@dataclass(slots=True)
class InnerGradients:
    """One call: the way to its target, and what it answered.  ``made_up`` says that the numbers
    are not the user's."""

    function: str
    name: str
    inside: FunctionTrace
    target: int
    sources: list[InnerSource] = field(default_factory=list)
    made_up: bool = False


class _Part:
    """The ops of a graph that lead to a target, in the form of a graph."""

    def __init__(self, target: Any, sources: Sequence[Any]) -> None:
        graph = target.graph
        self.outputs = [target]
        todo, needed = [target.op, *(s.op for s in sources)], set[str]()
        while todo:
            operation = todo.pop()
            if operation.name not in needed:
                needed.add(operation.name)
                todo += [tensor.op for tensor in operation.inputs]
        self._operations = [op for op in graph.get_operations() if op.name in needed]
        self.inputs = [op.outputs[0] for op in self._operations if op.type == "Placeholder"]

    def get_operations(self) -> list[Any]:
        """Those ops, in the order in which they were made."""
        return self._operations


def look_into(log: Log, whole: int) -> None:
    """Note what became of the gradients that functions asked for while they were traced."""
    calls, log.inner_calls = log.inner_calls, []
    until = perf_counter() + _LONGEST
    for call in calls:
        trouble = any(value is None for _, value in leaves(call.result))
        if perf_counter() < until and (trouble or not _fine(log, call.target.graph)):
            with contextlib.suppress(Exception):  # what cannot be run again is not told
                log.inner.append(apart(partial(_looked, log, call, whole)))


def _fine(log: Log, graph: Any) -> bool:
    """Whether a step function told in its last call that every gradient is a number, not zero."""
    for told in log.compiled.values():
        if told.first is not None and told.first.graph is graph and told.steps:
            norms = [
                figure
                for taps, figures in zip(told.taps, told.steps[-1].figures, strict=True)
                for figure in _gradients(taps, np.asarray(figures))
            ]
            return bool(norms) and bool(np.isfinite(norms).all()) and min(norms) > 0
    return False


def _gradients(taps: Sequence[Tap], figures: Any) -> Iterator[float]:
    """The figures of gradients in the last row of a matrix."""
    at = 0
    for tap in taps:
        if tap.kind == "gradient" and len(figures):
            yield float(figures[-1, at])
        at += tap.width


def _looked(log: Log, call: InnerCall, whole: int) -> InnerGradients:
    import tensorflow as tf

    graph, answers = call.target.graph, [value for _, value in leaves(call.result)]
    every = [value for _, value in leaves(call.sources)]
    own = [s for s in every if getattr(s, "graph", None) is graph and hasattr(s, "op")]
    part = _Part(call.target, own)
    given, made_up = _inputs(log, graph, part)
    values: dict[int, Any] = {}
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        if given is None or len(part.get_operations()) > _LARGEST:
            inside = read(part)
        else:
            for tensor in given:
                if tensor.dtype.is_floating or tensor.dtype == tf.resource:
                    tape.watch(tensor)
            inside, values = run(part, given)
    if inside is None:
        raise ValueError("too long")
    found = InnerGradients(
        str(graph.name), call.name, inside, inside.numbers[call.target.name], made_up=made_up
    )
    for source, answer in zip(every, answers, strict=True):
        found.sources.append(_source(source, answer, graph, inside))
    known = {n: t for n, t in values.items() if t.dtype.is_floating or t.dtype == tf.resource}
    made = tape.gradient(values[found.target], known) if found.target in known else {}
    dense = {n: getattr(g, "values", g) for n, g in made.items() if g is not None}
    taken = {n: Snapshot(*take(g, whole)) for n, g in dense.items()}
    inside.gradients = {n: g for n, g in taken.items() if known[n].dtype.is_floating}
    for told in found.sources:
        told.gradient = taken.get(told.number) if told.number is not None else None
    inside.values = {n: Snapshot(*take(t, whole)) for n, t in values.items()}
    return found


def _source(source: Any, answer: Any, graph: Any, inside: FunctionTrace) -> InnerSource:
    handle, name = handle_of(source), str(getattr(source, "name", ""))
    label = getattr(source, "path", name)
    key = handle._id if handle is not None else None
    if key is not None:
        inner = (i.name for e, i in graph.captures if getattr(e, "_id", None) == key)
        number = inside.numbers.get(next(inner, ""))
    else:
        number = inside.numbers.get(name)
    dtype = getattr(getattr(source, "dtype", ""), "name", "") or str(getattr(source, "dtype", ""))
    trainable = bool(getattr(source, "trainable", key is None))
    return InnerSource(str(label).partition(":")[0], number, key, dtype, trainable, answer is None)


def _inputs(log: Log, graph: Any, part: _Part) -> tuple[list[Any] | None, bool]:
    """What the placeholders of a graph held in the first call of it, and whether that is made
    up; None where it is not known."""
    whole = None
    for told in log.compiled.values():
        kept = told.first
        if kept is not None and kept.graph is graph and kept.steps:
            whole = StepReplay(kept).inputs(kept.steps[0])
    for position, function in log.functions.items():
        if whole is None and getattr(function, "graph", None) is graph:
            entry = log.entries[position]
            whole = None if entry.settled else list(entry.inputs)
    if whole is not None:
        known = {t.name: v for t, v in zip(graph.inputs, whole, strict=True)}
        return [known[tensor.name] for tensor in part.inputs], False
    if graph.outputs:
        return None, False
    return [_made_up(tensor, _captured(graph, tensor)) for tensor in part.inputs], True


def _captured(graph: Any, tensor: Any) -> Any:
    """What a placeholder stands for outside of all functions."""
    while graph is not None:
        tensor = next((outer for outer, inner in graph.captures if inner is tensor), None)
        if tensor is None or isinstance(tensor, private.EagerTensor):
            return tensor
        graph = tensor.graph if tensor.op.type == "Placeholder" else None
    return None


def _made_up(tensor: Any, outer: Any) -> Any:
    """Numbers of the right shape and dtype; for a variable, another one that holds such."""
    import tensorflow as tf

    if tensor.dtype == tf.resource:
        shape, dtype = private.held_by(outer)
        return tf.Variable(_numbers(shape, dtype), trainable=False).handle
    return _numbers(tensor.shape, tensor.dtype)


def _numbers(shape: Any, dtype: Any) -> Any:
    import tensorflow as tf

    sizes = [2 if size is None else size for size in shape.as_list()]
    if dtype.is_floating:
        return tf.cast(tf.random.stateless_uniform(sizes, [1, 2]), dtype)
    return tf.zeros(sizes, dtype)
