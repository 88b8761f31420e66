"""A matrix as squares of colour."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heat:
    """The numbers to colour, in rows.

    A large matrix stands in fewer squares: each is the mean of up to ``block`` (rows,
    columns) elements, NaN where one of them is, else infinite where one of them is.
    ``place`` are the indices of the leading axes where the matrix is a slice of a
    larger tensor.
    """

    rows: tuple[tuple[float, ...], ...]
    block: tuple[int, int] = (1, 1)
    place: tuple[int, ...] = ()
