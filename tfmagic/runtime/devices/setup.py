"""What TensorFlow takes only before it has made its devices: splits, limits, growth, threads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tfmagic.errors import DeviceError
from tfmagic.runtime import private
from tfmagic.runtime.devices import placing

__all__ = ["Setup", "apply"]

_MOST_PARTS = 64
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(I?)B?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Setup:
    """The settings that were asked for, as they were written.

    ``split`` is ``"CPU=4"``, ``limit`` is ``"GPU:0=4GB"`` (several with commas between), and
    ``threads`` is ``"2"`` or ``"2,1"``: within an op, and between ops.
    """

    split: str = ""
    growth: bool = False
    limit: str = ""
    threads: str = ""

    def __bool__(self) -> bool:
        return bool(self.split or self.growth or self.limit or self.threads)

    def line(self) -> str:
        """The options that ask for it."""
        given = (("--split", self.split), ("--limit", self.limit), ("--threads", self.threads))
        words = [f"{option} {value}" for option, value in given if value]
        return " ".join([*words, *(["--growth"] if self.growth else [])])


def apply(setup: Setup) -> bool:
    """Have TensorFlow go by ``setup``; False where it does so already.

    Everything is checked before anything is set.  Raises
    :class:`~tfmagic.errors.DeviceError` for what is not possible, and where TensorFlow has
    made its devices and they are others.
    """
    parts = _parts(setup)
    growing = _growing(setup, parts)
    threads = _threads(setup.threads)
    if private.started():
        if _is_so(parts, growing, threads):
            return False
        raise DeviceError("device.too_late", options=setup.line())
    _set(parts, growing, threads)
    return True


# --- reading -------------------------------------------------------------------------------


Parts = dict[Any, list[int | None]]


def _parts(setup: Setup) -> Parts:
    """Physical device → the limit in MiB of each part it is to have; None for no limit."""
    counts = {
        _physical(name, "--split"): _count(name, n) for name, n in _pairs("--split", setup.split)
    }
    limits: dict[Any, int] = {}
    for name, given in _pairs("--limit", setup.limit):
        physical = _physical(name, "--limit")
        if physical.device_type == "CPU":
            raise DeviceError("device.no_cpu_limit")
        limits[physical] = _megabytes(name, given)
    for physical, count in counts.items():
        if physical.device_type != "CPU" and count > 1 and physical not in limits:
            raise DeviceError("device.split_needs_limit", device=_short(physical))
    return {p: [limits.get(p)] * counts.get(p, 1) for p in {**counts, **limits}}


def _pairs(option: str, given: str) -> list[tuple[str, str]]:
    pairs = []
    for part in filter(None, (part.strip() for part in given.split(","))):
        name, sign, value = part.partition("=")
        if not sign or not name.strip() or not value.strip():
            raise DeviceError(f"device.form_{option[2:]}", given=part[:80])
        pairs.append((name.strip(), value.strip()))
    return pairs


def _physical(name: str, option: str) -> Any:
    """The physical device that ``CPU`` or ``GPU:1`` names."""
    import tensorflow as tf

    known = tf.config.get_visible_devices()
    for physical in known:
        if _short(physical).lower() in (name.lower(), f"{name.lower()}:0"):
            return physical
    listed = ", ".join(map(_short, known))
    raise DeviceError("device.unknown", given=name[:80], known=listed)


def _short(physical: Any) -> str:
    return str(physical.name).rpartition("physical_device:")[2]


def _count(name: str, given: str) -> int:
    if not given.isdecimal() or not 1 <= int(given) <= _MOST_PARTS:
        raise DeviceError("device.form_split", given=f"{name}={given}"[:80])
    return int(given)


def _megabytes(name: str, given: str) -> int:
    """``4GB`` (10⁹ bytes each), ``4GiB`` (2³⁰), ``4096MiB`` in MiB, as TensorFlow takes it."""
    size = _SIZE.fullmatch(given)
    if size:
        units = _BINARY if size[3] else _UNITS
        found = int(float(size[1]) * units.get(size[2].upper(), 0) / 2**20)
        if found:
            return found
    raise DeviceError("device.form_limit", given=f"{name}={given}"[:80])


def _growing(setup: Setup, parts: Parts) -> tuple[Any, ...]:
    import tensorflow as tf

    if not setup.growth:
        return ()
    cards = tuple(tf.config.get_visible_devices("GPU"))
    if not cards:
        raise DeviceError("device.no_gpu_growth")
    if any(card in parts for card in cards):
        raise DeviceError("device.growth_or_limit")
    return cards


def _threads(given: str) -> tuple[int | None, int | None]:
    """Threads within an op and between ops; None for what was not asked."""
    if not given:
        return None, None
    words = [word.strip() for word in given.split(",")]
    if len(words) > 2 or not all(word.isdecimal() and len(word) < 4 for word in words):
        raise DeviceError("device.form_threads", given=given[:80])
    return int(words[0]), int(words[1]) if len(words) > 1 else None


# --- comparing and setting -----------------------------------------------------------------


def _is_so(parts: Parts, growing: tuple[Any, ...], threads: tuple[int | None, int | None]) -> bool:
    import tensorflow as tf

    have = (
        tf.config.threading.get_intra_op_parallelism_threads(),
        tf.config.threading.get_inter_op_parallelism_threads(),
    )
    return (
        all(_limits(physical) == limits for physical, limits in parts.items())
        and all(placing.grows(card) for card in growing)
        and all(wanted in (None, is_) for wanted, is_ in zip(threads, have, strict=True))
    )


def _limits(physical: Any) -> list[int | None]:
    import tensorflow as tf

    parts = tf.config.get_logical_device_configuration(physical)
    return [part.memory_limit for part in parts] if parts else [None]


def _set(parts: Parts, growing: tuple[Any, ...], threads: tuple[int | None, int | None]) -> None:
    import tensorflow as tf

    try:
        for physical, limits in parts.items():
            tf.config.set_logical_device_configuration(
                physical, [tf.config.LogicalDeviceConfiguration(memory_limit=n) for n in limits]
            )
        for card in growing:
            tf.config.experimental.set_memory_growth(card, True)
        within, between = threads
        if within is not None:
            tf.config.threading.set_intra_op_parallelism_threads(within)
        if between is not None:
            tf.config.threading.set_inter_op_parallelism_threads(between)
    except (ValueError, RuntimeError) as error:
        detail = str(error).partition("\n")[0][:300]
        raise DeviceError("device.refused", detail=detail) from None
