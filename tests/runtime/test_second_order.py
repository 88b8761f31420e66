"""Jacobians and Hessians from the recording are those that TensorFlow's own tapes give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfmagic
from tfmagic.errors import OptionError, ReleasedError
from tfmagic.model import to_json
from tfmagic.runtime.tape.derivatives import Depth

A, B = [[0.5, -1.0], [0.3, 0.8]], [[1.0], [2.0]]


def network(a: Any, b: Any) -> tuple[Any, Any]:
    h = tf.tanh(a @ b)
    return h, tf.reduce_sum(h * h * b)


def hessian(a: tf.Variable, b: tf.Variable) -> np.ndarray[Any, Any]:
    with tf.GradientTape(persistent=True) as outer:
        with tf.GradientTape() as inner:
            _, y = network(a, b)
        flat = tf.concat([tf.reshape(g, [-1]) for g in inner.gradient(y, [a, b])], 0)
    parts = outer.jacobian(flat, [a, b], experimental_use_pfor=False)
    return np.concatenate([p.numpy().reshape(6, -1) for p in parts], 1)


def recorded(**wanted: Any) -> Any:
    a, b = tf.Variable(A), tf.Variable(B)
    with tfmagic.record() as rec:
        h, y = network(a, b)
    rec.gradient(h if wanted.get("jacobian") else y, [a, b])
    rec.deepen(Depth(**wanted))
    assert tfmagic.load(to_json(rec.recording)).hessians == rec.recording.hessians
    assert tfmagic.load(to_json(rec.recording)).jacobians == rec.recording.jacobians
    return rec.recording, a, b


def test_the_jacobian() -> None:
    recording, a, b = recorded(jacobian=True)
    with tf.GradientTape(persistent=True) as tape:
        h, _ = network(a, b)
    expected = tape.jacobian(h, [a, b], experimental_use_pfor=False)
    assert [(j.target, j.source) for j in recording.jacobians] == [("h", "a"), ("h", "b")]
    for found, right in zip(recording.jacobians, expected, strict=True):
        assert found.target_shape + found.source_shape == tuple(right.shape)
        np.testing.assert_allclose(np.array(found.value.data), right, rtol=1e-6)
        matrix = right.numpy().reshape(2, -1)
        np.testing.assert_allclose(
            found.singular, np.linalg.svd(matrix, compute_uv=False), rtol=1e-5
        )


def test_the_hessian_and_what_it_says_of_the_curvature() -> None:
    recording, a, b = recorded(order=2)
    (found,) = recording.hessians
    right = hessian(a, b)
    assert (found.target, found.sources, found.size) == ("y", ("a", "b"), 6)
    assert found.shapes == (tuple(a.shape), tuple(b.shape))
    np.testing.assert_allclose(np.array(found.value.data), right, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.eigenvalues, np.linalg.eigvalsh(right), rtol=1e-3, atol=1e-5)
    with tf.GradientTape() as tape:
        _, y = network(a, b)
    g = np.concatenate([p.numpy().reshape(-1) for p in tape.gradient(y, [a, b])])
    assert found.along == pytest.approx(g @ right @ g / (g @ g), rel=1e-4)


def test_a_large_hessian_is_known_by_products() -> None:
    v = tf.Variable(np.linspace(-1, 1, 400, dtype="float32"))
    scale = tf.constant(np.linspace(0.1, 1.0, 400, dtype="float32") ** 4)
    with tfmagic.record() as rec:
        y = tf.reduce_sum(scale * v * v) + 20.0 * v[0] * v[0]
    rec.gradient(y, v)
    rec.deepen(Depth(order=2))
    (found,) = rec.recording.hessians
    assert not found.whole
    assert found.eigenvalues == ()
    assert found.size == 400
    assert found.greatest == pytest.approx(40.0, rel=0.05)


def test_hessian_vector_products_in_the_sources_structure() -> None:
    a, b = tf.Variable(A), tf.Variable(B)
    with tfmagic.record() as rec:
        _, y = network(a, b)
    vector = {"a": np.ones((2, 2), "float32"), "b": tf.constant([[0.0], [1.0]])}
    found = rec.hvp(y, {"a": a, "b": b}, vector)
    right = hessian(a, b) @ np.array([1, 1, 1, 1, 0, 1.0])
    flat = np.concatenate([found["a"].numpy().reshape(-1), found["b"].numpy().reshape(-1)])
    np.testing.assert_allclose(flat, right, rtol=1e-4, atol=1e-6)
    with pytest.raises(OptionError, match="shapes of the sources"):
        rec.hvp(y, [a], [np.ones(3)])
    rec.release()
    with pytest.raises(ReleasedError):
        rec.hvp(y, [a], [a])


def test_what_has_none() -> None:
    v, other = tf.Variable([1.0, 2.0]), tf.Variable(1.0)
    wide = tf.Variable(tf.ones(2000))
    with tfmagic.record() as rec:
        y = v * v
        z = wide * 2.0
        other * 1.0
    rec.gradient(y, [v, other])
    rec.gradient(z, wide)
    rec.deepen(Depth(order=2, jacobian=True))
    recording = rec.recording
    assert [bool(j.error) for j in recording.jacobians] == [False, True, True]
    assert "does not depend" in recording.jacobians[1].error
    assert "2,000 backward passes" in recording.jacobians[2].error
    assert "size 1" in recording.hessians[0].error


def test_second_order_through_a_function_and_a_custom_gradient() -> None:
    @tf.custom_gradient
    def cube(x: Any) -> Any:
        return x**3, lambda up: up * 3 * x**2

    v = tf.Variable(2.0)
    with tfmagic.record() as rec:
        y = tf.function(lambda x: x * x)(cube(v))
    rec.gradient(y, v)
    rec.deepen(Depth(order=2))
    assert rec.recording.hessians[0].greatest == pytest.approx(30 * 2.0**4)


def test_histograms_count_every_element() -> None:
    v, table = tf.Variable([1.0, -2.0, 0.0, 3.0]), tf.Variable(tf.ones((5, 2)))
    with tfmagic.record() as rec:
        y = tf.reduce_sum(v**3) + tf.reduce_sum(tf.gather(table, [0, 3]) ** 2)
        broken = tf.reduce_sum(tf.sqrt(v * 0.0))
    rec.gradient(y, [v, table])
    rec.gradient(broken, v)
    rec.deepen(Depth(hist=True))
    dense, rows, nan = (g.histogram for c in rec.recording.gradients for g in c.gradients)
    assert (sum(dense.counts), dense.zeros, dense.edges[0], dense.edges[-1]) == (4, 1, 0.0, 27.0)
    assert sum(rows.counts) == 4
    assert nan.lost == 4
