"""What disturbs a block, seen by its cause: garbage collection and lost time on the core."""

from __future__ import annotations

import gc
import os
import time
from typing import Any

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = ["Watch"]

#: Seconds without a core, and their share of a block, from which on it is spoilt.  Threads of
#: one function that hand over to each other take less; another process takes milliseconds.
LEAST_LOST, LEAST_SHARE = 2e-4, 0.02
_NANO = 1e-9


class Watch:
    """Notes for each block whether the collector ran, or the thread had to wait for a core.

    Linux tells how long this thread was ready to run and did not; elsewhere the switches that
    were forced on it are counted; where neither is told (Windows), waiting is not seen.
    """

    def __init__(self) -> None:
        self._collected: dict[str, Any] = {}
        # A function of C: what a signal handler raised inside one of Python's would be lost there.
        self._note = self._collected.__setitem__
        self._lost = self._switches = 0
        self._began = 0.0
        self._file: int | None = None

    def __enter__(self) -> Watch:
        gc.callbacks.append(self._note)
        try:
            self._file = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
            self._waited()
        except (OSError, IndexError, ValueError):
            self._close()
        return self

    def __exit__(self, *error: object) -> None:
        gc.callbacks.remove(self._note)
        self._close()

    def _close(self) -> None:
        file, self._file = self._file, None  # an interrupt must not have it closed twice
        if file is not None:
            os.close(file)

    def begin(self) -> None:
        """A block begins."""
        self._collected.clear()
        self._lost, self._switches = self._waited(), self._forced()
        self._began = time.perf_counter()

    def end(self) -> str:
        """``"preempted"``, ``"gc"`` or nothing."""
        length = time.perf_counter() - self._began
        lost = (self._waited() - self._lost) * _NANO
        if lost > max(LEAST_LOST, LEAST_SHARE * length):
            return "preempted"
        if self._file is None and self._forced() != self._switches:
            return "preempted"
        return "gc" if self._collected else ""

    def _waited(self) -> int:
        """Nanoseconds for which this thread was ready and had no core."""
        return 0 if self._file is None else int(os.pread(self._file, 100, 0).split()[1])

    def _forced(self) -> int:
        if not hasattr(resource, "getrusage"):
            return 0
        who = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)
        return resource.getrusage(who).ru_nivcsw
