"""A traced function run op by op: every tensor inside it, each turn of a loop, the branch taken.

A graph is read into plain numbers (:class:`FunctionTrace`).  With values for its inputs
its ops are run as they are read, one by one, and put on the tape that is open: a call
is gone into, a loop turns as often as its condition says, of a branch only the one is
read that is taken.  Without values, or where an op must not run again, the ops are only
read and a loop stays one op.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from time import perf_counter
from types import CodeType
from typing import Any, NamedTuple

from tfmagic.model.op_traits import ASSIGNS
from tfmagic.runtime import private
from tfmagic.runtime.capture.log import Traced
from tfmagic.runtime.capture.snapshot import Snapshot
from tfmagic.runtime.capture.source import is_user_file
from tfmagic.runtime.compiled.reader import BRANCHES, LOOPS
from tfmagic.runtime.op_traits import reason

__all__ = ["LARGEST", "FunctionTrace", "InnerOp", "Stopped", "read", "run"]

#: Ops of the largest function that is opened, and the seconds that a run of one may take.
LARGEST, LONGEST = 3_000, 4.0
#: How deep calls within calls are opened; a function may call itself.
_DEEPEST = 8
#: Ops that one may wait for; a graph that goes round in itself would wait for ever.
_MOST_WAITING = 10_000
_Frames = tuple[tuple[str, int, str], ...]


class Stopped(Exception):
    """The function cannot be run op by op: an op of it must not, or it is too long."""


class InnerOp(NamedTuple):
    """One op of a graph; tensors are numbers within it, ``frames`` stand innermost first.

    ``turn`` counts the turns of the loop that it stands in from 1; 0 outside of loops.
    """

    type: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    attrs: tuple[Any, ...]
    frames: _Frames
    own_gradient: str
    name: str = ""
    turn: int = 0


class InnerTensor(NamedTuple):
    """One tensor of a graph."""

    shape: tuple[int | None, ...] | None
    dtype: str
    name: str


@dataclass(slots=True)
class FunctionTrace:
    """A graph as plain data, with what was seen of one run of it.

    The first ``results`` of the ``outputs`` are the function's own; a tape adds what it
    needs for the way back.  ``numbers`` are those of its own tensors, by name.
    """

    ops: list[InnerOp] = field(default_factory=list)
    tensors: list[InnerTensor] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    results: int = 0
    constants: dict[int, Any] = field(default_factory=dict)
    values: dict[int, Snapshot] = field(default_factory=dict)
    gradients: dict[int, Snapshot] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)


def read(graph: Any, traced: Traced | None = None) -> FunctionTrace | None:
    """The ops of a graph, none of them run; None where there are too many."""
    found = FunctionTrace()
    try:
        _Interpreter(found, None).whole(graph, traced)
    except Stopped:
        return None
    return found


def run(
    graph: Any, inputs: Sequence[Any], traced: Traced | None = None, most: int = LARGEST
) -> tuple[FunctionTrace, dict[int, Any]]:
    """The ops of a graph as they run on ``inputs``, and the tensor behind each number.

    What is run is put on the tapes that are open in this thread.  An op that changes a variable
    runs on a copy of it; one that must not run again (the user's Python, an iterator) raises
    :class:`Stopped`, as does a graph of more than ``most`` ops.  What TensorFlow raises passes.
    """
    found, values = FunctionTrace(), dict[int, Any]()
    reader = _Interpreter(found, values, most)
    reader.given(graph, inputs)
    reader.whole(graph, traced)
    return found, values


class _Interpreter:
    """Takes the ops of a graph, and in place of a call the ops of the function it calls."""

    def __init__(
        self, found: FunctionTrace, values: dict[int, Any] | None, most: int = LARGEST
    ) -> None:
        self.found = found
        self._values = values
        self._most = most
        self._known: dict[str, int] = {}
        self._copies: dict[int, Any] = {}
        self._turn = 0
        self._until = perf_counter() + LONGEST

    def given(self, graph: Any, inputs: Sequence[Any]) -> None:
        """Take these tensors for the inputs of the graph."""
        for tensor, value in zip(graph.inputs, inputs, strict=False):
            self._put(self.number(tensor, _name(tensor.op)), value)

    def whole(self, graph: Any, traced: Traced | None) -> None:
        """All of a graph, from its inputs to its outputs."""
        self.found.inputs = [self.number(tensor, _name(tensor.op)) for tensor in graph.inputs]
        self._graph(graph, traced, (), 0)
        self.found.outputs = [self.number(tensor) for tensor in graph.outputs]
        self.found.numbers = self._known

    def number(self, tensor: Any, name: str = "") -> int:
        """The number of a tensor, a new one where it was not met before."""
        if tensor.name not in self._known:
            self._known[tensor.name] = len(self.found.tensors)
            rank = tensor.shape.rank
            shape = None if rank is None else tuple(tensor.shape.as_list())
            self.found.tensors.append(InnerTensor(shape, tensor.dtype.base_dtype.name, name))
        return self._known[tensor.name]

    def _put(self, number: int, value: Any) -> None:
        if self._values is not None:
            self._values[number] = value

    # -- walking ------------------------------------------------------------------------

    def _graph(self, graph: Any, traced: Traced | None, around: _Frames, depth: int) -> None:
        """Note every op; ``around`` are the frames of the call in which the graph stands."""
        given = {tensor.op.name for tensor in graph.inputs}
        for operation in _ordered(graph):
            if len(self.found.ops) > self._most or perf_counter() > self._until:
                raise Stopped
            if operation.name in given or operation.type in ("NoOp", "Placeholder"):
                continue
            frames = (*_frames(operation, traced), *around)
            called = private.called_graph(operation) if depth < _DEEPEST else None
            if called is not None:
                inputs = [self.number(tensor) for tensor in operation.inputs]
                self._results(operation, self._inner(called, inputs, frames, depth))
            elif self._values is not None and operation.type in LOOPS:
                self._loop(operation, frames, depth)
            elif self._values is not None and operation.type in BRANCHES:
                self._branch(operation, frames, depth)
            else:
                self._op(operation, frames)

    def _inner(
        self, graph: Any, inputs: Sequence[int], frames: _Frames, depth: int
    ) -> Sequence[int]:
        """The ops of a called graph; the same graph may be called again, so its tensors are
        numbered anew each time.  Answers the numbers of its outputs."""
        outside, self._known = self._known, {}
        self._known.update((t.name, n) for t, n in zip(graph.inputs, inputs, strict=False))
        self._graph(graph, None, frames, depth + 1)
        results = [self.number(tensor) for tensor in graph.outputs]
        self._known = outside
        return results

    def _results(self, operation: Any, numbers: Sequence[int]) -> None:
        self._known.update((t.name, n) for t, n in zip(operation.outputs, numbers, strict=False))

    def _loop(self, operation: Any, frames: _Frames, depth: int) -> None:
        assert self._values is not None
        condition = private.attribute_graph(operation, "cond")
        body = private.attribute_graph(operation, "body")
        going: Sequence[int] = [self.number(tensor) for tensor in operation.inputs]
        outside = self._turn
        for turn in range(1, self._most):
            self._turn = turn
            (goes_on,) = self._inner(condition, going, frames, depth)
            if not self._values[goes_on]:
                break
            going = self._inner(body, going, frames, depth)
        self._turn = outside
        self._results(operation, going)

    def _branch(self, operation: Any, frames: _Frames, depth: int) -> None:
        assert self._values is not None
        chosen = self._values[self.number(operation.inputs[0])]
        if operation.type in ("If", "StatelessIf"):
            graph = private.attribute_graph(operation, "then_branch" if chosen else "else_branch")
        else:
            graph = private.attribute_graph(operation, "branches", int(chosen))
        inputs = [self.number(tensor) for tensor in operation.inputs[1:]]
        self._results(operation, self._inner(graph, inputs, frames, depth))

    # -- one op -------------------------------------------------------------------------

    def _op(self, operation: Any, frames: _Frames) -> None:
        if operation.type == "Const":
            number = self.number(operation.outputs[0])
            self.found.constants[number] = array = private.constant_of(operation)
            if self._values is not None:
                import tensorflow as tf

                self._values[number] = tf.constant(array)
            return
        op = InnerOp(
            type=operation.type,
            inputs=tuple(self.number(t) for t in operation.inputs),
            outputs=tuple(self.number(t) for t in operation.outputs),
            attrs=private.graph_attributes(operation),
            frames=frames,
            own_gradient="custom" if "_gradient_op_type" in operation.node_def.attr else "",
            name=str(operation.name),
            turn=self._turn,
        )
        self.found.ops.append(op)
        if self._values is not None:
            self._run(op, self._values)

    def _run(self, op: InnerOp, values: dict[int, Any]) -> None:
        changes = bool(ASSIGNS.match(op.type))
        if not changes and reason(op.type) not in ("", "random"):
            raise Stopped
        given = [values[number] for number in op.inputs]
        if changes:
            given[0] = values[op.inputs[0]] = self._copy(given[0])
        made = private.execute(op.type, len(op.outputs), given, op.attrs)
        private.record_gradient(op.type, given, op.attrs, made)
        values.update(zip(op.outputs, made, strict=True))

    def _copy(self, handle: Any) -> Any:
        """The handle of a variable of our own with the same value, for ops that change it."""
        if handle._id in self._copies:
            return handle  # it is the copy
        copy = private.copied_variable(handle)
        self._copies[copy.handle._id] = copy
        return copy.handle


def _ordered(graph: Any) -> list[Any]:
    """The ops of a graph, each after all that it takes or waits for: what a tape added to a loop
    was made later than the loop."""
    found: dict[str, Any] = {}
    for operation in graph.get_operations():
        todo = [operation]
        while todo:
            last = todo[-1]
            before = (*(tensor.op for tensor in last.inputs), *last.control_inputs)
            missing = [op for op in before if op.name not in found and op.graph is graph]
            if missing and len(todo) < _MOST_WAITING:
                todo += missing
            else:
                found.setdefault(todo.pop().name, last)
    return list(found.values())


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
        if frame.name == code.co_name and frame.lineno in _lines_of(code):
            # AutoGraph knows code by what it is: it converted the same text in another file
            return tuple((code.co_filename, line, name) for _, line, name in found)
    return ()


@lru_cache(maxsize=64)
def _lines_of(code: CodeType) -> frozenset[int]:
    return frozenset(line for *_, line in code.co_lines() if line is not None)
