"""``tf.distribute`` strategies in a recorded cell: each replica's gradient, and the reduced one."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tfmagic.language import use
from tfmagic.model import Recording, TensorInfo, Value, from_json
from tfmagic.model.reduction import Reduction, replica_name, without_replica
from tfmagic.render.report import Report

SETUP = """
import tensorflow as tf, tfmagic, numpy as np
strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(4)])
with strategy.scope():
    W_1 = tf.Variable([[0.11, 0.21], [0.12, 0.08]])
    W_2 = tf.Variable([[0.14, 0.15]])

def gradients(X):
    with tf.GradientTape() as tape:
        Loss = tf.reduce_sum(tf.square(W_2 @ (W_1 @ X) - 1.0)) / 2
    return tape.gradient(Loss, [W_1, W_2])

def apart(context):
    i = context.replica_id_in_sync_group
    return tf.constant([[2.0 + i], [3.0 - i]])

X = strategy.experimental_distribute_values_from_function(apart)

def found():
    rec = tfmagic.last
    value = lambda t: np.array(rec.tensors[t].value.data)
    return [(r.source, len(r.parts), r.how, np.allclose(sum(value(p) for p in r.parts), value(r.result))) for r in rec.reductions]
"""


@pytest.fixture(scope="module")
def split(
    new_kernel: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    with new_kernel(tmp_path_factory.mktemp("kernel") / "log") as here:
        here.run("%tfdevice -q --split CPU=4")
        ran = here.run(SETUP)
        assert not ran.error
        yield here


def test_the_gradients_of_four_replicas_sum_to_the_reduced_one(split: Any) -> None:
    ran = split.run(
        "%%tape\ng = strategy.run(gradients, args=(X,))\ntotal = [strategy.reduce('SUM', each, axis=None) for each in g]"
    )
    assert not ran.error
    assert eval(split.run("found()").text) == [("W_1", 4, "sum", True), ("W_2", 4, "sum", True)]
    assert split.run("bool(np.allclose(tfmagic.last.tensors[tfmagic.last.reductions[0].result].value.data, total[0]))").text.strip() == "True"  # fmt: skip
    assert "replica 3 · CPU:3" in ran.text and "∇W_1" in ran.text and "reduced" in ran.text


def test_every_replica_has_its_own_gradients_with_a_verdict(split: Any) -> None:
    split.run("%%tape -q\ng = strategy.run(gradients, args=(X,))")
    code = "[(g.source, g.verdict.code) for c in tfmagic.last.gradients for g in c.gradients]"
    names = [name for i in range(4) for name in (replica_name("W_1", i), replica_name("W_2", i))]
    assert eval(split.run(code).text) == [(name, "ok") for name in names]
    devices = "sorted({op.device[-5:] for op in tfmagic.last.ops})"
    assert split.run(devices).text.strip() == "['CPU:0', 'CPU:1', 'CPU:2', 'CPU:3']"
    split.run("per = strategy.experimental_local_results(g[0])")
    same = "all(np.allclose(g.gradients[0].value.data, p) for g, p in zip(tfmagic.last.gradients, per))"
    assert split.run(same).text.strip() == "True"


def test_a_mean_inside_the_replicas(split: Any) -> None:
    code = """%%tape -q
def step(X):
    return tf.distribute.get_replica_context().all_reduce("mean", gradients(X)[1])
out = strategy.run(step, args=(X,))"""
    assert not split.run(code).error
    (row,) = eval(split.run("found()").text)
    assert row[:3] == ("W_2", 4, "mean")
    mean = "np.allclose(np.mean([np.array(rec.tensors[p].value.data) for p in r.parts], 0), rec.tensors[r.result].value.data)"
    assert (
        split.run(f"rec = tfmagic.last; r = rec.reductions[0]; bool({mean})").text.strip() == "True"
    )


@pytest.mark.skipif(
    version("keras").startswith("3.3."),
    reason="Keras 3.3 reduces nothing here: each replica takes the step of its own gradient",
)
def test_an_optimizers_step_over_replicas(split: Any) -> None:
    code = """%%tape -q
def step(X):
    sgd.apply_gradients(zip(gradients(X), [W_1, W_2]))
strategy.run(step, args=(X,))"""
    split.run(
        "with strategy.scope():\n    sgd = tf.keras.optimizers.SGD(0.05)\n    sgd.build([W_1, W_2])"
    )
    ran = split.run(code)
    assert not ran.error, ran.error
    rows = eval(split.run("found()").text)
    assert [row[:3] for row in rows] == [("W_1", 4, "sum"), ("W_2", 4, "sum")]
    assert all(row[3] for row in rows)


def test_without_a_strategy_nothing_is_reduced(split: Any) -> None:
    ran = split.run(
        "%%tape\nv = tf.Variable(2.0)\nalone = tf.keras.optimizers.SGD(0.05)\n"
        "with tf.GradientTape() as t:\n    y = v * v\nalone.apply_gradients([(t.gradient(y, v), v)])"
    )
    assert not ran.error, ran.error
    assert "replica" not in ran.text
    assert split.run("found()").text.strip() == "[]"


def test_the_cell_gives_what_it_gives_without_a_recording(split: Any) -> None:
    split.run(
        "plain = [strategy.reduce('SUM', each, axis=None).numpy() for each in strategy.run(gradients, args=(X,))]"
    )
    split.run(
        "%%tape -q\nseen = [strategy.reduce('SUM', each, axis=None).numpy() for each in strategy.run(gradients, args=(X,))]"
    )
    assert split.run("all((a == b).all() for a, b in zip(plain, seen))").text.strip() == "True"


WORKER = """
import os, sys
import tensorflow as tf
strategy = tf.distribute.MultiWorkerMirroredStrategy()
with strategy.scope():
    w = tf.Variable(2.0)

def step(x):
    with tf.GradientTape() as tape:
        loss = w * w * x
    g = tape.gradient(loss, w)
    return g, tf.distribute.get_replica_context().all_reduce("sum", g)

index = strategy.cluster_resolver.task_id
x = tf.constant(1.0 + index)
"""


def test_two_workers_of_a_strategy_reduce_over_the_network(
    new_kernel: Callable[..., Any], tmp_path: Path
) -> None:
    """Both processes run the same program; the kernel is the first, and sees its own part."""
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    config = [
        json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}}) for i in (0, 1)
    ]
    import os

    other = subprocess.Popen(
        [sys.executable, "-c", WORKER + "print(strategy.run(step, args=(x,)))"],
        env={**os.environ, "TF_CONFIG": config[1]},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with new_kernel(tmp_path / "log", TF_CONFIG=config[0]) as kernel:
            assert not kernel.run(WORKER).error
            ran = kernel.run("%%tape\ng, total = strategy.run(step, args=(x,))")
            assert not ran.error, ran.error
            code = "[([rec.tensors[p].value.data for p in r.parts], rec.tensors[r.result].value.data) for r in rec.reductions]"
            assert (
                kernel.run(f"import tfmagic; rec = tfmagic.last; {code}").text.strip()
                == "[([4.0], 12.0)]"
            )
            assert "worker:0/CPU:0" in kernel.run("%tfdevice").text.replace(
                "/job:worker/replica:0/task:0/device:", "worker:0/"
            )
            assert (
                kernel.run("%tfdevice CPU:0\n(tf.ones([2]) + 1).device[-12:]").text.count("CPU:0")
                >= 1
            )
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_table_is_escaped_and_survives_being_written_down(language: str) -> None:
    use(language)
    where = "/job:localhost/replica:0/task:0/device:CPU:0"
    tensors = tuple(
        TensorInfo(i, (), "float32", where, value=Value(data=float(i))) for i in range(12)
    )
    made = Recording(
        tensors=tensors,
        reductions=(
            Reduction("sum", tuple(range(10)), 10, "<b>"),
            Reduction("min", (0,), 11, name="m"),
        ),
    )
    assert from_json(made.to_json()) == made
    bundle = Report(made).mimebundle()
    assert "<b>" not in bundle["text/html"] and "∇<b>" in bundle["text/plain"]
    assert {"en": "2 more replicas", "ko": "replica 2개"}[language] in bundle["text/plain"]


def test_names_of_replicas_lead_back() -> None:
    assert [without_replica(replica_name("W_1", i)) for i in range(3)] == ["W_1"] * 3
