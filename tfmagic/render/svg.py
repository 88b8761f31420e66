"""The laid-out SVG, with its texts set: titles bold, values in a fixed width, gradients in
their colour.

Graphviz decides where a box stands and how large it is; the words in it are ours, so
each box's ``<text>`` elements are met again in the order in which its lines were given.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence

from tfmagic.model import Graph
from tfmagic.render.dot import TITLE_SIZE, look_of, node_lines, plain, source, text_width
from tfmagic.render.escape import visible
from tfmagic.render.layout import Picture, svg
from tfmagic.render.palette import GRADIENT, SANS

__all__ = ["draw"]

_NAMESPACE = "http://www.w3.org/2000/svg"
_LID = 4.0  # points by which the text of a cylinder stands below its middle


def draw(
    graph: Graph,
    *,
    direction: str = "auto",
    columns: int = 1,
    budget: float = 1.0,
    engine: str = "auto",
    title: str = "",
) -> Picture:
    """Lay the graph out and set its texts.

    ``budget`` is in seconds.  Raises :class:`~tfmagic.errors.RenderError` where no
    engine could draw it in that time.
    """
    graph = plain(graph)
    laid = svg(source(graph, direction=direction, columns=columns), budget=budget, engine=engine)
    return Picture(_set_texts(laid.svg, graph, title), laid.engine, laid.seconds)


def _set_texts(text: str, graph: Graph, title: str) -> str:
    ElementTree.register_namespace("", _NAMESPACE)
    root = ElementTree.fromstring(text)
    parts = {node.id: node_lines(node) for node in graph.nodes}
    lids = {node.id: _LID for node in graph.nodes if look_of(node).shape == "cylinder"}
    for group in root.iter(f"{{{_NAMESPACE}}}g"):
        lines = parts.get(group.get("id", ""))
        if lines:
            _set_box(
                lines, group.findall(f".//{{{_NAMESPACE}}}text"), lids.get(group.get("id", ""), 0.0)
            )
    _name(root, title)
    return ElementTree.tostring(root, encoding="unicode")


def _set_box(
    lines: Sequence[tuple[str, str]], texts: Sequence[ElementTree.Element], down: float
) -> None:
    """Set the lines of one box; those below the title stand as a block in its middle."""
    middle = float(texts[0].get("x", "0")) if texts else 0.0
    left = middle - text_width([text for part, text in lines if part != "title"]) / 2
    for (part, _), element in zip(lines, texts, strict=False):
        element.set("y", f"{float(element.get('y', '0')) + down:.2f}")
        if part != "title":
            element.set("x", f"{left:.2f}")
            element.set("text-anchor", "start")
        _set(element, part)


def _set(element: ElementTree.Element, part: str) -> None:
    if part == "title":
        element.set("font-family", SANS)
        element.set("font-weight", "bold")
        element.set("font-size", f"{TITLE_SIZE}.00")
    elif part == "gradient":
        element.set("fill", GRADIENT)


def _name(root: ElementTree.Element, title: str) -> None:
    """What a screen reader says of the picture."""
    if not title:
        return
    title = visible(title)
    root.set("aria-label", title)
    for element in root.iter(f"{{{_NAMESPACE}}}title"):
        element.text = title
        return
