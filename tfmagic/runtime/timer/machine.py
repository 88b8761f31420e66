"""The machine that a measurement was taken on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from tfmagic.model.bench import Machine
from tfmagic.runtime.devices.placing import hardware_of
from tfmagic.runtime.timer.place import TimedDevice

__all__ = ["cores", "lines_of", "load", "machine", "model_of"]


def machine(places: Sequence[TimedDevice] = ()) -> Machine:
    """System, processor, versions and the devices that are used."""
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        processor=processor(),
        cores=cores(),
        memory=_memory(),
        python=platform.python_version(),
        tensorflow=str(tf.__version__),
        load=load(),
        devices=tuple((place.name, model_of(place)) for place in places),
    )


def cores() -> int:
    """The processor cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def processor() -> str:
    """The processor's name."""
    for line in lines_of("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def load() -> float | None:
    """How many processes wanted to run over the last minute, on average."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def model_of(place: TimedDevice) -> str:
    """``Tesla T4`` for a graphics card, the processor's name for a CPU."""
    if place.remote:
        return ""
    if place.kind == "CPU":
        return processor()
    physical, _ = hardware_of(place.full)
    details = tf.config.experimental.get_device_details(physical) if physical else {}
    return str(details.get("device_name", ""))


def _memory() -> int:
    for line in lines_of("/proc/meminfo"):
        if line.startswith("MemTotal"):
            return int(line.split()[1]) * 1024
    return 0


def lines_of(path: str) -> list[str]:
    """The lines of one of the system's files; none where there is no such file."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
