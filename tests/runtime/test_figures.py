"""Figures are worked out without a word to the user, and leave numpy's settings alone."""

from __future__ import annotations

import warnings
from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfmagic.runtime.capture.snapshot import Snapshot, describe_together, take
from tfmagic.runtime.values.figures import figures


def test_what_overflows_is_not_told_and_what_the_user_set_stays() -> None:
    before = np.seterr(over="raise", invalid="raise")
    try:
        mine = np.geterr()
        with warnings.catch_warnings(action="error"):
            found = figures(np.full(30, 1e300), 30)
        assert np.geterr() == mine
    finally:
        np.seterr(**before)
    assert found.max == 1e300 and found.inf == 0


def test_what_is_kept_of_any_size_of_tensor_says_nothing_either() -> None:
    before = np.seterr(all="raise")
    try:
        with warnings.catch_warnings(action="error"):
            for size in (3, 900, 5_000, 20_000):
                for dtype in (tf.float32, tf.float16, tf.bfloat16, tf.complex64, tf.int32):
                    huge = tf.cast(tf.fill([size], 3e38 if dtype == tf.float32 else 6e4), dtype)
                    found = Snapshot(*take(huge, 64)).value().stats
                    assert found is not None and found.count == size
    finally:
        np.seterr(**before)


def test_strings_and_handles_are_kept_as_what_they_are() -> None:
    texts = tf.constant(["가", "b"])
    assert Snapshot(*take(texts, 64)).value().data == ("가", "b")
    assert Snapshot(*take(tf.fill([70_000], "x"), 64)).value().absent == "string"
    assert Snapshot(*take(tf.constant("one"), 64)).value().data == "one"
    assert Snapshot(*take(tf.Variable(1.0).handle, 64)).value().absent == "resource"


def test_many_tensors_alike_are_described_as_each_alone() -> None:
    random = np.random.default_rng(0)
    given = [
        *(tf.constant(random.normal(size=(2, 3)), tf.float32) for _ in range(3)),
        *(tf.constant(random.normal(size=400), tf.float32) for _ in range(3)),
        *(tf.constant(n, tf.int32) for n in range(3)),
        *(tf.constant([1.0, bad]) for bad in (2.0, np.nan, np.inf)),
        *(tf.zeros([0, 2]) for _ in range(2)),
        tf.constant(["a", "b"]),
        tf.cast([1.5, 2.5], tf.bfloat16),
    ]
    together = [Snapshot(*take(tensor, 64)) for tensor in given]
    describe_together(together)
    for tensor, snapshot in zip(given, together, strict=True):
        alone, found = Snapshot(*take(tensor, 64)).value(), snapshot.value()
        assert repr(found.data) == repr(alone.data)
        for one, other in zip(_numbers(found), _numbers(alone), strict=True):
            assert one == (other if other is None else pytest.approx(other, rel=1e-12))


def _numbers(value: Any) -> tuple[Any, ...]:
    return astuple(value.stats) if value.stats else ()
