"""The first call told in its parts, tracing at every run, and what Keras does around a model."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import tensorflow as tf

import tfmagic
from tfmagic.errors import OptionError
from tfmagic.model.bench import Bench, Timing
from tfmagic.render.bench import BenchResult
from tfmagic.runtime.timer.observed import calls_watched


def quick(statement: Any, **options: Any) -> Any:
    return tfmagic.bench(statement, **{"budget": 0.02, "repeat": 3, **options})


def codes(result: Any) -> list[str]:
    return [remark.code for remark in result.timings[0].remarks]


def told(**fields: Any) -> str:
    timing = Timing("CPU:0", median=1e-3, low=0.9e-3, high=1.1e-3, times=(1e-3,), **fields)
    return repr(BenchResult(Bench("s", timings=(timing,))))


def test_the_first_call_of_a_function_is_told_in_its_parts() -> None:
    timing = quick("f(x)", namespace={"f": tf.function(lambda v: v + 1), "x": tf.ones(3)}).timings[
        0
    ]
    assert (
        0 < timing.tracing < timing.first and 0 < timing.preparing < timing.first - timing.tracing
    )
    text = told(first=0.97, tracing=0.88, preparing=0.04)
    assert "First call 970 ms: 880 ms tracing, 40.0 ms placing and optimising the graph" in text
    assert "49.0 ms other work that is done once, 1.00 ms the run itself. From then on" in " ".join(
        text.split()
    )


def test_a_function_that_was_called_before_traces_no_more() -> None:
    f = tf.function(lambda v: v + 1)
    f(tf.ones(3))
    assert quick("f(x)", namespace={"f": f, "x": tf.ones(3)}).timings[0].tracing == 0
    assert "First call" not in told(first=2e-3)


def test_without_tracing_what_is_done_once_is_called_that() -> None:
    assert "First call 120 ms, then 1.00 ms: what came on top is done once" in told(first=0.12)


def test_what_xla_compiles_is_called_compiling() -> None:
    text = told(mode="xla", xla=True, trace=0.1, first=0.4, preparing=0.39)
    assert "First call 500 ms: 100 ms tracing, 390 ms compiling by XLA" in text


def test_a_call_of_a_function_is_not_called_eager() -> None:
    x = tf.random.normal([300, 300])
    space = {"f": tf.function(lambda v: v @ v @ v @ v), "x": x}
    compiled, plain = quick("f(x)", namespace=space), quick("x + x", namespace=space)
    assert compiled.timings[0].name == "CPU:0 tf.function"
    assert plain.timings[0].name == "CPU:0 eager" and plain.timings[0].inside is None


def inside(x: Any) -> Any:
    shift = tf.function(lambda v: v + 1)
    return shift(x)


def test_a_function_that_is_made_inside_another_is_traced_at_every_run() -> None:
    result = quick("inside(x)", namespace={"inside": inside, "x": tf.ones(3)})
    assert codes(result) == ["anew_made_inside"] and "made inside `inside`" in repr(result)
    assert "First call" not in repr(result)
    made_by_the_statement = "f = tf.function(lambda v: v + 1)\nf(x)"
    assert codes(quick(made_by_the_statement, namespace={"tf": tf, "x": tf.ones(3)})) == [
        "anew_made"
    ]


@pytest.mark.parametrize(
    ("given", "code"), [("next(turns)", "anew_number"), ("tf.ones([next(turns)])", "anew_argument")]
)
def test_an_argument_that_is_another_one_each_time_is_named(given: str, code: str) -> None:
    space = {"f": tf.function(lambda n: n * 2), "tf": tf, "turns": itertools.count(1)}
    result = quick(f"f({given})", namespace=space)
    assert codes(result) == [code] and "`n`" in repr(result)


def test_tracing_now_and_then_is_noticed_while_it_is_timed() -> None:
    turns = itertools.count()
    traced = tf.function(lambda n: tf.constant(1.0) * n)
    step = lambda: traced(next(turns) // 7)
    assert codes(quick("step()", namespace={"step": step}, loops=5)) == ["retraced"]


def test_what_data_sets_trace_is_nobodys_fault() -> None:
    source = "for _ in tf.data.Dataset.range(3).map(lambda v: v + 1): pass"
    model = keras_model()
    assert (
        codes(quick("m.predict(x, verbose=0)", namespace={"m": model, "x": tf.ones([4, 3])})) == []
    )
    assert "anew_argument" not in codes(quick(source, namespace={"tf": tf}))


def keras_model() -> Any:
    model = tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def test_what_keras_does_around_a_model_is_told_apart() -> None:
    result = quick("m.predict(x, verbose=0)", namespace={"m": keras_model(), "x": tf.ones([4, 3])})
    (timing,) = result.timings
    assert timing.name == "CPU:0 predict()" and timing.inside < timing.median / 2
    assert "are `predict` itself" in repr(result) and "call the model itself" in repr(result)
    steady = Timing("CPU:0", median=1e-3, times=(1e-3,), inside=0.95e-3, calls="f", method="fit")
    assert "itself" not in repr(BenchResult(Bench("s", timings=(steady,))))
    step = replace(steady, inside=1e-4, method="train_on_batch")
    assert "reads the metrics" in repr(BenchResult(Bench("s", timings=(step,))))


def fails(v: Any) -> Any:
    raise KeyError(v)


def test_watching_leaves_nothing_behind() -> None:
    from tfmagic.runtime import private

    owner, before = private.context_class(), private.context_class().call_function
    tracer = private.tracer()
    with calls_watched() as seen, pytest.raises(KeyError):
        tf.function(fails, autograph=False)(tf.ones(2))
    assert owner.call_function is before and private.tracer() == tracer
    assert getattr(tracer[0], tracer[1].__name__) is tracer[1] and len(seen.traced) == 1


def test_only_of_graphs_it_is_said_that_work_may_be_left_out() -> None:
    space = {"x": tf.ones(3)}
    assert "may leave out" in repr(quick("x + 1", namespace=space, modes=["eager", "function"]))
    assert "may leave out" not in repr(quick("x + 1", namespace=space))


def test_the_ways_to_run_a_model_are_timed_side_by_side() -> None:
    space = {"m": keras_model(), "x": tf.ones([4, 3]), "y": tf.ones([4, 1])}
    before = [v.numpy() for v in space["m"].variables]
    trained = quick("m, x, y", keras=True, namespace=space)
    ways = ["model(x)", "predict_on_batch", "predict", "train_on_batch", "fit"]
    assert [timing.mode for timing in trained.timings] == ways
    assert all(timing.median for timing in trained.timings)
    assert [timing.mode for timing in quick("m, x", keras=True, namespace=space).timings] == ways[
        :3
    ]
    after = [v.numpy() for v in space["m"].variables]
    assert all((a == b).all() for a, b in zip(before, after, strict=True))
    with pytest.raises(OptionError, match="--keras m: give the model"):
        quick("m", keras=True, namespace=space)


def test_a_function_of_the_users_that_xla_compiles_is_known_for_it() -> None:
    space = {"f": tf.function(lambda v: v + 1, jit_compile=True), "x": tf.ones(3)}
    (timing,) = quick("f(x)", namespace=space).timings
    assert timing.xla and timing.name == "CPU:0 tf.function"


def test_the_speed_of_a_graph_is_what_it_is_at_most() -> None:
    x = tf.ones([200, 200])
    result = quick("for _ in range(5): x @ x", namespace={"x": x}, modes=["eager", "function"])
    assert repr(result).count("≤") == 1
