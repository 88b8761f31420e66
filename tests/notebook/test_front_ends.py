"""Where no browser looks: a terminal, papermill, LaTeX, marimo."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

CELLS = [
    "%load_ext tfmagic",
    "import tensorflow as tf\nW_1 = tf.Variable([[0.11, 0.21], [0.12, 0.08]])",
    "%%tape\nLoss = tf.reduce_sum(W_1**2)",
    "%tfvars",
    "%tfstep",
]


@pytest.fixture(scope="module")
def by_papermill(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The cells as papermill leaves them, where the locale is Korean."""
    import papermill

    folder = tmp_path_factory.mktemp("papermill")
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS], metadata={"kernelspec": kernel}
    )
    nbformat.write(notebook, folder / "in.ipynb")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("LC_ALL", "LC_MESSAGES", "JPY_SESSION_NAME"):
            patch.delenv(name, raising=False)
        patch.setenv("LANG", "ko_KR.UTF-8")
        return papermill.execute_notebook(
            folder / "in.ipynb", folder / "out.ipynb", progress_bar=False
        )


def texts(notebook: Any, place: int) -> list[str]:
    """The text/plain of each output of one cell."""
    return [o.data["text/plain"] for o in notebook.cells[place].outputs if "data" in o]


def test_papermill_keeps_text_and_html_in_the_locales_language(by_papermill: Any) -> None:
    assert "지금 있는 값" in texts(by_papermill, 3)[0]
    (report,) = [o for o in by_papermill.cells[2].outputs if "data" in o]
    assert "data:image/svg+xml;base64" in report.data["text/html"]
    assert any("Loss" in text for text in texts(by_papermill, 4))  # the panel's snapshot


def test_latex_has_the_tables_as_text(by_papermill: Any) -> None:
    from nbconvert import LatexExporter

    source, _ = LatexExporter().from_notebook_node(by_papermill)
    assert "W_1" in source.replace("\\_", "_") and "gradient" in source


MARIMO = """
import marimo
app = marimo.App()

@app.cell
def _():
    import tensorflow as tf, tfmagic
    W_1 = tf.Variable([[0.11, 0.21], [0.12, 0.08]])
    with tfmagic.record() as rec:
        Loss = tf.reduce_sum(W_1**2)
    rec.gradient(Loss, W_1)
    tfmagic.graph(rec.recording)
    return W_1, tfmagic

@app.cell
def _(W_1, tfmagic):
    tfmagic.variables(W_1, title="W_1")
    return
"""


def test_marimo_shows_what_the_functions_give(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(MARIMO)
    command = [sys.executable, "-m", "marimo", "export", "html", "app.py", "-o", "app.html"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    page = (tmp_path / "app.html").read_text(encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "data:image/svg+xml;base64" in page and "tfmagic-heat" in page


@pytest.mark.skipif(os.name == "nt", reason="there is no pseudo-terminal")
@pytest.mark.parametrize(
    ("locale", "caption", "ran"),
    [
        ("en_US.UTF-8", "What is held", "forward op"),
        ("ko_KR.UTF-8", "지금 있는 값", "순전파 연산"),
    ],
)
def test_a_terminal_shows_text(locale: str, caption: str, ran: str, tmp_path: Path) -> None:
    import pexpect

    environment = {k: v for k, v in os.environ.items() if not k.startswith("LC_")}
    terminal = pexpect.spawn(
        sys.executable,
        ["-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor"],
        env=environment
        | {"LANG": locale, "IPYTHONDIR": str(tmp_path), "PYTHONIOENCODING": "utf-8"},
        encoding="utf-8",
        timeout=120,
        dimensions=(60, 100),
    )
    for line in (*CELLS[:1], *CELLS[1].split("\n"), "%tfvars"):
        terminal.expect(r"In \[\d+\]: ")
        terminal.sendline(line)
    terminal.expect(caption)
    terminal.expect("W_1 +")
    terminal.expect(r"In \[\d+\]: ")
    for line in ("%%tape", "y = W_1 * 2", "z = y + 1", "", ""):
        terminal.sendline(line)
    terminal.expect(ran)
    terminal.expect("Mul")
    terminal.expect("AddV2")
    terminal.sendline("exit")
    terminal.expect(pexpect.EOF)
    terminal.close()
