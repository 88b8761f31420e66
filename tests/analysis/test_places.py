"""Boxes on several devices: each knows its own, those of this machine come first."""

from __future__ import annotations

from tfmagic.analysis.graph import Sketch
from tfmagic.analysis.places import placed
from tfmagic.model import Node, Op, Recording, TensorInfo
from tfmagic.render.dot import look_of
from tfmagic.render.drawing import Drawing
from tfmagic.render.report import GraphView

CPU = "/job:localhost/replica:0/task:0/device:CPU:0"
WORKERS = [f"/job:worker/replica:0/task:{i}/device:CPU:0" for i in (0, 1)]


def chain(*devices: str) -> Recording:
    """Ops one after the other, each on its device."""
    tensors = tuple(TensorInfo(i, (2,), "float32", d, op=i) for i, d in enumerate(devices))
    ops = tuple(
        Op(i, "Neg", inputs=(i - 1,) if i else (), outputs=(i,), device=d)
        for i, d in enumerate(devices)
    )
    return Recording(ops=ops, tensors=tensors)


def test_boxes_on_one_device_stay_as_they_are() -> None:
    nodes = Sketch(chain(CPU, CPU)).graph().nodes
    assert [(node.place, node.device) for node in nodes] == [(0, ""), (0, "")]


def test_each_device_has_a_colour_of_its_own() -> None:
    nodes = Sketch(chain(WORKERS[1], CPU, WORKERS[0], WORKERS[1])).graph().nodes
    assert [node.device for node in nodes] == [
        "worker:1/CPU:0", "CPU:0", "worker:0/CPU:0", "worker:1/CPU:0",
    ]  # fmt: skip
    assert [node.place for node in nodes] == [1, 0, 2, 1]
    fills = [look_of(node).fill for node in nodes]
    assert len(set(fills)) == 3 and fills[0] == fills[3]


def test_the_legend_names_the_other_devices() -> None:
    graph = Sketch(chain(CPU, *WORKERS)).graph()
    words = [word for _, _, word in Drawing(lambda _: graph).drawn.legend()]
    assert words[-2:] == ["on worker:0/CPU:0", "on worker:1/CPU:0"]


def test_a_device_by_any_name_is_told_in_short_and_as_text() -> None:
    view = GraphView(chain(CPU, "\u202eright\x1b[31m to left", "x" * 10_000))
    for told in (view.html(), view.text(width=200, colour=False)):
        assert "right\N{REPLACEMENT CHARACTER}[31m to left" in told
        assert "x" * 59 + "…" in told and "x" * 60 not in told
        assert not {"\u202e", "\x1b"} & set(told)


def test_a_fold_over_two_devices_has_none() -> None:
    (fold, single) = placed(
        chain(CPU, *WORKERS),
        [Node("f", "fold", "all", ops=(0, 1)), Node("o", "op", "Neg", ops=(2,))],
    )
    assert (fold.place, fold.device) == (0, "") and single.device == "worker:1/CPU:0"
