"""Numbers into what a user holds, and out of it again, unseen by their recordings."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfmagic.model.step import Array
from tfmagic.runtime import private

__all__ = ["look", "put"]


def look(held: Any, *, turned: bool) -> Array | None:
    """The numbers of a variable, tensor, array or list; None where there are none."""
    try:
        with private.unseen():
            value = np.asarray(held.numpy() if hasattr(held, "numpy") else held, np.float64)
    except Exception:  # it has become something else: the panel keeps what it has
        return None
    return value.T if turned else value


def put(held: Any, value: Array, *, turned: bool) -> Any:
    """Write ``value`` into ``held``, or give the new object that is to take its place."""
    new = np.asarray(value.T if turned else value)
    shape = np.shape(held)
    if new.size == np.prod(shape, dtype=int):
        new = new.reshape(shape)
    if hasattr(held, "assign"):
        with private.unseen():
            kind = str(getattr(held.dtype, "name", held.dtype))
            held.assign(new.astype(np.dtype(kind)))
        return None
    if isinstance(held, np.ndarray):
        if held.dtype.kind == "f" and held.flags.writeable and held.shape == new.shape:
            held[...] = new
            return None
        return np.array(new)
    if isinstance(held, private.EagerTensor):
        return private.tf.constant(new, held.dtype if held.dtype.is_floating else None)  # type: ignore[attr-defined]
    return new.tolist()
