"""From a live tensor to what a recording keeps of it."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from tfmagic.model import Value
from tfmagic.runtime import private
from tfmagic.runtime.values.figures import (
    SAMPLE,
    as_real,
    describe,
    figures,
    of_sample,
    sample,
    squared_norm,
)

view = private.view

#: Up to this many elements, norm, NaN and Inf stand on all of them: above it reading
#: every activation of a real training step would cost as much as computing it.
EXACT = 16_384


class Snapshot:
    """Shape, dtype, device and value of a tensor that may be gone.

    ``later`` is what was copied of the value: all of a small one as numpy has it, a
    :class:`Value`, or a function that makes one.  It becomes plain data only when
    :meth:`value` is asked for: most recordings are never looked at closely.
    """

    __slots__ = ("_later", "_value", "bytes", "device", "dtype", "shape")

    def __init__(
        self,
        shape: tuple[int | None, ...] | None,
        dtype: str,
        device: str,
        size: int,
        later: Any,
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.device = device
        self.bytes = size
        self._value: Value | None = None
        self._later = later

    def value(self) -> Value:
        """The value as plain data, worked out once."""
        if self._value is None:
            later = self._later
            if callable(later):
                self._value = later()
            else:
                self._value = later if isinstance(later, Value) else describe(np.asarray(later))
            self._later = None
        return self._value


class _Kinds(dict[int, tuple[str, int, bool]]):
    """Name, bytes of an element and whether it is a plain number, by dtype enum."""

    def __missing__(self, enum: int) -> tuple[str, int, bool]:
        import tensorflow as tf

        dtype = tf.dtypes.as_dtype(enum)
        number = dtype.name not in ("resource", "variant", "string")
        size = 0 if dtype.name in ("resource", "variant") else dtype.size or 0
        self[enum] = kind = dtype.name, size, number
        return kind


_KINDS = _Kinds()


#: What makes a :class:`Snapshot`, as a bare tuple: most are never looked at.
Taken = tuple[tuple[int | None, ...] | None, str, str, int, Any]


def take(tensor: Any, whole: int, *, exact: bool = False) -> Taken:
    """What a recording keeps of an eager ``tensor``: the arguments of its snapshot.

    ``whole`` is the largest number of elements that are all kept; with ``exact`` the
    figures of a larger one stand on all elements too.
    """
    name, item, number = _KINDS[tensor._datatype_enum()]
    try:
        count, device = tensor._num_elements(), tensor.device
    except Exception as error:  # a worker that died before it told how large the result is
        return None, name, "", 0, _failed(error)
    if number and (count <= EXACT or exact or device.startswith(private.local_task())):
        # a small one is kept without a copy: a variable that is assigned to takes a new buffer
        try:
            array = view(tensor)
            kept = array if count <= whole else _copied(array, count, exact)
            return array.shape, name, device, count * item, kept  # numpy's shape costs less
        except Exception as error:  # a dead worker, a dtype numpy cannot hold: the cell goes on
            return tensor._shape_tuple(), name, device, count * item, _failed(error)
    return tensor._shape_tuple(), name, device, count * item, _no_number(tensor, name, count, whole)


def _no_number(tensor: Any, name: str, count: int, whole: int) -> Any:
    """What is kept of a tensor that holds no numbers, or that is large and elsewhere."""
    if name in ("resource", "variant"):
        return Value(absent=name)
    if name != "string":
        return Value(absent="remote")  # a trip over the network
    if count > whole:
        return Value(absent=name)
    try:
        return np.asarray(view(tensor), dtype=object)  # a single string comes as bytes
    except Exception as error:
        return _failed(error)


def _failed(error: Exception) -> Value:
    return Value(absent=f"failed: {type(error).__name__}")


def _copied(array: Any, count: int, exact: bool) -> Any:
    """The little that is copied out of a large tensor now, as what it will say later."""
    flat = array.reshape(-1)
    if count <= SAMPLE:  # its copy would be as large
        return partial(of_sample, flat, count)
    if exact:
        return Value(stats=figures(as_real(flat), count))
    if count > EXACT:
        return partial(of_sample, sample(flat), count)
    norm = math.sqrt(squared_norm(flat if flat.dtype.kind == "f" else as_real(flat)))
    if not math.isfinite(norm):
        return Value(stats=figures(as_real(flat), count))
    return partial(of_sample, sample(flat), count, norm)
