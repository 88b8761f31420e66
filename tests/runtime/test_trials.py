"""Trials: the first steps of a run made again with one thing changed, and nothing else felt."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmagic
from tfmagic.runtime import private
from tfmagic.runtime.experiments import trials as experiments

LAYERS = keras.layers
DRAW = np.random.RandomState(0)
X = DRAW.randn(160, 4).astype("f")
Y = (X @ DRAW.randn(4, 1) > 0).astype("f")


@pytest.fixture(autouse=True)
def as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, every trial has its turn."""
    monkeypatch.setattr(experiments, "_SHORTEST", 600.0)
    monkeypatch.setattr(experiments, "_LONGEST", 600.0)


def fitted(optimizer: Any, x: Any = X, epochs: int = 8, **options: Any) -> Any:
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [LAYERS.Input((4,)), LAYERS.Dense(16, "relu"), LAYERS.Dense(1, "sigmoid")]
    )
    model.compile(optimizer, "binary_crossentropy", **options)
    with tfmagic.record() as rec:
        model.fit(x, Y, batch_size=16, epochs=epochs, verbose=0)
    (run,) = rec.recording.runs
    return run, model


def codes(run: Any) -> list[str]:
    return [verdict.code for verdict in run.verdicts]


@pytest.mark.parametrize("options", [{}, {"jit_compile": True}])
def test_a_rate_far_too_high_is_found_by_trying_a_smaller_one(options: Any) -> None:
    run, _ = fitted(keras.optimizers.SGD(50.0), **options)
    assert codes(run) == ["lr_too_high"]


def test_a_rate_far_too_low_is_found_by_trying_a_larger_one() -> None:
    run, _ = fitted(keras.optimizers.SGD(1e-4))
    assert codes(run) == ["lr_too_low"]


def test_steps_uphill_in_an_own_loop() -> None:
    w = tf.Variable(tf.zeros([4, 1]))

    @tf.function
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(y, x @ w))
        w.assign_add(0.5 * tape.gradient(loss, w))
        return loss

    with tfmagic.record() as rec:
        for _ in range(30):
            step(tf.constant(X), tf.constant(Y))
    assert codes(rec.recording.runs[0]) == ["lr_sign"]


def test_a_run_that_learns_is_accused_of_nothing() -> None:
    run, _ = fitted("adam", epochs=60)
    assert codes(run) == [] and run.loss[-1] < run.loss[0]


def test_trials_touch_nothing_of_the_users() -> None:
    run, model = fitted(keras.optimizers.SGD(50.0))
    again, other = fitted(keras.optimizers.SGD(50.0))
    assert run.trials and len(run.trials[0].losses) > 5
    same = zip(model.variables, other.variables, strict=True)
    assert all(np.array_equal(a.numpy(), b.numpy(), equal_nan=True) for a, b in same)
    # the steps as they were come to the losses that were recorded
    losses = list(run.trials[0].losses[:5])
    assert losses == pytest.approx(list(run.loss[:5]), rel=1e-4)
    names = private.context().list_function_names()
    assert not any("tfmagic" in name for name in names)
    assert np.array_equal(again.loss, run.loss, equal_nan=True)


def test_steps_that_must_not_run_again_are_not_tried() -> None:
    w, seen = tf.Variable(1.0), []

    def note(x: Any) -> Any:
        seen.append(float(x))
        return x

    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = w * w
        w.assign_add(0.5 * tape.gradient(loss, w))
        return tf.py_function(note, [loss], tf.float32)

    with tfmagic.record() as rec:
        for _ in range(12):
            step()
    assert rec.recording.runs[0].trials == ()
    assert len(seen) == 12
