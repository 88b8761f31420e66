"""Where the first NaN or infinity arose, forward or on the way back."""

from __future__ import annotations

from collections.abc import Sequence

from tfmagic.analysis.custom import answering_line
from tfmagic.analysis.dependence import DependenceGraph, Finding
from tfmagic.model import Gradient, GradientCall, Op

__all__ = ["NotFiniteRules"]

_EDGED = {
    "Sqrt", "Rsqrt", "Log", "Log1p", "Reciprocal", "RealDiv", "DivNoNan", "Pow", "Acos", "Asin",
    "Acosh", "Atanh", "Xlogy", "Xdivy", "Inv", "Lgamma", "Digamma", "Atan2", "Erfinv", "Ndtri",
    "Div", "FloorMod", "Polygamma", "Zeta", "MatrixInverse", "Cholesky", "Svd", "EuclideanNorm",
    "LogMatrixDeterminant", "MatrixDeterminant", "SelfAdjointEigV2", "Qr", "ComplexAbs", "Angle",
}  # fmt: skip
_CHOICES = {"SelectV2", "Select"}


class NotFiniteRules:
    """The rules for a gradient with NaN or infinity in it."""

    def __init__(self, ways: DependenceGraph) -> None:
        self._ways = ways

    def finding(self, call: GradientCall, gradient: Gradient) -> Finding:
        """The op that is to blame, or the values that were bad from the beginning."""
        ways = self._ways
        way = ways.way(call, gradient)
        for tensor in gradient.source_tensors:
            stats = ways.stats(tensor)
            if stats is not None and not stats.finite:
                users = ways.recording.consumers.get(tensor, (None,))
                return Finding("nan_input", op=users[0])
        found = self._forward(way) or self._first_backward(call, gradient, way)
        return found or self._backward(way) or self._unseen(call, way)

    def target(self, call: GradientCall) -> Finding | None:
        """What made the target itself NaN or infinite, though the gradient is finite; None where
        the target is finite."""
        ways = self._ways
        stats = [s for t in call.target_tensors if (s := ways.stats(t)) is not None]
        if all(s.finite for s in stats):
            return None
        made = ways.ancestors(call)
        for op in made:
            if not self._finite(op.outputs) and self._finite(op.inputs):
                if op.type in _EDGED:
                    return Finding("domain_edge", op=op.index, words="bad_target", way=(op.index,))
                return Finding("overflow", op=op.index, way=(op.index,))
        return Finding("nan_input", op=made[0].index if made else None, way=())

    def _finite(self, tensors: Sequence[int]) -> bool:
        return all(s.finite for t in tensors if (s := self._ways.stats(t)) is not None)

    def _first_backward(
        self, call: GradientCall, gradient: Gradient, way: Sequence[Op]
    ) -> Finding | None:
        """The forward op whose own gradient op was the first to make something not finite of
        finite values, on the way to this gradient: also where what is differentiated is a
        gradient itself."""
        recording = self._ways.recording
        todo, seen = [gradient.tensor], set[int]()
        while todo:
            tensor = todo.pop()
            index = recording.tensors[tensor].op if tensor is not None else None
            if index is None or index in seen or recording.ops[index].call != call.index:
                continue
            seen.add(index)
            todo.extend(recording.ops[index].inputs)
        for op in (recording.ops[i] for i in sorted(seen)):
            if self._finite(op.inputs) and not self._finite(op.outputs):
                made = op.differentiates
                forward = recording.ops[made] if made is not None else None
                if forward is None or forward.type in ("Cast", "VarHandleOp"):
                    return None  # the rules for a cast, or for what was added up, tell more
                return self._named(forward, way)
        return None

    def _unseen(self, call: GradientCall, way: Sequence[Op]) -> Finding:
        """No op was seen to do it: it was a custom gradient, whose ops are nobody's turn, or
        where is not known."""
        for op in way:
            line = answering_line(self._ways.recording, op) if op.own_gradient else None
            if line is not None:
                return Finding("custom_gradient", op=op.index, line=line, words="custom_not_finite")
        return Finding("overflow", line=call.line, words="not_finite")

    def before(self, call: GradientCall, gradient: Gradient) -> Finding | None:
        """An op on the way that overflowed: a gradient of zero may come of it."""
        found = self._forward(self._ways.way(call, gradient))
        return found if found is not None and found.code == "overflow" else None

    def _forward(self, way: Sequence[Op]) -> Finding | None:
        """The first op that was given or gave a value that is not finite."""
        for op in way:
            inputs = [self._ways.stats(t) for t in op.inputs]
            outputs = [self._ways.stats(t) for t in op.outputs]
            if any(s and not s.finite for s in inputs):
                return Finding("nan_input", op=op.index)
            if any(s and not s.finite for s in outputs):
                return self._named(op, way)
        return None

    def _backward(self, way: Sequence[Op]) -> Finding | None:
        """The first op on the way back that made something not finite of finite gradients."""
        ways = self._ways
        for op in reversed(way):
            coming, going = ways.gradients(op.outputs), ways.gradients(op.inputs)
            broke = all(s.finite for s in coming) and not all(s.finite for s in going)
            if broke and self._gave_it(op):
                if op.type == "Cast":
                    return Finding("overflow", op=op.index, words="gradient_too_large")
                return self._named(op, way)
        return None

    def _gave_it(self, op: Op) -> bool:
        """Whether it was the op's own part of its inputs' gradients: others may have added
        theirs; True where its part was not seen."""
        recording, ways = self._ways.recording, self._ways
        turns = recording.differentiating.get(op.index, [])
        stats = [s for o in turns for t in o.outputs if (s := ways.stats(t)) is not None]
        return not stats or not all(s.finite for s in stats)

    def _named(self, op: Op, way: Sequence[Op]) -> Finding:
        if self._thrown_away(op, way):
            return Finding("where_branch", op=op.index)
        empty = op.type == "Mean" and 0 in (self._ways.recording.tensors[op.inputs[0]].shape or ())
        if empty:
            return Finding("domain_edge", op=op.index, words="mean_of_nothing")
        return Finding("domain_edge" if op.type in _EDGED else "overflow", op=op.index)

    def _thrown_away(self, op: Op, way: Sequence[Op]) -> bool:
        """Whether a ``tf.where`` after the op threw some of its elements away: their
        incoming gradient is zero, and the target is finite all the same."""
        if not self._finite(way[-1].outputs):
            return False
        after = set(op.outputs)
        chosen = False
        for other in way:
            if other.index > op.index and after.intersection(other.inputs):
                after.update(other.outputs)
                chosen = chosen or other.type in _CHOICES
        coming = self._ways.gradients(op.outputs)
        return chosen and (not coming or any(s.zeros or not s.finite for s in coming))
