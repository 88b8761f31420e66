"""Floating-point operations by op and shape, and what a card can do."""

from __future__ import annotations

from typing import Any

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
