"""What every panel gives: answers, errors in the panel, a snapshot, and nothing left behind."""

from __future__ import annotations

from typing import Any

import pytest

from tfmagic import language
from tfmagic.errors import OptionError


@pytest.fixture
def knob(shell: Any) -> Any:
    """A panel with one number, and what it sent."""
    from tfmagic.notebook.panels import base

    class Knob(base.Panel):
        _esm = "export default {}"
        title = "Knob"
        value = 1

        def answer(self, kind: str, content: Any) -> dict[str, Any]:
            if kind == "turn":
                self.value = 10 // int(content["to"])
            if kind == "refuse":
                raise OptionError("cells.nothing_yet")
            return {"value": self.value}

        def snapshot(self) -> dict[str, str]:
            return {"text/plain": f"value {self.value}", "text/html": f"<b>{self.value}</b>"}

        def free(self) -> None:
            self.freed = True

    panel = Knob()
    panel.sent = []
    panel.send = lambda content, buffers=None: panel.sent.append(content)
    yield panel
    panel.close()


def ask(panel: Any, kind: str, **content: Any) -> dict[str, Any]:
    panel._receive(panel, {"view": "v", "seq": 7, "kind": kind, "content": content}, [])
    return panel.sent[-1]


def test_the_first_answer_says_all_that_a_view_needs(knob: Any) -> None:
    answer = ask(knob, "hello")
    assert answer["state"] == {"value": 1} and answer["title"] == "Knob"
    assert answer["lang"] == "en" and "busy" in answer["busy"]
    assert (answer["view"], answer["seq"]) == ("v", 7)


def test_what_goes_wrong_is_said_in_the_panel_which_goes_on(knob: Any) -> None:
    assert ask(knob, "turn", to=0)["error"].startswith("ZeroDivisionError")
    assert "first" in ask(knob, "refuse")["error"] and "OptionError" not in knob.sent[-1]["error"]
    assert ask(knob, "turn", to=5)["state"] == {"value": 2}


def test_a_word_that_only_hurries_the_answer_has_none(knob: Any) -> None:
    knob._receive(knob, {"kind": "hurry"}, [])
    assert not knob.sent


def test_the_snapshot_is_an_output_of_its_own(knob: Any, capsys: Any) -> None:
    knob.show()
    bundle = knob._bundle()
    assert bundle["text/plain"] == "value 1"
    assert knob._name in bundle["text/html"] and "<b>1</b>" in bundle["text/html"]


def test_where_it_cannot_live_a_sentence_stands_in_its_place(knob: Any) -> None:
    assert "kernel" in repr(knob) and "object at" not in repr(knob)
    language.use("ko")
    assert "커널" in repr(knob)


def test_closing_frees_everything(knob: Any) -> None:
    from ipywidgets.widgets import widget

    from tfmagic.notebook.panels import base

    knob.show()
    alive = getattr(widget, "_instances", None)  # ipywidgets 7 keeps them on the class
    if alive is None:
        alive = widget.Widget.widgets
    assert knob in base._open.values() and knob in alive.values()
    knob._receive(knob, {"kind": "close"}, [])
    assert knob.freed and knob not in base._open.values()
    assert not {knob, knob.layout} & set(alive.values())


def test_a_cell_that_runs_again_closes_its_old_panel(
    knob: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfmagic.notebook.panels import base

    monkeypatch.setattr(base, "place", lambda: base.Slot("cell-1", "first run"))
    knob.show()
    beside = type(knob)()
    beside.show()
    assert not hasattr(knob, "freed") and list(base._open.values()) == [knob, beside]
    monkeypatch.setattr(base, "place", lambda: base.Slot("cell-1", "second run"))
    again = type(knob)()
    again.show()
    assert knob.freed and beside.freed and list(base._open.values()) == [again]
    again.close()


def test_unloading_closes_the_panels(knob: Any, shell: Any) -> None:
    knob.show()
    shell.run_line_magic("unload_ext", "tfmagic")
    assert knob.freed


def test_the_files_of_a_panel_are_in_the_package() -> None:
    from tfmagic.notebook.panels import base

    assert "function openPanel" in base.script()
    assert "--jp-ui-font-color1" in base.style()
