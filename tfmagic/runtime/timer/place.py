"""Devices to time on: found by name, given the inputs, and waited for."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfmagic.analysis.notation import device as short_name
from tfmagic.errors import OptionError
from tfmagic.runtime import private

__all__ = ["Place", "default_place", "on_device", "resolve", "waiter"]

#: Devices that TensorFlow lists and no op of a user's can be put on.
_INTERNAL = ("XLA_", "COMPOSITE", "TPU_SYSTEM")


@dataclass(frozen=True, slots=True)
class Place:
    """One logical device: its full name, and the name it is called by (``GPU:0``).

    ``default`` is where TensorFlow puts an op that nobody placed.
    """

    full: str
    kind: str
    default: bool = False

    @property
    def name(self) -> str:
        """``CPU:0``; a device of another process with its job, ``worker/CPU:0``."""
        return short_name(self.full)

    @property
    def remote(self) -> bool:
        """Whether it belongs to another process."""
        return "/job:" in self.full and "/job:localhost/" not in self.full

    @property
    def asynchronous(self) -> bool:
        """Whether Python goes on before an op here is done."""
        return self.kind != "CPU" or self.remote or private.is_async()

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Puts ops on this device; nothing, where they go there anyway."""
        return contextlib.nullcontext() if self.default else tf.device(self.full)


def places() -> tuple[Place, ...]:
    """Every device that ops can be put on."""
    found = [d for d in tf.config.list_logical_devices() if not d.device_type.startswith(_INTERNAL)]
    chosen = private.current_device()
    local = [d for d in found if "/job:localhost/" in d.name or "/job:" not in d.name]
    accelerated = [d for d in local if d.device_type != "CPU"]
    first = chosen or (accelerated or local)[0].name
    return tuple(Place(d.name, d.device_type, d.name == first) for d in found)


def default_place() -> Place:
    """Where TensorFlow puts an op that nobody placed."""
    everything = places()
    return next((p for p in everything if p.default), everything[0])


def resolve(wanted: Sequence[str]) -> tuple[Place, ...]:
    """The devices of the names in ``wanted``: ``CPU:0``, ``gpu``, a full name, or ``all``.

    TensorFlow itself takes any name and quietly computes on the CPU.  Raises
    :class:`~tfmagic.errors.OptionError` for a device that is not there.
    """
    everything = places()
    found: dict[str, Place] = {}
    for given in wanted:
        chosen = everything if given.lower() == "all" else (_one(given, everything),)
        found |= {place.full: place for place in chosen}
    return tuple(found.values()) or (default_place(),)


def _one(given: str, everything: Iterable[Place]) -> Place:
    name = given.strip().lstrip("/").removeprefix("device:").upper()
    name = name if ":" in name or "/" in name else f"{name}:0"
    for place in everything:
        if name in (place.name.upper(), place.full.lstrip("/").upper()):
            return place
    known = [place.name for place in everything]
    near = difflib.get_close_matches(name, known, 1, 0.75)
    raise OptionError(
        "bench.no_device", given=given, known=", ".join(known), near=near[0] if near else known[0]
    )


def on_device(value: Any, place: Place) -> Any:
    """``value`` with its tensors and variables copied to ``place``, where they lie elsewhere."""
    with tf.device(place.full):
        return tf.nest.map_structure(lambda leaf: _leaf_on(leaf, place), value)


def _leaf_on(leaf: Any, place: Place) -> Any:
    if isinstance(leaf, tf.Variable) and type(leaf).__module__.startswith("tensorflow."):
        return (
            leaf
            if short_name(leaf.device) == place.name
            else tf.Variable(leaf, trainable=leaf.trainable)
        )
    if isinstance(leaf, private.EagerTensor) and short_name(leaf.device) != place.name:
        return tf.identity(leaf)
    return leaf


def waiter(place: Place) -> Callable[[Any], None] | None:
    """What waits until ``place`` has done all that was given it; None where none need wait.

    On kinds of devices that TensorFlow's own barrier does not know, a number of the result
    is fetched instead.
    """
    if not place.asynchronous:
        return None
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


def _fetch_one(outcome: Any) -> None:
    for leaf in tf.nest.flatten(outcome):
        if isinstance(leaf, private.EagerTensor) and leaf.shape.num_elements():
            tf.reshape(leaf, [-1])[0].numpy()
            return
