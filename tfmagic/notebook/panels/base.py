"""What every panel stands on: a live widget, and beside it a picture that outlives it.

A panel is shown as two outputs.  The widget asks the kernel for its state and hides the
snapshot only once it was answered; so a notebook that is reopened, converted or not
trusted shows the snapshot, and never a dead control.  After each rest the snapshot is
brought up to date.

A subclass names its files of ``notebook/static`` and answers messages::

    class Knob(Panel):
        _esm = script("knob.js")       # panel.js comes before it
        _css = style("knob.css")

        def answer(self, kind, content):   # "hello" first, then what the module sends
            return {"value": 3}            # the whole state, painted by the module
        def snapshot(self):
            return {"text/plain": "3", "text/html": "<b>3</b>"}

What ``answer`` raises is shown in the panel, and the panel goes on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple
from uuid import uuid4

import anywidget
from IPython.core.getipython import get_ipython
from IPython.display import display, update_display
from markupsafe import Markup

from tfmagic.errors import TfmagicError
from tfmagic.language import current, say
from tfmagic.notebook.view import Bundle, View

__all__ = ["Panel", "close_all", "place", "script", "style"]

#: The panels that live, by name; running their cell again closes them.
_open: dict[str, Panel] = {}

# Where a widget cannot be restored Jupyter writes a line of its own ("Loading widget...", and
# "not found" where a kernel does not know it): it goes, the picture stays.
_NO_DEAD_LINE = Markup(
    "<style>.jp-OutputArea-child:has(+ .jp-OutputArea-child .tfmagic-snapshot) "
    ":is(.jupyter-widgets, .jp-OutputArea-output):not(:has(*)) {{ display: none; }}</style>"
).format()


@cache
def _static(name: str) -> str:
    return files("tfmagic.notebook").joinpath("static", name).read_text(encoding="utf-8")


def script(*names: str, library: str = "") -> str:
    """The module of one panel, made of these files, with what all panels share before them.

    ``library`` is the text of a script from elsewhere that the files stand on.
    """
    return "\n".join((_static("panel.js"), library, *map(_static, names)))


def style(*names: str, library: str = "") -> str:
    """The style sheet of one panel, made of these files, after the shared one."""
    return "\n".join((_static("panel.css"), library, *map(_static, names)))


class Panel(anywidget.AnyWidget):
    """A widget with a snapshot; see the module's text for what a subclass gives."""

    #: What a screen reader calls the panel.
    title = "tfmagic"
    #: Until one stands there is nothing of it to end.
    _gone = True

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self._name = f"tfmagic-panel-{uuid4().hex[:12]}"
        self._shown = False
        self._gone = False
        self._at = Slot()
        self.on_msg(self._receive)

    def __repr__(self) -> str:
        """What stands in the panel's place where it cannot live: no kernel, or a terminal."""
        return say("panel.elsewhere")

    # -- what a subclass gives -----------------------------------------------------------

    def answer(self, kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """The state after message ``kind``; ``"hello"`` asks for it when a view opens."""
        raise NotImplementedError

    def snapshot(self) -> Bundle:
        """The state as text/plain and text/html, without anything that must live."""
        raise NotImplementedError

    def free(self) -> None:
        """Let go of what the panel holds; called once, when it is closed."""

    # -- showing and closing -------------------------------------------------------------

    def show(self) -> None:
        """Show the widget and its snapshot under the cell that runs."""
        self.settle()
        display(View(self._bundle), display_id=self._name)
        self._shown = True

    def settle(self) -> None:
        """Show the widget alone, and close those that an earlier run of the cell has left."""
        self._at = place()
        for panel in list(_open.values()):
            if panel._at.cell == self._at.cell != "" and panel._at.run != self._at.run:
                panel.close()
        _open[self._name] = self
        display(self)

    def close(self) -> None:
        """End the widget: its snapshot shows the last state, and everything is freed."""
        if self._gone:
            return
        self._gone = True
        _open.pop(self._name, None)
        self.on_msg(self._receive, remove=True)
        self._renew()
        with contextlib.suppress(Exception):  # closing goes on whatever a subclass does
            self.free()
        self.layout.close()
        super().close()

    def push(self, state: dict[str, Any]) -> None:
        """Show ``state`` in every view, unasked."""
        if not self._gone:
            self.send({"state": state})

    def complain(self, text: str) -> None:
        """Show a sentence of trouble in every view, unasked."""
        if not self._gone:
            self.send({"error": text})

    # -- messages ------------------------------------------------------------------------

    def _receive(self, _: Any, message: Mapping[str, Any], buffers: Any) -> None:
        """Answer a message of the panel's module; whatever goes wrong is shown there."""
        kind = str(message.get("kind", ""))
        if kind == "hurry":  # it has done its work when it arrives; see static/panel.js
            return
        reply = {"view": message.get("view"), "seq": message.get("seq"), "kind": kind}
        try:
            reply |= self._answer(kind, message.get("content") or {})
        except TfmagicError as error:
            reply["error"] = str(error)
        except Exception as error:
            reply["error"] = f"{type(error).__name__}: {error}"[:500]
        if not self._gone:
            self.send(reply)

    def _answer(self, kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
        if kind == "snapshot":
            self._renew()
            return {}
        if kind == "close":
            self.close()
            return {}
        answer: dict[str, Any] = {"state": self.answer(kind, content)}
        if kind == "hello":
            answer |= {
                "lang": current(),
                "title": self.title,
                "busy": say("panel.busy"),
                "gone": say("panel.gone"),
                "snapshot": self._name,
            }
        return answer

    # -- the snapshot --------------------------------------------------------------------

    def _renew(self) -> None:
        if self._shown:
            update_display(View(self._bundle), display_id=self._name)

    def _bundle(self) -> Bundle:
        bundle = dict(self.snapshot())
        around = Markup('<div class="tfmagic-snapshot {}">{}{}</div>')
        html = around.format(self._name, _NO_DEAD_LINE, Markup(bundle.get("text/html", "")))
        return {"text/plain": bundle["text/plain"], "text/html": str(html)}


def close_all() -> None:
    """Close every panel that lives."""
    for panel in list(_open.values()):
        panel.close()


class Slot(NamedTuple):
    """The cell that runs, as its frontend names it, and this run of it; empty where unknown."""

    cell: str = ""
    run: str = ""


def place() -> Slot:
    """Where what is shown now will stand."""
    shell: Any = get_ipython()
    with contextlib.suppress(AttributeError, LookupError, TypeError):
        parent = shell.get_parent()
        return Slot(str(parent["metadata"]["cellId"]), str(parent["header"]["msg_id"]))
    return Slot()
