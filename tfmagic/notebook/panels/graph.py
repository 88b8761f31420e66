"""``%tfgraph -i``: the graph whose folds open under the mouse, and the picture that stays."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from tfmagic.language import say
from tfmagic.notebook.panels import base
from tfmagic.notebook.view import Bundle
from tfmagic.render import page
from tfmagic.render.report import GraphView
from tfmagic.render.scene import Scene

__all__ = ["GraphPanel"]


class GraphPanel(base.Panel):
    """One graph; ``view`` is its static picture, drawn anew with the folds that are open.

    The kernel lays out the inside of each fold once, when it is first opened; the rest
    happens in the browser, so opening does not wait for a picture.
    """

    _esm = base.script("graphpanel.js", library=page.script())
    _css = base.style(library=page.style())

    def __init__(self, view: GraphView) -> None:
        super().__init__()
        self.title = view.title or say("scene.title")
        self._view: GraphView | None = view
        self._opened: tuple[str, ...] | None = None

    @cached_property
    def scene(self) -> Scene:
        """The graph with its folds, made when it is first asked for."""
        assert self._view is not None
        return self._view.scene()

    def show(self) -> None:
        """Show the graph, if it is one with folds."""
        _ = self.scene
        super().show()

    def answer(self, kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """What ``static/graph.js`` asks; see there."""
        scene = self.scene
        if kind == "level":
            name = str(content["fold"])
            return {"levels": {name: scene.level(name)}}
        if kind == "search":
            return {"found": scene.search(str(content["text"])[:200])}
        if kind == "reveal":
            return scene.reveal(str(content["id"]))
        if kind == "way":
            return scene.way(str(content["id"]))
        if kind == "opened":
            known = scene.sketch.folds
            self._opened = tuple(name for name in content["open"] if name in known)
            return {}
        return scene.first(self._opened)

    def snapshot(self) -> Bundle:
        """The picture with the same folds open, and its table."""
        assert self._view is not None
        return self._view.with_open(self._opened).mimebundle()

    def free(self) -> None:
        """Let the recording go; the snapshot has been shown."""
        self._view = None
        self.__dict__.pop("scene", None)
