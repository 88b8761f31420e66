"""``%tfdevice --why``: what decided where each op ran, in cells made for each reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

SETUP = """
import tensorflow as tf, tfmagic
from tfmagic.analysis.placement import placements, copies
v = tf.Variable([1.0, 2.0])
with tf.device("CPU:1"):
    there = tf.Variable([[1.0, 2.0], [3.0, 4.0]])
    far = tf.constant([1.0, 2.0]) + 0
x = tf.constant([3.0, 4.0]) + 0
big = tf.random.normal([1000, 1000])
data = tf.data.Dataset.from_tensor_slices([1.0, 2.0])

@tf.function
def double(a):
    return a * 2

def reasons():
    rec = tfmagic.last
    ops = [rec.ops[p.op] for p in placements(rec)]
    return [(o.function or o.type, p.device[-5:], p.why) for o, p in zip(ops, placements(rec))]

def moved():
    return [(c.source[-5:], c.target[-5:], c.count, c.size) for c in copies(tfmagic.last)]
"""

# The cell; what must stand among its ops; what was copied: from, to, tensors, bytes.
CELLS: dict[str, tuple[str, list[tuple[str, str, str]], list[tuple[str, str, int, int]]]] = {
    "nothing said": ("y = x * x", [("Mul", "CPU:0", "chosen")], []),
    "a scope": (
        "with tf.device('CPU:2'):\n    y = tf.ones([2]) + tf.ones([2])",
        [("AddV2", "CPU:2", "scope")],
        [],
    ),
    "an inner scope": (
        "with tf.device('CPU:1'):\n    with tf.device('CPU:2'):\n        y = tf.ones([3]) * 2",
        [("Mul", "CPU:2", "scope")],
        [],
    ),
    "a scope taken back": (
        "with tf.device('CPU:1'):\n    with tf.device(None):\n        y = x + 1",
        [("AddV2", "CPU:0", "chosen")],
        [],
    ),
    "a scope by its full name": (
        "with tf.device('/job:localhost/replica:0/task:0/device:CPU:1'):\n    y = far * 2",
        [("Mul", "CPU:1", "scope")],
        [],
    ),
    "a device that is not there": (
        "with tf.device('GPU:0'):\n    y = x + 1",
        [("AddV2", "CPU:0", "missing")],
        [],
    ),
    "a number that is not there": (
        "with tf.device('CPU:7'):\n    y = x + 1",
        [("AddV2", "CPU:0", "missing")],
        [],
    ),
    "a variable's home": (
        "there.assign_add(tf.ones([2, 2]))",
        [("AssignAddVariableOp", "CPU:1", "home")],
        [("CPU:0", "CPU:1", 1, 16)],
    ),
    "a home against a scope": (
        "with tf.device('CPU:2'):\n    there.assign(tf.ones([2, 2]))",
        [("AssignVariableOp", "CPU:1", "home")],
        [("CPU:2", "CPU:1", 1, 16)],
    ),
    "a home within its scope": (
        "with tf.device('CPU:1'):\n    there.assign_sub(tf.ones([2, 2]))",
        [("AssignSubVariableOp", "CPU:1", "scope")],
        [],
    ),
    "reading a variable": (
        "y = there.read_value()",
        [("ReadVariableOp", "CPU:1", "home"), ("Identity", "CPU:0", "chosen")],
        [("CPU:1", "CPU:0", 1, 16)],
    ),
    "a variable used elsewhere": (
        "y = there * 2.0",
        [("Mul", "CPU:0", "chosen")],
        [("CPU:1", "CPU:0", 1, 16)],
    ),
    "making a variable": (
        "with tf.device('CPU:2'):\n    made = tf.Variable(1.0)",
        [("AssignVariableOp", "CPU:2", "scope")],
        [],
    ),
    "two devices meet": (
        "with tf.device('CPU:2'):\n    y = x + far",
        [("AddV2", "CPU:2", "scope")],
        [("CPU:0", "CPU:2", 1, 8), ("CPU:1", "CPU:2", 1, 8)],
    ),
    "the same copy twice": (
        "with tf.device('CPU:2'):\n    y = big * 2\n    z = big * 3",
        [("Mul", "CPU:2", "scope")],
        [("CPU:0", "CPU:2", 1, 4_000_000)],
    ),
    "there and back": (
        "with tf.device('CPU:2'):\n    y = x * x\nz = y + x",
        [("Mul", "CPU:2", "scope"), ("AddV2", "CPU:0", "chosen")],
        [("CPU:0", "CPU:2", 1, 8), ("CPU:2", "CPU:0", 1, 8)],
    ),
    "a copy on purpose": (
        "with tf.device('CPU:1'):\n    y = tf.identity(big)",
        [("Identity", "CPU:1", "scope")],
        [("CPU:0", "CPU:1", 1, 4_000_000)],
    ),
    "a function": (
        "with tf.device('CPU:1'):\n    y = double(far)",
        [("double", "CPU:1", "scope")],
        [],
    ),
    "a gradient": (
        "with tf.device('CPU:1'):\n    with tf.GradientTape() as t:\n        y = tf.reduce_sum(there ** 2)\ng = t.gradient(y, there)",
        [("Sum", "CPU:1", "scope")],
        [("CPU:1", "CPU:0", None, None)],  # type: ignore[list-item]
    ),
    "the session's default": (
        "%tfdevice -q CPU:2\ny = tf.ones([2]) + 1\n",
        [("AddV2", "CPU:2", "default")],
        [],
    ),
    "the cell's device": ("%%tfdevice CPU:1\ny = far * far", [("Mul", "CPU:1", "scope")], []),
    "a random number": (
        "with tf.device('CPU:2'):\n    y = tf.random.normal([4])",
        [("RandomStandardNormal", "CPU:2", "scope")],
        [],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def split(
    new_kernel: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    with new_kernel(tmp_path_factory.mktemp("kernel") / "log") as here:
        here.run("%tfdevice -q --split CPU=3")
        here.run(SETUP)
        yield here


@pytest.mark.parametrize("case", CELLS)
def test_the_reason_is_right(split: Any, case: str) -> None:
    cell, ops, copied = CELLS[case]
    ran = split.run(f"%%tape -q --no-graph\n{cell}")
    assert not ran.error
    found = eval(split.run("reasons()").text)
    went = eval(split.run("moved()").text)
    split.run("%tfdevice -q auto")
    assert all(op in found for op in ops), found
    assert all(why not in ("unknown", "moved") for _, _, why in found), found
    if all(size is not None for *_, size in copied):
        assert went == copied
    else:
        assert [pair[:2] for pair in went] == [pair[:2] for pair in copied]


def test_a_default_that_was_there_before_is_told_as_such(split: Any) -> None:
    split.run("%tfdevice -q CPU:1")
    split.run("%%tape -q\ny = far * far")
    shown = split.run("%tfdevice --why").text
    split.run("%tfdevice -q auto")
    assert "CPU:1 is the session's default" in shown


@pytest.mark.parametrize("language", ["en", "ko"])
def test_it_is_told_by_line_with_the_copies(split: Any, language: str) -> None:
    split.run(f'%config TFMagic.lang = "{language}"')
    split.run(
        "%%tape -q\nthere.assign_add(tf.ones([2, 2]))\nwith tf.device('GPU:0'):\n    y = x + 1"
    )
    ran = split.run("%tfdevice --why")
    split.run('%config TFMagic.lang = "en"')
    words = {
        "en": ("there lives there", "line 3", "GPU:0, which does not exist", "1 tensor", "16 B"),
        "ko": ("there: 여기에", "3번째 줄", "없는 장치입니다", "텐서 1개", "16 B"),
    }
    assert all(word in ran.text for word in words[language]), ran.text
    assert all(word in ran.html.replace("\xa0", " ") for word in words[language])


def test_without_a_recording_it_is_said(shell: Any, capsys: Any) -> None:
    shell.run_cell("%tfdevice --why")
    assert "Nothing has been recorded yet" in "".join(capsys.readouterr())
