"""The gradients that a function asks for itself, once more: the way to its target run op by op.

Such a call is made while the function is traced, so no op of it is heard and its answer is a
tensor of a graph.  The part of the graph that leads to the target is run on what the function
was given, on copies of its variables; where tracing ended in an exception, on made-up numbers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

from tfmagic.runtime import private
from tfmagic.runtime.autodiff.differentiate import apart
from tfmagic.runtime.autodiff.step_replay import StepReplay
from tfmagic.runtime.capture.log import InnerCall, Log, handle_of
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
        if perf_counter() < until:
            import os, traceback
            try: log.inner.append(apart(partial(_looked, log, call, whole)))
            except Exception: traceback.print_exc() if os.environ.get("DBG") else None
            continue
            with contextlib.suppress(Exception):  # what cannot be run again is not told
                log.inner.append(apart(partial(_looked, log, call, whole)))


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
    numbers = [s.number for s in found.sources if s.number in values]
    asked = dict.fromkeys(n for n in numbers if n is not None)
    made = tape.gradient(values[found.target], {n: values[n] for n in asked}) if asked else {}
    for told in found.sources:
        gradient = made.get(told.number)
        if gradient is not None:
            told.gradient = Snapshot(*take(getattr(gradient, "values", gradient), whole))
    inside.values = {n: Snapshot(*take(t, whole)) for n, t in values.items()}
    return found


def _source(source: Any, answer: Any, graph: Any, inside: FunctionTrace) -> InnerSource:
    handle, name = handle_of(source), getattr(source, "name", "")
    key = handle._id if handle is not None else None
    if key is not None:
        inner = (i.name for e, i in graph.captures if getattr(e, "_id", None) == key)
        number = inside.numbers.get(next(inner, ""))
    else:
        number = inside.numbers.get(name)
    dtype = getattr(getattr(source, "dtype", ""), "name", "") or str(getattr(source, "dtype", ""))
    trainable = bool(getattr(source, "trainable", key is None))
    return InnerSource(str(name).partition(":")[0], number, key, dtype, trainable, answer is None)


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
    captured = {inner.name: outer for outer, inner in graph.captures}
    return [_made_up(tensor, captured.get(tensor.name)) for tensor in part.inputs], True


def _made_up(tensor: Any, outer: Any) -> Any:
    """The variable itself, or numbers of the right shape and dtype."""
    import tensorflow as tf

    if isinstance(outer, private.EagerTensor):
        return outer
    shape = [2 if size is None else size for size in tensor.shape.as_list()]
    if tensor.dtype.is_floating:
        return tf.cast(tf.random.stateless_uniform(shape, [1, 2]), tensor.dtype)
    return tf.zeros(shape, tensor.dtype)
