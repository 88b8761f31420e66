"""``--check``: right gradients agree with numerical differences, wrong ones are found."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmagic
from tfmagic.model import Check, to_json
from tfmagic.runtime.tape.derivatives import Depth

X = np.random.default_rng(1).uniform(0.2, 0.9, (4, 4)).astype("float32")
IMAGE = np.random.default_rng(2).normal(size=(1, 6, 6, 2)).astype("float32")
KERNEL = np.random.default_rng(3).normal(size=(3, 3, 2, 2)).astype("float32")

OPS = {
    "square": tf.square,
    "sqrt": tf.sqrt,
    "exp": tf.exp,
    "log": tf.math.log,
    "tanh": tf.tanh,
    "sigmoid": tf.sigmoid,
    "relu": lambda x: tf.nn.relu(x - 0.5),
    "leaky": lambda x: tf.nn.leaky_relu(x - 0.5),
    "elu": lambda x: tf.nn.elu(x - 0.5),
    "gelu": tf.nn.gelu,
    "swish": tf.nn.swish,
    "softplus": tf.nn.softplus,
    "softmax": lambda x: tf.nn.softmax(x) * X.T,
    "log softmax": lambda x: tf.nn.log_softmax(x) * X.T,
    "sin": tf.sin,
    "asin": tf.asin,
    "erf": tf.math.erf,
    "lgamma": tf.math.lgamma,
    "pow": lambda x: x**2.5,
    "divide": lambda x: X.T / x,
    "matmul": lambda x: x @ x,
    "einsum": lambda x: tf.einsum("ij,kj->ik", x, x),
    "transpose": lambda x: tf.transpose(x) * X,
    "gather": lambda x: tf.gather(x, [0, 2, 2]) ** 2,
    "slice": lambda x: x[1:, ::2] ** 2,
    "concat": lambda x: tf.concat([x, x * x], 1) ** 2,
    "split": lambda x: tf.add_n(tf.split(x, 2, 1)) ** 2,
    "stack": lambda x: tf.stack(tf.unstack(x)[::-1]) * X,
    "pad": lambda x: tf.pad(x, [[1, 1], [0, 0]]) ** 2,
    "mean": lambda x: tf.reduce_mean(x, 0) ** 2,
    "max": lambda x: tf.reduce_max(x, 1) ** 2,
    "prod": lambda x: tf.reduce_prod(x, 0),
    "logsumexp": lambda x: tf.reduce_logsumexp(x, 1),
    "norm": tf.norm,
    "std": tf.math.reduce_std,
    "cumsum": lambda x: tf.cumsum(x) ** 2,
    "where": lambda x: tf.where(x > 0.5, x * x, tf.sqrt(x)),
    "clip": lambda x: tf.clip_by_value(x, 0.3, 0.7) ** 2,
    "inverse": lambda x: tf.linalg.inv(x @ tf.transpose(x) + tf.eye(4)),
    "cholesky": lambda x: tf.linalg.cholesky(x @ tf.transpose(x) + tf.eye(4)),
    "logdet": lambda x: tf.linalg.logdet(x @ tf.transpose(x) + tf.eye(4)),
    "top k": lambda x: tf.math.top_k(x, 2).values ** 2,
    "sort": lambda x: tf.sort(x) * X,
    "cross entropy": lambda x: tf.nn.softmax_cross_entropy_with_logits(tf.nn.softmax(X), x),
    "cast": lambda x: tf.cast(tf.cast(x, tf.float64) ** 2, tf.float32),
    "bfloat16": lambda x: tf.cast(tf.cast(x, tf.bfloat16) * 2, tf.float32),
    "stop": lambda x: x * tf.stop_gradient(x),
    "straight through": lambda x: x + tf.stop_gradient(tf.round(x) - x),
}
IMAGES = {
    "conv": lambda x: tf.nn.conv2d(x, KERNEL, 1, "SAME") ** 2,
    "depthwise": lambda x: tf.nn.depthwise_conv2d(x, KERNEL, [1, 1, 1, 1], "SAME") ** 2,
    "max pool": lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID") ** 2,
    "average pool": lambda x: tf.nn.avg_pool2d(x, 2, 2, "VALID") ** 2,
    "resize": lambda x: tf.image.resize(x, (4, 4)) ** 2,
    "batch norm": lambda x: (
        tf.compat.v1.nn.fused_batch_norm(x, [1.0, 2.0], [0.0, 0.0])[0] * tf.sin(IMAGE)
    ),
}


def checks(rec: Any) -> list[Check]:
    rec.deepen(Depth(check=True))
    found = rec.recording.gradients[-1].gradients
    assert tfmagic.load(to_json(rec.recording)).gradients[-1].gradients == found
    return [gradient.check for gradient in found]


def checked(function: Any, start: Any) -> Check:
    v = tf.Variable(start)
    with tfmagic.record() as rec:
        y = tf.reduce_sum(function(v))
    rec.gradient(y, v)
    return checks(rec)[0]


@pytest.mark.parametrize("name", [*OPS, *IMAGES])
def test_a_right_gradient_agrees(name: str) -> None:
    check = checked(OPS[name], X) if name in OPS else checked(IMAGES[name], IMAGE)
    assert check.agrees, check
    assert check.elements == 10
    assert check.of == (X.size if name in OPS else IMAGE.size)


WRONG = {
    "twice": lambda x, up: 4.0 * x * up,
    "sign": lambda x, up: -2.0 * x * up,
    "five per cent": lambda x, up: 2.1 * x * up,
    "one element": lambda x, up: 2.0 * x * up * tf.constant([[1.0] * 4] * 3 + [[1, 1, 1, 3.0]]),
    "zero": lambda x, up: tf.zeros_like(x),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_custom_gradient_is_found(name: str) -> None:
    @tf.custom_gradient
    def square(x: Any) -> Any:
        return x * x, lambda up: WRONG[name](x, up)

    check = checked(square, X)
    assert check.agrees is False
    assert check.numeric != pytest.approx(check.analytic, rel=0.02)


def test_a_right_custom_gradient_agrees() -> None:
    @tf.custom_gradient
    def log1pexp(x: Any) -> Any:
        e = tf.exp(x)
        return tf.math.log(1 + e), lambda up: up * (1 - 1 / (1 + e))

    assert checked(log1pexp, X).agrees


def test_a_gradient_that_tensorflow_gets_wrong_is_found() -> None:
    # labels that do not add up to 1: its gradient takes them to
    check = checked(lambda x: tf.nn.softmax_cross_entropy_with_logits(X, x), X)
    assert check.agrees is False


@pytest.mark.parametrize("function", [tf.nn.relu, tf.abs, lambda x: tf.maximum(x, 0.0)])
def test_at_a_kink_any_slope_between_is_right(function: Any) -> None:
    assert checked(function, [0.0, 0.0, 1.0]).agrees


def test_the_sign_of_a_tie_and_of_a_true_zero() -> None:
    assert checked(tf.reduce_max, [1.0, 1.0]).agrees
    assert checked(lambda x: (x - 1.0) ** 2, [1.0, 1.0]).agrees


def test_dropout_is_held_and_said() -> None:
    check = checked(lambda x: tf.nn.dropout(x, 0.5) ** 2, X)
    assert check.agrees
    assert check.held == ("RandomUniform",)


def random_inside(x: Any) -> Any:
    return tf.function(lambda t: t * tf.random.uniform([]))(x)


def python_inside(x: Any) -> Any:
    return tf.py_function(lambda t: t * 2.0, [x], tf.float32)


COUNT = tf.Variable(0.0)


@tf.function
def counting(x: Any) -> Any:
    return x * COUNT.assign_add(1.0)


@pytest.mark.parametrize(
    "function, word",
    [
        (random_inside, "random numbers"),
        (python_inside, "your Python"),
        (counting, "changes a variable"),
        (lambda x: tf.random.gamma([], x + 1.0), "random numbers"),
        (lambda x: x / 0.0, "not finite"),
        (tf.round, "no gradient"),
    ],
)
def test_what_cannot_be_checked_is_said(function: Any, word: str) -> None:
    v = tf.Variable(X)
    with tfmagic.record() as rec, tf.GradientTape() as tape:
        y = tf.reduce_sum(function(v))
        tape.gradient(y, v)
    (check,) = checks(rec)
    assert check.agrees is None
    assert word in check.why


def test_a_function_is_checked_in_its_own_precision() -> None:
    check = checked(tf.function(lambda x: tf.sin(x) * x), X)
    assert check.agrees
    assert check.precision == "float32"


def test_sources_of_every_kind() -> None:
    table = tf.Variable(np.arange(12.0, dtype="float32").reshape(6, 2))
    z, c = tf.Variable([1.0 + 2.0j], dtype=tf.complex64), tf.constant([3.0])
    with tfmagic.record() as rec:
        middle = c * 2.0
        y = (
            tf.reduce_sum(tf.nn.embedding_lookup(table, [1, 4, 1]) ** 2)
            + tf.reduce_sum(tf.abs(z * z))
            + tf.reduce_sum(middle**3)
        )
    rec.gradient(y, {"table": table, "rest": [z, c, middle]})
    assert [check.agrees for check in checks(rec)] == [True] * 4


def test_the_weights_of_the_target_count() -> None:
    v = tf.Variable([1.0, 2.0])
    with tfmagic.record() as rec, tf.GradientTape() as tape:
        y = v**3
    tape.gradient(y, v, output_gradients=tf.constant([2.0, -1.0]))
    with rec:
        with tf.GradientTape() as tape:
            y = v**3
        tape.gradient(y, v, output_gradients=tf.constant([2.0, -1.0]))
    assert checks(rec)[0].agrees


def test_a_training_loop_is_checked_at_its_last_turn() -> None:
    v = tf.Variable([0.5, 2.0])
    with tfmagic.record() as rec:
        for _ in range(4):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.sin(v) ** 2)
            v.assign_sub(0.1 * tape.gradient(loss, v))
    assert [c.checks for c in rec.log.calls] == [(), (), (), ()]
    (check,) = checks(rec)
    assert check.agrees
    assert [bool(c.checks) for c in rec.log.calls] == [False, False, False, True]


def test_a_keras_model() -> None:
    model = keras.Sequential(
        [
            keras.layers.Conv2D(3, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
            keras.layers.Flatten(),
            keras.layers.Dense(2),
        ]
    )
    x, y = tf.constant(np.repeat(IMAGE, 4, 0)), tf.constant([0, 1, 1, 0])
    x += tf.random.stateless_normal(x.shape, (1, 2))
    model(x)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with tfmagic.record() as rec:
        loss = loss_of(y, model(x, training=True))
    rec.gradient(loss, model.trainable_variables)
    found = checks(rec)
    assert [(check.agrees, check.why) for check in found] == [(True, "")] * len(found)
