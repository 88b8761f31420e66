"""Who leads where: the ways from a source to a target in one recording."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tfmagic.model import Gradient, GradientCall, Line, Op, Recording, Stats, TensorInfo
from tfmagic.model.op_traits import ASSIGNS

FLOATS = ("float", "bfloat", "complex", "half", "double")
STATE = re.compile(rf"{ASSIGNS.pattern}|\w*Iterator\w*|\w+Dataset\w*|Queue(?:Enqueue|Dequeue)\w*")
_NO_SLOPE = {"Round", "Floor", "Ceil", "Rint", "FloorDiv", "FloorMod", "OnesLike", "ZerosLike"}
STOPS = {"StopGradient", "PreventGradient"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, before it is put into words.

    ``way`` are the ops of the path where it is not the whole way to the target; ``words``
    is the key of the sentence where it is not the code.
    """

    code: str
    op: int | None = None
    line: int | Line | None = None
    values: tuple[tuple[str, object], ...] = ()
    way: tuple[int, ...] | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """What the source of a gradient is, as far as the recording knows."""

    is_variable: bool
    trainable: bool
    dtype: str
    label: str
    op: int | None
    line: int | None
    known: bool = True


@dataclass(frozen=True, slots=True)
class Reach:
    """``any``: tensors the source has influence on; ``free``: those a gradient comes back
    from; ``stops``: ops at which it ends; ``used``: whether any op takes the source."""

    any: set[int]
    free: set[int]
    stops: tuple[Op, ...]
    used: bool


class DependenceGraph:
    """Ancestors and influence, each worked out once."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self._blocked = set(recording.no_gradient) | _NO_SLOPE | STOPS
        self._needed: dict[tuple[int, ...], tuple[Op, ...]] = {}
        self._handle_of: dict[int, set[int]] = {}
        for tensor in recording.tensors:
            if tensor.role == "handle" and tensor.variable is not None:
                self._handle_of.setdefault(tensor.variable, set()).add(tensor.id)

    def source(self, gradient: Gradient) -> Source:
        """What the recording knows of the source."""
        recording = self.recording
        if gradient.variable is not None:
            info = recording.variables[gradient.variable]
            label = f"{info.name} {info.label}"
            dtype = info.dtype or gradient.source_dtype
            return Source(True, info.trainable, dtype, label, None, None)
        if not gradient.source_tensors:
            dtype, name = gradient.source_dtype, gradient.source
            return Source(True, True, dtype, name, None, None, known=False)
        tensor: TensorInfo = recording.tensors[gradient.source_tensors[0]]
        line = recording.ops[tensor.op].line if tensor.op is not None else None
        return Source(False, True, tensor.dtype, tensor.name, tensor.op, line)

    def own(self, gradient: Gradient) -> set[int]:
        """The tensors that are the source itself: its reads, its handle."""
        if gradient.variable is None:
            return set(gradient.source_tensors)
        handles = self._handle_of.get(gradient.variable, set())
        return {*gradient.source_tensors, *handles}

    def reach(self, gradient: Gradient, ops: Iterable[Op], *, backward: bool = False) -> Reach:
        """How far the source's influence gets within ``ops`` (in their order), with and
        without leave to pass a gradient.

        With ``backward`` it goes on through gradients that were computed earlier, as it does
        on the way to a second derivative.
        """
        own = self.own(gradient)
        anyhow, free = set(own), set(own)
        stops: list[Op] = []
        used = False
        for op in ops:
            taken = anyhow.intersection(op.inputs)
            if not taken or (op.kind == "backward" and not backward):
                continue
            if taken <= own and op.inputs and self._gives_it_a_value(op, own):
                continue
            used = used or op.type != "ReadVariableOp"
            anyhow.update(op.outputs or self._stores(op))
            if free.intersection(op.inputs):
                passed = self._passed(op)
                free.update(passed)
                if len(passed) < len(op.outputs) or not op.outputs:
                    stops.append(op)
        return Reach(anyhow, free, tuple(stops), used)

    def _passed(self, op: Op) -> list[int]:
        """The outputs from which a gradient can come back through the op."""
        if not self.passes(op):
            return []
        tensors = self.recording.tensors
        return [t for t in op.outputs if tensors[t].dtype.startswith((*FLOATS, "variant"))]

    def _gives_it_a_value(self, op: Op, own: set[int]) -> bool:
        """Whether the op only stores into the source's own variable."""
        first = self.recording.tensors[op.inputs[0]]
        return bool(STATE.fullmatch(op.type)) and first.id in own and first.role == "handle"

    def _stores(self, op: Op) -> Iterable[int]:
        """The iterators, queues and tables that an op without a result puts a value into."""
        tensors = self.recording.tensors
        return (
            t for t in op.inputs if tensors[t].dtype == "resource" and tensors[t].role != "handle"
        )

    def passes(self, op: Op) -> bool:
        """Whether a gradient can come back through the op."""
        if op.type in self._blocked or STATE.fullmatch(op.type):
            return False
        outputs = [self.recording.tensors[t] for t in op.outputs]
        return any(t.dtype.startswith((*FLOATS, "variant")) for t in outputs)

    def leads(
        self, stop: Op, call: GradientCall, crossing: Callable[[Op], bool] | None = None
    ) -> bool:
        """Whether a gradient could come back to ``stop``, and through it if it let one pass;
        ``crossing`` says which other ops let one pass."""
        free = set(stop.outputs)
        for op in self.ancestors(call):
            if op.index > stop.index and free.intersection(op.inputs):
                free.update(self._passed(op) if crossing is None else crossing(op) * op.outputs)
        return bool(free.intersection(call.target_tensors))

    def blocks(self, op: Op) -> bool:
        """Whether the op lets no gradient through by its type, or makes whole numbers."""
        stops = op.type in self._blocked or STATE.fullmatch(op.type) is not None
        return stops or (op.type == "Cast" and not self.passes(op))

    def ancestors(self, call: GradientCall) -> tuple[Op, ...]:
        """The ops that the targets depend on, in order; once for all sources of a call."""
        targets = call.target_tensors
        if targets not in self._needed:
            found: set[int] = set()
            todo = list(targets)
            while todo:
                op = self.recording.tensors[todo.pop()].op
                if op is not None and op not in found:
                    found.add(op)
                    todo.extend(self.recording.ops[op].inputs)
            self._needed[targets] = tuple(self.recording.ops[i] for i in sorted(found))
        return self._needed[targets]

    def way(self, call: GradientCall, gradient: Gradient) -> tuple[Op, ...]:
        """The forward ops from the source to the target, in order."""
        needed, deep = self.ancestors(call), self.deep(call)
        moving = self.reach(gradient, needed, backward=deep).any
        return tuple(
            op for op in needed if (deep or op.kind == "forward") and moving.intersection(op.inputs)
        )

    def deep(self, call: GradientCall) -> bool:
        """Whether the target is itself a gradient."""
        makers = (self.recording.tensors[t].op for t in call.target_tensors)
        return any(op is not None and self._after_backward(op) for op in makers)

    def _after_backward(self, op: int) -> bool:
        return any(self.recording.ops[i].kind == "backward" for i in self.to_op(op, backward=True))

    def to(self, gradient: Gradient, tensors: Iterable[int]) -> tuple[int, ...]:
        """Indices of the forward ops from the source to ``tensors``."""
        recording = self.recording
        wanted, found = list(tensors), set()
        while wanted:
            op = recording.tensors[wanted.pop()].op
            if op is not None and op not in found:
                found.add(op)
                wanted.extend(recording.ops[op].inputs)
        ops = [recording.ops[i] for i in sorted(found)]
        moving = self.reach(gradient, ops).any
        return tuple(
            op.index for op in ops if op.kind == "forward" and moving.intersection(op.inputs)
        )

    def to_op(self, index: int, *, backward: bool = False) -> tuple[int, ...]:
        """Indices of the forward ops that an op's inputs were computed by, itself among them."""
        recording, todo, found = self.recording, [index], set()
        while todo:
            op = recording.ops[todo.pop()]
            if op.index in found or (op.kind == "backward" and not backward):
                continue
            found.add(op.index)
            todo.extend(maker for t in op.inputs if (maker := recording.tensors[t].op) is not None)
        return tuple(sorted(found))

    # -- values ---------------------------------------------------------------------

    def stats(self, tensor: int) -> Stats | None:
        """The figures of one tensor."""
        return self.recording.tensors[tensor].value.stats

    def gradients(self, tensors: Iterable[int]) -> list[Stats]:
        """The figures of the gradients of these tensors, where they are known."""
        found = (self.recording.gradient_of.get(t) for t in tensors)
        values = (self.stats(g) for g in found if g is not None)
        return [s for s in values if s is not None]


def all_zero(stats: Stats | None) -> bool:
    """Whether every element is zero."""
    return stats is not None and bool(stats.count) and stats.zeros == stats.seen


def some(stats: Sequence[Stats]) -> bool:
    """Whether any element anywhere is not zero."""
    return any(s.zeros < s.seen for s in stats)


def largest(stats: Iterable[Stats]) -> float:
    """The largest absolute value, 0 where nothing is known."""
    return max((max(abs(s.min or 0.0), abs(s.max or 0.0)) for s in stats), default=0.0)
