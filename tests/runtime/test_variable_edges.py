"""Every edge from a variable is there, however the variable was read; none is invented."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import tfmagic


class Bench:
    """Fresh variables for one way of reading."""

    def __init__(self) -> None:
        import tensorflow as tf

        self.tf = tf
        self.v = tf.Variable([[1.0, 2.0], [3.0, 4.0]], name="v")
        self.s = tf.Variable(2.0, name="s")
        self.u = tf.Variable([[5.0, 6.0], [7.0, 8.0]], name="u")
        self.i = tf.Variable([0, 1], name="i")
        self.x = tf.constant([[0.5, 0.25], [0.125, 1.0]])
        self.module = tf.Module()
        self.module.w = tf.Variable(tf.ones((2, 2)), name="module_w")
        self.module.parts = [tf.Variable(tf.ones(2), name="part0"), tf.Variable(1.0, name="part1")]


WAYS: dict[str, tuple[Callable[[Bench], Any], set[tuple[str, str]]]] = {
    "v + 1": (lambda b: b.v + 1.0, {("v", "AddV2")}),
    "x * v": (lambda b: b.x * b.v, {("v", "Mul")}),
    "v * x": (lambda b: b.v * b.x, {("v", "Mul")}),
    "2 - v": (lambda b: 2.0 - b.v, {("v", "Sub")}),
    "v / s": (lambda b: b.v / b.s, {("v", "RealDiv"), ("s", "RealDiv")}),
    "v ** 2": (lambda b: b.v**2, {("v", "Pow")}),
    "-v": (lambda b: -b.v, {("v", "Neg")}),
    "abs(v)": (lambda b: abs(b.v), {("v", "Abs")}),
    "v @ x": (lambda b: b.v @ b.x, {("v", "MatMul")}),
    "x @ v": (lambda b: b.x @ b.v, {("v", "MatMul")}),
    "v @ u": (lambda b: b.v @ b.u, {("v", "MatMul"), ("u", "MatMul")}),
    "v @ v": (lambda b: b.v @ b.v, {("v", "MatMul")}),
    "u + v": (lambda b: b.u + b.v, {("v", "AddV2"), ("u", "AddV2")}),
    "v > 1": (lambda b: b.v > 1.0, {("v", "Greater")}),
    "v[0]": (lambda b: b.v[0], {("v", "StridedSlice")}),
    "v[:, 1]": (lambda b: b.v[:, 1], {("v", "StridedSlice")}),
    "matmul(v, x)": (lambda b: b.tf.matmul(b.v, b.x), {("v", "MatMul")}),
    "matmul(x, v)": (lambda b: b.tf.matmul(b.x, b.v, transpose_b=True), {("v", "MatMul")}),
    "multiply(2, s)": (lambda b: b.tf.multiply(2.0, b.s), {("s", "Mul")}),
    "multiply(s, 2)": (lambda b: b.tf.multiply(b.s, 2.0), {("s", "Mul")}),
    "relu(v)": (lambda b: b.tf.nn.relu(b.v), {("v", "Relu")}),
    "tanh(v)": (lambda b: b.tf.tanh(b.v), {("v", "Tanh")}),
    "reduce_sum(v)": (lambda b: b.tf.reduce_sum(b.v), {("v", "Sum")}),
    "concat([v, x])": (lambda b: b.tf.concat([b.v, b.x], 0), {("v", "ConcatV2")}),
    "concat([x, v])": (lambda b: b.tf.concat([b.x, b.v], 0), {("v", "ConcatV2")}),
    "concat([v, u])": (
        lambda b: b.tf.concat([b.v, b.u], 0),
        {("v", "ConcatV2"), ("u", "ConcatV2")},
    ),
    "stack([s, s])": (lambda b: b.tf.stack([b.s, b.s]), {("s", "Pack")}),
    "add_n([v, u])": (lambda b: b.tf.add_n([b.v, b.u]), {("v", "AddN"), ("u", "AddN")}),
    "einsum": (lambda b: b.tf.einsum("ij,jk->ik", b.v, b.x), {("v", "Einsum")}),
    "tensordot": (lambda b: b.tf.tensordot(b.x, b.v, 1), {("v", "MatMul")}),
    "gather(v, 0)": (lambda b: b.tf.gather(b.v, [0]), {("v", "ResourceGather")}),
    "gather(x, i)": (lambda b: b.tf.gather(b.x, b.i), {("i", "GatherV2")}),
    "embedding": (lambda b: b.tf.nn.embedding_lookup(b.v, [1]), {("v", "ResourceGather")}),
    "where(v)": (lambda b: b.tf.where(b.x > 0.2, b.v, b.u), {("v", "SelectV2"), ("u", "SelectV2")}),
    "cast(v)": (lambda b: b.tf.cast(b.v, b.tf.float64), {("v", "Cast")}),
    "reshape(v)": (lambda b: b.tf.reshape(b.v, [4]), {("v", "Reshape")}),
    "transpose(v)": (lambda b: b.tf.transpose(b.v), {("v", "Transpose")}),
    "identity(v)": (lambda b: b.tf.identity(b.v), {("v", "Identity")}),
    "clip(v)": (lambda b: b.tf.clip_by_value(b.v, 0.0, 2.0), {("v", "Minimum")}),
    "v.read_value()": (lambda b: b.v.read_value() * 2.0, {("v", "Identity")}),
    "v.value()": (lambda b: b.v.value() * 2.0, {("v", "Mul")}),
    "convert": (lambda b: b.tf.convert_to_tensor(b.v) * 2.0, {("v", "Mul")}),
    "assign then read": (lambda b: b.v.assign(b.x) * 2.0, {("v", "Mul")}),
    "assign_add(s)": (lambda b: b.v.assign_add(b.x * b.s), {("s", "Mul")}),
    "cond": (
        lambda b: b.tf.cond(b.s > 1.0, lambda: b.v * 2.0, lambda: b.u * 2.0),
        {("s", "Greater"), ("v", "Mul")},
    ),
    "while": (
        lambda b: b.tf.while_loop(lambda n: n < 2, lambda n: [n + b.tf.cast(b.s, b.tf.int32)], [0]),
        {("s", "Cast")},
    ),
    "module.w": (lambda b: b.x @ b.module.w, {("module_w", "MatMul")}),
    "module.parts": (
        lambda b: b.module.parts[0] * b.module.parts[1],
        {("part0", "Mul"), ("part1", "Mul")},
    ),
    "bias_add": (lambda b: b.tf.nn.bias_add(b.x, b.module.parts[0]), {("part0", "BiasAdd")}),
    "function": (lambda b: b.tf.function(lambda: b.v * b.x)(), {("v", "function")}),
    "two reads": (lambda b: (b.v * 2.0, b.v + 1.0), {("v", "Mul"), ("v", "AddV2")}),
    "none": (lambda b: b.x * 2.0, set()),
    "not read": (lambda b: b.x + b.tf.ones_like(b.x), set()),
}


@pytest.mark.parametrize("way", WAYS)
def test_edges(way: str) -> None:
    bench = Bench()
    run, expected = WAYS[way]
    with tfmagic.record() as rec:
        run(bench)
    recording = rec.recording
    names = {v.id: v.label.partition(":")[0] for v in recording.variables}
    by_name = {v.name: names[v.id] for v in recording.variables}
    found = {
        (by_name[name], "function" if recording.ops[op].function else recording.ops[op].type)
        for name, op in recording.variable_edges()
    }
    assert found == expected


def test_names_of_the_user() -> None:
    import tensorflow as tf

    W_1 = tf.Variable([[1.0]])
    weights = {"out": tf.Variable([[2.0]])}
    with tfmagic.record() as rec:
        H_1 = tf.matmul(W_1, [[3.0]])
        Y_hat = tf.matmul(weights["out"], H_1)
    assert Y_hat.shape == (1, 1)
    names = {v.name for v in rec.recording.variables}
    assert names == {"W_1", "weights['out']"}
    assert rec.recording.find("H_1").value.data == ((3.0,),)
    assert rec.recording.find("Y_hat").value.data == ((6.0,),)


def test_keras_layers() -> None:
    import keras
    import tensorflow as tf

    model = keras.Sequential(
        [keras.layers.Input((4,)), keras.layers.Dense(3, activation="relu"), keras.layers.Dense(1)]
    )
    with tfmagic.record() as rec:
        model(tf.ones((2, 4)))
    edges = {
        (name, rec.recording.ops[op].type.replace("BiasAdd", "AddV2"))  # Keras uses either
        for name, op in rec.recording.variable_edges()
    }
    assert edges == {
        ("model.layers[0].kernel", "MatMul"),
        ("model.layers[0].bias", "AddV2"),
        ("model.layers[1].kernel", "MatMul"),
        ("model.layers[1].bias", "AddV2"),
    }
