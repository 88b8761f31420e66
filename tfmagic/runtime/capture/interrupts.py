"""Signals that come at a bad moment: Ctrl-C is put off, and what a handler raises is never lost.

An interrupt must not fall while ears are put on, taken off or write down an op: half of it
would stay behind.  So for as long as a cell is recorded, one that falls into such code waits
until that is done.
"""

from __future__ import annotations

import _thread
import functools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from traceback import walk_tb
from types import CodeType, FrameType, TracebackType
from typing import Any

#: Seconds by which an interrupt is put off; what it must wait for takes microseconds.
MOMENT = 0.001
_ask, _put = signal.getsignal, signal.signal


def _send() -> None:
    """Interrupt the main thread, also out of a wait, as only a signal that it is sent does."""
    main = threading.main_thread().ident
    if main is not None and hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, signal.SIGINT)
    else:
        _thread.interrupt_main()


class Interrupts:
    """Hands Ctrl-C to the handler that was there, but never in the midst of ``undisturbed``.

    Trying again after a moment is not enough: another thread sends it when the main one has
    let go of the interpreter, which is inside an op, and the next Python to run is what
    writes the op down.  So that asks, when it is done, whether one is ``waiting``.
    """

    __slots__ = ("_again", "_undisturbed", "before", "waiting")

    def __init__(self, before: Callable[..., Any], undisturbed: frozenset[CodeType]) -> None:
        self.waiting = False
        self._again = False
        self.before = before
        self._undisturbed = undisturbed

    def handle(self, number: int, frame: FrameType | None) -> Any:
        """The handler of the signal while the block runs."""
        again, self._again = self._again, False
        if again and not self.waiting:
            return None  # it was handed on in the meantime
        if runs_one_of(self._undisturbed, frame):
            self.waiting = True
            # a name of its own: the next thread of the user's is still called Thread-1
            threading.Thread(target=self._retry, name="tfmagic-interrupt", daemon=True).start()
            return None
        self.waiting = False
        return self.before(number, frame)

    def hand_on(self, frame: FrameType) -> None:
        """Interrupt the code of ``frame``, which is not ours, with the one that waits."""
        if threading.current_thread() is threading.main_thread():
            self.handle(signal.SIGINT, frame)

    def _retry(self) -> None:
        time.sleep(MOMENT)
        if self.waiting:
            self._again = True
            _send()


@contextmanager
def interrupts_put_off(undisturbed: frozenset[CodeType]) -> Iterator[Interrupts]:
    """Ctrl-C is handled as before inside the block, but never while one of ``undisturbed`` runs
    or anything that it called.

    Who asks ``signal`` for the handler is told the one that would be there without us, and a
    function that the cell sets is called where that one was.
    """
    before = _ask(signal.SIGINT)
    mine = threading.current_thread() is threading.main_thread() and callable(before)
    interrupts = Interrupts(before if callable(before) else id, undisturbed)
    if not mine:
        yield interrupts
        return
    _put(signal.SIGINT, interrupts.handle)
    _exchange(_THEIRS, _OURS)
    try:
        yield interrupts
    finally:
        _take_out(interrupts)
        if not _chain(signal.SIGINT):
            _exchange(_OURS, _THEIRS)


def _exchange(there: dict[str, Any], new: dict[str, Any]) -> None:
    """Put functions into ``signal``, but not where somebody else has put one."""
    for name, function in there.items():
        if getattr(signal, name) is function:
            setattr(signal, name, new[name])


def _chain(number: int) -> list[Interrupts]:
    """Those of ours that the signal comes by, on its way to the handler that is not ours."""
    found: list[Interrupts] = []
    handler = _ask(number)
    while isinstance(ours := getattr(handler, "__self__", None), Interrupts):
        found.append(ours)
        handler = ours.before
    return found


def _take_out(interrupts: Interrupts) -> None:
    chain = _chain(signal.SIGINT)
    place = chain.index(interrupts) if interrupts in chain else -1
    if place > 0:
        chain[place - 1].before = interrupts.before
    elif place == 0:
        _put(signal.SIGINT, interrupts.before)


@functools.wraps(_ask)
def getsignal(signalnum: Any) -> Any:
    """The handler that is there, but for ours."""
    chain = _chain(signalnum)
    return chain[-1].before if chain else _ask(signalnum)


@functools.wraps(_put)
def set_handler(signalnum: Any, handler: Any) -> Any:
    """Set a handler; a function comes behind ours, where one of ours is."""
    chain = _chain(signalnum)
    if not chain:
        return _put(signalnum, handler)
    shown = chain[-1].before
    _put(signalnum, chain[0].handle if callable(handler) else handler)
    if callable(handler):
        chain[-1].before = handler
    return shown


_THEIRS = {"getsignal": _ask, "signal": _put}
_OURS = {"getsignal": getsignal, "signal": set_handler}


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
    inner = (_inner(getsignal(number)) for number in signal.valid_signals())
    codes = (getattr(handler, "__code__", None) for handler in inner)
    return frozenset(code for code in codes if code is not None) | {Interrupts.handle.__code__}


def _inner(handler: Any) -> Any:
    """The plain function that a handler comes down to."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    if callable(handler) and not hasattr(handler, "__code__"):
        handler = type(handler).__call__ if not hasattr(handler, "__func__") else handler.__func__
    return handler
