"""Python's garbage collector, kept as calm as it would be without us.

A recorder keeps what it notes, about eight objects an op, and the collector runs by the
number of objects kept: without this, a large model is searched for garbage several
times in a cell on our account alone.  Who asks ``gc`` meanwhile is told what would be so
without us.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_SELDOM = 8
_threshold, _count = gc.get_threshold, gc.get_count
#: The threshold as it was and as it was made, and how many blocks are open.
_before: tuple[int, int, int] = (0, 0, 0)
_ours: tuple[int, int, int] = (0, 0, 0)
_open = 0


@contextmanager
def calm() -> Iterator[None]:
    """Collect an eighth as often inside the block, and inside any that overlaps it.

    What was set before is given back when the last block ends, unless the user's code has
    set its own meanwhile; a collector that is off stays off.
    """
    global _open
    _open += 1
    if _open == 1:
        _begin()
    try:
        yield
    finally:
        _open -= 1
        if not _open:
            _end()


@contextmanager
def off() -> Iterator[None]:
    """No collection inside the block, which is ours alone and short: a report makes hundreds of
    thousands of objects, and each full collection would search all of TensorFlow's, too."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def _begin() -> None:
    global _before, _ours
    _before = _threshold()
    _ours = (_before[0] * _SELDOM, *_before[1:])
    if _before[0]:
        gc.set_threshold(*_ours)
        gc.get_threshold, gc.get_count = get_threshold, get_count


def _end() -> None:
    if _threshold() == _ours:
        gc.set_threshold(*_before)
    for name, mine, theirs in (
        ("get_threshold", get_threshold, _threshold),
        ("get_count", get_count, _count),
    ):
        if getattr(gc, name) is mine:
            setattr(gc, name, theirs)


def get_threshold() -> tuple[int, int, int]:
    """Return the current collection thresholds."""
    now = _threshold()
    return _before if now == _ours else now


def get_count() -> tuple[int, int, int]:
    """Return a three-tuple of the current collection counts."""
    first, *others = _count()
    return min(first, get_threshold()[0] or first), others[0], others[1]
