"""Every notebook of the gallery and of the guide runs, and shows what its words say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from docs.guide.pages import carry_pictures
from examples.demo import to_html

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted(
    path
    for folder in ("examples", "docs/guide")
    for path in (ROOT / folder).glob("*.ipynb")
    if not path.name.startswith("lesson.")  # which has tests of its own
)
TOPICS = sorted({path.name.split(".")[0] for path in NOTEBOOKS})

#: For each notebook: the cell, and what it must show, the same in every language.
SHOWN: dict[str, dict[str, str]] = {
    "none_hunt": {"loop": "left_tensorflow", "mended": "ok", "second": "rebound", "vars": "W"},
    "keras_cnn": {"graph": "conv", "vars": "conv", "step": "ok", "moved": "‖Δ‖"},
    "transformer_block": {"tree": "query", "gradients": "block.attend.key_dense.bias"},
    "custom_gradient": {"naive": "overflow", "mended": "✓", "wrong": "✗ 0.5"},
    "devices_and_a_worker": {
        "here": "CPU:1", "missing": "CPU:0, CPU:1", "remote": "worker:0/CPU:0", "why": "tf.device",
    },
    "bench_sweep": {"one": "GFLOP/s", "sweep": "256", "data": "6 rows"},
    "tape": {"plain": "-0.22652", "named": "H_1", "later": "tf.Tensor", "check": "✓", "loss": "Loss"},
    "tfgraph": {"folded": "hidden", "flat": "Relu", "function": "energy", "save": "model.svg"},
    "tfvars": {
        "first": "broken", "second": "‖Δ‖ = 0.05", "one": "W_1", "tree": "kernel",
        "sort": "X", "why": "W_1", "why-float": "float32",
    },
    "tfbench": {"one": "CPU:0 eager", "modes": "CPU:0 function", "against": "CPU:0 eager"},
    "tfdevice": {"split": "CPU:1", "cell": "CPU:1", "there": "CPU:1", "why": "tf.device"},
    "tfstep": {"lesson": "-0.22652", "size": "(4, 3)", "own": "lr = 0.1", "script": "0."},
}  # fmt: skip


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_and_shows_what_it_says(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": path.parent}}).execute()
    shown = {cell.id: words(cell) for cell in notebook.cells if cell.cell_type == "code"}
    topic, language, _ = path.name.split(".")
    missing = {i: w for i, w in SHOWN[topic].items() if w not in shown[i]}
    assert not missing
    hangul = re.search("[가-힣]", "".join(shown.values()))
    assert bool(hangul) == (language == "ko")


def words(cell: Any) -> str:
    """All text that a cell has left, its warnings aside."""
    parts = []
    for output in cell.outputs:
        if output.output_type == "stream" and (
            output.name == "stdout" or "UsageError" in output.text
        ):
            parts.append(output.text)
        elif output.output_type in ("display_data", "execute_result"):
            parts.append(output.data.get("text/plain", ""))
    return "\n".join(parts)


@pytest.mark.parametrize("topic", TOPICS)
def test_both_languages_run_the_same_code(topic: str) -> None:
    english, korean = (cells(topic, language) for language in ("en", "ko"))
    assert list(english) == list(korean)
    for name, (kind, source) in english.items():
        if kind == "code":
            assert source.replace('"en"', '"ko"') == korean[name][1]
        else:
            assert re.search("[가-힣]", korean[name][1]) and not re.search("[가-힣]", source)


def cells(topic: str, language: str) -> dict[str, tuple[str, str]]:
    """Kind and source of each cell, by its id; the notebook is stored without outputs."""
    (path,) = (p for p in NOTEBOOKS if p.name == f"{topic}.{language}.ipynb")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert not any(c.get("outputs") or c.get("execution_count") for c in notebook.cells)
    return {c.id: (c.cell_type, c.source) for c in notebook.cells}


GUIDE = [path for path in NOTEBOOKS if path.parent.name == "guide"]


@pytest.mark.parametrize("path", GUIDE, ids=lambda path: path.name)
def test_a_page_of_the_guide_begins_with_a_picture_and_carries_it(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    named = re.findall(r"!\[[^\]]{20,}\]\((\S+)\)", notebook.cells[0].source)
    language = path.name.split(".")[1]
    assert named and all(f".{language}.light.png" in name for name in named)
    carry_pictures(notebook, path.parent)
    page = to_html(notebook, path)
    assert page.count('src="data:image/png;base64') == len(named)
    assert "../pictures" not in page and path.name.split(".")[0] in page


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_every_example_of_a_readme_runs_in_a_fresh_shell(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", EXAMPLES, str(ROOT / name)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "loss.svg").exists()


EXAMPLES = """
import re, sys
from pathlib import Path
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
cells = re.findall(r"```python\\n(.*?)```", Path(sys.argv[1]).read_text("utf-8"), re.S)
assert len(cells) == 3
for cell in cells:
    assert shell.run_cell(cell).success, cell
"""
