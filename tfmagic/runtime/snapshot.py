"""From a live tensor to what a recording keeps of it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tfmagic.model import Stats, Value
from tfmagic.runtime import private

#: This many elements, in evenly spaced runs, stand for a large tensor.
SAMPLE, RUNS = 1_024, 16
#: Up to this many elements, norm, NaN and Inf stand on all of them: above it reading
#: every activation of a real training step would cost as much as computing it.
EXACT = 16_384
#: Longest text that is kept of one string element.
LONGEST = 200


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
                self._value = later if isinstance(later, Value) else _describe(np.asarray(later))
            self._later = None
        return self._value


_DTYPES: dict[int, tuple[str, int]] = {}


#: What makes a :class:`Snapshot`, as a bare tuple: most are never looked at.
Taken = tuple[tuple[int | None, ...] | None, str, str, int, Any]


def take(tensor: Any, whole: int, *, exact: bool = False) -> Taken:
    """What a recording keeps of an eager ``tensor``: the arguments of its snapshot.

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
        return shape, name, device, 0, Value(absent=name)
    count = tensor._num_elements()
    try:
        array = private.view(tensor)
        later = array.copy() if count <= whole else _copied(array, count, exact)
    except Exception as error:  # a dead worker, a dtype numpy cannot hold: the cell goes on
        later = Value(absent=f"failed: {type(error).__name__}")
    return shape, name, device, count * item, later


def _copied(array: Any, count: int, exact: bool) -> Any:
    """The little that is copied out of a large tensor now, as what it will say later."""
    if array.dtype == object:
        return Value(absent="string")
    flat = array.reshape(-1)
    if exact:
        return Value(stats=_figures(_as_real(flat), count))
    if count > EXACT:
        return partial(_of_sample, _sample(flat), count)
    norm = float(np.sqrt(_squared_norm(_as_real(flat))))
    if not np.isfinite(norm):
        return Value(stats=_figures(_as_real(flat), count))
    return partial(_of_sample, _sample(flat), count, norm)


def _sample(flat: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Evenly spaced runs of neighbours: single elements would each cost a trip to memory."""
    if flat.size <= SAMPLE:
        return flat.copy()
    rows = flat[: flat.size // RUNS * RUNS].reshape(RUNS, -1)
    return rows[:, : SAMPLE // RUNS].reshape(-1)


def _of_sample(sample: np.ndarray[Any, Any], count: int, norm: float | None = None) -> Value:
    """Figures of an evenly spaced sample; a norm that is not known is scaled up from it."""
    figures = _figures(_as_real(sample), count)
    if norm is None and figures.norm is not None:
        norm = figures.norm * float(np.sqrt(count / figures.seen))
    return Value(stats=replace(figures, norm=norm))


def _as_real(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if array.dtype.kind == "c":
        array = np.abs(array)
    if array.dtype.kind not in "fiub":  # bfloat16 and the like
        return array.astype(np.float32)
    return array


def _figures(flat: np.ndarray[Any, Any], count: int) -> Stats:
    """Figures of real numbers; a squared norm that is finite proves that all of them are."""
    nan = inf = 0
    squared = _squared_norm(flat)
    if not np.isfinite(squared):
        numbers = flat.astype(np.float64)
        nan = int(np.isnan(numbers).sum())
        inf = int(np.isinf(numbers).sum())
        flat = numbers[np.isfinite(numbers)]
        squared = float(np.dot(flat, flat))
    if not flat.size:
        return Stats(count, nan + inf, None, None, None, None, 0, nan, inf)
    return Stats(
        count=count,
        seen=flat.size + nan + inf,
        min=float(flat.min()),
        max=float(flat.max()),
        mean=float(flat.mean(dtype=np.float64)),
        norm=float(np.sqrt(squared)),
        zeros=int(flat.size - np.count_nonzero(flat)),
        nan=nan,
        inf=inf,
    )


def _squared_norm(flat: np.ndarray[Any, Any]) -> float:
    """In double precision where the array is small, else as fast as it goes."""
    if flat.dtype.kind != "f" or flat.dtype.itemsize < 4 or flat.size <= SAMPLE:
        flat = flat.astype(np.float64)
    with np.errstate(all="ignore"):
        return float(np.dot(flat, flat))


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
