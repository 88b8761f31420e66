"""What a guessed gradient tells of the way it was come by: a sign, a factor left out, …"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isclose, log10, prod

import numpy as np

from tfmagic.analysis import formulas
from tfmagic.analysis.hand import by_hand
from tfmagic.model.step import Factor, Network

__all__ = ["Feedback", "feedback"]

CLOSE = 0.005  # of the value: what rounding to two or three digits may cost


@dataclass(frozen=True, slots=True)
class Feedback:
    """``code`` names what happened, ``what`` the factor or weight that it is about."""

    code: str
    value: float
    what: str = ""

    @property
    def right(self) -> bool:
        """Whether the guess is the gradient."""
        return self.code == "right"


def feedback(
    network: Network, name: str, index: tuple[int, int], guess: float, lr: float, digits: int = 6
) -> Feedback:
    """How ``guess`` compares with the gradient by one number.

    ``digits`` are those behind the decimal point that were typed: a guess is right where it
    is the gradient rounded to them, if two digits of it are left.
    """
    formula = formulas.gradient(network, name, index)
    value = formula.value
    room = max(CLOSE * abs(value), min(0.5 * 10.0**-digits, 0.05 * abs(value)), 1e-9)
    if abs(guess - value) <= room:
        return Feedback("right", value)
    for code, other, what in _slips(network, name, index, lr):
        if other and isclose(guess, other, rel_tol=2 * CLOSE):
            return Feedback(code, value, what)
    if guess == 0:
        return Feedback("zero", value)
    power = abs(guess / value) if value else 0.0
    if power and abs(log10(power) - round(log10(power))) < 0.004:
        return Feedback("power", value)
    return Feedback("far", value, formula.terms[0][0].symbol)


def _slips(
    network: Network, name: str, index: tuple[int, int], lr: float
) -> Iterator[tuple[str, float, str]]:
    """What comes out when something particular goes wrong, the likeliest first."""
    formula = formulas.gradient(network, name, index)
    value, terms = formula.value, formula.terms
    yield "sign", -value, ""
    yield "rate", lr * value, ""
    yield "rate", -lr * value, ""
    if not formula.more:
        yield from _without_one(terms)
        if len(terms) > 1:
            for way in terms:
                yield "one_way", prod(f.value for f in way), ""
    yield "double", 2 * value, ""
    yield "half", value / 2, ""
    yield from _others(network, name, index)
    for sign in (-1,):
        yield from (
            (f"{code}_sign", sign * other, what)
            for code, other, what in ([] if formula.more else _without_one(terms))
        )


def _without_one(terms: tuple[tuple[Factor, ...], ...]) -> Iterator[tuple[str, float, str]]:
    """The sum with one and the same factor left out of every term."""
    for i in reversed(range(len(terms[0]))):
        left = terms[0][i]
        total = sum(prod(f.value for j, f in enumerate(way) if j != i) for way in terms)
        yield f"without_{left.kind}", float(total), left.symbol


def _others(
    network: Network, name: str, index: tuple[int, int]
) -> Iterator[tuple[str, float, str]]:
    """The gradients by the other numbers of the same matrix."""
    slopes = getattr(by_hand(network), f"d{name}", None)
    if slopes is None or slopes.size > 1000:
        return
    for place in np.ndindex(slopes.shape):
        if place != index:
            shown = place[:1] if name.startswith("b") else place
            yield "other", float(slopes[place]), formulas.place(name, *shown)
