"""The button under a picture: where there is one, and what is kept behind it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from IPython.utils.capture import capture_output

from tfmagic import language

CELL = """%%tape
import tensorflow as tf
W = tf.Variable([[0.5, 0.1], [0.2, 0.3]])
Loss = tf.reduce_sum(tf.matmul(W, tf.ones((2, 1))))
"""


@pytest.fixture
def doors(shell: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[Any]]]:
    """The doors that live; each cell runs as a frontend with cells would have it."""
    from tfmagic.notebook.panels import base
    from tfmagic.notebook.panels.deferred_graph import DeferredGraph

    runs = iter(range(10_000))
    monkeypatch.setattr(base, "place", lambda: base.Slot(f"cell-{(n := next(runs))}", str(n)))
    monkeypatch.setattr(shell, "kernel", object(), raising=False)
    yield lambda: [panel for panel in base._open.values() if isinstance(panel, DeferredGraph)]
    base.close_all()


def shown(shell: Any, cell: str) -> list[Any]:
    with capture_output() as captured:
        shell.run_cell(cell).raise_error()
    return [output.data for output in captured.outputs]


def test_a_picture_has_a_door_that_opens_its_graph(shell: Any, doors: Any) -> None:
    shown(shell, CELL)
    (door,) = doors()
    first = door.answer("hello", {})
    assert first["words"]["open"] == "Open as a live graph" and "scene" not in vars(door)
    opened = door.answer("open", {})
    assert "function showGraph" in opened["code"] and "export" in opened["code"]
    assert opened["first"]["levels"] and opened["style"]
    assert door.answer("search", {"text": "matmul"})["found"]
    language.use("ko")
    assert "그래프" in door.answer("hello", {})["words"]["open"]


@pytest.mark.parametrize("cell", ["%tfgraph", "%%tfgraph\nLoss = tf.reduce_sum(W)", "%tfgraph f"])
def test_every_magic_that_draws_a_graph_has_one(shell: Any, doors: Any, cell: str) -> None:
    shown(shell, CELL.replace("%%tape", "%%tape -q"))
    shown(shell, "f = tf.function(lambda: W * 2)")
    assert not doors()
    picture, button = shown(shell, cell)
    (door,) = doors()
    assert door._picture in picture["text/html"] and button["text/plain"] == ""
    assert "application/vnd.jupyter.widget-view+json" in button


def test_it_hides_the_picture_that_it_opens_and_no_other(shell: Any, doors: Any) -> None:
    shown(shell, CELL.replace("%%tape", "%%tape -q"))
    shown(shell, "f = tf.function(lambda: W * 2)")
    (html, _) = (data.get("text/html", "") for data in shown(shell, "%tfgraph f"))
    assert html.count("tfmagic-picture") > html.count(doors()[0]._picture) == 1


@pytest.mark.parametrize("cell", ["%%tape -q\ntf.sqrt(W)", "%%tape --no-graph\ntf.sqrt(W)"])
def test_no_picture_no_door(shell: Any, doors: Any, cell: str) -> None:
    shown(shell, CELL.replace("%%tape", "%%tape -q"))
    shown(shell, cell)
    assert not doors()


def test_a_program_that_runs_a_notebook_gets_pictures_alone(
    shell: Any, doors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfmagic.notebook.panels import base

    monkeypatch.setattr(base, "place", base.Slot)  # it names no cell
    (picture,) = shown(shell, CELL)
    assert "<img" in picture["text/html"] and not doors()


def test_who_wants_none_has_none(shell: Any, doors: Any) -> None:
    shown(shell, "%config TFMagic.live = False")
    assert len(shown(shell, CELL)) == 1 and not doors()
    shown(shell, "%config TFMagic.live = True")
    assert len(shown(shell, CELL)) == 2 and doors()


def test_what_fails_on_the_way_leaves_the_picture(
    shell: Any, doors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfmagic.notebook.panels.deferred_graph import DeferredGraph

    monkeypatch.setattr(DeferredGraph, "__init__", lambda *_: 1 / 0)
    complaints: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", complaints.append)
    (picture,) = shown(shell, CELL)
    gc.collect()
    assert "<img" in picture["text/html"] and not complaints


def test_only_the_last_pictures_are_kept_and_the_others_say_so(
    shell: Any, doors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfmagic.notebook.panels import deferred_graph as door

    monkeypatch.setattr(door, "MOST", 2)
    shown(shell, CELL)
    kept = weakref.ref(doors()[0]._view.recording)
    for _ in range(3):
        shown(shell, CELL)
    oldest, *others = doors()
    gc.collect()
    assert kept() is None and "run its cell again" in oldest.answer("open", {})["past"].lower()
    assert all("first" in each.answer("open", {}) for each in others)


def test_large_graphs_take_the_room_of_many(
    shell: Any, doors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfmagic.notebook.panels import deferred_graph as door

    monkeypatch.setattr(door, "ROOM", 1)
    for _ in range(3):
        shown(shell, CELL)
    *others, newest = doors()
    assert all("past" in each.answer("open", {}) for each in others)
    assert "first" in newest.answer("open", {})
    newest.close()
    assert not door._kept


def test_a_cell_that_runs_again_keeps_one(
    shell: Any, doors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfmagic.notebook.panels import base

    for run in ("first", "second"):
        monkeypatch.setattr(base, "place", lambda run=run: base.Slot("cell", run))
        shown(shell, CELL)
    assert len(doors()) == 1
