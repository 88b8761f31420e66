"""The button under a picture that opens it as a live graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfmagic.language import say
from tfmagic.notebook.panels import base
from tfmagic.notebook.panels.graph import GraphPanel
from tfmagic.render import page
from tfmagic.render.report import GraphView

__all__ = ["MOST", "ROOM", "DeferredGraph"]

#: The most earlier pictures that can still be opened, and the most ops that they hold together.
MOST = 20
ROOM = 5_000

#: The doors behind which there still is a graph, the oldest first.
_kept: list[DeferredGraph] = []


class DeferredGraph(GraphPanel):
    """A live graph that is made when its button is pressed; ``picture`` is what it hides.

    What is kept for it is the recording, as plain data; of older pictures only so much as
    :data:`MOST` and :data:`ROOM` say, and a door to any other tells how to get it back.
    """

    _esm = base.script("door.js")
    _css = base.style("door.css")

    def __init__(self, view: GraphView, picture: str) -> None:
        super().__init__(view)
        self._picture = picture

    def __repr__(self) -> str:
        """Nothing: where the button cannot live the picture above it says it all."""
        return ""

    def show(self) -> None:
        """Show the button under the cell that runs."""
        self.settle()
        _kept.append(self)
        while _kept[:-1] and (len(_kept) > MOST + 1 or sum(map(_ops, _kept[:-1])) > ROOM):
            _kept.pop(0).free()

    def answer(self, kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """What ``static/door.js`` asks, and once it is open ``static/graph.js``."""
        if kind == "hello":
            words = {"open": say("door.open"), "back": say("door.back")}
            return {"words": words, "picture": self._picture}
        if self._view is None:
            return {"past": say("door.past")}
        if kind == "open":
            code = page.script() + "\nexport { showGraph };\n"
            return {"code": code, "style": page.style(), "first": super().answer("hello", {})}
        return super().answer(kind, content)

    def free(self) -> None:
        """Let the recording go."""
        super().free()
        if self in _kept:
            _kept.remove(self)


def _ops(door: DeferredGraph) -> int:
    recording = door._view.recording if door._view is not None else None
    return 0 if recording is None else len(recording.ops)
