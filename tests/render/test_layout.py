"""DOT to SVG: what is drawn, what is refused, and that nothing stays behind."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree

import pytest

from tfmagic.errors import OptionError, RenderError
from tfmagic.language import LANGUAGES, use
from tfmagic.render import layout
from tfmagic.render.layout import Picture, svg
from tfmagic.render.layout.clean import clean

SMALL = 'digraph lesson { x [id="first"]; x -> h -> y; x -> y [style=dashed] }'
HOSTILE = "</text><script>alert(1)</script><!-- ]]> & \u0001 javascript:"
SVG = "{http://www.w3.org/2000/svg}"
ALLOWED = {"svg", "title", "g", "polygon", "polyline", "path", "ellipse", "text"}


def hard() -> str:
    """A graph that no layout finishes in a second."""
    chance = random.Random(7)
    ends = (f"n{chance.randrange(1000)}->n{chance.randrange(1000)}" for _ in range(3000))
    return f"digraph {{ {'; '.join(ends)} }}"


def parts(text: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(text).iter())


def quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def assert_harmless(text: str) -> None:
    """Only shapes and words; no attribute that runs or fetches something."""
    for part in parts(text):
        assert part.tag.removeprefix(SVG) in ALLOWED
        for name, value in part.attrib.items():
            assert not name.lower().startswith("on")
            assert "href" not in name
            assert "url(" not in value
    assert "<!" not in text
    assert "<?" not in text


class Broken:
    """An engine that says one thing only, and counts how often it was asked."""

    def __init__(self, key: str, name: str = "broken") -> None:
        self.name, self.key, self.asked = name, key, 0

    def layout(self, dot: str, budget: float, form: str = "svg") -> str:
        self.asked += 1
        raise RenderError(self.key, detail=self.name, seconds=budget)


class Steady:
    name = "steady"

    def layout(self, dot: str, budget: float, form: str = "svg") -> str:
        return '<svg xmlns="http://www.w3.org/2000/svg"/>'


# --- drawing -----------------------------------------------------------------------------


def test_a_small_graph_is_drawn_by_the_embedded_engine() -> None:
    picture = svg(SMALL)
    assert isinstance(picture, Picture)
    assert picture.engine == "embedded"
    assert picture.seconds > 0
    assert [part.text for part in parts(picture.svg) if part.tag == f"{SVG}text"] == [
        "x",
        "h",
        "y",
    ]


def test_the_picture_says_what_it_is_and_names_no_inner_part() -> None:
    root, title, *rest = parts(svg(SMALL).svg)
    assert root.get("role") == "img"
    assert (title.tag, title.text) == (f"{SVG}title", "lesson")
    assert not [part for part in rest if part.tag == f"{SVG}title"]


def test_a_graph_without_a_name_has_no_title() -> None:
    assert "<title" not in svg("digraph { a }").svg


def test_a_box_is_found_by_the_id_it_was_given() -> None:
    assert [part.get("class") for part in parts(svg(SMALL).svg) if part.get("id") == "first"] == [
        "node"
    ]


def test_the_same_text_gives_the_same_picture() -> None:
    assert len({svg(SMALL).svg for _ in range(3)}) == 1


def test_hangul_comes_through() -> None:
    assert ">손실<" in svg('digraph "수업" { a [label="손실"] }').svg


def test_a_long_chain_is_drawn() -> None:
    chain = " -> ".join(f"n{i}" for i in range(300))
    assert svg(f"digraph {{ {chain} }}", budget=60).svg.count("<text") == 300


def test_no_path_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert svg(SMALL).engine == "embedded"


def test_several_threads_draw_at_once() -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(svg(SMALL).svg)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [svg(SMALL).svg] * 4


def test_importing_it_loads_no_engine() -> None:
    code = "import sys, tfmagic.render.layout; sys.exit('wasmtime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- the budget --------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [-1, 0, 0.05])
def test_a_layout_is_stopped_and_the_next_one_works(budget: float) -> None:
    before = threading.enumerate()
    with pytest.raises(RenderError) as caught:
        svg(hard(), budget=budget)
    assert caught.value.key == "layout.over_budget"
    assert caught.value.values == {"seconds": budget}
    assert threading.enumerate() == before
    assert svg(SMALL, budget=60).engine == "embedded"


def test_an_endless_budget_is_a_budget() -> None:
    assert svg(SMALL, budget=float("inf")).engine == "embedded"


def test_a_drawn_picture_leaves_no_thread() -> None:
    before = threading.enumerate()
    svg(SMALL)
    assert threading.enumerate() == before


# --- refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "digraph { a ->", "no graph", "digraph { a [label=<<b>] }"])
def test_broken_dot_is_said_to_be_broken(text: str) -> None:
    with pytest.raises(RenderError) as caught:
        svg(text)
    assert caught.value.key == "layout.bad_dot"
    assert caught.value.values["detail"]


def test_an_unknown_engine_is_named_with_those_there_are() -> None:
    with pytest.raises(OptionError, match=r"'neato'.*auto, embedded, dot"):
        svg(SMALL, engine="neato")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "error",
    [
        RenderError("layout.over_budget", seconds=0.5),
        RenderError("layout.no_engine"),
        RenderError("layout.bad_dot", detail="near line 1"),
        RenderError("layout.failed", detail="trap"),
        OptionError("layout.unknown_engine", given="neato", known="auto"),
    ],
    ids=lambda error: error.key,
)
def test_every_error_has_its_sentence(error: RenderError, language: str) -> None:
    use(language)
    assert all(str(value) in str(error) for value in error.values.values())


# --- one engine after another ------------------------------------------------------------


def test_without_any_engine_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "wasmtime", None)
    layout.embedded._machine.cache_clear()
    with pytest.raises(RenderError) as caught:
        svg(SMALL)
    assert caught.value.key == "layout.no_engine"


@pytest.mark.parametrize("key", ["layout.no_engine", "layout.failed"])
def test_what_one_engine_lacks_the_next_one_does(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setattr(layout, "ENGINES", (Broken(key), Steady()))
    assert svg(SMALL).engine == "steady"


@pytest.mark.parametrize("key", ["layout.over_budget", "layout.bad_dot"])
def test_what_another_engine_cannot_mend_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    second = Broken("layout.failed")
    monkeypatch.setattr(layout, "ENGINES", (Broken(key), second))
    with pytest.raises(RenderError) as caught:
        svg(SMALL)
    assert (caught.value.key, second.asked) == (key, 0)


def test_the_first_failure_is_the_one_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    engines = (Broken("layout.failed", "first"), Broken("layout.no_engine", "second"))
    monkeypatch.setattr(layout, "ENGINES", engines)
    with pytest.raises(RenderError, match="first"):
        svg(SMALL)


# --- text stays text ---------------------------------------------------------------------


@pytest.mark.parametrize("place", ["label", "xlabel", "tooltip", "URL", "id", "class"])
def test_hostile_text_stays_text_wherever_it_stands(place: str) -> None:
    drawn = svg(f'digraph {{ "a" [{place}="{quoted(HOSTILE)}"] }}').svg
    assert_harmless(drawn)


def test_a_font_name_that_graphviz_does_not_escape_brings_nothing_in() -> None:
    name = '\\"/><script>alert(1)</script><text onclick=\\"alert(1)'
    drawn = svg(f'digraph {{ a [fontname="{name}"] }}').svg
    assert_harmless(drawn)
    assert "alert" not in drawn


def test_a_hostile_label_is_shown_as_it_was_written() -> None:
    label = "</text><script>alert('1')</script>"
    drawn = svg(f'digraph {{ a [label="{label}"] }}').svg
    assert [part.text for part in parts(drawn) if part.tag == f"{SVG}text"] == [label]


def test_links_and_gradients_give_way_to_plain_shapes() -> None:
    drawn = svg('digraph { a [URL="https://example.org/", style=radial, fillcolor="red:blue"] }')
    assert_harmless(drawn.svg)
    assert {"ellipse", "text"} <= {part.tag.removeprefix(SVG) for part in parts(drawn.svg)}


def test_only_shapes_and_words_pass() -> None:
    given = """<?xml version="1.0"?><!DOCTYPE svg><!-- a comment -->
    <svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
         onload="alert(1)" width="1pt">
      <script>alert(1)</script><style>@import "https://example.org"</style>
      <image xlink:href="https://example.org/a.png"/><foreignObject><p>x</p></foreignObject>
      <a xlink:href="javascript:alert(1)"><text onclick="alert(1)" x="1">kept</text></a>
      <path d="M0,0" fill="url(https://example.org)" style="cursor: pointer"/>
    </svg>"""
    assert clean(given).split("\n") == [
        '<svg xmlns="http://www.w3.org/2000/svg" role="img" width="1pt">',
        '<text x="1">kept</text>',
        '<path d="M0,0" fill="none" />',
        "</svg>",
    ]


@pytest.mark.parametrize("text", ["", "<svg/>", "<html></html>", "<svg", "<a/><b/>"])
def test_what_is_no_svg_is_refused(text: str) -> None:
    with pytest.raises(RenderError) as caught:
        clean(text)
    assert caught.value.key == "layout.failed"


# --- the system's own Graphviz -----------------------------------------------------------


@pytest.mark.dot
def test_the_systems_dot_draws_the_same_boxes() -> None:
    drawn = svg(SMALL, engine="dot", budget=60)
    assert drawn.engine == "dot"
    assert_harmless(drawn.svg)
    assert drawn.svg.count("<text") == 3


@pytest.mark.dot
@pytest.mark.parametrize(
    ("text", "budget", "key"),
    [("digraph { a ->", 60, "layout.bad_dot"), ("", 0, "layout.over_budget")],
)
def test_the_systems_dot_refuses_in_the_same_words(text: str, budget: float, key: str) -> None:
    with pytest.raises(RenderError) as caught:
        svg(text or hard(), engine="dot", budget=budget)
    assert caught.value.key == key


def test_a_dot_that_is_not_there_is_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RenderError) as caught:
        svg(SMALL, engine="dot")
    assert caught.value.key == "layout.no_engine"
