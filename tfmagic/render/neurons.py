"""The two layers as neurons: laid out once by Graphviz, and filled with numbers at each change.

A weight is a small box on its arrow, so that its value and its gradient have a place of
their own.  What changes while a slider moves are *marks*: for each part of the picture its
lines of text, its colours and widths.  The same marks fill the static picture here and the
live one in the panel.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from tfmagic.analysis.formulas import place, symbol
from tfmagic.analysis.notation import number
from tfmagic.language import say
from tfmagic.model.step import Array, Network, StepState
from tfmagic.render.layout import svg
from tfmagic.render.palette import ARROW, GRADIENT, INK, MARK, SANS

__all__ = ["Mark", "filled", "marks", "shown_nodes", "skeleton"]

#: Of a part: ``lines`` of text, ``fill``, ``line`` and ``width``; ``now`` where one looks.
Mark = dict[str, Any]

MOST_NODES = 6  # of one layer
BOX, BOX_ROOM = 1.4, 16  # inches, and the characters that fit into them
MOST_BOXES = 9  # weights of one layer that have a box each
POSITIVE, NEGATIVE = ("#dcebfb", "#2b6cb0"), ("#fde4cf", "#c05621")
NODE, GIVEN, LOSS = ("#eef1f5", "#52606d"), ("#e6eaef", "#718096"), ("#e6dcfc", "#6b46c1")
UNKNOWN = "?"
_SVG = "http://www.w3.org/2000/svg"


def shown_nodes(count: int) -> tuple[int, ...]:
    """The nodes of a layer that are drawn; the rest stands as one."""
    return tuple(range(count if count <= MOST_NODES else MOST_NODES - 1))


def skeleton(network: Network) -> str:
    """The picture without numbers: SVG whose parts are named by ``data-part``."""
    biases = (network.b_1 is not None, network.b_2 is not None)
    curved = (network.activation[0] != "linear", network.activation[1] != "linear")
    return _laid(network.sizes, biases, curved, network.samples > 1)


@lru_cache(maxsize=16)
def _laid(
    sizes: tuple[int, int, int], biases: tuple[bool, bool], curved: tuple[bool, bool], many: bool
) -> str:
    drawn = svg("\n".join(_lines(sizes, biases, curved, many)), budget=5.0)
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(drawn.svg)
    for title in root.findall(f"{{{_SVG}}}title"):
        root.remove(title)
    for group in root.iter(f"{{{_SVG}}}g"):
        part = group.attrib.pop("id", "")
        if group.get("class") in ("node", "edge"):
            group.set("data-part", part)
    return ElementTree.tostring(root, encoding="unicode")


# --- the layout ------------------------------------------------------------------------------


def _lines(
    sizes: tuple[int, int, int], biases: tuple[bool, bool], curved: tuple[bool, bool], many: bool
) -> Iterator[str]:
    yield 'digraph { graph [rankdir=LR, bgcolor="transparent", splines=line, nodesep=0.16,'
    yield f'ranksep=0.3, pad=0.1]; edge [color="{ARROW}", arrowsize=0.6];'
    yield f'node [fontname="{SANS}", fontsize=11, fontcolor="{INK}", style=filled, penwidth=1.4,'
    yield "fixedsize=true];"
    yield from _layer(("X",), sizes[0], 2)
    yield from _layer(("H_1",), sizes[1], 3 + curved[0])
    yield from _layer(("Y_hat", "Y"), sizes[2], 3 + curved[1], 2)
    yield from _weights("W_1", "X", "H_1", sizes[0], sizes[1])
    yield from _weights("W_2", "H_1", "Y_hat", sizes[1], sizes[2])
    for layer, (head, count) in enumerate((("H_1", sizes[1]), ("Y_hat", sizes[2]))):
        for i in shown_nodes(count) if biases[layer] else ():
            part = place(f"b_{layer + 1}", i)
            yield _node(part, 2, "box", BOX, 0.42)
            yield f'"{part}" -> "{head}[{i}]" [id="{part}>"];'
    yield _node("Loss", 2 + many, "box", 1.0, 0.44 + 0.18 * many)
    for k in shown_nodes(sizes[2]):
        for name in ("Y_hat", "Y"):
            yield f'"{name}[{k}]" -> "Loss" [id="{name}[{k}]>Loss"];'
    yield "}"


def _layer(names: tuple[str, ...], count: int, *lines: int) -> Iterator[str]:
    """The nodes of one rank, kept in their order by arrows that are not seen."""
    parts = []
    for name, high in zip(names, lines, strict=True):
        size = 0.72 if high == 2 else 0.9 if high == 3 else 1.06
        for i in shown_nodes(count):
            parts.append(place(name, i))
            yield _node(parts[-1], high, "circle", size, size)
        if count > MOST_NODES:
            parts.append(f"{name}…")
            yield _node(parts[-1], 2, "box", 0.9, 0.42)
    row = " -> ".join(f'"{part}"' for part in parts)
    yield f"{{ rank=same; edge [style=invis]; {row}; }}"


def _node(part: str, lines: int, shape: str, width: float, height: float) -> str:
    text = "\\n".join("0" * lines)
    style = ', style="filled,rounded"' if shape == "box" else ""
    return (
        f'"{part}" [id="{part}", label="{text}", shape={shape}, '
        f"width={width}, height={height}{style}];"
    )


def _weights(name: str, tail: str, head: str, inputs: int, nodes: int) -> Iterator[str]:
    """From each lower node to each upper one, through the box of the weight where it has one."""
    lower, upper = shown_nodes(inputs), shown_nodes(nodes)
    boxes = has_boxes(nodes, inputs)
    for j in lower:
        for i in upper:
            part, ends = place(name, i, j), (f'"{tail}[{j}]"', f'"{head}[{i}]"')
            if boxes:
                yield _node(part, 2, "box", BOX, 0.42)
                yield f'{ends[0]} -> "{part}" [id="{part}<", arrowhead=none];'
                yield f'"{part}" -> {ends[1]} [id="{part}>"];'
            else:
                yield f'{ends[0]} -> {ends[1]} [id="{part}>", minlen=5];'


def has_boxes(rows: int, columns: int) -> bool:
    """Whether each weight of a matrix has its box in the picture."""
    return len(shown_nodes(rows)) * len(shown_nodes(columns)) <= MOST_BOXES


# --- the numbers -----------------------------------------------------------------------------


def marks(
    state: StepState, sample: int = 0, now: frozenset[str] = frozenset(), hide: bool = False
) -> dict[str, Mark]:
    """What to write and paint, by part; ``now`` are the parts that are looked at.

    Values that were not stepped to yet are ``?``.  With ``hide`` no gradient is told.
    """
    known = set(state.network.backward_pieces[: state.backward]) if not hide else set()
    found = dict(_nodes(state, sample, known))
    for name, below in (("W_1", "X"), ("W_2", "H_1")):
        found |= _weight_marks(state, name, below, known)
    for part, mark in found.items():
        if part.rstrip("<>") in now:
            mark |= {"line": MARK, "width": 3.2, "now": True}
    return found


def _nodes(state: StepState, sample: int, known: set[str]) -> Iterator[tuple[str, Mark]]:
    network, passed = state.network, state.passed
    yield from _given("X", network.X[:, sample])
    yield from _given("Y", network.Y[:, sample])
    layers = (
        ("H_1", passed.Z_1, passed.H_1, passed.dH_1, network.b_1, passed.db_1),
        ("Y_hat", passed.Z_2, passed.Y_hat, passed.dY_hat, network.b_2, passed.db_2),
    )
    for layer, (name, Z, values, slopes, bias, dbias) in enumerate(layers):
        there = state.forward > layer
        for i in shown_nodes(len(values)):
            lines = [symbol(place(name, i))]
            if network.activation[layer] != "linear":
                lines.append(f"Z {number(Z[i, sample], 4) if there else UNKNOWN}")
            lines.append(number(values[i, sample], 4) if there else UNKNOWN)
            lines.append(_slope(slopes[i, sample], f"d{name}" in known, 4))
            yield place(name, i), {"lines": lines, "fill": NODE[0], "line": NODE[1], "width": 1.4}
            if bias is not None:
                slope = None if dbias is None else dbias[i, 0]
                told = f"db_{layer + 1}" in known
                yield from _box(f"b_{layer + 1}[{i}]", bias[i, 0], slope, told, 0.5)
        yield from _rest(name, len(values))
    lines = ["Loss", number(passed.loss) if state.forward > 2 else UNKNOWN]
    lines += [say("step.samples", n=network.samples)] if network.samples > 1 else []
    yield "Loss", {"lines": lines, "fill": LOSS[0], "line": LOSS[1], "width": 1.8}


def _given(name: str, values: Array) -> Iterator[tuple[str, Mark]]:
    for i in shown_nodes(len(values)):
        lines = [place(name, i), number(values[i], 4)]
        yield place(name, i), {"lines": lines, "fill": GIVEN[0], "line": GIVEN[1], "width": 1.2}
    yield from _rest(name, len(values))


def _rest(name: str, count: int) -> Iterator[tuple[str, Mark]]:
    if count > MOST_NODES:
        lines = ["⋮", say("step.more_nodes", n=count - len(shown_nodes(count)))]
        yield f"{name}…", {"lines": lines, "fill": GIVEN[0], "line": ARROW, "width": 1.0}


def _weight_marks(state: StepState, name: str, below: str, known: set[str]) -> dict[str, Mark]:
    """Each weight's box, and its arrows: blue where it is positive, orange where negative, the
    thicker the larger; the box's rim the thicker the larger its gradient."""
    W: Array = getattr(state.network, name)
    slopes: Array = getattr(state.passed, f"d{name}")
    told = f"d{name}" in known
    sizes, steepness = _share(W), _share(slopes)
    boxes = has_boxes(*W.shape)
    found: dict[str, Mark] = {}
    for i in shown_nodes(len(W)):
        for j in shown_nodes(W.shape[1]):
            part = place(name, i, j)
            line = (POSITIVE if W[i, j] >= 0 else NEGATIVE)[1]
            width = round(0.8 + 3.2 * float(sizes[i, j]), 2)
            title = f"{part} = {number(W[i, j])}  {_slope(slopes[i, j], told)}"
            found[f"{part}>"] = {"line": line, "width": width, "title": title}
            if boxes:
                found[f"{part}<"] = {"line": line, "width": width}
                found |= dict(_box(part, W[i, j], slopes[i, j], told, float(steepness[i, j])))
    return found


def _box(part: str, value: Any, slope: Any, told: bool, share: float) -> Iterator[tuple[str, Mark]]:
    fill, line = POSITIVE if value >= 0 else NEGATIVE
    yield (
        part,
        {
            "lines": [f"{part} {_brief(value, BOX_ROOM - len(part) - 1)}", _slope(slope, told)],
            "fill": fill,
            "line": GRADIENT if told else line,
            "width": round(0.8 + 2.4 * share, 2) if told else 1.0,
        },
    )


def _brief(value: Any, room: int) -> str:
    """A number in so many characters, with as many digits as they hold."""
    for digits in (4, 3, 2):
        text = number(value, digits)
        if len(text) <= room:
            return text
    mantissa, _, exponent = f"{float(value):.1e}".partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def _slope(value: Any, told: bool, digits: int = 5) -> str:
    return f"∇ {number(value, digits)}" if told else ""


def _share(values: Array) -> Array:
    """Each size as a share of the largest; of what is not finite it is none."""
    sizes = np.nan_to_num(np.abs(np.asarray(values, float)), posinf=0.0)
    most = float(sizes.max()) or 1.0
    return np.asarray(sizes / most)


# --- the static picture ------------------------------------------------------------------------


def filled(picture: str, found: dict[str, Mark], title: str) -> str:
    """``picture`` with every mark in its place."""
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(picture)
    for group in root.iter(f"{{{_SVG}}}g"):
        mark = found.get(group.attrib.pop("data-part", ""))
        if mark:
            _fill(group, mark)
    root.set("role", "img")
    root.set("aria-label", title)
    return ElementTree.tostring(root, encoding="unicode")


def _fill(group: ElementTree.Element, mark: Mark) -> None:
    edge = "fill" not in mark
    for shape in group:
        name = shape.tag.removeprefix(f"{{{_SVG}}}")
        if name == "text":
            continue
        shape.set("stroke", mark["line"])
        shape.set("stroke-width", str(mark["width"] if name != "polygon" or not edge else 1))
        if not edge or name == "polygon":
            shape.set("fill", mark["line"] if edge else mark["fill"])
    for text, line in zip(group.findall(f"{{{_SVG}}}text"), mark.get("lines", ()), strict=False):
        text.text = line
        if line.startswith("∇"):
            text.set("fill", GRADIENT)
        elif text is group.find(f"{{{_SVG}}}text"):
            text.set("font-weight", "bold")


def legend() -> list[tuple[str, str, str]]:
    """What the colours of the weights mean."""
    return [
        (*POSITIVE, say("step.positive")),
        (*NEGATIVE, say("step.negative")),
        ("#ffffff", GRADIENT, say("step.gradient_rim")),
    ]
