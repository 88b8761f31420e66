"""The panel's side in the kernel: what each message does, and what it answers."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest


class Asked:
    """A panel whose messages are asked and answered here."""

    def __init__(self, panel: Any) -> None:
        self.panel = panel
        self.sent: list[dict[str, Any]] = []
        panel.send = lambda content, buffers=None: self.sent.append(content)

    def __call__(self, kind: str, **content: Any) -> dict[str, Any]:
        self.panel._receive(
            self.panel, {"view": "v", "seq": 1, "kind": kind, "content": content}, []
        )
        json.dumps(self.sent[-1])  # all of it can be sent
        return self.sent[-1]

    def state(self, kind: str, **content: Any) -> Any:
        return self(kind, **content)["state"]


@pytest.fixture
def panels(shell: Any) -> Iterator[Any]:
    """Makes panels, and closes them."""
    made = []

    def make(names: str = "", **options: Any) -> Asked:
        from tfmagic.notebook.panels.step import StepPanel
        from tfmagic.notebook.panels.step_link import Link
        from tfmagic.runtime.twolayer.stepper import two_layer

        link = None
        if names:
            expressions = dict(pair.split("=") for pair in names.split())
            values = {part: eval(name, shell.user_ns) for part, name in expressions.items()}
            stepper = two_layer(**values, **options).show_whole()
            link = Link(shell, stepper, expressions)
        else:
            stepper = two_layer(**options).show_whole()
        made.append(StepPanel(stepper, link))
        return Asked(made[-1])

    yield make
    for panel in made:
        panel.close()


def test_the_first_answer_has_the_picture_the_groups_and_the_words(panels: Any) -> None:
    first = panels().state("hello")
    assert "data-part" in first["frame"]["svg"] and first["frame"]["words"]["undo"] == "Undo"
    assert [group["name"] for group in first["frame"]["groups"]] == ["W_1", "W_2", "X", "Y"]


def test_a_move_is_answered_with_new_numbers_and_no_new_frame(panels: Any) -> None:
    ask = panels()
    ask("hello")
    moved = ask.state("set", **{"W_1[0,0]": 1.0, "X[1,0]": 4.0, "gesture": "1"})
    assert moved["marks"]["H_1[0]"]["lines"][1] == "2.84"  # 1·2 + 0.21·4
    assert moved["values"]["W_1"][0][0] == 1.0 and "frame" not in moved
    ask("set", **{"W_1[0,0]": 1.1, "gesture": "1"})
    assert not ask.state("undo")["can_undo"]


def test_an_answer_tells_only_what_is_new(panels: Any) -> None:
    ask = panels()
    first = ask.state("hello")
    moved = ask.state("set", **{"Y[0,0]": 1.5, "gesture": "1"})
    assert moved["turn"] == first["turn"] + 1
    assert "X[0]" in first["marks"] and "X[0]" not in moved["marks"]
    assert moved["marks"]["Y[0]"]["lines"] == ["Y[0]", "1.5"]
    assert not {"chosen", "question", "next", "predicting", "warning"} & set(moved)
    assert set(ask.state("set", **{"Y[0,0]": 1.5, "gesture": "1"})) == {"turn"}
    assert set(first) <= set(ask.state("hello"))  # another view opens: it needs all


def test_stepping_shows_one_factor_in_picture_and_formula_at_once(panels: Any) -> None:
    ask = panels()
    assert ask.state("forward")["marks"]["Y_hat[0]"]["lines"][1] == "?"
    found = ask.state("backward")
    now = [factor for factor in found["formula"][0]["terms"][0] if factor["now"]]
    assert [factor["value"] for factor in now] == ["-0.809"]
    assert {part for part, mark in found["marks"].items() if mark.get("now")} == {
        "Y_hat[0]",
        "Y[0]",
        "Loss",
    }
    assert ask.state("backward", all=True)["marks"]["W_1[0,0]"]["lines"][1] == "∇ -0.22652"


@pytest.mark.parametrize(
    "kind, content, said",
    [
        ("set", {"W_1[0,0]": "NaN"}, "not a finite number"),
        ("set", {"lr": "inf"}, "not a finite number"),
        ("set", {"W_1[9,9]": 1}, "lies outside"),
        ("set", {"__class__[0]": 1}, "not a part of this network"),
        ("choose", {"part": "<b>"}, "not a part of this network"),
        ("run", {"n": 10**9}, "give 1 to 10,000"),
        ("guess", {"guess": "half"}, "not a finite number"),
        ("landscape", {"first": "X[0,0]", "second": "W_1[0,0]"}, "not a part"),
        ("dance", {}, "knows no 'dance'"),
    ],
)
def test_what_cannot_be_done_is_said_in_the_panel(
    panels: Any, kind: str, content: Any, said: str
) -> None:
    ask = panels()
    before = ask.panel.stepper.state
    assert said in ask(kind, **content)["error"]
    assert ask.panel.stepper.state is before


def test_a_guess_hides_and_then_tells(panels: Any) -> None:
    ask = panels()
    asked = ask.state("predict", on=True)
    hidden = json.dumps([asked["marks"], asked["formula"]])
    assert "?" in hidden and "∇" not in hidden and "0.22652" not in hidden
    told = ask.state("guess", guess="-0.2265")
    assert told["told_right"] and "-0.22652" in json.dumps(told["formula"])
    assert ask.state("choose", part="W_2[0,1]")["told"] == ""


def test_a_run_that_diverges_tells_the_player_to_stop(panels: Any) -> None:
    ask = panels(lr=50.0)
    found = ask.state("run", n=1000)
    assert found["stop"] and "beyond all bounds" in found["warning"]
    assert found["agrees"] is None  # there is nothing to compare
    assert ask.state("undo")["stop"] is False


def test_a_large_network_has_a_picker_and_short_answers(panels: Any) -> None:
    ask = panels(sizes="90,100,10", batch=3, activation="relu,linear")
    first = ask("hello")
    assert {g["name"]: g["picker"] for g in first["state"]["frame"]["groups"]}["W_1"]
    ask("choose", part="W_1[70,80]")
    found = ask.state("set", **{"W_1[70,80]": 0.5})
    assert found["values"]["W_1"] == {"at": [70, 80], "value": 0.5}
    assert len(json.dumps(found)) < 60_000
    assert ask.state("sample", sample=99)["sample"] == 2


def test_a_landscape_that_takes_long_is_coarse_while_one_drags(panels: Any) -> None:
    ask = panels(sizes="90,100,10", batch=3)
    axes = {"first": "W_1[0,0]", "second": "W_2[0,0]"}
    ask("landscape", **axes)
    moved = ask.state("set", **{"W_1[0,1]": 0.5, "gesture": "1"})
    rest = ask.state("rest")
    assert moved["unfinished"] and rest["unfinished"] is False
    assert width_of(moved["landscape"]) < width_of(rest["landscape"])
    small = panels()
    first = small.state("landscape", **axes)
    moved = small.state("set", **{"W_1[0,1]": 0.5, "gesture": "1"})
    assert width_of(moved["landscape"]) == width_of(first["landscape"])
    assert "unfinished" not in moved  # and so the page does not ask for more


def width_of(picture: str) -> int:
    """Of the PNG in an SVG, in points of the grid."""
    data = base64.b64decode(picture.partition("base64,")[2].partition('"')[0])
    return int.from_bytes(data[16:20], "big")


def test_all_that_a_panel_adds_to_a_notebook_is_small(panels: Any) -> None:
    ask = panels()
    ask("run", n=500)
    size = len(ask.panel._esm) + len(ask.panel._css) + len(json.dumps(ask.panel._bundle()))
    assert size < 100_000


# --- in step with the user's own variables -----------------------------------------------------


OWN = """import tensorflow as tf, numpy as np
X, Y = tf.constant([[2.], [3.]]), [1.0]
W_1, W_2 = tf.Variable([[0.11, 0.21], [0.12, 0.08]]), np.array([[0.14, 0.15]], "float32")"""


def test_what_moves_in_the_panel_moves_in_the_notebook(shell: Any, panels: Any) -> None:
    shell.run_cell(OWN)
    kept = shell.user_ns["W_1"], shell.user_ns["W_2"]
    ask = panels("X=X Y=Y W_1=W_1 W_2=W_2")
    ask("set", **{"W_1[0,0]": 0.5, "W_2[0,1]": 0.7, "X[0,0]": 9.0, "Y[0,0]": 2.0})
    assert shell.user_ns["W_1"] is kept[0] and shell.user_ns["W_2"] is kept[1]
    assert kept[0].numpy()[0, 0] == 0.5 and kept[1][0, 1] == np.float32(0.7)
    assert shell.user_ns["X"].numpy().tolist() == [[9.0], [3.0]] and shell.user_ns["Y"] == [2.0]
    ask("run", n=1)
    assert kept[0].numpy() == pytest.approx(ask.panel.stepper.weights["W_1"])
    ask("undo")
    assert kept[0].numpy()[0, 0] == 0.5


def test_what_a_cell_changes_is_shown_by_the_panel(shell: Any, panels: Any) -> None:
    shell.run_cell(OWN)
    ask = panels("X=X Y=Y W_1=W_1 W_2=W_2")
    shell.run_cell("W_1.assign_add([[1., 0.], [0., 0.]]); W_2[0, 0] = 0.5")
    assert ask.sent[-1]["state"]["marks"]["H_1[0]"]["lines"][1] == "2.85"
    assert ask.panel.stepper.weights["W_2"][0, 0] == 0.5
    count = len(ask.sent)
    shell.run_cell("1 + 1")
    assert len(ask.sent) == count  # nothing has changed
    shell.run_cell("W_1 = tf.ones([3, 2])")
    assert "W_1" in ask.sent[-1]["error"]
    shell.run_cell("del W_1")  # gone: the panel goes on
    assert "error" not in ask("run", n=1)


def test_a_recording_hears_nothing_of_it(shell: Any, panels: Any) -> None:
    import tfmagic

    shell.run_cell(OWN)
    panels("X=X Y=Y W_1=W_1 W_2=W_2")
    shell.run_cell("%%tape -q\nH = tf.matmul(W_1, X)")
    assert [op.type for op in tfmagic.last.ops] == ["MatMul"]


def test_a_keras_model_is_trained_by_the_panel(shell: Any, panels: Any) -> None:
    shell.run_cell(
        "import keras, numpy as np\nnet = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras.layers.Dense(1)])\nx, y = np.ones((4, 2)), np.zeros((4, 1))"
    )
    ask = panels("model=net X=x Y=y")
    ask("run", n=3)
    kernel = shell.user_ns["net"].layers[0].kernel.numpy()
    assert pytest.approx(ask.panel.stepper.weights["W_1"]) == kernel.T
    ask("set", **{"b_1[1]": 0.25})
    assert shell.user_ns["net"].layers[0].bias.numpy()[1] == 0.25
    shell.run_cell("net.layers[0].kernel.assign(np.zeros((2, 3)))")
    assert not ask.panel.stepper.weights["W_1"].any()


def test_closing_leaves_the_shell_alone(shell: Any, panels: Any) -> None:
    shell.run_cell(OWN)
    ask = panels("X=X Y=Y W_1=W_1 W_2=W_2")
    hooks = shell.events.callbacks["post_run_cell"]
    assert ask.panel.link.read in hooks
    ask.panel.close()
    assert ask.panel.link.read not in hooks


def test_with_a_frontend_the_panel_is_shown(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tfmagic.notebook.panels import base

    monkeypatch.setattr(shell, "kernel", object(), raising=False)
    shell.run_line_magic("tfstep", "-o m")
    (panel,) = base._open.values()
    assert panel.stepper is shell.user_ns["m"]
    shell.run_line_magic("tfstep", "--static")
    assert len(base._open) == 1
