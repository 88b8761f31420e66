"""Signals that come at a bad moment: Ctrl-C is put off, and what a handler raises is never lost."""

from __future__ import annotations

import _thread
import functools
import signal
import threading
import time
from traceback import walk_tb
from types import CodeType, FrameType, TracebackType
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
    """Whether a handler of a signal raised it, or what it came of: AutoGraph puts an error of its
    own in the place of one that is raised while it traces."""
    codes, seen = handlers(), set[int]()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if any(frame.f_code in codes for frame, _ in walk_tb(cause.__traceback__)):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def runs_one_of(codes: frozenset[CodeType], frame: FrameType | None) -> bool:
    """Whether ``frame`` is a call of one of these functions, or was called by one."""
    while frame is not None:
        if frame.f_code in codes:
            return True
        frame = frame.f_back
    return False


def handlers() -> frozenset[CodeType]:
    """The code of every signal handler that is written in Python."""
    inner = (_inner(signal.getsignal(number)) for number in signal.valid_signals())
    codes = (getattr(handler, "__code__", None) for handler in inner)
    return frozenset(code for code in codes if code is not None)


def _inner(handler: Any) -> Any:
    """The plain function that a handler comes down to."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    if callable(handler) and not hasattr(handler, "__code__"):
        handler = type(handler).__call__ if not hasattr(handler, "__func__") else handler.__func__
    return handler
