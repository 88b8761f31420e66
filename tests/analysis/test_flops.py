<<<<<<< HEAD
"""Floating-point operations by op and shape, and what a card can do."""
=======
"""FLOPs of recorded ops, against figures worked out by hand."""
>>>>>>> f357b86 (Write each op's own time, FLOPs and bytes into its box)

from __future__ import annotations

from typing import Any

<<<<<<< HEAD
import pytest

from tfmagic.analysis.bench import speed, speed_remark
from tfmagic.analysis.flops import gpu_peak, operations
from tfmagic.model.bench import Timing


@pytest.mark.parametrize(
    ("kind", "inputs", "outputs", "attributes", "count"),
    [
        ("MatMul", [(2, 3), (3, 5)], [(2, 5)], {}, 60),
        ("MatMul", [(3, 2), (3, 5)], [(2, 5)], {"transpose_a": True}, 60),
        ("BatchMatMulV2", [(7, 2, 3), (7, 3, 5)], [(7, 2, 5)], {}, 420),
        ("Einsum", [(2, 3), (3, 5)], [(2, 5)], {"equation": b"ij,jk->ik"}, 60),
        ("Conv2D", [(1, 8, 8, 3), (3, 3, 3, 4)], [(1, 8, 8, 4)], {}, 2 * 256 * 27),
        ("DepthwiseConv2dNative", [(1, 8, 8, 3), (3, 3, 3, 1)], [(1, 8, 8, 3)], {}, 2 * 192 * 9),
        ("Conv2DBackpropFilter", [(1, 8, 8, 3), (4,), (1, 8, 8, 4)], [(3, 3, 3, 4)], {}, 2 * 256 * 27),
        ("AddV2", [(4, 5), (5,)], [(4, 5)], {}, 20),
        ("Sum", [(4, 5), (1,)], [(4,)], {}, 21),
        ("Reshape", [(4, 5), (1,)], [(20,)], {}, 0),
    ],
)  # fmt: skip
def test_what_is_counted(
    kind: str, inputs: Any, outputs: Any, attributes: dict[str, Any], count: int
) -> None:
    assert operations(kind, inputs, outputs, attributes) == (count, True)


def test_what_is_not_counted_is_said() -> None:
    assert operations("Svd", [(4, 4)], [(4,)]) == (0, False)
    assert operations("Exp", [(4,)], [(4,)]) == (4, False)
    assert operations("Einsum", [(2, 3), (3, 5)], [(2, 5)], {"equation": "...j,jk->...k"}) == (
        0,
        False,
    )


def test_cards() -> None:
    assert gpu_peak("Tesla T4", tensor_float=True, half=False) == 8.1e12
    assert gpu_peak("NVIDIA A100-SXM4-40GB", tensor_float=True, half=False) == 156e12
    assert gpu_peak("NVIDIA L40", tensor_float=True, half=False) is None


def test_the_lessons_figure_is_called_impossible() -> None:
    """100 products of 1000×1000 in 8.07 ms, on the card that the lesson used."""
    one = 8.07e-3 / 100
    timing = Timing("GPU:0", median=2.6e-4, naive=one, flops=2e9, peak=8.1e12)
    remark = speed_remark(timing)
    assert remark and remark.code == "naive_impossible"
    assert dict(remark.values)["speed"] == "24.8 TFLOP/s"
    wrong = speed_remark(Timing("GPU:0", median=one, flops=2e9, peak=8.1e12))
    assert wrong and wrong.code == "impossible"
    assert speed_remark(Timing("GPU:0", median=one, naive=one)) is None
    assert speed(3.2e9) == "3.2 GFLOP/s"
=======
import numpy as np
import pytest

from tfmagic.analysis.flops import flops, total
from tfmagic.analysis.graph import build
from tfmagic.model import Recording


def one(
    make: Any, op_type: str, shapes: list[tuple[int, ...]], out: tuple[int, ...], **attrs: Any
) -> Recording:
    """A recording of one op with these shapes."""
    m = make()
    inputs = [m.tensor(np.ones(shape)) for shape in shapes]
    m.op(op_type, inputs, np.ones(out), attrs=tuple(attrs.items()))
    made: Recording = m.done()
    return made


@pytest.mark.parametrize(
    ("op_type", "shapes", "out", "attrs", "count"),
    [
        ("MatMul", [(3, 4), (4, 5)], (3, 5), {}, 2 * 3 * 4 * 5),
        ("MatMul", [(4, 3), (4, 5)], (3, 5), {"transpose_a": True}, 2 * 3 * 4 * 5),
        ("BatchMatMulV2", [(7, 3, 4), (7, 4, 5)], (7, 3, 5), {}, 7 * 2 * 3 * 4 * 5),
        ("BatchMatMulV2", [(7, 4, 3), (7, 4, 5)], (7, 3, 5), {"adj_x": True}, 7 * 2 * 3 * 4 * 5),
        ("Conv2D", [(1, 8, 8, 3), (3, 3, 3, 16)], (1, 6, 6, 16), {}, 2 * 36 * 16 * 27),
        ("Conv2DBackpropInput", [(4,), (3, 3, 3, 16), (1, 6, 6, 16)], (1, 8, 8, 3), {}, 2 * 36 * 16 * 27),
        ("Conv2DBackpropFilter", [(1, 8, 8, 3), (4,), (1, 6, 6, 16)], (3, 3, 3, 16), {}, 2 * 36 * 16 * 27),
        ("DepthwiseConv2dNative", [(1, 8, 8, 3), (3, 3, 3, 1)], (1, 6, 6, 3), {}, 2 * 36 * 3 * 9),
        ("Einsum", [(2, 3, 4), (4, 5)], (2, 3, 5), {"equation": "abc,cd->abd"}, 2 * 2 * 3 * 4 * 5),
        ("AddV2", [(3, 1), (1, 4)], (3, 4), {}, 12),
        ("Sum", [(3, 4), (1,)], (3,), {}, 12),
        ("Mean", [(3, 4), (1,)], (3,), {}, 15),
        ("MaxPool", [(1, 4, 4, 2)], (1, 2, 2, 2), {"ksize": (1, 2, 2, 1)}, 8 * 4),
        ("AddN", [(5,), (5,), (5,)], (5,), {}, 10),
        ("Reshape", [(3, 4), (1,)], (12,), {}, 0),
    ],
)  # fmt: skip
def test_by_hand(make: Any, op_type: str, shapes: Any, out: Any, attrs: Any, count: int) -> None:
    recording = one(make, op_type, shapes, out, **attrs)
    assert flops(recording, recording.ops[0]) == count


def test_what_is_not_known_is_not_counted_and_said(make: Any) -> None:
    m = make()
    x = m.tensor(np.ones((3, 3)))
    m.op("Svd", [m.op("MatMul", [x, x], np.ones((3, 3)))], np.ones((3,)))
    recording = m.done(op_seconds=((0, 2e-6),))
    found = total(recording, recording.ops)
    assert (found.count, found.whole, found.uncounted) == (54, False, ("Svd",))
    graph = build(recording)
    lines = {node.title: node.detail[-1] for node in graph.nodes if node.kind == "op"}
    assert lines["MatMul"] == "2 µs · 54 FLOPs" and lines["Svd"] == ""
    assert "one is not counted: Svd." in graph.notes[-1] and "1 of 2 ops" in graph.notes[-1]
    folded = build(recording, limit=1).nodes[0]
    assert any(line.startswith("≥ 2 µs · ≥ 54 FLOPs") for line in folded.detail)


def test_broken_attributes_are_not_counted(make: Any) -> None:
    recording = one(make, "Einsum", [(2, 3), (3, 2)], (2, 2), equation="...a,ab->...b")
    assert flops(recording, recording.ops[0]) is None
>>>>>>> f357b86 (Write each op's own time, FLOPs and bytes into its box)
