"""Values that do not change with a source, though they were computed from it.

Nothing is taken of it, it is compared with itself, or the mean of one value is taken off that
value.  So is the mean of what was normalised, up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

from tfmagic.analysis.dependence import FLOATS, DependenceGraph, Finding, largest
from tfmagic.model import Gradient, Op, Stats

__all__ = ["ConstantRules"]

_DIFFERENCES = {"Sub", "SquaredDifference"}
_CARRIED = {"Identity", "StopGradient", "Reshape", "Squeeze", "ExpandDims", "Cast"}
#: How much of what cancels out may be left, relative to its terms.
_ROUNDING = {"float64": 1e-13, "float32": 2e-5, "bfloat16": 0.1, "float16": 2e-2}


class ConstantRules:
    """The rules for what is constant by the way in which it is computed."""

    def __init__(self, ways: DependenceGraph) -> None:
        self._ways = ways

    def finding(self, way: Sequence[Op], moving: set[int]) -> Finding | None:
        """The op that makes a constant of what it is given, by its inputs and shapes alone."""
        for op in way:
            if op.type in _DIFFERENCES | {"RealDiv"} and self._same(*op.inputs[:2]):
                return Finding("cancelled", op=op.index, words="itself")
        for op in way:
            if op.type == "Mean" and self._of_one(op) and self._taken_off(op, way):
                return Finding("cancelled", op=op.index, words="one_alone")
        return None

    def batch_of_one(self, made: Sequence[Op]) -> Finding | None:
        """A mean over a batch of one row that is taken off that row, as a normalisation does."""
        for op in made:
            given = self._ways.recording.tensors[op.inputs[0]].shape if op.inputs else None
            first = bool(given) and len(given or ()) > 1 and (given or (0,))[0] == 1
            if op.type == "Mean" and first and self._of_one(op) and self._taken_off(op, made):
                return Finding("batch_statistics", op=op.index, words="batch_of_one")
        return None

    def _same(self, one: int, other: int) -> bool:
        """Whether both are one tensor, or reads of a variable that was never changed."""
        recording = self._ways.recording
        number = recording.tensors[one].variable
        if number is None or number != recording.tensors[other].variable:
            return one == other
        return one == other or len(recording.variables[number].assigned_by) < 2

    def _of_one(self, op: Op) -> bool:
        """Whether each mean is taken of a single value."""
        tensors = self._ways.recording.tensors
        shape, made = tensors[op.inputs[0]].shape, tensors[op.outputs[0]].shape
        return bool(shape) and _count(shape) == _count(made)

    def _taken_off(self, mean: Op, way: Sequence[Op]) -> bool:
        """Whether what the mean is taken of and the mean meet again, in a difference."""
        given, made = mean.inputs[0], set(mean.outputs)
        for op in way:
            if op.type in _CARRIED and made.intersection(op.inputs):
                made.update(op.outputs)
            if op.type in _DIFFERENCES and made.intersection(op.inputs) and given in op.inputs:
                return True
        return False

    def emptied(self, op: Op, moving: set[int]) -> Op | None:
        """The op that left no element of what the source led to, where ``op`` was given none."""
        recording, found = self._ways.recording, None
        given, empty = list(op.inputs), self._nothing(op.inputs, moving)
        while empty and (found is not None or len(empty) == len(self._moving(given, moving))):
            maker = recording.tensors[empty[0]].op
            if maker is None:
                break
            found = recording.ops[maker]
            empty = self._nothing(found.inputs, moving)
        return found

    def _moving(self, tensors: Sequence[int], moving: set[int]) -> list[int]:
        floats = self._ways.recording.tensors
        return [t for t in tensors if t in moving and floats[t].dtype.startswith(FLOATS)]

    def _nothing(self, tensors: Sequence[int], moving: set[int]) -> list[int]:
        shapes = self._ways.recording.tensors
        return [t for t in self._moving(tensors, moving) if _count(shapes[t].shape) == 0]

    def centred(self, way: Sequence[Op], gradient: Gradient) -> Finding | None:
        """Where a mean is taken off, and the two shares of the gradient are the same but for
        rounding: the target gives all that was normalised the same weight."""
        for op in way:
            if op.type != "Mean":
                continue
            given = self._all_reads(op.inputs[0], gradient)
            rest = self._rest(given, gradient)
            shares = [s for o in self._users(given) for s in self._share(o, op.inputs[0])]
            noise = _ROUNDING.get(gradient.dtype, 2e-5) * largest(shares)
            if len(shares) > 1 and 0 < largest(rest) < noise:
                return Finding("cancelled", op=op.index, words="normalised")
        return None

    def _all_reads(self, tensor: int, gradient: Gradient) -> set[int]:
        """The tensor, or all reads of the source where it is one of them."""
        own = self._ways.own(gradient)
        return own if tensor in own else {tensor}

    def _rest(self, given: set[int], gradient: Gradient) -> list[Stats]:
        """The figures of the gradient that is left at a tensor, or at the source itself."""
        if given != self._ways.own(gradient):
            return self._ways.gradients(given)
        stats = gradient.value.stats if gradient.value is not None else None
        return [] if stats is None else [stats]

    def _users(self, tensors: set[int]) -> list[Op]:
        """The forward ops that take one of the tensors."""
        recording = self._ways.recording
        users = (i for t in tensors for i in recording.consumers.get(t, ()))
        return [op for i in users if (op := recording.ops[i]).kind == "forward"]

    def _share(self, op: Op, tensor: int) -> list[Stats]:
        """The figures of the gradient that one op gave to a tensor."""
        recording = self._ways.recording
        shape = recording.tensors[tensor].shape
        turns = recording.differentiating.get(op.index, ())
        made = [t for o in turns for t in o.outputs if recording.tensors[t].shape == shape]
        return [s for t in made if (s := self._ways.stats(t)) is not None][-1:]


def _count(shape: tuple[int | None, ...] | None) -> int | None:
    """How many elements a shape has, None where that is not known."""
    count = 1
    for size in shape if shape is not None else (None,):
        if size is None:
            return None
        count *= size
    return count
