"""Medians, their intervals under autocorrelation, and what is said of two variants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfmagic.analysis.bench import allowing_for_drift, compared, mostly_drift, naive_remark
from tfmagic.analysis.statistics import (
    autocorrelation_time,
    median_interval,
    paired_ratio,
    student,
)
from tfmagic.model.bench import Bench, SelfTest, Timing


def drifting(rng: np.random.Generator, n: int, phi: float) -> np.ndarray:
    """A stationary first-order autoregression around 1, skewed as times are."""
    noise = rng.normal(size=n + 200) * np.sqrt(1 - phi**2)
    series = np.zeros(n + 200)
    for i in range(1, n + 200):
        series[i] = phi * series[i - 1] + noise[i]
    return np.exp(0.1 * series[200:])


@pytest.mark.parametrize("phi", [0.0, 0.6, 0.9])
def test_the_interval_holds_the_true_median_as_often_as_it_says(phi: float) -> None:
    rng = np.random.default_rng(1)
    found = [median_interval(drifting(rng, 800, phi)) for _ in range(200)]
    held = [i for i in found if i.low is not None and i.high is not None and i.low <= 1 <= i.high]
    assert 0.90 <= len(held) / 200 <= 0.99


def test_a_slow_drift_under_the_noise_is_in_the_interval() -> None:
    """The noise hides it from a block's neighbours; the parts of the series lie apart."""
    rng = np.random.default_rng(4)
    series = [drifting(rng, 800, 0.99) * np.exp(0.2 * rng.normal(size=800)) for _ in range(200)]
    found = [median_interval(each) for each in series]
    held = [i for i in found if i.low is not None and i.high is not None and i.low <= 1 <= i.high]
    assert len(held) >= 0.78 * 200  # by its neighbours alone 137 of them


@pytest.mark.parametrize(
    ("level", "freedom", "reach"),
    [(0.95, 10, 2.228), (0.99, 10.5, 3.136), (0.99, 22.5, 2.813), (0.95, float("inf"), 1.960)],
)
def test_few_parts_reach_further(level: float, freedom: float, reach: float) -> None:
    assert student(level, freedom) == pytest.approx(reach, rel=2e-3)


def test_neighbours_that_resemble_each_other_are_worth_fewer() -> None:
    rng = np.random.default_rng(2)
    alone, alike = drifting(rng, 2000, 0.0), drifting(rng, 2000, 0.9)
    assert autocorrelation_time(alone) < 1.5 < 8 < autocorrelation_time(alike)
    assert median_interval(alike).spread > 2 * median_interval(alone).spread


@given(st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=200))
def test_the_median_lies_in_its_interval(values: list[float]) -> None:
    found = median_interval(values)
    assert found.median == np.median(values)
    if found.low is not None and found.high is not None:
        assert min(values) <= found.low <= found.median <= found.high <= max(values)


@given(st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=100), st.sampled_from([0.25, 4.0]))
def test_the_unit_does_not_matter(values: list[float], factor: float) -> None:
    one, other = median_interval(values), median_interval([v * factor for v in values])
    assert other.median == one.median * factor and other.effective == pytest.approx(one.effective)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_too_few_values_have_no_interval(count: int) -> None:
    assert median_interval(range(1, count + 1)).low is None


def test_nothing_has_no_median() -> None:
    with pytest.raises(ValueError, match="at least one"):
        median_interval([])
    assert paired_ratio([], []) is None


# --- verdicts ----------------------------------------------------------------------------


def timing(times: np.ndarray, device: str = "CPU:0", spoilt: int = 0, **more: object) -> Timing:
    marks = tuple((i, "preempted") for i in range(spoilt))
    found = median_interval(times)
    return Timing(
        device, rounds=tuple(range(len(times))), times=tuple(times.tolist()), spoilt=marks,
        median=found.median, low=found.low, high=found.high, **more,
    )  # fmt: skip


def pair(factor: float, noise: float = 0.02, n: int = 400) -> tuple[Timing, Timing]:
    """Two variants on one machine whose speed changes slowly by a fifth."""
    rng = np.random.default_rng(3)
    machine = drifting(rng, n, 0.98) ** 2
    own = rng.normal(1, noise, size=(2, n))
    return timing(machine * own[0]), timing(factor * machine * own[1], "GPU:0")


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.05, "slower"), (0.95, "faster"), (1.0, "same"), (3.0, "slower")]
)
def test_a_difference_is_seen_through_a_drift_that_both_share(factor: float, verdict: str) -> None:
    found = compared(*pair(factor))
    assert found.verdict == verdict
    assert found.ratio == pytest.approx(factor, rel=0.01)


def test_what_the_noise_hides_is_unclear() -> None:
    found = compared(*pair(1.02, noise=0.5))
    assert (found.verdict, found.reason) == ("unclear", "reason_wide")


def test_a_few_blocks_are_unclear() -> None:
    found = compared(*pair(1.5, n=8))
    assert (found.verdict, found.reason) == ("unclear", "reason_few")


def test_a_busy_machine_is_the_reason() -> None:
    a, b = pair(1.02, noise=0.5)
    busy = timing(np.array(a.times), spoilt=300)
    assert compared(busy, b).reason == "reason_contended"


def test_below_what_the_self_test_could_resolve_nothing_is_claimed() -> None:
    assert compared(*pair(1.05), 0.1).verdict == "same"


def test_what_could_not_be_measured_has_no_verdict() -> None:
    a, _ = pair(1.0)
    assert compared(a, Timing("GPU:0", problem="raised")).reason == "reason_failed"


def test_the_naive_figure_is_explained() -> None:
    one = np.full(10, 1e-3)
    queued = timing(one, naive=1e-5, asynchronous=True)
    remark = naive_remark(queued)
    assert remark and remark.code == "naive_queued" and remark.values == (("times", "100"),)
    assert naive_remark(timing(one, naive=1.05e-3)) is None


# --- drift from one measurement to the next ----------------------------------------------


@given(st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.5))
def test_a_drift_widens_the_interval_of_what_the_host_computes(
    below: float, above: float, drift: float
) -> None:
    one = Timing("CPU:0", times=(2.0,), median=2.0, low=2 - below, high=2 + above)
    bench = Bench(
        "s", timings=(one, Timing("GPU:0", median=2.0, low=1.9, high=2.1), Timing("CPU:1"))
    )
    tested = Bench("s", timings=bench.timings, selftest=SelfTest(drift=drift))
    wide, *others = allowing_for_drift(tested).timings
    assert wide.low is not None and wide.high is not None
    assert wide.low <= 2 - max(below, 2 * drift) + 1e-12 and wide.high >= 2 + above
    assert tuple(others) == bench.timings[1:] and allowing_for_drift(bench) == bench


def test_it_is_said_where_the_drift_is_most_of_the_width() -> None:
    timings = (Timing("CPU:0", median=1.0, low=0.99, high=1.01),)
    for drift, said in ((0.002, False), (0.05, True)):
        bench = allowing_for_drift(Bench("s", timings=timings, selftest=SelfTest(drift=drift)))
        assert mostly_drift(bench) is said
