"""Ops of other threads: the op callback does not hear them, but it is seen that there are some.

TensorFlow tells a profiler of every tensor that any thread makes.  It cannot bear an
exception there: Ctrl-C in that very moment would reach the user as a ``SystemError``, and
where Python has no room for one more call, the process ends.  So there is a profiler only
while there are threads of the user's, and until one of them has made a tensor.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tfmagic.runtime import private
from tfmagic.runtime.capture.hook import hooked
from tfmagic.runtime.capture.log import Log

#: The packages whose own kinds of threads run nothing of the user's.
_HOUSE = frozenset({"IPython", "ipykernel", "zmq", "debugpy", "tqdm"})


#: The thread in which work of ours is done apart from the user's tapes.
ASIDE = "tfmagic-differentiate"


class _Counter(threading.local):
    """Notes that a thread other than ``thread`` made a tensor, and is taken off then.

    Each thread finds a ``created`` of its own: in the one that is recorded it is a function
    of C that does nothing, since it is called for every tensor.
    """

    def __init__(self, thread: int, log: Log, heard: Callable[[], bool]) -> None:
        self._log = log
        self._heard = heard
        mine = threading.get_ident() == thread
        self.created: Callable[[Any], Any] = id if mine else self.count

    def count(self, _tensor: Any) -> None:
        """What TensorFlow calls for every tensor, in the thread that made it."""
        if not self._heard() and threading.current_thread().name != ASIDE:
            self._log.foreign += 1
            private.set_tensor_profiler(None)


#: What no interrupt may fall into: the code that TensorFlow's profiler calls.
COUNT = _Counter.count.__code__


@contextmanager
def other_threads(log: Log, heard: Callable[[], bool]) -> Iterator[None]:
    """Note in ``log.foreign`` that another thread made a tensor inside the block, but for one
    whose ops are ``heard``."""
    before, counter = log.foreign, _Counter(threading.get_ident(), log, heard)
    original = threading.Thread.start

    @functools.wraps(original)
    def start(thread: threading.Thread) -> None:
        unseen = told.listener is not None and log.foreign == before
        if unseen and not _is_of_the_house(thread):
            private.set_tensor_profiler(told.listener)
        original(thread)

    try:
        with hooked(counter) as told, private.replaced(threading.Thread, "start", start):
            if not all(map(_is_of_the_house, threading.enumerate())):
                private.set_tensor_profiler(counter)
            yield
    finally:
        private.set_tensor_profiler(None)


def _is_of_the_house(thread: threading.Thread) -> bool:
    """Whether a thread is none that could run ops of the user's: this one, whose ops are heard,
    or one of those that a notebook's kernel has by itself."""
    return (
        thread in (threading.current_thread(), threading.main_thread())
        or thread.name in ("IOPub", ASIDE)
        or type(thread).__module__.partition(".")[0] in _HOUSE
    )
