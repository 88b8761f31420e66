"""The most that a device can compute in a second: above it, a time is impossible."""

from __future__ import annotations

import tensorflow as tf

from tfmagic.analysis.flops import gpu_peak
from tfmagic.runtime.timer.machine import cores, lines_of, model_of
from tfmagic.runtime.timer.place import TimedDevice

__all__ = ["peak"]

#: A clock that no processor exceeds, where the machine does not tell its own, in hertz.
FASTEST = 6.5e9
#: float32 operations in a cycle of one core, by the widest instructions it has: lanes × two
#: units × multiply and add.
_WIDTHS = (("avx512f", 64), ("amx", 2048), ("avx2", 32), ("avx", 16), ("sve", 64), ("asimd", 32))


def peak(place: TimedDevice, *, half: bool) -> float | None:
    """Operations per second; generous on a CPU, the data sheet's on a graphics card."""
    if place.remote:
        return None
    if place.kind == "GPU":
        allowed = tf.config.experimental.tensor_float_32_execution_enabled()
        return gpu_peak(model_of(place), tensor_float=bool(allowed), half=half)
    if place.kind != "CPU":
        return None
    flags = " ".join(x for x in lines_of("/proc/cpuinfo") if x.startswith(("flags", "Features")))
    widths = [width for word, width in _WIDTHS if word in flags]
    return cores() * _clock() * max(widths) * (2 if half else 1) if widths else None


def _clock() -> float:
    told = lines_of("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")
    return float(told[0]) * 1e3 if told and told[0].isdigit() else FASTEST
