"""Arrays as the plain data that a model keeps of them; needs numpy alone."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import numpy as np

from tfmagic.model import Stats, Value

__all__ = [
    "SAMPLE",
    "Sample",
    "as_real",
    "describe",
    "describe_alike",
    "described",
    "figures",
    "figures_alike",
    "sample",
    "squared_norm",
]

#: This many elements, in evenly spaced runs, stand for a large tensor.
SAMPLE, RUNS = 1_024, 16
#: Longest text that is kept of one string element.
LONGEST = 200

_F = TypeVar("_F", bound=Callable[..., Any])


def _unheard(function: _F) -> _F:
    """Figures that overflow are no matter of the user's: neither warned of nor raised for.

    Each call has a scope of its own: before numpy 2 one that is entered again inside itself
    forgets what was set around it.
    """

    @functools.wraps(function)
    def quietly(*args: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*args)

    return cast(_F, quietly)


def sample(flat: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Evenly spaced runs of neighbours: single elements would each cost a trip to memory."""
    if flat.size <= SAMPLE:
        return flat.copy()
    rows = flat[: flat.size // RUNS * RUNS].reshape(RUNS, -1)
    return rows[:, : SAMPLE // RUNS].reshape(-1)


@dataclass(frozen=True, slots=True)
class Sample:
    """An evenly spaced sample of a tensor of ``count`` elements, whose norm may be known."""

    taken: np.ndarray[Any, Any]
    count: int
    norm: float | None = None

    def value(self) -> Value:
        """Its figures; a norm that is not known is scaled up."""
        found, norm = figures(as_real(self.taken), self.count), self.norm
        if norm is None and found.norm is not None:
            norm = found.norm * math.sqrt(self.count / found.seen)
        return Value(stats=replace(found, norm=norm))


@_unheard
def as_real(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return _real(array)


def _real(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if array.dtype.kind == "c":
        array = np.abs(array)
    if array.dtype.kind not in "fiub":  # bfloat16 and the like
        return array.astype(np.float32)
    return array


@_unheard
def figures(flat: np.ndarray[Any, Any], count: int) -> Stats:
    """Figures of real numbers; a squared norm that is finite proves that all of them are."""
    return _figures(flat, count)


def _figures(flat: np.ndarray[Any, Any], count: int) -> Stats:
    nan = inf = 0
    squared = _squared(flat)
    if not math.isfinite(squared):
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
        mean=float(np.add.reduce(flat, dtype=np.float64) / flat.size),
        norm=math.sqrt(squared),
        zeros=int(flat.size - np.count_nonzero(flat)),
        nan=nan,
        inf=inf,
    )


@_unheard
def squared_norm(flat: np.ndarray[Any, Any]) -> float:
    """In double precision where the array is small, else as fast as it goes."""
    return _squared(flat)


def _squared(flat: np.ndarray[Any, Any]) -> float:
    if flat.dtype.kind != "f" or flat.dtype.itemsize < 4 or flat.size <= SAMPLE:
        flat = flat.astype(np.float64)
        return float(np.dot(flat, flat))
    return float(np.vdot(flat, flat))  # which, unlike dot, warns of no overflow


@_unheard
def describe(array: np.ndarray[Any, Any]) -> Value:
    if array.dtype == object or array.dtype.kind in "SU":
        return Value(data=_texts(array.tolist()))
    found = _figures(_real(array).reshape(-1), array.size)
    if array.dtype.kind not in "fiubc":
        array = array.astype(np.float32)
    return Value(data=_nested(array.tolist(), array.ndim), stats=found)


@_unheard
def described(array: np.ndarray[Any, Any], most: int) -> Value:
    """As :func:`describe` up to ``most`` elements, the figures alone of a larger array."""
    if array.size <= most:
        return describe(array)
    return Value(stats=_figures(_real(array.reshape(-1)), array.size))


def describe_alike(arrays: Sequence[np.ndarray[Any, Any]]) -> list[Value]:
    """As :func:`describe` of each of many arrays of plain numbers, all of one shape and dtype."""
    found = figures_alike(arrays)
    if not found:
        return [describe(array) for array in arrays]
    depth = arrays[0].ndim
    return [
        Value(_nested(a.tolist(), depth), stats) for a, stats in zip(arrays, found, strict=True)
    ]


@_unheard
def figures_alike(arrays: Sequence[np.ndarray[Any, Any]], count: int | None = None) -> list[Stats]:
    """The figures of many arrays of plain numbers, all of one shape and dtype, each a sample of
    ``count`` elements or whole; none where they are empty, or not finite throughout."""
    stacked = np.stack(arrays).reshape(len(arrays), -1)
    numbers = stacked.astype(np.float64)
    squared = np.einsum("ij,ij->i", numbers, numbers)
    if not stacked.size or not np.isfinite(squared).all():
        return []
    seen = stacked.shape[1]
    count = seen if count is None else count
    columns = (
        stacked.min(1).tolist(),
        stacked.max(1).tolist(),
        (np.add.reduce(numbers, 1) / seen).tolist(),
        np.sqrt(squared * (count / seen)).tolist(),
        (seen - np.count_nonzero(stacked, 1)).tolist(),
    )
    return [
        Stats(count, seen, float(low), float(high), mean, norm, zeros, 0, 0)
        for low, high, mean, norm, zeros in zip(*columns, strict=True)
    ]


def _nested(value: Any, depth: int) -> Any:
    if depth < 2:
        return tuple(value) if depth else value
    return tuple([_nested(part, depth - 1) for part in value])


def _texts(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_texts(v) for v in value)
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
