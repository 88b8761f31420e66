"""What a graph left out of the work that it was asked for, and what cannot be told of it.

A graph is allowed to leave out what nobody reads, and to do once what is asked for twenty
times.  That is welcome in use, and no answer to "how long do twenty products take?".
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tfmagic.analysis.hlo import Instruction, instructions
from tfmagic.model.bench import OpCount, Remark
from tfmagic.runtime.timer.op_census import FUNCTION, LOOP, Collected

__all__ = ["LeftOut", "in_graph", "in_hlo", "not_told"]

#: Ops that cost nothing to speak of, or that a graph merges into their neighbours.
_PASSING = frozenset(
    """Const Identity IdentityN NoOp Cast Reshape Shape ShapeN Size Rank ExpandDims Squeeze Pack
    Unpack StridedSlice Slice ConcatV2 Fill ZerosLike OnesLike ReadVariableOp VarHandleOp
    ResourceGather _Arg _Retval Placeholder StopGradient PreventGradient BroadcastTo Tile
    BroadcastGradientArgs Transpose Add AddV2 AddN Sub Mul Neg RealDiv Div BiasAdd Relu Relu6
    LeakyRelu Elu Square Maximum Minimum Select SelectV2 Equal NotEqual Less Greater LessEqual
    GreaterEqual LogicalAnd LogicalOr LogicalNot Assert Range Split SplitV DynamicStitch
    AssignVariableOp AssignAddVariableOp AssignSubVariableOp Reciprocal Rsqrt Pad ZerosInitializer
    FloorDiv FloorMod Mod Sum Mean Prod Max Min All Any Pow Sqrt SquaredDifference EnsureShape
    While StatelessWhile If StatelessIf Case StatelessCase LoopCond Enter Exit Merge NextIteration
    Switch TensorListReserve TensorListFromTensor TensorListGetItem TensorListSetItem
    TensorListStack Bitcast DivNoNan MulNoNan""".split()  # noqa: SIM905
)
_DECORATION = re.compile(r"^_(?:Mkl|Fused|Native|Xla)+|V\d+$")
#: Draws: their ops leave no name in XLA's listing, only a step of the state that they share.
DRAW = "Random"
_STEPS = ("rng", "rng-get-and-update-state")
#: Kinds that do another's work, and that a graph may take for it.
_ALIKE = {
    **dict.fromkeys(("RandomStandardNormal", "RandomUniform", "RandomUniformInt"), DRAW),
    **dict.fromkeys(("TruncatedNormal", "Multinomial"), DRAW),
    **dict.fromkeys(("BatchMatMul", "Einsum", "SparseMatMul"), "MatMul"),
    "Log1p": "Log",
    "Expm1": "Exp",
    "BatchNormEx": "FusedBatchNorm",
}
#: XLA's own words for what a statement is mostly about: where none is left, none ran.
_WORDS = {
    "dot": "MatMul",
    "convolution": "Conv2D",
    "tanh": "Tanh",
    "exponential": "Exp",
    "log": "Log",
}
_TARGETS = {
    "MatMul": re.compile("matmul|gemm", re.IGNORECASE),
    "Conv2D": re.compile("conv", re.IGNORECASE),
}
#: Instructions that only move or wrap what others compute.
_MOVING = frozenset(
    """parameter constant copy copy-start copy-done bitcast bitcast-convert transpose reshape
    broadcast convert tuple get-tuple-element fusion call while conditional iota slice pad
    dynamic-slice dynamic-update-slice concatenate compare select opt-barrier""".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The kinds of op that ran less often than asked for, most missing first; ``unknown`` are
    those of which that cannot be told, with how often they were asked for, 0 for those of a
    loop that may turn any number of times."""

    counts: tuple[OpCount, ...] = ()
    unknown: tuple[tuple[str, int], ...] = ()

    def remarks(self) -> list[Remark]:
        """What there is to say of the unknown, by the kind that was asked for most."""
        kind, n = max(self.unknown, key=lambda each: each[1], default=("", 0))
        if not kind:
            return []
        return [
            Remark.of("not_told", type=kind, n=n) if n else Remark.of("not_told_loop", type=kind)
        ]


def not_told(asked: Mapping[str, int]) -> LeftOut:
    """That nothing is known of the work that was asked for more than once."""
    wanted = _wanted(asked).items()
    return LeftOut(unknown=tuple((_called(kind, asked), n) for kind, n in wanted if n > 1))


def in_graph(asked: Mapping[str, int], inside: Collected) -> LeftOut:
    """What TensorFlow's own optimised graph leaves out.

    An op in a loop stands there once, however often it runs: so with loops the graph is set
    against what it was before it was optimised, and what a loop then lacks is not told.
    """
    wanted = _wanted(inside.traced if inside.loops else asked)
    done, held = _plain(inside.ran), _plain(inside.turning | inside.perhaps)
    missing = {kind: _called(kind, asked) for kind, n in wanted.items() if n > done[kind]}
    counts = (OpCount(name, wanted[k], done[k]) for k, name in missing.items() if not held[k])
    return LeftOut(_sorted(counts), tuple((name, 0) for k, name in missing.items() if held[k]))


def in_hlo(listing: str, asked: Mapping[str, int], inside: Collected, *, heard: bool) -> LeftOut:
    """What XLA leaves out, by its listing of what it runs.

    ``asked`` is how often each kind ran eagerly where that was ``heard``, else how often it
    stands in the graph: how often a loop turns is then for the listing to tell.
    """
    found = instructions(listing)
    own_of = _by_kind(found)
    turns, turning, perhaps = _turns(found, inside), _plain(inside.turning), _plain(inside.perhaps)
    counts, unknown = list[OpCount](), list[tuple[str, int]]()
    for kind, n in _wanted(asked).items():
        own = own_of[kind]
        ran = _runs(own) if own or kind in _WORDS.values() else None
        if turning[kind] and not heard:
            if _stays(own, n, turning[kind]):
                continue
            n, ran = (n, None) if turns is None else (n + (turns - 1) * turning[kind], ran)
        if ran is None or (ran < n and perhaps[kind]):
            looped = bool(turning[kind]) and not heard
            unknown += [(_called(kind, asked), 0 if looped else n)] if looped or n > 1 else []
        elif ran < n:
            counts.append(OpCount(_called(kind, asked), n, ran))
    return LeftOut(_sorted(counts), tuple(unknown))


def _turns(found: Sequence[Instruction], inside: Collected) -> int | None:
    """How often the only loop of a graph turns; None for several, and where it is not told."""
    written = sum(n for kind, n in inside.traced.items() if LOOP.fullmatch(kind))
    loops = [i for i in found if i.opcode == "while" and LOOP.fullmatch(i.kind)]
    return loops[0].trips if written == len(loops) == 1 else None


def _stays(own: Sequence[Instruction], written: int, turning: int) -> bool:
    """Whether a kind stands in the listing as often as in the graph, in loops and in all."""
    everywhere = [replace(i, turns=1) for i in own]
    looped = [i for i in everywhere if i.looped]
    return (_runs(looped) or 0) >= turning and (_runs(everywhere) or 0) >= written


def _runs(own: Sequence[Instruction]) -> int | None:
    """How many ops of one kind these instructions are; None where a loop's turns are not known.

    An op may be several instructions, which all have its name.
    """
    names = dict[str | int, int]()
    for place, i in enumerate(own):
        if i.turns is None:
            return None
        name = i.name.rpartition(";")[2] or place
        names[name] = max(names.get(name, 0), i.turns if i.taken else 0)
    return sum(names.values())


def _by_kind(found: Sequence[Instruction]) -> dict[str, list[Instruction]]:
    """The instructions that compute something, by the kinds of op that they may stand for."""
    by_kind: dict[str, list[Instruction]] = defaultdict(list)
    for instruction in found:
        if instruction.opcode not in _MOVING:
            by_kind[_kind(instruction)].append(instruction)
    return by_kind


def _kind(instruction: Instruction) -> str:
    """The kind of op that an instruction stands for, by its name or else by what it does."""
    if instruction.opcode in _STEPS:
        return DRAW
    if instruction.kind:
        kind = _name(instruction.kind)
        return kind if kind != DRAW else ""
    called = (kind for kind, word in _TARGETS.items() if word.search(instruction.target))
    return next(called, _WORDS.get(instruction.opcode, ""))


def _wanted(asked: Mapping[str, int]) -> Counter[str]:
    """Of what was asked for, the ops that are work."""
    plain = _plain(asked).items()
    return Counter({k: n for k, n in plain if k not in _PASSING and not FUNCTION.match(k)})


def _plain(counts: Mapping[str, int]) -> Counter[str]:
    """``_MklFusedMatMul`` and ``BatchMatMulV2`` are products like any other."""
    plain: Counter[str] = Counter()
    for kind, count in counts.items():
        plain[_name(kind)] += count
    return plain


def _name(kind: str) -> str:
    name = _DECORATION.sub("", _DECORATION.sub("", kind))
    return _ALIKE.get(name, name) if kind not in _PASSING else kind


def _called(kind: str, asked: Mapping[str, int]) -> str:
    """The kind as it was asked for; of draws that most of them are of."""
    drawn = [given for given in asked if _name(given) == DRAW == kind]
    return max(drawn, key=lambda given: asked[given], default=kind)


def _sorted(counts: Iterable[OpCount]) -> tuple[OpCount, ...]:
    return tuple(sorted(counts, key=lambda count: count.ran - count.eager))
