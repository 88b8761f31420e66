"""FLOPs and times of recorded ops, and how they stand in their boxes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tfmagic.analysis.cost import total
from tfmagic.analysis.graph import build
from tfmagic.model import Recording


def one(make: Any, op_type: str, shapes: Any, out: tuple[int, ...], **attrs: Any) -> Recording:
    """A recording of one op with these shapes."""
    m = make()
    inputs = [m.tensor(np.ones(shape)) for shape in shapes]
    m.op(op_type, inputs, np.ones(out), attrs=tuple(attrs.items()))
    made: Recording = m.done()
    return made


@pytest.mark.parametrize(
    ("op_type", "shapes", "out", "attrs", "count"),
    [
        ("BatchMatMulV2", [(7, 4, 3), (7, 4, 5)], (7, 3, 5), {"adj_x": True}, 7 * 2 * 3 * 4 * 5),
        ("DepthwiseConv2dNativeBackpropInput", [(4,), (3, 3, 3, 1), (1, 6, 6, 3)], (1, 8, 8, 3), {}, 2 * 36 * 3 * 9),
        ("DepthwiseConv2dNativeBackpropFilter", [(1, 8, 8, 3), (4,), (1, 6, 6, 3)], (3, 3, 3, 1), {}, 2 * 36 * 3 * 9),
        ("MaxPool", [(1, 4, 4, 2)], (1, 2, 2, 2), {"ksize": (1, 2, 2, 1)}, 8 * 4),
        ("Sum", [(3, 4)], (3,), {}, 12),
    ],
)  # fmt: skip
def test_a_recorded_op_is_counted_by_its_shapes(
    make: Any, op_type: str, shapes: Any, out: Any, attrs: Any, count: int
) -> None:
    recording = one(make, op_type, shapes, out, **attrs)
    found = total(recording, recording.ops)
    assert (found.count, found.whole) == (count, True)


def test_an_unknown_shape_is_not_counted(make: Any) -> None:
    recording = one(make, "AddV2", [(3,)], (3,))
    tensors = tuple(replace(t, shape=None) for t in recording.tensors)
    assert not total(replace(recording, tensors=tensors), recording.ops).whole


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
