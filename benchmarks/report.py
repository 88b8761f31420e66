"""Every benchmark in one go, as ``benchmarks/README.md``: a table, plots, and what each printed.

Each runs in a process of its own, one after the other, with the load of the machine noted
before it.  One that fails or takes longer than its share is said to; the rest goes on.

    python -m benchmarks.report [--quick] [--only NAME ...]

``--quick`` runs fewer rounds: for a look, not for a claim.  ``--only`` runs these anew and
leaves the others on the page as they were found, with their date: ``benchmarks/found.json``
holds what the page is written from.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import plots
from benchmarks.rows import FILE, Row, noted
from tfmagic.render.files import save
from tfmagic.runtime.timer.machine import processor

HERE = Path(__file__).parent
FOUND = HERE / "found.json"
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
    Benchmark(
        "report_cost",
        "With its report 500 eager Keras steps at most 1.5 of the plain ones plus 0.3 s, 50,000 "
        "ops at most 2; the peak of a notebook at most 1.3.",
        ("--rounds", "3"),
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
        ("same", "power", "queued", "--pairs", "40", "--tries", "20"),
    ),
)


@dataclass(frozen=True)
class Section:
    """One benchmark as it ran: the command, when, on what, what it printed, its figures."""

    name: str
    command: str
    when: str
    machine: list[str]
    printed: str
    rows: list[Row]


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


def run(benchmark: Benchmark, quick: bool) -> Section:
    """What one benchmark printed and noted, with the load before it."""
    words = benchmark.quick if quick else ()
    command = ["-m", f"benchmarks.{benchmark.name}", *words]
    load, start = os.getloadavg()[0], time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows"
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
        return Section(
            benchmark.name,
            f"python {' '.join(command)}",
            f"{time.strftime('%Y-%m-%d %H:%M')}, {minutes:.1f} minutes, load {load:.1f} before it",
            list(machine()),
            printed,
            noted(rows),
        )


def told(section: Section, aim: str) -> str:
    """The part of the page for one benchmark."""
    return (
        f"## {section.name}\n\nTo reach: {aim}\n\n`{section.command}`, {section.when}\n\n"
        f"```text\n{section.printed}\n```\n"
    )


def kept() -> dict[str, Section]:
    """What the page was last written from, by the name of the benchmark."""
    if not FOUND.exists():
        return {}
    sections = [
        Section(**{**each, "rows": [Row(**row) for row in each["rows"]]})
        for each in json.loads(FOUND.read_text(encoding="utf-8"))
    ]
    return {section.name: section for section in sections}


def page(sections: Sequence[Section]) -> str:
    """The whole page.  A benchmark that ran elsewhere than the first says so itself."""
    rows = [row for section in sections for row in section.rows]
    first = sections[0].machine
    parts = [
        "# Benchmarks\n\nWritten by `make bench`. Each figure is a ratio or a time of the one run "
        "whose command and date stand above it, on this machine:\n\n" + "\n".join(first) + "\n",
        table(rows),
        drawn(rows),
    ]
    aims = {benchmark.name: benchmark.reach for benchmark in BENCHMARKS}
    for section in sections:
        text = told(section, aims[section.name])
        if section.machine != first:
            text += "\nOn another machine:\n\n" + "\n".join(section.machine) + "\n"
        parts.append(text)
    return "\n".join(parts)


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
    found = kept()
    for benchmark in BENCHMARKS:
        if benchmark.name in options.only:
            print(f"== {benchmark.name}", flush=True)
            found[benchmark.name] = run(benchmark, options.quick)
            print(told(found[benchmark.name], benchmark.reach), flush=True)
            sections = [found[name] for name in names if name in found]
            data = json.dumps([asdict(section) for section in sections], indent=1)
            save(FOUND, {".json": lambda data=data: data + "\n"})
            save(HERE / "README.md", {".md": lambda sections=sections: page(sections)})


if __name__ == "__main__":
    main()
