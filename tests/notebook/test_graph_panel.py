"""``%tfgraph -i``: what the panel answers, and what it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from IPython.core.error import UsageError
from IPython.utils.capture import capture_output
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from tests.browser import showcase

NETWORK = """%%tape -q
import tensorflow as tf
W = tf.Variable([[0.5, 0.1], [0.2, 0.3]])
x = tf.ones((2, 1))
for _ in range(12):
    x = tf.nn.relu(tf.matmul(W, x))
Loss = tf.reduce_sum(x)
"""


@pytest.fixture
def panel(shell: Any) -> Any:
    from tfmagic.notebook.panels import base
    from tfmagic.notebook.panels.graph import GraphPanel

    shell.run_cell(NETWORK)
    shell.run_line_magic("tfgraph", "-i")
    (made,) = [p for p in base._open.values() if isinstance(p, GraphPanel)]
    yield made
    made.close()


def test_the_first_answer_draws_the_open_folds(panel: Any) -> None:
    first = panel.answer("hello", {})
    assert set(first["levels"]) == set(first["open"]) and first["root"] in first["open"]
    assert len(json.dumps(first)) < 100_000


def test_a_fold_is_opened_and_the_snapshot_follows(panel: Any) -> None:
    loop = next(f for f in panel.scene.sketch.folds.values() if f.kind == "repeat")
    box = f"{loop.title} (folded ops)"
    assert box not in panel.snapshot()["text/plain"]
    panel.answer("opened", {"open": ["f0", "no such fold"]})
    assert box in panel.snapshot()["text/plain"]
    level = panel.answer("level", {"fold": loop.id})["levels"][loop.id]
    assert level["nodes"]


def test_questions_about_what_is_not_there_are_errors_in_the_panel(panel: Any) -> None:
    sent: list[Any] = []
    panel.send = lambda content, buffers=None: sent.append(content)
    message = {"view": "v", "seq": 1, "kind": "level", "content": {"fold": "nope"}}
    panel._receive(panel, message, [])
    assert "KeyError" in sent[-1]["error"]


LESSON = "%%tape -q\n" + showcase.LESSON
LAYERS = """%%tape -q
import tensorflow as tf, keras
x = inputs = keras.Input((8,))
for _ in range(33):
    h = keras.layers.Dense(8)(keras.layers.Dense(8, activation="relu")(x))
    x = keras.layers.Add()([x, h])
model = keras.Model(inputs, keras.layers.Dense(1)(x))
Loss = tf.reduce_mean(model(tf.ones((2, 8))))"""


@pytest.mark.parametrize("cell", [LESSON, LAYERS], ids=["lesson", "a hundred layers"])
def test_a_panel_adds_less_than_100_kb_to_the_saved_notebook(cell: str, tmp_path: Path) -> None:
    """Over the static picture; with all that is kept where the widgets' state is saved."""
    notebook = new_notebook(
        cells=[new_code_cell(c) for c in ("%load_ext tfmagic", cell, "%tfgraph", "%tfgraph -i")]
    )
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute(cwd=str(tmp_path))
    state = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]
    still, live = (len(json.dumps(each.outputs)) for each in notebook.cells[2:])
    assert "<img" in json.dumps(notebook.cells[3].outputs) and state["state"]
    assert live + len(json.dumps(state)) - still < 100_000


def test_open_serves_what_netron_reads(shell: Any, capsys: Any) -> None:
    import urllib.request

    pytest.importorskip("netron")
    from tfmagic.notebook import extension

    shell.run_cell(NETWORK)
    with capture_output() as captured:
        shell.run_line_magic("tfgraph", "--open netron")
    line = captured.outputs[0].data["text/plain"]
    url = next(word for word in line.split() if word.startswith("http")).rstrip(",")
    assert b"netron" in urllib.request.urlopen(url, timeout=30).read().lower()
    loaded = extension._loaded[id(shell)]
    loaded.families[[type(f).__name__ for f in loaded.families].index("GraphMagics")].detach()


def test_a_viewer_that_is_not_there_is_one_line(shell: Any, monkeypatch: Any) -> None:
    import importlib.util

    shell.run_cell(NETWORK)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="%pip install tensorboard"):
        shell.run_line_magic("tfgraph", "--open tensorboard")
