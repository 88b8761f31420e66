"""Where a gradient dies: the last op that still had some and passed none on.

A zero is no fault where it is the truth: at a minimum the slope is zero.
"""

from __future__ import annotations

from collections.abc import Sequence

from tfmagic.analysis.ways import FLOATS, Finding, Ways, all_zero, largest, some
from tfmagic.model import Gradient, GradientCall, Op, Stats

__all__ = ["ZeroRules"]

_RELU = {"Relu", "LeakyRelu", "Selu", "Elu"}
_CLIP = {"Minimum", "Maximum", "ClipByValue", "Relu6"}
_FLATTENS = {"Sigmoid", "Tanh", "Softmax", "LogSoftmax", "Erf", "Softsign", "Softplus", "Atan"}
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
#: Ops that have a stationary point: a zero slope there is what is looked for.
_STATIONARY = {
    "Square", "SquaredDifference", "Pow", "Abs", "L2Loss", "Cos", "Sin", "Cosh", "Sqrt",
    "SoftmaxCrossEntropyWithLogits", "SparseSoftmaxCrossEntropyWithLogits", "ComplexAbs", "Gelu",
    "Log", "Log1p", "Exp", "Lgamma", "Xlogy", "Acos", "Asin", "Atan2", "Reciprocal", "Rsqrt",
}  # fmt: skip
_LINEAR = {
    "AddV2", "Add", "AddN", "Sub", "Neg", "Sum", "Mean", "Identity", "Reshape", "Squeeze",
    "ExpandDims", "Transpose", "BiasAdd", "Cast", "BroadcastTo", "IdentityN", "ReadVariableOp",
} | _MOVES  # fmt: skip
#: Products: linear in each factor, and so linear where only one of them moves.
_PRODUCTS = {
    "Mul", "MatMul", "BatchMatMulV2", "BatchMatMulV3", "Conv2D", "Conv3D", "RealDiv", "Einsum",
    "DepthwiseConv2dNative", "DivNoNan", "Conv2DBackpropInput", "SparseTensorDenseMatMul",
    "Prod", "MulNoNan", "Cumprod", "FusedBatchNormV3",
}  # fmt: skip
_NORMED = {"Softmax", "FusedBatchNormV3", "LogSoftmax"}
#: A gradient this small is lost where it is multiplied once more.
_TINY = {"float16": 1e-3, "bfloat16": 1e-30, "float32": 1e-22, "float64": 1e-150}


_ONE = Stats(1, 1, 1.0, 1.0, 1.0, 1.0, 0, 0, 0)


class ZeroRules:
    """The rules for a gradient of which every element is zero."""

    def __init__(self, ways: Ways) -> None:
        self._ways = ways

    def finding(self, call: GradientCall, gradient: Gradient) -> Finding:
        """Where this gradient died, or that nothing is wrong with it."""
        ways = self._ways
        needed = ways.ancestors(call)
        moving = ways.reach(gradient, needed).any
        way, targets = ways.way(call, gradient), set(call.target_tensors)
        for op in reversed(way):
            coming = ways.gradients(op.outputs)
            if not coming and targets.intersection(op.outputs):
                coming = [_ONE]  # what the way back begins with
            going = ways.gradients(t for t in op.inputs if t in moving)
            if coming and going and some(coming) and not some(going):
                return self._why(op, coming, going, moving, way)
        return self._sum(way, gradient, moving)

    def _why(
        self,
        op: Op,
        coming: Sequence[Stats],
        going: Sequence[Stats],
        moving: set[int],
        way: Sequence[Op],
    ) -> Finding:
        """``moving`` are the tensors that change with the source: a factor among them that
        is zero makes a stationary point, and nothing is wrong."""
        ways = self._ways
        values = (("n", max(s.count for s in going)),)
        floats = [t for t in op.inputs if ways.recording.tensors[t].dtype.startswith(FLOATS)]
        zeros = [t for t in floats if all_zero(ways.stats(t))]
        cut = self._cut(op, moving)
        onehot = any(_extreme(ways.stats(t)) for t in op.outputs)
        if op.type in _NORMED and not onehot and self._linear_after(op, way, moving):
            return Finding("cancelled", op=op.index, values=values)
        if cut:
            return Finding(cut, op=op.index, values=values)
        if self._too_small(op, coming):
            return Finding("underflow", op=op.index, values=values)
        if op.type in _STATIONARY:
            return self._killed(zeros, moving) or Finding("ok")
        if op.type in _MOVES:  # no factors: what it took came from elsewhere
            words = "not_chosen" if op.type in _CHOOSES else ""
            return Finding("unused_rows", op=op.index, values=values, words=words)
        if any(t not in moving for t in zeros):  # a factor that the source cannot move
            return Finding("zero_input", op=op.index, values=values)
        if zeros:
            return self._killed(zeros, moving) or Finding("ok")
        if self._linear_after(op, way, moving):
            return Finding("cancelled", op=op.index, values=values)
        return Finding("ok")

    def _killed(self, zeros: Sequence[int], moving: set[int]) -> Finding | None:
        """The ReLU or bound that made these zeros of what is none: that the square of a zero is
        flat there is no minimum then."""
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
                values = (("n", len(zeros)), ("flat", True))
                return Finding(code, op=op.index, values=values)
        return None

    @staticmethod
    def _cut(op: Op, moving: set[int]) -> str:
        for code, types in (
            ("dead_relu", _RELU),
            ("clipped", _CLIP),
            ("saturated", _FLATTENS),
            ("flat_op", _FLAT),
        ):
            if op.type in types:
                return code
        return ""

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
            return Finding("cancelled", op=itself[-1].index, values=(("n", 1),))
        if linear and len(takers) > 0:
            return Finding("cancelled", op=way[-1].index, values=(("n", 1),))
        return Finding("ok")


def _extreme(stats: Stats | None) -> bool:
    """Whether probabilities are all zero or one, as far as their figures tell."""
    if stats is None or stats.max is None or stats.count < 2:
        return False
    ones = stats.norm is not None and abs(stats.norm**2 - (stats.seen - stats.zeros)) < 1e-6
    return ones and stats.zeros > 0
