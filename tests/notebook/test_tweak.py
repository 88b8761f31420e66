"""``%%tape --tweak`` and its panel's side in the kernel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.notebook.test_step_panel import Asked

CELL = """%%tape {options}
import tensorflow as tf
X = tf.constant([[2.], [3.]])
W_1 = tf.Variable([[0.11, 0.21], [0.12, 0.08]])
W_2 = tf.Variable([[0.14, 0.15]])
with tf.GradientTape() as tape:
    H_1 = W_1 @ X
    Y_hat = W_2 @ H_1
    Loss = (Y_hat - 1.0) ** 2 / 2
g = tape.gradient(Loss, [W_1, W_2])"""


@pytest.fixture
def frontend(shell: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Answers the panel that a cell shows, as in a kernel."""
    from tfmagic.notebook.panels import base

    monkeypatch.setattr(shell, "kernel", object(), raising=False)

    def run(cell: str) -> Asked:
        base.close_all()
        shell.run_cell(cell).raise_error()
        (panel,) = base._open.values()
        return Asked(panel)

    yield run
    base.close_all()


def test_a_move_changes_values_and_gradients_in_the_picture(frontend: Any) -> None:
    ask = frontend(CELL.format(options="--tweak"))
    first = ask.state("hello")
    assert [group["name"] for group in first["frame"]["sources"]] == ["W_1", "W_2"]
    assert first["values"][0] == [0.11, 0.21, 0.12, 0.08] and "data-part" in first["svg"]
    moved = ask.state("set", **{"0:0": 1.0, "gesture": "1"})
    said = json.dumps(moved["words"], ensure_ascii=False)
    assert "2.63" in said and "-0.15674" in moved["table"] and "svg" not in moved
    assert "18 ops run again in" in moved["status"]
    assert ask.state("reset")["values"][0][0] == 0.11


def test_an_answer_tells_only_what_is_new(frontend: Any) -> None:
    ask = frontend(CELL.format(options="--tweak W_2"))
    ask("hello")
    assert any(box["lines"][0].startswith("X") for box in ask.state("reset")["words"].values())
    told = ask.state("set", **{"0:0": 1.0})["words"]
    lines = [" ".join(box["lines"]) for box in told.values()]
    assert any("0.922" in line for line in lines)  # 1·0.85 + 0.15·0.48
    assert not any(line.startswith("X") for line in lines)
    assert set(ask.state("set", **{"0:0": 1.0})) <= {"status", "turn"}


def test_a_drag_of_a_slow_run_shows_the_target_and_ends_with_the_rest(frontend: Any) -> None:
    ask = frontend(CELL.format(options="--tweak"))
    ask("hello")
    ask.panel._slow = True
    moved = ask.state("set", **{"0:0": 1.0, "gesture": "1"})
    assert set(moved) == {"values", "status", "unfinished", "turn"} and moved["unfinished"]
    assert moved["status"].startswith("Loss = 0.15")
    rest = ask.state("rest")
    assert "2.63" in json.dumps(rest["words"]) and "-0.15674" in rest["table"]
    assert rest["unfinished"] is False and "18 ops run again" in rest["status"]
    ask.panel._slow = True
    assert "words" in ask.state("set", **{"0:0": 0.5})  # a typed number is no drag


def test_what_was_drawn_anew_is_told_again(frontend: Any) -> None:
    ask = frontend("%%tape --tweak\nimport tensorflow as tf\nw = tf.Variable(2.0)\ny = w * 1.0")
    ask("hello")
    words = ask.state("set", **{"0:0": 3.0})["words"]
    assert "svg" in ask.state("set", **{"0:0": -1.2345678e-20})
    assert ask.state("set", **{"0:0": 3.0})["words"] == words


def test_chosen_sources_only(frontend: Any) -> None:
    ask = frontend(CELL.format(options="--tweak W_2,X"))
    assert [group["name"] for group in ask.state("hello")["frame"]["sources"]] == ["W_2", "X"]


def test_a_longer_number_is_given_its_room(frontend: Any) -> None:
    ask = frontend("%%tape --tweak\nimport tensorflow as tf\nw = tf.Variable(2.0)\ny = w * 1.0")
    ask("hello")
    assert "svg" not in ask.state("set", **{"0:0": 3.0})
    assert "svg" in ask.state("set", **{"0:0": -1.2345678e-20})


def test_the_snapshot_is_the_report_of_the_moved_run(frontend: Any) -> None:
    ask = frontend(CELL.format(options="--tweak"))
    ask("set", **{"0:0": 1.0})
    bundle = ask.panel._bundle()
    assert "2.63" in bundle["text/plain"] and "-0.15674" in bundle["text/html"]


@pytest.mark.parametrize(
    "kind, content, said",
    [
        ("set", {"0:0": "NaN"}, "W_1[0,0]: 'NaN' is not a finite number"),
        ("set", {"7:0": 1.0}, "There are: W_1, W_2"),
        ("set", {"0:99": 1.0}, "lies outside"),
        ("pick", {"source": 0, "at": "9,9"}, "lies outside"),
        ("pick", {"source": 0, "at": "a"}, "lies outside"),
    ],
)
def test_what_cannot_be_done_is_said(frontend: Any, kind: str, content: Any, said: str) -> None:
    ask = frontend(CELL.format(options="--tweak"))
    assert said in ask(kind, **content)["error"]


def test_a_large_source_has_a_picker(frontend: Any) -> None:
    ask = frontend(
        "%%tape --tweak\nimport tensorflow as tf\nw = tf.Variable(tf.ones([20, 30]))\ny = tf.reduce_sum(w ** 2)"
    )
    ask("hello")
    assert ask.state("pick", source=0, at="3,4")["values"][0]["label"] == "w[3,4]"
    moved = ask.state("set", **{"0:94": 5.0})
    assert moved["values"][0]["value"] == 5.0 and "624" in json.dumps(moved["words"])


def test_what_a_replay_cannot_follow_stands_in_the_panel(frontend: Any) -> None:
    ask = frontend(
        "%%tape --tweak\nimport tensorflow as tf\nw = tf.Variable(2.0)\nif w > 1.0:\n    y = w * 10\nelse:\n    y = w"
    )
    assert ask.state("hello")["notes"] == []
    (note,) = ask.state("set", **{"0:0": 0.5})["notes"]
    assert note.startswith("Line 3: `if w > 1.0:`")


def test_the_tape_is_let_go_with_the_panel_unless_it_has_a_name(shell: Any, frontend: Any) -> None:
    ask = frontend(CELL.format(options="--tweak"))
    tape = ask.panel.tweak._tape
    ask.panel.close()
    assert tape.released
    ask = frontend(CELL.format(options="mine --tweak"))
    ask.panel.close()
    assert not shell.user_ns["mine"].released


def test_a_tweak_at_the_end_of_a_cell_shows_its_panel(shell: Any, frontend: Any) -> None:
    frontend(CELL.format(options="mine --tweak"))
    ask = frontend("import tfmagic\ntfmagic.tweak(mine, [W_2])")
    assert list(ask.panel.tweak.values) == ["W_2"]


def test_without_a_frontend_the_report_is_shown(shell: Any, capsys: Any) -> None:
    shell.run_cell(CELL.format(options="--tweak"))
    assert "-0.22652" in capsys.readouterr().out


def test_where_nothing_can_be_moved_it_is_said_and_the_report_stays(
    shell: Any, capsys: Any
) -> None:
    shell.run_cell("%%tape --tweak\nimport tensorflow as tf\ny = tf.constant(2.0) * 3.0")
    out = capsys.readouterr().out
    assert "nothing to move" in out and "forward op" in out
