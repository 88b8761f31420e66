"""What really ran: ops of the eager run, of the traced graph, and of the optimised one.

A graph is allowed to leave out what nobody reads, and to do once what is asked for twenty
times.  That is welcome in use, and no answer to "how long do twenty products take?".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tfmagic.analysis.flops import operations
from tfmagic.model.bench import OpCount
from tfmagic.runtime import private
from tfmagic.runtime.threads import interrupts_put_off

__all__ = ["Collected", "Heard", "collecting", "counted", "hearing", "in_hlo", "missing_work"]

#: Ops that cost nothing to speak of, or that a graph merges into their neighbours.
_PASSING = frozenset(
    """Const Identity IdentityN NoOp Cast Reshape Shape ShapeN Size Rank ExpandDims Squeeze Pack
    Unpack StridedSlice Slice ConcatV2 Fill ZerosLike OnesLike ReadVariableOp VarHandleOp
    ResourceGather _Arg _Retval Placeholder StopGradient PreventGradient BroadcastTo Tile
    BroadcastGradientArgs Transpose Add AddV2 AddN Sub Mul Neg RealDiv Div BiasAdd Relu Relu6
    LeakyRelu Elu Square Maximum Minimum Select SelectV2 Equal NotEqual Less Greater LessEqual
    GreaterEqual LogicalAnd LogicalOr LogicalNot Assert Range Split SplitV DynamicStitch
    AssignVariableOp AssignAddVariableOp AssignSubVariableOp Reciprocal Rsqrt Pad ZerosInitializer
    FloorDiv FloorMod Mod Sum Mean Prod Max Min All Any Pow Sqrt SquaredDifference""".split()  # noqa: SIM905
)
_LOOPS = re.compile(
    r"(Stateless)?While|Enter|NextIteration|(Stateless)?(If|Case)|Switch|.*Dataset.*"
)
_FUNCTION = re.compile(r"__(?:inference|forward|backward)_|(?:Stateful)?PartitionedCall")
_DECORATION = re.compile(r"^_(?:Mkl|Fused|Native|Xla)+|V\d+$")
#: Words of XLA's own listing for the ops that a statement is mostly about.
_IN_HLO = {
    "MatMul": re.compile(r"= \S+ dot\(|custom_call_target=\"[^\"]*(?:matmul|gemm)", re.IGNORECASE),
    "Conv2D": re.compile(r"= \S+ convolution\(|custom_call_target=\"[^\"]*conv", re.IGNORECASE),
    "Tanh": re.compile(r"= \S+ tanh\("),
    "Exp": re.compile(r"= \S+ exponential\("),
    "Log": re.compile(r"= \S+ log\("),
}
#: Kinds that do another's work, and that a graph may take for it.
_ALIKE = {
    **dict.fromkeys(("BatchMatMul", "Einsum", "SparseMatMul"), "MatMul"),
    "Log1p": "Log",
    "Expm1": "Exp",
    "BatchNormEx": "FusedBatchNorm",
}


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
        return any(_FUNCTION.match(kind) for kind in self.counts)


@contextmanager
def hearing() -> Iterator[Heard]:
    """Hear every eager op of this thread while the block runs.

    An interrupt comes after TensorFlow is done with the op that is being heard.
    """
    heard = Heard()

    def note(
        kind: Any, inputs: Any, attrs: Any, outputs: Any, op_name: Any = None, graph: Any = None
    ) -> None:
        if graph is not None:
            return  # traced into a graph, not run
        name = kind.decode() if isinstance(kind, bytes) else kind
        heard.counts[name] += 1
        heard.devices.update(t.device for t in outputs if isinstance(t, private.EagerTensor))
        _count(heard, name, inputs, attrs, outputs)
        if _FUNCTION.match(name):
            shapes = tuple(tuple(getattr(t, "shape", ())) for t in inputs)
            heard.shapes.setdefault(name, set()).add(shapes)

    with interrupts_put_off(frozenset({note.__code__})):
        private.add_callback(note)
        try:
            yield heard
        finally:
            private.remove_callback(note)


def _count(heard: Heard, name: str, inputs: Any, attrs: Any, outputs: Any) -> None:
    """Add the op's floating-point operations; whole numbers and text have none."""
    kinds = {t.dtype for t in outputs if isinstance(t, private.EagerTensor)}
    floating = any(kind.is_floating or kind.is_complex for kind in kinds)
    if not floating and not _FUNCTION.match(name):
        return
    given, made = ([tuple(getattr(t, "shape", ())) for t in part] for part in (inputs, outputs))
    settings = dict(zip(attrs[::2], attrs[1::2], strict=False)) if attrs else {}
    try:
        count, whole = operations(name, given, made, settings)
    except (TypeError, ValueError, IndexError):  # shapes that are not known: not counted
        count, whole = 0, False
    heard.flops += count
    heard.flops_whole = heard.flops_whole and whole
    heard.half = heard.half or any(kind.is_floating and kind.size < 4 for kind in kinds)


@dataclass(slots=True)
class Collected:
    """The ops of a function's graph before and after TensorFlow optimised it.

    What XLA is to compile is in neither the second nor in a listing of it: ``compiled``.
    """

    traced: Counter[str] = field(default_factory=Counter)
    ran: Counter[str] = field(default_factory=Counter)
    loops: bool = False
    compiled: bool = False


@contextmanager
def collecting() -> Iterator[Collected]:
    """Collect the graphs of the functions that run for the first time in the block."""
    found = Collected()
    with private.graphs_collected() as graphs:
        yield found
    for before, after in graphs:
        found.traced += counted(before)
        for part in after:
            found.ran += _needed(part)
            found.compiled |= any(node.attr["_XlaMustCompile"].b for node in part.node)
    found.loops = any(_LOOPS.fullmatch(kind) for kind in found.traced)


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


def missing_work(asked: Mapping[str, int], ran: Mapping[str, int]) -> tuple[OpCount, ...]:
    """The kinds of op that ran less often than asked for, most missing first."""
    wanted, done = _plain(asked.items()), _plain(ran.items())
    found = [
        OpCount(kind, count, done[kind])
        for kind, count in wanted.items()
        if count > done[kind] and kind not in _PASSING and not _FUNCTION.match(kind)
    ]
    return tuple(sorted(found, key=lambda c: c.ran - c.eager))


def _plain(counts: Iterable[tuple[str, int]]) -> Counter[str]:
    """``_MklFusedMatMul`` and ``BatchMatMulV2`` are products like any other."""
    plain: Counter[str] = Counter()
    for kind, count in counts:
        name = _DECORATION.sub("", _DECORATION.sub("", kind))
        plain[_ALIKE.get(name, name) if kind not in _PASSING else kind] += count
    return plain


def in_hlo(listing: str, asked: Mapping[str, int]) -> tuple[OpCount, ...]:
    """The same from XLA's listing: few kinds of op keep their names there."""
    wanted = _plain(asked.items())
    ran = {kind: len(pattern.findall(listing)) for kind, pattern in _IN_HLO.items()}
    return missing_work({k: wanted[k] for k in ran if wanted[k]}, ran)


def watched(values: Iterable[Any]) -> Callable[[], dict[str, int]]:
    """How often each ``tf.function`` among ``values`` was traced, whenever it is asked."""
    functions = [v for v in values if hasattr(v, "experimental_get_tracing_count")]

    def counts() -> dict[str, int]:
        return {_name(f): f.experimental_get_tracing_count() for f in functions}

    return counts


def _name(function: Any) -> str:
    return str(getattr(getattr(function, "python_function", None), "__name__", "function"))
