"""Tracebacks as they would be without the recorder: shown by IPython, or by the cell itself.

What prints a traceback in the cell, ``traceback.print_exc()`` or ``logging.exception``, walks
along it with functions of the module ``traceback``: while a recorded cell runs, these pass our
frames over.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any

__all__ = ["hide_frames", "show_frames", "without_frames"]

_PACKAGE = __name__.partition(".")[0]
#: The functions of ``traceback`` that walk along one; which there are differs with Python.
_WALKERS = ("walk_tb", "_walk_tb_with_full_positions")

_replaced: dict[str, tuple[Any, Any]] = {}


def hide_frames() -> None:
    """From now on no traceback that is printed has a frame that is there on our account."""
    for name in _WALKERS:
        original = getattr(traceback, name, None)
        if original is not None and name not in _replaced:
            _replaced[name] = original, _passing_over(original)
            setattr(traceback, name, _replaced[name][1])


def show_frames() -> None:
    """Undo :func:`hide_frames`, but for what somebody else has put there since."""
    while _replaced:
        name, (original, ours) = _replaced.popitem()
        if getattr(traceback, name, None) is ours:
            setattr(traceback, name, original)


def _passing_over(original: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    @functools.wraps(original)
    def walk(trace: TracebackType | None) -> Iterator[Any]:
        every = list(original(trace))
        return iter([each for each in every if not _is_recorders(each[0])] or every)

    return walk


def without_frames(trace: TracebackType | None) -> TracebackType | None:
    """The same traceback, its links past every frame that there is on our account.

    One that has no other frame is left as it is: a traceback there must be.
    """
    kept, at = [], trace
    while at is not None:
        if not _is_recorders(at.tb_frame):
            kept.append(at)
        at = at.tb_next
    if not kept:
        return trace
    for one, following in zip(kept, [*kept[1:], None], strict=True):
        one.tb_next = following
    return kept[0]


def _is_recorders(frame: FrameType) -> bool:
    """Ours, or TensorFlow's own detour for whoever listens to its ops."""
    module = str(frame.f_globals.get("__name__", ""))
    if module == "tensorflow.python.eager.execute":
        return frame.f_code.co_name == "execute_with_callbacks"
    return module.startswith(_PACKAGE + ".")
