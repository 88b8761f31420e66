"""Sweeps: their values as one writes them, and where one variant overtakes another."""

from __future__ import annotations

import numpy as np
import pytest

from tfmagic.analysis.statistics import median_interval
from tfmagic.analysis.sweep import crossovers, parsed, points, rounded
from tfmagic.errors import OptionError
from tfmagic.model.bench import Bench, Timing


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ("n=64:1024:2", (64, 128, 256, 512, 1024)),
        ("n=64:1000:2", (64, 128, 256, 512)),
        ("n=1:1000:10", (1, 10, 100, 1000)),
        ("n=8:64", (8, 16, 32, 64)),
        ("n=0:10:+5", (0, 5, 10)),
        ("n=0.1:0.3:+0.1", pytest.approx((0.1, 0.2, 0.3))),
        ("n=3,1,2.5", (3, 1, 2.5)),
    ],
)
def test_values(given: str, values: tuple[float, ...]) -> None:
    assert parsed(given) == ("n", values)


def test_whole_numbers_stay_whole() -> None:
    assert all(type(v) is int for v in next(points({"n": (64.0,)})).values())


@pytest.mark.parametrize(
    "given",
    ["n", "n=", "n=a", "2=1,2", "n=1:2:1", "n=1:2:0.5", "n=0:8:2", "n=8:1", "n=1:2:3:4",
     "n=nan", "n=1:inf", "n=0:1:+0", "for=1,2"],
)  # fmt: skip
def test_no_sweep(given: str) -> None:
    with pytest.raises(OptionError, match="NAME=START:STOP"):
        parsed(given)


@pytest.mark.parametrize("given", ["n=1:1e9:+1", "n=1:1e300:1.0001"])
def test_a_sweep_of_too_many_points(given: str) -> None:
    with pytest.raises(OptionError, match="more than the 200 points"):
        parsed(given)


def curve(device: str, cost: float, per_element: float, values: list[float]) -> list[Timing]:
    """Times of ``cost + per_element·n``, with a little noise."""
    rng = np.random.default_rng(len(device))
    found = []
    for n in values:
        times = (cost + per_element * n) * rng.normal(1, 0.005, 60)
        interval = median_interval(times)
        found.append(
            Timing(device, point=(("n", n),), rounds=tuple(range(60)), times=tuple(times),
                   median=interval.median, low=interval.low, high=interval.high)
        )  # fmt: skip
    return found


VALUES = [2.0**k for k in range(4, 14)]


def test_the_crossover_is_named() -> None:
    timings = curve("CPU:0", 0.0, 1e-6, VALUES) + curve("GPU:0", 7e-4, 0.0, VALUES)
    (found,) = crossovers(Bench("s", timings=tuple(timings)))
    assert (found.winner, found.loser, found.variable) == ("GPU:0 eager", "CPU:0 eager", "n")
    assert found.value == pytest.approx(700, rel=0.05) and rounded(found.value) in (
        "690",
        "700",
        "710",
    )


def test_lines_that_never_meet_have_no_crossover() -> None:
    timings = curve("CPU:0", 1e-5, 1e-6, VALUES) + curve("GPU:0", 2e-5, 2e-6, VALUES)
    assert crossovers(Bench("s", timings=tuple(timings))) == ()


@pytest.mark.parametrize(
    ("value", "said"),
    [(703.2, "700"), (1894, "1,900"), (0.0234, "0.023"), (12.4, "12"), (3.26, "3.3")],
)
def test_a_crossover_has_two_digits(value: float, said: str) -> None:
    assert rounded(value) == said
