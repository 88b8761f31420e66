"""How many floating-point operations an op of given shapes takes, and what a device can do.

A multiplication and an addition count as two, as vendors count them.  A transcendental
function counts as one for each element, which is the least it can be; an op that is not known
here is not counted, and the sum then says that it is a lower bound.
"""

from __future__ import annotations

import math
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
    count = _product(kind, inputs, made, {**attributes, "filter": outputs[0] if outputs else ()})
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
    if kind == "DepthwiseConv2dNativeBackpropInput":
        return 2 * math.prod(inputs[2]) * math.prod(inputs[1][:2])
    if kind == "DepthwiseConv2dNativeBackpropFilter":
        return 2 * math.prod(inputs[2]) * int(math.prod(attributes["filter"][:2]))
    if kind in ("MaxPool", "AvgPool") and "ksize" in attributes:
        return made * int(math.prod(attributes["ksize"]))
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
