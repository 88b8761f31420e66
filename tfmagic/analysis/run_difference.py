"""Two training runs beside each other: the first step where they part, and by what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tfmagic.model import Run
from tfmagic.model.run import Array

__all__ = ["Parting", "pairs", "parting", "total_norm"]

#: Relative difference up to which two figures are the same: the last digits of single precision.
_SAME = 1e-5
#: In the order in which a step computes: what differs first tells what was other.
_ORDER = ("weight", "mean", "std", "loss", "gradient", "update")
_CAUSES = {"std": "mean", "update": "rate"}
_NOWHERE = (0, 0, 0, "", "")


@dataclass(frozen=True, slots=True)
class Parting:
    """``step`` is the first one in which something differs, ``cause`` what differs first in it:

    ``"model"`` (not the same variables), ``"start"`` (weights before the first step), ``"data"``
    (what the first layer gives, by the same weights), ``"op"`` (what the layer ``name`` gives,
    though what stands before it was the same: an op, or a random draw), ``"loss"`` (the loss,
    from the same outputs: targets or loss function), ``"gradient"`` (from the same loss),
    ``"rate"`` (the update of ``name``, from the same gradient: rate, optimiser or clipping) or
    ``"weight"`` (a weight that was changed between two steps).  ``ratio`` is by how much the
    update is greater than the other run's, where it is by the same for all.
    """

    step: int
    cause: str
    name: str = ""
    ratio: float | None = None


def pairs(runs: tuple[Run, ...], others: tuple[Run, ...]) -> list[tuple[Run, Run]]:
    """The runs of two recordings that belong together: those of the same variables, in order."""
    left, found = list(others), []
    for run in runs:
        same = [o for o in left if len(o.weight_norm) == len(run.weight_norm)] or left
        if same:
            left.remove(same[0])
            found.append((run, same[0]))
    return found


def parting(run: Run, other: Run) -> Parting | None:
    """Where the two part; None where they are the same as long as both go."""
    shared = set(other.numbers)
    steps = [n for n in run.numbers if n in shared]
    if not steps:
        return None
    if len(run.weight_norm) != len(other.weight_norm):
        return Parting(steps[0], "model")
    here = [run.numbers.index(step) for step in steps]
    there = [other.numbers.index(step) for step in steps]
    at, _, place, kind, name = min(_differences(run, other, here, there), default=_NOWHERE)
    if not kind:
        return None
    cause = _CAUSES.get(kind, kind)
    if cause == "weight" and at == 0:
        cause = "start"
    elif cause == "mean":
        cause = "data" if place == 0 else "op"
    ratio = _ratio(run, other, here[at], there[at]) if cause == "rate" else None
    return Parting(steps[at], cause, name, ratio)


def _differences(
    run: Run, other: Run, here: Sequence[int], there: Sequence[int]
) -> Iterator[tuple[int, int, int, str, str]]:
    """For each series that differs: at which of the steps first, its rank in a step, kind, name."""
    for rank, kind in enumerate(_ORDER):
        mine, theirs = run.of(kind), other.of(kind)
        if len(mine) != len(theirs):
            continue
        # a model that is made anew names its layers anew: they are told by their order
        for place, ((name, a), b) in enumerate(zip(mine.items(), theirs.values(), strict=True)):
            differs = np.flatnonzero(~np.isclose(a[here], b[there], _SAME, 0.0, equal_nan=True))
            if differs.size:
                yield int(differs[0]), rank, place, kind, name


def _ratio(run: Run, other: Run, here: int, there: int) -> float | None:
    mine, theirs = run.of("update").values(), other.of("update").values()
    with np.errstate(divide="ignore", invalid="ignore"):
        every = np.asarray([a[here] / b[there] for a, b in zip(mine, theirs, strict=True)])
    every = every[np.isfinite(every)]
    if every.size and np.allclose(every, every[0], rtol=1e-3):
        return float(every[0])
    return None


def total_norm(run: Run) -> Array:
    """The norm of all gradients together, for each step."""
    norms = list(run.gradient_norm.values())
    return np.sqrt(np.sum(np.square(norms), axis=0)) if norms else np.zeros(0)
