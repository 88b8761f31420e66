"""Graphviz's SVG, reduced to shapes and words.

What is not on the lists below is left out: links, images, scripts, style sheets, event
handlers, references to anything outside.  A label can then only ever be text.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from tfmagic.errors import RenderError

__all__ = ["clean"]

_SVG = "{http://www.w3.org/2000/svg}"
_SPACE = "{http://www.w3.org/XML/1998/namespace}space"
_SHAPES = frozenset({"svg", "g", "polygon", "polyline", "path", "ellipse", "text"})
_ATTRIBUTES = frozenset(
    {
        *("width", "height", "viewBox", "id", "class", "transform", _SPACE),
        *("points", "d", "cx", "cy", "rx", "ry", "x", "y"),
        *("fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity"),
        *("text-anchor", "baseline-shift", "text-decoration"),
        *("font-family", "font-size", "font-weight", "font-style"),
    }
)
#: What a paint or a font could use to fetch something; none of ours does.
_REACHES_OUT = re.compile(r"url\s*\(|javascript:|@import", re.IGNORECASE)
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: str) -> str:
    """One ``<svg role="img">``: no prolog, no comments, the graph's title only.

    Ids and classes of the groups stay, so a box can be found again.  Raises RenderError
    (``layout.failed``) where ``text`` is not one SVG document.
    """
    try:
        drawn = ElementTree.fromstring(_NOT_XML.sub("\ufffd", text))
    except ElementTree.ParseError as error:
        raise RenderError("layout.failed", detail=str(error)) from error
    if drawn.tag != f"{_SVG}svg":
        raise RenderError("layout.failed", detail=str(drawn.tag))
    (picture,) = _kept(drawn)
    picture.attrib = {
        "xmlns": _SVG.strip("{}"),
        "role": "img",
        **picture.attrib,
    }
    title = _title(drawn)
    if title is not None:
        picture.insert(0, title)
    return ElementTree.tostring(picture, encoding="unicode").strip()


def _kept(element: Element) -> Iterator[Element]:
    """A fresh copy of what may stay; a link gives way to the shapes inside it."""
    name = element.tag.removeprefix(_SVG)
    inside = [kept for child in element for kept in _kept(child)]
    if name == "a":
        yield from inside
    elif name in _SHAPES:
        copy = Element(name, _attributes(element))
        copy.text = element.text if name == "text" else "\n" if inside else None
        copy.tail = "\n"
        copy.extend(inside)
        yield copy


def _attributes(element: Element) -> dict[str, str]:
    return {
        name: "none" if _REACHES_OUT.search(value) else value
        for name, value in element.attrib.items()
        if name in _ATTRIBUTES
    }


def _title(drawn: Element) -> Element | None:
    """The graph's own name, first in the picture, where a screen reader looks for it."""
    found = drawn.find(f"{_SVG}g[@class='graph']/{_SVG}title")
    if found is None or not found.text or found.text.startswith("%"):  # a graph without a name
        return None
    title = Element("title")
    title.text, title.tail = found.text, "\n"
    return title
