"""A guess is told apart: right, or wrong in one of the ways that students are wrong."""

from __future__ import annotations

import numpy as np
import pytest

from tfmagic.analysis.hand import by_hand
from tfmagic.analysis.predict import feedback
from tfmagic.language import LANGUAGES, catalogue
from tfmagic.model.step import Network

LESSON = Network(
    X=np.array([[2.0], [3.0]]),
    Y=np.array([[1.0]]),
    W_1=np.array([[0.11, 0.21], [0.12, 0.08]]),
    W_2=np.array([[0.14, 0.15]]),
)


@pytest.mark.parametrize(
    "guess, digits, code",
    [
        (-0.22652, 5, "right"),
        (-0.227, 3, "right"),
        (-0.23, 2, "right"),
        (-0.2, 1, "far"),  # one digit is no answer
        (0.22652, 5, "sign"),
        (-0.011326, 6, "rate"),
        (0.011326, 6, "rate"),
        (-0.11326, 5, "without_input"),
        (-1.618, 3, "without_weight"),
        (0.28, 2, "without_error"),
        (1.618, 3, "without_weight_sign"),
        (-0.45304, 5, "double"),
        (-0.33978, 5, "other"),
        (-2.2652, 4, "power"),
        (0.0, 1, "zero"),
        (17.0, 1, "far"),
    ],
)
def test_the_lessons_first_weight(guess: float, digits: int, code: str) -> None:
    found = feedback(LESSON, "W_1", (0, 0), guess, lr=0.05, digits=digits)
    assert found.code == code and found.right == (code == "right")
    assert found.value == pytest.approx(-0.22652)


def test_what_is_left_out_is_named() -> None:
    assert feedback(LESSON, "W_1", (0, 1), -0.11326, lr=0.05).what == "X[1]"
    assert feedback(LESSON, "W_1", (0, 0), -0.33978, lr=0.05).what == "W_1[0,1]"


def test_a_forgotten_slope_and_a_single_way() -> None:
    curved = Network(
        X=LESSON.X, Y=np.array([[1.0], [0.0]]), W_1=LESSON.W_1,
        W_2=np.array([[0.4, 0.45], [0.5, 0.55]]), activation=("sigmoid", "linear"),
    )  # fmt: skip
    hand = by_hand(curved)
    slope = hand.H_1[0, 0] * (1 - hand.H_1[0, 0])
    assert feedback(curved, "W_1", (0, 0), hand.dW_1[0, 0] / slope, 0.05).code == "without_slope"
    one = hand.dY_hat[1, 0] * 0.5 * slope * 2.0
    assert feedback(curved, "W_1", (0, 0), one, 0.05).code == "one_way"


def test_a_gradient_of_zero_is_a_right_answer() -> None:
    done = Network(X=LESSON.X, Y=np.array([[0.191]]), W_1=LESSON.W_1, W_2=LESSON.W_2)
    assert feedback(done, "W_1", (0, 0), 0.0, 0.05).right
    assert not feedback(done, "W_1", (0, 0), 0.3, 0.05).right


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_answer_has_its_sentence(language: str) -> None:
    codes = ["right", "sign", "rate", "one_way", "double", "half", "other", "power", "zero", "far"]
    codes += [
        f"without_{kind}{end}"
        for kind in ("error", "slope", "weight", "input")
        for end in ("", "_sign")
    ]
    assert {f"predict.{code}" for code in codes} <= catalogue(language).keys()
