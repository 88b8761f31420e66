"""``%%tape`` with its report against the plain cell: seconds and peak memory.

The cells run in one process, in turns; the notebook twice, each time in a process of its own,
whose peak the system tells.

    python -m benchmarks.report_cost [--rounds 5]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time

from benchmarks.rows import note

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SET_UP = """
import keras, numpy as np, tensorflow as tf
keras.utils.set_random_seed(0)
model = keras.Sequential(
    [keras.Input((20,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(1)])
optimizer = keras.optimizers.SGD(0.01)
x, y = tf.random.normal([16, 20]), tf.random.normal([16, 1])
"""
STEPS = """
for _ in range(500):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
    grads = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(grads, model.trainable_variables))
"""
OPS = "z = x\nfor _ in range(50_000):\n    z = z + 1.0\n"
#: A lesson's worth of cells: data, a model, a loop by hand, fit, predict, and large tensors.
NOTEBOOK = (
    "import keras, numpy as np, tensorflow as tf\nkeras.utils.set_random_seed(0)",
    "X = np.random.rand(4000, 28, 28, 1).astype('float32')\nY = np.random.randint(0, 10, 4000)",
    "model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Conv2D(32, 3, "
    "activation='relu'), keras.layers.MaxPooling2D(), keras.layers.Conv2D(64, 3, "
    "activation='relu'), keras.layers.Flatten(), keras.layers.Dense(10)])",
    "loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)\n"
    "optimizer = keras.optimizers.Adam()",
    "for images, labels in tf.data.Dataset.from_tensor_slices((X, Y)).batch(64):\n"
    "    with tf.GradientTape() as tape:\n"
    "        loss = loss_of(labels, model(images, training=True))\n"
    "    grads = tape.gradient(loss, model.trainable_variables)\n"
    "    optimizer.apply_gradients(zip(grads, model.trainable_variables))",
    "model.compile('adam', loss_of, metrics=['accuracy'])\n_ = model.fit(X, Y, verbose=0)",
    "scores = model.predict(X, verbose=0)",
    "z = tf.ones([1000, 1000])\nfor _ in range(200):\n    z = tf.tanh(z)",
    "w = tf.Variable(tf.random.normal([500, 500]))\n"
    "with tf.GradientTape() as tape:\n"
    "    h = w\n    for _ in range(100):\n        h = tf.tanh(0.01 * h @ w)\n"
    "    loss = tf.reduce_sum(h)\n"
    "grad = tape.gradient(loss, w)",
    "features = tf.nn.relu(model.layers[0](X[:1000]))",
)


def run_in_shell(cell: str) -> float:
    """Seconds of a cell in a real shell, what it shows put aside."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    start = time.perf_counter()
    with capture_output():
        InteractiveShell.instance().run_cell(cell).raise_error()
    return time.perf_counter() - start


def cells(rounds: int) -> None:
    """The two large cells, plain and with their reports, in turns."""
    run_in_shell("%load_ext tfmagic")
    run_in_shell(SET_UP)
    for name, cell, most in (("500 eager Keras steps", STEPS, 1.5), ("50,000 ops", OPS, 2.0)):
        plain, quiet, shown = list[float](), list[float](), list[float]()
        for turn in range(rounds + 1):  # the first warms up
            found = [run_in_shell(before + cell) for before in ("", "%%tape -q\n", "%%tape\n")]
            for times, seconds in zip((plain, quiet, shown), found, strict=True):
                times += [seconds] if turn else []
        told = [other / one for one, other in zip(plain, shown, strict=True)]
        kept = [other / one for one, other in zip(plain, quiet, strict=True)]
        allowed = most + (0.3 / statistics.median(plain) if most == 1.5 else 0.0)
        ratio = statistics.median(told)
        print(
            f"  {name:<24} plain {statistics.median(plain):.2f} s, %%tape -q "
            f"× {statistics.median(kept):.2f}, with its report × {ratio:.2f} "
            f"(to reach: {allowed:.2f})"
        )
        note(f"%%tape with its report, {name}", ratio, "×", most=round(allowed, 2))


def notebook(magic: str) -> None:
    """Run the notebook in this process, and print its peak in MB."""
    if magic:
        run_in_shell("%load_ext tfmagic")
    for cell in NOTEBOOK:
        run_in_shell(magic + cell)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def peak(magic: str) -> float:
    """The peak in MB of the notebook in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.report_cost", "--notebook", magic]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--notebook", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.notebook is not None:
        notebook(options.notebook)
        return
    cells(options.rounds)
    plain, recorded = peak(""), peak("%%tape\n")
    print(f"  peak of a notebook       plain {plain:,.0f} MB, recorded × {recorded / plain:.2f}")
    note("peak memory of a recorded notebook", recorded / plain, "×", most=1.3)


if __name__ == "__main__":
    main()
