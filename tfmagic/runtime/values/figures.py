"""Arrays as the plain data that a model keeps of them; needs numpy alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np

from tfmagic.model import Stats, Value

__all__ = [
    "SAMPLE",
    "as_real",
    "describe",
    "described",
    "figures",
    "of_sample",
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


def of_sample(taken: np.ndarray[Any, Any], count: int, norm: float | None = None) -> Value:
    """Figures of an evenly spaced sample; a norm that is not known is scaled up from it."""
    found = figures(as_real(taken), count)
    if norm is None and found.norm is not None:
        norm = found.norm * float(np.sqrt(count / found.seen))
    return Value(stats=replace(found, norm=norm))


@_unheard
def as_real(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if array.dtype.kind == "c":
        array = np.abs(array)
    if array.dtype.kind not in "fiub":  # bfloat16 and the like
        return array.astype(np.float32)
    return array


@_unheard
def figures(flat: np.ndarray[Any, Any], count: int) -> Stats:
    """Figures of real numbers; a squared norm that is finite proves that all of them are."""
    nan = inf = 0
    squared = squared_norm(flat)
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


def squared_norm(flat: np.ndarray[Any, Any]) -> float:
    """In double precision where the array is small, else as fast as it goes."""
    if flat.dtype.kind != "f" or flat.dtype.itemsize < 4 or flat.size <= SAMPLE:
        return _squared_in_double(flat)
    return float(np.vdot(flat, flat))  # which, unlike dot, warns of no overflow


@_unheard
def _squared_in_double(flat: np.ndarray[Any, Any]) -> float:
    flat = flat.astype(np.float64)
    return float(np.dot(flat, flat))


def describe(array: np.ndarray[Any, Any]) -> Value:
    if array.dtype == object or array.dtype.kind in "SU":
        return Value(data=_texts(array.tolist()))
    found = figures(as_real(array).reshape(-1), array.size)
    if array.dtype.kind not in "fiubc":
        array = array.astype(np.float32)
    return Value(data=_nested(array.tolist()), stats=found)


def described(array: np.ndarray[Any, Any], most: int) -> Value:
    """As :func:`describe` up to ``most`` elements, the figures alone of a larger array."""
    if array.size <= most:
        return describe(array)
    return Value(stats=figures(as_real(array.reshape(-1)), array.size))


def _nested(value: Any) -> Any:
    return tuple(_nested(v) for v in value) if isinstance(value, list) else value


def _texts(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_texts(v) for v in value)
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
