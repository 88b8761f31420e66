"""Every benchmark in one go, and what it printed, as ``benchmarks/README.md``.

Each runs in a process of its own, one after the other, with the load of the machine noted
before it.  One that fails or takes longer than its share is said to; the rest goes on.

    python -m benchmarks.report [--quick] [--only NAME ...]

``--quick`` runs fewer rounds: for a look, not for a claim.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tfmagic.render.files import save
from tfmagic.runtime.timer.machine import processor

HERE = Path(__file__).parent
#: Seconds that one benchmark may take.
PATIENCE = 1800
PARTS = ("tensorflow", "tensorflow-cpu", "keras", "numpy", "ipython", "ipywidgets", "jupyterlab")


@dataclass(frozen=True)
class Benchmark:
    """A module of this folder, what is to be reached in it, and the words of a quick run."""

    name: str
    reach: str
    quick: tuple[str, ...] = ()


BENCHMARKS = (
    Benchmark("load_time", "`%load_ext tfmagic` within 50 ms, TensorFlow untouched."),
    Benchmark(
        "tape_overhead",
        "A recorded training step of MobileNetV2 at most 1.10 of the plain one, "
        "1,000 tiny ops at most 1.5.",
        ("--rounds", "5"),
    ),
    Benchmark("many_cells", "1,000 recorded cells grow by at most 50 MB.", ("--cells", "300")),
    Benchmark(
        "graph_size",
        "10,000 ops drawn within 1 s, a fold opened within 150 ms.",
        ("--dot-limit", "5"),
    ),
    Benchmark(
        "slider",
        "A slider's move painted within 50 ms (median), a replay of the two layers within 3 ms.",
        ("--moves", "40"),
    ),
    Benchmark(
        "stopwatch",
        "At most 5 % of equal pairs called different, at least 90 % of +5 % found on a quiet "
        "machine, an interval that holds in 90 to 97 %.",
        ("same", "power", "queued", "dropped", "--pairs", "40", "--tries", "20"),
    ),
)


def machine() -> Iterator[str]:
    """The machine and the releases, a line each."""
    yield f"- {os.cpu_count()} cores, {processor()}, {platform.system()} {platform.machine()}"
    found = []
    for part in ("tfmagic", *PARTS):
        try:
            found.append(f"{part} {version(part)}")
        except PackageNotFoundError:
            continue
    yield f"- Python {platform.python_version()}, " + ", ".join(found)


def run(benchmark: Benchmark, quick: bool) -> str:
    """One section: the command, the load before it, and what it printed."""
    words = benchmark.quick if quick else ()
    command = ["-m", f"benchmarks.{benchmark.name}", *words]
    load, start = os.getloadavg()[0], time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=HERE.parent,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        printed = done.stdout.strip()
        if done.returncode:
            printed += f"\nended with exit code {done.returncode}: {_last_line(done.stderr)}"
    except subprocess.TimeoutExpired:
        printed = f"stopped after {PATIENCE} s"
    minutes = (time.monotonic() - start) / 60
    return (
        f"## {benchmark.name}\n\nTo reach: {benchmark.reach}\n\n"
        f"`python {' '.join(command)}`, {minutes:.1f} minutes, load {load:.1f} before it\n\n"
        f"```text\n{printed}\n```\n"
    )


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:200] if lines else "nothing was said"


def main() -> None:
    """Run them all and write the page."""
    names = [benchmark.name for benchmark in BENCHMARKS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    options = parser.parse_args()
    sections = []
    for benchmark in BENCHMARKS:
        if benchmark.name in options.only:
            print(f"== {benchmark.name}", flush=True)
            sections.append(run(benchmark, options.quick))
            print(sections[-1], flush=True)
    how = "make bench ARGS=--quick" if options.quick else "make bench"
    head = (
        f"# Benchmarks\n\nWritten by `{how}` on {time.strftime('%Y-%m-%d')}; "
        "each figure is a ratio or a time of this one run, on this machine:\n\n"
        + "\n".join(machine())
        + "\n"
    )
    save(HERE / "README.md", {".md": lambda: "\n".join([head, *sections])})


if __name__ == "__main__":
    main()
