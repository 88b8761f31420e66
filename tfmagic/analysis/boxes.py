"""What stands in a box: its title, the name, shape and value of its result, its gradient."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from tfmagic.analysis.details import Details, flops_text, spent_text
from tfmagic.analysis.notation import (
    compact,
    named,
    number,
    shape,
    shorten,
    size,
    value_lines,
)
from tfmagic.analysis.tree import Fold, line_span
from tfmagic.language import say
from tfmagic.model import Gradient, Node, Op, Recording, TensorInfo, Value, VariableInfo

__all__ = ["Boxes", "is_small_constant", "is_stub"]

_LONGEST = 44
_STUB_SIZE = 4
_USUAL = ("", "float32")  # what goes without saying
GRADIENT_SIGN = "∇"


@dataclass(frozen=True)
class Boxes:
    """Makes the boxes of one recording.

    ``marked`` holds indices of ops and names of variables or tensors on a marked path.
    """

    recording: Recording
    marked: Collection[int | str] = ()
    targets: dict[int, str] = field(init=False)
    asked: dict[int, Gradient] = field(init=False)
    asked_tensors: dict[int, Gradient] = field(init=False)
    holders: dict[int, str] = field(init=False)
    details: Details = field(init=False)

    def __post_init__(self) -> None:
        calls = self.recording.gradients
        gradients = [g for call in calls for g in call.gradients]
        by_tensor = {t: g for g in gradients for t in g.source_tensors}
        names = {h: self.recording.tensors[t].name for t, h in self.recording.tensor_gradients}
        names |= {g.tensor: g.source for g in gradients if g.tensor is not None}
        pairs = [pair for c in calls for pair in zip(c.target_tensors, c.targets, strict=False)]
        by_variable = {g.variable: g for g in gradients if g.variable is not None}
        for name, what in (
            ("targets", dict(pairs)),
            ("asked", by_variable),
            ("asked_tensors", by_tensor),
            ("holders", names),
            ("details", Details(self.recording)),
        ):
            object.__setattr__(self, name, what)

    def variable(self, info: VariableInfo, identity: str, cluster: str = "") -> Node:
        """The one box of a variable."""
        name = info.name or info.label or say("graph.variable")
        given = self.asked.get(info.id)
        known = info.shape is not None
        frozen = () if info.trainable or not known else (say("graph.not_trainable"),)
        return Node(
            id=identity,
            kind="variable",
            title=shorten(name, _LONGEST),
            detail=(*_content(self._value(info, given), info.shape, info.dtype), *frozen),
            variable=info.id,
            cluster=cluster,
            gradient=_gradient_text(given.value, none=given.is_none) if given else "",
            marked=bool({info.name, info.label} & self._names()),
        )

    def _value(self, info: VariableInfo, given: Gradient | None) -> Value:
        """The value that the gradient belongs to: the last one read, where it was kept."""
        for tensor in reversed(given.source_tensors if given else ()):
            value = self.recording.tensors[tensor].value
            if value.whole or value.stats is not None:
                return value
        return info.value

    def input(self, info: TensorInfo, identity: str, *, stub: bool, cluster: str = "") -> Node:
        """A tensor that was there before: a constant, or made by an earlier cell."""
        value = value_lines(info.value)
        title = shorten(info.name, _LONGEST) or say("graph.constant")
        detail = _content(info.value, info.shape, info.dtype)
        if stub and len(value) == 1:
            title, detail = named(shorten(info.name, 20), value)[0], ()
        return Node(
            id=identity,
            kind="stub" if stub else "input",
            title=title,
            detail=detail,
            tensor=info.id,
            cluster=cluster,
            gradient=self._gradient(info) if info.name or info.id in self.asked_tensors else "",
            marked=bool(info.name) and info.name in self._names(),
        )

    def op(self, op: Op, identity: str, cluster: str = "") -> Node:
        """One op with its result."""
        result = self._result(op)
        kind = "backward" if op.kind == "backward" else "op"
        if any(t in self.targets for t in op.outputs):
            kind = "target"
        return Node(
            id=identity,
            kind=kind,
            title=shorten(op.title, _LONGEST),
            detail=(*self._result_lines(result), *self._cost([op])),
            ops=(op.index,),
            tensor=result.id if result else None,
            cluster=cluster,
            gradient=self._gradient(result) if result else "",
            marked=op.index in self.marked,
        )

    def frame_title(self, fold: Fold) -> str:
        """What stands at the frame of an open fold."""
        return " · ".join((shorten(fold.title, _LONGEST), *_weights(fold)))

    def fold(self, fold: Fold, *, variables: int, cluster: str = "") -> Node:
        """Several ops as one box."""
        ops = [self.recording.ops[i] for i in fold.ops]
        backward = fold.backward or fold.kind == "call"
        target = any(t in self.targets for op in ops for t in op.outputs)
        return Node(
            id=fold.id,
            kind="fold_backward" if backward else "fold_target" if target else "fold",
            title=shorten(fold.title, _LONGEST),
            detail=tuple(self._fold_lines(ops, fold, variables)),
            ops=fold.ops,
            cluster=cluster,
            marked=not set(self.marked).isdisjoint(fold.ops),
        )

    def backward(self, call: int, ops: tuple[int, ...], identity: str, cluster: str) -> Node:
        """All backward ops of one gradient call, where something takes its result."""
        asked = self.recording.call(call)
        targets = ", ".join(asked.targets) if asked else ""
        return Node(
            id=identity,
            kind="fold_backward",
            title=shorten(say("graph.gradient_call", target=targets), _LONGEST),
            detail=(say("graph.ops", n=len(ops)),),
            ops=ops,
            cluster=cluster,
        )

    def _fold_lines(self, ops: list[Op], fold: Fold, variables: int) -> list[str]:
        lines = [say("graph.ops", n=len(ops))]
        if variables:
            lines[0] += " · " + say("graph.variables", n=variables)
        kinds = list(dict.fromkeys(op.title for op in ops))
        lines.append(shorten(", ".join(kinds[:3]) + (", …" if len(kinds) > 3 else ""), _LONGEST))
        where = [self.recording.lines[op.line].number for op in ops if op.line is not None]
        if where and line_span(where) != fold.title:
            lines.append(line_span(where))
        return [*lines, *_weights(fold), *self._cost(ops), *self._target_lines(ops)]

    def _cost(self, ops: Sequence[Op]) -> Iterator[str]:
        """Time, FLOPs and bytes of ops that were run again by themselves."""
        if self.recording.op_seconds:
            made = self.details.tallies.of(tuple(op.index for op in ops))
            flops = flops_text(made.cost)
            parts = (
                spent_text(made) if made.seconds else "",
                f"{flops} FLOPs" if flops else "",
                size(made.bytes) if made.bytes else "",
            )
            yield " · ".join(filter(None, parts))

    def _target_lines(self, ops: list[Op]) -> Iterator[str]:
        """The value of each target in a fold; over the turns of a loop the first and the last."""
        found: dict[str, list[Value]] = {}
        for op in ops:
            for tensor in op.outputs:
                if tensor in self.targets:
                    value = self.recording.tensors[tensor].value
                    found.setdefault(self.targets[tensor], []).append(value)
        for name, values in found.items():
            ends = [value_lines(value) for value in (values[0], values[-1])]
            if len(values) == 1:
                yield from named(shorten(name, 20), ends[0])
            elif all(len(end) == 1 for end in ends):
                yield f"{shorten(name, 20)} = {ends[0][0]} → {ends[1][0]}"

    def _names(self) -> set[str]:
        return {m for m in self.marked if isinstance(m, str) and m}

    def _result(self, op: Op) -> TensorInfo | None:
        """The output that the box shows: the one with a name, else the one that is taken."""
        outputs = [self.recording.tensors[t] for t in op.outputs]
        if len(outputs) < 2:
            return outputs[0] if outputs else None
        taken = self.recording.consumers
        return max(outputs, key=lambda t: (bool(t.name), t.id in taken, -t.output))

    def _result_lines(self, info: TensorInfo | None) -> tuple[str, ...]:
        if info is None:
            return ()
        name = info.name or self.targets.get(info.id, "")
        if not name and info.id in self.holders:
            name = f"{GRADIENT_SIGN}{self.holders[info.id]}"
        return _content(info.value, info.shape, info.dtype, shorten(name, 20))

    def _gradient(self, info: TensorInfo) -> str:
        given = self.asked_tensors.get(info.id)
        if given is not None:
            return _gradient_text(given.value, none=given.is_none)
        holder = self.recording.gradient_of.get(info.id)
        if holder is None:
            return ""
        return _gradient_text(self.recording.tensors[holder].value)


def _weights(fold: Fold) -> tuple[str, ...]:
    """Whether the turns of a repeat share their variables."""
    return (say(f"graph.weights_{fold.weights}"),) if fold.weights else ()


def is_small_constant(info: TensorInfo) -> bool:
    """A tensor without a name and with so few elements that it is told by its value."""
    stats = info.value.stats
    small = not info.name and (stats is None or stats.count <= _STUB_SIZE)
    return small and len(value_lines(info.value)) == 1


def is_stub(info: TensorInfo, consumers: int) -> bool:
    """Whether an input is drawn as a small copy beside each op that takes it."""
    return is_small_constant(info) or (info.shape == () and consumers > 1)


def _content(
    value: Value, dims: tuple[int | None, ...] | None, dtype: str, name: str = ""
) -> tuple[str, ...]:
    """Name, value and shape of a tensor: the whole value when small, else a summary."""
    kind = () if dtype in _USUAL else (dtype,)
    whole = value_lines(value)
    if whole:
        lines = named(name, tuple(shorten_right(line) for line in whole))
        return lines if dims == () and not kind else (*lines, " ".join((shape(dims), *kind)))
    told = () if dims is None else (shape(dims), *kind)
    head = " ".join(part for part in (name, *told) if part)
    return (head, *_summary(value)) if head else _summary(value)


def shorten_right(line: str) -> str:
    """A line of a value, its inner spaces kept, cut where it is too long."""
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _summary(value: Value, sign: str = "") -> tuple[str, ...]:
    stats = value.stats
    if stats is None:
        return ()
    broken = [f"{word} {n}" for word, n in (("NaN", stats.nan), ("inf", stats.inf)) if n]
    norm = [f"‖{sign or '·'}‖ = {number(stats.norm, 4)}"] if stats.norm is not None else []
    return (*norm, *([" · ".join(broken)] if broken else []))


def _gradient_text(value: Value | None, *, none: bool = False) -> str:
    if value is None or none:
        return "\n".join(named(GRADIENT_SIGN, ("None",)))
    lines = value_lines(value)
    if lines:
        return "\n".join(named(GRADIENT_SIGN, tuple(shorten_right(line) for line in lines)))
    if isinstance(value.data, tuple) and value.stats is None:
        return "\n".join(named(GRADIENT_SIGN, (shorten(compact(value.data), _LONGEST),)))
    return "\n".join(_summary(value, GRADIENT_SIGN))
