"""From a live tensor to what a recording keeps of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tfmagic.model import Stats, Value
from tfmagic.model.value import UNKNOWN
from tfmagic.runtime import private

#: About this many elements, evenly spaced, stand for the order of a large tensor.
SAMPLE = 1_024
#: Longest text that is kept of one string element.
LONGEST = 200


class Snapshot:
    """Shape, dtype, device and value of a tensor that may be gone.

    What was copied of the value becomes plain data only when :meth:`value` is asked for:
    most recordings are never looked at closely.
    """

    __slots__ = ("_later", "_value", "bytes", "device", "dtype", "shape")

    def __init__(
        self,
        shape: tuple[int | None, ...] | None,
        dtype: str,
        device: str,
        size: int,
        later: Callable[[], Value] | Value,
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.device = device
        self.bytes = size
        self._value = later if isinstance(later, Value) else None
        self._later = None if isinstance(later, Value) else later

    def value(self) -> Value:
        """The value as plain data, worked out once."""
        if self._value is None and self._later is not None:
            self._value = self._later()
            self._later = None
        return self._value or UNKNOWN


_DTYPES: dict[int, tuple[str, int]] = {}


def take(tensor: Any, whole: int, *, exact: bool = False) -> Snapshot:
    """What a recording keeps of an eager ``tensor``.

    ``whole`` is the largest number of elements that are all kept; with ``exact`` the
    figures of a larger one stand on all elements too.
    """
    enum = tensor._datatype_enum()
    known = _DTYPES.get(enum)
    if known is None:
        known = _DTYPES[enum] = (tensor.dtype.name, tensor.dtype.size or 0)
    name, item = known
    shape, device = tensor._shape_tuple(), tensor.device
    if name in ("resource", "variant"):
        return Snapshot(shape, name, device, 0, Value(absent=name))
    count = tensor._num_elements()
    try:
        later = _copied(private.view(tensor), count, whole, exact)
    except Exception as error:  # a dead worker, a dtype numpy cannot hold: the cell goes on
        later = Value(absent=f"failed: {type(error).__name__}")
    return Snapshot(shape, name, device, count * item, later)


def _copied(array: Any, count: int, whole: int, exact: bool) -> Callable[[], Value] | Value:
    """The little that is copied out of a tensor now, as what it will say later."""
    if count <= whole:
        return partial(_describe, np.array(array))
    if array.dtype == object:
        return Value(absent="string")
    flat = _as_real(array).reshape(-1)
    squared = _squared_norm(flat)
    if exact or not np.isfinite(squared):
        return Value(stats=_figures(flat, count))
    step = max(1, count // SAMPLE)
    return partial(_of_sample, flat[::step].copy(), count, float(np.sqrt(squared)))


def _of_sample(sample: np.ndarray[Any, Any], count: int, norm: float) -> Value:
    return Value(stats=replace(_figures(sample, count), norm=norm))


def _as_real(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if array.dtype.kind == "c":
        array = np.abs(array)
    if array.dtype.kind not in "fiub":  # bfloat16 and the like
        return array.astype(np.float32)
    return array


def _squared_norm(flat: np.ndarray[Any, Any]) -> float:
    if flat.dtype.kind != "f" or flat.dtype.itemsize < 4:
        flat = flat.astype(np.float32)
    with np.errstate(all="ignore"):
        return float(np.dot(flat, flat))


def _figures(flat: np.ndarray[Any, Any], count: int) -> Stats:
    numbers = flat.astype(np.float64)
    if flat.dtype.kind == "f":
        finite = np.isfinite(numbers)
        nan = int(np.isnan(numbers).sum())
        inf = int(finite.size - finite.sum()) - nan
        numbers = numbers[finite] if nan or inf else numbers
    else:
        nan = inf = 0
    if not numbers.size:
        return Stats(count, flat.size, None, None, None, None, 0, nan, inf)
    with np.errstate(over="ignore"):
        norm = float(np.sqrt(np.dot(numbers, numbers)))
        mean = float(numbers.mean())
    zeros = int(numbers.size - np.count_nonzero(numbers))
    return Stats(
        count, flat.size, float(numbers.min()), float(numbers.max()), mean, norm, zeros, nan, inf
    )


def _describe(array: np.ndarray[Any, Any]) -> Value:
    if array.dtype == object or array.dtype.kind in "SU":
        return Value(data=_texts(array.tolist()))
    figures = _figures(_as_real(array).reshape(-1), array.size)
    if array.dtype.kind not in "fiubc":
        array = array.astype(np.float32)
    return Value(data=_nested(array.tolist()), stats=figures)


def _nested(value: Any) -> Any:
    return tuple(_nested(v) for v in value) if isinstance(value, list) else value


def _texts(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_texts(v) for v in value)
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
