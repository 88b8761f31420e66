"""What runs inside the calls of a ``tf.function``, where a gradient through one is in trouble.

The ops are read from the traced graph.  Where the function does nothing but compute, they
are run once more, one by one, on the very inputs of the call: so each has its value, and
the gradient that came back to it.  Random numbers are then drawn anew, from kernels that
nobody else draws from.  A function that changes variables or calls Python is only read,
never run.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tfmagic.runtime import private
from tfmagic.runtime.autodiff.differentiate import ancestors, apart
from tfmagic.runtime.capture.log import Call, Entry, Log, Traced
from tfmagic.runtime.capture.snapshot import Snapshot, take
from tfmagic.runtime.capture.source import is_user_file
from tfmagic.runtime.capture.structure import leaves
from tfmagic.runtime.op_traits import reason, types_inside

#: Calls that are looked into in one recording, and the largest graph that is.
MOST, LARGEST = 8, 3_000
#: How deep calls within calls are opened; a function may call itself.
_DEEPEST = 8
_Frames = tuple[tuple[str, int, str], ...]
_BACKWARD = re.compile(r"__(?:inference___)?backward_(.+?)_\d+(?:_\d+)*$")
_FORWARD = re.compile(r"__(?:inference|forward)_(.+?)_\d+$")


class InnerOp(NamedTuple):
    """One op of a graph; tensors are numbers within it, ``frames`` stand innermost first."""

    type: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    attrs: tuple[Any, ...]
    frames: _Frames
    own_gradient: str


class InnerTensor(NamedTuple):
    """One tensor of a graph."""

    shape: tuple[int | None, ...] | None
    dtype: str
    name: str


@dataclass(slots=True)
class FunctionTrace:
    """A graph as plain data, with what was seen of one run of it.

    The first ``results`` of the ``outputs`` are the function's own; a tape adds what it
    needs for the way back.
    """

    ops: list[InnerOp] = field(default_factory=list)
    tensors: list[InnerTensor] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    results: int = 0
    constants: dict[int, Any] = field(default_factory=dict)
    values: dict[int, Snapshot] = field(default_factory=dict)
    gradients: dict[int, Snapshot] = field(default_factory=dict)


def look_inside(log: Log, call: Call, whole: int) -> None:
    """Note what is inside the functions on the way of ``call``, where its answer is None,
    zero or not finite; each call of a function once."""
    if not log.functions or len(log.insides) >= MOST or not _in_trouble(call.result):
        return
    targets = [t._id for _, t in leaves(call.target) if hasattr(t, "_id")]
    for position in reversed(ancestors(log, targets)):
        function, entry = log.functions.get(position), log.entries[position]
        known = position in log.insides or len(log.insides) >= MOST
        if function is None or entry.call >= 0 or entry.settled or known:
            continue
        inside = _read(function, log.traced.get(position))
        if inside is None:
            continue
        if {reason(op_type) for op_type in types_inside(function)} <= {"", "random"}:
            upstream = _upstream(log, call, position)
            others = log.foreign
            with contextlib.suppress(Exception):  # what cannot be run is only read
                apart(partial(_run, inside, entry, upstream, whole))
            log.foreign = others  # the tensors of our own thread are no gap
        log.insides[position] = inside


def _in_trouble(answer: Any) -> bool:
    for _, value in leaves(answer):
        dense = getattr(value, "values", value)
        if dense is None:
            return True
        if dense.__class__ is private.EagerTensor:
            array = private.view(dense)
            if array.dtype.kind in "fc" and not (array.any() and np.isfinite(array).all()):
                return True
    return False


# -- the graph ----------------------------------------------------------------------------------


def _read(function: Any, traced: Traced | None) -> FunctionTrace | None:
    graph = function.graph
    reader = _Reader(FunctionTrace())
    for tensor in graph.inputs:
        reader.found.inputs.append(reader.number(tensor, _name(tensor.op)))
    reader.graph(graph, traced, (), 0)
    if len(reader.found.ops) > LARGEST:
        return None
    reader.found.results = private.result_count(function)
    reader.found.outputs = [reader.number(t) for t in graph.outputs]
    return reader.found


class _Reader:
    """Takes the ops of a graph, and in place of a call the ops of the function it calls."""

    def __init__(self, found: FunctionTrace) -> None:
        self.found = found
        self._known: dict[str, int] = {}

    def graph(self, graph: Any, traced: Traced | None, around: _Frames, depth: int) -> None:
        """Note every op; ``around`` are the frames of the call in which the graph stands."""
        given = {tensor.op.name for tensor in graph.inputs}
        for operation in graph.get_operations():
            if len(self.found.ops) > LARGEST:
                return
            if operation.name in given or operation.type in ("NoOp", "Placeholder"):
                continue
            frames = (*_frames(operation, traced), *around)
            called = private.called_graph(operation) if depth < _DEEPEST else None
            if called is None:
                self._note(operation, frames)
            else:
                self._call(operation, called, frames, depth)

    def _call(self, operation: Any, called: Any, frames: _Frames, depth: int) -> None:
        """The ops of a called graph, between the tensors that the call takes and gives.

        The same graph may be called again: its tensors are numbered anew each time.
        """
        inputs = [self.number(tensor) for tensor in operation.inputs]
        outside, self._known = self._known, {}
        self._known.update((t.name, n) for t, n in zip(called.inputs, inputs, strict=False))
        self.graph(called, None, frames, depth + 1)
        results = [self.number(tensor) for tensor in called.outputs[: len(operation.outputs)]]
        self._known = outside
        self._known.update((t.name, n) for t, n in zip(operation.outputs, results, strict=False))

    def _note(self, operation: Any, frames: _Frames) -> None:
        if operation.type == "Const":
            number = self.number(operation.outputs[0])
            self.found.constants[number] = private.constant_of(operation)
            return
        self.found.ops.append(
            InnerOp(
                type=operation.type,
                inputs=tuple(self.number(t) for t in operation.inputs),
                outputs=tuple(self.number(t) for t in operation.outputs),
                attrs=private.graph_attributes(operation),
                frames=frames,
                own_gradient="custom" if "_gradient_op_type" in operation.node_def.attr else "",
            )
        )

    def number(self, tensor: Any, name: str = "") -> int:
        """The number of a tensor, a new one where it was not met before."""
        if tensor.name not in self._known:
            self._known[tensor.name] = len(self.found.tensors)
            rank = tensor.shape.rank
            shape = None if rank is None else tuple(tensor.shape.as_list())
            self.found.tensors.append(InnerTensor(shape, tensor.dtype.base_dtype.name, name))
        return self._known[tensor.name]


def _name(operation: Any) -> str:
    return str(operation.name) if str(operation.name).isidentifier() else ""


def _frames(operation: Any, traced: Traced | None) -> _Frames:
    """The user's frames of the trace, innermost first, up to the function itself: how it was
    called when it was traced is another story."""
    found = []
    for frame in reversed(list(operation.traceback or ())):
        if not is_user_file(frame.filename):
            continue
        found.append((frame.filename, frame.lineno or 0, frame.name))
        code = traced.code if traced is not None else None
        if code is None or (frame.filename, frame.name) == (code.co_filename, code.co_name):
            return tuple(found)
    return ()


# -- one more run -------------------------------------------------------------------------------


def _upstream(log: Log, call: Call, position: int) -> Sequence[Any] | None:
    """The gradients that came to the outputs of a call of a function, if they were heard."""
    name = _python_name(_FORWARD, log.entries[position])
    same = [
        p
        for p, e in log.live()
        if p >= position and e.call < 0 and _python_name(_FORWARD, e) == name
    ]
    turns = [
        log.entries[p]
        for p in range(call.start, call.end)
        if not log.entries[p].settled and _python_name(_BACKWARD, log.entries[p]) == name
    ]
    place = len(same) - 1  # the last call of the function is differentiated first
    return turns[place].inputs if name and place < len(turns) else None


def _python_name(pattern: re.Pattern[str], entry: Entry) -> str:
    found = pattern.match(entry.type)
    return found[1] if found else ""


def _run(inside: FunctionTrace, entry: Entry, upstream: Sequence[Any] | None, whole: int) -> None:
    import tensorflow as tf

    values: dict[int, Any] = dict(zip(inside.inputs, entry.inputs, strict=False))
    values.update((number, tf.constant(array)) for number, array in inside.constants.items())
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        for tensor in values.values():
            if tensor.dtype.is_floating or tensor.dtype.is_complex or tensor.dtype == tf.resource:
                tape.watch(tensor)
        for op in inside.ops:
            if not all(t in values for t in op.inputs):
                continue
            given = [values[t] for t in op.inputs]
            made = private.execute(op.type, len(op.outputs), given, op.attrs)
            private.record_gradient(op.type, given, op.attrs, made)
            values.update(zip(op.outputs, made, strict=True))
    _note(inside.values, values.items(), whole)
    if upstream is None:
        return
    floats = {n: t for n, t in values.items() if t.dtype.is_floating or t.dtype.is_complex}
    outputs = [values[n] for n in inside.outputs[: inside.results]]
    found = tape.gradient(outputs, floats, output_gradients=list(upstream[: inside.results]))
    dense = {n: getattr(g, "values", g) for n, g in found.items() if g is not None}
    _note(inside.gradients, dense.items(), whole)


def _note(known: dict[int, Snapshot], tensors: Any, whole: int) -> None:
    for number, tensor in tensors:
        known[number] = Snapshot(*take(tensor, whole))
