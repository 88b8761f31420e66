<<<<<<< HEAD
"""How many floating-point operations an op of given shapes takes, and what a device can do.

A multiplication and an addition count as two, as vendors count them.  A transcendental
function counts as one for each element, which is the least it can be; an op that is not known
here is not counted, and the sum then says that it is a lower bound.
=======
"""Floating point operations of an op, from the shapes that it really had.

A multiplication and an addition count as one each, so a product of an (m, k) and a (k, n)
matrix is 2·m·k·n.  Functions such as ``exp`` and ``tanh`` count one an element, as in
TensorFlow's own profiler.  What only moves, compares or counts (and whatever is not of a
floating dtype) is 0.  An op that is not known here is *not counted*: its figure is None, and a
sum over it is a lower bound.
>>>>>>> f357b86 (Write each op's own time, FLOPs and bytes into its box)
"""

from __future__ import annotations

import math
<<<<<<< HEAD
import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["gpu_peak", "operations"]

Shape = Sequence[int]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Ops that move or describe numbers and compute none.
_FREE = _words(
    """Const Identity IdentityN NoOp Cast Reshape Shape ShapeN Size Rank ExpandDims Squeeze Pack
    Unpack StridedSlice Slice ConcatV2 Fill ZerosLike OnesLike ReadVariableOp VarHandleOp
    StopGradient PreventGradient BroadcastTo Tile Transpose BroadcastGradientArgs Range Split
    SplitV Gather GatherV2 ResourceGather Pad PadV2 MirrorPad ReverseV2 Placeholder Assert
    AssignVariableOp DynamicStitch InvertPermutation Equal NotEqual Less LessEqual Greater
    GreaterEqual LogicalAnd LogicalOr LogicalNot Select SelectV2 ArgMax ArgMin OneHot"""
)
_EACH = _words(
    """Add AddV2 Sub Mul Neg RealDiv Div DivNoNan FloorDiv Square SquaredDifference Maximum
    Minimum Abs Sign Relu Relu6 LeakyRelu BiasAdd AssignAddVariableOp AssignSubVariableOp
    Reciprocal ReluGrad Floor Ceil Round"""
)
#: At least one for each element, in truth some dozens.
_AT_LEAST = _words(
    """Exp Expm1 Log Log1p Tanh Sigmoid Sin Cos Tan Sqrt Rsqrt Pow Erf Elu Selu Softplus Softmax
    LogSoftmax TanhGrad SigmoidGrad"""
)
_REDUCING = _words("Sum Mean Max Min Prod AddN L2Loss BiasAddGrad")


def operations(
    kind: str,
    inputs: Sequence[Shape],
    outputs: Sequence[Shape],
    attributes: Mapping[str, Any] | None = None,
) -> tuple[int, bool]:
    """The operations of one op, and whether that is all of them.

    ``inputs`` and ``outputs`` are shapes.  An op that is not known counts ``(0, False)``.
    """
    attributes = attributes or {}
    made = sum(math.prod(shape) for shape in outputs)
    if kind in _FREE:
        return 0, True
    if kind in _EACH:
        return made, True
    if kind in _AT_LEAST:
        return made, False
    if kind in _REDUCING:
        return sum(math.prod(shape) for shape in inputs), True
    count = _product(kind, inputs, made, attributes)
    return (0, False) if count is None else (count, True)


def _product(
    kind: str, inputs: Sequence[Shape], made: int, attributes: Mapping[str, Any]
) -> int | None:
    """Matrix products and convolutions: two for each number that is multiplied."""
    if kind in ("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"):
        turned = attributes.get("transpose_a") or attributes.get("adj_x")
        return 2 * made * inputs[0][-2 if turned else -1]
    if kind == "Einsum":
        return _einsum(attributes.get("equation"), inputs)
    if kind in ("Conv1D", "Conv2D", "Conv3D"):
        return 2 * made * math.prod(inputs[1][:-1])
    if kind == "DepthwiseConv2dNative":
        return 2 * made * math.prod(inputs[1][:2])
    if kind == "Conv2DBackpropInput":
        return 2 * math.prod(inputs[2]) * math.prod(inputs[1][:-1])
    if kind == "Conv2DBackpropFilter":
        channels = inputs[2][-1]
        return 2 * math.prod(inputs[2]) * (made // channels if channels else 0)
    return None


def _einsum(equation: Any, inputs: Sequence[Shape]) -> int | None:
    text = equation.decode() if isinstance(equation, bytes) else str(equation or "")
    given = text.partition("->")[0].split(",")
    if "." in text or len(given) != len(inputs):
        return None
    sizes = {
        letter: size
        for letters, shape in zip(given, inputs, strict=True)
        for letter, size in zip(letters, shape, strict=False)
    }
    return len(inputs) * math.prod(sizes.values())


#: The most that a card computes in a second, in 10¹² operations: float32, float32 by way of
#: TensorFloat-32, and float16; from its maker's data sheet, without sparsity.
_CARDS = (
    (r"\bK80\b", 4.4, 4.4, 4.4),
    (r"\bP100\b", 10.6, 10.6, 21.2),
    (r"\bV100\b", 15.7, 15.7, 125.0),
    (r"\bT4\b", 8.1, 8.1, 65.0),
    (r"\bA100\b", 19.5, 156.0, 312.0),
    (r"\bA10G?\b", 35.0, 70.0, 140.0),
    (r"\bL4\b", 30.3, 60.0, 121.0),
    (r"\bH[12]00\b", 67.0, 495.0, 990.0),
)


def gpu_peak(model: str, *, tensor_float: bool, half: bool) -> float | None:
    """Operations per second that a graphics card can do at most; None for one not known."""
    for pattern, single, tf32, sixteen in _CARDS:
        if re.search(pattern, model):
            return 1e12 * (sixteen if half else tf32 if tensor_float else single)
    return None
=======
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tfmagic.model import Op, Recording, TensorInfo

__all__ = ["Total", "flops", "total"]

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Total:
    """The sum over some ops; ``uncounted`` are the types that are missing from it."""

    count: int
    uncounted: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether every op was counted."""
        return not self.uncounted


def total(recording: Recording, ops: Iterable[Op]) -> Total:
    """The sum over these ops."""
    count, missing = 0, dict[str, None]()
    for op in ops:
        found = flops(recording, op)
        if found is None:
            missing[op.function or op.type] = None
        else:
            count += found
    return Total(count, tuple(missing))


def flops(recording: Recording, op: Op) -> int | None:
    """FLOPs of one op; None where its type is not known or a shape is not."""
    outputs = [recording.tensors[t] for t in op.outputs]
    if op.type in _FREE or (outputs and not any(map(_is_floating, outputs))):
        return None if op.function else 0
    if any(tensor.dtype.startswith("complex") for tensor in outputs):
        return None
    shapes = [_shape(t) for t in (*map(recording.tensors.__getitem__, op.inputs), *outputs)]
    known = [s for s in shapes if s is not None]
    if len(known) < len(shapes):
        return None
    call = _Call(dict(op.attrs), known[: len(op.inputs)], known[len(op.inputs) :])
    if op.type in _PER_ELEMENT:
        return _PER_ELEMENT[op.type] * call.made
    if op.type in _PER_INPUT:
        return _PER_INPUT[op.type] * _size(call.inputs[0])
    rule = _RULES.get(op.type)
    try:
        return rule(call) if rule else None
    except (IndexError, KeyError, TypeError, ValueError):  # attributes of another release
        return None


@dataclass(frozen=True, slots=True)
class _Call:
    """One call: attributes, and the shapes that went in and came out."""

    attrs: dict[str, object]
    inputs: list[Shape]
    outputs: list[Shape]

    @property
    def made(self) -> int:
        """Elements of the first result, or of the first input where there is no result."""
        shapes = self.outputs or self.inputs
        return _size(shapes[0]) if shapes else 0


def _is_floating(tensor: TensorInfo) -> bool:
    return tensor.dtype.startswith(("float", "bfloat", "complex", "resource"))


def _shape(tensor: TensorInfo) -> Shape | None:
    if tensor.shape is None or None in tensor.shape:
        return None
    return tuple(n for n in tensor.shape if n is not None)


def _size(shape: Shape) -> int:
    return math.prod(shape)


# --- products ----------------------------------------------------------------------------


def _matmul(call: _Call) -> int:
    a, transposed = call.inputs[0], call.attrs.get("transpose_a", call.attrs.get("adj_x", False))
    return 2 * call.made * a[-2 if transposed else -1]


def _convolution(call: _Call) -> int:
    return 2 * call.made * _size(call.inputs[1][:-1])


def _convolution_to_input(call: _Call) -> int:
    return 2 * _size(call.inputs[2]) * _size(call.inputs[1][:-1])


def _convolution_to_filter(call: _Call) -> int:
    return 2 * _size(call.inputs[2]) * _size(call.outputs[0][:-1])


def _depthwise(call: _Call) -> int:
    return 2 * call.made * _size(call.inputs[1][:2])


def _depthwise_to_input(call: _Call) -> int:
    return 2 * _size(call.inputs[2]) * _size(call.inputs[1][:2])


def _depthwise_to_filter(call: _Call) -> int:
    return 2 * _size(call.inputs[2]) * _size(call.outputs[0][:2])


def _einsum(call: _Call) -> int:
    """Every combination of the letters: one multiplication and one addition each."""
    given = str(call.attrs["equation"]).replace(" ", "").partition("->")[0].split(",")
    if "..." in "".join(given):
        raise ValueError("an ellipsis has no letters")
    sizes = {
        letter: size
        for letters, shape in zip(given, call.inputs, strict=True)
        for letter, size in zip(letters, shape, strict=True)
    }
    return len(given) * math.prod(sizes.values())


# --- the others --------------------------------------------------------------------------


def _pool(call: _Call) -> int:
    window = call.attrs["ksize"]
    assert isinstance(window, tuple)
    return call.made * math.prod(int(n) for n in window)


def _sum_of_all(call: _Call) -> int:
    return (len(call.inputs) - 1) * call.made


def _mean(call: _Call) -> int:
    return _size(call.inputs[0]) + call.made


def _fourier(call: _Call) -> int:
    long = call.inputs[0][-1]
    return round(5 * _size(call.inputs[0]) * math.log2(max(2, long)))


def _changed_variable(call: _Call) -> int:
    """As many as the value that is added to it."""
    return _size(call.inputs[-1])


#: FLOPs for each element of the first result.
_PER_ELEMENT = {
    **dict.fromkeys(
        (
            *("Add", "AddV2", "Sub", "Mul", "Div", "RealDiv", "DivNoNan", "MulNoNan", "Neg", "Inv"),
            *("Maximum", "Minimum", "Abs", "Sqrt", "Rsqrt", "Square", "Reciprocal", "Pow", "Mod"),
            *("Exp", "Expm1", "Log", "Log1p", "Tanh", "Sigmoid", "Erf", "Erfc", "Softplus", "Elu"),
            *("Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Atan2", "Lgamma"),
            *("Relu", "Relu6", "LeakyRelu", "Selu", "Softsign", "Floor", "Ceil", "Round", "Rint"),
            *("BiasAdd", "BiasAddV1", "FloorDiv", "FloorMod", "Cumsum", "Cumprod", "ClipByValue"),
            *("ReluGrad", "Relu6Grad", "LeakyReluGrad", "Xdivy", "Xlogy", "Digamma"),
        ),
        1,
    ),
    **dict.fromkeys(("SquaredDifference", "SqrtGrad", "RsqrtGrad", "InvGrad", "EluGrad"), 2),
    **dict.fromkeys(("TanhGrad", "SigmoidGrad", "SoftplusGrad", "SoftsignGrad"), 3),
    **dict.fromkeys(("Softmax", "LogSoftmax"), 5),
}
#: FLOPs for each element of the first input.
_PER_INPUT = {
    **dict.fromkeys(("Sum", "Max", "Min", "Prod", "BiasAddGrad", "EuclideanNorm"), 1),
    **dict.fromkeys(("L2Loss",), 2),
}
_RULES: dict[str, Callable[[_Call], int]] = {
    **dict.fromkeys(("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"), _matmul),
    **dict.fromkeys(("Conv2D", "Conv3D"), _convolution),
    **dict.fromkeys(("Conv2DBackpropInput", "Conv3DBackpropInputV2"), _convolution_to_input),
    **dict.fromkeys(("Conv2DBackpropFilter", "Conv3DBackpropFilterV2"), _convolution_to_filter),
    "DepthwiseConv2dNative": _depthwise,
    "DepthwiseConv2dNativeBackpropInput": _depthwise_to_input,
    "DepthwiseConv2dNativeBackpropFilter": _depthwise_to_filter,
    "Einsum": _einsum,
    **dict.fromkeys(("MaxPool", "AvgPool"), _pool),
    "AddN": _sum_of_all,
    "Mean": _mean,
    **dict.fromkeys(("FFT", "IFFT", "RFFT", "IRFFT"), _fourier),
    **dict.fromkeys(("AssignAddVariableOp", "AssignSubVariableOp"), _changed_variable),
}
#: What only moves, makes or selects values.
_FREE = frozenset(
    {
        *("Identity", "IdentityN", "Reshape", "Transpose", "ExpandDims", "Squeeze", "StopGradient"),
        *("Shape", "ShapeN", "Size", "Rank", "Const", "Fill", "ZerosLike", "OnesLike", "Cast"),
        *("ConcatV2", "Concat", "Pack", "Unpack", "Split", "SplitV", "Slice", "StridedSlice"),
        *("StridedSliceGrad", "Gather", "GatherV2", "GatherNd", "ResourceGather", "Tile", "Pad"),
        *("PadV2", "MirrorPad", "BroadcastTo", "ReverseV2", "Select", "SelectV2", "Where"),
        *("ReadVariableOp", "AssignVariableOp", "VarHandleOp", "VarIsInitializedOp", "NoOp"),
        *("DestroyResourceOp", "BroadcastGradientArgs", "OneHot", "Range", "Placeholder"),
        *("PreventGradient", "Bitcast", "MatrixDiagPart", "MatrixDiagPartV3", "DynamicStitch"),
        *("SpaceToBatchND", "BatchToSpaceND", "DepthToSpace", "SpaceToDepth", "InvertPermutation"),
    }
)
>>>>>>> f357b86 (Write each op's own time, FLOPs and bytes into its box)
