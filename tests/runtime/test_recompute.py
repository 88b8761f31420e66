"""A gradient that nobody asked for runs nothing that the user would feel."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

import tfmagic
from tfmagic.errors import NotRepeatable


@tf.function
def drawing(x: Any) -> Any:
    return x * tf.random.normal([])


@tf.function
def printing(x: Any) -> Any:
    tf.print("printed")
    return x * 2.0


@tf.function
def outside(x: Any) -> Any:
    return tf.py_function(lambda t: t * 2.0, [x], tf.float32)


@tf.custom_gradient
def own(x: Any) -> Any:
    def grad(up: Any) -> Any:
        called.append(1)
        return up * 3.0

    return x * 1.0, grad


@tf.function
def around_own(x: Any) -> Any:
    return own(x) * 2.0


called: list[int] = []


@pytest.mark.parametrize(
    ("function", "word"), [(drawing, "random"), (printing, "state"), (outside, "py_function")]
)
def test_a_function_that_does_more_than_compute_is_not_run_again(
    function: Any, word: str, capfd: Any
) -> None:
    v = tf.Variable(2.0)
    with tfmagic.record() as rec:
        y = function(v)
    capfd.readouterr()
    for ask in (rec.infer, lambda: rec.gradient(y, v), lambda: rec.jacobian(y, v)):
        with pytest.raises(NotRepeatable, match=word) as refused:
            ask()
        assert "\n" not in str(refused.value) and "tf.GradientTape" in str(refused.value)
    assert not capfd.readouterr().err


def test_a_function_changes_its_variable_once() -> None:
    count, v = tf.Variable(0.0, trainable=False), tf.Variable(2.0)

    @tf.function
    def counting(x: Any) -> Any:
        count.assign_add(1.0)
        return x * count

    with tfmagic.record() as rec:
        y = counting(v)
    with pytest.raises(NotRepeatable):
        rec.gradient(y, v)
    assert count.numpy() == 1.0


def test_under_a_tape_of_the_users_the_same_functions_have_their_gradient() -> None:
    v = tf.Variable(2.0)
    with tfmagic.record() as rec, tf.GradientTape():
        y = drawing(v)
    assert rec.gradient(y, v).numpy() == pytest.approx(y.numpy() / 2.0)


def test_a_function_whose_variable_has_changed_since_is_not_believed() -> None:
    v = tf.Variable(2.0)

    @tf.function
    def square(x: Any) -> Any:
        return x * v * v

    with tfmagic.record() as rec:
        y = square(tf.constant(3.0))
        v.assign(5.0)
    with pytest.raises(NotRepeatable, match="changed"):
        rec.gradient(y, v)


def test_a_pure_function_is_differentiated_as_before() -> None:
    v = tf.Variable(2.0)
    with tfmagic.record() as rec:
        y = tf.function(lambda x: x * x * v)(v)
    assert rec.gradient(y, v).numpy() == 12.0


@pytest.mark.parametrize("function", [own, around_own])
def test_a_gradient_that_the_user_wrote_runs_where_it_is_asked_for(function: Any) -> None:
    v = tf.Variable(2.0)
    called.clear()
    with tfmagic.record() as rec:
        y = function(v)
    with pytest.raises(NotRepeatable, match="--target"):
        rec.infer()
    assert not called
    assert rec.gradient(y, v).numpy() in (3.0, 6.0)
    assert called


def test_a_gradient_that_a_library_wrote_is_followed() -> None:
    v = tf.Variable(0.0)
    with tfmagic.record() as rec:
        y = tf.nn.silu(v) + 0.0  # noqa: F841 - its name makes it the target
    rec.infer()
    assert rec.recording.gradients[0].gradients[0].value.data == 0.5
