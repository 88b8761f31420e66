"""Each op's own time, run again on the tensors of the run."""

from __future__ import annotations

from typing import Any

import pytest

tf = pytest.importorskip("tensorflow")

import tfmagic  # noqa: E402
from tfmagic import api  # noqa: E402
from tfmagic.errors import OptionError  # noqa: E402
from tfmagic.runtime.autodiff.op_times import op_seconds  # noqa: E402
from tfmagic.runtime.tape.graph_subject import subject_of, timed  # noqa: E402


def recorded() -> Any:
    v = tf.Variable([[1.0, 2.0], [3.0, 4.0]])
    with tfmagic.record() as rec:
        h = tf.matmul(v, v)
        h = h + tf.random.uniform((2, 2))
        v.assign_add(h)
    return rec, v


def ticking(step: float = 0.001) -> Any:
    now = [0.0]

    def clock() -> float:
        now[0] += step
        return now[0]

    return clock


def test_ops_that_only_compute_are_timed_and_no_others() -> None:
    rec, v = recorded()
    before = v.numpy()
    found = op_seconds(rec.log, clock=ticking())
    types = {rec.recording.ops[i].type: seconds for i, seconds in found.items()}
    assert {"MatMul", "AddV2"} <= set(types)
    assert not {"RandomUniform", "AssignAddVariableOp"} & set(types)
    assert types["MatMul"] == pytest.approx(0.001 / 4)
    assert (v.numpy() == before).all()


def test_a_spent_budget_leaves_the_rest_out() -> None:
    rec, _ = recorded()
    assert len(op_seconds(rec.log, clock=ticking(), budget=0.004)) < len(op_seconds(rec.log))


def test_times_are_part_of_the_recording() -> None:
    rec, _ = recorded()
    recording = timed(rec)
    assert recording.op_seconds and api.load(recording.to_json()) == recording
    (box,) = [n for n in api.graph(recording).graph.nodes if n.title == "MatMul"]
    assert "16 FLOPs · 16 B" in box.detail[-1]


def test_a_call_is_timed_before_its_tensors_go() -> None:
    subject = subject_of("tf.matmul(x, x)", lambda: {"tf": tf, "x": tf.ones((4, 4))}, cost=True)
    assert subject.recording is not None and len(subject.recording.op_seconds) == 1


def test_a_tape_that_let_go_says_what_to_do() -> None:
    rec, _ = recorded()
    with pytest.raises(OptionError, match="give the tape a name"):
        timed(rec.release())
