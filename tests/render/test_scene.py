"""The live picture's data: every fold laid out once, and all of it in one safe file."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tfmagic.analysis import rollup as tally
from tfmagic.analysis.cost import Total, total
from tfmagic.analysis.graph import Sketch
from tfmagic.errors import OptionError, RenderError
from tfmagic.model import Recording
from tfmagic.render import layout, page
from tfmagic.render.report import GraphView
from tfmagic.render.scene import Scene


@pytest.fixture
def network(make: Any) -> Recording:
    """Twelve layers, each of three ops with a weight of its own, and a loss."""
    m = make(["y = net(x)", "loss = mean(y)"])
    value = m.tensor([1.0] * 20, name="x")
    for i in range(12):
        weight = m.read(m.variable(f"w{i}"))
        for kind in ("MatMul", "BiasAdd", "Relu"):
            inputs = [value, weight] if kind == "MatMul" else [value]
            value = m.op(kind, inputs, scope=f"net/dense_{i}", line=0)
    loss = m.op("Mean", [value], name="loss", line=1)
    m.gradient(loss)
    return m.done()


def test_a_level_has_its_boxes_at_their_places(network: Recording) -> None:
    scene = Scene(network)
    (repeat,) = [f for f in scene.sketch.folds.values() if f.kind == "repeat"]
    level = scene.level(repeat.id)
    for node in level["nodes"]:
        x, y, w, h = node["at"]
        assert w / 2 <= x + 0.5 and x + w / 2 <= level["w"] + 0.5
        assert h / 2 <= y + 5 and y + h / 2 <= level["h"] + 5
    titles = [n["lines"][0][1] for n in level["nodes"] if n.get("fold")]
    assert titles == [f"dense_{i}" for i in range(12)]
    ids = {n["id"] for n in level["nodes"]}
    assert level["edges"] and all({e["t"], e["h"]} <= ids for e in level["edges"])
    assert all(len(e["p"]) >= 8 for e in level["edges"])


def test_boxes_of_a_level_do_not_lie_on_each_other(network: Recording) -> None:
    scene = Scene(network)
    for name in scene.sketch.folds:
        at = [node["at"] for node in scene.level(name)["nodes"]]
        for i, (x, y, w, h) in enumerate(at):
            for u, v, p, q in at[:i]:
                assert abs(x - u) >= (w + p) / 2 - 1 or abs(y - v) >= (h + q) / 2 - 1


def test_a_level_is_laid_out_once(network: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(network)
    first = scene.level(scene.root)
    monkeypatch.setattr(layout, "ENGINES", ())
    assert scene.level(scene.root) is first


def test_a_layout_out_of_time_stands_in_rows(
    network: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late:
        name = "late"

        def layout(self, dot: str, budget: float, form: str = "svg") -> str:
            raise RenderError("layout.over_budget", seconds=budget)

    monkeypatch.setattr(layout, "ENGINES", (Late(),))
    level = Scene(network).level("f0")
    assert level["rough"] and level["nodes"] and level["edges"]


def test_search_finds_folds_variables_and_ops(network: Recording) -> None:
    scene = Scene(network)
    assert next(hit["title"] for hit in scene.search("DENSE_7")) == "dense_7"
    assert [hit["id"] for hit in scene.search("loss")] == ["o36"]
    assert scene.search("w11") and not scene.search("  ") and not scene.search("nowhere")
    shown = scene.reveal(scene.search("w11")[0]["id"])
    assert "v11" in {n["id"] for n in shown["levels"][shown["home"]]["nodes"]}


def test_the_way_leads_to_the_target(network: Recording) -> None:
    scene = Scene(network)
    ids = scene.way("v10")["ids"]
    assert [i for i in ids if i.startswith("o")] == [f"o{n}" for n in range(30, 37)]
    assert scene.root in ids
    assert scene.way("o36")["ids"][0] == "o36"


def test_a_box_tells_what_it_is_coloured_by(network: Recording) -> None:
    scene = Scene(network)
    node = scene.level(scene.parents["o0"])["nodes"]
    (op,) = [n for n in node if n["id"] == "o0"]
    assert op["by"]["dtype"] == "float32" and dict(op["rows"])["line of code"] == "1: y = net(x)"


# --- one file -----------------------------------------------------------------------------


HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "\u2028alert(1)",
    '"});alert(1);({"',
    "${alert(1)}",
    "__proto__",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_cannot_leave_its_place_in_the_file(make: Any, tmp_path: Path, name: str) -> None:
    m = make([name])
    value = m.op("Neg", [m.tensor([1.0], name=name)], name=name, scope=name, line=0)
    m.op("Abs", [value], scope=name, line=0)
    text = GraphView(m.done(), name).save(tmp_path / "g.html").read_text(encoding="utf-8")
    assert len(re.findall("<script", text)) == 2 and len(re.findall("</script", text)) == 2
    data = json.loads(text.split('id="tfmagic-data">')[1].split("</script>")[0])
    shown = [line for n in data["levels"]["f0"]["nodes"] for _, line in n["lines"]]
    assert any(name.strip("\u2028") in line for line in shown)


def test_a_file_asks_for_nothing_from_outside(network: Recording, tmp_path: Path) -> None:
    text = GraphView(network).save(tmp_path / "g.html").read_text(encoding="utf-8")
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", text)
    assert "default-src 'none'" in text and "'unsafe-eval'" not in text


def test_a_large_file_leaves_folds_out_and_says_so(
    network: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "LARGEST", 20_000)
    view = GraphView(network, "net")
    text = page.page(view.scene(), "net", "")
    data = json.loads(text.split('id="tfmagic-data">')[1].split("</script>")[0])
    shown = {n["id"] for level in data["levels"].values() for n in level["nodes"] if n.get("fold")}
    assert shown <= set(data["levels"]) and "are not in this file" in text


def test_a_bare_graph_has_no_folds(network: Recording) -> None:
    with pytest.raises(OptionError, match="no folds"):
        GraphView(Sketch(network).graph()).scene()


def test_each_op_is_looked_at_once_however_many_folds_are_opened(
    network: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def noted(recording: Recording, ops: Any) -> Total:
        seen.extend(op.index for op in ops)
        return total(recording, ops)

    monkeypatch.setattr(tally, "total", noted)
    scene = Scene(network)
    scene.first()
    for name in scene.sketch.folds:
        scene.level(name)
    assert sorted(seen) == [op.index for op in network.ops]


def test_a_fold_tells_the_sum_of_its_ops(network: Recording) -> None:
    timed = replace(network, op_seconds=tuple((op.index, 1e-6) for op in network.ops[1:]))
    scene = Scene(timed)
    for fold in scene.sketch.folds.values():
        ops = [timed.ops[i] for i in fold.ops]
        made = scene.details.tallies.of(fold.ops)
        assert made.cost == total(timed, ops)
        assert made.seconds == pytest.approx(1e-6 * sum(op.index > 0 for op in ops))
        assert made.untimed == (0 in fold.ops)
        assert sum(made.types.values()) == len(ops)
        assert made.bytes == sum(timed.tensors[t].bytes for op in ops for t in op.outputs)
