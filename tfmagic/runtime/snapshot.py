"""From a live tensor to what a recording keeps of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tfmagic.model import Stats, Value

#: Above this many elements the order statistics stand on an evenly spaced sample.
SAMPLE = 65_536
#: Longest text that is kept of one string element.
LONGEST = 200


class Snapshot:
    """Shape, dtype, device and value of a tensor that may be gone.

    A small value is kept as a numpy array and turned into plain data only when
    :meth:`value` is asked for: most recordings are never looked at closely.
    """

    __slots__ = ("_array", "_value", "bytes", "device", "dtype", "shape")

    def __init__(
        self,
        shape: tuple[int | None, ...] | None,
        dtype: str,
        device: str,
        size: int,
        array: Any = None,
        value: Value | None = None,
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.device = device
        self.bytes = size
        self._array = array
        self._value = value

    def value(self) -> Value:
        """The value as plain data, worked out once."""
        if self._value is None:
            self._value = _describe(self._array)
            self._array = None
        return self._value


def take(tensor: Any, whole: int) -> Snapshot:
    """What a recording keeps of an eager ``tensor``; ``whole``: largest full copy."""
    shape = tensor._shape_tuple()
    dtype = tensor.dtype
    device = tensor.device
    if dtype.name in ("resource", "variant"):
        return Snapshot(shape, dtype.name, device, 0, value=Value(absent=dtype.name))
    count = tensor._num_elements()
    size = count * dtype.size
    try:
        if count <= whole:
            return Snapshot(shape, dtype.name, device, size, array=np.array(tensor.numpy()))
        value = _summary(tensor, count)
    except Exception as error:  # a dead worker, a dtype numpy cannot hold: the cell goes on
        value = Value(absent=f"failed: {type(error).__name__}")
    return Snapshot(shape, dtype.name, device, size, value=value)


def _summary(tensor: Any, count: int) -> Value:
    array = tensor.numpy()
    if array.dtype == object:
        return Value(absent="string")
    return Value(stats=stats(array, count))


def stats(array: np.ndarray[Any, Any], count: int | None = None) -> Stats | None:
    """Figures of a numeric array; order statistics of a large one stand on a sample.

    The norm, and whether anything is NaN or infinite, always stand on *all* elements:
    a squared norm that is finite proves that every element is.
    """
    flat = _as_real(array).reshape(-1)
    count = flat.size if count is None else count
    if flat.size <= SAMPLE:
        return _figures(flat, count)
    squared = _squared_norm(flat)
    if not np.isfinite(squared):
        return _figures(flat, count)
    return replace(_figures(flat[:: flat.size // SAMPLE], count), norm=float(np.sqrt(squared)))


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
    figures = stats(array) if array.size else Stats(0, 0, None, None, None, None, 0, 0, 0)
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
