"""Graphs of a hundred to a hundred thousand ops: how long until one sees something?

For each recording, in one process: seconds from the recording to the whole first picture
(HTML, with its table), milliseconds until the inside of a fold is laid out (over a sample of
its folds), and the picture's size.  Beside it, on the same graph, the flat graph given to
plain ``dot``, which is stopped after ``--dot-limit`` seconds; and, where ``--torchlens`` names
a Python that has TorchLens and TensorFlow, its own recording and drawing of the same Keras
model's forward pass.

    python -m benchmarks.graph_size [--made-only] [--dot-limit 20] [--torchlens PYTHON]
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import time
from collections.abc import Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.rows import note
from tfmagic.errors import RenderError
from tfmagic.model import Cell, Line, Op, Recording, TensorInfo
from tfmagic.render.layout.command import Command
from tfmagic.render.report import GraphView
from tfmagic.render.scene import Scene

SAMPLE = 60  # folds that are opened
PROMISED = 10_000  # ops up to which the first picture is there within a second
MADE, GROUP = "made, with hubs", "Seconds to the first picture, by ops"
HUBS = 5  # tensors that every op takes one of
TYPES = ("Mul", "AddV2", "Tanh", "MatMul")

TORCHLENS = """
import time, keras, tensorflow as tf, torchlens
model = keras.applications.{name}(input_shape=({side}, {side}, 3), weights=None, classes=10)
x = tf.random.normal((1, {side}, {side}, 3))
model(x)
start = time.perf_counter(); model(x); plain = time.perf_counter() - start
start = time.perf_counter(); trace = torchlens.trace(model, x); traced = time.perf_counter() - start
start = time.perf_counter()
trace.draw(vis_save_only=True, vis_outpath="{folder}/torchlens", vis_fileformat="svg")
print("RESULT", plain, traced, time.perf_counter() - start)
"""


def made(count: int) -> Recording:
    """A network with skips, in stages and blocks, where every op takes one of a few hubs."""
    draw = random.Random(0)
    names = ["x", *(f"hub_{i}" for i in range(HUBS))]
    tensors = [
        TensorInfo(i, (8,), "float32", "", role="input", name=n) for i, n in enumerate(names)
    ]
    ops: list[Op] = []
    chain = [0]
    for i in range(count):
        inputs = [chain[-1], draw.randint(1, HUBS)]
        if len(chain) > 20 and draw.random() < 0.2:
            inputs.append(chain[-draw.randint(2, 20)])
        scope = f"net/stage_{i * 10 // count}/block_{i // 50}"
        output = len(tensors)
        ops.append(Op(i, draw.choice(TYPES), "forward", tuple(inputs), (output,), (), scope, 0))
        tensors.append(TensorInfo(output, (8,), "float32", "", op=i))
        chain.append(output)
    lines = (Line(0, 0, 1, "y = net(x)"),)
    return Recording(tuple(ops), tuple(tensors), lines=lines, cells=(Cell(0, "cell"),))


def application(name: str, side: int) -> Recording:
    """A training step of one of Keras's networks."""
    import keras
    import tensorflow as tf

    import tfmagic

    model = getattr(keras.applications, name)(input_shape=(side, side, 3), weights=None, classes=10)
    optimizer, loss_of = keras.optimizers.SGD(0.01), keras.losses.SparseCategoricalCrossentropy()
    images, labels = tf.random.normal((2, side, side, 3)), tf.range(2)
    with tfmagic.record() as rec:
        with tf.GradientTape() as tape:
            loss = loss_of(labels, model(images, training=True))
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables, strict=True))
    return rec.release().recording


def transformer(turns: int) -> Recording:
    """Training steps of a transformer of twelve blocks, unrolled in one recording."""
    import keras
    import tensorflow as tf

    import tfmagic

    layers = keras.layers
    tokens = keras.Input((8,), dtype="int32")
    x = layers.Embedding(50, 16)(tokens)
    for i in range(12):
        a = layers.MultiHeadAttention(4, 4, name=f"block_{i}_attention")(x, x)
        x = layers.LayerNormalization(name=f"block_{i}_norm_1")(x + a)
        h = layers.Dense(32, activation="gelu", name=f"block_{i}_dense_1")(x)
        h = layers.Dense(16, name=f"block_{i}_dense_2")(h)
        x = layers.LayerNormalization(name=f"block_{i}_norm_2")(x + h)
    model = keras.Model(tokens, layers.Dense(50, name="head")(x))
    optimizer = keras.optimizers.Adam(0.01)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    given = tf.random.uniform((2, 8), 0, 50, tf.int32)
    with tfmagic.record() as rec:
        for _ in range(turns):
            with tf.GradientTape() as tape:
                loss = loss_of(given, model(given, training=True))
            grads = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(grads, model.trainable_variables, strict=True))
    return rec.release().recording


def recordings(made_only: bool) -> Iterator[tuple[str, Recording]]:
    """Name and recording of each row."""
    for count in (100, 1_000, 10_000, 100_000):
        yield MADE, made(count)
    if not made_only:
        yield "MobileNetV2, a training step", application("MobileNetV2", 96)
        yield "ResNet152, a training step", application("ResNet152", 64)
        yield "transformer, a training step", transformer(1)
        yield "transformer, ten steps unrolled", transformer(10)


def row(name: str, recording: Recording, dot_limit: float) -> str:
    """Our figures and plain dot's for one recording."""
    start = time.perf_counter()
    view = GraphView(recording)
    html = view.html()
    first = time.perf_counter() - start
    scene = view.scene()
    scene.first()
    folds = list(scene.sketch.folds)
    random.Random(0).shuffle(folds)
    opened = sorted(opening(scene, fold) for fold in folds[:SAMPLE])
    flat = GraphView(recording, flat=True).dot()
    middle, most = statistics.median(opened), opened[-1]
    count = len(recording.ops)
    seconds, told = plain_dot(flat, dot_limit)
    remember(name, count, first, most, seconds)
    ours = f"{first:>8.2f}{middle:>9.0f}{most:>8.0f}{len(html) >> 10:>9}"
    return f"{name:<34}{count:>8}{ours}   {told}"


def remember(name: str, count: int, first: float, most: float, dot: float | None) -> None:
    """These figures for the page; plain dot's only where it came to an end."""
    within = {"most": 1.0} if count <= PROMISED else {}
    if name == MADE:
        note("tfmagic", first, "s", group=GROUP, at=count, **within)
        if dot is not None:
            note("plain dot, the flat graph", dot, "s", group=GROUP, at=count)
    else:
        note(f"{name} ({count:,} ops), first picture", first, "s", **within)
    note(f"{name} ({count:,} ops), opening a fold, the worst", most, "ms", most=150)


def opening(scene: Scene, fold: str) -> float:
    """Milliseconds until the inside of a fold is laid out."""
    start = time.perf_counter()
    scene.level(fold)
    return 1000 * (time.perf_counter() - start)


def plain_dot(text: str, limit: float) -> tuple[float | None, str]:
    """Seconds of the flat graph in plain dot, where it came to an end; what came, in words."""
    start = time.perf_counter()
    try:
        size = len(Command().drawn(text, limit, "svg")) >> 10
    except RenderError as error:
        stopped = error.key == "layout.over_budget"
        return None, f"stopped at {limit:g} s" if stopped else error.key
    seconds = time.perf_counter() - start
    return seconds, f"{seconds:.2f} s, {size} KiB"


def torchlens(python: str, name: str, side: int, folder: str) -> str:
    """TorchLens's figures for the forward pass of one of Keras's networks."""
    code = TORCHLENS.format(name=name, side=side, folder=folder)
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    found = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("RESULT")]
    if not found:
        return (done.stderr.strip().splitlines() or ["no answer"])[-1][:100]
    plain, traced, drawn = map(float, found[0])
    return f"recorded in {traced:.2f} s (the plain pass: {plain:.2f}), drawn in {drawn:.2f} s"


def main() -> None:
    """Print the table."""
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--made-only", action="store_true")
    parser.add_argument("--dot-limit", type=float, default=20.0)
    parser.add_argument("--torchlens", metavar="PYTHON")
    options = parser.parse_args()
    GraphView(made(10)).html()  # the embedded Graphviz is compiled once
    heads = f"{'ops':>8}{'first s':>8}{'open ms':>9}{'most':>8}{'KiB':>9}   plain dot, flat"
    print(f"{'recording':<34}{heads}")
    for name, recording in recordings(options.made_only):
        print(row(name, recording, options.dot_limit), flush=True)
    if options.torchlens:
        with tempfile.TemporaryDirectory() as folder:
            for name, side in (("MobileNetV2", 96), ("ResNet152", 64)):
                told = torchlens(options.torchlens, name, side, folder)
                print(f"TorchLens, {name}, the forward pass: {told}", flush=True)


if __name__ == "__main__":
    main()
