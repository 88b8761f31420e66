"""Which names the Python code behind a ``tf.function`` mentions.

A function that mentions ``W`` and yet did not take ``W`` in at this call took something
else when it was traced: a plain number, an array, or the variable of that name then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import CodeType, FrameType, FunctionType
from typing import Any

from tfmagic.runtime import private
from tfmagic.runtime.capture.log import Traced

#: Frames between the call of a traced graph and the ``tf.function`` it belongs to.
_FAR = 8
#: How far the user's own functions are followed from the one that was decorated.
_DEEP = 4


class Mentions:
    """Looks up the Python code of a call; each code is read once."""

    def __init__(self, is_users: Mapping[str, bool]) -> None:
        self._is_users = is_users
        self._known: dict[CodeType, Traced] = {}

    def around(self, frame: FrameType | None) -> Traced | None:
        """What is known of the ``tf.function`` whose traced graph ``frame`` calls."""
        for _ in range(_FAR):
            if frame is None:
                return None
            owner = frame.f_locals.get("self")
            function = private.python_function(owner) if owner is not None else None
            if function is not None:
                return self._of(function)
            frame = frame.f_back
        return None

    def _of(self, function: Any) -> Traced:
        code = function.__code__
        if code not in self._known:
            names = dict.fromkeys(self._names(function, _DEEP))
            self._known[code] = Traced(code, tuple(names))
        return self._known[code]

    def _names(self, function: Any, depth: int) -> Iterator[str]:
        names = tuple(dict.fromkeys(_code_names(function.__code__)))
        yield from names
        for name in names if depth else ():
            called = function.__globals__.get(name)
            called = private.python_function(called) or called
            if isinstance(called, FunctionType) and self._is_users[called.__code__.co_filename]:
                yield from self._names(called, depth - 1)


def _code_names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    yield from code.co_freevars
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code_names(constant)
