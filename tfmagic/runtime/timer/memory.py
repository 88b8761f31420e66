"""Memory of a run: its peak, and whether the next point of a sweep will fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfmagic.model.bench import Timing
from tfmagic.runtime.capture.interrupts import Carried
from tfmagic.runtime.timer.place import TimedDevice

__all__ = ["MEMORY_ERRORS", "peak_memory", "will_fit"]

MEMORY_ERRORS = (MemoryError, tf.errors.ResourceExhaustedError)
#: Share of the free memory that a point of a sweep is let take.
MOST = 0.8


def peak_memory(place: TimedDevice, run: Callable[[int], Any]) -> int | None:
    """The most bytes that one run held on its device at once, above what was held before.

    None where TensorFlow does not tell: on another process's devices, and on a CPU without
    oneDNN.
    """
    if place.remote:
        return None
    experimental = tf.config.experimental
    with Carried(), place.scope():
        experimental.reset_memory_stats(place.name)
        before = experimental.get_memory_info(place.name)["current"]
        held = run(1)
        peak = experimental.get_memory_info(place.name)["peak"]
        del held
        # A CPU counts large pieces only: none is not the same as nothing.
        return int(peak) - int(before) if peak > before else None
    return None


def will_fit(done: Sequence[Timing], point: Mapping[str, float]) -> bool:
    """Whether the next point can be let run: on a CPU that runs out of memory the system ends
    the whole kernel, so what the last two points took is carried on, in logarithms.

    Where that cannot be told, it is let run.
    """
    free = _free()
    taken = [t for t in done if t.memory and t.device.startswith("CPU") and t.point]
    if free is None or len(point) != 1 or not taken:
        return True
    ((_, value),) = point.items()
    by_value = {t.point[0][1]: max(t.memory or 0, 1) for t in taken}
    if len(by_value) < 2:
        return True
    (x, a), (y, b) = sorted(by_value.items())[-2:]
    if not (0 < x < y < value) or b <= a:
        return True
    power = math.log(b / a) / math.log(y / x)
    return bool(b * (value / y) ** power < MOST * free)


def _free() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable")]
    return int(found[0]) * 1024 if found else None
