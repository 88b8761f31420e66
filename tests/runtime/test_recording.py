"""What a recording holds of a run: ops, links, values, lines, gaps; and that it is data."""

from __future__ import annotations

import gc
import itertools
import threading
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfmagic
import tfmagic.errors
from tfmagic.model import from_json
from tfmagic.runtime.capture import recorder
from tfmagic.runtime.tape.incremental_builder import IncrementalBuilder
from tfmagic.runtime.tape.tape import Tape


def lesson() -> tfmagic.Tape:
    X = tf.Variable([[2.0], [3.0]])
    Y = tf.Variable([1.0])
    W_1 = tf.Variable([[0.11, 0.21], [0.12, 0.08]])
    W_2 = tf.Variable([[0.14, 0.15]])
    with tfmagic.record() as rec:
        with tf.GradientTape() as tape:
            H_1 = tf.matmul(W_1, X)
            Y_hat = tf.matmul(W_2, H_1)
            Loss = tf.square(Y_hat - Y) * 1 / 2
        dLoss_dW_1, dLoss_dW_2 = tape.gradient(Loss, [W_1, W_2])
        W_1.assign_sub(0.05 * dLoss_dW_1)
        W_2.assign_sub(0.05 * dLoss_dW_2)
    return rec


def test_forward_ops_in_order_with_the_users_names_and_lines() -> None:
    recording = lesson().recording
    forward = [op.type for op in recording.forward if op.type != "ReadVariableOp"]
    assert forward[:6] == ["MatMul", "MatMul", "Sub", "Square", "Mul", "RealDiv"]
    hidden = recording.find("H_1")
    assert np.allclose(hidden.value.data, [[0.85], [0.48]])
    op = recording.ops[hidden.op]
    assert recording.lines[op.line].text == "H_1 = tf.matmul(W_1, X)"
    assert dict(op.attrs)["T"] == "float32"
    assert op.device.endswith("CPU:0")


def test_the_cells_own_gradient_call_is_seen() -> None:
    (call,) = lesson().recording.gradients
    assert call.origin == "cell"
    assert call.targets == ("Loss",)
    first, second = call.gradients
    assert (first.source, first.place) == ("W_1", "[0]")
    assert np.allclose(first.value.data, [[-0.22652, -0.33978], [-0.2427, -0.36405]])
    assert np.allclose(second.value.data, [[-0.68765, -0.38832]])
    assert first.ratio == pytest.approx(0.598496 / 0.277489, rel=1e-4)


def test_backward_ops_are_linked_to_the_op_they_differentiate() -> None:
    recording = lesson().recording
    for op in recording.backward:
        assert op.differentiates is not None
        assert recording.ops[op.differentiates].kind == "forward"
    hidden = recording.find("H_1")
    gradient = recording.tensors[recording.gradient_of[hidden.id]]
    assert np.allclose(gradient.value.data, [[-0.11326], [-0.12135]], atol=1e-6)


def test_links_where_a_gradient_comes_by_two_ways() -> None:
    x = tf.Variable(3.0)
    with tfmagic.record() as rec:
        with tf.GradientTape() as tape:
            a = x * 2.0
            y = a * a + tf.sin(a)
        tape.gradient(y, x)
    recording = rec.recording
    a = recording.find("a")
    total = recording.tensors[recording.gradient_of[a.id]]
    assert total.value.data == pytest.approx(2 * 6.0 + np.cos(6.0))


def test_updates_name_their_variable() -> None:
    recording = lesson().recording
    by_name = {v.name: v for v in recording.variables}
    assert len(by_name["W_1"].assigned_by) == 1
    assert recording.ops[by_name["W_1"].assigned_by[0]].type == "AssignSubVariableOp"


def test_json_there_and_back() -> None:
    recording = lesson().recording
    assert from_json(recording.to_json()) == recording


def test_values_whole_when_small_and_summed_up_when_large() -> None:
    with tfmagic.record() as rec:
        small = tf.ones((3,)) * 2.0
        large = tf.ones((400, 300)) * float("nan")
    recording = rec.recording
    assert recording.find("small").value.data == (2.0, 2.0, 2.0)
    value = recording.find("large").value
    assert value.data is None and value.stats.count == 120_000 and value.stats.nan > 0
    assert small is not None and large is not None


@pytest.mark.parametrize(
    "make",
    [
        lambda: tf.strings.join(["a", "b"]),
        lambda: tf.ragged.constant([[1.0], [2.0, 3.0]]) * 2.0,
        lambda: tf.sparse.to_dense(tf.sparse.from_dense([[0.0, 1.0]])),
        lambda: tf.complex(1.0, 2.0) * tf.complex(0.0, 1.0),
        lambda: tf.cast(tf.ones(3), tf.bfloat16) * tf.cast(2.0, tf.bfloat16),
        lambda: tf.cast(tf.ones(100), tf.float16) * tf.cast(2.0, tf.float16),
        lambda: tf.zeros((0, 3)) + 1.0,
        lambda: tf.reduce_any(tf.constant([True, False])),
        lambda: next(iter(tf.data.Dataset.range(3))),
    ],
)
def test_any_kind_of_tensor_can_be_recorded(make) -> None:
    with tfmagic.record() as rec:
        make()
    recording = rec.recording
    assert recording.ops and "fault" not in {gap.code for gap in recording.complete}
    assert from_json(recording.to_json()) == recording


def test_other_threads_are_owned_up_to() -> None:
    x = tf.constant(2.0)
    with tfmagic.record() as rec:
        worker = threading.Thread(target=lambda: tf.square(x) + 1.0)
        worker.start()
        worker.join()
        x * 3.0
    (gap,) = [g for g in rec.recording.complete if g.code == "threads"]
    assert gap.count == 1
    assert [op.type for op in rec.recording.ops] == ["Mul"]


def test_a_function_call_is_one_op_and_said_to_be() -> None:
    w = tf.Variable(3.0)

    @tf.function
    def double(x):
        return x * w * 2.0

    with tfmagic.record() as rec:
        y = double(tf.constant(1.0))
    recording = rec.recording
    (op,) = recording.ops
    assert op.function == "double"
    assert [g.code for g in recording.complete] == ["functions"]
    assert rec.gradient(y, w).numpy() == 2.0


def test_the_budget_lets_old_tensors_go_and_says_so() -> None:
    with tfmagic.record(budget=1_000_000) as rec:
        x = tf.ones((256, 256))
        for _ in range(20):
            x = tf.tanh(x)
    recording = rec.recording
    assert "budget" in {gap.code for gap in recording.complete}
    assert len([op for op in recording.ops if op.type == "Tanh"]) == 20


def test_no_tensor_outlives_a_release() -> None:
    with tfmagic.record() as rec:
        alive = weakref.ref(tf.ones((64, 64)) * 2.0)
    assert alive() is not None
    rec.release()
    gc.collect()
    assert alive() is None
    with pytest.raises(tfmagic.errors.ReleasedError):
        rec.gradient(None, None)


def test_an_exception_keeps_what_ran_before_it() -> None:
    rec = tfmagic.record()
    with pytest.raises(ZeroDivisionError), rec:
        tf.ones(2) * 2.0
        1 / 0
    assert rec.recording.failure.type == "ZeroDivisionError"
    assert [op.type for op in rec.recording.ops][-1] == "Mul"


def test_the_collector_is_seen_as_it_was_and_given_back() -> None:
    real, count, before, callbacks = (
        gc.get_threshold,
        gc.get_count,
        gc.get_threshold(),
        gc.callbacks,
    )
    with tfmagic.record():
        assert gc.get_threshold() == before != real()
        kept = [[] for _ in range(2 * before[0])]
        assert len(kept) > before[0] >= gc.get_count()[0]
        assert gc.isenabled() and gc.callbacks == callbacks
    assert (gc.get_threshold, gc.get_count) == (real, count) and real() == before
    with tfmagic.record():
        gc.set_threshold(900, 5, 5)
        assert gc.get_threshold() == (900, 5, 5)
    assert gc.get_threshold() == (900, 5, 5)
    gc.set_threshold(*before)


def test_in_a_loop_each_call_has_its_own_reads_and_weights() -> None:
    w = tf.Variable(1.0)
    with tfmagic.record() as rec:
        for _ in range(4):
            with tf.GradientTape() as tape:
                loss = w * w
            w.assign(w - 0.25 * tape.gradient(loss, w))
    recording = rec.recording
    gradients = [call.gradients[0] for call in recording.gradients]
    assert [g.weight_norm for g in gradients] == [1.0, 0.5, 0.25, 0.125]
    reads = [tensor for g in gradients for tensor in g.source_tensors]
    assert len(reads) == len(set(reads)) and {recording.tensors[t].role for t in reads} == {"read"}
    for gradient, call in zip(gradients, recording.gradients, strict=True):
        target = recording.tensors[call.target_tensors[0]]
        assert set(recording.ops[target.op].inputs) & set(gradient.source_tensors)


def test_a_second_question_about_the_same_run_has_the_same_reads() -> None:
    w = tf.Variable(2.0)
    with tfmagic.record() as rec:
        with tf.GradientTape(persistent=True) as tape:
            loss = w * w
        tape.gradient(loss, w)
        tape.gradient(loss, [w])
    first, second = (call.gradients[0] for call in rec.recording.gradients)
    assert first.source_tensors == second.source_tensors != ()


def test_the_caller_is_not_kept_alive() -> None:
    def run() -> weakref.ref:
        with tfmagic.record() as rec:
            made = tf.ones((8, 8)) * 2.0
        assert rec.recording.find("made") is not None
        return weakref.ref(made)

    gc.disable()
    try:
        assert run()() is None
    finally:
        gc.enable()


def test_a_value_stays_what_it_was_when_a_variable_or_an_array_changes_later() -> None:
    variable, array = tf.Variable([1.0, 2.0]), np.array([3.0, 4.0], np.float32)
    with tfmagic.record() as rec:
        doubled = variable.read_value() * 2.0
        variable.assign_add([5.0, 5.0])
        shaped = tf.reshape(array, [1, 2])
    rec.release()
    variable.assign_add([1.0, 1.0])
    array[:] = 9.0
    del doubled, shaped
    before, after = (
        [rec.recording.tensors[key].value.data for key in op.outputs]
        for op in rec.recording.ops
        if op.type in ("ReadVariableOp", "Reshape")
    )
    assert before == [(1.0, 2.0)] and after == [((3.0, 4.0),)]


def test_what_was_told_of_a_run_stands_when_it_goes_on() -> None:
    w, names = tf.Variable(2.0), {}
    tape, told = tfmagic.Tape(lambda: names, everything=True), []
    for _ in range(4):
        tape.next_cell()
        tape.start()
        with tf.GradientTape() as own:
            y = w * w
        own.gradient(y, w)
        w.assign_sub(0.5)
        tape.stop()
        told.append(tape.recording)
    for before, after in itertools.pairwise(told):
        assert len(after.ops) > len(before.ops)
        for one, other in ((before.ops, after.ops), (before.gradients, after.gradients)):
            assert all(a is b for a, b in zip(one, other, strict=False))
    anew = IncrementalBuilder(str).recording(tape.log, seconds=0.0, failure=None, notes=())
    assert replace(told[-1], seconds=0.0) == anew
    assert tape.release().recording == told[-1]


def test_a_name_that_is_given_later_is_told_of_what_ran_before() -> None:
    names: dict[str, Any] = {}
    tape = tfmagic.Tape(lambda: names, everything=True)
    tape.start()
    made = [tf.sin(1.0), tf.Variable(2.0)]
    tf.identity(made[1] * made[0])
    tape.stop()
    assert tape.recording.find("x") is None
    names |= {"x": made[0], "w": made[1]}
    tape.next_cell()
    tape.start()
    tf.cos(made[0])
    tape.stop()
    found, (variable,) = tape.recording.find("x"), tape.recording.variables
    assert tape.recording.ops[found.op].type == "Sin"
    assert variable.name == "w" and tape.recording.tensors[variable.reads[0]].name == "w"


def test_what_no_gradient_can_be_asked_of_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "UNASKED", 10_000)
    x, w = tf.ones([100, 10]), tf.Variable(tf.ones([100, 10]))

    def live(*, keep: bool, first: Any = None) -> tuple[int, int]:
        tape = Tape(dict, everything=True, keep=keep)
        with tape:
            z = x if first is None else x * first
            for _ in range(20):
                z = z + 1.0
        return sum(1 for _ in tape.log.live()), tape.log.dropped

    assert live(keep=False)[0] < 10 and live(keep=False)[1] == 0
    assert live(keep=True)[0] == 20 and live(keep=False, first=w)[0] == 21
