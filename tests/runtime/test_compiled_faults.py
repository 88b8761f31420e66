"""Faults inside compiled code: each is named where it is, and sound code is not accused."""

from __future__ import annotations

import linecache
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmagic
from tfmagic.model import Recording
from tfmagic.render.report import Report


class Fault(NamedTuple):
    """A function's code, what it is called with, the code of the verdict, the guilty text."""

    body: str
    code: str
    line: str
    value: str = "[1.0, 2.0]"
    before: str = ""
    options: str = ""


def cell(fault: Fault) -> str:
    """The cell: ``v`` goes through the function, and its gradient is asked for."""
    return "\n".join(
        [
            f"v = tf.Variable({fault.value})",
            *fault.before.split("\n"),
            f"@tf.function{fault.options}",
            "def f(x):",
            *(f"    {line}" for line in fault.body.split("\n")),
            "with tf.GradientTape() as tape:",
            "    z = f(v)",
            "g = tape.gradient(z, v)",
        ]
    )


def recorded(folder: Path, source: str, before: str = "") -> Recording:
    """What a cell ran, after another one that was not recorded."""
    space: dict[str, Any] = {"tf": tf, "np": np, "keras": keras, "__name__": "__main__"}
    for number, text in enumerate((before, source)):
        name = str(folder / f"cell_{number}.py")
        Path(name).write_text(text, encoding="utf-8")
        linecache.checkcache(name)
        if not number:
            exec(compile(text, name, "exec"), space)
            continue
        with tfmagic.Tape(lambda: space) as rec:
            exec(compile(text, name, "exec"), space)
    assert not rec.log.faults
    return rec.recording


NESTED = "@tf.function\ndef inner(x):\n    return {}\n"
FAULTS = {
    "log of zero": Fault("return tf.reduce_sum(tf.math.log(x - 1.0))", "domain_edge", "math.log"),
    "sqrt of zero": Fault("y = x - 1.0\nreturn tf.reduce_sum(tf.sqrt(y))", "domain_edge", "sqrt"),
    "norm of zero": Fault("return tf.norm(x - x)", "domain_edge", "norm"),
    "log in a loop": Fault(
        "s = 0.0\nfor i in tf.range(5):\n"
        "    s += tf.reduce_sum(tf.math.log(x - tf.cast(i, tf.float32)))\nreturn s",
        "domain_edge",
        "math.log",
        "[3.0]",
    ),
    "log in a while": Fault(
        "i = 0\ns = x\nwhile i < 4:\n    s = tf.math.log(s)\n    i += 1\nreturn tf.reduce_sum(s)",
        "domain_edge",
        "math.log",
    ),
    "overflow in a loop": Fault(
        "for i in tf.range(6):\n    x = tf.exp(x)\nreturn tf.reduce_sum(x)", "overflow", "tf.exp"
    ),
    "sqrt in a branch": Fault(
        "if tf.reduce_sum(x) > 0.0:\n    y = tf.sqrt(x - 1.0)\nelse:\n    y = x\n"
        "return tf.reduce_sum(y)",
        "domain_edge",
        "sqrt",
    ),
    "where with a bad branch": Fault(
        "return tf.reduce_sum(tf.where(x > 1.0, 1.0 / (x - 1.0), 0.0))", "where_branch", "where"
    ),
    "log in a nested function": Fault(
        "return tf.reduce_sum(inner(x))", "domain_edge", "math.log",
        before=NESTED.format("tf.math.log(x - 1.0)"),
    ),
    "zero relu": Fault("return tf.reduce_sum(tf.nn.relu(x - 9.0))", "dead_relu", "relu"),
    "zero relu nested": Fault(
        "return tf.reduce_sum(inner(x))", "dead_relu", "relu",
        before=NESTED.format("tf.nn.relu(x - 9.0)"),
    ),
    "clipped": Fault("return tf.reduce_sum(tf.clip_by_value(x, 5.0, 6.0))", "clipped", "clip"),
    "saturated": Fault("return tf.reduce_sum(tf.sigmoid(x * 300.0))", "saturated", "sigmoid"),
    "saturated in a loop": Fault(
        "for _ in tf.range(2):\n    x = tf.tanh(x * 900.0)\nreturn tf.reduce_sum(x)",
        "saturated",
        "tanh",
    ),
    "sign": Fault("return tf.reduce_sum(tf.sign(x))", "flat_op", "sign"),
    "softmax summed": Fault("return tf.reduce_sum(tf.nn.softmax(x))", "cancelled", "softmax"),
    "argmax": Fault(
        "i = tf.argmax(x)\nreturn tf.cast(i, tf.float32)", "through_integer", "argmax"
    ),
    "cast": Fault(
        "n = tf.cast(x, tf.int32)\nreturn tf.reduce_sum(tf.cast(n, tf.float32))",
        "through_integer",
        "int32",
    ),
    "comparison": Fault(
        "return tf.reduce_mean(tf.cast(x > 1.5, tf.float32))", "through_integer", "x > 1.5"
    ),
    "stop_gradient": Fault(
        "y = tf.stop_gradient(x)\nreturn tf.reduce_sum(y * y)", "stop_gradient", "stop_gradient"
    ),
    "stop_gradient nested": Fault(
        "return tf.reduce_sum(inner(x))", "stop_gradient", "stop_gradient",
        before=NESTED.format("tf.stop_gradient(x)"),
    ),
    "stop_gradient in a branch": Fault(
        "if tf.reduce_sum(x) > 0.0:\n    y = tf.stop_gradient(x)\nelse:\n    y = x\n"
        "return tf.reduce_sum(y)",
        "stop_gradient",
        "stop_gradient",
    ),
    "round": Fault("return tf.reduce_sum(tf.round(x))", "no_gradient_op", "round"),
    "floor": Fault("y = tf.floor(x)\nreturn tf.reduce_sum(y)", "no_gradient_op", "floor"),
    "state": Fault(
        "w.assign(x)\nreturn tf.reduce_sum(w)", "state", "assign",
        before="w = tf.Variable([0.0, 0.0])",
    ),
    "numpy_function": Fault(
        "y = tf.numpy_function(np.sin, [x], tf.float32)\nreturn tf.reduce_sum(y)",
        "left_tensorflow",
        "numpy_function",
    ),
    "map_fn log": Fault(
        "y = tf.map_fn(lambda e: tf.math.log(e - 1.0), x)\nreturn tf.reduce_sum(y)",
        "domain_edge",
        "math.log",
    ),
    "map_fn round": Fault(
        "y = tf.map_fn(lambda e: tf.round(e), x)\nreturn tf.reduce_sum(y)",
        "no_gradient_op",
        "round",
    ),
    "scan": Fault(
        "y = tf.scan(lambda a, e: tf.sqrt(e - 2.0), x)\nreturn tf.reduce_sum(y)",
        "domain_edge",
        "sqrt",
    ),
    "xla log": Fault(
        "return tf.reduce_sum(tf.math.log(x - 1.0))", "domain_edge", "math.log",
        options="(jit_compile=True)",
    ),
    "xla relu": Fault(
        "return tf.reduce_sum(tf.nn.relu(x - 9.0))", "dead_relu", "relu",
        options="(jit_compile=True)",
    ),
    "switch": Fault(
        "return tf.switch_case(tf.constant(1), [lambda: tf.reduce_sum(x),\n"
        "    lambda: tf.reduce_sum(tf.math.log(x - 1.0))])",
        "domain_edge",
        "math.log",
    ),
    "acos": Fault("return tf.reduce_sum(tf.acos(x))", "domain_edge", "acos"),
    "pow": Fault("return tf.reduce_sum(tf.pow(x - 3.0, 2.5))", "domain_edge", "pow"),
    "std of a constant": Fault(
        "return tf.math.reduce_std(x * 0.0)", "domain_edge", "reduce_std"
    ),
    "exp": Fault("return tf.reduce_sum(tf.exp(x * 100.0))", "overflow", "exp"),
    "nan input": Fault("return tf.reduce_sum(x * x)", "nan_input", "", "[1.0, float('nan')]"),
    "tensor array": Fault(
        "a = tf.TensorArray(tf.float32, 2)\nfor i in tf.range(2):\n"
        "    a = a.write(i, tf.sqrt(x[i] - 1.0))\nreturn tf.reduce_sum(a.stack())",
        "domain_edge",
        "sqrt",
    ),
    "unused": Fault("return tf.reduce_sum(tf.ones([2]))", "disconnected|unused", ""),
    "zero input": Fault("return tf.reduce_sum(x * 0.0)", "zero_input", "x * 0.0"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_in_a_function_is_named_on_its_line(tmp_path: Path, kind: str) -> None:
    fault = FAULTS[kind]
    found = recorded(tmp_path, cell(fault))
    (verdict,) = (v for v in found.verdicts if v.source == "v")
    assert verdict.code in fault.code.split("|"), verdict
    assert fault.line in verdict.line, verdict
    told = " ".join([verdict.message, *(gap.message for gap in found.complete)])
    assert "--eager" not in told


# --- gradients that a function asks for itself ------------------------------------------------


def step(loss: str, start: str = "[1.0, 2.0]") -> str:
    """Three steps of a function that trains ``w`` on ``loss``, which stands on line 5."""
    return (
        f"w, u = tf.Variable({start}), tf.Variable(1.0)\n@tf.function\ndef step(x):\n"
        f"    with tf.GradientTape() as tape:\n        loss = {loss}\n"
        "    for v, g in zip([w, u], tape.gradient(loss, [w, u])):\n"
        "        if g is not None:\n            v.assign_sub(0.1 * g)\n    return loss\n"
        "for _ in range(3):\n    step(tf.constant([1.0, 2.0]))"
    )


INSIDE = {
    "stop_gradient": "tf.reduce_sum(u * tf.stop_gradient(w * x))",
    "through_integer": "tf.reduce_sum(u * tf.cast(tf.cast(w, tf.int32), tf.float32))",
    "no_gradient_op": "tf.reduce_sum(u * tf.round(w * x))",
    "unused": "tf.reduce_sum(u * x)",
    "dead_relu": "tf.reduce_sum(tf.nn.relu(w * x - 90.0)) + u * u",
    "domain_edge": "tf.reduce_sum(tf.sqrt(w - 1.0)) + u * u",
    "clipped": "tf.reduce_sum(tf.clip_by_value(w * x, 8.0, 9.0)) + u * u",
}


@pytest.mark.parametrize("code", INSIDE)
def test_a_gradient_that_a_step_asks_for_itself_is_judged(tmp_path: Path, code: str) -> None:
    found = recorded(tmp_path, step(INSIDE[code]))
    told = [verdict for verdict in found.verdicts if verdict.source == "w"]
    assert [verdict.code for verdict in told] == [code]
    assert told[0].line_number == 5 or code == "unused"
    assert told[0].message.replace("\n", " ") in Report(found).text(width=2000)


JACCARD = """x = tf.random.stateless_normal([16, 6], [1, 2])
y = tf.one_hot(tf.zeros([16], tf.int32), 3)
def jaccard(y_true, y_pred):
    hard = tf.one_hot(tf.argmax(y_pred, axis=-1), 3)
    return 1.0 - tf.reduce_sum(hard * y_true)
model = keras.Sequential([keras.layers.Dense(8), keras.layers.Dense(3, "softmax")])
model.compile("adam", loss=jaccard)
try:
    model.fit(x, y, verbose=0)
except ValueError as error:
    assert "No gradients provided" in str(error)
"""


def test_a_fit_that_ends_without_gradients_names_the_op_that_stops_them(tmp_path: Path) -> None:
    found = recorded(tmp_path, JACCARD).verdicts
    assert {(verdict.code, verdict.line_number) for verdict in found} == {("through_integer", 4)}


SOUND = {
    "step": step("tf.reduce_sum(u * (w * x) ** 2)"),
    "one sample without a gradient": step("tf.reduce_sum(u * tf.nn.relu(w * x - 3.0))"),
    "zero start": step("tf.reduce_sum((w * x + u) ** 2)", "[0.0, 0.0]"),
    "fit": "keras.utils.set_random_seed(1)\nx = np.random.RandomState(0).randn(32, 4)\n"
    "inner = [keras.layers.Dense(8, 'relu'), keras.layers.BatchNormalization()]\n"
    "net = keras.Sequential([*inner, keras.layers.Dropout(0.3), keras.layers.Dense(1)])\n"
    "net.compile('adam', 'mse')\nnet.fit(x, x[:, :1], batch_size=8, epochs=2, verbose=0)",
    "half": "keras.mixed_precision.set_global_policy('mixed_float16')\ntry:\n"
    "    net = keras.Sequential([keras.layers.Dense(8, 'relu'), keras.layers.Dense(1)])\n"
    "    net.compile('adam', 'mse')\n    x = np.random.RandomState(0).randn(32, 4)\n"
    "    net.fit(x, x[:, :1], batch_size=8, epochs=3, verbose=0)\nfinally:\n"
    "    keras.mixed_precision.set_global_policy('float32')",
    "rnn": "keras.utils.set_random_seed(1)\nx = np.random.RandomState(0).randn(8, 5, 3)\n"
    "net = keras.Sequential([keras.layers.Masking(), keras.layers.LSTM(4), keras.layers.Dense(1)])"
    "\nnet.compile('sgd', 'mse')\nnet.fit(x, x[:, 0, :1], verbose=0)",
    "evaluate": "net = keras.Sequential([keras.layers.Dense(1)])\nnet.compile('sgd', 'mse')\n"
    "x = np.ones((4, 2))\nnet.evaluate(x, x[:, :1], verbose=0)\nnet.predict(x, verbose=0)",
}


@pytest.mark.parametrize("kind", SOUND)
def test_a_sound_step_is_not_accused(tmp_path: Path, kind: str) -> None:
    assert [v for v in recorded(tmp_path, SOUND[kind]).verdicts if not v.fine] == []
