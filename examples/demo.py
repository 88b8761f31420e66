"""Run the lesson in a real kernel, compare its figures, and write it as one HTML file.

    python examples/demo.py [en|ko]

The HTML loads nothing from elsewhere.  What the kernel itself had to say is in
build/kernel.log.  The exit status is 1, with one line, where the lesson does not run
through or a figure is not the lesson's.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, DeadKernelError
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from traitlets.config import Config

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build"

# What each cell of the lesson prints: by the cell's id, then in the order of printing.
LESSON: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "square": {"d(x²)/dx at 3": (6.0,)},
    "forward": {"hidden nodes": (0.85, 0.48), "Y_hat": (0.191,), "Loss": (0.32724053,)},
    "backward": {
        "dLoss/dW_1": (-0.22652, -0.33978, -0.2427, -0.36405),
        "dLoss/dW_2": (-0.68765, -0.38832),
    },
    "update": {
        "hidden nodes": (0.923619, 0.55887747),
        "Y_hat": (0.25574577,),
        "Loss": (0.27695718,),
    },
}
NUMBER = re.compile(r"(?<![\w.])-?\d+\.\d*(?:e[-+]?\d+)?")

# The page as nbconvert makes it, without the scripts that it would fetch.
TEMPLATE = """{% extends 'lab/index.html.j2' %}
{% block html_head_js %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block jupyter_widgets %}{% endblock %}
"""


def execute(path: Path, log: Path) -> NotebookNode:
    """The notebook at ``path``, run from top to bottom in a kernel that logs to ``log``."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}}
    )
    with log.open("w") as stderr:
        client.execute(stderr=stderr)
    return notebook


def printed(notebook: NotebookNode, cell_id: str) -> list[float]:
    """The numbers with a decimal point that one cell printed, in order."""
    (cell,) = (cell for cell in notebook.cells if cell.id == cell_id)
    text = "".join(output.text for output in cell.outputs if output.get("name") == "stdout")
    return [float(number) for number in NUMBER.findall(text)]


def figures(notebook: NotebookNode) -> dict[str, dict[str, tuple[float, ...]]]:
    """What an executed lesson computed, in the shape of :data:`LESSON`."""
    found = {}
    for cell_id, expected in LESSON.items():
        numbers = iter(printed(notebook, cell_id))
        found[cell_id] = {
            name: tuple(number for _, number in zip(values, numbers, strict=False))
            for name, values in expected.items()
        }
    return found


def differences(found: Mapping[str, Mapping[str, tuple[float, ...]]]) -> list[str]:
    """A line for every figure that is not the lesson's (to six digits)."""
    return [
        f"{cell_id}: {name} is {found[cell_id][name]}, the lesson's is {values}"
        for cell_id, expected in LESSON.items()
        for name, values in expected.items()
        if not _close(found[cell_id][name], values)
    ]


def _close(found: tuple[float, ...], expected: tuple[float, ...]) -> bool:
    return len(found) == len(expected) and all(
        math.isclose(a, b, rel_tol=2e-6) for a, b in zip(found, expected, strict=True)
    )


def to_html(notebook: NotebookNode, source: Path) -> str:
    """The notebook of ``source``, executed, as one page that needs neither network nor server."""
    name, language, _ = source.name.split(".")
    notebook.metadata.pop("widgets", None)  # without a manager only their snapshots show
    for cell in notebook.cells:
        if "outputs" in cell:  # where TensorFlow starts, it talks of its processor
            cell.outputs = [
                o for o in cell.outputs if "absl::InitializeLog" not in o.get("text", "")
            ]
    notebook.metadata.title = f"tfmagic: {name} ({language})"
    exporter = HTMLExporter(
        raw_template=TEMPLATE, config=Config(HTMLExporter={"language_code": language})
    )
    page, _ = exporter.from_notebook_node(notebook)
    return page


def reason(error: Exception) -> str:
    """Why a notebook did not run through, as one line."""
    name, text = type(error).__name__, str(error)
    first = (getattr(error, "evalue", None) or text or "no reason given").splitlines()[0]
    return f"{getattr(error, 'ename', name)}: {first}"


def report(found: Mapping[str, Mapping[str, tuple[float, ...]]]) -> None:
    """Print what was computed, one figure to a line."""
    for cell_id, values in found.items():
        for name, numbers in values.items():
            print(f"{cell_id:9} {name:13} " + "  ".join(f"{number:.8g}" for number in numbers))


def main(language: str) -> int:
    """Run one lesson, and say what it computed and where it lies; the exit status."""
    source = HERE / f"lesson.{language}.ipynb"
    page = BUILD / f"lesson.{language}.html"
    BUILD.mkdir(exist_ok=True)
    print(f"Running {source.name} ...", flush=True)
    try:
        notebook = execute(source, BUILD / "kernel.log")
    except (CellControlSignal, DeadKernelError) as error:
        print(f"{source.name} did not run through: {reason(error)}", file=sys.stderr)
        return 1
    page.write_text(to_html(notebook, source), encoding="utf-8")
    found = figures(notebook)
    report(found)
    if wrong := differences(found):
        print("; ".join(wrong), file=sys.stderr)
        return 1
    print(f"\nEvery figure is the lesson's. With its pictures it is here:\n{page}")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("language", nargs="?", default="en", choices=["en", "ko"])
    sys.exit(main(parser.parse_args().language))
