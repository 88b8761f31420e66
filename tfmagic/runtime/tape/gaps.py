"""What a recording says of itself: what was not seen, what has no gradient, on what it ran."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Sequence
from typing import Any

from tfmagic.language import Message
from tfmagic.model import Gap, Places
from tfmagic.runtime import private
from tfmagic.runtime.capture.log import Log
from tfmagic.runtime.devices import placing


def no_gradient(op_types: set[str]) -> tuple[str, ...]:
    """Those of these types of op through which TensorFlow never passes a gradient."""
    return tuple(sorted(t for t in op_types if private.is_not_differentiable(t)))


def versions() -> tuple[tuple[str, str], ...]:
    """TensorFlow, Keras and Python as they are here."""
    import tensorflow as tf

    keras = getattr(sys.modules.get("keras"), "__version__", "")
    found = [("tensorflow", tf.__version__), ("python", sys.version.split()[0])]
    return tuple([*found, ("keras", keras)] if keras else found)


def gaps(log: Log, untaped: Sequence[str], opaque: int) -> tuple[Gap, ...]:
    """What was not seen, each kind once.

    ``untaped`` are the names of the functions that were called, ``opaque`` is the number of
    calls of Python that TensorFlow made.
    """
    found = []
    if log.foreign:
        found.append(_gap("threads", log.foreign))
    if untaped:
        named = list(dict.fromkeys(untaped))
        found.append(_gap("functions", len(untaped), names=", ".join(named[:5])))
    if log.untapped:
        names = [re.sub(r"^__\w*?inference_|_\d+$", "", name) for name in log.untapped]
        detail = next(iter(log.untapped.values()))
        found.append(_gap("untapped", len(names), names=", ".join(names[:5]), detail=detail))
    if opaque:
        found.append(_gap("python", opaque))
    if log.dropped:
        found.append(_gap("budget", log.dropped))
    lacking = private.missing_features()
    if lacking:
        found.append(_gap("features", len(lacking), names=lacking))
    if log.faults:
        found.append(_gap("fault", len(log.faults), detail=log.faults[0]))
    return tuple(found)


def _gap(code: str, count: int, **values: Any) -> Gap:
    return Gap(code, Message.of(f"gap.{code}", n=count, **values), count)


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
