"""From a live tensor to what a recording keeps of it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tfmagic.model import Value
from tfmagic.runtime import private
from tfmagic.runtime.figures import as_real, describe, figures, of_sample, sample, squared_norm

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
    if count > EXACT and not exact and not device.startswith(private.local_task()):
        return shape, name, device, count * item, Value(absent="remote")  # a trip over the network
    try:
        array = private.view(tensor)
        if name == "string":  # a single string comes as bytes
            array = np.asarray(array, dtype=object)
        # a small one is kept without a copy: a variable that is assigned to takes a new buffer
        later = array if count <= whole else _copied(array, count, exact)
    except Exception as error:  # a dead worker, a dtype numpy cannot hold: the cell goes on
        later = Value(absent=f"failed: {type(error).__name__}")
    return shape, name, device, count * item, later


def _copied(array: Any, count: int, exact: bool) -> Any:
    """The little that is copied out of a large tensor now, as what it will say later."""
    if array.dtype == object:
        return Value(absent="string")
    flat = array.reshape(-1)
    if exact:
        return Value(stats=figures(as_real(flat), count))
    if count > EXACT:
        return partial(of_sample, sample(flat), count)
    norm = float(np.sqrt(squared_norm(as_real(flat))))
    if not np.isfinite(norm):
        return Value(stats=figures(as_real(flat), count))
    return partial(of_sample, sample(flat), count, norm)
