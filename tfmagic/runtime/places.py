"""What the devices were when a recording was made: there, wanted, and able to run its ops."""

from __future__ import annotations

from collections.abc import Iterable

from tfmagic.model import Op, Places
from tfmagic.runtime import placing, private

__all__ = ["places"]


def places(ops: Iterable[Op], default: str) -> Places:
    """The devices there are, the session's default, and which ops lack which kernels."""
    import tensorflow as tf

    ops = tuple(ops)
    if not private.started():
        return Places(default=default)
    known = placing.names()
    kinds = {placing.kind_of(name) for name in known}
    wanting = {
        (op.type, kind)
        for op in ops
        for kind in kinds
        if op.device and placing.kind_of(op.device) != kind
    }
    return Places(
        devices=known,
        default=default,
        soft=bool(tf.config.get_soft_device_placement()),
        no_kernel=tuple(sorted(pair for pair in wanting if not private.has_kernel(*pair))),
    )
