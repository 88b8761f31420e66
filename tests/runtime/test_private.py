"""Private TensorFlow names: each is probed, and without it the rest works."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import tensorflow as tf

import tfmagic
from tfmagic.errors import TensorFlowMissing
from tfmagic.runtime import private
from tfmagic.runtime.capture import snapshot
from tfmagic.runtime.capture.unnoticed import random_state

NEEDED = [key for key, name in private.NAMES.items() if name.needed]
OTHERS = [key for key, name in private.NAMES.items() if not name.needed]


class Lacking:
    """A module or class of TensorFlow's as it would be without one name of it."""

    def __init__(self, owner: Any, gone: str) -> None:
        vars(self).update(owner=owner, gone=gone.partition("."))

    def __getattr__(self, name: str) -> Any:
        first, _, rest = self.gone
        if name != first:
            return getattr(self.owner, name)
        if not rest:
            raise AttributeError(name)
        return Lacking(getattr(self.owner, name), rest)

    def __setattr__(self, name: str, value: Any) -> None:
        assert name != self.gone[0], "put where there was none"
        setattr(self.owner, name, value)


def without(key: str, real: Callable[[str], Any] = importlib.import_module) -> Any:
    """``importlib.import_module`` of a TensorFlow that lacks this name."""
    name = private.NAMES[key]
    return lambda module: (
        Lacking(real(module), name.attribute) if module == name.module else real(module)
    )


def take_away(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have tfmagic find this name no more, neither now nor where it looks again."""
    monkeypatch.setitem(private._found, key, None)
    monkeypatch.setattr(private, "importlib", SimpleNamespace(import_module=without(key)))
    if key == "view":  # found once, for it is asked of every tensor
        monkeypatch.setattr(private, "view", private.EagerTensor.numpy)
        monkeypatch.setattr(snapshot, "view", private.EagerTensor.numpy)


def test_every_name_is_found_here() -> None:
    assert all(private.probe().values())
    assert private.missing_features() == ()


@pytest.mark.parametrize("key", private.NAMES)
def test_a_tensorflow_without_a_name_is_found_out(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("private_anew", private.__file__)
    assert spec is not None and spec.loader is not None
    anew: Any = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "private_anew", anew)
    with monkeypatch.context() as patch:
        patch.setattr(importlib, "import_module", without(key))
        spec.loader.exec_module(anew)
    assert not anew.probe()[key] and anew.missing_features()
    if not private.NAMES[key].needed:
        anew.require()
        return
    with pytest.raises(TensorFlowMissing) as caught:
        anew.require()
    assert private.NAMES[key].attribute in str(caught.value)


@pytest.mark.parametrize("key", NEEDED)
def test_without_a_needed_name_recording_says_so(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(private._found, key, None)
    with pytest.raises(TensorFlowMissing) as caught:
        tfmagic.record()
    assert private.NAMES[key].attribute in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", OTHERS)
def test_without_another_name_the_cell_and_its_recording_are_the_same(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_away(key, monkeypatch)
    v = tf.Variable(3.0)
    with tfmagic.record() as rec:
        with tf.GradientTape() as tape:
            y = v * v
        assert bool(tape.gradient(y, v) == 6.0)
    assert rec.recording.gradients[0].gradients[0].value.data == 6.0
    assert "Mul" in {op.type for op in rec.recording.ops}
    (gap,) = rec.recording.complete
    assert gap.code == "features" and str(private.missing_features()[0]) in gap.message


# --- every feature once ------------------------------------------------------------------


@tf.custom_gradient
def fivefold(x: Any) -> Any:
    return x * 5.0, lambda upstream: upstream * 5.0


@tf.function
def squared(x: Any) -> Any:
    return x * x


@tf.function
def root(x: Any) -> Any:
    return squared(tf.sqrt(x))


def recorded(function: Callable[[Any], Any], at: float) -> tuple[Any, Any, Any]:
    w = tf.Variable(at)
    with tfmagic.record() as rec:
        y = function(w)
    return rec, y, w


def ask(function: Callable[[Any], Any], expected: float) -> None:
    rec, y, w = recorded(function, 3.0)
    assert rec.gradient(y, w) == expected


def inside() -> None:
    w = tf.Variable(0.0)
    with tfmagic.record() as rec:
        with tf.GradientTape() as tape:
            y = root(w)
        tape.gradient(y, w)
    assert len(rec.recording.gradients) == 1


def tweak() -> None:
    rec, y, _ = recorded(lambda w: w * w, 3.0)
    assert tfmagic.tweak(rec).set(w=2.0).value(y) == 4.0


def bench() -> None:
    space = {"w": tf.Variable(3.0)}
    result = tfmagic.bench("w * w", namespace=space, budget=0.02, modes=("eager", "function"))
    assert all(timing.median for timing in result.timings)


def device() -> None:
    with tfmagic.device("CPU:0"):
        assert tf.ones([]).device.endswith("CPU:0")


def chance() -> None:
    tf.random.set_seed(1)
    with random_state():
        once = tf.random.normal([])
    tf.random.set_seed(1)
    with random_state():
        assert tf.random.normal([]) == once


FEATURES: dict[str, Callable[[], Any]] = {
    "gradient": lambda: ask(lambda w: w * w, 6.0),
    "custom": lambda: ask(lambda w: fivefold(w + 0.0), 5.0),
    "function": lambda: ask(squared, 6.0),
    "inside": inside,
    "tweak": tweak,
    "graph": lambda: repr(tfmagic.graph(tf.function(lambda: tf.tanh(1.0)))),
    "bench": bench,
    "device": device,
    "devices": lambda: repr(tfmagic.devices()),
    "memory": private.memory_limits,
    "kernel": lambda: private.has_kernel("MatMul", "CPU") or pytest.fail("MatMul runs on a CPU"),
    "scope": lambda: private.restore_scope(private.open_scope()),
    "chance": chance,
    "workers": lambda: private.set_cluster({}),
}
#: What cannot be done without a name; all else can.
LOST = {
    "record_gradient": {"gradient", "custom"},
    "record_operation": {"function"},
    "execute": {"tweak"},
    "call_flat": {"function"},
    "op_defs": {"function", "tweak", "graph"},
    "set_device": {"scope"},
    "server": {"workers"},
    "new_server": {"workers"},
}


def test_every_feature_works_here() -> None:
    for feature in FEATURES.values():
        feature()


@pytest.mark.parametrize("key", OTHERS)
def test_without_another_name_what_needs_it_says_so_and_the_rest_works(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_away(key, monkeypatch)
    lost = set()
    for name, feature in FEATURES.items():
        try:
            feature()
        except TensorFlowMissing as missing:
            assert private.NAMES[key].attribute in str(missing) and "\n" not in str(missing)
            lost.add(name)
    assert lost == LOST.get(key, set())


def test_where_an_open_tape_cannot_be_seen_nothing_gets_onto_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take_away("could_record", monkeypatch)
    worked: list[str] = []

    @tf.custom_gradient
    def noting(x: Any) -> Any:
        def backward(upstream: Any) -> Any:
            worked.append(threading.current_thread().name)
            return upstream

        return x * 1.0, backward

    ask(lambda w: noting(w + 0.0), 1.0)
    assert worked == ["tfmagic-differentiate"]


def test_a_release_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf, "__version__", "2.9.1")
    with pytest.raises(TensorFlowMissing) as caught:
        tfmagic.record()
    assert "2.9.1" in str(caught.value) and "2.16" in str(caught.value)


WITHOUT = """
import sys
sys.modules["tensorflow"] = None
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "tfmagic")
print("ran", shell.run_cell("%%tape\\nn = 1 + 1\\nn").result, shell.user_ns["n"])
import tfmagic
try:
    tfmagic.record()
except tfmagic.errors.TensorFlowMissing as error:
    print("one line:", error)
"""


def test_without_tensorflow_the_cell_runs_and_one_line_says_why() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert "ran 2 2" in done.stdout
    assert "one line: TensorFlow is not installed" in done.stdout
    assert done.stdout.count("pip install tensorflow") == 2
    assert "Traceback" not in done.stdout + done.stderr
