"""Recordings made by hand, so that these tests need no TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tfmagic.model import (
    Cell,
    Gradient,
    GradientCall,
    Line,
    Op,
    Recording,
    Stats,
    TensorInfo,
    Value,
    VariableInfo,
)

DEVICE = "/job:localhost/replica:0/task:0/device:CPU:0"


def value_of(data: Any) -> Value:
    """A value with its figures; whole where it has at most 16 elements."""
    array = np.asarray(data, dtype=np.float64)
    finite = array[np.isfinite(array)]
    stats = Stats(
        count=array.size,
        seen=array.size,
        min=float(finite.min()),
        max=float(finite.max()),
        mean=float(finite.mean()),
        norm=float(np.linalg.norm(finite)),
        zeros=int((array == 0).sum()),
        nan=int(np.isnan(array).sum()),
        inf=int(np.isinf(array).sum()),
    )
    return Value(data=nested(array.tolist()) if array.size <= 16 else None, stats=stats)


def nested(data: Any) -> Any:
    return tuple(nested(d) for d in data) if isinstance(data, list) else data


class Maker:
    """Puts a recording together, one op after the other."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self.tensors: list[TensorInfo] = []
        self.variables: list[VariableInfo] = []
        self.ops: list[Op] = []
        self.calls: list[GradientCall] = []
        self.pairs: list[tuple[int, int]] = []
        self.lines = tuple(Line(i, 0, i + 1, text) for i, text in enumerate(lines))

    def tensor(self, data: Any = 1.0, **fields: Any) -> int:
        """A tensor; an input unless it says otherwise."""
        fields = {"role": "input", "value": value_of(data), **fields}
        shape = np.shape(data)
        self.tensors.append(TensorInfo(len(self.tensors), shape, "float32", DEVICE, **fields))
        return len(self.tensors) - 1

    def variable(self, name: str, data: Any = 1.0, **fields: Any) -> int:
        """A variable, not read yet."""
        fields = {"trainable": True, "value": value_of(data), **fields}
        shape = np.shape(data)
        info = VariableInfo(len(self.variables), name, shape, "float32", DEVICE, **fields)
        self.variables.append(info)
        return info.id

    def read(self, variable: int) -> int:
        """The tensor of one more read of a variable."""
        info = self.variables[variable]
        data = info.value.data
        return self.tensor(data, role="read", variable=variable, name=info.name)

    def handle(self, variable: int) -> int:
        """A variable's resource handle."""
        return self.tensor(role="handle", variable=variable, value=Value(absent="resource"))

    def change(self, type_: str, variable: int, *inputs: int) -> None:
        """An op that changes a variable, through its handle."""
        index = self.op(type_, [self.handle(variable), *inputs], None)
        info = self.variables[variable]
        self.variables[variable] = replace(info, assigned_by=(*info.assigned_by, index))

    def op(self, type_: str, inputs: Iterable[int], data: Any = 1.0, **fields: Any) -> int:
        """One op; the id of its output, or its index where ``data`` is None."""
        name = fields.pop("name", "")
        index = len(self.ops)
        outputs = () if data is None else (self.tensor(data, role="op", op=index, name=name),)
        self.ops.append(Op(index, type_, inputs=tuple(inputs), outputs=outputs, **fields))
        return index if data is None else outputs[0]

    def gradient(self, target: int, *gradients: Gradient, **fields: Any) -> None:
        """A gradient call of the cell's own."""
        name = self.tensors[target].name
        call = GradientCall(len(self.calls), "cell", (name,), (target,), gradients, **fields)
        self.calls.append(call)

    def done(self, **fields: Any) -> Recording:
        """The recording."""
        return Recording(
            ops=tuple(self.ops),
            tensors=tuple(self.tensors),
            variables=tuple(self.variables),
            lines=self.lines,
            cells=(Cell(0, "cell", "\n".join(line.text for line in self.lines)),),
            gradients=tuple(self.calls),
            tensor_gradients=tuple(self.pairs),
            **fields,
        )


@pytest.fixture
def make() -> type[Maker]:
    """The maker of recordings."""
    return Maker


@pytest.fixture
def lesson() -> Recording:
    """The lesson's network of two layers, with its gradients, as a cell runs it."""
    m = Maker(
        [
            "H_1 = tf.matmul(W_1, X)",
            "Y_hat = tf.matmul(W_2, H_1)",
            "Loss = tf.square(Y_hat - Y) / 2",
            "dW_1, dW_2 = tape.gradient(Loss, [W_1, W_2])",
        ]
    )
    w_1 = m.read(m.variable("W_1", [[0.11, 0.21], [0.12, 0.08]]))
    x = m.tensor([[2.0], [3.0]], name="X")
    w_2 = m.read(m.variable("W_2", [[0.14, 0.15]]))
    hidden = m.op("MatMul", [w_1, x], [[0.85], [0.48]], name="H_1", line=0)
    y_hat = m.op("MatMul", [w_2, hidden], [[0.191]], name="Y_hat", line=1)
    error = m.op("Sub", [y_hat, m.tensor([1.0], name="Y")], [[-0.809]], line=2)
    square = m.op("Square", [error], [[0.654481]], line=2)
    loss = m.op("RealDiv", [square, m.tensor(2.0)], [[0.3272405]], name="Loss", line=2)
    back = {"kind": "backward", "line": 3, "call": 0}
    one = m.op("Fill", [m.tensor([1.0, 1.0]), m.tensor(1.0)], [[1.0]], differentiates=4, **back)
    delta = m.op("Mul", [one, error], [[-0.809]], differentiates=3, **back)
    d_2 = m.op("MatMul", [delta, hidden], [[-0.68765, -0.38832]], differentiates=1, **back)
    d_h = m.op("MatMul", [w_2, delta], [[-0.11326], [-0.12135]], differentiates=1, **back)
    d_1 = m.op(
        "MatMul", [d_h, x], [[-0.22652, -0.33978], [-0.2427, -0.36405]], differentiates=0, **back
    )
    m.pairs = [(loss, one), (error, delta), (hidden, d_h), (w_1, d_1), (w_2, d_2)]
    m.gradient(
        loss,
        Gradient("Loss", "W_1", "[0]", (2, 2), "float32", m.tensors[d_1].value, d_1, 0, (w_1,)),
        Gradient("Loss", "W_2", "[1]", (1, 2), "float32", m.tensors[d_2].value, d_2, 1, (w_2,)),
        line=3,
    )
    return m.done(seconds=0.004)
