"""Short cells, each with one thing wrong (or nothing), and the verdict it must get."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfmagic
import tfmagic.language

# Each cell ends with names y (target), x (source); its own tape has been asked.
WRONG = {
    "a constant": ("not_watched", "x = tf.constant(3.0)\nwith T() as t:\n    y = x * x\nt.gradient(y, x)"),
    "not trainable": ("not_trainable", "x = tf.Variable(3.0, trainable=False)\nwith T() as t:\n    y = x * x\nt.gradient(y, x)"),
    "rebound": ("rebound", "x = tf.Variable(3.0)\nx = x - 0.1 * 2.0\nwith T() as t:\n    y = x * x\nt.gradient(y, x)"),
    "made later": ("made_later", "v = tf.Variable([3.0])\nwith T() as t:\n    y = v * v\n    x = v[0]\nt.gradient(y, x)"),
    "integers": ("not_float", "x = tf.Variable(3)\nwith T() as t:\n    y = x * x\nt.gradient(y, x)"),
    "unused": ("unused", "x = tf.Variable(3.0)\nv = tf.Variable(1.0)\nwith T() as t:\n    y = v * v\nt.gradient(y, x)"),
    "through numpy": ("left_tensorflow", "x = tf.Variable(3.0)\nwith T() as t:\n    a = x * 2.0\n    b = tf.sin(a) + np.square(a.numpy())\n    y = tf.constant(b.numpy()) * 2.0\nt.gradient(y, x)"),
    "stopped": ("stop_gradient", "x = tf.Variable(3.0)\nwith T() as t:\n    y = tf.stop_gradient(x * x) * 2.0\nt.gradient(y, x)"),
    "cast to int": ("through_integer", "x = tf.Variable(3.7)\nwith T() as t:\n    y = tf.cast(tf.cast(x, tf.int32), tf.float32) * 2.0\nt.gradient(y, x)"),
    "comparison": ("through_integer", "x = tf.Variable(3.7)\nwith T() as t:\n    y = tf.cast(x > 1.0, tf.float32) * 2.0\nt.gradient(y, x)"),
    "argmax": ("through_integer", "x = tf.Variable([3.7, 1.0])\nwith T() as t:\n    y = tf.cast(tf.argmax(x), tf.float32) * 2.0\nt.gradient(y, x)"),
    "round": ("no_gradient_op", "x = tf.Variable(3.7)\nwith T() as t:\n    y = tf.round(x) * 2.0\nt.gradient(y, x)"),
    "assign": ("state", "x = tf.Variable(3.7)\nv = tf.Variable(0.0)\nwith T() as t:\n    v.assign(x * 2.0)\n    y = v * v\nt.gradient(y, x)"),
    "before the tape": ("outside_tape", "x = tf.Variable(3.7)\na = x * 2.0\nwith T() as t:\n    y = a * a\nt.gradient(y, x)"),
    "stop_recording": ("outside_tape", "x = tf.Variable(3.7)\nwith T() as t:\n    with t.stop_recording():\n        a = x * 2.0\n    y = a * x * 0.0 + a\n    y = a * 1.0\nt.gradient(y, x)"),
    "dead relu": ("dead_relu", "x = tf.Variable([-1.0, -2.0])\nwith T() as t:\n    y = tf.reduce_sum(tf.nn.relu(x))\nt.gradient(y, x)"),
    "clipped": ("clipped", "x = tf.Variable([5.0, 6.0])\nwith T() as t:\n    y = tf.reduce_sum(tf.minimum(x, 1.0))\nt.gradient(y, x)"),
    "saturated": ("saturated", "x = tf.Variable([500.0])\nwith T() as t:\n    y = tf.reduce_sum(tf.sigmoid(x))\nt.gradient(y, x)"),
    "sign": ("flat_op", "x = tf.Variable([5.0])\nwith T() as t:\n    y = tf.reduce_sum(tf.sign(x))\nt.gradient(y, x)"),
    "times zero": ("zero_input", "x = tf.Variable([5.0])\nz = tf.constant([0.0])\nwith T() as t:\n    y = tf.reduce_sum(x * z)\nt.gradient(y, x)"),
    "sqrt at zero": ("domain_edge", "x = tf.Variable([0.0])\nwith T() as t:\n    y = tf.reduce_sum(tf.sqrt(x))\nt.gradient(y, x)"),
    "log of zero": ("domain_edge", "x = tf.Variable([0.0])\nwith T() as t:\n    y = tf.reduce_sum(tf.math.log(x))\nt.gradient(y, x)"),
    "overflow": ("overflow", "x = tf.Variable([500.0])\nwith T() as t:\n    y = tf.reduce_sum(tf.exp(x))\nt.gradient(y, x)"),
    "where": ("where_branch", "x = tf.Variable([0.0, 1.0])\nwith T() as t:\n    y = tf.reduce_sum(tf.where(x > 0.0, 1.0 / x, 0.0))\nt.gradient(y, x)"),
    "used up":("tape_used_up","x = tf.Variable(3.0)\nwith T() as t:\n    y = x * x\nt.gradient(y, x)\ntry:\n    t.gradient(y, x)\nexcept RuntimeError:\n    pass"),
    "unregistered":("no_gradient_registered","x = tf.Variable([3.0])\nwith T() as t:\n    y = tf.unique(x).y\ntry:\n    t.gradient(y, x)\nexcept LookupError:\n    pass"),
    "custom none":("custom_gradient","@tf.custom_gradient\ndef c(a):\n    return a * 2.0, lambda u: None\nx = tf.Variable(3.0)\nwith T() as t:\n    y = c(x) * 3.0\nt.gradient(y, x)"),
    "wrong object":("wrong_object","v = tf.Variable([3.0, 4.0])\nwith T() as t:\n    x = v[0]\n    y = v[0] * 2.0\nt.gradient(y, x)"),
    "wrong identity":("wrong_object","v = tf.Variable([3.0, 4.0])\nwith T() as t:\n    x = tf.identity(v)\n    y = v * 2.0\nt.gradient(y, x)"),
    "cancel":("cancelled","x = tf.Variable([3.0, 4.0])\nwith T() as t:\n    y = tf.reduce_sum(tf.nn.softmax(x))\nt.gradient(y, x)"),
    "nan input":("nan_input","x = tf.Variable([3.0, float('nan')])\nwith T() as t:\n    y = tf.reduce_sum(x * x)\nt.gradient(y, x)"),
    "norm":("domain_edge","x = tf.Variable([0.0, 0.0])\nwith T() as t:\n    y = tf.norm(x)\nt.gradient(y, x)"),
    "acos":("domain_edge","x = tf.Variable([1.0])\nwith T() as t:\n    y = tf.acos(x)\nt.gradient(y, x)"),
    "pow":("domain_edge","x = tf.Variable([-1.0])\nwith T() as t:\n    y = x ** 2.5\nt.gradient(y, x)"),
    "std":("domain_edge","x = tf.Variable([1.0, 1.0])\nwith T() as t:\n    y = tf.math.reduce_std(x)\nt.gradient(y, x)"),
    "disconnected":("disconnected","x = tf.Variable(1.0)\nv = tf.Variable(2.0)\nwith T() as t:\n    a = x * 2.0\n    y = v * 3.0\nt.gradient(y, x)"),
    "numpy func":("left_tensorflow","x = tf.Variable(1.0)\nwith T() as t:\n    a = x * 2.0\n    y = tf.numpy_function(np.square, [a], tf.float32)\nt.gradient(y, x)"),
    "float()":("left_tensorflow","x = tf.Variable(1.0)\nwith T() as t:\n    a = x * 2.0\n    y = tf.constant(float(a)) * 2.0\nt.gradient(y, x)"),
    "np direct":("left_tensorflow","x = tf.Variable(1.0)\nwith T() as t:\n    a = tf.constant(np.sin(x))\n    y = a * 2.0\nt.gradient(y, x)"),
    "new variable":("state","x = tf.Variable(1.0)\nwith T() as t:\n    v = tf.Variable(x * 2.0)\n    y = v * v\nt.gradient(y, x)"),
    "reset":("outside_tape","x = tf.Variable(1.0)\nwith T() as t:\n    a = x * x\n    t.reset()\n    y = a * 2.0\nt.gradient(y, x)"),
    "no watch accessed":("not_watched","x = tf.Variable(1.0)\nwith T(watch_accessed_variables=False) as t:\n    y = x * x\nt.gradient(y, x)"),
    "watched late":("not_watched","x = tf.constant(1.0)\nwith T() as t:\n    y = x * x\n    t.watch(x)\nt.gradient(y, x)"),
    "floor":("no_gradient_op","x = tf.Variable(1.5)\nwith T() as t:\n    y = tf.floor(x) * 2.0\nt.gradient(y, x)"),
    "as_string":("through_integer","x = tf.Variable(1.5)\nwith T() as t:\n    y = tf.strings.to_number(tf.as_string(x))\nt.gradient(y, x)"),
    "fp16":("underflow","x = tf.Variable(tf.constant([1e-3], tf.float16))\nwith T() as t:\n    y = tf.reduce_sum(x * tf.constant([1e-4], tf.float16)) * tf.constant(1e-4, tf.float16)\nt.gradient(y, x)"),
    "relu6":("clipped","x = tf.Variable([7.0])\nwith T() as t:\n    y = tf.reduce_sum(tf.nn.relu6(x))\nt.gradient(y, x)"),
    "clip":("clipped","x = tf.Variable([7.0])\nwith T() as t:\n    y = tf.reduce_sum(tf.clip_by_value(x, -1.0, 1.0))\nt.gradient(y, x)"),
    "tanh":("saturated","x = tf.Variable([70.0])\nwith T() as t:\n    y = tf.reduce_sum(tf.tanh(x) ** 2)\nt.gradient(y, x)"),
    "where log":("where_branch","x = tf.Variable([0.0, 1.0])\nwith T() as t:\n    y = tf.reduce_sum(tf.where(x > 0.0, tf.math.log(x), 0.0))\nt.gradient(y, x)"),
    "string var":("not_float","x = tf.Variable('a')\nv = tf.Variable(1.0)\nwith T() as t:\n    y = v * 2.0\nt.gradient(y, x)"),
    "bool const":("not_float","x = tf.constant(True)\nv = tf.Variable(1.0)\nwith T() as t:\n    y = v * tf.cast(x, tf.float32)\nt.gradient(y, x)"),
}  # fmt: skip

FINE = {
    "plain": "x = tf.Variable(3.0)\nwith T() as t:\n    y = x * x\nt.gradient(y, x)",
    "watched": "x = tf.constant(3.0)\nwith T() as t:\n    t.watch(x)\n    y = x * x\nt.gradient(y, x)",
    "minimum": "x = tf.Variable(0.0)\nwith T() as t:\n    y = x * x\nt.gradient(y, x)",
    "square at zero": "x = tf.Variable([0.0])\nwith T() as t:\n    y = tf.reduce_sum(tf.square(x))\nt.gradient(y, x)",
    "where sqrt": "x = tf.Variable([0.5, 1.0])\nwith T() as t:\n    y = tf.reduce_sum(tf.where(x > 0.6, tf.sqrt(x), x))\nt.gradient(y, x)",
    "some dead": "x = tf.Variable([-1.0, 2.0])\nwith T() as t:\n    y = tf.reduce_sum(tf.nn.relu(x))\nt.gradient(y, x)",
    "function": "x = tf.Variable(2.0)\nf = tf.function(lambda: x * x)\nwith T() as t:\n    y = f()\nt.gradient(y, x)",
    "embedding": "x = tf.Variable(tf.ones((3, 2)))\nwith T() as t:\n    y = tf.reduce_sum(tf.gather(x, [1]))\nt.gradient(y, x)",
}  # fmt: skip


def judge(cell: str, name: str) -> tuple[tfmagic.Tape, dict[str, Any]]:
    import linecache

    filename = f"<cell {name}>"
    linecache.cache[filename] = (len(cell), None, cell.splitlines(keepends=True), filename)
    space: dict[str, Any] = {"tf": tf, "np": np, "T": tf.GradientTape, "__name__": "__main__"}
    tape = tfmagic.Tape(lambda: space)
    with tape:
        exec(compile(cell, filename, "exec"), space)
    return tape, space


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_cause_is_named(name: str, language: str) -> None:
    tfmagic.language.use(language)
    code, cell = WRONG[name]
    tape, space = judge(cell, name)
    verdict = tape.recording.verdicts[-1]
    assert verdict.code == code, verdict
    assert verdict.message and verdict.repair and "{" not in verdict.message
    assert verdict == tfmagic.explain(tape, space["y"], space["x"])


@pytest.mark.parametrize("name", FINE)
def test_no_false_alarm(name: str) -> None:
    tape, space = judge(FINE[name], name)
    assert tfmagic.explain(tape, space["y"], space["x"]).code == "ok"
    assert len(tape.recording.gradients) == 1


def test_moving_statistics_are_expected() -> None:
    import keras

    layer = keras.layers.BatchNormalization()
    layer.build((None, 3))
    with tfmagic.record() as rec:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(tf.random.normal((8, 3)), training=True) ** 2)
        tape.gradient(loss, layer.variables)
    codes = [verdict.code for verdict in rec.recording.verdicts]
    assert codes == ["ok", "ok", "expected", "expected"]


def test_the_lessons_last_line_run_twice() -> None:
    cell = (
        "x = tf.Variable([[0.11]])\nlr = 0.05\nfor _ in range(2):\n"
        "    with T() as t:\n        y = x * x\n    g = t.gradient(y, x)\n"
        "    if g is not None:\n        x = x - lr * g"
    )
    tape, _ = judge(cell, "twice")
    first, second = tape.recording.verdicts
    assert first.code == "ok"
    assert second.code == "rebound" and second.line == "x = x - lr * g"
    assert "x.assign_sub" in second.repair
