"""Devices to time on: found by name, given the inputs, and waited for."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from tfmagic.runtime import private
from tfmagic.runtime.devices import placing
from tfmagic.runtime.devices.placing import short

__all__ = ["Placed", "TimedDevice", "fetched", "inputs_on", "on_device", "resolve", "waiter"]

#: Devices that TensorFlow lists and no op of a user's can be put on.
_INTERNAL = ("XLA_", "COMPOSITE", "TPU_SYSTEM")


@dataclass(frozen=True, slots=True)
class TimedDevice:
    """One logical device by its full name; ``default`` is where ops go that nobody placed."""

    full: str
    default: bool = False

    @property
    def name(self) -> str:
        """``CPU:0``; a device of another process with its job, ``worker/CPU:0``."""
        return short(self.full)

    @property
    def kind(self) -> str:
        """``"CPU"``, ``"GPU"`` …"""
        return placing.kind_of(self.full)

    @property
    def remote(self) -> bool:
        """Whether it belongs to another process."""
        return not placing.is_local(self.full)

    @property
    def asynchronous(self) -> bool:
        """Whether Python goes on before an op here is done."""
        return self.kind != "CPU" or self.remote or private.is_async()

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Puts ops on this device; nothing, where they go there anyway."""
        return contextlib.nullcontext() if self.default else tf.device(self.full)


def resolve(wanted: Sequence[str]) -> tuple[TimedDevice, ...]:
    """The devices of the names in ``wanted``, or those ops go to by themselves; ``all``.

    Raises :class:`~tfmagic.errors.DeviceError` for a device that is not there: TensorFlow
    itself takes any name and quietly computes on the CPU.
    """
    usable = [n for n in placing.names() if not placing.kind_of(n).startswith(_INTERNAL)]
    usual = private.device_scope() or _unplaced(usable)
    chosen: list[str] = []
    for given in wanted or (usual,):
        chosen += usable if given.lower() == "all" else [placing.resolve(given)]
    return tuple(TimedDevice(name, name == usual) for name in dict.fromkeys(chosen))


def _unplaced(usable: Sequence[str]) -> str:
    """Where TensorFlow puts an op that nobody placed: the first accelerator, if there is one."""
    local = [name for name in usable if placing.is_local(name)]
    return min(local, key=lambda name: (placing.kind_of(name) == "CPU", local.index(name)))


@dataclass(frozen=True, slots=True)
class Placed:
    """Inputs on their device; ``fresh`` copies them there anew, for each run that asks."""

    values: Mapping[str, Any]
    fresh: Mapping[str, Callable[[], Any]]


def inputs_on(place: TimedDevice, values: Mapping[str, Any], *, transfer: bool) -> Placed:
    """The inputs where ``place`` computes; with ``transfer`` they also wait on the host."""
    placed, fresh = dict(values), dict[str, Callable[[], Any]]()
    for name, value in values.items():
        with contextlib.suppress(TypeError, ValueError):  # what tf.nest cannot walk stays
            placed[name] = on_device(value, place)
            if transfer and _has_tensors(value):
                fresh[name] = partial(_copied, on_device(value, _host()), place)
    return Placed(placed, fresh)


def _has_tensors(value: Any) -> bool:
    leaves = tf.nest.flatten(value)
    return any(isinstance(leaf, (private.EagerTensor, np.ndarray)) for leaf in leaves)


def _host() -> TimedDevice:
    """The first CPU of this process."""
    return TimedDevice(
        next(n for n in placing.names() if placing.is_local(n) and n.endswith("CPU:0"))
    )


def _copied(value: Any, place: TimedDevice) -> Any:
    """``value`` once more, from the host to ``place``."""
    with tf.device(place.full):
        return tf.nest.map_structure(
            lambda leaf: (
                tf.identity(leaf) if isinstance(leaf, (private.EagerTensor, np.ndarray)) else leaf
            ),
            value,
        )


def fetched(outcome: Any) -> None:
    """Bring every tensor of a run's outcome to the host."""
    for leaf in tf.nest.flatten(outcome):
        if isinstance(leaf, private.EagerTensor) and leaf.dtype.is_numpy_compatible:
            leaf.numpy()


def on_device(value: Any, place: TimedDevice) -> Any:
    """``value`` with its tensors and variables copied to ``place``, where they lie elsewhere."""
    with tf.device(place.full):
        leaves = tf.nest.flatten(value)
        moved = [_leaf_on(leaf, place) for leaf in leaves]
        if all(map(operator.is_, leaves, moved)):
            return value  # itself: functions may know it by another name
        return tf.nest.pack_sequence_as(value, moved)


def _leaf_on(leaf: Any, place: TimedDevice) -> Any:
    if isinstance(leaf, tf.Variable) and type(leaf).__module__.startswith("tensorflow."):
        return (
            leaf
            if short(leaf.device) == place.name
            else tf.Variable(leaf, trainable=leaf.trainable)
        )
    if isinstance(leaf, private.EagerTensor) and short(leaf.device) != place.name:
        return tf.identity(leaf)
    return leaf


def waiter(place: TimedDevice) -> Callable[[Any], None] | None:
    """What waits until ``place`` has done all that was given it; None where none need wait.

    On kinds of devices that TensorFlow's own barrier does not know, a number of the result
    is fetched instead.
    """
    if not place.asynchronous:
        return None
    if place.remote:
        return _remote_waiter(place)
    known = place.kind in ("CPU", "GPU", "TPU")
    done, full, barrier = private.async_wait, place.full, tf.raw_ops.SyncDevice

    def wait(outcome: Any) -> None:
        if known:
            with tf.device(full):
                barrier()
        else:
            _fetch_one(outcome)
        done()

    return wait


def _remote_waiter(place: TimedDevice) -> Callable[[Any], None]:
    """Waits by fetching one number that is made last: a worker does its ops in their order.

    TensorFlow's own barrier never returns when the worker dies; a fetch raises.
    """
    shape, zero = tf.constant([], tf.int32), tf.constant(0.0)

    def wait(outcome: Any) -> None:
        with tf.device(place.full):
            tf.fill(shape, zero).numpy()

    return wait


def _fetch_one(outcome: Any) -> None:
    for leaf in tf.nest.flatten(outcome):
        if isinstance(leaf, private.EagerTensor) and leaf.shape.num_elements():
            tf.reshape(leaf, [-1])[0].numpy()
            return
