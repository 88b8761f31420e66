"""Every benchmark in one go, as ``benchmarks/README.md``: a table, plots, and what each printed.

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
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import plots
from benchmarks.rows import FILE, Row, noted
from tfmagic.render.files import save
from tfmagic.runtime.timer.machine import processor

HERE = Path(__file__).parent
PLOTS = HERE / "plots"
#: Seconds that one benchmark may take.
PATIENCE = 2400
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


def run(benchmark: Benchmark, quick: bool, rows: Path) -> str:
    """One section: the command, the load before it, and what it printed; its figures are
    appended to ``rows``."""
    words = benchmark.quick if quick else ()
    command = ["-m", f"benchmarks.{benchmark.name}", *words]
    load, start = os.getloadavg()[0], time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=HERE.parent,
            env={**os.environ, FILE: str(rows)},
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


def table(rows: Sequence[Row]) -> str:
    """Every figure that has an aim, and whether it was reached."""
    lines = ["| what | found | to reach | |", "| --- | ---: | ---: | --- |"]
    for row in rows:
        if row.share is not None:
            verdict = "reached" if row.share <= 1 else "**missed**"
            lines.append(
                f"| {row.label.replace('|', chr(92) + '|')} | {row.told} | {row.aim} | {verdict} |"
            )
    return "\n".join(lines) + "\n"


def drawn(rows: Sequence[Row]) -> str:
    """The plots, written beside the page, and the lines that show them."""
    PLOTS.mkdir(exist_ok=True)
    for old in PLOTS.glob("*.svg"):
        old.unlink()
    shown = [("Figures against what is to be reached", "reach.svg")]
    if not plots.reach(rows, PLOTS / "reach.svg"):
        shown = []
    shown += plots.groups(rows, PLOTS)
    return "".join(f"![{title}](plots/{name})\n\n" for title, name in shown)


def main() -> None:
    """Run them all and write the page."""
    names = [benchmark.name for benchmark in BENCHMARKS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    options = parser.parse_args()
    sections = []
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows"
        for benchmark in BENCHMARKS:
            if benchmark.name in options.only:
                print(f"== {benchmark.name}", flush=True)
                sections.append(run(benchmark, options.quick, rows))
                print(sections[-1], flush=True)
        found = noted(rows)
    how = "make bench ARGS=--quick" if options.quick else "make bench"
    head = (
        f"# Benchmarks\n\nWritten by `{how}` on {time.strftime('%Y-%m-%d')}; "
        "each figure is a ratio or a time of this one run, on this machine:\n\n"
        + "\n".join(machine())
        + "\n"
    )
    parts = [head, table(found), drawn(found), *sections]
    save(HERE / "README.md", {".md": lambda: "\n".join(parts)})


if __name__ == "__main__":
    main()
