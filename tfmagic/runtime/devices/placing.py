"""Sending work to a device: names as one writes them, a scope, the session's default.

TensorFlow takes a name that does not exist without a word and runs on the CPU.  Here
every name is looked up first.
"""

from __future__ import annotations

import difflib
import re
from typing import Any

from tfmagic.analysis.notation import device as short
from tfmagic.errors import DeviceError
from tfmagic.runtime import private

__all__ = [
    "DeviceScope",
    "configured_limit",
    "default",
    "grows",
    "hardware_of",
    "is_local",
    "kind_of",
    "names",
    "resolve",
    "set_default",
    "short",
]

_LOCAL = "/job:localhost/replica:0/task:0/device:"
_REMOTE = re.compile(r"(\w+):(\d+)(?:/(?:device:)?(\w+:\d+))?$")


# --- names ---------------------------------------------------------------------------------


def names() -> tuple[str, ...]:
    """Full names of all devices, those of workers last; TensorFlow is not started by this."""
    import tensorflow as tf

    if private.started():
        return tuple(_full(device.name) for device in tf.config.list_logical_devices())
    return tuple(
        f"{_LOCAL}{kind}:{number}"
        for kind in _kinds()
        for number in range(sum(_parts(p) for p in tf.config.get_visible_devices(kind)))
    )


def _full(name: str) -> str:
    """``/device:CPU:0`` with its job, replica and task."""
    return name if name.startswith("/job:") else _LOCAL + name.rpartition("device:")[2]


def _kinds() -> tuple[str, ...]:
    import tensorflow as tf

    return tuple(dict.fromkeys(d.device_type for d in tf.config.get_visible_devices()))


def kind_of(name: str) -> str:
    """``"CPU"``, ``"GPU"``, ``"TPU"`` …"""
    return short(name).rpartition("/")[2].partition(":")[0]


def is_local(name: str) -> bool:
    """Whether the device belongs to this process."""
    return name.startswith(_here())


def _here() -> str:
    """Job, replica and task of this process."""
    return private.local_task() if private.started() else _LOCAL.removesuffix("/device:")


def resolve(given: str) -> str:
    """The full name of the device that ``given`` stands for.

    Taken are ``GPU:0``, ``gpu:0``, ``GPU`` (its number 0), ``worker:1`` and
    ``worker:1/CPU:0``, and every way in which TensorFlow writes them.  Raises
    :class:`~tfmagic.errors.DeviceError`, which lists the devices, for any other.
    """
    known = names()
    for wanted in _readings(given.strip()):
        matching = [name for name in known if name.lower() == wanted.lower()]
        if matching:
            return matching[0]
    task = _task(given)
    on_task = [name for name in known if task and name.lower().startswith(task.lower())]
    if on_task:  # a whole worker: its best device
        return min(on_task, key=lambda name: (kind_of(name) == "CPU", name))
    raise _unknown(given, known)


def _readings(given: str) -> list[str]:
    """The full names that ``given`` may mean."""
    bare = given.lstrip("/")
    remote = _REMOTE.match(bare)
    if remote and remote[3]:
        return [f"/job:{remote[1]}/replica:0/task:{remote[2]}/device:{remote[3]}"]
    if bare.lower().startswith("job:"):
        return [_completed(bare)]
    bare = bare.removeprefix("device:").removeprefix("DEVICE:")
    here = _here() + "/device:"
    return [here + bare, f"{here}{bare}:0"]


def _completed(spec: str) -> str:
    """``job:worker/task:1/device:CPU:0`` with what goes without saying."""
    parts = dict(part.split(":", 1) for part in spec.split("/") if ":" in part)
    job, replica, task = parts.get("job", ""), parts.get("replica", "0"), parts.get("task", "0")
    kind, _, number = parts.get("device", "").partition(":")
    if not kind:
        kind, number = next(((k, parts[k]) for k in ("GPU", "CPU", "TPU") if k in parts), ("", ""))
    return f"/job:{job}/replica:{replica}/task:{task}/device:{kind}:{number or 0}"


def _task(given: str) -> str:
    """``/job:worker/replica:0/task:1/`` where ``given`` names a worker and no device of it."""
    remote = _REMOTE.match(given.strip().lstrip("/"))
    if remote and not remote[3]:
        return f"/job:{remote[1]}/replica:0/task:{remote[2]}/"
    if "job:" in given.lower() and "device" not in given.lower():
        return _completed(given.strip().lstrip("/")).partition("device:")[0]
    return ""


def _unknown(given: str, known: tuple[str, ...]) -> DeviceError:
    words = [short(name) for name in known]
    kind = given.partition(":")[0].upper()
    alike = [w for w in words if kind in w or kind not in ("CPU", "GPU", "TPU")]
    close = difflib.get_close_matches(given, alike, 1, 0.5)
    listed = ", ".join(words)
    if close and close[0] != given:
        return DeviceError("device.unknown_near", given=given[:100], known=listed, near=close[0])
    return DeviceError("device.unknown", given=given[:100], known=listed)


# --- the hardware behind a name ------------------------------------------------------------


def hardware_of(name: str) -> tuple[Any, int]:
    """The physical device that a local one stands for, and how many share it."""
    physical, _, sharing = _origin(name)
    return physical, sharing


def configured_limit(name: str, physical: Any) -> int | None:
    """The bytes that a device was limited to, or None."""
    import tensorflow as tf

    if physical is None:
        return None
    parts = tf.config.get_logical_device_configuration(physical) or ()
    _, place, _ = _origin(name)
    megabytes = parts[place].memory_limit if place < len(parts) else None
    return None if megabytes is None else int(megabytes * 2**20)


def grows(physical: Any) -> bool:
    """Whether a device takes memory as it needs it, not all of it at once."""
    import tensorflow as tf

    try:
        return bool(tf.config.experimental.get_memory_growth(physical))
    except ValueError:  # a kind of device that does not know of it
        return False


def _origin(name: str) -> tuple[Any, int, int]:
    """Physical device, place among those that share it, and their number."""
    import tensorflow as tf

    kind, number = kind_of(name), int(name.rpartition(":")[2])
    for physical in tf.config.get_visible_devices(kind):
        parts = _parts(physical)
        if number < parts:
            return physical, number, parts
        number -= parts
    return None, 0, 1


def _parts(physical: Any) -> int:
    import tensorflow as tf

    return len(tf.config.get_logical_device_configuration(physical) or (None,))


# --- a scope -------------------------------------------------------------------------------


class DeviceScope:
    """``with tf.device``, for a name that was looked up, and closed whatever happened inside."""

    def __init__(self, given: str) -> None:
        self.name = resolve(given)
        self._before: list[tuple[Any, Any]] = []

    def __enter__(self) -> DeviceScope:
        import tensorflow as tf

        scope = tf.device(self.name)
        self._before.append((private.open_scope(), scope))
        scope.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        before, scope = self._before.pop()
        try:
            scope.__exit__(*raised)
        except RuntimeError:  # the block left a scope of its own open
            private.restore_scope(before)


# --- the session's default -----------------------------------------------------------------


class _Default:
    """The device scope that stands open for the session, in the thread that opened it."""

    def __init__(self) -> None:
        self.scope: DeviceScope | None = None

    @property
    def name(self) -> str:
        return "" if self.scope is None else self.scope.name

    def close(self) -> None:
        if self.scope is not None:
            if private.device_scope() != self.name:
                raise DeviceError("device.inside_scope")
            self.scope.__exit__(None, None, None)
            self.scope = None

    def open(self, given: str) -> None:
        scope = DeviceScope(given)
        self.close()
        if private.device_scope():
            raise DeviceError("device.inside_scope")
        self.scope = scope.__enter__()


_default = _Default()


def default() -> str:
    """The full name of the session's default device, or empty."""
    return _default.name


def set_default(given: str | None) -> str:
    """Send this thread's ops to ``given`` from now on; None lets TensorFlow choose again.

    Answers the device's full name.  Raises :class:`~tfmagic.errors.DeviceError` for a device
    that does not exist, and inside a ``with tf.device`` of the user's; the default that was
    there then stays.
    """
    if given:
        _default.open(given)
    else:
        _default.close()
    return _default.name
