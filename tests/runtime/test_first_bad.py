"""The first value of a training run that was not finite: step, op, line, and which way it came."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmagic
from tfmagic import language
from tfmagic.model import BadValue, from_json
from tfmagic.render import run

LAYERS = keras.layers
DRAW = np.random.RandomState(0)
X = DRAW.randn(80, 8).astype("f")
Y = DRAW.randint(0, 3, 80)
SPARSE = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Logarithm(LAYERS.Layer):
    """A layer of a user's with a line to blame."""

    def call(self, x: Any) -> Any:
        return tf.math.log(x + 30.0)  # the line


def line_of(text: str) -> int:
    with open(__file__, encoding="utf-8") as file:
        return next(n for n, line in enumerate(file, 1) if text in line)


def found(rec: Any) -> BadValue:
    (told,) = rec.recording.runs
    assert told.first_bad is not None
    return told.first_bad


@pytest.mark.parametrize("options", [{}, {"jit_compile": True}])
def test_a_logarithm_of_a_negative_number_in_fit(options: Any) -> None:
    keras.utils.set_random_seed(1)
    inner = [LAYERS.Dense(16), LAYERS.Dropout(0.3), Logarithm(), LAYERS.Dense(3)]
    model = keras.Sequential([LAYERS.Input((8,)), *inner])
    model.compile("adam", SPARSE, **options)
    x = X.copy()
    x[50] *= 200  # in the fourth batch of 16
    with tfmagic.record() as rec:
        model.fit(x, Y, batch_size=16, shuffle=False, verbose=0)
    bad = found(rec)
    assert (bad.step, bad.op, bad.direction, bad.figure) == (4, "Log", "forward", "NaN")
    assert bad.line_number == line_of("# the line") and bad.layer.startswith("logarithm")
    (_, low, _) = bad.before[0]
    assert low < 0
    assert from_json(rec.recording.to_json()).runs[0].first_bad == bad
    for spoken in ("en", "ko"):
        language.use(spoken)
        assert "Log" in run.sentence(rec.recording.runs[0])


def test_a_batch_that_brings_it() -> None:
    model = keras.Sequential([LAYERS.Input((8,)), LAYERS.Dense(3)])
    model.compile("sgd", SPARSE)
    x = X.copy()
    x[20, 3] = np.nan
    with tfmagic.record() as rec:
        model.fit(x, Y, batch_size=8, shuffle=False, verbose=0)
    assert (found(rec).step, found(rec).direction) == (3, "data")


def test_a_slope_that_has_none_on_the_way_back() -> None:
    w = tf.Variable(3.0)

    @tf.function
    def step(x: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.sqrt(tf.nn.relu(w - x))  # the root
        w.assign_sub(tape.gradient(loss, w))
        return loss

    with tfmagic.record() as rec:
        for _ in range(8):
            step(tf.constant(2.5))
    bad = found(rec)
    assert (bad.op, bad.direction) == ("SqrtGrad", "backward")
    assert bad.line_number == line_of("# the root")
    assert float(w) != float(w) or abs(float(w)) == float("inf")


def test_a_rate_far_too_high_overflows_in_an_op_and_not_in_our_figures() -> None:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([LAYERS.Input((8,)), LAYERS.Dense(16, "relu"), LAYERS.Dense(3)])
    model.compile(keras.optimizers.SGD(1e6), "mse")
    with tfmagic.record() as rec:
        model.fit(X, Y.astype("f")[:, None], batch_size=16, verbose=0)
    bad = found(rec)
    assert bad.op and bad.direction in ("forward", "backward") and bad.step >= 2
    assert max(abs(high) for _, _, high in bad.before) > 1e10


def test_the_turn_of_a_loop_inside_is_told() -> None:
    w = tf.Variable(0.5)

    @tf.function
    def step(x: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.constant(0.0)
            for i in tf.range(5):
                loss += tf.math.log(x - tf.cast(i, tf.float32)) * w  # the turn
        w.assign_sub(0.01 * tape.gradient(loss, w))
        return loss

    with tfmagic.record() as rec:
        for x in (5.0, 2.5):
            step(tf.constant(x))
    bad = found(rec)
    assert (bad.step, bad.op, bad.turn) == (2, "Log", 4)
    assert bad.line_number == line_of("# the turn")


def test_nothing_of_the_users_is_touched_by_the_look() -> None:
    seen = []
    w = tf.Variable(1.0)

    @tf.function
    def step(x: Any) -> Any:
        tf.print("once", output_stream="file:///dev/null")
        with tf.GradientTape() as tape:
            loss = tf.math.log(x) * w
        w.assign_sub(0.1 * tape.gradient(loss, w))
        return loss

    with tfmagic.record() as rec:
        for x in (2.0, 1.0, -1.0):
            step(tf.constant(x))
            seen.append(w.numpy())
    before = w.numpy()
    state = tf.random.get_global_generator().state.numpy()
    told = rec.recording.runs[0]
    assert np.array_equal(w.numpy(), before, equal_nan=True)
    assert np.array_equal(tf.random.get_global_generator().state.numpy(), state)
    # a print must not come twice: then only the figures tell, and they tell the step
    assert told.first_bad is not None and told.first_bad.step == 3
