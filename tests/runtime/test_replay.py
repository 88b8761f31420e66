"""Recorded ops, run again on other values, give what the same code gives on those values."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import keras
import numpy as np
import tensorflow as tf
from hypothesis import given, settings

import tfmagic
from tfmagic.runtime.autodiff.replay import Replay
from tfmagic.runtime.capture.names import key_of


def replayed(rec: Any, source: Any, value: Any, target: Any, **options: Any) -> Any:
    replay = Replay(rec.log, [key_of(source)], **options)
    return replay.run({key_of(source): tf.constant(value)})[target._id]


def reasons(rec: Any, source: Any) -> dict[str, str]:
    return {kept.type: kept.reason for kept in Replay(rec.log, [key_of(source)]).kept}


STEPS = {
    "tanh": tf.tanh,
    "add": lambda t: t + tf.ones_like(t),
    "concat": lambda t: tf.concat([t, t * 2], 1)[:, :2],
    "matmul": lambda t: tf.matmul(t, t, transpose_b=True),
    "split": lambda t: tf.stack(tf.unstack(t)),
    "einsum": lambda t: tf.einsum("ij,kj->ik", t, t),
    "where": lambda t: tf.where(t > 0, t, -t),
    "cast": lambda t: tf.cast(tf.cast(t, tf.float64), tf.float32),
}


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=5), st.integers(0, 50))
@settings(max_examples=30, deadline=None)
def test_any_chain(chain: list[str], seed: int) -> None:
    before, after = np.random.default_rng(seed).normal(size=(2, 2, 2)).astype("float32")

    def run(v: Any) -> Any:
        t = v * v
        for step in chain:
            t = STEPS[step](t)
        return tf.reduce_sum(t)

    v = tf.Variable(before)
    with tfmagic.record() as rec:
        y = run(v)
    np.testing.assert_array_equal(replayed(rec, v, after, y), run(tf.constant(after)))


def training(w: tf.Variable, steps: int) -> tuple[Any, Any]:
    for _ in range(steps):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((tf.constant([[1.0, 2.0]]) @ w - 1.0) ** 2)
        gradient = tape.gradient(loss, w)
        w.assign_sub(0.05 * gradient)
    return loss, gradient


def test_a_training_loop_is_followed_through_its_assignments() -> None:
    start, other = [[0.3], [0.1]], [[0.7], [-0.2]]
    w = tf.Variable(start)
    with tfmagic.record() as rec:
        loss, gradient = training(w, 3)
    expected = training(tf.Variable(other), 3)
    for old, new in zip((loss, gradient), expected, strict=True):
        np.testing.assert_array_equal(replayed(rec, w, other, old), new)
    assert Replay(rec.log, [key_of(w)]).kept == ()


def test_only_what_leads_to_the_target_runs() -> None:
    v = tf.Variable(2.0)
    with tfmagic.record() as rec:
        y = v * 3.0
        z = tf.sin(v)
    one, all_of_it = (Replay(rec.log, [key_of(v)], t) for t in ([y._id], None))
    assert [rec.log.entries[p].type for p in one.steps] == ["ReadVariableOp", "Mul"]
    assert z._id not in one.run({key_of(v): tf.constant(5.0)})
    assert len(all_of_it.steps) == 3


def test_an_adam_step_on_a_keras_model_is_followed() -> None:
    model = keras.Sequential([keras.layers.Dense(3, activation="relu"), keras.layers.Dropout(0.5)])
    x = tf.ones((2, 4))
    model(x)
    adam = keras.optimizers.Adam()
    adam.build(model.trainable_variables)
    kernel = model.layers[0].kernel
    with tfmagic.record() as rec:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(x, training=True) ** 2)
        adam.apply_gradients([(tape.gradient(loss, kernel), kernel)])
        after = kernel.value * 1.0
    replay = Replay(rec.log, [key_of(kernel)])
    assert replay.kept == ()  # the dropout mask does not depend on the kernel: it stands
    same = replay.run({key_of(kernel): tf.zeros((4, 3))})
    assert not np.allclose(same[after._id], after)
    assert same[loss._id].numpy() == 0.0


def test_shifts_of_a_variable_and_of_an_embedding() -> None:
    v, table = tf.Variable([1.0, 2.0]), tf.Variable([[1.0], [2.0], [3.0]])
    with tfmagic.record() as rec:
        y = tf.reduce_sum(v * v)
        rows = tf.nn.embedding_lookup(table, [2, 0, 2])
    found = Replay(rec.log, [key_of(v)], [y._id]).run(shifts={key_of(v): [0.5, 0.0]})
    assert found[y._id].numpy() == 1.5**2 + 4.0
    moved = Replay(rec.log, [key_of(table)]).run(shifts={key_of(table): [[0.0], [5.0], [0.5]]})
    assert moved[rows._id].numpy().tolist() == [[3.5], [1.0], [3.5]]


def test_a_function_reads_its_variable_anew() -> None:
    v = tf.Variable(3.0)
    square = tf.function(lambda x: x * v * v)
    with tfmagic.record() as rec:
        y = square(tf.constant(2.0))
    assert replayed(rec, v, 5.0, y).numpy() == 50.0
    assert v.numpy() == 3.0


def test_what_cannot_be_run_again_is_named() -> None:
    v = tf.Variable(0.5)
    noisy = tf.function(lambda x: x * tf.random.uniform([]))
    with tfmagic.record() as rec:
        noisy(v * 1.0)
        tf.random.categorical(tf.reshape([v, v], (1, 2)), 3)
        tf.py_function(lambda x: x * 2, [v * 1.0], tf.float32)
    assert set(reasons(rec, v).values()) == {"random", "python"}
    assert "Multinomial" in reasons(rec, v)


def test_tensors_that_were_let_go_are_named() -> None:
    v = tf.Variable(tf.ones((64, 64)))
    with tfmagic.record(budget=40_000) as rec:
        y = v * 2.0
        for _ in range(8):
            y = y + 1.0
    assert "budget" in reasons(rec, v).values()


def test_wide_computes_in_float64_and_says_where_it_could_not() -> None:
    v = tf.Variable([1e-4, 1.0])
    image = tf.Variable(tf.ones((1, 2, 2, 1)))
    with tfmagic.record() as rec:
        y = tf.reduce_sum((v + 1.0) * (v + 1.0)) - 5.0
        normed = tf.compat.v1.nn.fused_batch_norm(image, [1.0], [0.0])[0]
    replay = Replay(rec.log, [key_of(v)], [y._id], wide=True)
    found = replay.run(shifts={key_of(v): 0.0})[y._id]
    assert found.dtype == tf.float64
    assert replay.narrow == ()
    assert abs(float(found) - ((1 + np.float64(np.float32(1e-4))) ** 2 - 1)) < 1e-12
    other = Replay(rec.log, [key_of(image)], [normed._id], wide=True)
    assert other.run(shifts={key_of(image): 0.0})[normed._id].dtype == tf.float64
    assert other.narrow == ("FusedBatchNormV3",)
