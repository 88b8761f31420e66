"""The hand calculation: the lesson's numbers, the formulas' words, and finite differences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfmagic.analysis import formulas
from tfmagic.analysis.hand import by_hand, compare
from tfmagic.model.step import ACTIVATIONS, Network


def network(activation: tuple[str, str] = ("linear", "linear"), **changed: Any) -> Network:
    """The lesson's network, with some numbers changed."""
    numbers = {
        "X": [[2.0], [3.0]],
        "Y": [[1.0]],
        "W_1": [[0.11, 0.21], [0.12, 0.08]],
        "W_2": [[0.14, 0.15]],
    } | changed
    return Network(**{n: np.array(v) for n, v in numbers.items()}, activation=activation)


def test_the_lessons_numbers() -> None:
    hand = by_hand(network())
    assert hand.H_1.ravel() == pytest.approx([0.85, 0.48])
    assert hand.Y_hat.item() == pytest.approx(0.191)
    assert hand.loss == pytest.approx(0.3272405)
    assert hand.dW_2.ravel() == pytest.approx([-0.68765, -0.38832])
    assert hand.dW_1.ravel() == pytest.approx([-0.22652, -0.33978, -0.2427, -0.36405])


def test_a_gradient_is_spelled_out_factor_by_factor() -> None:
    formula = formulas.gradient(network(), "W_1", (0, 0))
    assert formula.text == (
        "∂Loss/∂W_1[0,0] = ∂Loss/∂Ŷ[0] · ∂Ŷ[0]/∂H_1[0] · ∂H_1[0]/∂W_1[0,0]"
        " = (Ŷ[0] − Y[0]) · W_2[0,0] · X[0] = (-0.809) · 0.14 · 2 = -0.22652"
    )
    assert r"\frac{\partial \mathrm{Loss}}{\partial W_1[0,0]}" in formula.latex
    assert [f.kind for f in formula.terms[0]] == ["error", "weight", "input"]


def test_the_way_forward_is_spelled_out() -> None:
    (line,) = formulas.forward(network(), "H_1", 0)
    assert line.text == "H_1[0] = W_1[0,0]·X[0] + W_1[0,1]·X[1] = 0.11·2 + 0.21·3 = 0.85"
    assert formulas.loss(network()).text == "Loss = ½(Ŷ[0] − Y[0])² = ½(0.191 − 1)² = 0.32724"
    changed = formulas.update("W_1", (0, 0), 0.11, 0.05, -0.22652)
    assert changed.text.endswith("= 0.11 − 0.05 · (-0.22652) = 0.12133")


def test_with_an_activation_its_slope_is_a_factor() -> None:
    curved = network(("sigmoid", "sigmoid"), b_1=[[0.35], [0.35]])
    raw, active = formulas.forward(curved, "H_1", 1)
    assert raw.name == "Z_1[1]" and "b_1[1]" in raw.text
    assert active.text.startswith("H_1[1] = σ(Z_1[1]) = σ(")
    formula = formulas.gradient(curved, "W_1", (1, 0))
    assert [f.kind for f in formula.terms[0]] == ["error", "slope", "weight", "slope", "input"]
    assert r"\sigma" in active.latex


def test_many_ways_are_counted_and_not_all_written() -> None:
    wide = network(X=np.ones((2, 9)), Y=np.zeros((1, 9)))
    formula = formulas.gradient(wide, "W_2", (0, 0))
    assert len(formula.terms) == formulas.MOST_TERMS and formula.more == 3
    assert formula.value == pytest.approx(by_hand(wide).dW_2[0, 0]) and "…" in formula.text


def test_a_wrong_number_is_found_and_named() -> None:
    right = by_hand(network())
    single = network()
    wrong = replace(right, dW_2=right.dW_2 * 1.001)
    assert compare(single, right).holds
    found = compare(single, wrong)
    assert not found.holds and found.where == "dW_2"
    broken = replace(right, loss=float("nan"))
    assert not compare(single, broken).finite


sizes = st.integers(1, 4)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(sizes, sizes, sizes, sizes),
    st.tuples(*[st.sampled_from(ACTIVATIONS)] * 2),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_every_formula_amounts_to_the_slope_of_the_loss(
    shape: tuple[int, int, int, int], activation: tuple[str, str], bias: bool, seed: int
) -> None:
    made = drawn(shape, activation, bias, seed)
    hand = by_hand(made)
    places = [(name, value) for name, value in made.parameters()]
    for name, value in [*places, ("X", made.X), ("Y", made.Y)]:
        for row, column in np.ndindex(value.shape):
            formula = formulas.gradient(made, name, (row, column))
            summed = sum(np.prod([f.value for f in way]) for way in formula.terms)
            if not formula.more:
                assert formula.value == pytest.approx(summed)
            if name in dict(places):
                assert formula.value == pytest.approx(getattr(hand, f"d{name}")[row, column])
    name, value = places[seed % len(places)]
    assert_is_the_slope(made, hand, name, value)


def assert_is_the_slope(made: Network, hand: Any, name: str, value: Any) -> None:
    """Central differences of the loss, away from relu's kinks."""
    kinks = [
        abs(z).min()
        for z, a in zip((hand.Z_1, hand.Z_2), made.activation, strict=True)
        if a == "relu"
    ]
    if min(kinks, default=1.0) < 1e-3:
        return
    step = 1e-5
    first = np.arange(value.size).reshape(value.shape) == 0
    up, down = (
        by_hand(replace(made, **{name: value + sign * step * first})).loss for sign in (1, -1)
    )
    found = getattr(hand, f"d{name}").flat[0]
    assert found == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-6)


def drawn(
    shape: tuple[int, int, int, int], activation: tuple[str, str], bias: bool, seed: int
) -> Network:
    """A random network of these sizes: inputs, hidden, outputs, samples."""
    inputs, hidden, outputs, samples = shape
    draw = np.random.default_rng(seed).normal
    return Network(
        X=draw(size=(inputs, samples)),
        Y=draw(size=(outputs, samples)),
        W_1=draw(size=(hidden, inputs)),
        W_2=draw(size=(outputs, hidden)),
        b_1=draw(size=(hidden, 1)) if bias else None,
        b_2=draw(size=(outputs, 1)) if bias else None,
        activation=activation,
    )
