"""What a measurement is shown as: sweeps, earlier results, the self-test, interrupts."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfmagic
from tfmagic.analysis.bench import (
    against_earlier,
    allowing_for_drift,
    differences,
)
from tfmagic.api import kept_selftest
from tfmagic.errors import RenderError
from tfmagic.model.bench import Bench, SelfTest, Timing
from tfmagic.model.serial import from_json
from tfmagic.render.bench import BenchResult, SelfTestView
from tfmagic.render.bench_plot import as_text
from tfmagic.runtime.timer import measure
from tfmagic.runtime.timer.memory import will_fit
from tfmagic.runtime.timer.selftest import selftest


def quick(statement: Any, **options: Any) -> Any:
    return tfmagic.bench(statement, **{"budget": 0.02, **options})


X = tf.random.normal([64, 64])
EVERY_MODE = ["eager", "function", "xla"]


def test_a_sweep_measures_every_combination_and_binds_the_names_nowhere() -> None:
    space = {"tf": tf}
    result = quick(
        "x * k", namespace=space, setup="x = tf.ones([n])", sweep={"n": [2, 8], "k": [1, 3]}
    )
    points = [dict(t.point) for t in result.timings]
    assert points == [{"n": n, "k": k} for n in (2, 8) for k in (1, 3)]
    assert all(t.median for t in result.timings) and set(space) == {"tf"}


def test_a_point_that_does_not_fit_is_marked_and_the_rest_is_kept() -> None:
    result = quick("tf.zeros([n, n]) + 1", namespace={"tf": tf}, sweep={"n": [4, 10**6, 8]})
    assert [t.problem for t in result.timings] == ["", "memory", ""]
    assert result.timings[2].median and "does not fit" in repr(result)


def test_what_would_end_the_kernel_is_not_tried() -> None:
    done = [
        Timing("CPU:0", point=(("n", n),), memory=int(8 * n * n), median=1.0) for n in (1e3, 2e3)
    ]
    assert will_fit(done, {"n": 4e3})
    assert not will_fit(done, {"n": 1e7})


def test_a_point_that_raises_is_marked() -> None:
    result = quick("1 / (n - 2)", sweep={"n": [1, 2, 3]})
    assert [t.problem for t in result.timings] == ["", "raised", ""]
    with pytest.raises(ZeroDivisionError):
        quick("1 / (n - 2)", sweep={"n": [2, 3]})


def test_an_interrupt_keeps_the_points_that_were_measured() -> None:
    def stop(n: int) -> None:
        if n > 1:
            raise KeyboardInterrupt

    result = quick("stop(n)", namespace={"stop": stop}, sweep={"n": [0, 1, 2, 3]})
    assert [dict(t.point)["n"] for t in result.timings] == [0, 1]
    assert result.bench.remarks[-1].code == "interrupted"


def test_a_point_that_is_cut_short_counts_as_one_of_those_that_are_told() -> None:
    calls = itertools.count()

    def stop(n: int) -> None:
        if next(calls) > 20:
            raise KeyboardInterrupt

    result = quick("stop(n)", namespace={"stop": stop}, sweep={"n": [0, 1]}, loops=1, repeat=50)
    assert len(result.timings) == 1 and "Interrupted after 1 of 2 points" in repr(result)


@pytest.mark.parametrize("mode", EVERY_MODE)
def test_with_copies_each_run_gets_fresh_inputs(mode: str) -> None:
    array = np.ones((16, 16), np.float32)
    result = quick(
        "y = tf.matmul(x, array)",
        namespace={"tf": tf, "x": X[:16, :16], "array": array},
        modes=[mode],
        transfer=True,
    )
    (timing,) = result.timings
    assert timing.problem == "" and timing.median and result.bench.transfer


def test_cold_runs_are_single_and_slower() -> None:
    (timing,) = quick("tf.reduce_sum(x)", namespace={"tf": tf, "x": X}, cold=True).timings
    assert timing.loops == 1 and timing.median


def test_the_peak_of_memory_is_what_a_run_holds() -> None:
    (timing,) = quick("tf.zeros([1000, 1000]) + 1.0", namespace={"tf": tf}).timings
    if timing.memory is None:
        pytest.skip("this TensorFlow does not tell what a CPU holds")
    assert 4_000_000 <= timing.memory <= 12_100_000


def test_an_earlier_result_is_set_against_a_later_one(tmp_path: Any) -> None:
    space = {"tf": tf, "x": X}
    one = quick("tf.matmul(x, x)", namespace=space, repeat=40)
    path = one.save(tmp_path / "one.json")
    ten = quick("for _ in range(10): tf.matmul(x, x)", namespace=space, repeat=40, vs=path)
    (verdict,) = against_earlier(ten.bench, ten.earlier)
    assert verdict and verdict.verdict == "slower" and verdict.ratio and verdict.ratio > 4
    assert "against the earlier one" in repr(ten)
    assert one.compare(ten).earlier == ten.bench


def test_another_machine_gives_no_verdict() -> None:
    bench = quick("1").bench
    other = replace(bench, machine=replace(bench.machine, processor="other"))
    (verdict,) = against_earlier(bench, other)
    assert verdict and verdict.verdict == "unclear"
    assert verdict.reason in ("reason_other_machine", "reason_few")


def test_a_result_as_a_table_and_as_a_picture() -> None:
    result = quick("x * n", namespace={"x": X}, sweep={"n": [1, 2]}, modes=["eager", "function"])
    frame = result.to_pandas()
    assert list(frame["mode"]) == ["eager", "function"] * 2 and (frame["median"] > 0).all()
    assert len(result.plot().axes) == 1
    assert "data:image/svg+xml" in result.mimebundle()["text/html"]
    assert "a = CPU:0 eager" in repr(result)
    assert len(quick("1", repeat=5).plot().axes) == 1


def test_blocks_are_not_said_to_be_left_out_where_none_was() -> None:
    times, spoilt = (1e-5,) * 10, tuple((i, "preempted") for i in range(8))
    busy = Timing(
        "CPU:0", loops=1, rounds=tuple(range(10)), times=times, median=1e-5, spoilt=spoilt
    )
    text = repr(BenchResult(Bench("s", timings=(busy,)), verbose=True))
    assert "so none was left out" in text and "blocks left out" not in text
    assert "Median of 10 blocks of one run each" in text
    few = replace(busy, spoilt=spoilt[:1], loops=20)
    text = repr(BenchResult(Bench("s", timings=(few,)), verbose=True))
    assert "1 block left out" in text and "10 blocks of 20 runs each" in text


def test_it_is_said_which_verdict_is_unclear() -> None:
    short = Timing("CPU:0", rounds=(0, 1), times=(1e-5, 2e-5), median=1.5e-5)
    bench = Bench("s", timings=(short, replace(short, mode="function")))
    text = repr(BenchResult(bench, earlier=bench))
    assert text.count("against the earlier one: Unclear: too few") == 2
    assert text.count("Unclear: too few") == 3


def test_nothing_measured_is_no_picture() -> None:
    with pytest.raises(RenderError):
        quick("1", repeat=1).plot()


@pytest.fixture
def own_folder(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def test_the_self_test_counts_what_it_claims_and_finds() -> None:
    found = selftest(pairs=4, tries=1, budget=0.02)
    assert found.pairs == 4 and 0 <= found.claimed <= 4
    assert [extra for extra, _ in found.found] == sorted(extra for extra, _ in found.found)
    assert found.within is not None and found.between is not None and found.drift is not None
    assert from_json(found.to_json()) == found
    assert "against itself" in repr(SelfTestView(found))


def test_a_kept_self_test_is_cited_on_the_same_machine_only(own_folder: Any) -> None:
    here = quick("1").bench.machine
    assert quick("1").bench.selftest is None
    known = SelfTest(machine=here, when="2026-01-02T03:04:05", within=0.03, resolvable=0.05)
    path = kept_selftest()
    path.parent.mkdir()
    path.write_text(known.to_json())
    result = quick("1", verbose=True)
    assert result.bench.selftest == known and "5 %" in repr(result)
    path.write_text(replace(known, machine=replace(here, processor="other")).to_json())
    assert quick("1").bench.selftest is None
    path.write_text("{")
    assert quick("1").bench.selftest is None


def test_an_interval_allows_for_the_drift_that_the_self_test_found(own_folder: Any) -> None:
    plain = quick("1")
    assert "drifts" not in repr(plain) and "--selftest finds out" in repr(quick("1", verbose=True))
    known = SelfTest(machine=plain.bench.machine, when="2026-01-02T03:04:05", drift=0.5)
    kept_selftest().parent.mkdir()
    kept_selftest().write_text(known.to_json())
    assert quick("1").bench.selftest == known  # a later result knows of it
    timing = Timing(
        "CPU:0", rounds=(0, 1, 2), times=(1.0, 1.0, 1.0), median=1.0, low=0.99, high=1.01
    )
    wide = allowing_for_drift(Bench("s", timings=(timing,), selftest=known))
    (timing,) = wide.timings
    assert timing.low <= 0.5 * timing.median and timing.high >= 1.5 * timing.median
    assert "±50 %, by which this machine drifts" in repr(BenchResult(wide))


def test_what_the_self_test_could_not_resolve_is_not_claimed() -> None:
    rng = np.random.default_rng(0)
    times = [tuple(f * rng.normal(1, 0.01, 200)) for f in (1.0, 1.04)]
    timings = [
        Timing(
            name, rounds=tuple(range(200)), times=t, median=float(np.median(t)), low=0.9, high=1.2
        )
        for name, t in zip(("CPU:0", "GPU:0"), times, strict=True)
    ]
    assert differences(Bench("s", timings=tuple(timings)))[1].verdict == "slower"
    unsure = Bench("s", timings=tuple(timings), selftest=SelfTest(within=0.1))
    assert differences(unsure)[1].verdict == "same"


def test_an_interrupted_first_run_is_told_in_two_lines() -> None:
    def stops() -> None:
        raise KeyboardInterrupt

    result = quick(stops)
    assert repr(result).split("\n") == [
        "stops(): nothing was measured", "Interrupted in its first run."
    ]  # fmt: skip
    assert "<table" not in result.mimebundle()["text/html"]


def test_an_interrupt_of_the_only_point_is_told_once() -> None:
    left = iter(range(30))

    def stops() -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    result = quick(stops, budget=1.0, loops=1)
    assert result.timings[0].times and repr(result).count("Interrupted") == 1


@pytest.mark.parametrize("figure", ["_naive", "peak_memory", "op_times"])
def test_an_interrupt_of_the_lesser_figures_ends_it_too(
    figure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(measure.__globals__, figure, stops)
    result = quick("n + 1", sweep={"n": [1, 2, 3]}, ops=True)
    assert [dict(t.point)["n"] for t in result.timings] == [1] and result.timings[0].median
    assert result.bench.remarks[-1].code == "interrupted"


def test_a_terminal_shows_the_blocks_as_strips() -> None:
    times = (1e-5,) * 6 + (2e-5,) * 3 + (4e-5,)
    timing = Timing("CPU:0", rounds=tuple(range(10)), times=times, median=1e-5)
    lines = as_text(Bench("s", timings=(timing,)), width=20).split("\n")
    assert lines[0].startswith("CPU:0 eager │█") and lines[0].rstrip()[-1] == "▄"
    assert lines[-1].split() == ["10.0", "µs", "20.0", "µs"]
