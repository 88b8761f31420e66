"""The two layers worked out by hand: NumPy in double precision, formula by formula.

Nothing of TensorFlow is used here, so that what a tape answers can be compared with it.
The formulas are the chain rule for Loss = Σ ½(Ŷ − Y)², as it stands in any textbook
(Rumelhart, Hinton, Williams: Learning representations by back-propagating errors, 1986).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tfmagic.model.step import Array, Network, Pass

__all__ = ["Agreement", "by_hand", "compare", "slope", "value"]

#: What a difference may amount to, by the precision the tape worked in.
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def value(activation: str, z: Any) -> Any:
    """The activation at ``z``."""
    if activation == "sigmoid":
        with np.errstate(over="ignore"):  # exp runs over far below zero, where the answer is 0
            return 1 / (1 + np.exp(-z))
    if activation == "tanh":
        return np.tanh(z)
    return np.maximum(z, 0) if activation == "relu" else z


def slope(activation: str, z: Any) -> Any:
    """Its derivative at ``z``; for relu at 0 it is 0, as in TensorFlow."""
    if activation == "sigmoid":
        out = value(activation, z)
        return out * (1 - out)
    if activation == "tanh":
        return 1 - np.tanh(z) ** 2
    return np.where(np.asarray(z) > 0, 1.0, 0.0) if activation == "relu" else np.ones_like(z)


def by_hand(network: Network) -> Pass:
    """Forward, then back by the chain rule, in double precision."""
    given = {name: np.asarray(array, float) for name, array in network.parameters()}
    first, second = network.activation
    X, Y = np.asarray(network.X, float), np.asarray(network.Y, float)
    with np.errstate(all="ignore"):  # a run that diverges is shown, not warned about
        Z_1 = given["W_1"] @ X + given.get("b_1", 0.0)
        H_1 = value(first, Z_1)
        Z_2 = given["W_2"] @ H_1 + given.get("b_2", 0.0)
        Y_hat = value(second, Z_2)
        dY_hat = Y_hat - Y
        dZ_2 = dY_hat * slope(second, Z_2)
        dH_1 = given["W_2"].T @ dZ_2
        dZ_1 = dH_1 * slope(first, Z_1)
        return Pass(
            Z_1=Z_1,
            H_1=H_1,
            Z_2=Z_2,
            Y_hat=Y_hat,
            loss=float(np.sum(dY_hat**2) / 2),
            dY_hat=dY_hat,
            dZ_2=dZ_2,
            dW_2=dZ_2 @ H_1.T,
            dH_1=dH_1,
            dZ_1=dZ_1,
            dW_1=dZ_1 @ X.T,
            db_2=dZ_2.sum(1, keepdims=True) if "b_2" in given else None,
            db_1=dZ_1.sum(1, keepdims=True) if "b_1" in given else None,
        )


# --- the comparison ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two passes are apart: ``difference`` at the worst place, named ``where``.

    It is relative to the sizes of the terms that the number is summed from, for a sum that
    nearly cancels out has lost its digits already in those terms.  ``finite`` is False
    where NaN or an infinity stands in either, and nothing can be compared.
    """

    difference: float
    where: str
    tolerance: float
    finite: bool = True

    @property
    def holds(self) -> bool:
        """Whether both agree as far as the precision goes."""
        return self.finite and self.difference <= self.tolerance


def compare(network: Network, taped: Pass, hand: Pass | None = None) -> Agreement:
    """The tape's pass against the one worked out by hand, number by number."""
    hand = hand or by_hand(network)
    tolerance = TOLERANCE[str(network.W_1.dtype)]
    if not (taped.finite and hand.finite):
        return Agreement(float("nan"), "", tolerance, finite=False)
    sizes = dict(_sizes(network, hand).parts())
    worst, where = 0.0, ""
    other = dict(hand.parts())
    for name, found in taped.parts():
        apart = np.abs(np.asarray(found, float) - other[name])
        scale = np.maximum(sizes[name], np.finfo(np.float32).tiny)
        difference = float(np.max(apart / scale))
        if difference > worst or not where:
            worst, where = difference, name
    return Agreement(worst, where, tolerance)


def _sizes(network: Network, hand: Pass) -> Pass:
    """How large the terms are that each number is made of: the same sums of magnitudes."""
    given = {name: np.abs(np.asarray(array, float)) for name, array in network.parameters()}
    first, second = network.activation
    X = np.abs(np.asarray(network.X, float))
    Z_1 = given["W_1"] @ X + given.get("b_1", 0.0)
    H_1 = Z_1 + np.abs(hand.H_1)
    Z_2 = given["W_2"] @ H_1 + given.get("b_2", 0.0)
    Y_hat = Z_2 + np.abs(hand.Y_hat)
    dY_hat = Y_hat + np.abs(network.Y)
    dZ_2 = dY_hat * _slope_sizes(second, hand.Z_2, Z_2)
    dH_1 = given["W_2"].T @ dZ_2
    dZ_1 = dH_1 * _slope_sizes(first, hand.Z_1, Z_1)
    return Pass(
        Z_1=Z_1,
        H_1=H_1,
        Z_2=Z_2,
        Y_hat=Y_hat,
        loss=float(np.sum(dY_hat**2)),
        dY_hat=dY_hat,
        dZ_2=dZ_2,
        dW_2=dZ_2 @ H_1.T,
        dH_1=dH_1,
        dZ_1=dZ_1,
        dW_1=dZ_1 @ X.T,
        db_2=dZ_2.sum(1, keepdims=True),
        db_1=dZ_1.sum(1, keepdims=True),
    )


def _slope_sizes(activation: str, z: Array, size: Array) -> Array:
    """A slope of at most 1 that moves with z; at relu's kink rounding alone decides it."""
    if activation == "linear":
        return np.ones_like(z)
    if activation == "relu":
        return np.where(np.abs(z) <= 1e-5 * size, 1e30, 1.0)
    return np.asarray(np.abs(slope(activation, z)) + size)
