"""Ops of other threads: the op callback does not hear them, but their tensors are counted.

TensorFlow tells a profiler of every tensor that any thread makes.  It cannot bear an
exception there: Ctrl-C in that very moment would reach the user as a ``SystemError``.
So for as long as it listens, an interrupt that falls into it is put off for a moment.
"""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from tfmagic.runtime import private
from tfmagic.runtime.log import Log

#: Seconds by which an interrupt is put off; what it must wait for takes microseconds.
_MOMENT = 0.001


class _Counter:
    """Counts the tensors that threads other than its own make."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._thread = threading.get_ident()

    def created(self, _tensor: Any) -> None:
        """What TensorFlow calls for every tensor, in the thread that made it."""
        if threading.get_ident() != self._thread:
            self._log.foreign += 1


@contextmanager
def other_threads(log: Log) -> Iterator[None]:
    """Count other threads' tensors in ``log.foreign`` inside the block."""
    with _interrupts_put_off():
        private.set_tensor_profiler(_Counter(log))
        try:
            yield
        finally:
            private.set_tensor_profiler(None)


@contextmanager
def _interrupts_put_off() -> Iterator[None]:
    """Ctrl-C is handled as before, but never inside :meth:`_Counter.created`."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return

    def handle(number: int, frame: FrameType | None) -> Any:
        if frame is not None and frame.f_code is _Counter.created.__code__:
            threading.Timer(_MOMENT, _thread.interrupt_main).start()
            return None
        return before(number, frame)

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is handle:  # else the cell has set its own
            signal.signal(signal.SIGINT, before)
