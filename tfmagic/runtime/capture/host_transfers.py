"""Where values leave TensorFlow: ``.numpy()``, ``float(x)``, ``if x > 0:``.

The tensor's own methods are listened to while a cell is recorded.  ``np.sin(x)`` reads a
tensor's memory without asking any of them, so it is not heard here.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from tfmagic.runtime import private
from tfmagic.runtime.capture.hook import Hook, hooked

#: Method of an eager tensor → how the value left.
METHODS = {
    "numpy": "numpy",
    "__array__": "numpy",
    "__bool__": "bool",
    "__float__": "float",
    "__int__": "int",
    "__index__": "int",
    "__complex__": "complex",
}
#: Frames of TensorFlow's between the user's line and the tensor's method.
_FAR = 12

Note = Callable[[Any, str, FrameType], None]


@contextlib.contextmanager
def heard_exits(note: Note) -> Iterator[None]:
    """Inside the block ``note(tensor, how, frame)`` is called before a value leaves."""
    with contextlib.ExitStack() as undo:
        told = undo.enter_context(hooked(note))
        for owner, method in private.exit_methods(METHODS):
            original = getattr(owner, method)
            heard = _heard(original, METHODS[method], told)
            undo.enter_context(private.replaced(owner, method, heard))
        yield


def _heard(original: Callable[..., Any], how: str, whom: Hook[Note]) -> Callable[..., Any]:
    @functools.wraps(original)
    def leave(tensor: Any, *args: Any, **named: Any) -> Any:
        if (note := whom.listener) is not None:
            note(tensor, how, sys._getframe(1))
        return original(tensor, *args, **named)

    return leave


def user_frame(frame: FrameType | None, is_users: Callable[[str], bool]) -> FrameType | None:
    """The user's own frame, where it is so near that its line asked for the value."""
    for _ in range(_FAR):
        if frame is None or is_users(frame.f_code.co_filename):
            return frame
        frame = frame.f_back
    return None
