"""``%%tape`` over plain ``model.fit``: how much slower is a recorded step, and what others cost.

All run in one process, in turns: plain, recorded, recorded and followed, with Keras's
TensorBoard callback with ``histogram_freq=1`` (which looks at the weights once an epoch), and
with a callback written by hand that computes every variable's gradient norm after each step.
Each figure is the median over the rounds of the ratio of median steps within a round.

    python -m benchmarks.training_run [--rounds 5] [--steps 40] [--only MLP]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from benchmarks.rows import note

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def models(keras: Any) -> dict[str, tuple[Callable[[], Any], Any, int]]:
    """Name → what makes the model, its inputs, and the number of classes."""
    import numpy as np

    layers, draw = keras.layers, np.random.RandomState(0)

    def mlp() -> Any:
        inner = [layers.Dense(512, "relu") for _ in range(3)]
        return keras.Sequential([layers.Input((512,)), *inner, layers.Dense(10)])

    def cnn() -> Any:
        inner = [layers.Conv2D(n, 3, 2, activation="relu") for n in (16, 32, 64)]
        return keras.Sequential(
            [layers.Input((96, 96, 3)), *inner, layers.GlobalAveragePooling2D(), layers.Dense(10)]
        )

    def transformer() -> Any:
        given = layers.Input((64,))
        x = layers.Embedding(1000, 128)(given)
        x = layers.LayerNormalization()(x + layers.MultiHeadAttention(4, 32)(x, x))
        x = layers.LayerNormalization()(x + layers.Dense(128)(layers.Dense(512, "relu")(x)))
        return keras.Model(given, layers.Dense(10)(layers.GlobalAveragePooling1D()(x)))

    def lstm() -> Any:
        return keras.Sequential([layers.Input((32, 64)), layers.LSTM(64), layers.Dense(10)])

    def mobile() -> Any:
        return keras.applications.MobileNetV2((96, 96, 3), weights=None, classes=10)

    def tiny() -> Any:
        return keras.Sequential([layers.Input((8,)), layers.Dense(8, "relu"), layers.Dense(10)])

    return {
        "MLP 512": (mlp, draw.randn(64, 512).astype("f"), 10),
        "CNN 96²": (cnn, draw.randn(16, 96, 96, 3).astype("f"), 10),
        "transformer block": (transformer, draw.randint(0, 1000, (32, 64)), 10),
        "LSTM": (lstm, draw.randn(32, 32, 64).astype("f"), 10),
        "MobileNetV2": (mobile, draw.randn(8, 96, 96, 3).astype("f"), 10),
        "a step of 1 ms": (tiny, draw.randn(16, 8).astype("f"), 10),
    }


def gradient_norms(keras: Any, x: Any, classes: int) -> Any:
    """A callback as one writes it by hand: a second pass gives the norms of each step."""
    import numpy as np
    import tensorflow as tf

    y = np.arange(len(x)) % classes

    class Norms(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_begin(self, logs: Any = None) -> None:
            model, self.seen = self.model, []

            @tf.function
            def norms(x: Any, y: Any) -> Any:
                with tf.GradientTape() as tape:
                    loss = model.compute_loss(x, y, model(x, training=True))
                found = tape.gradient(loss, model.trainable_variables)
                return [tf.norm(gradient) for gradient in map(tf.convert_to_tensor, found)]

            self.norms, self.batch = norms, (tf.constant(x), tf.constant(y))

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.seen.append([float(norm) for norm in self.norms(*self.batch)])

    return Norms()


def median_step(
    keras: Any, made: Any, steps: int, callbacks: Any = (), record: Any = None
) -> float:
    """Seconds of the median step of one fit; the first steps, which trace, do not count."""
    import contextlib

    import numpy as np

    build, x, classes = made
    keras.utils.set_random_seed(0)
    model = build()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    y = np.arange(len(x)) % classes
    times: list[float] = []

    class Clock(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            times.append(time.perf_counter())

    every = np.concatenate([x] * 10), np.concatenate([y] * 10)
    with record() if record is not None else contextlib.nullcontext():
        model.fit(
            *every,
            batch_size=len(x),
            epochs=max(2, steps // 10),
            verbose=0,
            shuffle=False,
            callbacks=[Clock(), *callbacks],
        )
    return statistics.median(b - a for a, b in pairwise(times[5:]))


def main() -> None:
    """Run the rounds, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    import keras

    import tfmagic

    def followed() -> Any:
        tape = tfmagic.record()
        tape.follow(lambda courses, seconds: None)
        return tape

    for name, made in models(keras).items():
        if options.only.lower() not in name.lower():
            continue
        ratios: dict[str, list[float]] = {}
        plain_times = []
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as folder:
                board = keras.callbacks.TensorBoard(folder, histogram_freq=1, write_graph=False)
                plain = median_step(keras, made, options.steps)
                plain_times.append(plain)
                for way, told in (
                    ("%%tape", {"record": tfmagic.record}),
                    ("%%tape --live", {"record": followed}),
                    ("TensorBoard, histogram_freq=1", {"callbacks": [board]}),
                    ("gradient norms by hand", {"callbacks": [gradient_norms(keras, *made[1:])]}),
                ):
                    step = median_step(keras, made, options.steps, **told)
                    ratios.setdefault(way, []).append(step / plain)
        print(f"{name}: plain {1000 * statistics.median(plain_times):.2f} ms a step")
        for way, found in ratios.items():
            ratio = statistics.median(found)
            print(f"  {way}: {ratio:.3f}")
            most = 1.1 if way == "%%tape" else None
            note(f"{name} | {way}", ratio, "×", most=most, group="a step of fit")


if __name__ == "__main__":
    main()
