"""The network of two layers: its numbers, what one pass through it gave, and one formula.

A column is a sample, as in the lesson: ``X`` is (inputs, samples), ``Y`` (outputs, samples),
``W_1`` (hidden, inputs), ``W_2`` (outputs, hidden); a bias is a column.  ``Z_1`` and ``Z_2``
stand before the activations, ``H_1`` and ``Y_hat`` after them, and ``loss`` is the sum of
½(Ŷ − Y)² over outputs and samples.

The arrays are NumPy's, marked read-only: a history of ten thousand states of tuples would
take ten times the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ACTIVATIONS",
    "FORWARD",
    "PARAMETERS",
    "Array",
    "Factor",
    "Formula",
    "Network",
    "Pass",
    "StepState",
]

Array = NDArray[np.floating[Any]]

ACTIVATIONS = ("linear", "sigmoid", "tanh", "relu")
#: The pieces of the way forward.
FORWARD = ("H_1", "Y_hat", "Loss")
PARAMETERS = ("W_1", "b_1", "W_2", "b_2")


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """The given numbers.  ``activation`` is that of the hidden layer, then of the output."""

    X: Array
    Y: Array
    W_1: Array
    W_2: Array
    b_1: Array | None = None
    b_2: Array | None = None
    activation: tuple[str, str] = ("linear", "linear")

    def parameters(self) -> Iterator[tuple[str, Array]]:
        """Names and values of the weights and biases that are there, from input to output."""
        for name in PARAMETERS:
            value = getattr(self, name)
            if value is not None:
                yield name, value

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Inputs, hidden nodes, outputs."""
        return self.W_1.shape[1], self.W_1.shape[0], self.W_2.shape[0]

    @property
    def samples(self) -> int:
        """Columns of ``X``."""
        return int(self.X.shape[1])

    @property
    def backward_pieces(self) -> tuple[str, ...]:
        """The parts of a :class:`Pass` in the order in which the chain rule gives them.

        Behind a linear layer dŶ/dZ₂ is 1, and no piece of its own.
        """
        first, second = self.activation
        found = ["dY_hat", *(["dZ_2"] if second != "linear" else []), "dW_2"]
        found += ["db_2"] if self.b_2 is not None else []
        found += ["dH_1", *(["dZ_1"] if first != "linear" else []), "dW_1"]
        return (*found, *(["db_1"] if self.b_1 is not None else []))


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """One way forward and back: values, and ``d…``, the gradients of the loss by them."""

    Z_1: Array
    H_1: Array
    Z_2: Array
    Y_hat: Array
    loss: float
    dY_hat: Array
    dZ_2: Array
    dW_2: Array
    dH_1: Array
    dZ_1: Array
    dW_1: Array
    db_2: Array | None = None
    db_1: Array | None = None

    def parts(self) -> Iterator[tuple[str, Any]]:
        """The name of each part that is there, and its value."""
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                yield field.name, value

    @property
    def finite(self) -> bool:
        """Whether there is no NaN and no infinity in it."""
        return all(bool(np.isfinite(value).all()) for _, value in self.parts())


@dataclass(frozen=True, slots=True, eq=False)
class StepState:
    """A point of the training: the numbers, and how far they have been stepped through.

    ``base`` is what ``passed`` was computed on: ``network`` itself, or what it was before
    the update that is under way.  ``step`` counts whole updates.  ``forward`` and
    ``backward`` count the pieces of either pass that were asked for, ``updated`` the
    parameters that have taken this step already.
    ``origin`` is where the numbers were last set by hand, ``since`` the updates after it.
    """

    network: Network
    passed: Pass
    lr: float
    base: Network
    origin: Network
    step: int = 0
    forward: int = 0
    backward: int = 0
    updated: int = 0
    since: int = 0

    @property
    def loss(self) -> float:
        """The loss at these weights."""
        return self.passed.loss


@dataclass(frozen=True, slots=True)
class Factor:
    """One factor of a product: ``over``/``under`` is its place in the chain rule.

    ``symbol`` says what it is made of and ``value`` what it amounts to; ``part`` is the
    place of the network that it belongs to (``Y_hat[0]``, ``W_2[0,1]``), and ``kind`` what
    is called if it is forgotten: ``error``, ``slope``, ``weight`` or ``input``.
    """

    over: str
    under: str
    symbol: str
    value: float
    part: str
    kind: str


@dataclass(frozen=True, slots=True)
class Formula:
    """``name`` = each of ``steps``, the last of which is ``value``, and the same as LaTeX.

    ``terms`` are the products of a gradient, ``more`` the number of those not written out.
    """

    name: str
    steps: tuple[str, ...]
    value: float
    latex: str
    terms: tuple[tuple[Factor, ...], ...] = ()
    more: int = 0

    @property
    def text(self) -> str:
        """The whole formula on one line."""
        return " = ".join((self.name, *self.steps))
