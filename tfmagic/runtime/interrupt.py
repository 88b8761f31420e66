"""Signals that come at a bad moment: Ctrl-C is put off, and what a handler raises is never lost."""

from __future__ import annotations

import _thread
import functools
import signal
import threading
import time
from collections.abc import Iterator
from types import CodeType, TracebackType
from typing import Any

#: Seconds by which an interrupt is put off; what it must wait for takes microseconds.
MOMENT = 0.001


def interrupt_later() -> None:
    """Have the main thread interrupted again in a moment."""
    # a name of its own: the next thread of the user's is still called Thread-1
    threading.Thread(target=_interrupt, name="tfmagic-interrupt", daemon=True).start()


def _interrupt() -> None:
    time.sleep(MOMENT)
    _thread.interrupt_main()


class Carried:
    """Inside the block an ``Exception`` is ours and goes no further, unless a signal handler of
    the user's raised it: an alarm that ends a loop falls into whatever runs just then."""

    __slots__ = ()

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        return isinstance(error, Exception) and not by_handler(error)


def by_handler(error: BaseException) -> bool:
    """Whether a handler of a signal raised it."""
    codes = set(_handlers())
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code in codes:
            return True
        trace = trace.tb_next
    return False


def _handlers() -> Iterator[CodeType]:
    """The code of every signal handler that is written in Python."""
    for number in signal.valid_signals():
        code = getattr(_inner(signal.getsignal(number)), "__code__", None)
        if code is not None:
            yield code


def _inner(handler: Any) -> Any:
    """The plain function that a handler comes down to."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    if callable(handler) and not hasattr(handler, "__code__"):
        handler = type(handler).__call__ if not hasattr(handler, "__func__") else handler.__func__
    return handler
