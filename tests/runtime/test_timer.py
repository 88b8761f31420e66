"""The stopwatch: what it times, on which devices and in which modes."""

from __future__ import annotations

import itertools
import traceback
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfmagic
from tfmagic.analysis.bench import (
    pays_after,
)
from tfmagic.errors import DeviceError, OptionError
from tfmagic.model.bench import Timing
from tfmagic.render.bench import BenchResult
from tfmagic.runtime.timer.variant import one_line


def quick(statement: Any, **options: Any) -> Any:
    return tfmagic.bench(statement, **{"budget": 0.02, **options})


def test_a_function_is_timed() -> None:
    calls = itertools.count()

    def step() -> None:
        next(calls)

    (timing,) = quick(step).timings
    assert timing.median and timing.first and timing.naive
    assert timing.device == "CPU:0" and next(calls) > len(timing.times) * timing.loops
    assert quick(step).bench.statement == "step()"


def test_the_setup_is_run_once_and_bound_nowhere() -> None:
    made: list[str] = []
    space = {"tf": tf, "note": made.append}
    quick("note(x)", setup="x = tf.ones([2])\nnote('once')", namespace=space)
    assert sum(isinstance(what, str) for what in made) == 1 and "x" not in space


def test_an_error_of_the_first_run_passes() -> None:
    with pytest.raises(ZeroDivisionError):
        quick("1 / 0")


def test_the_traceback_shows_the_statement_and_its_setup() -> None:
    for given in ({"statement": "a = 1\na / 0"}, {"statement": "a", "setup": "a = 1\na / 0"}):
        with pytest.raises(ZeroDivisionError) as caught:
            quick(**given)
        assert "    a / 0" in "".join(traceback.format_exception(caught.value))


def test_autograph_finds_the_functions_that_a_cell_makes() -> None:
    cell = "@tf.function\ndef sign(a):\n    if a > 0:\n        return a\n    return -a\ny = sign(x)"
    kept: dict[str, Any] = {}
    space = {"tf": tf, "x": tf.constant(-2.0)}
    quick(cell, namespace=space, keep=kept, modes=["eager", "function"])
    quick(
        "n", setup="n = 3\n" + cell, namespace=space
    )  # another statement does not take the place of its source
    assert kept["sign"](tf.constant([3])).numpy() == [3]
    assert kept["y"].numpy() == 2.0


def test_an_input_that_is_used_up_leaves_what_was_measured() -> None:
    result = quick("next(lines)", namespace={"lines": iter(range(3000))}, budget=0.5, loops=5)
    (timing,) = result.timings
    assert timing.problem == "used_up" and "StopIteration" in timing.detail
    assert timing.times and "An input was used up" in repr(result)


def test_an_iterator_that_may_be_drawn_from_is_named() -> None:
    result = quick("next(lines)", namespace={"lines": itertools.count()})
    assert "may have used up part of lines" in repr(result)
    result = quick("len(lines)", namespace={"lines": [1]})
    assert result.bench.remarks == ()


def test_an_input_that_is_enough_for_one_run_only_is_no_error_of_the_users() -> None:
    result = quick("next(lines)", namespace={"lines": iter(range(2))}, modes=["function"])
    (timing,) = result.timings
    assert (timing.mode, timing.problem, timing.times) == ("function", "used_up", ())
    assert "An input was used up (StopIteration)" in repr(result)


def test_a_device_that_is_not_there_is_refused() -> None:
    for given in ("GPU:0", "CPU:7", "/job:worker/task:0/device:CPU:0"):
        with pytest.raises(DeviceError, match=r"There is no device .* CPU:0"):
            quick("1", devices=[given])


@pytest.mark.parametrize("given", ["cpu", "CPU:0", "/CPU:0", "/device:CPU:0", "all"])
def test_a_device_has_many_names(given: str) -> None:
    assert [t.device for t in quick("1", devices=[given]).timings] == ["CPU:0"]


def test_it_becomes_json_and_back(tmp_path: Any) -> None:
    result = quick("x + x", namespace={"x": tf.ones([2])})
    assert tfmagic.load(result.to_json()).bench == result.bench
    back = tfmagic.load(result.save(tmp_path / "r.json"))
    assert back.bench == result.bench and repr(back) == repr(result)


def test_asynchronous_work_is_waited_for() -> None:
    """On a CPU that queues its ops, as a graphics card does."""
    x = tf.random.normal([400, 400])
    tf.config.experimental.set_synchronous_execution(False)
    try:
        (timing,) = quick("tf.matmul(x, x)", namespace={"tf": tf, "x": x}, budget=0.2).timings
    finally:
        tf.config.experimental.set_synchronous_execution(True)
    assert timing.asynchronous and timing.sync and timing.latency
    assert timing.median and timing.naive and timing.naive < timing.median


X = tf.random.normal([64, 64])


EVERY_MODE = ["eager", "function", "xla"]


def by_mode(statement: str, **namespace: Any) -> dict[str, Any]:
    space = {"tf": tf, "x": X, "np": np, **namespace}
    found = quick(statement, namespace=space, modes=EVERY_MODE).timings
    assert [t.mode for t in found] == EVERY_MODE
    return {t.mode: t for t in found}


def test_every_mode_does_the_work_and_is_timed_in_parts() -> None:
    found = by_mode("y = x\nfor _ in range(20): y = tf.matmul(y, x)")
    for timing in found.values():
        assert timing.problem == "" and timing.median and timing.first
    assert found["eager"].trace is None and found["function"].trace and found["xla"].trace


def test_a_mode_that_fails_says_so_and_the_others_go_on() -> None:
    found = by_mode("tf.strings.length(tf.strings.as_string(x))")
    assert found["eager"].median and found["function"].median
    assert found["xla"].problem == "unsupported" and found["xla"].detail == "AsString"
    text = repr(quick("np.sum(x)", namespace={"np": np, "x": X}, modes=["eager", "function"]))
    assert "CPU:0 function: It does not run as a tf.function:" in text
    assert "could not be measured" not in text


def test_whole_numbers_that_xla_must_know_stay_constants() -> None:
    found = by_mode("tf.reshape(x, shape)", shape=tf.constant([32, 128]))
    assert found["xla"].problem == "" and found["xla"].median


def test_shapes_that_change_are_noticed() -> None:
    signature = [tf.TensorSpec([None], tf.float32)]
    double = tf.function(lambda v: v * 2, input_signature=signature, jit_compile=True)
    sizes = iter(range(1, 10**6))
    result = quick(
        "double(tf.ones([next(sizes)]))",
        namespace={"tf": tf, "double": double, "sizes": sizes},
        repeat=3,
    )
    assert "shapes_vary" in {r.code for r in result.timings[0].remarks}


def test_a_mode_may_be_written_in_capitals() -> None:
    assert [timing.mode for timing in quick("1", modes=["Eager"]).timings] == ["eager"]


def test_nobody_knows_another_mode() -> None:
    with pytest.raises(OptionError, match="eager, function, xla"):
        quick("1", modes=["jit"])
    with pytest.raises(OptionError, match=r"Did you mean function\?"):
        quick("1", modes=["functoin"])


def test_the_first_mode_that_is_named_is_what_others_are_set_against() -> None:
    result = quick("x + 1", namespace={"x": tf.ones(2)}, modes=["function", "eager"])
    assert [timing.mode for timing in result.timings] == ["function", "eager"]


@pytest.mark.parametrize("given", [-1.0, float("nan"), float("inf")])
def test_a_budget_without_end_is_refused(given: float) -> None:
    with pytest.raises(OptionError, match="--budget"):
        quick("1", budget=given)


@pytest.mark.parametrize("values", [[], 3, [1, "a"], "12", [float("nan")]])
def test_a_sweep_without_numbers_is_refused(values: Any) -> None:
    with pytest.raises(OptionError, match="-s n="):
        quick("n", sweep={"n": values})


def test_too_deep_a_statement_is_refused_in_one_line() -> None:
    with pytest.raises(OptionError, match=r"cannot be timed: 1\+1.*…"):
        quick("+".join(["1"] * 100_000))


def test_of_a_cell_the_heading_has_the_first_line() -> None:
    assert repr(quick("a = 1\nb = 2")).startswith("a = 1 …: ")


def test_ops_are_those_of_the_eager_run() -> None:
    result = quick("x + 1", namespace={"x": tf.ones(2)}, modes=["function"], ops=True)
    assert "-m eager,function" in repr(result)


def test_where_functions_run_eagerly_there_is_no_graph_to_time() -> None:
    tf.config.run_functions_eagerly(True)
    try:
        found = by_mode("tf.tanh(x)")
    finally:
        tf.config.run_functions_eagerly(False)
    assert [t.problem for t in found.values()] == ["", "run_eagerly", "run_eagerly"]


def test_a_recorded_measurement_says_so() -> None:
    with tfmagic.record():
        result = quick("x + 1", namespace={"x": tf.ones(2)})
    assert "listens to every op" in repr(result) and "listens" not in repr(quick("1"))


def test_a_text_that_xla_cannot_give_is_called_one() -> None:
    found = by_mode("tf.strings.upper('abc')")
    assert found["xla"].detail == "tf.string"


def test_what_is_no_source_is_refused_and_one_name_is_a_list_of_one() -> None:
    with pytest.raises(OptionError, match="cannot be timed: 3"):
        quick(3)
    (timing,) = quick("1", devices="CPU:0", modes="eager").timings
    assert timing.name == "CPU:0 eager"


def test_an_error_of_tensorflow_is_one_short_line() -> None:
    node = "{{function_node __wrapped__Fill_device_/job:localhost/device:CPU:0}} "
    error = tf.errors.ResourceExhaustedError(None, None, node + "OOM [Op:Fill] name: \nmore")
    assert one_line(error) == "ResourceExhaustedError: OOM"
    traced = NotImplementedError(
        "in user code:\n\n    File x\n\n    NotImplementedError: no numpy\n"
    )
    assert one_line(traced) == "NotImplementedError: no numpy"


def test_no_time_is_told_more_closely_than_a_float_can_be() -> None:
    result = quick("1")
    assert len(repr(BenchResult(result.bench, 400))) < 2 * len(repr(BenchResult(result.bench, 17)))


@pytest.mark.parametrize(
    ("trace", "first", "plain", "faster", "run"),
    [(0.06, 0.04, 1e-3, 0.5e-3, 199), (0.0, 1e-3, 1e-3, 1e-3, None), (0.0, 5e-4, 1e-3, 5e-4, 1)],
)
def test_when_compiling_pays(
    trace: float, first: float, plain: float, faster: float, run: int | None
) -> None:
    eager = Timing("CPU:0", median=plain)
    compiled = Timing("CPU:0", "xla", median=faster, trace=trace, first=first)
    assert pays_after(eager, compiled) == run


def test_each_op_is_timed_by_itself() -> None:
    w = tf.Variable(1.0)
    source = "y = tf.tanh(tf.matmul(x, x))\nz = tf.tanh(y) + tf.random.normal([64, 64])\nw.assign_add(1.0)"
    (timing,) = quick(source, namespace={"tf": tf, "x": X, "w": w}, ops=True).timings
    found = {op.type: op for op in timing.op_times}
    assert found["Tanh"].count == 2 and found["Tanh"].shapes == "(64, 64)"
    assert found["MatMul"].seconds and found["AddV2"].seconds
    assert found["RandomStandardNormal"].reason == "random"
    assert found["AssignAddVariableOp"].reason == "state" and w.numpy() == 1.0
    text = repr(quick("tf.tanh(x)", namespace={"tf": tf, "x": X}, ops=True))
    assert "Each op by itself" in text and "100 %" in text


def test_what_the_first_run_assigned_can_be_kept() -> None:
    kept: dict[str, Any] = {}
    quick("y = x + 1\nfor i in range(3): pass", namespace={"x": 1}, keep=kept)
    assert kept == {"y": 2, "i": 2}
