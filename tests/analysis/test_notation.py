"""Figures as a student reads them: few digits, no needless powers of ten."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfmagic.analysis.notation import (
    cells,
    compact,
    device,
    duration,
    named,
    number,
    percent,
    rows,
    shape,
    shorten,
    value_lines,
)
from tfmagic.model import Value


@pytest.mark.parametrize(
    "value, text",
    [
        (0.8500000238418579, "0.85"),
        (-0.22652000188827515, "-0.22652"),
        (12345.6, "12346"),
        (123456.7, "123457"),
        (2.0, "2"),
        (0.0, "0"),
        (-0.0, "0"),
        (0.00012345, "0.00012345"),
        (1.2e-7, "1.2e-7"),
        (3.4e20, "3.4e20"),
        (math.nan, "NaN"),
        (-math.inf, "-inf"),
        (None, "—"),
        (True, "True"),
        (123456789, "123456789"),
        (1 - 2j, "1-2j"),
        ("a\nb", "'a b'"),
    ],
)
def test_number(value: Any, text: str) -> None:
    assert number(value) == text


@given(st.floats(-1e300, 1e300))
def test_a_number_is_read_back_to_four_digits(value: float) -> None:
    assert float(number(value)) == pytest.approx(value, rel=1e-3, abs=1e-320)
    assert len(number(value)) <= 12


@pytest.mark.parametrize(
    "part, whole, text",
    [(0, 8, "0 %"), (8, 8, "100 %"), (1, 1000, "<1 %"), (999, 1000, ">99 %"), (2, 8, "25 %")],
)
def test_percent_never_rounds_to_all_or_none(part: int, whole: int, text: str) -> None:
    assert percent(part, whole) == text


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "0 s"),
        (2.5, "2.5 s"),
        (0.0008, "800 µs"),
        (0.026, "26 ms"),
        (1.2e-5, "12 µs"),
        (3e-9, "3 ns"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_shape_is_tensorflows() -> None:
    assert [shape(s) for s in ((2, 1), (None, 3), (), (4,), None)] == [
        "(2, 1)",
        "(None, 3)",
        "()",
        "(4,)",
        "—",
    ]


def test_device_is_short_and_a_remote_one_is_named() -> None:
    assert device("/job:localhost/replica:0/task:0/device:CPU:0") == "CPU:0"
    assert device("/job:worker/replica:0/task:0/device:GPU:1") == "worker:0/GPU:1"
    assert device("") == ""


def test_a_matrix_stands_in_columns() -> None:
    assert rows(((1.0, -20.5), (300.0, 4.0))) == ("[[  1, -20.5],", " [300,     4]]")


def test_what_is_not_small_has_no_lines() -> None:
    assert value_lines(Value(data=tuple(float(i) for i in range(13)))) == ()
    assert value_lines(Value(absent="budget")) == ()
    assert value_lines(Value(data=((1.0,), (2.0,)))) == ("[[1],", " [2]]")
    assert value_lines(Value(data=())) == ("[]",)


def test_later_lines_stand_under_the_first() -> None:
    assert named("H", ("[[1],", " [2]]")) == ("H = [[1],", "     [2]]")
    assert named("손실", ("[[1],", " [2]]")) == ("손실 = [[1],", "        [2]]")
    assert named("", ("1",)) == ("1",)


def test_hangul_takes_two_cells() -> None:
    assert cells("가중치_1") == 8


@given(st.text(), st.integers(2, 50))
def test_shortened_text_is_one_short_line(text: str, most: int) -> None:
    short = shorten(text, most)
    assert len(short) <= most and "\n" not in short


def test_compact_nests() -> None:
    assert compact(((0.5, 1.0), (2.0, 3.0))) == "[[0.5, 1], [2, 3]]"
