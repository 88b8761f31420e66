"""``%%tape -q`` against a plain ``tf.GradientTape``: how much slower is a recorded cell?

Both run in one process, in turns, so that a busy machine slows both.  Each figure is the
median over the rounds of the ratio "recorded / plain" within a round.

    python -m benchmarks.tape_overhead [--rounds 15] [--skip-mobilenet]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

TINY_PLAIN = """
with tf.GradientTape() as tape:
    z = x
    for _ in range(1000):
        z = tf.tanh(z)
"""
TINY_RECORDED = """%%tape -q
z = x
for _ in range(1000):
    z = tf.tanh(z)
"""
TINY_GRADIENT = """
with tf.GradientTape() as tape:
    z = x
    for _ in range(1000):
        z = tf.tanh(z)
grad = tape.gradient(z, x)
"""
STEP = """
with tf.GradientTape() as tape:
    loss = loss_of(labels, model(images, training=True))
grads = tape.gradient(loss, model.trainable_variables)
_ = optimizer.apply_gradients(zip(grads, model.trainable_variables))
"""
SET_UP_STEP = """
import keras
keras.utils.set_random_seed(0)
model = keras.applications.MobileNetV2(input_shape=(SIDE, SIDE, 3), weights=None, classes=10)
optimizer = keras.optimizers.SGD(0.01)
loss_of = keras.losses.SparseCategoricalCrossentropy()
images = tf.random.normal((8, SIDE, SIDE, 3))
labels = tf.range(8)
"""


def shell() -> Callable[[str], None]:
    """A real IPython shell with tfmagic loaded, as a function that runs a cell."""
    from IPython.core.interactiveshell import InteractiveShell

    here = InteractiveShell.instance()

    def run(cell: str) -> None:
        result = here.run_cell(cell)
        result.raise_error()

    run("%load_ext tfmagic")
    run("import tensorflow as tf\nx = tf.Variable(0.5)")
    return run


def seconds(run: Callable[[str], None], cell: str) -> float:
    """Wall time of one run of the cell."""
    start = time.perf_counter()
    run(cell)
    return time.perf_counter() - start


def ratio(run: Callable[[str], None], plain: str, recorded: str, rounds: int) -> list[float]:
    """Recorded over plain, once for each round, the order of the two alternating."""
    for cell in (plain, recorded, plain, recorded):
        run(cell)
    found = []
    for turn in range(rounds):
        if turn % 2:
            slow, fast = seconds(run, recorded), seconds(run, plain)
        else:
            fast, slow = seconds(run, plain), seconds(run, recorded)
        found.append(slow / fast)
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--skip-mobilenet", action="store_true")
    options = parser.parse_args()
    run = shell()
    rows = [
        ("1,000 tiny ops, tape open (no gradient asked)", TINY_PLAIN, "%%tape -q" + TINY_PLAIN),
        ("1,000 tiny ops and their gradient", TINY_GRADIENT, "%%tape -q" + TINY_GRADIENT),
        ("the same, the gradient worked out afterwards", TINY_GRADIENT, TINY_RECORDED),
    ]
    print(f"{'%%tape -q against plain tf.GradientTape':<52}{'median':>8}{'min':>8}{'max':>8}")
    for name, plain, recorded in rows:
        tell(name, ratio(run, plain, recorded, options.rounds))
    for side in () if options.skip_mobilenet else (224, 96):
        run(SET_UP_STEP.replace("SIDE", str(side)))
        name = f"MobileNetV2 training step, 8 images of {side}x{side}"
        tell(name, ratio(run, STEP, "%%tape -q" + STEP, options.rounds))


def tell(name: str, found: list[float]) -> None:
    """One row of the table."""
    print(f"{name:<52}{statistics.median(found):>8.2f}{min(found):>8.2f}{max(found):>8.2f}")


if __name__ == "__main__":
    main()
