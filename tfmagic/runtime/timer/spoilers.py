"""What disturbs a block, seen by its cause: garbage collection and lost time on the core."""

from __future__ import annotations

import gc
import time
from typing import Any

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = ["Watch"]


class Watch:
    """Notes for each block whether the collector ran or the process was put off its core.

    The operating system counts involuntary context switches of all the process's threads;
    where it does not (Windows), pre-emption is not seen, and :attr:`sees_preemption` says so.
    """

    sees_preemption = resource is not None

    def __init__(self) -> None:
        self._collections = 0
        self._switches = 0
        self._seen = 0

    def __enter__(self) -> Watch:
        gc.callbacks.append(self._collected)
        return self

    def __exit__(self, *error: object) -> None:
        gc.callbacks.remove(self._collected)

    def begin(self) -> None:
        """A block begins."""
        self._seen = self._collections
        self._switches = _switches()

    def end(self) -> str:
        """``"gc"``, ``"preempted"`` or nothing."""
        if _switches() != self._switches:
            return "preempted"
        return "gc" if self._collections != self._seen else ""

    def _collected(self, phase: str, info: dict[str, Any]) -> None:
        self._collections += phase == "stop"


def _switches() -> int:
    return 0 if resource is None else resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def resolution() -> float:
    """The clock's step in seconds."""
    return time.get_clock_info("perf_counter").resolution
