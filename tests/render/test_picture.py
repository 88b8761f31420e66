"""DOT and SVG: every name is text, every box holds its words, the same each time."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wcwidth import wcswidth

from tfmagic.analysis.graph import build
from tfmagic.errors import RenderError
from tfmagic.model import Cluster, Edge, Graph, Node, Recording
from tfmagic.render import dot, layout
from tfmagic.render.drawing import SCREEN, Drawing
from tfmagic.render.escape import visible
from tfmagic.render.palette import GRADIENT, LOOKS, MARK
from tfmagic.render.svg import draw

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    'a"b',
    "{a|b}",
    "back\\slash\\",
    "\\N\\l\\G",
    "line\nbreak",
    "<script>alert(1)</script>",
    "<b>bold</b>",
    "&amp;&lt;",
    "]; evil -> node; [",
    "x" * 10_000,
    "\u202eright to left",
    "שלום",
    "👩‍👩‍👧🎉",
    "\x00\x1b[31m\x07",
    "가중치",
    "\ud800",
    "",
]


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def box(svg: str, identity: str) -> ElementTree.Element:
    (found,) = [g for g in parsed(svg).iter(f"{SVG}g") if g.get("id") == identity]
    return found


def words(element: ElementTree.Element) -> list[str]:
    return [(t.text or "").replace("\xa0", " ") for t in element.iter(f"{SVG}text")]


# --- the lesson --------------------------------------------------------------------------


def test_the_lessons_dot(lesson: Recording) -> None:
    text = dot.source(build(lesson))
    assert text.startswith('digraph tfmagic {\n  graph [rankdir=LR, bgcolor="transparent"')
    assert text.endswith("}\n")
    assert text.count(" -> ") == 9
    (weight,) = re.findall(r'^  "v0" \[.*$', text, re.M)
    assert "shape=cylinder" in weight
    assert "W_1\\n[[0.11,\xa00.21],\\l\xa0[0.12,\xa00.08]]\\l(2,\xa02)\\l∇\xa0=\xa0" in weight


def test_the_lessons_picture(lesson: Recording) -> None:
    picture = draw(build(lesson), title="the lesson")
    assert words(box(picture.svg, "o0")) == [
        "MatMul",
        "H_1 = [[0.85],",
        "       [0.48]]",
        "(2, 1)",
        "∇ = [[-0.11326],",
        "     [-0.12135]]",
    ]
    root = parsed(picture.svg)
    assert root.get("role") == "img"
    assert root[0].tag == f"{SVG}title" and root[0].text == "the lesson"


def test_gradients_have_a_colour_of_their_own(lesson: Recording) -> None:
    texts = box(draw(build(lesson)).svg, "o0").iter(f"{SVG}text")
    assert [t.get("fill") == GRADIENT for t in texts] == [False] * 4 + [True] * 2


def test_the_same_graph_gives_the_same_bytes(lesson: Recording) -> None:
    assert draw(build(lesson)).svg == draw(build(lesson)).svg


def test_each_kind_of_box_differs_in_shape_or_border_and_in_colour() -> None:
    kinds = ("variable", "input", "op", "fold", "target", "stub")
    assert len({(LOOKS[k].shape, LOOKS[k].border) for k in kinds}) == len(kinds)
    assert len({LOOKS[k].fill for k in kinds}) == len(kinds)


def test_a_marked_path_is_red(lesson: Recording) -> None:
    lines = dot.source(build(lesson, marked=(0, "W_1"))).splitlines()
    assert sum(MARK in line for line in lines) == 3


def test_an_op_that_changes_a_variable_says_so_where_an_arrow_would_run_back() -> None:
    nodes = (Node("v0", "variable", "w"), Node("o1", "op", "AssignSubVariableOp"))
    back = Edge("o1", "v0", "control")
    picture = draw(Graph(nodes, (Edge("v0", "o1"), back))).svg
    assert words(box(picture, "o1")) == ["AssignSubVariableOp", "→ w"]
    assert picture.count('class="edge"') == 1
    picture = draw(Graph(nodes, (back,))).svg
    assert words(box(picture, "o1")) == ["AssignSubVariableOp"]
    assert picture.count('class="edge"') == 1


def test_frames_stand_in_frames() -> None:
    graph = Graph(
        nodes=(Node("a", "op", "A", cluster="c1"), Node("b", "op", "B", cluster="c0")),
        edges=(Edge("a", "b"),),
        clusters=(Cluster("c0", "net"), Cluster("c1", "dense", "c0")),
    )
    picture = draw(graph).svg
    assert picture.count('class="cluster"') == 2
    assert {"net", "dense"} <= set(words(parsed(picture)))


def test_a_long_chain_is_drawn_from_top_to_bottom() -> None:
    nodes = tuple(Node(f"o{i}", "op", "Relu", (f"value_{i} = 0.12345",)) for i in range(20))
    edges = tuple(Edge(f"o{i}", f"o{i + 1}") for i in range(19))
    width, height = size(draw(Graph(nodes, edges)).svg)
    assert width < height
    width, height = size(draw(Graph(nodes, edges), direction="LR").svg)
    assert width > height


def test_a_wide_picture_is_turned_where_that_is_narrower() -> None:
    nodes = tuple(Node(f"o{i}", "op", "x" * 40) for i in range(6))
    edges = tuple(Edge(f"o{i}", f"o{i + 1}") for i in range(5))
    graph = Graph(nodes, edges)
    assert size(draw(graph, direction="LR").svg)[0] > SCREEN[0]
    assert Drawing(lambda most: graph).drawn.size[0] < SCREEN[0] / 2


def test_a_picture_that_fits_is_as_fine_as_a_screen_has_room_for() -> None:
    """A chain goes on in further columns before it is told in fewer boxes."""

    def chain(most: int | None) -> Graph:
        count = min(most or 40, 40)
        nodes = tuple(Node(f"o{i}", "op", f"layer_{i}") for i in range(count))
        return Graph(nodes, tuple(Edge(f"o{i}", f"o{i + 1}") for i in range(count - 1)))

    drawn = Drawing(chain, fit=True).drawn
    assert drawn.excess <= 1.2 and drawn.width <= SCREEN[0]
    assert len(drawn.graph.nodes) == 25 and drawn.columns > 1
    short = Drawing(lambda most: chain(5), fit=True).drawn
    assert len(short.graph.nodes) == 5 and short.columns == 1
    assert len(Drawing(chain).drawn.graph.nodes) == 40


def size(svg: str) -> tuple[float, float]:
    root = parsed(svg)
    return tuple(float(root.get(side, "").rstrip("ptx")) for side in ("width", "height"))  # type: ignore[return-value]


# --- names nobody should give ------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_is_only_text(name: str) -> None:
    graph = hostile(name)
    picture = draw(graph, title=name).svg
    check(picture)
    (title, *_) = words(box(picture, "a"))[:1] or [""]
    assert title == dot.shown(name)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=80))
def test_any_name_is_only_text(name: str) -> None:
    check(draw(hostile(name)).svg)


def hostile(name: str) -> Graph:
    return Graph(
        nodes=(
            Node("a", "variable", name, (name, name), gradient=name, cluster="c"),
            Node("b", "op", name, cluster="c"),
        ),
        edges=(Edge("a", "b", label=name),),
        clusters=(Cluster("c", name),),
    )


def check(picture: str) -> None:
    """Two boxes, one arrow, one frame, and nothing that could act."""
    root = parsed(picture)
    classes = [g.get("class") for g in root.iter(f"{SVG}g")]
    assert [classes.count(c) for c in ("node", "edge", "cluster")] == [2, 1, 1]
    assert {str(e.tag).removeprefix(SVG) for e in root.iter()} <= {
        *("svg", "g", "title", "path", "polygon", "polyline", "ellipse", "text"),
    }


def test_a_name_of_ten_thousand_characters_is_shortened() -> None:
    assert len(dot.shown("x" * 10_000)) == dot.WIDEST
    assert dot.shown("x" * 10_000).endswith("…")


@given(st.text())
def test_what_is_visible_has_no_control_in_it(text: str) -> None:
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]", visible(text))
    assert len(visible(text)) == len(text)


# --- Hangul ------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["가중치_은닉층_첫번째 = 0.12345", "W_1 = 0.12345", "손실"])
def test_a_box_is_as_wide_as_its_words(text: str) -> None:
    """A full-width character takes two columns of a fixed-width font, 0.6 em each."""
    picture = draw(Graph(nodes=(Node("a", "op", "Mul", (text,)),))).svg
    path = box(picture, "a").find(f".//{SVG}path")
    assert path is not None
    across = [float(x) for x in re.findall(r"(-?[\d.]+),-?[\d.]+", path.get("d", ""))]
    assert max(across) - min(across) >= wcswidth(text) * 0.6 * dot.TEXT_SIZE


def test_columns_count_hangul_twice() -> None:
    assert dot.columns("가중치_1") == 8


# --- time --------------------------------------------------------------------------------


class Slow:
    """An engine for which every graph of more than so many boxes takes too long."""

    name = "embedded"

    def __init__(self, most: int) -> None:
        self.most = most

    def layout(self, text: str, budget: float, form: str = "svg") -> str:
        if text.count("shape=") > self.most:
            raise RenderError("layout.over_budget", seconds=budget)
        return layout.Embedded().layout(text, 30.0)


def chain(make: Any, length: int = 200) -> Recording:
    m = make(["y = f(x)"])
    value = m.tensor([1.0] * 20, name="x")
    for i in range(length):
        value = m.op("Relu", [value], scope=f"net/layer_{i // 5}", line=0)
    return m.done()


@pytest.mark.parametrize("most", [10, 4])
def test_a_layout_out_of_time_gives_a_coarser_picture(
    make: Any, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(layout, "ENGINES", (Slow(most),))
    recording = chain(make)
    drawing = Drawing(lambda limit: build(recording, limit=limit or 60))
    assert drawing.drawn.svg and len(drawing.drawn.graph.nodes) <= most
    assert "Drawn in less detail, because" in next(drawing.notes())


def test_no_picture_at_all_leaves_the_graph_and_the_reason(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "ENGINES", (Slow(0),))
    recording = chain(make)
    drawing = Drawing(lambda limit: build(recording, limit=limit or 60))
    assert not drawing.drawn.svg and drawing.drawn.graph.nodes
    assert next(drawing.notes()).startswith("No picture: ")


def test_the_alternative_text_names_the_boxes(lesson: Recording) -> None:
    drawing = Drawing(lambda _: build(lesson))
    assert drawing.drawn.description.startswith("Graph of 10 boxes: W_1, X, MatMul, W_2")
