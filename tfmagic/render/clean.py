"""SVG made anew from Graphviz's, of nothing but known parts.

Whatever is not in the two lists below (scripts, links, images, comments, the XML
prolog) does not get into the picture, wherever it came from.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

from tfmagic.errors import RenderError

__all__ = ["NAMESPACE", "clean"]

NAMESPACE = "http://www.w3.org/2000/svg"

_ELEMENTS = frozenset({"svg", "g", "path", "polygon", "polyline", "ellipse", "text"})
_ATTRIBUTES = frozenset(
    "class cx cy d fill font-family font-size font-style font-weight height id points rx ry "
    "stroke stroke-dasharray stroke-width text-anchor transform viewBox width x y".split()
)


def clean(text: str) -> str:
    """The picture without prolog, comments, titles, links and anything that could run.

    The width and height are in pixels, and ``role="img"`` says what it is.  Raises
    :class:`~tfmagic.errors.RenderError` for text that is no SVG.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise RenderError("report.layout_failed", detail=str(error)) from None
    if _name(root) != "svg":
        raise RenderError("report.layout_failed", detail=_name(root)[:40])
    made = _copy(root)
    made.set("xmlns", NAMESPACE)
    made.set("role", "img")
    for side in ("width", "height"):
        made.set(side, re.sub(r"[^0-9.]", "", made.get(side, "")) or "0")
    return ElementTree.tostring(made, encoding="unicode")


def _copy(root: ElementTree.Element) -> ElementTree.Element:
    """The known part of a tree; what a link wraps is kept, the link is not."""
    made = _bare(root)
    todo = [(root, made)]
    while todo:
        source, target = todo.pop()
        for child in source:
            name = _name(child)
            if name in _ELEMENTS:
                copied = _bare(child)
                target.append(copied)
                todo.append((child, copied))
            elif name == "a":
                todo.append((child, target))
    return made


def _bare(source: ElementTree.Element) -> ElementTree.Element:
    kept = {key: value for key, value in source.attrib.items() if key in _ATTRIBUTES}
    made = ElementTree.Element(_name(source), kept)
    if made.tag == "text":
        made.text = "".join(source.itertext())
        made.set("xml:space", "preserve")
    return made


def _name(element: ElementTree.Element) -> str:
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""
