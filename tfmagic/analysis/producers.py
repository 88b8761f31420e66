"""Which ops are drawn, and where each tensor that they take comes from."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from tfmagic.model import Op, Recording

__all__ = ["Origin", "Selection", "origin", "select", "writes"]

# An op that only handles a variable: the arrow goes straight from the variable's box.
_STEPPED_OVER = frozenset(
    {"ReadVariableOp", "VarHandleOp", "VarIsInitializedOp", "DestroyResourceOp", "NoOp"}
)
_BOOKKEEPING = frozenset(
    {"Shape", "ShapeN", "Size", "Rank", "BroadcastGradientArgs", "BroadcastArgs"}
)

Origin = tuple[str, int]
"""``("variable", id)``, ``("op", index)``, ``("input", tensor id)``, ``("outside", op
index)`` for an op beyond the focus, or ``("backward", call)`` for the backward ops of a
call that are not drawn one by one."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The ops to draw, in the order they ran, and how many were left out on purpose."""

    ops: tuple[Op, ...]
    left_out: int
    inside: frozenset[int]
    outside: frozenset[int]


def select(
    recording: Recording, *, backward: bool = False, focus: Collection[int] | None = None
) -> Selection:
    """Choose the ops to draw; with ``focus`` only those among these indices."""
    wanted = [op for op in recording.ops if backward or op.kind == "forward"]
    shown = [op for op in wanted if op.type not in _STEPPED_OVER]
    spare = _spare(recording, shown)
    kept = [op for op in shown if op.index not in spare] or shown
    chosen = None if focus is None else frozenset(focus)
    inside = kept if chosen is None else [op for op in kept if op.index in chosen]
    within = frozenset(op.index for op in inside)
    return Selection(
        ops=tuple(inside),
        left_out=len(shown) - len(kept),
        inside=within,
        outside=frozenset(op.index for op in kept) - within,
    )


def writes(recording: Recording) -> dict[int, tuple[int, ...]]:
    """Index of an op that changes variables → the ids of those variables."""
    found: dict[int, dict[int, None]] = {}
    for variable in recording.variables:
        for op in variable.assigned_by:
            found.setdefault(op, {})[variable.id] = None
    return {op: tuple(variables) for op, variables in found.items()}


def origin(recording: Recording, tensor: int, selection: Selection) -> Origin:
    """Where the tensor comes from, seen from an op that takes it."""
    info = recording.tensors[tensor]
    if info.variable is not None:
        return ("variable", info.variable)
    if info.op is None:
        return ("input", tensor)
    if info.op in selection.inside:
        return ("op", info.op)
    if info.op in selection.outside:
        return ("outside", info.op)
    maker = recording.ops[info.op]
    if maker.kind == "backward":
        return ("backward", maker.call or 0)
    return ("input", tensor)


def _spare(recording: Recording, shown: list[Op]) -> set[int]:
    """Ops that only compute shapes, or only give a new variable its first value.

    Walked backwards, so that a chain of them goes as a whole: what feeds nothing but
    spare ops is spare.
    """
    first = set(_first_values(recording, shown))
    spare: set[int] = set()
    used: set[int] = {t for call in recording.gradients for t in call.target_tensors}
    fed: set[int] = set()
    for op in reversed(shown):
        wanted = bool(used.intersection(op.outputs))
        idle = op.type in _BOOKKEEPING or op.index in first or bool(fed.intersection(op.outputs))
        if idle and not wanted:
            spare.add(op.index)
            fed.update(op.inputs)
        else:
            used.update(op.inputs)
    return spare


def _first_values(recording: Recording, shown: list[Op]) -> Iterator[int]:
    """The first assignments to variables that were made in this recording."""
    made = {t for op in recording.ops if op.type == "VarHandleOp" for t in op.outputs}
    fresh = {recording.tensors[t].variable for t in made} - {None}
    for op in shown:
        for variable in _written_handles(recording, op):
            if op.type == "AssignVariableOp" and variable in fresh:
                fresh.discard(variable)
                yield op.index


def _written_handles(recording: Recording, op: Op) -> Iterator[int]:
    for tensor in op.inputs:
        info = recording.tensors[tensor]
        if info.role == "handle" and info.variable is not None:
            yield info.variable
