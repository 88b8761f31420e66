"""Every release that we say we work with: an environment for each, and the tests in it.

    make compat                       # all rows that this machine has a Python for
    make compat ARGS='oldest newest'  # some
    make compat ARGS='--tests tests/runtime'

The rows are the edges: the oldest and the newest TensorFlow, IPython 8 and 9, ipywidgets
7.7 and 8, each Python from 3.11 on.  What is found is written to benchmarks/COMPAT.md.
Environments stand in build/compat and are used again; a row takes minutes the first time.
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
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "benchmarks" / "COMPAT.md"
#: Without browsers and the tests of the repository itself: those hang on no release.
TESTS = ("tests/model", "tests/analysis", "tests/render", "tests/runtime", "tests/notebook")
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


@dataclass(frozen=True)
class Row:
    """One environment: a name, a Python, and what is pinned in it."""

    name: str
    python: str
    pins: tuple[str, ...]


ROWS = (
    Row(
        "oldest",
        "3.11",
        ("tensorflow-cpu==2.16.*", "keras==3.3.*", "ipython==8.18.*", "ipywidgets==7.7.*"),
    ),
    Row("newest", "3.13", ("tensorflow-cpu", "keras", "ipython>=9", "ipywidgets>=8")),
    Row("ipython 8", "3.12", ("tensorflow-cpu", "keras", "ipython==8.*", "ipywidgets>=8")),
    Row("widgets 7", "3.11", ("tensorflow-cpu", "keras", "ipython>=9", "ipywidgets==7.7.*")),
    Row("oldest on 3.12", "3.12", ("tensorflow-cpu==2.16.*", "ipython>=9", "ipywidgets>=8")),
    Row("2.17", "3.12", ("tensorflow-cpu==2.17.*", "ipython==8.*", "ipywidgets>=8")),
    Row("2.18", "3.11", ("tensorflow-cpu==2.18.*", "ipython>=9", "ipywidgets>=8")),
    Row("2.19", "3.12", ("tensorflow-cpu==2.19.*", "ipython>=9", "ipywidgets>=8")),
    Row("2.20", "3.13", ("tensorflow-cpu==2.20.*", "ipython>=9", "ipywidgets>=8")),
    Row("python 3.14", "3.14", ("tensorflow-cpu", "keras", "ipython>=9", "ipywidgets>=8")),
)


def main() -> int:
    """Build, test and write the table; 1 where a row failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help="names of rows; all of them by default")
    parser.add_argument("--tests", nargs="+", default=list(TESTS))
    options = parser.parse_args()
    known = {row.name: row for row in ROWS}
    if unknown := set(options.rows) - known.keys():
        parser.error(f"no such row: {', '.join(unknown)}. There are: {', '.join(known)}")
    # Begun in the background it would ignore Ctrl-C, and so would the tests, which send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    found = []
    for row in (known[name] for name in options.rows or known):
        found.append((row, *judge(row, options.tests)))
        print(" | ".join(found[-1][1:]), flush=True)
        TABLE.write_text(table(found), encoding="utf-8")
    return int(any("failed" in result for *_, result in found))


def judge(row: Row, tests: list[str]) -> tuple[str, str]:
    """The versions that a row got, and what the tests said."""
    python = find_python(row.python)
    if python is None:
        return "", f"not tried: no Python {row.python} here"
    print(f"== {row.name}: Python {row.python}, {' '.join(row.pins)}", flush=True)
    home = ROOT / "build" / "compat" / re.sub(r"\W+", "-", row.name)
    problem = build(home, python, row)
    if problem:
        return "", f"could not be installed: {problem}"
    return versions(home), run_tests(home, tests)


def find_python(version: str) -> str | None:
    """A Python of this version: on the path, or among pyenv's."""
    roots = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for each in (shutil.which(f"python{version}"), *map(str, roots)):
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        if each and output([each, "-c", code]).strip() == version:
            return each
    return None


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
    for command in (
        [python, "-m", "venv", str(home)],
        [
            str(home / "bin/python"),
            "-m",
            "pip",
            "-q",
            "install",
            *row.pins,
            *TOOLS,
            "-e",
            str(ROOT),
        ],
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


def run_tests(home: Path, tests: list[str]) -> str:
    """The counts of one run of the tests, with the names of those that failed."""
    start = time.monotonic()
    command = [str(home / "bin/python"), "-m", "pytest", "-rfE", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    ran = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    (home / "report.txt").write_text(ran.stdout + ran.stderr)
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", ran.stdout, re.M)
    counts = dict.fromkeys(("passed", "failed", "skipped", "error"), 0)
    for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", ran.stdout):
        counts[word] = int(number)
    said = ", ".join(f"{n} {word}" for word, n in counts.items() if n) or "failed to begin"
    names = f" ({', '.join(failed[:5])})" if failed else ""
    return f"{said}{names} in {time.monotonic() - start:.0f} s"


def table(found: list[tuple[Row, str, str]]) -> str:
    """The whole file."""
    head = ("row", "Python", "TensorFlow", "Keras", "IPython", "ipywidgets", "numpy", "tests")
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for row, got, result in found:
        lines.append(f"| {row.name} | {got or f'{row.python} | | | | | '} | {result} |")
    return f"""# Releases that were tried

Written by `make compat`, which builds an environment for each row and runs
`{" ".join(TESTS)}` in it.
{platform.system()} {platform.machine()}, {time.strftime("%Y-%m-%d")}.

{chr(10).join(lines)}
"""


if __name__ == "__main__":
    sys.exit(main())
