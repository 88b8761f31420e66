"""What is kept of a tensor's value once the tensor itself is gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Stats:
    """A summary of the numbers in a tensor.

    ``count`` is the number of elements the tensor has and ``seen`` the number that the
    figures were computed from: where they differ the figures stand on an evenly spread
    sample, and ``norm`` (Euclidean) is scaled up from it; only for tensors of up to some
    ten thousand elements ``norm``, ``nan`` and ``inf`` stand on every element all the
    same.  Answers of gradient calls are never sampled.  All figures but ``nan`` and
    ``inf`` are over the finite elements.
    """

    count: int
    seen: int
    min: float | None
    max: float | None
    mean: float | None
    norm: float | None
    zeros: int
    nan: int
    inf: int

    @property
    def sampled(self) -> bool:
        """Whether only a part of the elements was looked at."""
        return self.seen < self.count

    @property
    def finite(self) -> bool:
        """Whether no NaN and no infinity was seen."""
        return not (self.nan or self.inf)


@dataclass(frozen=True, slots=True)
class Value:
    """The value of one tensor: whole when small, a summary when large.

    Exactly one of these is told: ``data`` (nested tuples of numbers, booleans or
    strings, in the tensor's shape) for a small tensor, ``stats`` alone for a large
    one, or ``absent``, the reason why nothing is known (``"resource"``,
    ``"budget"``, ``"failed"`` …).  Numeric tensors always carry ``stats``.
    """

    data: Any = None
    stats: Stats | None = None
    absent: str = ""

    @property
    def whole(self) -> bool:
        """Whether every element is here."""
        return self.data is not None


UNKNOWN = Value(absent="unknown")
