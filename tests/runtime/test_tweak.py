"""A recorded run on other values: what the same code would have given, or why it cannot say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfmagic
from tfmagic.errors import OptionError, ReleasedError


def lesson() -> tuple[Any, dict[str, Any]]:
    """The lesson's network, recorded with its own gradients, and the names of its tensors."""
    X, Y = tf.constant([[2.0], [3.0]]), tf.constant([1.0])
    W_1 = tf.Variable([[0.11, 0.21], [0.12, 0.08]])
    W_2 = tf.Variable([[0.14, 0.15]])
    with tfmagic.record() as rec:
        with tf.GradientTape() as tape:
            H_1 = tf.matmul(W_1, X)
            Y_hat = tf.matmul(W_2, H_1)
            Loss = tf.square(Y_hat - Y) / 2
        dW_1, _dW_2 = tape.gradient(Loss, [W_1, W_2])
    return rec, {"X": X, "W_1": W_1, "W_2": W_2, "Loss": Loss, "dW_1": dW_1, "H_1": H_1}


def test_values_and_gradients_are_those_of_a_fresh_run() -> None:
    rec, names = lesson()
    tweak = tfmagic.tweak(rec)
    assert list(tweak.values) == ["W_1", "W_2"]
    new = [[1.0, -0.5], [0.3, 0.08]]
    tweak.set(W_1=new)
    W_1 = tf.Variable(new)
    with tf.GradientTape() as tape:
        H_1 = W_1 @ names["X"]
        loss = (names["W_2"] @ H_1 - 1.0) ** 2 / 2
    expected = tape.gradient(loss, [W_1, names["W_2"]])
    assert tweak.value(names["Loss"]) == pytest.approx(loss.numpy())
    assert tweak.value(names["H_1"]) == pytest.approx(H_1.numpy())
    for found, wanted in zip(tweak.gradients.values(), expected, strict=True):
        assert found == pytest.approx(wanted.numpy())
    assert tweak.notes == ()
    assert names["W_1"].numpy()[0, 0] == np.float32(0.11)  # the variable itself is left alone


def test_the_recording_of_the_moved_run_is_whole() -> None:
    rec, names = lesson()
    tweak = tfmagic.tweak(rec).set(W_1=[[1.0, 0.21], [0.12, 0.08]])
    before, after = rec.recording, tweak.recording
    assert [op.type for op in after.ops] == [op.type for op in before.ops]
    values = {info.name: info.value.data for info in after.tensors if info.name}
    assert np.array(values["H_1"]) == pytest.approx(np.array([[2.63], [0.48]]))
    (variable,) = (v for v in after.variables if v.name == "W_1")
    assert variable.value.data[0][0] == 1.0
    gradient = after.gradients[0].gradients[0]
    assert np.array(gradient.value.data) == pytest.approx(tweak.gradients["W_1"])
    assert tweak.reset().value(names["Loss"]) == pytest.approx(0.3272405)
    assert tfmagic.load(after.to_json()) == after


def test_a_glimpse_works_out_the_target_alone_and_the_rest_when_asked() -> None:
    rec, names = lesson()
    tweak, whole = tfmagic.tweak(rec), tfmagic.tweak(rec)
    new = [[1.0, 0.21], [0.12, 0.08]]
    whole.set(W_1=new)
    assert tweak.glimpse({"W_1": new}) == {"Loss": pytest.approx(whole.value(names["Loss"]).item())}
    assert len(tweak._to_targets.steps) < tweak.count
    assert tweak.value(names["dW_1"]) == pytest.approx(whole.gradients["W_1"])
    assert tweak.recording.gradients == whole.recording.gradients
    tweak.glimpse({"W_1": new}), tweak.glimpse({"W_1": names["W_1"].numpy()})
    assert tweak.gradients["W_1"] == pytest.approx(names["dW_1"].numpy())


def test_any_tensor_of_the_run_and_its_recording_may_be_given() -> None:
    rec, names = lesson()
    tweak = tfmagic.tweak(rec.recording, names["X"]).set({"X": [[1.0], [1.0]]})
    assert tweak.value(names["H_1"]).ravel() == pytest.approx([0.32, 0.2])


def test_without_a_gradient_call_one_is_worked_out() -> None:
    w = tf.Variable(3.0)
    with tfmagic.record() as rec:
        y = w**2  # noqa: F841 - the name is what is looked for
    assert tfmagic.tweak(rec).set(w=5.0).gradients == {"w": 10.0}


def test_a_verdict_follows_the_values() -> None:
    x = tf.Variable([1.0, 2.0])
    with tfmagic.record() as rec:
        with tf.GradientTape() as tape:
            y = tf.reduce_sum(tf.nn.relu(x))
        tape.gradient(y, x)
    codes = [
        tfmagic.tweak(rec).set(x=v).recording.verdicts[0].code for v in ([1.0, 2.0], [-1.0, -2.0])
    ]
    assert codes == ["ok", "dead_relu"]


# --- what cannot be replayed is said ------------------------------------------------------------


def test_random_ops_keep_their_draw_and_are_named() -> None:
    w = tf.Variable(2.0)
    with tfmagic.record() as rec:
        mask = tf.random.uniform([3]) + 0 * w
        noise = tf.random.normal([3], stddev=w)
        y = tf.reduce_sum(mask * w + noise)
    tweak = tfmagic.tweak(rec, w).set(w=4.0)
    assert np.isfinite(tweak.value(y))
    assert tweak.value(mask) == pytest.approx(mask.numpy())


def test_python_inside_is_kept_and_named() -> None:
    w = tf.Variable(2.0)
    with tfmagic.record() as rec:
        doubled = tf.py_function(lambda v: v * 2, [w], tf.float32)
        y = doubled + w
    tweak = tfmagic.tweak(rec, w).set(w=5.0)
    assert tweak.value(doubled) == 4.0 and tweak.value(y) == 9.0
    assert any("EagerPyFunc" in note and "Python of your own" in note for note in tweak.notes)


def test_a_branch_that_would_have_gone_the_other_way_is_said() -> None:
    w = tf.Variable(2.0)
    with tfmagic.record() as rec:
        if w > 1.0:  # noqa: SIM108 - as a student writes it
            y = w * 10.0
        else:
            y = w
    tweak = tfmagic.tweak(rec, w)
    assert tweak.set(w=1.5).notes == () and tweak.value(y) == 15.0
    (note,) = tweak.set(w=0.5).notes
    assert "if w > 1.0:" in note and "decided otherwise" in note
    assert tweak.value(y) == 5.0  # the recorded way


def test_a_branch_of_tensorflows_own_is_said_too() -> None:
    w = tf.Variable(2.0)
    with tfmagic.record() as rec:
        y = tf.cond(w > 1.0, lambda: w * 10.0, lambda: w * 1.0)
    tweak = tfmagic.tweak(rec, w)
    assert tweak.set(w=3.0).notes == () and tweak.value(y) == 30.0
    assert "decided otherwise" in tweak.set(w=0.5).notes[0]


def test_a_loop_that_would_have_run_longer_is_said() -> None:
    w = tf.Variable(2.0)
    with tfmagic.record() as rec:
        y = w * 1.0
        for _ in range(int(y)):
            y = y * w
    tweak = tfmagic.tweak(rec, w)
    assert tweak.set(w=2.5).notes == ()
    assert "counted differently" in tweak.set(w=4.0).notes[0]


def test_a_number_that_python_took_away_is_said() -> None:
    w = tf.Variable(2.0)
    with tfmagic.record() as rec:
        factor = float(w)
        y = w * factor
    tweak = tfmagic.tweak(rec, w).set(w=3.0)
    assert "out of TensorFlow" in tweak.notes[0] and tweak.value(y) == 6.0


def test_control_flow_of_a_traced_function_is_followed() -> None:
    @tf.function
    def steps(v: Any) -> Any:
        while v < 10.0:
            v = v * 2.0
        return v

    w = tf.Variable(2.0)
    with tfmagic.record() as rec:
        y = steps(w * 1.0)
    tweak = tfmagic.tweak(rec, w).set(w=9.0)
    assert tweak.value(y) == 18.0 and tweak.notes == ()


# --- what is given ---------------------------------------------------------------------------------


def test_what_cannot_be_moved_is_refused_in_one_line() -> None:
    rec, _names = lesson()
    other = tf.Variable(1.0)
    n = tf.Variable(3)
    with tfmagic.record() as counting:
        _ = n + 1
    tweak = tfmagic.tweak(rec)
    for act, said in (
        (lambda: tfmagic.tweak(rec, other), "not met in this run"),
        (lambda: tfmagic.tweak(rec, "W_1"), "str"),
        (lambda: tfmagic.tweak(counting, n), "only float values"),
        (lambda: tweak.set(W_9=1.0), "There are: W_1, W_2"),
        (lambda: tweak.set(W_1=[1.0]), r"not \(1,\)"),
        (lambda: tweak.set(W_1="x"), "not made of numbers"),
    ):
        with pytest.raises(OptionError, match=said) as caught:
            act()
        assert "\n" not in str(caught.value)


def test_tensors_that_were_let_go_cannot_be_moved() -> None:
    rec, _names = lesson()
    recording = rec.recording
    rec.release()
    for record in (rec, recording, tfmagic.load(recording.to_json())):
        with pytest.raises(ReleasedError, match="let go"):
            tfmagic.tweak(record)
