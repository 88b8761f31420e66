"""The loss as a height over two chosen weights, all others as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfmagic.analysis.formulas import place
from tfmagic.analysis.hand import value
from tfmagic.model.step import Array, Network, StepState

__all__ = ["COARSE", "GRID", "Landscape", "is_slow", "landscape"]

GRID, COARSE = 41, 13
SLOW = 4_000_000  # numbers that a grid goes through: more of them take longer than a move may
_BUDGET = 2_000_000  # numbers at a time, so that a large network takes no large memory

Chosen = tuple[str, tuple[int, int]]


@dataclass(frozen=True, slots=True, eq=False)
class Landscape:
    """``losses[i, j]`` is the loss where the second weight is at its i-th value and the first
    at its j-th; ``path`` are the pairs that the training went through, ``at`` the present."""

    names: tuple[str, str]
    spans: tuple[tuple[float, float], tuple[float, float]]
    losses: Array
    path: tuple[tuple[float, float], ...]
    at: tuple[float, float]

    @property
    def least(self) -> float:
        """The lowest finite loss of the grid."""
        return float(np.min(self.losses, initial=np.inf, where=np.isfinite(self.losses)))

    @property
    def most(self) -> float:
        """The highest finite loss of the grid."""
        return float(np.max(self.losses, initial=-np.inf, where=np.isfinite(self.losses)))


def landscape(
    history: Sequence[StepState], at: int, first: Chosen, second: Chosen, grid: int = GRID
) -> Landscape:
    """The slice through the present state, wide enough for the whole path."""
    path = [(_at(state.network, first), _at(state.network, second)) for state in history]
    here = path[at]
    good = [pair for pair in path if np.isfinite(pair).all()]
    spans = tuple(_span([pair[axis] for pair in good] or [0.0]) for axis in (0, 1))
    xs, ys = (np.linspace(*span, grid) for span in spans)
    losses = _losses(history[at].network, (first, second), xs, ys)
    names = (place(first[0], *first[1]), place(second[0], *second[1]))
    return Landscape(names, (spans[0], spans[1]), losses, tuple(good), here)


def is_slow(network: Network) -> bool:
    """Whether the whole grid takes too long to be drawn at each move of a slider."""
    return _size(network) * GRID**2 > SLOW


def _size(network: Network) -> int:
    return network.W_1.size + network.W_2.size + sum(network.sizes) * network.samples


def _at(network: Network, chosen: Chosen) -> float:
    return float(getattr(network, chosen[0])[chosen[1]])


def _span(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = max(high - low, 0.5 * max(abs(low), abs(high)), 0.5) * 0.6
    return low - room, high + room


def _losses(network: Network, chosen: tuple[Chosen, Chosen], xs: Array, ys: Array) -> Array:
    """Row by row, as many at a time as the budget allows."""
    points = np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2)
    each = max(1, _BUDGET // _size(network))
    found = [_batch(network, chosen, points[i : i + each]) for i in range(0, len(points), each)]
    return np.concatenate(found).reshape(len(ys), len(xs))


def _batch(network: Network, chosen: tuple[Chosen, Chosen], points: Array) -> Array:
    given = {
        name: np.repeat(np.asarray(array, float)[None], len(points), 0)
        if name in (chosen[0][0], chosen[1][0])
        else np.asarray(array, float)
        for name, array in network.parameters()
    }
    for axis, (name, (row, column)) in enumerate(chosen):
        given[name][:, row, column] = points[:, axis]
    first, second = network.activation
    with np.errstate(all="ignore"):
        H_1 = value(first, given["W_1"] @ network.X + given.get("b_1", 0.0))
        Y_hat = value(second, given["W_2"] @ H_1 + given.get("b_2", 0.0))
        return np.asarray(np.sum((Y_hat - network.Y) ** 2, axis=(-2, -1)) / 2)
