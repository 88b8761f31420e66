"""``%load_ext tfmagic``: how long it takes, and that it imports no TensorFlow.

Each round is a fresh Python with IPython already running, as in a kernel.

    python -m benchmarks.load_time [--rounds 9]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

from benchmarks.rows import note

ROUND = """
import sys, time
from IPython.core.interactiveshell import InteractiveShell
import ipywidgets, traitlets
shell = InteractiveShell.instance()
start = time.perf_counter()
shell.run_line_magic("load_ext", "tfmagic")
print(1e3 * (time.perf_counter() - start))
heavy = [name for name in ("tensorflow", "keras", "matplotlib", "wasmtime") if name in sys.modules]
print(",".join(heavy) or "none")
"""


def main() -> None:
    """Print the median, the spread, and what heavy was imported."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    times, heavy = [], set()
    for _ in range(parser.parse_args().rounds):
        done = subprocess.run(
            [sys.executable, "-c", ROUND], capture_output=True, text=True, check=True
        )
        first, second = done.stdout.split()[-2:]
        times.append(float(first))
        heavy.add(second)
    print(f"%load_ext tfmagic: median {statistics.median(times):.1f} ms ", end="")
    print(f"(from {min(times):.1f} to {max(times):.1f}, {len(times)} fresh processes)")
    print(f"heavy modules imported by it: {', '.join(sorted(heavy))}")
    note("%load_ext tfmagic, median", statistics.median(times), "ms", most=50)
    note("heavy modules that it imports", len(heavy - {"none"}), most=0)


if __name__ == "__main__":
    main()
