"""Twins of traced functions: what they tell is right, and nobody can feel that they ran."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmagic
from tfmagic.model import Run, from_json
from tfmagic.runtime import private

LAYERS = keras.layers
DRAW = np.random.RandomState(0)
SPARSE = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def mlp() -> Any:
    inner = [LAYERS.Dense(8, "relu"), LAYERS.BatchNormalization(), LAYERS.Dropout(0.3)]
    return keras.Sequential([LAYERS.Input((8,)), *inner, LAYERS.Dense(3)])


def cnn() -> Any:
    inner = [LAYERS.Conv2D(4, 3, use_bias=False), LAYERS.BatchNormalization(), LAYERS.ReLU()]
    end = [LAYERS.DepthwiseConv2D(3), LAYERS.Flatten(), LAYERS.Dense(3)]
    return keras.Sequential([LAYERS.Input((8, 8, 2)), *inner, *end])


def transformer() -> Any:
    given = LAYERS.Input((6,))
    x = LAYERS.Embedding(20, 8)(given)
    x = LAYERS.LayerNormalization()(x + LAYERS.MultiHeadAttention(2, 4, dropout=0.1)(x, x))
    return keras.Model(given, LAYERS.Dense(3)(LAYERS.GlobalAveragePooling1D()(x)))


def lstm() -> Any:
    return keras.Sequential([LAYERS.Input((5, 4)), LAYERS.LSTM(6), LAYERS.Dense(3)])


DATA = {
    mlp: DRAW.randn(24, 8).astype("f"),
    cnn: DRAW.randn(24, 8, 8, 2).astype("f"),
    transformer: DRAW.randint(0, 20, (24, 6)),
    lstm: DRAW.randn(24, 5, 4).astype("f"),
}
TARGETS = DRAW.randint(0, 3, 24)
SGD = {"class_name": "SGD", "config": {"learning_rate": 0.1, "momentum": 0.9, "clipnorm": 1.0}}
KINDS = [
    (mlp, "adam", {}),
    (mlp, SGD, {"steps_per_execution": 2}),
    (mlp, "adam", {"jit_compile": True}),
    (cnn, SGD, {}),
    (transformer, "adamw", {}),
    (lstm, "rmsprop", {}),
]


def trained(make: Callable[[], Any], optimizer: Any, options: Any) -> Any:
    keras.utils.set_random_seed(1)
    model = make()
    model.compile(keras.optimizers.get(optimizer), SPARSE, metrics=["accuracy"], **options)
    return model


@pytest.mark.parametrize("make, optimizer, options", KINDS)
def test_a_recorded_training_is_the_same_bit_for_bit(
    make: Any, optimizer: Any, options: Any
) -> None:
    plain, told = [], []
    for recorded in (plain, told):
        model = trained(make, optimizer, options)
        if recorded is told:
            with tfmagic.record() as rec:
                model.fit(DATA[make], TARGETS, batch_size=8, epochs=2, verbose=0)
        else:
            model.fit(DATA[make], TARGETS, batch_size=8, epochs=2, verbose=0)
        recorded += [v.numpy() for v in (*model.variables, *model.optimizer.variables)]
    assert all(np.array_equal(a, b) for a, b in zip(plain, told, strict=True))
    assert rec.log.compiled and not rec.log.untapped and not rec.log.faults
    (run,) = rec.recording.runs
    assert run.steps == 6 and run.epochs[0] == 1
    assert np.isfinite(run.loss).all() and run.first_bad is None
    assert len(run.gradient_norm) == len(model.trainable_variables)


def test_mixed_precision_and_replicas_are_the_same_too() -> None:
    found = []
    for recorded in (False, True):
        keras.utils.set_random_seed(1)
        keras.mixed_precision.set_global_policy("mixed_float16")
        try:
            model = trained(mlp, "adam", {})
            with tfmagic.record() if recorded else nullcontext():
                model.fit(DATA[mlp], TARGETS, batch_size=8, verbose=0)
        finally:
            keras.mixed_precision.set_global_policy("float32")
        found.append([v.numpy() for v in model.variables])
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))


# --- the figures ---------------------------------------------------------------------------


def recorded_fit(**options: Any) -> tuple[Run, Any, list[dict[str, float]]]:
    """A run of six steps, the model, and what a loop of plain TensorFlow computes for each."""
    model = keras.Sequential([LAYERS.Input((4,)), LAYERS.Dense(5, "tanh"), LAYERS.Dense(1)])
    keras.utils.set_random_seed(2)
    start = [DRAW.randn(*v.shape).astype("f") for v in model.trainable_variables]
    x, y = DRAW.randn(12, 4).astype("f"), DRAW.randn(12, 1).astype("f")
    expected = []
    model.set_weights(start)
    for step in range(6):
        batch = slice(2 * step, 2 * step + 2)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x[batch]) - y[batch]) ** 2)
        grads = tape.gradient(loss, model.trainable_variables)
        before = [float(tf.norm(v)) for v in model.trainable_variables]
        for variable, grad in zip(model.trainable_variables, grads, strict=True):
            variable.assign_sub(0.1 * grad)
        expected.append(
            {"loss": float(loss), "gradient": [float(tf.norm(g)) for g in grads], "weight": before}
        )
    model.set_weights(start)
    model.compile(keras.optimizers.SGD(0.1), "mse", **options)
    with tfmagic.record() as rec:
        model.fit(x, y, batch_size=2, shuffle=False, verbose=0)
    (run,) = rec.recording.runs
    return run, model, expected


@pytest.mark.parametrize("options", [{}, {"steps_per_execution": 3}, {"jit_compile": True}])
def test_loss_gradients_and_weights_are_those_of_a_plain_loop(options: Any) -> None:
    run, _, expected = recorded_fit(**options)
    assert run.loss == pytest.approx([e["loss"] for e in expected], rel=1e-4)
    for kind, series in (("gradient", run.gradient_norm), ("weight", run.weight_norm)):
        table = np.array(list(series.values())).T
        assert table == pytest.approx(np.array([e[kind] for e in expected]), rel=1e-4, abs=1e-6)
    ratio = np.array(list(run.update_ratio.values())).T
    wanted = 0.1 * np.array([e["gradient"] for e in expected])
    weights = np.array([e["weight"] for e in expected])
    assert ratio == pytest.approx(wanted / weights, rel=1e-3)


def test_layers_tell_mean_spread_and_zeros() -> None:
    model = keras.Sequential([LAYERS.Input((3,)), LAYERS.Dense(4, "relu"), LAYERS.Dense(2)])
    model.compile("sgd", "mse")
    x, y = DRAW.randn(8, 3).astype("f"), DRAW.randn(8, 2).astype("f")
    hidden = model.layers[0](x).numpy()
    with tfmagic.record() as rec:
        model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    (run,) = rec.recording.runs
    first = next(iter(run.mean))
    assert run.mean[first][0] == pytest.approx(hidden.mean(), rel=1e-5)
    assert run.std[first][0] == pytest.approx(hidden.std(), rel=1e-4)
    assert run.zeros[first][0] == pytest.approx((hidden == 0).mean())
    assert run.layers[0][0] == first and len(run.layers[0][1]) == 2


def test_validation_is_told_apart_from_training() -> None:
    model = trained(mlp, "adam", {})
    with tfmagic.record() as rec:
        history = model.fit(
            DATA[mlp], TARGETS, batch_size=8, epochs=2, verbose=0, validation_split=0.34
        ).history
    (run,) = rec.recording.runs
    found = [value for name, _, value in run.validation if name == "loss"]
    assert found == pytest.approx(history["val_loss"])
    assert run.steps == 4 and run.epochs == (1, 3)
    assert run.metrics["loss"][-1] == pytest.approx(history["loss"][-1])


def test_an_own_step_and_one_that_was_traced_before() -> None:
    w, x = tf.Variable([2.0, 1.0]), tf.constant([1.0, 3.0])

    @tf.function
    def step(x: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((w * x) ** 2)
        w.assign_sub(0.01 * tape.gradient(loss, w))
        return loss

    step(x)
    before = w.numpy()
    with tfmagic.record() as rec:
        losses = [float(step(x)) for _ in range(4)]
    (run,) = rec.recording.runs
    assert run.loss == pytest.approx(losses)
    norm = np.linalg.norm(2 * before * x.numpy() ** 2)
    assert run.gradient_norm["w"][0] == pytest.approx(norm, rel=1e-5)
    assert from_json(rec.recording.to_json()).runs == rec.recording.runs


def test_two_losses_in_one_step_are_two_runs() -> None:
    a, b = tf.Variable(1.0), tf.Variable(1.0)

    @tf.function
    def step(x: Any) -> Any:
        with tf.GradientTape() as first, tf.GradientTape() as second:
            one, two = (a * x - 1.0) ** 2, (b * x + 2.0) ** 2
        a.assign_sub(0.1 * first.gradient(one, a))
        b.assign_sub(0.1 * second.gradient(two, b))
        return one, two

    with tfmagic.record() as rec:
        for _ in range(3):
            one, two = step(tf.constant(0.5))
    runs = rec.recording.runs
    assert [set(run.gradient_norm) for run in runs] == [{"a"}, {"b"}]
    assert [run.loss[-1] for run in runs] == pytest.approx([float(one), float(two)])


def test_a_loop_inside_tells_each_turn_and_a_branch_only_where_it_is_taken() -> None:
    w = tf.Variable(1.0)

    @tf.function
    def steps(x: Any, often: Any) -> None:
        for _ in tf.range(often):
            if x > 0.0:
                with tf.GradientTape() as tape:
                    loss = (w * x) ** 2
                w.assign_sub(0.1 * tape.gradient(loss, w))

    with tfmagic.record() as rec:
        steps(tf.constant(1.0), tf.constant(3))
        steps(tf.constant(-1.0), tf.constant(2))
    assert rec.recording.runs[0].loss == pytest.approx([1.0, 0.64, 0.4096])


# --- unfelt --------------------------------------------------------------------------------


def registered() -> set[str]:
    return set(private.context().list_function_names())


def test_nothing_is_left_behind() -> None:
    call = private.context_class().call_function
    doubled = tf.function(lambda x: x * w)
    w = tf.Variable(2.0)
    doubled(tf.constant(1.0))
    before = registered()
    for _ in range(3):
        with tfmagic.record():
            model = trained(mlp, "adam", {})
            model.fit(DATA[mlp], TARGETS, verbose=0)
            assert any("tfmagic" in name for name in registered())
    assert private.context_class().call_function is call
    assert not any("tfmagic" in name for name in registered() - before)


@tf.function
def fails(x: Any) -> Any:
    with tf.GradientTape() as tape:
        loss = KEPT * KEPT
    KEPT.assign_sub(0.1 * tape.gradient(loss, KEPT))
    return loss + tf.debugging.check_numerics(x, "what was given")


KEPT = tf.Variable(1.0)


def test_an_error_inside_reads_as_it_would_without_us() -> None:
    said = []
    for recorded in (False, True):
        block = tfmagic.record() if recorded else nullcontext()
        with block, pytest.raises(tf.errors.InvalidArgumentError) as caught:
            fails(tf.constant(float("nan")))
        said.append((type(caught.value), str(caught.value), caught.value.message))
    assert said[0] == said[1] and "what was given" in said[0][1]


def test_prints_python_and_iterators_run_once(capfd: pytest.CaptureFixture[str]) -> None:
    seen = []
    data = iter(tf.data.Dataset.range(10))
    w = tf.Variable(1.0)

    def note(x: Any) -> Any:
        seen.append(float(x))
        return x

    @tf.function
    def step() -> Any:
        x = tf.cast(next(data), tf.float32)
        tf.print("seen", x)
        x = tf.py_function(note, [x], tf.float32)
        with tf.GradientTape() as tape:
            loss = w * x
        w.assign_sub(0.0 * tape.gradient(loss, w))
        return loss

    with tfmagic.record() as rec:
        found = [float(step()) for _ in range(3)]
    assert found == seen == [0.0, 1.0, 2.0]
    assert capfd.readouterr().err.count("seen") == 3
    assert rec.recording.runs[0].loss == pytest.approx(found)


def test_another_op_callback_hears_the_function_under_its_own_name() -> None:
    from tensorflow.python.framework import op_callbacks

    heard = []

    def listen(op_type: str, _: Any, __: Any, outputs: Any, *___: Any, **____: Any) -> None:
        heard.append((op_type, len(outputs)))

    with tfmagic.record():
        op_callbacks.add_op_callback(listen)
        try:
            with pytest.raises(tf.errors.InvalidArgumentError):
                fails(tf.constant(float("inf")))
            recorded_step()
        finally:
            op_callbacks.remove_op_callback(listen)
    functions = [told for told in heard if told[0].startswith("__inference_")]
    assert functions and all("tfmagic" not in name for name, _ in functions)


@tf.function
def _step() -> Any:
    with tf.GradientTape() as tape:
        loss = KEPT * KEPT
    KEPT.assign_sub(0.1 * tape.gradient(loss, KEPT))
    return loss


def recorded_step() -> Any:
    return _step()


def test_calls_from_other_threads_run_as_ever() -> None:
    found: list[float] = []
    with tfmagic.record():
        thread = threading.Thread(target=lambda: found.append(float(_step())))
        before = float(KEPT) ** 2
        thread.start()
        thread.join()
    assert found == pytest.approx([before])


def test_a_function_that_cannot_have_a_twin_runs_and_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tfmagic.runtime.compiled import twin

    monkeypatch.setattr(twin, "_LARGEST", 1)
    with tfmagic.record() as rec:
        loss = recorded_step()
    assert float(loss) >= 0.0
    (gap,) = [gap for gap in rec.recording.complete if gap.code == "untapped"]
    assert "_step" in gap.message and rec.recording.runs == ()


def test_a_long_run_keeps_its_ends() -> None:
    from tfmagic.runtime.capture.log import CompiledFunction, CompiledStep

    told = CompiledFunction("f", ())
    for number in range(20_001):
        told.add(CompiledStep(number, number, 0.0, 0.0, ()))
    numbers = [step.number for step in told.steps]
    assert told.count == 20_001 and len(numbers) <= told.MOST + 1
    assert numbers[0] == 0 and numbers[-1] == 20_000
    assert len({b - a for a, b in pairwise(numbers[:-1])}) == 1


def test_a_function_that_draws_goes_on_with_its_own_numbers() -> None:
    """The state of such an op lives in the function: a twin would begin anew."""
    found = []
    for recorded in (False, True):
        tf.keras.utils.set_random_seed(3)
        w = tf.Variable(0.0)

        @tf.function
        def step(w: Any = w) -> Any:
            with tf.GradientTape() as tape:
                loss = (w - tf.random.normal([])) ** 2
            w.assign_sub(0.1 * tape.gradient(loss, w))
            return loss

        losses = [float(step()) for _ in range(2)]
        with tfmagic.record() if recorded else nullcontext() as rec:
            losses += [float(step()) for _ in range(2)]
        losses += [float(step()) for _ in range(2)]
        found.append(losses)
    assert found[0] == found[1]
    assert rec is not None
    (gap,) = [gap for gap in rec.recording.complete if gap.code == "untapped"]
    assert "draws" in str(gap)
