"""1,000 recorded cells in one process: does memory grow, is anything left behind?

The cells are quiet: of a shown report IPython itself keeps the output in its history.

python -m benchmarks.many_cells [--cells 1000]
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import os
from pathlib import Path

from benchmarks.rows import note

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

CELL = """%%tape -q
with tf.GradientTape() as tape:
    h = tf.nn.relu(x @ w)
    loss = tf.reduce_mean(h ** 2)
g = tape.gradient(loss, w)
_ = w.assign_sub(0.001 * g)
"""


def resident() -> float:
    """Resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Print memory along the way, and what is left at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1000)
    cells = parser.parse_args().cells
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "tfmagic")
    shell.run_cell("import tensorflow as tf\nx = tf.ones((64, 64))\nw = tf.Variable(x * 0.01)")
    found = {}
    for turn in range(cells + 1):
        if turn in (50, cells // 2, cells):
            gc.collect()
            found[turn] = resident()
            print(f"after {turn:>5} cells: {found[turn]:8.1f} MB resident")
        with contextlib.redirect_stdout(io.StringIO()):
            shell.run_cell(CELL).raise_error()
    from tensorflow.python.eager import context

    left = len(context.context().op_callbacks)
    print(f"op callbacks left: {left}")
    note(f"growth from cell 50 to {cells:,}", found[cells] - found[50], "MB", most=50)
    note("op callbacks left after them", left, most=0)


if __name__ == "__main__":
    main()
