"""Which devices there are, what hardware they stand for, and what lives on them."""

from __future__ import annotations

import contextlib
import gc
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfmagic.model.device import Device, Devices, Policy
from tfmagic.runtime import private
from tfmagic.runtime.capture.log import handle_of
from tfmagic.runtime.cluster import Worker, workers
from tfmagic.runtime.devices import placing

__all__ = ["devices"]

#: Where Linux says how much memory this process may use, for both kinds of control group.
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def devices() -> Devices:
    """Every device, with what is known of it.

    TensorFlow is imported but not started by this: before it has made its devices, the
    physical ones are told as they will be.
    """
    homes = _variables()
    joined = workers()
    names = (n for n in placing.names() if placing.is_local(n) or not _is_lost(n, joined))
    found = tuple(_device(name, homes, joined) for name in names)
    found += tuple(_lost(worker) for worker in joined if worker.lost is not None)
    known = {device.name for device in found if device.alive is not False}
    return Devices(
        devices=found,
        policy=_policy(),
        default=placing.default(),
        elsewhere=sum(count for name, (count, _) in homes.items() if name not in known),
    )


def _is_lost(name: str, joined: tuple[Worker, ...]) -> bool:
    return any(name.startswith(w.prefix + "/") and w.lost is not None for w in joined)


def _lost(worker: Worker) -> Device:
    """A worker that no longer answers."""
    name = f"{worker.prefix}/device:CPU:0"
    return Device(name, "CPU", address=worker.target.address, unknown="dead", alive=False)


def _device(name: str, homes: dict[str, tuple[int, int]], joined: tuple[Worker, ...]) -> Device:
    kind = placing.kind_of(name)
    worker = next((w for w in joined if name.startswith(w.prefix + "/")), None)
    count, size = homes.get(name, (0, 0))
    local = placing.is_local(name)
    physical, sharing = placing.hardware_of(name) if local else (None, 1)
    hardware, capability = _hardware(physical, kind) if local else (_told(worker, kind), "")
    used, peak, unknown = _memory(name, local)
    return Device(
        name=name,
        kind=kind,
        hardware=hardware,
        capability=capability,
        cores=os.cpu_count() if local and kind == "CPU" else None,
        used=used,
        peak=peak,
        limit=_limit(name, kind, physical) if local else None,
        unknown=unknown,
        variables=count,
        variable_bytes=size,
        default=name == placing.default(),
        sharing=sharing,
        address=worker.target.address if worker is not None else "",
        alive=None if worker is None else True,
        round_trip=worker.told.seconds if worker is not None else None,
    )


def _policy() -> Policy:
    import tensorflow as tf

    growing = (d for d in tf.config.list_physical_devices("GPU") if placing.grows(d))
    return Policy(
        started=private.started(),
        soft=bool(tf.config.get_soft_device_placement()),
        growth=tuple(d.name.rpartition("device:")[2] for d in growing),
        jit=bool(tf.config.optimizer.get_jit()),
        intra_threads=tf.config.threading.get_intra_op_parallelism_threads(),
        inter_threads=tf.config.threading.get_inter_op_parallelism_threads(),
    )


# --- hardware ------------------------------------------------------------------------------


def _told(worker: Worker | None, kind: str) -> str:
    """What a worker says of its own hardware."""
    told = worker.told.devices if worker is not None else ()
    return next((hardware for k, hardware, _ in told if k == kind and hardware), "")


def _hardware(physical: Any, kind: str) -> tuple[str, str]:
    """The name of the hardware and, of a GPU, its compute capability."""
    import tensorflow as tf

    if kind == "CPU":
        return _processor(), ""
    if physical is None:
        return "", ""
    details = tf.config.experimental.get_device_details(physical)
    capability = details.get("compute_capability") or ()
    return str(details.get("device_name", "")), ".".join(map(str, capability))


def _processor() -> str:
    """The processor's own name, as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


# --- memory --------------------------------------------------------------------------------


def _memory(name: str, local: bool) -> tuple[int | None, int | None, str]:
    """Bytes in use and at most in use so far, or why they are not known."""
    import tensorflow as tf

    if not local:
        return None, None, "remote"
    if not private.started():
        return None, None, "not_started"
    try:
        told = tf.config.experimental.get_memory_info(name.rpartition("device:")[2])
    except (ValueError, TypeError, RuntimeError, tf.errors.OpError) as error:
        return None, None, str(error).partition("\n")[0][:200] or type(error).__name__
    return int(told["current"]), int(told["peak"]), ""


def _limit(name: str, kind: str, physical: Any) -> int | None:
    """The most bytes that can be used on a local device, where it is known."""
    if kind == "CPU":
        return _machine_memory()
    set_to = placing.configured_limit(name, physical)
    return set_to if set_to is not None else private.memory_limits().get(name)


def _machine_memory() -> int | None:
    """The machine's memory, or the part of it that this process is allowed."""
    found = []
    for path in _LIMITS:
        try:
            found.append(int(Path(path).read_text(encoding="ascii")))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    with contextlib.suppress(ValueError, OSError, AttributeError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(found, default=None)


# --- variables -----------------------------------------------------------------------------


def _variables() -> dict[str, tuple[int, int]]:
    """Full device name → how many variables live there, and their bytes."""
    homes: dict[str, tuple[int, int]] = {}
    for device, size in _living():
        count, total = homes.get(device, (0, 0))
        homes[device] = (count + 1, total + size)
    return homes


def _living() -> Iterator[tuple[str, int]]:
    """The home and the bytes of every variable that is alive in this process.

    Those of Keras stand on TensorFlow's own, which are the ones found here.
    """
    seen = set()
    for value in gc.get_objects():
        # ``isinstance`` would ask the object itself, and a lazy one would wake up
        if not issubclass(type(value), private.Variable):
            continue
        handle = handle_of(value)
        if handle is None or handle._id in seen:
            continue
        seen.add(handle._id)
        shape, dtype = value.shape, value.dtype
        known = shape.num_elements() if shape.is_fully_defined() else 0
        yield handle.device, (known or 0) * (dtype.size or 0)
