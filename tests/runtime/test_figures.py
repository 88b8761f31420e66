"""Figures are worked out without a word to the user, and leave numpy's settings alone."""

from __future__ import annotations

import warnings

import numpy as np
import tensorflow as tf

from tfmagic.runtime.capture.snapshot import Snapshot, take
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
