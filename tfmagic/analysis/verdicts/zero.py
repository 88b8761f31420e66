"""Where a gradient dies: the last op that still had some and passed none on.

A zero is no fault where it is the truth: at a minimum the slope is zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tfmagic.analysis.custom import answering_line
from tfmagic.analysis.dependence import (
    FLOATS,
    DependenceGraph,
    Finding,
    Reach,
    all_zero,
    largest,
    some,
)
from tfmagic.analysis.verdicts.constant import ConstantRules
from tfmagic.model import Gradient, GradientCall, Op, Stats

__all__ = ["ZeroRules"]

_RELU = {"Relu", "LeakyRelu"}
_CLIP = {
    "Minimum", "Maximum", "ClipByValue", "Relu6", "FakeQuantWithMinMaxArgs",
    "FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel",
}  # fmt: skip
#: A bound of at most this keeps a value away from an edge, such as that of a root at zero.
_GUARD = 1e-3
_FLATTENS = {
    "Sigmoid", "Tanh", "Softmax", "Erf", "Erfc", "Softsign", "Softplus", "Atan",
    "Elu", "Selu",
}  # fmt: skip
#: The slopes of functions made of straight pieces, as ops: they do not change with their input.
_SLOPES = {"ReluGrad", "Relu6Grad", "LeakyReluGrad"}
_SOFTMAXES = {"Softmax", "LogSoftmax"} | {
    f"{kind}SoftmaxCrossEntropyWithLogits" for kind in ("", "Sparse")
}
_CONTROL = {"If", "StatelessIf", "While", "StatelessWhile", "Case", "StatelessCase"}
_FLAT = {"Sign", "Round", "Floor", "Ceil", "Rint"}
_MOVES = {
    "GatherV2", "GatherNd", "Gather", "ResourceGather", "StridedSlice", "Slice", "ConcatV2",
    "Concat", "SelectV2", "Select", "Pack", "Unpack", "Split", "SplitV", "Pad", "PadV2", "TopKV2",
    "Max", "Min", "MaxPool", "ScatterNd", "TensorScatterUpdate", "TensorScatterAdd", "Tile",
    "DynamicPartition", "DynamicStitch", "SegmentSum", "SegmentMax", "UnsortedSegmentSum",
    "UnsortedSegmentMax", "BooleanMask", "MatrixDiagPartV3", "MatrixBandPart", "MirrorPad",
    "ReverseSequence", "CropAndResize", "SparseSegmentSum", "SparseSegmentMean",
}  # fmt: skip
#: Ops that leave zeros what they are.
_CARRIED = {
    "Identity",
    "Reshape",
    "Squeeze",
    "ExpandDims",
    "Transpose",
    "Sum",
    "Mean",
    "Cast",
    "Neg",
}
_CHOOSES = {"SelectV2", "Select"}
_LINEAR = {
    "AddV2", "Add", "AddN", "Sub", "Neg", "Sum", "Mean", "Identity", "Reshape", "Squeeze",
    "ExpandDims", "Transpose", "BiasAdd", "Cast", "BroadcastTo", "IdentityN", "ReadVariableOp",
    "MatrixDiagV3",
} | _MOVES  # fmt: skip
#: Products: linear in each factor, and so linear where only one of them moves.
_PRODUCTS = {
    "Mul", "MatMul", "BatchMatMulV2", "BatchMatMulV3", "Conv2D", "Conv3D", "RealDiv", "Einsum",
    "DepthwiseConv2dNative", "DivNoNan", "Conv2DBackpropInput", "SparseTensorDenseMatMul",
    "Prod", "MulNoNan", "Cumprod", "FusedBatchNormV3",
}  # fmt: skip
_NORMED = {"Softmax", "FusedBatchNormV3"}
#: A gradient this small is lost where it is multiplied once more.
_TINY = {"float16": 1e-3, "bfloat16": 1e-30, "float32": 1e-22, "float64": 1e-150}


_ONE = Stats(1, 1, 1.0, 1.0, 1.0, 1.0, 0, 0, 0)


class ZeroRules:
    """The rules for a gradient of which every element is zero."""

    def __init__(self, ways: DependenceGraph) -> None:
        self._ways = ways
        self._constant = ConstantRules(ways)

    def finding(self, call: GradientCall, gradient: Gradient) -> Finding:
        """Where this gradient died, or that nothing is wrong with it."""
        ways = self._ways
        reach = ways.reach(gradient, ways.ancestors(call), backward=ways.deep(call))
        way, moving = ways.way(call, gradient), reach.any
        alone = self._constant.batch_of_one(ways.ancestors(call))
        if alone is not None:
            return alone
        if not way and (decides := self._decides(gradient)) is not None:
            return Finding("disconnected", op=decides, words="only_decides")
        last = self._last_alive(call, way, reach)
        if last is None:
            found = self._own(call, way) or self._not_seen(way, gradient)
            found = found or self._sum(way, gradient, moving)
        else:
            found = self._why(last, self._passing(call, last, reach)[0], moving, way)
            found = replace(found, op=last.index) if found.code == "ok" else found
        return found if found.code != "ok" else self._constant.finding(way, moving) or found

    def stopped_at(self, op: Op, gradient: Gradient) -> Finding:
        """The op past which nothing moved when the source was: what it does to that."""
        recording, own = self._ways.recording, self._ways.own(gradient)
        floats = [t for t in op.inputs if recording.tensors[t].dtype.startswith(FLOATS)]
        zeros = [t for t in floats if all_zero(self._ways.stats(t)) and t not in own]
        if op.type in _PRODUCTS and zeros:
            return Finding("zero_input", op=op.index)
        if op.type in _MOVES:
            return self._passed_over(op)
        return Finding(
            self._cut(op) or "flat_op", op=op.index, words="" if self._cut(op) else "flat_here"
        )

    def _decides(self, gradient: Gradient) -> int | None:
        """The first op that makes a truth value of what the source leads to: a condition."""
        recording = self._ways.recording
        todo, seen = list(gradient.source_tensors), set[int]()
        while todo:
            for index in recording.consumers.get(todo.pop(), ()):
                op = recording.ops[index]
                if index not in seen and op.kind == "forward" and not op.function:
                    seen.add(index)
                    if any(recording.tensors[t].dtype == "bool" for t in op.outputs):
                        return index
                    todo.extend(op.outputs)
        return None

    def _passing(self, call: GradientCall, op: Op, reach: Reach) -> tuple[list[Stats], list[Stats]]:
        """The gradients that came to an op, and those that it passed on to where a way leads
        back to the source."""
        coming = self._ways.gradients(op.outputs)
        if not coming and set(call.target_tensors).intersection(op.outputs):
            coming = [_ONE]  # what the way back begins with
        return coming, self._ways.gradients(t for t in op.inputs if t in reach.free)

    def _last_alive(self, call: GradientCall, way: Sequence[Op], reach: Reach) -> Op | None:
        """The last op that still had some and passed none on.

        Where something came round it by another branch, and died before both branches meet,
        that is what ended it.
        """
        found, before = None, set[int]()
        for op in reversed(way):
            beside = found is not None and op.index not in before
            if beside or not (reach.free.intersection(op.outputs) or op.kind == "backward"):
                continue
            coming, going = self._passing(call, op, reach)
            died = coming and going and some(coming) and not some(going)
            if died and not self._balanced(op, reach.free):
                found, before = op, {*self._ways.to_op(op.index)}
        return found

    def _balanced(self, op: Op, free: set[int]) -> bool:
        """Whether the op did pass some on, and another that takes the same value took it away."""
        recording, ways = self._ways.recording, self._ways
        tensors = (recording.tensors[t] for t in op.inputs)
        floats = [t.id for t in tensors if t.shape and t.dtype.startswith(FLOATS)]
        if not floats or not free.issuperset(floats):
            return False  # what it gave to one that does not lead to the source is no matter
        shapes = {recording.tensors[t].shape for t in floats}
        turns = recording.differentiating.get(op.index, ())
        made = [t for o in turns for t in o.outputs if recording.tensors[t].shape in shapes]
        shares = [s for t in made if (s := ways.stats(t)) is not None]
        return some(shares[-len(floats) :])

    def _own(self, call: GradientCall, way: Sequence[Op]) -> Finding | None:
        """A custom gradient that was given some, and after which there was none."""
        for op in reversed(way):
            coming = self._ways.gradients(op.outputs)
            if not coming and set(call.target_tensors).intersection(op.outputs):
                coming = [_ONE]
            if not op.own_gradient or not some(coming):
                continue
            line = answering_line(self._ways.recording, op)
            if line is not None:
                return Finding("custom_gradient", op=op.index, line=line, words="custom_zero")
            if op.own_gradient == "swish_impl":
                return Finding("saturated", op=op.index, values=(("op", "SiLU"),))
        return None

    def _not_seen(self, way: Sequence[Op], gradient: Gradient) -> Finding | None:
        """A function, loop or condition that was not looked into; a source of zeros may well
        stand at a minimum."""
        if gradient.weight_norm == 0 or self._was_given_zeros(gradient):
            return None
        for op in way:
            if op.function or op.type in _CONTROL:
                return Finding("disconnected", op=op.index, words="in_control")
        return None

    def _was_given_zeros(self, gradient: Gradient) -> bool:
        """Whether the last value that the source's variable was seen to get is zero."""
        recording = self._ways.recording
        if gradient.variable is None:
            return False
        given = recording.variables[gradient.variable].assigned_by[-1:]
        ops = (recording.ops[i] for i in given)
        return any(
            o.type == "AssignVariableOp" and all_zero(self._ways.stats(o.inputs[1])) for o in ops
        )

    def _why(self, op: Op, coming: Sequence[Stats], moving: set[int], way: Sequence[Op]) -> Finding:
        """``moving`` are the tensors that change with the source: a factor among them that
        is zero makes a stationary point, and nothing is wrong."""
        recording, ways = self._ways.recording, self._ways
        found = self._of_its_kind(op, moving) or self._flattened(op, coming, moving, way)
        if found is not None:
            return found
        floats = [t for t in op.inputs if recording.tensors[t].dtype.startswith(FLOATS)]
        zeros = [t for t in floats if all_zero(ways.stats(t))]
        if op.type in _MOVES:  # no factors: what it took came from elsewhere
            return self._passed_over(op)
        if any(t not in moving for t in zeros):  # a factor that the source cannot move
            return Finding("zero_input", op=op.index)
        if zeros:
            return self._killed(zeros, moving) or Finding("ok")
        if self._linear_after(op, way, moving):
            if op.type in _LINEAR | _PRODUCTS | _NORMED:
                return Finding("cancelled", op=op.index)
            return Finding("flat_op", op=op.index, words="flat_here")
        return Finding("ok")

    def _flattened(
        self, op: Op, coming: Sequence[Stats], moving: set[int], way: Sequence[Op]
    ) -> Finding | None:
        """A function without a slope where it stands, or with one that is too small."""
        onehot = any(_extreme(self._ways.stats(t)) for t in op.outputs)
        if op.type in _NORMED and not onehot and self._linear_after(op, way, moving):
            return Finding("cancelled", op=op.index)
        if op.type == "Softmax" and not onehot:
            return Finding("ok")  # all that it gives counts the same there
        cut = self._cut(op)
        if cut:
            words = self._bound(op, moving, way) if cut == "clipped" else ""
            return Finding(cut, op=op.index, words=words)
        if self._vanished(op, moving):
            return Finding("underflow", op=op.index, words="too_small")
        if self._too_small(op, coming) or self._squared(op, coming):
            return Finding("underflow", op=op.index)
        return None

    def _of_its_kind(self, op: Op, moving: set[int]) -> Finding | None:
        """What some types of op do to every gradient, whatever the values are."""
        recording = self._ways.recording
        empty = self._constant.emptied(op, moving)
        if empty is not None:
            return Finding("unused_rows", op=empty.index, words="empty")
        if op.type in _SOFTMAXES and (recording.tensors[op.inputs[0]].shape or (0,))[-1] == 1:
            return Finding("flat_op", op=op.index, words="softmax_of_one")
        if op.type in _SLOPES:
            return Finding("flat_op", op=op.index, words="flat_slope")
        if op.type == "EagerPyFunc":
            return Finding("left_tensorflow", op=op.index, words="py_function")
        if op.type in _CONTROL:
            return Finding("disconnected", op=op.index, words="in_control")
        if op.type in ("Prod", "Cumprod") and self._has_zeros(op):
            return self._killed(op.inputs[:1], moving) or Finding("zero_input", op=op.index)
        return None

    def _has_zeros(self, op: Op) -> bool:
        stats = self._ways.stats(op.inputs[0])
        return stats is not None and stats.zeros > 0

    def _vanished(self, op: Op, moving: set[int]) -> bool:
        """Whether a power or exponential is zero only because it is too small."""
        ways = self._ways
        given = ways.stats(op.inputs[0])
        whole = op.type == "Exp" or (given is not None and not given.zeros)
        return (
            op.type in ("Exp", "Pow")
            and op.inputs[0] in moving
            and whole
            and all(all_zero(ways.stats(t)) for t in op.outputs)
        )

    def _squared(self, op: Op, coming: Sequence[Stats]) -> bool:
        """Whether the slope of a square is zero though neither its input nor what came is."""
        given = self._ways.stats(op.inputs[0])
        whole = given is not None and not given.zeros
        return op.type == "Square" and whole and not any(s.zeros for s in coming)

    def _passed_over(self, op: Op) -> Finding:
        """Nothing of what the source led to was taken: by a condition, by chance, or as rows."""
        if op.type in _CHOOSES:
            if self._by_chance(op):
                return Finding("zero_input", op=op.index, words="dropped")
            return Finding("unused_rows", op=op.index, words="not_chosen")
        words = "overwritten" if op.type == "TensorScatterUpdate" else ""
        return Finding("unused_rows", op=op.index, words=words)

    def _by_chance(self, op: Op) -> bool:
        """Whether the condition of a choice was drawn on its own line."""
        recording, todo = self._ways.recording, [op.inputs[0]]
        while todo:
            maker = recording.tensors[todo.pop()].op
            if maker is None or recording.ops[maker].line != op.line:
                continue
            if "RandomUniform" in recording.ops[maker].type:
                return True
            todo.extend(recording.ops[maker].inputs)
        return False

    def _killed(self, zeros: Sequence[int], moving: set[int]) -> Finding | None:
        """The ReLU, bound, condition or factor that made these zeros of what is none: that the
        square of a zero is flat there is no minimum then."""
        recording, ways = self._ways.recording, self._ways
        for tensor in zeros:
            maker = recording.tensors[tensor].op if tensor in moving else None
            while maker is not None and recording.ops[maker].type in _CARRIED:
                maker = recording.tensors[recording.ops[maker].inputs[0]].op
            if maker is None:
                continue
            op = recording.ops[maker]
            code = "dead_relu" if op.type in _RELU else "clipped" if op.type in _CLIP else ""
            given = [t for t in op.inputs if t in moving]
            if code and given and not all(all_zero(ways.stats(t)) for t in given):
                return Finding(code, op=op.index, values=(("flat", True),))
            if op.type in _PRODUCTS and self._by_zero(op, moving):
                return Finding("zero_input", op=op.index)
            if op.type in _CHOOSES and not all(all_zero(ways.stats(t)) for t in given):
                return self._passed_over(op)
        return None

    def _by_zero(self, op: Op, moving: set[int]) -> bool:
        """Whether a factor that the source cannot move made a zero of one that it can."""
        still = [t for t in op.inputs if t not in moving]
        given = [t for t in op.inputs if t in moving]
        zero = any(all_zero(self._ways.stats(t)) for t in still)
        return zero and not any(all_zero(self._ways.stats(t)) for t in given)

    @staticmethod
    def _cut(op: Op) -> str:
        for code, types in (
            ("dead_relu", _RELU),
            ("clipped", _CLIP),
            ("saturated", _FLATTENS),
            ("flat_op", _FLAT),
        ):
            if op.type in types:
                return code
        return ""

    def _bound(self, op: Op, moving: set[int], way: Sequence[Op]) -> str:
        """The sentence where the bound is no slip: a cross entropy's own, a guard, or the floor
        of a loss that has reached it."""
        if self._in_a_loss(op):
            return "clipped_probability"
        still = [s for t in op.inputs if t not in moving and (s := self._ways.stats(t)) is not None]
        if op.type != "Maximum" or not still or (still[0].min or 0.0) < 0:
            return ""
        if 0 < largest(still) <= _GUARD:
            return "at_bound"
        reached = all(all_zero(self._ways.stats(t)) for t in way[-1].outputs)
        met = reached and not largest(still) and self._margin(op, moving)
        return "at_bound" if met and self._linear_after(op, way, moving) else ""

    def _margin(self, op: Op, moving: set[int]) -> bool:
        """Whether what is held above the bound has a constant in it, as a hinge loss's margin."""
        recording = self._ways.recording
        makers = (recording.tensors[t].op for t in op.inputs if t in moving)
        sums = (recording.ops[m] for m in makers if m is not None)
        added = (t for o in sums if o.type in ("Sub", "Add", "AddV2") for t in o.inputs)
        still = (recording.tensors[t] for t in added if t not in moving)
        return any(t.variable is None and t.op is None for t in still)

    def _in_a_loss(self, op: Op) -> bool:
        """Whether a cross entropy of Keras's holds its probabilities away from 0 and 1."""
        line = None if op.line is None else self._ways.recording.lines[op.line].text
        return line is not None and "rossentropy" in line and "clip" not in line

    def _too_small(self, op: Op, coming: Sequence[Stats]) -> bool:
        """Whether what came in was so small that a product of it is zero in this dtype."""
        recording = self._ways.recording
        dtypes = [recording.tensors[t].dtype for t in (*op.inputs, *op.outputs)]
        limit = max((_TINY.get(d, 0.0) for d in dtypes), default=0.0)
        return op.type in _PRODUCTS | {"Cast"} | _FLATTENS and 0 < largest(coming) < limit

    def _linear_after(self, op: Op, way: Sequence[Op], moving: set[int]) -> bool:
        """Whether the target is linear in what ``op`` gives: then a zero slope is no
        minimum, and the target does not change at all."""
        rest = [o for o in way if o.index > op.index]
        return all(self._is_linear(o, moving) for o in rest)

    def _is_linear(self, op: Op, moving: set[int]) -> bool:
        if op.type in _LINEAR:
            return True
        factors = [t for t in op.inputs if t in moving]
        return op.type in _PRODUCTS and len(factors) == 1 and factors[0] == op.inputs[0]

    def _sum(self, way: Sequence[Op], gradient: Gradient, moving: set[int]) -> Finding:
        """No op lost it: the contributions that came back by several ways sum up to zero."""
        if not way:
            return Finding("ok")
        own = self._ways.own(gradient)
        takers = [op for op in way if own.intersection(op.inputs) and op.type != "ReadVariableOp"]
        linear = all(self._is_linear(o, moving) for o in way)
        itself = [o for o in way if o.type == "RealDiv" and len(set(o.inputs) & moving) == 2]
        if itself and all(self._is_linear(o, moving) for o in way if o not in itself):
            return Finding("cancelled", op=itself[-1].index)
        if linear and len(takers) > 0:
            return Finding("cancelled", op=way[-1].index)
        return Finding("ok")


def _extreme(stats: Stats | None) -> bool:
    """Whether probabilities are all zero or one, as far as their figures tell."""
    if stats is None or stats.max is None or stats.count < 2:
        return False
    ones = stats.norm is not None and abs(stats.norm**2 - (stats.seen - stats.zeros)) < 1e-6
    return ones and stats.zeros > 0
