"""Reasons that need a GPU, and copies, in recordings made by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfmagic.analysis.placement import copies, placements
from tfmagic.model import Op, Places, Recording, TensorInfo, from_json

CPU, GPU = (f"/job:localhost/replica:0/task:0/device:{name}:0" for name in ("CPU", "GPU"))
WORKER = "/job:worker/replica:0/task:0/device:CPU:0"


def recording(sent: str, ran: str, devices: tuple[str, ...], no_kernel: bool) -> Recording:
    """One op that was sent to one device and ran on another."""
    missing = (("StringJoin", "GPU"),) if no_kernel else ()
    return Recording(
        ops=(Op(0, "StringJoin", outputs=(0,), device=ran, sent=sent),),
        tensors=(TensorInfo(0, (2,), "string", ran, op=0),),
        places=Places(devices, no_kernel=missing),
    )


@pytest.mark.parametrize(
    "sent, ran, devices, no_kernel, why",
    [
        (GPU, CPU, (CPU, GPU), True, "no_kernel"),
        (GPU, CPU, (CPU, GPU), False, "moved"),
        (GPU, CPU, (CPU,), False, "missing"),
        (GPU, GPU, (CPU, GPU), False, "scope"),
        ("", GPU, (CPU, GPU), False, "chosen"),
        ("", CPU, (CPU, GPU), True, "chosen_no_kernel"),
        ("", CPU, (CPU, GPU), False, "chosen_host"),
        ("", CPU, (CPU, WORKER), False, "chosen"),
        ("", CPU, (CPU,), False, "only"),
        ("", CPU, (), False, "unknown"),
        (GPU[:-1] + "*", GPU, (CPU, GPU), False, "scope"),
        (WORKER, WORKER, (CPU, WORKER), False, "scope"),
    ],
)
def test_the_reason(
    sent: str, ran: str, devices: tuple[str, ...], no_kernel: bool, why: str
) -> None:
    (found,) = placements(recording(sent, ran, devices, no_kernel))
    assert found.why == why
    assert found.astray == (why in ("no_kernel", "moved", "missing"))


def test_the_default_is_told_from_a_scope() -> None:
    made = recording(GPU, GPU, (CPU, GPU), False)
    made = Recording(ops=made.ops, tensors=made.tensors, places=Places((CPU, GPU), default=GPU))
    assert placements(made)[0].why == "default"


def test_places_survive_being_written_down() -> None:
    made = recording(GPU, CPU, (CPU, GPU), True)
    assert from_json(made.to_json()) == made


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([CPU, GPU, WORKER])), max_size=30))
def test_each_tensor_counts_once_for_each_device_it_goes_to(uses: list[tuple[int, str]]) -> None:
    """Against the plain definition: pairs of a tensor and another device than its own."""
    homes = [CPU, GPU, WORKER, CPU, GPU]
    tensors = tuple(
        TensorInfo(i, (1,), "float32", home, bytes=2**i) for i, home in enumerate(homes)
    )
    ops = tuple(Op(i, "Neg", inputs=(t,), device=where) for i, (t, where) in enumerate(uses))
    found = copies(Recording(ops=ops, tensors=tensors))
    wanted = {(t, where) for t, where in uses if homes[t] != where}
    assert sum(each.count for each in found) == len(wanted)
    assert sum(each.size for each in found) == sum(2**t for t, _ in wanted)
