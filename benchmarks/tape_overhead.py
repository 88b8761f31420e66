"""``%%tape -q`` against a plain ``tf.GradientTape``: how much slower is a recorded cell?

Both run in one process, in turns, so that a busy machine slows both.  Each figure is the
median over the rounds of the ratio "recorded / plain" within a round.  Beside it, on the same
cells, TensorFlow's own ways to look inside: its debugger and ``enable_check_numerics``; on a
forward pass, TorchLens, where it is installed.

    python -m benchmarks.tape_overhead [--rounds 15] [--skip-mobilenet]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec

from benchmarks.rows import note

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
FORWARD = "\nscores = model(images, training=False)\n"
TORCHLENS = "import torchlens\n_ = torchlens.trace(model, images, backend='tf')"
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
    run("import tensorflow as tf\ntf.get_logger().setLevel('CRITICAL')\nx = tf.Variable(0.5)")
    return run


def seconds(run: Callable[[str], None], cell: str) -> float:
    """Wall time of one run of the cell."""
    start = time.perf_counter()
    run(cell)
    return time.perf_counter() - start


#: What TensorFlow offers, as the cells that put it on and off.
PEERS = {
    "TensorFlow's debugger, full health": (
        "import tempfile\n"
        "_ = tf.debugging.experimental.enable_dump_debug_info("
        "tempfile.mkdtemp(dir=FOLDER), 'FULL_HEALTH')",
        "tf.debugging.experimental.disable_dump_debug_info()",
    ),
    "enable_check_numerics": (
        "tf.debugging.enable_check_numerics()",
        "tf.debugging.disable_check_numerics()",
    ),
}


def ratio(run: Callable[[str], None], plain: str, other: Callable[[], float], rounds: int) -> float:
    """Median of other over plain, once for each round, the order of the two alternating."""
    for _ in range(2):
        run(plain)
        other()
    found = []
    for turn in range(rounds):
        if turn % 2:
            slow, fast = other(), seconds(run, plain)
        else:
            fast, slow = seconds(run, plain), other()
        found.append(slow / fast)
    return statistics.median(found)


def under(run: Callable[[str], None], cell: str, on: str, off: str) -> Callable[[], float]:
    """Seconds of the cell with something put on before it and off after it."""

    def timed() -> float:
        run(on)
        try:
            return seconds(run, cell)
        finally:
            run(off)

    return timed


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--skip-mobilenet", action="store_true")
    options = parser.parse_args()
    run, rounds = shell(), options.rounds
    print("times a plain tf.GradientTape, the median of the rounds")
    compare(run, "1,000 tiny ops, tape open", TINY_PLAIN, rounds, most=1.5)
    compare(run, "1,000 tiny ops and their gradient", TINY_GRADIENT, rounds, most=1.5)
    later = ratio(run, TINY_GRADIENT, lambda: seconds(run, TINY_RECORDED), rounds)
    tell("the same, %%tape -q without a tape of the cell's own", later)
    for side in () if options.skip_mobilenet else (224, 96):
        run(SET_UP_STEP.replace("SIDE", str(side)))
        name = f"MobileNetV2 training step, 8 images of {side}x{side}"
        compare(run, name, STEP, rounds, most=1.10)
        forward(run, f"MobileNetV2 forward pass, 8 images of {side}x{side}", rounds)


def compare(run: Callable[[str], None], name: str, plain: str, rounds: int, most: float) -> None:
    """``%%tape -q`` and its peers on one cell."""
    print(f"{name}:")
    ours = ratio(run, plain, lambda: seconds(run, "%%tape -q" + plain), rounds)
    tell("%%tape -q", ours)
    note("%%tape -q", ours, "×", most=most, group=name)
    with tempfile.TemporaryDirectory() as folder:
        for peer, (on, off) in PEERS.items():
            timed = under(run, plain, on.replace("FOLDER", repr(folder)), off)
            found = ratio(run, plain, timed, max(3, rounds // 3))
            tell(peer, found)
            note(peer, found, "×", group=name)


def forward(run: Callable[[str], None], name: str, rounds: int) -> None:
    """``%%tape -q`` and TorchLens on a forward pass, the one thing that both record."""
    print(f"{name}:")
    ours = ratio(run, FORWARD, lambda: seconds(run, "%%tape -q" + FORWARD), rounds)
    tell("%%tape -q", ours)
    note("%%tape -q", ours, "×", group=name)
    if find_spec("torchlens") is None:
        print("  TorchLens: not installed here")
        return
    theirs = ratio(run, FORWARD, lambda: seconds(run, TORCHLENS), max(3, rounds // 3))
    tell(f"TorchLens {version('torchlens')}", theirs)
    note("TorchLens", theirs, "×", group=name)


def tell(name: str, found: float) -> None:
    """One row of the table."""
    print(f"  {name:<52}{found:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
