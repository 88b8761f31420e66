"""Whatever a cell does with TensorFlow: its gradients are right, or said to be not seen.

Each cell runs twice, plainly with a tape of its own and recorded without one; what the
recording works out must be what the tape answered, and numerical differences must agree.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmagic
from tfmagic.runtime.tape.derivatives import Depth

START = np.array([0.5, 1.5, 0.8], "float32")


def loop(v: Any) -> Any:
    _, x = tf.while_loop(lambda i, _: i < 3, lambda i, x: (i + 1, x * v), (0, tf.ones(3)))
    return tf.cond(tf.reduce_sum(x) > 1, lambda: x * 2, lambda: x)


def ragged(v: Any) -> Any:
    return tf.reduce_mean(tf.RaggedTensor.from_row_lengths(v * v, [1, 2]), 1)


def sparse(v: Any) -> Any:
    matrix = tf.sparse.SparseTensor([[0, 1], [2, 2]], v[:2], [3, 3])
    return tf.sparse.sparse_dense_matmul(matrix, tf.reshape(v, (3, 1)))


def half(v: Any) -> Any:
    return tf.cast(tf.tanh(tf.cast(v, tf.float16)), tf.float32)


@tf.custom_gradient
def own(v: Any) -> Any:
    return v * v, lambda up: 2.0 * v * up


def gradient_of_cube(v: Any) -> Any:
    with tf.GradientTape() as tape:
        tape.watch(v)
        y = tf.reduce_sum(v**3)
    return tape.gradient(y, v)


class Net(tf.Module):
    def __init__(self) -> None:
        self.scale = tf.Variable(2.0)

    @tf.function
    def __call__(self, v: Any) -> Any:
        if tf.reduce_sum(v) > 0:
            return v * self.scale
        return v


CELLS = {
    "a tf.function": tf.function(lambda v: tf.tanh(v) * v),
    "AutoGraph": Net(),
    "while and cond": loop,
    "map_fn": lambda v: tf.map_fn(lambda a: a * a, v),
    "scan": lambda v: tf.scan(lambda a, b: a * b, v),
    "vectorized_map": lambda v: tf.vectorized_map(tf.square, v),
    "ragged": ragged,
    "sparse": sparse,
    "complex": lambda v: tf.abs(tf.signal.fft(tf.complex(v, 2 * v))),
    "half precision": half,
    "custom gradient": own,
    "embedding": lambda v: tf.nn.embedding_lookup(v, [2, 0, 2]) ** 2,
    "tensor array": lambda v: tf.TensorArray(tf.float32, 3).unstack(v).stack() ** 2,
    "recompute": tf.recompute_grad(lambda v: tf.sin(v) * v),
    "Python control flow": lambda v: sum(x * (2 if x > 1 else 3) for x in tf.unstack(v)),
    "gradient of a gradient": gradient_of_cube,
}


@pytest.mark.parametrize("name", CELLS)
def test_the_gradient_is_the_tapes_and_the_differences(name: str) -> None:
    v = tf.Variable(START)
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(CELLS[name](v))
    expected = tf.convert_to_tensor(tape.gradient(y, v))
    with tfmagic.record() as rec:
        y = tf.reduce_sum(CELLS[name](v))
    found = tf.convert_to_tensor(rec.gradient(y, v))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    rec.deepen(Depth(check=True))
    gradient = rec.recording.gradients[-1].gradients[0]
    assert gradient.check is not None
    assert gradient.check.agrees, gradient.check
    assert gradient.verdict is not None
    assert gradient.verdict.code == "ok"


def test_a_forward_accumulator_is_left_alone_and_the_gradient_is_found() -> None:
    v = tf.Variable(START)
    with tfmagic.record() as rec:
        with tf.autodiff.ForwardAccumulator(v, tf.ones(3)) as forward:
            y = tf.reduce_sum(tf.sin(v) * v)
        slope = forward.jvp(y)
    gradient = rec.gradient(y, v)
    assert slope.numpy() == pytest.approx(float(tf.reduce_sum(gradient)), rel=1e-6)


def test_nested_tapes_have_both_gradients() -> None:
    v = tf.Variable(START)
    with tfmagic.record() as rec:
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                y = tf.reduce_sum(v**3)
            g = inner.gradient(y, v)
            z = tf.reduce_sum(g)
        outer.gradient(z, v)
    calls = rec.recording.gradients
    figures = [call.gradients[0].value.stats.max for call in calls]  # type: ignore[union-attr]
    assert figures == pytest.approx([3 * 1.5**2, 6 * 1.5])
    assert [call.gradients[0].verdict.code for call in calls] == ["ok", "ok"]  # type: ignore[union-attr]


def test_mixed_precision_layers() -> None:
    layer = keras.layers.Dense(4, activation="tanh", dtype="mixed_float16")
    x = tf.random.stateless_normal((5, 3), (1, 2))
    layer(x)
    with tfmagic.record() as rec:
        y = tf.reduce_mean(tf.cast(layer(x), tf.float32) ** 2)
    rec.gradient(y, layer.trainable_variables)
    rec.deepen(Depth(check=True))
    for gradient in rec.recording.gradients[-1].gradients:
        assert gradient.check is not None
        assert gradient.check.agrees


@pytest.fixture
def model() -> Any:
    made = keras.Sequential([keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(1)])
    made.compile("sgd", "mse")
    made.build((None, 3))
    return made


def fit(model: Any, **options: Any) -> Any:
    x = np.linspace(-1, 1, 24, dtype="float32").reshape(8, 3)
    with tfmagic.record(**options) as rec:
        model.fit(x, x.sum(1, keepdims=True), epochs=2, batch_size=4, verbose=0, shuffle=False)
    return rec.recording


def test_fit_says_that_the_ops_of_its_steps_are_not_listed(model: Any) -> None:
    recording = fit(model)
    assert recording.gradients == ()
    gaps = {gap.code: gap.message for gap in recording.complete}
    assert "multi_step_on_iterator" in gaps["functions"]


@pytest.mark.filterwarnings("ignore:.*run_functions_eagerly.*")
def test_fit_run_eagerly_shows_each_step(model: Any) -> None:
    recording = fit(model, eager=True)
    assert len(recording.gradients) == 4
    assert {call.targets for call in recording.gradients} == {("loss",)}
    sources = [gradient.source for gradient in recording.gradients[0].gradients]
    assert sources == [f"model.layers[{i}].{w}" for i in (0, 1) for w in ("kernel", "bias")]
    codes = {g.verdict.code for call in recording.gradients for g in call.gradients if g.verdict}
    assert codes == {"ok"}
