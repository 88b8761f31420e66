"""From a live tensor to what a recording keeps of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tfmagic.model import Value
from tfmagic.runtime import private
from tfmagic.runtime.values.figures import (
    SAMPLE,
    Sample,
    as_real,
    describe,
    describe_alike,
    figures,
    figures_alike,
    sample,
    squared_norm,
)

view = private.view

#: Up to this many elements, norm, NaN and Inf stand on all of them: above it reading
#: every activation of a real training step would cost as much as computing it.
EXACT = 16_384
#: So many tensors are described at once: more would not stay in the processor's caches.
TOGETHER = 256


class Snapshot:
    """Shape, dtype, device and value of a tensor that may be gone.

    ``later`` is what was copied of the value: all of a small one as numpy has it, a
    :class:`Sample`, or a :class:`Value`.  It becomes plain data only when
    :meth:`value` is asked for: most recordings are never looked at closely.
    """

    __slots__ = ("_value", "bytes", "device", "dtype", "later", "shape")

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
        self.later = later

    def value(self) -> Value:
        """The value as plain data, worked out once."""
        if self._value is None:
            later = self.later
            if isinstance(later, Sample):
                self._value = later.value()
            else:
                self._value = later if isinstance(later, Value) else describe(np.asarray(later))
            self.later = None
        return self._value


def describe_together(snapshots: Iterable[Snapshot]) -> None:
    """Have the values of many small tensors worked out at once, those alike together: one by one
    they take most of the time of a report."""
    alike: dict[tuple[Any, ...], list[Snapshot]] = {}
    for snapshot in snapshots:
        array, count = snapshot.later, None
        if isinstance(array, Sample) and array.norm is None:
            array, count = array.taken, array.count  # type: ignore[attr-defined]
        if isinstance(array, (np.ndarray, np.generic)) and array.dtype.kind in "fiub":
            alike.setdefault((array.shape, array.dtype, count), []).append(snapshot)
    parts = [(count, group[i : i + TOGETHER]) for (*_, count), group in alike.items()
             for i in range(0, len(group), TOGETHER)]  # fmt: skip
    for count, group in parts:
        held = [snapshot.later for snapshot in group]
        if count is None:
            values = describe_alike(held)
        else:
            found = figures_alike([sample.taken for sample in held], count)
            values = [Value(stats=stats) for stats in found] or [each.value() for each in held]
        for snapshot, value in zip(group, values, strict=True):
            snapshot.later = value


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
        return Sample(flat, count)
    if exact:
        return Value(stats=figures(as_real(flat), count))
    if count > EXACT:
        return Sample(sample(flat), count)
    norm = math.sqrt(squared_norm(flat if flat.dtype.kind == "f" else as_real(flat)))
    if not math.isfinite(norm):
        return Value(stats=figures(as_real(flat), count))
    return Sample(sample(flat), count, norm)
