"""What the cell does to its own tapes: when they listen, what they were told to watch."""

from __future__ import annotations

import contextlib
import functools
import sys
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NamedTuple

from tfmagic.runtime import private
from tfmagic.runtime.capture.hook import Hook, hooked
from tfmagic.runtime.capture.log import SourceStack, handle_of
from tfmagic.runtime.capture.structure import leaves


class Event(NamedTuple):
    """``kind`` is ``enter``, ``leave``, ``watch`` or ``reset``; ``keys`` the ids watched."""

    kind: str
    at: int
    place: SourceStack
    keys: tuple[int, ...] = ()


Note = Callable[[Any, str, Any, FrameType], None]


class TapeEvents:
    """The events of every tape that is still alive; it keeps none of them alive."""

    def __init__(self) -> None:
        self._of: weakref.WeakKeyDictionary[Any, list[Event]] = weakref.WeakKeyDictionary()

    def add(self, tape: Any, event: Event) -> None:
        """One more event of ``tape``; those before a reset say nothing any more."""
        known = self._of.setdefault(tape, [])
        if event.kind == "watch" and not any(e.kind == "enter" for e in known):
            return  # entered before anybody listened: what is known would mislead
        known.append(event)

    def of(self, tape: Any) -> tuple[Event, ...]:
        """All events of ``tape``, where its beginning was heard."""
        known = self._of.get(tape, [])
        return tuple(known) if known and known[0].kind == "enter" else ()


@contextlib.contextmanager
def heard_tapes(note: Note) -> Iterator[None]:
    """Inside the block ``note(tape, kind, watched, frame)`` is told of every event."""
    with contextlib.ExitStack() as undo:
        told = undo.enter_context(hooked(note))
        for method, kind in private.tape_methods().items():
            original = getattr(private.GradientTape, method)
            heard = _heard(original, kind, told)
            undo.enter_context(private.replaced(private.GradientTape, method, heard))
        yield


def _heard(original: Callable[..., Any], kind: str, whom: Hook[Note]) -> Callable[..., Any]:
    @functools.wraps(original)
    def told(tape: Any, *args: Any, **named: Any) -> Any:
        if (note := whom.listener) is not None:
            note(tape, kind, (*args, *named.values()), sys._getframe(1))
        return original(tape, *args, **named)

    return told


#: Every wrapper's code: an interrupt inside would leave a tape open, or half opened.
TOLD = _heard(lambda *_: None, "", Hook(lambda *_: None)).__code__

#: What forgets a tape that is gone: Python says of an error there that it ignored it, and goes on.
FORGETS = vars(weakref.WeakKeyDictionary())["_remove"].__code__


def keys_in(watched: Any) -> tuple[int, ...]:
    """The ids of the tensors and variables in what ``watch`` was given."""
    found = []
    for _, value in leaves(watched):
        handle = handle_of(value)
        tensor = value if handle is None else handle
        if tensor.__class__ is private.EagerTensor:
            found.append(int(tensor._id))
    return tuple(found)
