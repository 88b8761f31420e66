"""Kinds of training: every step's loss and gradient norms are those that Keras itself tells of, or
that a plain loop computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmagic
from tfmagic.model import Run

LAYERS = keras.layers
X = np.random.RandomState(0).rand(32, 3).astype("f")
Y = X.sum(1, keepdims=True)
BATCH = 8


def small(**options: Any) -> Any:
    keras.utils.set_random_seed(1)
    made = [LAYERS.Input((3,)), LAYERS.Dense(4, activation="tanh"), LAYERS.Dense(1)]
    model = keras.Sequential(made)
    model.compile(**({"optimizer": "adam", "loss": "mse"} | options))
    return model


class Means(keras.callbacks.Callback):  # type: ignore[misc]
    """Keras's own running means of the loss, and from them each batch's."""

    def __init__(self) -> None:
        super().__init__()
        self.means: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.means.append(logs["loss"])

    @property
    def losses(self) -> list[float]:
        whole = [mean * (place + 1) for place, mean in enumerate(self.means)]
        return [whole[0], *np.diff(whole)]


def recorded(work: Callable[[], Any]) -> tuple[Run, ...]:
    with tfmagic.record() as rec:
        work()
    return rec.recording.runs


def fitted(model: Any, target: Any = Y, **options: Any) -> tuple[Run, list[float]]:
    told = Means()
    options = {"batch_size": BATCH, "shuffle": False, "verbose": 0, **options}
    (run,) = recorded(lambda: model.fit(X, target, callbacks=[told], **options))
    return run, told.losses


def two_outputs() -> tuple[Run, list[float]]:
    keras.utils.set_random_seed(1)
    given = LAYERS.Input((3,))
    inner = LAYERS.Dense(4)(given)
    outputs = {name: LAYERS.Dense(1, name=name)(inner) for name in "ab"}
    model = keras.Model(given, outputs)
    model.compile("sgd", {"a": "mse", "b": "mae"})
    return fitted(model, {"a": Y, "b": Y})


def class_weights() -> tuple[Run, list[float]]:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([LAYERS.Input((3,)), LAYERS.Dense(2, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    return fitted(model, (Y[:, 0] > 1.5).astype(int), class_weight={0: 1.0, 1: 5.0})


def own_step() -> tuple[Run, list[float]]:
    class Own(keras.Sequential):  # type: ignore[misc]
        def train_step(self, data: Any) -> Any:
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(self(x) - y))
            weights = self.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            return {"loss": loss}

    keras.utils.set_random_seed(1)
    model = Own([LAYERS.Input((3,)), LAYERS.Dense(1)])
    model.compile("rmsprop")
    told = Means()
    (run,) = recorded(
        lambda: model.fit(X, Y, batch_size=BATCH, shuffle=False, verbose=0, callbacks=[told])
    )
    return run, told.means


def by_batches() -> tuple[Run, list[float]]:
    model, losses = small(), list[float]()

    def loop() -> None:
        for start in range(0, 32, BATCH):
            model.reset_metrics()
            part = slice(start, start + BATCH)
            losses.append(float(model.train_on_batch(X[part], Y[part])))

    (run,) = recorded(loop)
    return run, losses


def replicas() -> tuple[Run, list[float]]:
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = small()
    return fitted(model)


KINDS = {
    "fit": lambda: fitted(small()),
    "two outputs": two_outputs,
    "class weights": class_weights,
    "an own train_step": own_step,
    "train_on_batch": by_batches,
    "run_eagerly": lambda: fitted(small(run_eagerly=True)),
    "gathered gradients": lambda: fitted(
        small(optimizer=keras.optimizers.Adam(gradient_accumulation_steps=2))
    ),
    "clipped gradients": lambda: fitted(small(optimizer=keras.optimizers.SGD(0.1, clipnorm=0.01))),
    "a strategy": replicas,
    "XLA": lambda: fitted(small(jit_compile=True)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_loss_is_the_one_that_keras_tells(kind: str) -> None:
    run, losses = KINDS[kind]()
    assert run.steps == len(losses) == 4
    assert run.loss == pytest.approx(losses, rel=1e-4)
    assert len(run.gradient_norm) in (2, 4, 6) and run.first_bad is None


@pytest.mark.parametrize("options", [{}, {"gradient_accumulation_steps": 2}, {"clipnorm": 0.01}])
def test_every_gradient_norm_is_the_one_that_a_loop_computes(options: Any) -> None:
    model = small(optimizer=keras.optimizers.SGD(0.1, **options))
    twin = small(optimizer=keras.optimizers.SGD(0.1, **options))
    run, _ = fitted(model)
    norms = []
    for start in range(0, 32, BATCH):
        part = slice(start, start + BATCH)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(twin(X[part]) - Y[part]))
        gradients = tape.gradient(loss, twin.trainable_variables)
        norms.append([float(tf.norm(g)) for g in gradients])
        twin.optimizer.apply_gradients(zip(gradients, twin.trainable_variables, strict=True))
    assert np.allclose(np.transpose(list(run.gradient_norm.values())), norms, rtol=1e-4)
    gathered = options.get("gradient_accumulation_steps")
    moved = np.asarray(list(run.of("update").values())) != 0
    assert moved.any(axis=0).tolist() == ([False, True] * 2 if gathered else [True] * 4)


def test_two_losses_of_one_step_are_two_runs_told_by_their_variables() -> None:
    keras.utils.set_random_seed(1)
    maker = keras.Sequential([LAYERS.Input((2,)), LAYERS.Dense(3)])
    judge = keras.Sequential([LAYERS.Input((3,)), LAYERS.Dense(1)])
    optimisers = keras.optimizers.Adam(), keras.optimizers.Adam()
    for optimiser, model in zip(optimisers, (maker, judge), strict=True):
        optimiser.build(model.trainable_variables)

    @tf.function
    def step(real: Any, noise: Any) -> Any:
        with tf.GradientTape() as first, tf.GradientTape() as second:
            made = judge(maker(noise))
            fooled = tf.reduce_mean(tf.nn.softplus(-made))
            told = tf.reduce_mean(tf.nn.softplus(-judge(real))) + tf.reduce_mean(
                tf.nn.softplus(made)
            )
        for tape, loss, model, optimiser in (
            (first, fooled, maker, optimisers[0]),
            (second, told, judge, optimisers[1]),
        ):
            weights = model.trainable_variables
            optimiser.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return fooled, told

    losses: list[list[float]] = []
    noise = np.random.RandomState(1).rand(4, 8, 2).astype("f")
    runs = recorded(lambda: losses.extend([float(v) for v in step(X[:8], z)] for z in noise))
    assert [run.loss.tolist() for run in runs] == np.transpose(losses).tolist()
    assert [len(run.gradient_norm) for run in runs] == [2, 2]
    assert not set(runs[0].gradient_norm) & set(runs[1].gradient_norm)


def test_steps_that_a_loss_scale_skips_are_counted_and_no_trouble() -> None:
    optimiser = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01), 2.0**20)
    keras.utils.set_random_seed(1)
    half = {"dtype": "mixed_float16"}
    model = keras.Sequential([LAYERS.Input((3,)), LAYERS.Dense(4, **half), LAYERS.Dense(1, **half)])
    model.compile(optimiser, "mse")
    run, losses = fitted(model)
    assert run.skipped and run.skipped[0] == 1 and run.first_bad is None
    assert run.loss == pytest.approx(losses, rel=1e-2)


def test_validation_stands_behind_the_step_that_it_came_after() -> None:
    options = {"validation_data": (X, Y), "epochs": 2}
    model = small(steps_per_execution=3)
    (run,) = recorded(lambda: model.fit(X, Y, batch_size=BATCH, verbose=0, **options))
    assert {step for _, step, _ in run.validation} == {4, 8} and run.epochs == (1, 5)


def test_data_that_raises_leaves_the_steps_before_it() -> None:
    def data() -> Any:
        yield X[:4], Y[:4]
        yield X[4:8], Y[4:8]
        raise ValueError("no more")

    model = small()
    runs: list[Run] = []
    with pytest.raises(Exception, match="no more"), tfmagic.record() as rec:
        model.fit(data(), verbose=0)
    runs.extend(rec.recording.runs)
    assert [run.steps for run in runs] == [2]
