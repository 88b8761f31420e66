"""A graph whose values move: laid out once, and only its words exchanged after that."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

from tfmagic.analysis.graph import Sketch
from tfmagic.errors import RenderError
from tfmagic.language import say
from tfmagic.model import Graph, Recording
from tfmagic.render import html, tables
from tfmagic.render.dot import columns, node_lines, plain
from tfmagic.render.drawing import COARSER
from tfmagic.render.palette import GRADIENT, MARK
from tfmagic.render.svg import draw

__all__ = ["MovingPicture", "gradient_table"]

_SVG = "http://www.w3.org/2000/svg"
ROOM = 2  # columns by which a line may outgrow the box that it was laid out for


class MovingPicture:
    """The picture of one recording after another, all of the same ops."""

    def __init__(
        self,
        *,
        depth: int | None = None,
        flat: bool = False,
        backward: bool = False,
        limit: int = 60,
        budget: float = 1.0,
        engine: str = "auto",
    ) -> None:
        self._shape = {"depth": depth, "flat": flat}
        self._backward = backward
        self._limits = (limit, *(few for few in COARSER if few < limit))
        self._layout = {"budget": budget, "engine": engine}
        self._laid: dict[str, tuple[int, int]] = {}
        self.error = ""

    def draw(self, recording: Recording) -> str:
        """Lay it out anew: SVG whose boxes are named by ``data-part``, or nothing where no
        engine could draw it in time (``error`` says why)."""
        for limit in self._limits:
            graph = self._graph(recording, limit)
            try:
                drawn = draw(graph, title=say("tweak.panel_title"), **self._layout)  # type: ignore[arg-type]
            except RenderError as error:
                self.error = str(error)
                continue
            self._limits, self.error = (limit,), ""
            self._laid = {node.id: _extent(node) for node in graph.nodes}
            return _named(drawn.svg)
        self._laid = {}
        return ""

    def words(self, recording: Recording) -> dict[str, Any] | None:
        """For each box its lines and colours; None where they no longer fit the layout."""
        graph = self._graph(recording, self._limits[0])
        found: dict[str, Any] = {}
        for node in graph.nodes:
            laid, now = self._laid.get(node.id), _extent(node)
            if laid is None or now[0] != laid[0] or now[1] > laid[1] + ROOM:
                return None
            found[node.id] = {
                "lines": [line for _, line in node_lines(node)],
                "colours": [GRADIENT if part == "gradient" else "" for part, _ in node_lines(node)],
                "marked": MARK if node.marked else "",
            }
        return found

    def _graph(self, recording: Recording, limit: int) -> Graph:
        sketch = Sketch(recording, backward=self._backward)
        return plain(sketch.graph(limit=limit, **self._shape))  # type: ignore[arg-type]


def gradient_table(recording: Recording) -> str:
    """The gradients as HTML; nothing where none was asked for."""
    found = tables.gradients(recording)
    return "" if found is None else html.report([html.table(found.head(20))])


def _extent(node: Any) -> tuple[int, int]:
    lines = [line for _, line in node_lines(node)]
    return len(lines), max(map(columns, lines), default=0)


def _named(svg: str) -> str:
    """Sized in pixels, and with the ids as ``data-part``: several panels stand in one page."""
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(svg)
    for side in ("width", "height"):  # as large as the same picture beneath a cell
        root.set(side, root.get(side, "").removesuffix("pt"))
    for group in root.iter(f"{{{_SVG}}}g"):
        part = group.attrib.pop("id", "")
        if group.get("class") == "node":
            group.set("data-part", part)
    return ElementTree.tostring(root, encoding="unicode")
