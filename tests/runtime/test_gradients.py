"""Gradients worked out afterwards are the gradients a tape would have given."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from tensorflow.python.eager import context, execute
from tensorflow.python.framework import op_callbacks

import tfmagic
from tfmagic.errors import NoTargetError, OptionError
from tfmagic.runtime.tape.tape import GradientRequest

STEPS = {
    "tanh": tf.tanh,
    "square": tf.square,
    "sin": tf.sin,
    "scale": lambda t: t * 0.5,
    "matmul": lambda t: tf.matmul(t, t, transpose_b=True) * 0.1,
    "mean": lambda t: t - tf.reduce_mean(t),
    "softmax": tf.nn.softmax,
    "concat": lambda t: tf.concat([t, t], 0)[:2],
}


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=6), st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_any_chain_agrees_with_a_real_tape(chain: list[str], seed: int) -> None:
    start = np.random.default_rng(seed).normal(size=(2, 2)).astype("float32")
    v, w = tf.Variable(start), tf.Variable(start.T.copy())
    with tfmagic.record() as rec, tf.GradientTape(persistent=True) as tape:
        t = v * w + tf.sin(v)
        middle = t
        for step in chain:
            t = STEPS[step](t)
        y = tf.reduce_sum(t)
    expected = tape.gradient(y, {"v": v, "w": [w, middle]})
    found = rec.gradient(y, {"v": v, "w": [w, middle]})
    for one, other in zip(tf.nest.flatten(expected), tf.nest.flatten(found), strict=True):
        np.testing.assert_array_equal(one, other)


def test_sources_in_their_structure() -> None:
    v = tf.Variable(2.0)
    with tfmagic.record() as rec:
        y = v * v
    assert rec.gradient(y, v).numpy() == 4.0
    assert isinstance(rec.gradient(y, (v,)), tuple)
    assert rec.gradient(y, {"a": [v]})["a"][0].numpy() == 4.0
    assert [x is v for x in rec.watched_variables] == [True]
    assert [x is v for x in rec.watched_variables()] == [True]


def test_a_constant_can_be_a_source_and_none_stays_none() -> None:
    x, other = tf.constant(3.0), tf.Variable(1.0)
    with tfmagic.record() as rec:
        y = x * x
    assert rec.gradient(y, x).numpy() == 6.0
    assert rec.gradient(y, other) is None
    assert rec.gradient(y, other, unconnected_gradients="zero").numpy() == 0.0


def test_jacobian() -> None:
    v = tf.Variable([1.0, 2.0])
    with tfmagic.record() as rec:
        y = v * v
    np.testing.assert_allclose(rec.jacobian(y, v), [[2.0, 0.0], [0.0, 4.0]])


def test_embedding_rows() -> None:
    table = tf.Variable(tf.ones((5, 2)))
    with tfmagic.record() as rec:
        with tf.GradientTape() as tape:
            y = tf.reduce_sum(tf.nn.embedding_lookup(table, [1, 3, 3]))
        tape.gradient(y, table)
    (gradient,) = rec.recording.gradients[0].gradients
    assert gradient.rows == (1, 3) and gradient.shape == (5, 2)
    assert isinstance(rec.gradient(y, table), tf.IndexedSlices)


def test_custom_gradient_keeps_its_own_backward() -> None:
    @tf.custom_gradient
    def odd(x):
        return tf.exp(x), lambda upstream: upstream * 7.0

    v = tf.Variable(0.0)
    with tfmagic.record() as rec:
        y = odd(v) * 2.0
    assert rec.gradient(y, v).numpy() == 14.0


def test_a_function_of_functions() -> None:
    w = tf.Variable([[2.0]])

    @tf.function
    def layer(x):
        return tf.nn.relu(x @ w)

    with tfmagic.record() as rec:
        y = tf.reduce_sum(layer(layer(tf.constant([[3.0]]))))
    assert rec.gradient(y, w).numpy() == [[12.0]]


def test_a_tape_of_the_users_that_is_still_open_is_not_disturbed() -> None:
    v = tf.Variable(2.0)
    with tf.GradientTape() as mine:
        with tfmagic.record() as rec:
            y = v * v * v
        assert rec.gradient(y, v).numpy() == 12.0
    assert mine.gradient(y, v).numpy() == 12.0


def test_keras_training_step_agrees_with_its_own_tape() -> None:
    import keras

    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.layers.Input((6,)),
            keras.layers.Dense(5, "relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(1),
        ]
    )
    with tfmagic.record() as rec, tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(tf.random.normal((8, 6)), training=True) ** 2)
    for one, other in zip(
        tape.gradient(loss, model.trainable_variables),
        rec.gradient(loss, model.trainable_variables),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_the_inferred_target_is_the_last_float_of_size_one() -> None:
    w, unread = tf.Variable([1.0, 2.0]), tf.Variable(1.0)
    with tfmagic.record() as rec:
        loss = tf.reduce_sum(w * w)
        count = tf.size(w)
    rec.infer()
    (call,) = rec.recording.gradients
    assert (call.origin, call.targets) == ("inferred", ("loss",))
    assert [g.source for g in call.gradients] == ["w"]
    assert loss is not None and count is not None and unread is not None


def test_nothing_to_infer_is_said_in_one_line() -> None:
    with tfmagic.record() as rec:
        tf.constant([1, 2]) + 1
    with pytest.raises(NoTargetError) as caught:
        rec.infer()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [3, "text", np.ones(2), [1, 2]])
def test_a_target_or_source_that_is_no_tensor(wrong) -> None:
    v = tf.Variable(1.0)
    with tfmagic.record() as rec:
        y = v * 2.0
    with pytest.raises(OptionError):
        rec.infer(GradientRequest(target=wrong, target_name="wrong"))
    with pytest.raises(OptionError):
        rec.infer(GradientRequest(sources=wrong, source_names=("wrong",)))
    assert rec.gradient(y, v).numpy() == 2.0


def test_other_ears_hear_nothing_of_what_is_worked_out() -> None:
    """TensorFlow has one list of callbacks a thread, and one way to call them for all."""
    heard = []

    def ear(op_type: str, *_: object, **__: object) -> None:
        heard.append(op_type)

    v = tf.Variable(3.0)
    op_callbacks.add_op_callback(ear)
    try:
        with tf.GradientTape() as open_tape:  # the work is done in another thread
            with tfmagic.record() as rec:
                y = v * v
            rec.infer()
        rec.gradient(y, v)
        assert heard.count("Mul") == 1 and open_tape.gradient(y, v) == 6.0
        tf.raw_ops.Exp(x=1.0)
        execute.execute(b"Neg", 1, [y], ("T", y.dtype.as_datatype_enum), context.context())
        assert heard[-2:] == ["Exp", b"Neg"]
    finally:
        op_callbacks.remove_op_callback(ear)


def test_a_gradient_that_raised_is_not_explained_as_none() -> None:
    @tf.custom_gradient
    def stubborn(x):
        def back(up):
            raise ArithmeticError("not today")

        return x * 2.0, back

    v = tf.Variable(1.0)
    with tfmagic.record() as rec:
        with tf.GradientTape() as tape:
            y = stubborn(v)
        with pytest.raises(ArithmeticError):
            tape.gradient(y, v)
    (call,) = rec.recording.gradients
    assert "not today" in call.error and not call.gradients
