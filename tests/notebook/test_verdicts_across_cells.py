"""Verdicts whose cause lies in another cell than the call of ``gradient``."""

from __future__ import annotations

from typing import Any

import pytest
from IPython.utils.capture import capture_output

import tfmagic
from tfmagic.model import Verdict


def verdicts(shell: Any, *cells: str) -> list[Verdict]:
    """What the last recording says, after these cells."""
    for cell in ("import tensorflow as tf", *cells):
        result = shell.run_cell(cell, store_history=True)
        assert result.error_in_exec is None and result.error_before_exec is None, cell
    return [verdict for verdict in tfmagic.last.verdicts if not verdict.fine]


UPDATE = (
    "%%tape -q\nwith tf.GradientTape() as tape:\n    Loss = tf.reduce_sum(W_1 * W_1)\n"
    "dLoss_dW_1 = tape.gradient(Loss, W_1)\nif dLoss_dW_1 is not None:\n"
    "    W_1 = W_1 - 0.05 * dLoss_dW_1"
)


def test_the_update_cell_run_twice(shell: Any) -> None:
    """The lesson's last cell: nothing but itself is recorded, and the Variable is older."""
    (verdict,) = verdicts(shell, "W_1 = tf.Variable([[0.11, 0.21]])", UPDATE, UPDATE)
    assert (verdict.code, verdict.line_number) == ("rebound", 5)
    assert "W_1.assign_sub(0.05 * dLoss_dW_1)" in verdict.repair
    mended = verdict.repaired(UPDATE.partition("\n")[2])
    for _ in range(2):
        assert not verdicts(shell, "%%tape -q\n" + mended)


@pytest.mark.parametrize(
    "made, changed, source, repair",
    [
        ("W = tf.Variable(2.0)", "W = W - 0.1", "W", "W.assign_sub(0.1)"),
        (
            "P = [tf.Variable(2.0), tf.Variable(1.0)]",
            "P = [p - 0.1 for p in P]",
            "P[0]",
            "for p in P:\n    p.assign_sub(0.1)",
        ),
        (
            "P = {'w': tf.Variable(2.0)}",
            "P['w'] = P['w'] + 0.1",
            "P['w']",
            "P['w'].assign_add(0.1)",
        ),
        (
            "class Model:\n    pass\nm = Model()\nm.w = tf.Variable(2.0)",
            "m.w = m.w - 0.1",
            "m.w",
            "m.w.assign_sub(0.1)",
        ),
    ],
)
def test_a_variable_lost_in_a_cell_that_nobody_recorded(
    shell: Any, made: str, changed: str, source: str, repair: str
) -> None:
    ask = f"%%tape -q\nwith tf.GradientTape() as t:\n    y = {source} ** 2\ng = t.gradient(y, {source})"
    (verdict,) = verdicts(shell, made, "n = 1", changed, "n = 2", ask)
    assert (verdict.code, verdict.line) == ("rebound", changed)
    # what the name held before that cell is not known: there is nothing to try it on
    assert verdict.repair == f"# not tried here:\n{repair}" and verdict.tried is None
    assert verdict.replaces == (0, 0)


def test_a_story_of_cells(shell: Any) -> None:
    told = verdicts(
        shell,
        "%tape on",
        "w = tf.Variable(2.0)",
        "with tf.GradientTape() as t:\n    y = w * w",
        "g = t.gradient(y, w)",
        "w = w - 0.1 * g",
        "with tf.GradientTape() as t:\n    y = w * w",
        "g = t.gradient(y, w)",
        "%tape off",
    )
    (verdict,) = told
    assert (verdict.code, verdict.repair) == ("rebound", "w.assign_sub(0.1 * g)")


def test_the_forward_pass_in_an_earlier_cell(shell: Any) -> None:
    told = verdicts(
        shell,
        "%tape on",
        "k = tf.Variable(2.0)\nh = k * 3.0",
        "with tf.GradientTape() as t:\n    out = h ** 2",
        "t.gradient(out, k)",
        "%tape off",
    )
    (verdict,) = told
    assert (verdict.code, verdict.line) == ("outside_tape", "h = k * 3.0")
    assert verdict.repair == "with tf.GradientTape() as t:\n    h = k * 3.0"


def test_a_named_tape_explains_in_a_later_cell(shell: Any) -> None:
    verdicts(
        shell,
        "%%tape T -q\nv = tf.Variable(1.7)\nspare = tf.Variable(1.0)\nu = tf.round(v) * 2.0",
        "none = T.gradient(u, v)",
    )
    tape, names = shell.user_ns["T"], shell.user_ns
    assert names["none"] is None
    verdict = tape.recording.verdicts[-1]
    assert (verdict.code, verdict.line_number) == ("no_gradient_op", 3)
    assert tfmagic.explain(tape, names["u"], names["v"]) == verdict
    assert tfmagic.explain(tape, names["u"], names["spare"]).code == "unused"


def test_a_variable_that_was_only_made_is_not_asked_for(shell: Any) -> None:
    cell = "%%tape -q\na, spare = tf.Variable(2.0), tf.Variable(1.0)\ny = a ** 2"
    assert not verdicts(shell, cell)
    (call,) = tfmagic.last.gradients
    assert [gradient.source for gradient in call.gradients] == ["a"]


def test_a_function_of_an_earlier_cell(shell: Any) -> None:
    (verdict,) = verdicts(
        shell,
        "def act(t):\n    s = t * 2.0\n    return tf.sign(s)",
        "%%tape -q\np = tf.Variable(0.4)\nwith tf.GradientTape() as t:\n    r = act(p)\n_ = t.gradient(r, p)",
    )
    assert (verdict.code, verdict.line_number, verdict.repair) == (
        "flat_op",
        3,
        "return tf.tanh(s)",
    )


FORWARD = (
    "a, b = tf.Variable(2.0), tf.Variable(1.0)\nc = tf.Variable(1.0, trainable=False)\n"
    "k = tf.constant(1.0)\nwith tf.GradientTape(persistent=True) as t:\n    y = a\n"
    "with tf.GradientTape(watch_accessed_variables=False) as shy:\n    z = a * b"
)


@pytest.mark.parametrize(
    "ask, code",
    [
        ("t.gradient(y, b)", "unused"),
        ("t.gradient(y, c)", "unused"),
        ("_ = c + 1.0\nt.gradient(y, c)", "not_trainable"),
        ("t.gradient(y, k)", "not_watched"),
        ("shy.gradient(z, a)", "not_watched"),
    ],
)
def test_a_gradient_whose_target_is_older_than_the_recording(
    shell: Any, ask: str, code: str
) -> None:
    with capture_output() as captured:
        (verdict,) = verdicts(shell, FORWARD, "%%tape\n" + ask)
    assert verdict.code == code
    (report,) = captured.outputs
    assert code in report.data["text/plain"]
    known = "before this recording began" in verdict.message
    assert known == (code != "not_trainable")


def test_a_story_shows_no_cell_that_asked_for_nothing(shell: Any) -> None:
    cells = ("%tape on", FORWARD, "t.gradient(y, b)", "n = 7")
    with capture_output() as captured:
        verdicts(shell, *cells)
    reports = [out for out in captured.outputs if "Gradients" in out.data["text/plain"]]
    assert len(reports) == 2
