"""What really ran: ops of the eager run, of the traced graph, and of the optimised one."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from tfmagic.analysis.flops import operations
from tfmagic.runtime import private
from tfmagic.runtime.capture.interrupts import interrupts_put_off

__all__ = ["FUNCTION", "LOOP", "Collected", "Heard", "collecting", "counted", "hearing", "within"]

#: Ops that run what they hold several times, or perhaps.
LOOP = re.compile(r"(Stateless)?While")
BRANCH = re.compile(r"(Stateless)?(If|Case)|.*Dataset.*")
#: These, and what TensorFlow makes of them.
TURNING = re.compile(f"{LOOP.pattern}|{BRANCH.pattern}|Enter|NextIteration|Switch")
FUNCTION = re.compile(r"__(?:inference|forward|backward)_|(?:Stateful)?PartitionedCall")


@dataclass(slots=True)
class Heard:
    """The eager ops of one or more runs, the devices they ran on, the functions called."""

    counts: Counter[str] = field(default_factory=Counter)
    devices: set[str] = field(default_factory=set)
    shapes: dict[str, set[tuple[Any, ...]]] = field(default_factory=dict)
    flops: int = 0
    flops_whole: bool = True
    half: bool = False

    @property
    def calls_functions(self) -> bool:
        """Whether a ``tf.function`` of the user's ran."""
        return any(FUNCTION.match(kind) for kind in self.counts)

    def add(self, kind: str, inputs: Any, attrs: Any, outputs: Any) -> None:
        """Count one op."""
        self.counts[kind] += 1
        self.devices.update(t.device for t in outputs if isinstance(t, private.EagerTensor))
        if FUNCTION.match(kind):
            shapes = tuple(tuple(getattr(t, "shape", ())) for t in inputs)
            self.shapes.setdefault(kind, set()).add(shapes)
        self._add_operations(kind, inputs, attrs, outputs)

    def _add_operations(self, kind: str, inputs: Any, attrs: Any, outputs: Any) -> None:
        """The op's floating-point operations; whole numbers and text have none."""
        dtypes = {t.dtype for t in outputs if isinstance(t, private.EagerTensor)}
        floating = any(dtype.is_floating or dtype.is_complex for dtype in dtypes)
        if not floating and not FUNCTION.match(kind):
            return
        given, made = ([tuple(getattr(t, "shape", ())) for t in part] for part in (inputs, outputs))
        settings = dict(zip(attrs[::2], attrs[1::2], strict=False)) if attrs else {}
        try:
            count, whole = operations(kind, given, made, settings)
        except (TypeError, ValueError, IndexError):  # shapes that are not known: not counted
            count, whole = 0, False
        self.flops += count
        self.flops_whole = self.flops_whole and whole
        self.half = self.half or any(dtype.is_floating and dtype.size < 4 for dtype in dtypes)


@contextmanager
def hearing() -> Iterator[Heard]:
    """Hear every eager op of this thread while the block runs.

    An interrupt comes after TensorFlow is done with the op that is being heard.
    """
    heard = Heard()

    def note(
        kind: Any, inputs: Any, attrs: Any, outputs: Any, op_name: Any = None, graph: Any = None
    ) -> None:
        if graph is None:  # else traced into a graph, not run
            heard.add(kind.decode() if isinstance(kind, bytes) else kind, inputs, attrs, outputs)
        if interrupts.waiting:
            interrupts.hand_on(sys._getframe(1))

    with interrupts_put_off(frozenset({note.__code__})) as interrupts:
        private.add_callback(note)
        try:
            yield heard
        finally:
            private.remove_callback(note)


@dataclass(slots=True)
class Collected:
    """The ops of a function's graph before and after TensorFlow optimised it.

    Of those before, ``turning`` stand in the body of a loop and ``perhaps`` in a branch or in
    what a data set does.  What XLA is to compile is in neither the second nor in a listing of
    it: ``compiled``.
    """

    traced: Counter[str] = field(default_factory=Counter)
    ran: Counter[str] = field(default_factory=Counter)
    turning: Counter[str] = field(default_factory=Counter)
    perhaps: Counter[str] = field(default_factory=Counter)
    compiled: bool = False

    @property
    def loops(self) -> bool:
        """Whether an op that stands here once may run often, or never."""
        return any(TURNING.fullmatch(kind) for kind in self.traced)

    def note(self, graph: Any) -> None:
        """Count a graph as it was before."""
        self.traced += counted(graph)
        self.turning += within(graph, LOOP)
        self.perhaps += within(graph, BRANCH)

    def either(self, graph: Any) -> Collected:
        """It with what a whole graph has of each kind, where that is more."""
        whole = Collected()
        whole.note(graph)
        return Collected(
            self.traced | whole.traced, self.ran, self.turning | whole.turning,
            self.perhaps | whole.perhaps, self.compiled,
        )  # fmt: skip


@contextmanager
def collecting() -> Iterator[Collected]:
    """Collect the graphs of the functions that run for the first time in the block."""
    found = Collected()
    with private.graphs_collected() as graphs:
        yield found
    for before, after in graphs:
        found.note(before)
        for part in after:
            found.ran += _needed(part)
            found.compiled |= any(node.attr["_XlaMustCompile"].b for node in part.node)


def _needed(graph: Any) -> Counter[str]:
    """The ops that lead to a result or to a state; TensorFlow runs no others."""
    nodes = {node.name: node for node in graph.node}
    todo = [
        n for n in graph.node if n.op in ("_Retval", "_Send", "_HostSend") or _is_stateful(n.op)
    ]
    reached: dict[str, Any] = {}
    while todo:
        node = todo.pop()
        if node.name not in reached:
            reached[node.name] = node
            names = (given.lstrip("^").partition(":")[0] for given in node.input)
            todo.extend(nodes[name] for name in names if name in nodes)
    return Counter(kind for node in reached.values() for kind in _kinds(node))


def _kinds(node: Any) -> Iterator[str]:
    """The kind of a node's op, and those of the ops that TensorFlow merged into it."""
    yield node.op
    for merged in ("op_names", "fused_ops"):
        if merged in node.attr:
            yield from (name.decode() for name in node.attr[merged].list.s)


def _is_stateful(kind: str) -> bool:
    definition = private.op_definition(kind)
    return definition is None or bool(definition.is_stateful)


def counted(graph: Any) -> Counter[str]:
    """The ops of a graph and of the functions in it."""
    nodes: list[str] = [node.op for node in graph.node]
    for function in graph.library.function:
        nodes += [node.op for node in function.node_def]
    return Counter(nodes)


def within(graph: Any, holders: re.Pattern[str]) -> Counter[str]:
    """The ops that stand in what the ops of certain kinds call, however deep."""
    functions = {function.signature.name: function for function in graph.library.function}
    nodes = [*graph.node, *(n for f in functions.values() for n in f.node_def)]
    todo = [name for n in nodes if holders.fullmatch(n.op) for name in _called(n)]
    inside: set[str] = set()
    while todo:
        name = todo.pop()
        if name in functions and name not in inside:
            inside.add(name)
            todo += [called for n in functions[name].node_def for called in _called(n)]
    return Counter(n.op for name in inside for n in functions[name].node_def)


def _called(node: Any) -> Iterator[str]:
    """The functions that a node names."""
    for value in node.attr.values():
        yield from (f.name for f in [value.func, *value.list.func] if f.name)


def watched(values: Iterable[Any]) -> Callable[[], dict[str, int]]:
    """How often each ``tf.function`` among ``values`` was traced, whenever it is asked."""
    functions = [v for v in values if isinstance(v, tf.types.experimental.PolymorphicFunction)]

    def counts() -> dict[str, int]:
        return {_name(f): f.experimental_get_tracing_count() for f in functions}

    return counts


def _name(function: Any) -> str:
    return str(getattr(getattr(function, "python_function", None), "__name__", "function"))
