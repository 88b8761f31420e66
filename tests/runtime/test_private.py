"""Private TensorFlow names: each is probed, and without it the rest works."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import tensorflow as tf

import tfmagic
from tfmagic.errors import TensorFlowMissing
from tfmagic.runtime import private


def test_every_name_is_found_here() -> None:
    assert all(private.probe().values())
    assert private.missing_features() == ()


@pytest.mark.parametrize("key", [k for k, name in private.NAMES.items() if name.needed])
def test_without_a_needed_name_recording_says_so(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(private._found, key, None)
    with pytest.raises(TensorFlowMissing) as caught:
        tfmagic.record()
    assert private.NAMES[key].attribute in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "key",
    ["tensor_profiler", "register_gradient", "op_defs", "gradient_registry", "called_function"],
)
def test_without_another_name_the_rest_works(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(private._found, key, None)
    assert private.missing_features() == (private.NAMES[key].feature,)
    v = tf.Variable(3.0)
    with tfmagic.record() as rec:
        with tf.GradientTape() as tape:
            y = v * v
        tape.gradient(y, v)
    assert rec.recording.gradients[0].gradients[0].value.data == 6.0
    (gap,) = [gap for gap in rec.recording.complete if gap.code == "features"]
    assert private.NAMES[key].feature in gap.message


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
