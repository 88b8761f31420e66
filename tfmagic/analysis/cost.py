"""What ops of a recording cost, from the shapes that they really had."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tfmagic.analysis.flops import operations
from tfmagic.model import Op, Recording, TensorInfo

__all__ = ["Total", "total"]

_NO_FLOATS = ("int", "uint", "bool", "string")


@dataclass(frozen=True, slots=True)
class Total:
    """The FLOPs of some ops; ``uncounted`` are the types that are not, or not all, in it."""

    count: int
    uncounted: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether every op was counted."""
        return not self.uncounted


def total(recording: Recording, ops: Iterable[Op]) -> Total:
    """The sum over these ops; what gives no floating numbers takes none."""
    count, missing = 0, dict[str, None]()
    for op in ops:
        found, whole = _of_op(recording, op)
        count += found
        if not whole:
            missing[op.function or op.type] = None
    return Total(count, tuple(missing))


def _of_op(recording: Recording, op: Op) -> tuple[int, bool]:
    outputs = [recording.tensors[t] for t in op.outputs]
    if outputs and all(t.dtype.startswith(_NO_FLOATS) for t in outputs):
        return 0, not op.function
    inputs = [recording.tensors[t] for t in op.inputs]
    given, made = [_shape(t) for t in inputs], [_shape(t) for t in outputs]
    shapes = [shape for shape in (*given, *made) if shape is not None]
    if len(shapes) < len(given) + len(made):
        return 0, False
    try:
        return operations(op.type, shapes[: len(given)], shapes[len(given) :], dict(op.attrs))
    except (IndexError, TypeError, ValueError):  # shapes or attributes of another release
        return 0, False


def _shape(tensor: TensorInfo) -> tuple[int, ...] | None:
    if tensor.shape is None or None in tensor.shape:
        return None
    return tuple(n for n in tensor.shape if n is not None)
