"""Tracing: how often and why a function was traced, and what it froze for good."""

from __future__ import annotations

import linecache
import random
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmagic
from tfmagic.language import use
from tfmagic.model import Recording, from_json
from tfmagic.render.report import Report
from tfmagic.render.tracing import remarks
from tfmagic.runtime import private


def recorded(folder: Path, source: str, before: str = "") -> Recording:
    """What a cell with this source ran, after another one that was not recorded."""
    space: dict[str, Any] = {
        "tf": tf, "np": np, "keras": keras, "time": time, "random": random, "__name__": "__main__"
    }  # fmt: skip
    for number, text in enumerate((before, source)):
        name = str(folder / f"cell_{number}.py")
        Path(name).write_text(text, encoding="utf-8")
        linecache.checkcache(name)
        if number == 0:
            exec(compile(text, name, "exec"), space)
            continue
        with tfmagic.record() as rec:
            exec(compile(text, name, "exec"), space)
    assert not rec.log.faults
    assert from_json(rec.recording.to_json()) == rec.recording
    return rec.recording


AGAIN = {
    "value": "@tf.function\ndef f(x, n):\n    return x * 0.9**n\n\nfor n in range(5):\n    f(1.0, n)",
    "shape": "@tf.function\ndef f(x):\n    return x * 2\n\nfor n in range(1, 6):\n    f(tf.ones([n]))",
    "made_anew": "for n in range(5):\n    f = tf.function(lambda x: x + n)\n    f(tf.ones(2))",
    "structure": "@tf.function\ndef f(x):\n    return x[0]\n\nfor n in range(1, 6):\n"
    "    f([tf.ones(1)] * n)",
}  # fmt: skip


@pytest.mark.parametrize("reason", AGAIN)
def test_why_a_function_is_traced_again_and_again(tmp_path: Path, reason: str) -> None:
    found = recorded(tmp_path, AGAIN[reason])
    assert [t.reason for t in found.traces] == ["first"] + 4 * [reason]
    assert all(t.seconds > 0 and t.own for t in found.traces)
    calls = AGAIN[reason].rstrip().count("\n") + 1
    assert {t.line_number for t in found.traces} == {calls}
    (verdict,) = found.verdicts
    assert (verdict.code, verdict.line_number) == ("retraced", calls)
    assert verdict.source == {"value": "n", "made_anew": ""}.get(reason, "x")
    (sentence,) = remarks(found)
    assert "5" in sentence and "{" not in sentence
    assert sentence in Report(found).text(width=400)


def test_the_mended_call_traces_once(tmp_path: Path) -> None:
    cell = AGAIN["value"]
    (verdict,) = recorded(tmp_path, cell).verdicts
    assert verdict.repair == "f(1.0, tf.constant(n, tf.float32))" and not verdict.replaces[0]
    mended = recorded(tmp_path, cell.replace("f(1.0, n)", verdict.repair))
    assert len(mended.traces) == 1 and not mended.verdicts


SOUND = {
    "flag": "@tf.function\ndef f(x, training):\n    return x * 2 if training else x\n\n"
    "for _ in range(3):\n    f(1.0, True)\n    f(1.0, False)",
    "variables": "class Net(tf.Module):\n    w = None\n    @tf.function\n"
    "    def __call__(self, x):\n        if self.w is None:\n            self.w = tf.Variable(1.0)\n"
    "        return self.w * x\n\nnet = Net()\nfor _ in range(3):\n    net(1.0)",
    "objects": "class Net(tf.Module):\n    @tf.function\n    def __call__(self, x):\n"
    "        return x\n\nfor _ in range(4):\n    Net()(1.0)",
    "constant": "scale = 2.0\n@tf.function\ndef f(x):\n    return x * scale\n\n"
    "for step in range(3):\n    f(1.0)",
    "changed after": "scale = 2.0\n@tf.function\ndef f(x):\n    return x * scale\n\n"
    "f(1.0)\nf(1.0)\nscale = 3.0",
    "tensor": "scale = tf.Variable(2.0)\n@tf.function\ndef f(x):\n    return x * scale\n\n"
    "f(1.0)\nscale.assign(3.0)\nf(1.0)",
    "note": "@tf.function\ndef f(x):\n    print('tracing')\n    return x\n\nf(1.0)\nf(1.0)",
    "own state": "class Counter(tf.Module):\n    n = 0\n    def __init__(self):\n"
    "        self.n = 0\n        self.w = tf.Variable(1.0)\n"
    "    @tf.function\n    def step(self, x):\n        return self.w * x\n"
    "    def run(self):\n        for self.n in range(self.n, self.n + 3):\n"
    "            self.step(tf.constant(1.0))\n\nCounter().run()",
}  # fmt: skip


@pytest.mark.parametrize("kind", SOUND)
def test_what_is_sound_is_not_accused(tmp_path: Path, kind: str) -> None:
    found = recorded(tmp_path, SOUND[kind])
    assert found.traces and not found.verdicts


FROZEN = {
    "scale": ("f(1.0)\nscale = 3.0\nf(1.0)", 4, "value"),
    "k": (
        "def made():\n    k = 1.0\n    @tf.function\n    def f(x):\n        return x * k\n"
        "    def put(v):\n        nonlocal k\n        k = v\n    return f, put\n\n"
        "f, put = made()\nf(1.0)\nput(2.0)\nf(1.0)",
        5,
        "value",
    ),
    "self.rate": (
        "class Net:\n    def __init__(self):\n        self.rate = 0.1\n    @tf.function\n"
        "    def step(self, x):\n        return x * self.rate\n\n"
        "net = Net()\nnet.step(1.0)\nnet.rate = 0.5\nnet.step(1.0)",
        6,
        "value",
    ),
    "self.beta": (
        "class Scale(keras.layers.Layer):\n    def __init__(self):\n        super().__init__()\n"
        "        self.beta = 0.1\n    def call(self, x):\n        return x * self.beta\n\n"
        "scale = Scale()\nnet = keras.Sequential([keras.layers.Dense(2), scale])\n"
        "net.compile('sgd', 'mse')\nx = np.ones((4, 2), 'f')\nnet.fit(x, x, verbose=0)\n"
        "scale.beta = 0.5\nnet.fit(x, x, verbose=0)",
        6,
        "value",
    ),
    "time.time": (
        "@tf.function\ndef f(x):\n    return x + time.time()\n\nf(1.0)\nf(1.0)",
        3,
        "time",
    ),
    "np.random.rand": (
        "@tf.function\ndef f(x):\n    return x + np.random.rand()\n\nf(1.0)\nf(1.0)",
        3,
        "random",
    ),
    "print": (
        "@tf.function\ndef f(x):\n    print(x)\n    return x\n\nfor _ in range(2):\n    f(1.0)",
        3,
        "print",
    ),
}
EARLIER = "scale = 2.0\n@tf.function\ndef f(x):\n    return x * scale\n"


@pytest.mark.parametrize("name", FROZEN)
def test_what_tracing_froze(tmp_path: Path, name: str) -> None:
    source, line, kind = FROZEN[name]
    found = recorded(tmp_path, source, EARLIER)
    (verdict,) = found.verdicts
    assert (verdict.code, verdict.source, verdict.line_number) == ("frozen_at_trace", name, line)
    assert dict(verdict.values)["kind"] == kind
    try:
        for language in ("en", "ko"):
            use(language)
            (sentence,) = remarks(found)
            assert name in sentence and "{" not in sentence
    finally:
        use(None)


def test_nothing_stands_in_the_stack_of_a_traced_op_and_nothing_stays() -> None:
    owner = private.function_cache()
    before = owner.lookup, owner.add
    with tfmagic.record():
        found = tf.function(lambda x: x + 1.0).get_concrete_function(tf.ones(1))
    operation = next(op for op in found.graph.get_operations() if op.type.startswith("Add"))
    assert not any("/tfmagic/runtime/" in frame.filename for frame in operation.traceback)
    assert (owner.lookup, owner.add) == before


def test_a_function_that_raises_while_it_is_traced_raises_and_is_traced_again(
    tmp_path: Path,
) -> None:
    found = recorded(
        tmp_path,
        "@tf.function\ndef f(x, n):\n    if n == 1:\n        raise ValueError('no')\n"
        "    return x\n\nf(1.0, 0)\ntry:\n    f(1.0, 1)\nexcept ValueError as error:\n"
        "    assert 'no' in str(error)\nf(1.0, 2)",
    )
    assert [(t.reason, t.inside) for t in found.traces] == [("first", False), ("value", False)]
