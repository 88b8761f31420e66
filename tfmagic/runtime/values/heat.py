"""From the numbers of a tensor to the squares of its picture."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfmagic.model.heat import Heat

__all__ = ["heat_of"]

#: Most squares down and across.
TALL, WIDE = 32, 48


def heat_of(array: Any) -> Heat | None:
    """The squares of a real numpy array of one axis or more; None where there is nothing to see.

    Axes of length 1 are passed over; of more than two axes the first slice is taken.
    """
    if array.dtype.kind not in "fiub" or array.size < 2:
        return None
    place: tuple[int, ...] = ()
    axes = [i for i, size in enumerate(array.shape) if size != 1]
    matrix = array.reshape([array.shape[i] for i in axes])
    if matrix.ndim > 2:
        place = (0,) * (matrix.ndim - 2)
        matrix = matrix[place]
    matrix = np.atleast_2d(matrix)
    block = (-(-matrix.shape[0] // TALL), -(-matrix.shape[1] // WIDE))
    squares = matrix.astype(np.float64) if block == (1, 1) else _means(matrix, *block)
    return Heat(tuple(tuple(row) for row in squares.tolist()), block, place)


def _means(matrix: Any, down: int, across: int) -> Any:
    """Means of blocks; those at the end may be smaller.  What is not finite is kept so."""
    tops, lefts = range(0, matrix.shape[0], down), range(0, matrix.shape[1], across)
    means = np.empty((len(tops), len(lefts)))
    for i, top in enumerate(tops):
        for j, left in enumerate(lefts):
            part = matrix[top : top + down, left : left + across].astype(np.float64)
            broken = part[~np.isfinite(part)]
            lost = np.isnan(broken).any()
            means[i, j] = part.mean() if not broken.size else np.nan if lost else broken[0]
    return means
