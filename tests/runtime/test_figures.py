"""Figures are worked out without a word to the user, and leave numpy's settings alone."""

from __future__ import annotations

import warnings

import numpy as np

from tfmagic.runtime.figures import figures


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
