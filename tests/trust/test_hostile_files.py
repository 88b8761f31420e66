"""A file is data: a recording, a GraphDef or a SavedModel that is damaged or forged becomes one
line of error, or a picture.

``TFMAGIC_FILES=2000`` tries as many as one likes.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tfmagic
from tfmagic.errors import LoadError
from tfmagic.render.report import Report

FORGE = Path(__file__).with_name("forge.py")
FILES = int(os.environ.get("TFMAGIC_FILES", "100"))
NASTY = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "]]></svg><script>",
    '\\N\\"; rm -rf ~ #',
    "$(touch owned)",
    "\u202e\x00\x1b[31m",
    "한글" * 50,
    "x" * 5000,
    "{{7*7}}",
    "javascript:alert(1)",
]
VALUES = [
    *NASTY,
    None,
    True,
    -1,
    0,
    10**18,
    1e308,
    [],
    {},
    [[]],
    {"$": "nan"},
    {"$": [1, 2]},
    {"$": {}},
]


@pytest.fixture(scope="module")
def document() -> str:
    """A recording with a bit of everything."""
    w = tf.Variable([[1.0, 2.0]], name="w")
    with tfmagic.record() as rec, tf.GradientTape() as tape:
        text = tf.constant(["a"])  # noqa: F841
        with tf.name_scope("mine"):
            loss = tf.reduce_sum(tf.nn.relu(w) * tf.constant([[3.0, float("nan")]]))
    tape.gradient(loss, w)
    rec.gradient(loss, w)
    return str(rec.recording.to_json())


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every member of every object and list below ``node``."""
    if isinstance(node, dict):
        keys: list[Any] = list(node)
    elif isinstance(node, list):
        keys = list(range(len(node)))
    else:
        return []
    return [(node, key) for key in keys] + [p for key in keys for p in places(node[key])]


def forged(document: str, seed: int) -> str:
    """The document with some members replaced, dropped, doubled or moved."""
    draw, found = random.Random(seed), json.loads(document)
    for _ in range(draw.randint(1, 4)):
        node, key = draw.choice(places(found["recording"]))
        how = draw.random()
        if how < 0.6:
            node[key] = draw.choice(VALUES)
        elif how < 0.75:
            del node[key]
        elif how < 0.9 and isinstance(node, list):
            node.append(node[key])
        elif isinstance(node, dict):
            node[draw.choice(NASTY)] = node[key]
    return json.dumps(found)


@settings(max_examples=FILES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**9))
def test_a_forged_recording_is_one_line_or_a_report(document: str, seed: int) -> None:
    try:
        recording = tfmagic.load(forged(document, seed))
    except LoadError as error:
        assert "\n" not in str(error) and len(str(error)) < 500
        return
    bundle = Report(recording).mimebundle()
    html = bundle["text/html"]
    assert len(html) < 2_000_000
    assert "<script>alert" not in html and "<img src=x" not in html and "\x00" not in html


@settings(max_examples=FILES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_file_is_one_line(document: str, data: Any) -> None:
    at = data.draw(st.integers(0, len(document)))
    noise = data.draw(st.text(max_size=20))
    for text in (document[:at], document[:at] + noise + document[at + 1 :], noise):
        try:
            tfmagic.load(text)
        except LoadError as error:
            assert "\n" not in str(error) and len(str(error)) < 500


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 50_000, "1e999", "NaN", '"\\ud800"', ""])
def test_what_is_no_recording_is_one_line(text: str) -> None:
    with pytest.raises(LoadError) as refused:
        tfmagic.load(text)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 500


def test_a_forged_graph_is_one_line_or_a_picture(tmp_path: Path) -> None:
    """All in one process of their own: what takes it down is named here, and fails here."""
    done = subprocess.run(
        [sys.executable, str(FORGE), str(tmp_path), "0", str(FILES)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    tried, outcomes = lines[::2], [line["outcome"] for line in lines[1::2]]
    wrong = [
        f"{file}: {outcome}"
        for file, outcome in zip(tried, outcomes, strict=False)
        if outcome not in ("line", "picture")
    ]
    assert not wrong, wrong[0]
    assert len(outcomes) == FILES, f"exit {done.returncode} at {tried[-1:]}"
    assert {"line", "picture"} == set(outcomes)
