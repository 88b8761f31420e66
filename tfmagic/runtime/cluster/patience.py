"""Waits that end: work in a thread of its own, given up when its time is over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, TypeVar

__all__ = ["TooLong", "all_within", "within"]

T = TypeVar("T")


class TooLong(Exception):
    """The time was over before the work was done; its thread is left to itself."""


def within(seconds: float, work: Callable[[], T]) -> T:
    """What ``work`` answers, or raises; :class:`TooLong` where it takes more than ``seconds``."""
    (outcome,) = all_within(seconds, [work])
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def all_within(seconds: float, works: Iterable[Callable[[], T]]) -> list[T | BaseException]:
    """The answers of works done side by side; an exception stands in the place of its answer."""
    outcomes: list[Any] = []
    threads = []
    for work in works:
        place = len(outcomes)
        outcomes.append(TooLong())

        def run(work: Callable[[], T] = work, place: int = place) -> None:
            try:
                outcomes[place] = work()
            except BaseException as error:
                outcomes[place] = error

        threads.append(threading.Thread(target=run, daemon=True, name="tfmagic-waits"))
    for thread in threads:
        thread.start()

    end = monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - monotonic()))
    return list(outcomes)
