"""Tracing, noticed: which functions TensorFlow traces while a cell runs, why, and for how long.

TensorFlow looks into the cache of a function at each call, and puts what it traced there.
Both are listened to, and nothing stands in the way of the tracing itself: no frame of ours is in
the stack of an op that is made meanwhile.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import get_ident
from time import perf_counter
from types import CodeType, FrameType
from typing import Any, NamedTuple

from tfmagic.runtime import private
from tfmagic.runtime.capture.log import FrozenName, Log, SourceStack, TraceNote
from tfmagic.runtime.capture.source import UserFiles
from tfmagic.runtime.compiled.python_values import PythonValues, bound

__all__ = ["noticed_tracing"]

#: Notes of one recording; who traces more often than that is told so by the first ones.
_MOST = 2_000
#: Frames from a call of a function to the user's line.
_FAR = 60
_KERAS = re.compile(r"[\\/](tf_)?keras[\\/]")
_SHAPE, _DTYPE, _VALUE, _OBJECT, _STRUCTURE = "shape", "dtype", "value", "object", "structure"


@contextmanager
def noticed_tracing(log: Log) -> Iterator[None]:
    """Inside the block ``log`` notes what is traced in this thread, and what tracing froze."""
    owner = private.function_cache()
    if owner is None:
        yield
        return
    heard, thread = _Heard(log), get_ident()
    original_lookup, original_add = owner.lookup, owner.add

    def lookup(cache: Any, *args: Any, **named: Any) -> Any:
        found = original_lookup(cache, *args, **named)
        if get_ident() == thread:
            if found is None:
                heard.begins(sys._getframe(1))
            else:
                heard.called(found, sys._getframe(1))
        return found

    def add(cache: Any, function: Any, *args: Any, **named: Any) -> Any:
        if get_ident() == thread:
            heard.ends(cache, function, sys._getframe(1))
        return original_add(cache, function, *args, **named)

    with private.replaced(owner, "lookup", lookup), private.replaced(owner, "add", add):
        yield


class _Change(NamedTuple):
    """How an argument differs from what it was in another trace."""

    reason: str
    argument: str
    before: str
    now: str


class _Heard:
    """Notes of one recording."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._started: dict[int, float] = {}
        self._second: set[tuple[int, Any]] = set()
        self._made: dict[CodeType, Any] = {}
        self._users = UserFiles()
        self._values = PythonValues(self._users)

    def begins(self, frame: FrameType) -> None:
        """A function has no trace for what it is called with."""
        self._started[id(frame)] = perf_counter()

    def ends(self, cache: Any, traced: Any, frame: FrameType) -> None:
        """A function was traced, and what came of it goes into its cache."""
        end = perf_counter()
        try:
            self._note(cache, traced, frame, end - self._started.pop(id(frame), end))
        except Exception as error:  # ours to carry
            self._log.faults.append(f"{type(error).__name__}: {error}"[:300])

    def _note(self, cache: Any, traced: Any, frame: FrameType, seconds: float) -> None:
        options, inside = frame.f_locals["tracing_options"], private.building_graph()
        function = private.python_function(options)
        code = getattr(function, "__code__", None)
        if code is None or len(self._log.traces) >= _MOST:
            return
        own = self._users[code.co_filename]
        if not own and (inside or not _KERAS.search(code.co_filename)):
            return  # what TensorFlow traces for its own sake
        change = self._reason(cache, frame, function, code)
        name = str(options.name) if code.co_name.startswith("<") else code.co_name
        note = TraceNote(name, code, seconds, self._place(frame), own, inside, *change)
        self._log.traces.append(note)
        if not inside:
            self._values.look(traced, function, bound(options))

    def _reason(self, cache: Any, frame: FrameType, function: Any, code: CodeType) -> _Change:
        options, now = frame.f_locals["tracing_options"], frame.f_locals["lookup_func_type"]
        others = [other.function_type for other in cache.values()]
        known = self._made.setdefault(code, cache)
        self._made[code] = cache
        if others:
            change = min((_changed(other, now) for other in reversed(others)), key=len)[0]
            second = options.scope_type.value == private.NO_NEW_VARIABLES
            if change.reason == "context" and second and (id(cache), now) not in self._second:
                self._second.add((id(cache), now))
                return change._replace(reason="variables")
            return change
        # each object of a class has functions of its own
        anew = known is not cache and bound(options) is None
        return _Change("made_anew" if anew else "first", "", "", "")

    def _place(self, frame: FrameType | None) -> SourceStack:
        """The user's lines that led to a call, innermost first."""
        found: list[tuple[CodeType, int]] = []
        for _ in range(_FAR):
            if frame is None or (found and found[-1][0].co_name == "<module>"):
                break
            if self._users[frame.f_code.co_filename]:
                found.append((frame.f_code, frame.f_lineno))
            frame = frame.f_back
        return tuple(found)

    def called(self, traced: Any, frame: FrameType) -> None:
        """A function runs by a trace that was made before: is what it froze still so?"""
        for told in self._values.changed(traced):
            self._log.frozen.append(FrozenName(*told, self._place(frame)))


# --- what changed ----------------------------------------------------------------------------


def _changed(before: Any, now: Any) -> Sequence[_Change]:
    """Each argument that differs; at least one entry."""
    found = []
    for name, parameter in now.parameters.items():
        other = before.parameters.get(name)
        if other is None:
            found.append(_Change(_STRUCTURE, name, "", ""))
        else:
            found += _differences(name, other.type_constraint, parameter.type_constraint)
    return found or [_Change("context", "", "", "")]


def _differences(name: str, before: Any, now: Any) -> list[_Change]:
    if before == now or before is None or now is None:
        return []
    if type(before) is not type(now):
        return [_Change(_STRUCTURE, name, _words(before), _words(now))]
    if hasattr(now, "shape") and hasattr(now, "dtype"):
        reason = _SHAPE if before.dtype == now.dtype else _DTYPE
        told = (str(b) if reason == _SHAPE else b.name for b in _pair(before, now, reason))
        return [_Change(reason, name, *told)]
    parts, others = _parts(now), _parts(before)
    if parts is not None and others is not None:
        if parts.keys() != others.keys():
            return [_Change(_STRUCTURE, name, f"{len(others)}", f"{len(parts)}")]
        every = (_differences(f"{name}[{k!r}]", others[k], v) for k, v in parts.items())
        return [change for changes in every for change in changes]
    reason = _VALUE if type(now).__name__ == "Literal" else _OBJECT
    return [_Change(reason, name, _words(before), _words(now))]


def _pair(before: Any, now: Any, attribute: str) -> tuple[Any, Any]:
    return getattr(before, attribute), getattr(now, attribute)


def _parts(kind: Any) -> dict[Any, Any] | None:
    """What stands in a list, a tuple or a dictionary."""
    components = getattr(getattr(kind, "components_tuple", kind), "components", None)
    if isinstance(components, tuple):
        return dict(enumerate(components))
    mapping = getattr(kind, "mapping", None)
    return dict(mapping) if isinstance(mapping, dict) else None


def _words(kind: Any) -> str:
    """What an argument was, as short as can be: its value, or what it is."""
    value = getattr(kind, "value", None)
    if type(kind).__name__ == "Literal":
        return repr(value)[:60]
    if hasattr(kind, "dtype") and hasattr(kind, "shape"):
        return f"{kind.dtype.name}{kind.shape}"[:60]
    return "" if type(kind).__name__ == "Weakref" else type(kind).__name__.lower()[:60]
