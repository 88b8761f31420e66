"""Causes of bad training that a run's own figures and its step's graph prove."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmagic

LAYERS = keras.layers
DRAW = np.random.RandomState(0)
X = DRAW.randn(160, 4).astype("f")
Y = (X[:, :1] > 0).astype("f")


def fitted(layers: list[Any], loss: Any, y: Any = Y, x: Any = X) -> list[str]:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([LAYERS.Input((4,)), *layers])
    model.compile(keras.optimizers.Adam(0.01), loss)
    with tfmagic.record() as rec:
        model.fit(x, y, batch_size=16, epochs=3, verbose=0)
    (run,) = rec.recording.runs
    return [verdict.code for verdict in run.verdicts]


def hidden(**options: Any) -> Any:
    return LAYERS.Dense(8, activation="relu", **options)


@pytest.mark.parametrize(
    ("layers", "y", "code"),
    [
        ([hidden(), LAYERS.Dense(1, activation="sigmoid")], 2 * Y - 1, "label_encoding"),
        ([hidden(), LAYERS.Dense(1)], 3 * X[:, :1], "wrong_loss"),
        ([hidden(), LAYERS.Dense(1, bias_initializer="ones")], Y, "logits_mismatch"),
        ([hidden(), LAYERS.Dense(1, activation="softmax")], Y, "wrong_last_activation"),
        ([hidden(kernel_initializer="zeros"), LAYERS.Dense(1, kernel_initializer="zeros",
          activation="sigmoid")], Y, "bad_initialisation"),
        ([hidden(bias_initializer=keras.initializers.Constant(-50.0)),
          LAYERS.Dense(1, activation="sigmoid")], Y, "dead_relu"),
    ],
)  # fmt: skip
def test_what_cannot_be_so_in_a_sound_run(layers: list[Any], y: Any, code: str) -> None:
    assert fitted(layers, "binary_crossentropy", y) == [code]


def test_a_batch_that_holds_nan() -> None:
    x = X.copy()
    x[7, 2] = np.nan
    assert fitted([hidden(), LAYERS.Dense(1)], "mse", x=x) == ["nan_input"]


def test_a_column_that_meets_a_row_in_an_own_loop() -> None:
    w = tf.Variable(tf.zeros([4, 1]))

    @tf.function
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((x @ w - y) ** 2)
        w.assign_sub(0.1 * tape.gradient(loss, w))
        return loss

    with tfmagic.record() as rec:
        for _ in range(10):
            step(tf.constant(X), tf.constant(Y[:, 0]))
    (verdict,) = rec.recording.runs[0].verdicts
    assert verdict.code == "broadcast"
    assert "** 2)" in verdict.line
    assert dict(verdict.values) == {"first": "(160, 1)", "second": "(160,)"}


@pytest.mark.parametrize(
    ("layers", "loss", "y"),
    [
        ([hidden(), LAYERS.Dense(1, activation="sigmoid")], "binary_crossentropy", Y),
        ([hidden(), LAYERS.Dense(1)], keras.losses.BinaryCrossentropy(from_logits=True), Y),
        ([hidden(), LAYERS.Dense(2, activation="softmax")], "sparse_categorical_crossentropy", Y),
        ([hidden(), LAYERS.Dense(1, activation="exponential")], "poisson", 3 + np.round(X[:, :1])),
        ([hidden(bias_initializer=keras.initializers.Constant(-0.5)), LAYERS.Dense(1)], "mse",
         X[:, :1]),
    ],
)  # fmt: skip
def test_a_sound_run_is_accused_of_nothing(layers: list[Any], loss: Any, y: Any) -> None:
    accused = fitted(layers, loss, y)
    assert not set(accused) - {"too_few_steps", "not_known", "lr_too_low"}
