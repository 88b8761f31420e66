"""What the stopwatch puts back, and what it keeps from being printed."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfmagic


def quick(statement: Any, **options: Any) -> Any:
    return tfmagic.bench(statement, **{"budget": 0.02, **options})


def test_random_state_is_as_if_nothing_had_been_run() -> None:
    def drawn() -> list[Any]:
        return [
            tf.random.normal([2]).numpy().tolist(), random.random(), np.random.rand(),
            tf.random.get_global_generator().normal([1]).numpy().tolist(),
        ]  # fmt: skip

    def seeded() -> None:
        tf.random.set_seed(5)
        random.seed(5)
        np.random.seed(5)
        tf.random.set_global_generator(tf.random.Generator.from_seed(5))

    seeded()
    expected = drawn()
    seeded()
    quick(drawn)
    assert drawn() == expected


def test_variables_get_their_values_back_and_it_is_said() -> None:
    w = tf.Variable(1.0, name="w")

    def step() -> None:
        w.assign_add(1.0)

    result = quick("step()", namespace={"step": step})
    assert w.numpy() == 1.0
    assert [remark.code for remark in result.bench.remarks] == ["variables_restored"]
    named = quick("mine.assign_add(1.0)", namespace={"mine": tf.Variable(1.0)})
    assert "The statement changes mine:" in repr(named)


def test_a_step_of_a_model_leaves_its_optimizer_and_metrics_as_they_were() -> None:
    model = tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    quick("m.train_on_batch(x, x[:, :1])", namespace={"m": model, "x": np.ones((4, 2))})
    assert all(not np.any(v.numpy()) for v in model.optimizer.variables if v.shape.rank)
    metrics = [v for metric in model.metrics for v in metric.variables]
    assert metrics and all(v.numpy() == 0 for v in [model.optimizer.iterations, *metrics])


def test_a_variable_that_is_kept_is_as_the_first_run_left_it() -> None:
    kept: dict[str, Any] = {}
    quick("new = tf.Variable(0.0); new.assign_add(1.0)", namespace={"tf": tf}, keep=kept)
    assert kept["new"].numpy() == 1.0


def test_generators_of_the_users_go_on_where_they_were() -> None:
    def made() -> list[Any]:
        return [random.Random(1), np.random.default_rng(1), tf.random.Generator.from_seed(1)]

    own, same = made(), made()
    source = "[r.random() for r in own[:2]], own[2].normal([2])"
    assert "The statement changes own:" in repr(quick(source, namespace={"own": own}))
    assert [own[0].random(), own[1].random()] == [same[0].random(), same[1].random()]
    assert own[2].normal([2]).numpy().tolist() == same[2].normal([2]).numpy().tolist()


def test_what_is_printed_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    result = quick("print('hello')")
    assert capsys.readouterr().out == "hello\n"
    assert result.bench.remarks[0].code == "printed"


def test_what_is_printed_to_the_process_itself_is_shown_once(tmp_path: Any) -> None:
    """``tf.print`` of a script writes past ``sys.stderr``; our own words are still heard."""
    code = (
        "import sys, tensorflow as tf, tfmagic\n"
        "told = lambda share: print('so far', file=sys.stderr, flush=True)\n"
        "tfmagic.bench(\"tf.print('hello'); print('there', file=sys.stderr)\", budget=0.02,\n"
        "              namespace={'tf': tf, 'sys': sys}, progress=told)\n"
        "print('end', file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert lines.count("hello") == lines.count("there") == lines.count("end") == 1
    assert "so far" in lines
