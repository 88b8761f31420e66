"""Every release that we say we work with: an environment for each, and the tests in it.

    make compat                       # all rows that this machine has a Python for
    make compat ARGS='oldest newest'  # some; the others stay in the table as they were found
    make compat ARGS='--tests tests/runtime'

The rows are the edges: the oldest and the newest TensorFlow, IPython 8 and 9, ipywidgets
7.7 and 8, each Python from 3.11 on; and the releases of TensorFlow between.  What is found is
written to benchmarks/COMPAT.md.  Environments stand in build/compat, each with the report of
its last run, and are used again; a row takes minutes the first time.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "benchmarks" / "COMPAT.md"
#: Without browsers and the tests of the repository itself: those hang on no release.
TESTS = ("tests/model", "tests/analysis", "tests/render", "tests/runtime", "tests/notebook")
#: What leans on TensorFlow, and what leans on IPython and ipywidgets.
TENSORFLOW, NOTEBOOK = ("tests/runtime",), ("tests/notebook",)
TOOLS = (
    "pytest>=8.2",
    "hypothesis>=6.100",
    "ipykernel>=6.29",
    "marimo>=0.9",
    "nbclient",
    "nbconvert",
    "nbformat",
    "pandas",
    "papermill>=2.5",
)
COLUMNS = (
    *("row", "Python", "TensorFlow", "Keras", "IPython", "ipywidgets", "numpy"),
    *("tests", "found", "on"),
)


@dataclass(frozen=True)
class Row:
    """One environment: a name, a Python, what is pinned in it, and the tests that lean on that."""

    name: str
    python: str
    pins: tuple[str, ...]
    tests: tuple[str, ...] = TESTS


@dataclass(frozen=True)
class Found:
    """What came of a row: the releases that it got, and what the tests said of them."""

    said: str
    good: bool = True
    versions: str = ""


ROWS = (
    Row(
        "oldest",
        "3.11",
        ("tensorflow-cpu==2.16.*", "keras==3.3.*", "ipython==8.18.*", "ipywidgets==7.7.*"),
    ),
    Row("newest", "3.13", ("tensorflow-cpu", "keras", "ipython>=9", "ipywidgets>=8")),
    Row(
        "ipython 8", "3.12", ("tensorflow-cpu", "keras", "ipython==8.*", "ipywidgets>=8"), NOTEBOOK
    ),
    Row(
        "widgets 7",
        "3.11",
        ("tensorflow-cpu", "keras", "ipython>=9", "ipywidgets==7.7.*"),
        NOTEBOOK,
    ),
    Row(
        "oldest on 3.12",
        "3.12",
        ("tensorflow-cpu==2.16.*", "ipython>=9", "ipywidgets>=8"),
        TENSORFLOW,
    ),
    Row("2.17", "3.12", ("tensorflow-cpu==2.17.*", "ipython==8.*", "ipywidgets>=8"), TENSORFLOW),
    Row("2.18", "3.11", ("tensorflow-cpu==2.18.*", "ipython>=9", "ipywidgets>=8"), TENSORFLOW),
    Row("2.19", "3.12", ("tensorflow-cpu==2.19.*", "ipython>=9", "ipywidgets>=8"), TENSORFLOW),
    Row("2.20", "3.13", ("tensorflow-cpu==2.20.*", "ipython>=9", "ipywidgets>=8"), TENSORFLOW),
    Row("python 3.14", "3.14", ("tensorflow-cpu", "keras", "ipython>=9", "ipywidgets>=8")),
)


def main() -> int:
    """Build, test and write the table; 1 where a row failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help="names of rows; all of them by default")
    parser.add_argument("--tests", nargs="+", help="instead of those that the row names")
    options = parser.parse_args()
    known = {row.name: row for row in ROWS}
    if unknown := set(options.rows) - known.keys():
        parser.error(f"no such row: {', '.join(unknown)}. There are: {', '.join(known)}")
    # Begun in the background it would ignore Ctrl-C, and so would the tests, which send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    good = True
    for row in (known[name] for name in options.rows or known):
        tests = options.tests or row.tests
        found = judge(row, tests)
        good &= found.good
        line = table_line(row, tests, found)
        print(line, flush=True)
        # read anew each time: another row may have been written meanwhile
        TABLE.write_text(page({**kept(), row.name: line}), encoding="utf-8")
    return int(not good)


def judge(row: Row, tests: Sequence[str]) -> Found:
    """Make the environment of a row and run the tests in it."""
    python = find_python(row.python)
    if python is None:
        return Found(f"not tried: no Python {row.python} here; {offered(row)}")
    print(f"== {row.name}: Python {row.python}, {' '.join(row.pins)}", flush=True)
    home = ROOT / "build" / "compat" / re.sub(r"\W+", "-", row.name)
    problem = build(home, python, row)
    if problem:
        return Found(f"could not be installed: {problem}", good=False)
    said, good = run_tests(home, tests)
    return Found(said, good, versions(home))


def find_python(version: str) -> str | None:
    """A Python of this version: on the path, or among pyenv's."""
    roots = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for each in (shutil.which(f"python{version}"), *map(str, roots)):
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        if each and output([each, "-c", code]).strip() == version:
            return each
    return None


def offered(row: Row) -> str:
    """The TensorFlow that pip has for the Python of a row, with its release."""
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--dry-run"]
    asked = ["--no-deps", "--target", "build", "--only-binary=:all:", "--python-version"]
    told = re.findall(r"Would install (\S+)", output([*pip, *asked, row.python, row.pins[0]]))
    return f"pip has {told[0]} for it" if told else f"pip finds no {row.pins[0]} for it"


def output(command: list[str]) -> str:
    """What a command prints, or nothing where it fails."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def build(home: Path, python: str, row: Row) -> str:
    """Make the environment where it is not there yet; the last line of what went wrong."""
    done = home / "done"
    wanted = "\n".join(row.pins)
    if done.exists() and done.read_text() == wanted:
        return ""
    shutil.rmtree(home, ignore_errors=True)
    install = [str(home / "bin/python"), "-m", "pip", "-q", "install"]
    for command in (
        [python, "-m", "venv", str(home)],
        [*install, *row.pins, *TOOLS, "-e", str(ROOT)],
    ):
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode:
            lines = [line for line in ran.stderr.splitlines() if "ERROR" in line]
            return (lines or ran.stderr.splitlines() or ["?"])[-1].removeprefix("ERROR: ")[:200]
    done.write_text(wanted)
    return ""


def versions(home: Path) -> str:
    """What was really installed."""
    code = (
        "import sys; from importlib.metadata import version as v\n"
        "names = ('tensorflow-cpu', 'keras', 'ipython', 'ipywidgets', 'numpy')\n"
        "print(' | '.join([sys.version.split()[0], *map(v, names)]))"
    )
    return output([str(home / "bin/python"), "-c", code]).strip()


def run_tests(home: Path, tests: Sequence[str]) -> tuple[str, bool]:
    """What one run of the tests came to, and whether all is well."""
    start, report = time.monotonic(), home / "report.txt"
    command = [str(home / "bin/python"), "-m", "pytest", "-rfE", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    with report.open("wb") as file:
        ended = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT, check=False
        ).returncode
    said, good = outcome(ended, report.read_text(encoding="utf-8", errors="replace"))
    return f"{said} in {(time.monotonic() - start) / 60:.0f} min", good


def outcome(ended: int, report: str) -> tuple[str, bool]:
    """The counts of a run of pytest with the names of what failed; and what ended it, where it
    did not come to its own end."""
    summary = re.findall(r"^=*\s*(\d+ \w+.*) in [\d.]+s\b", report, re.M)
    counts = re.findall(r"\d+ (?:passed|failed|skipped|errors?)\b", summary[-1]) if summary else []
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", report, re.M)
    said = ", ".join(counts) or "no counts"
    if failed:
        named = ", ".join(f"`{name}`" for name in failed[:5]).replace("|", r"\|")
        said += f" ({named}{', …' if failed[5:] else ''})"
    if ended in (0, 1) and summary:
        return said, ended == 0
    return f"**did not finish** ({_end(ended, report)}): {said}", False


def _end(ended: int, report: str) -> str:
    """What ended a run: pytest's own word for it, the signal, or the exit code."""
    words: list[str] = re.findall(r"^!+ (.+?) !+$", report, re.M)
    if words:
        return words[-1]
    return signal.Signals(-ended).name if ended < 0 else f"exit code {ended}"


def table_line(row: Row, tests: Sequence[str], found: Found) -> str:
    """The line of one row, with the date of today."""
    got = found.versions or f"{row.python} | | | | | "
    which = "all" if tuple(tests) == TESTS else " ".join(tests)
    which = which if found.versions else ""
    return f"| {row.name} | {got} | {which} | {found.said} | {today()} |"


def today() -> str:
    """The date that a row carries."""
    return time.strftime("%Y-%m-%d")


def kept() -> dict[str, str]:
    """The lines of the table as it stands, by the name of the row."""
    if not TABLE.exists():
        return {}
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    return {line.split(" | ")[0].removeprefix("| "): line for line in lines if line[:2] == "| "}


def page(lines: Mapping[str, str]) -> str:
    """The whole file."""
    head = f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}"
    rows = "\n".join(lines[row.name] for row in ROWS if row.name in lines)
    return f"""# Releases that were tried

Written by `make compat`, which builds an environment for each row and runs tests in it, on
{platform.system()} {platform.machine()}. "all" is `{" ".join(TESTS)}`;
a row between the edges runs those that lean on what it pins.

{head}
{rows}
"""


if __name__ == "__main__":
    sys.exit(main())
