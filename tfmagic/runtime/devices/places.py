"""What the devices were when a recording was made: there, wanted, and able to run its ops."""

from __future__ import annotations

from collections.abc import Collection

from tfmagic.model import Places
from tfmagic.runtime import private
from tfmagic.runtime.devices import placing

__all__ = ["places"]


def places(ran: Collection[tuple[str, str]], default: str) -> Places:
    """The devices there are, the session's default, and which ops lack which kernels.

    ``ran`` are the types of op that ran, each with the device that it ran on.
    """
    import tensorflow as tf

    if not private.started():
        return Places(default=default)
    known = placing.names()
    kinds = {placing.kind_of(name) for name in known}
    wanting = {
        (op_type, kind)
        for op_type, device in ran
        for kind in kinds
        if device and placing.kind_of(device) != kind
    }
    return Places(
        devices=known,
        default=default,
        soft=bool(tf.config.get_soft_device_placement()),
        no_kernel=tuple(sorted(pair for pair in wanting if not private.has_kernel(*pair))),
    )
