"""What a statement can reach from the names that it reads: variables, containers, draws.

Followed are lists and dictionaries, what functions name, hold and belong to, and the
attributes of objects whose class the user wrote.
"""

from __future__ import annotations

import contextlib
import dis
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from tfmagic.runtime.capture.log import held_variable
from tfmagic.runtime.capture.source import is_user_file

__all__ = ["CONTAINERS", "Stored", "is_users_object", "reached", "stored", "variable_in"]

CONTAINERS: tuple[type, ...] = (list, dict, set, deque, Counter, OrderedDict, defaultdict)
_DEEPEST, _MOST, _MOST_MEMBERS = 6, 20_000, 10_000
#: What nothing is looked for in.
_LEAVES = (str, bytes, int, float, complex, type(None), tf.Tensor, np.ndarray, ModuleType)


def reached(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Every object that can be reached, with the nearest name that leads there."""
    found: dict[int, tuple[str, Any]] = {}
    todo = deque((name, value, 0) for name, value in values.items())
    while todo and len(found) < _MOST:
        name, value, depth = todo.popleft()
        if id(value) in found or isinstance(value, _LEAVES[:-3]):
            continue
        found[id(value)] = name, value
        if depth < _DEEPEST and not isinstance(value, _LEAVES):
            with contextlib.suppress(Exception):  # an attribute may be anybody's code
                todo.extend([(inner or name, m, depth + 1) for inner, m in _members(value)])
    return list(found.values())


def variable_in(value: Any) -> Any:
    """TensorFlow's variable, if ``value`` is one or a variable of Keras's; else None."""
    if _is_keras(value):
        value = held_variable(value)
    return value if isinstance(value, tf.Variable) else None


def is_users_object(value: Any) -> bool:
    """Whether the class of ``value`` was written by the user, and its attributes can be told."""
    if not isinstance(getattr(value, "__dict__", None), dict) or _is_keras(value):
        return False
    return _is_users_class(type(value))


def _is_users_class(kind: type) -> bool:
    module = sys.modules.get(kind.__module__)
    if module is None or kind.__module__ in sys.builtin_module_names:
        return False
    file = getattr(module, "__file__", None)  # a notebook's __main__ has none
    return file is None or is_user_file(file)


def _is_keras(value: Any) -> bool:
    return any(kind.__module__.split(".")[0] == "keras" for kind in type(value).__mro__)


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    """What ``value`` holds, each with its own name where it has one."""
    if isinstance(value, dict):
        yield from (("", member) for member in list(value.values())[:_MOST_MEMBERS])
    elif isinstance(value, (list, tuple, set, frozenset, deque)):
        yield from (("", member) for member in list(value)[:_MOST_MEMBERS])
    elif isinstance(value, partial):
        yield from (("", member) for member in (value.func, *value.args, value.keywords))
    elif variable_in(value) is None:
        yield from (("", member) for member in _held(value))
        yield from _named(value)


def _held(value: Any) -> Iterable[Any]:
    """The variables of modules, models, optimisers and generators; attributes of the user's."""
    if isinstance(value, tf.random.Generator):
        return [value.state]
    users = [kind for kind in type(value).__mro__ if _is_users_class(kind)]
    held = [member for kind in users for member in vars(kind).values() if callable(member)]
    if isinstance(value, tf.Module) or _is_keras(value):
        for name in ("variables", "metrics", "optimizer", "state"):
            member = getattr(value, name, None)
            held += member if isinstance(member, (list, tuple)) else [member]
    if is_users_object(value):
        held += vars(value).values()
    return held


def _named(value: Any) -> Iterator[tuple[str, Any]]:
    """What a function speaks of, holds, and belongs to."""
    function = _function(value)
    if not isinstance(function, FunctionType):
        return
    code = function.__code__
    if is_user_file(code.co_filename):
        around = function.__globals__
        names = {n for part in _codes(code) for n in part.co_names}
        yield from ((name, around[name]) for name in names if name in around)
    cells = zip(code.co_freevars, function.__closure__ or (), strict=False)
    yield from ((name, value) for name, cell in cells for value in _contents(cell))
    defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    yield from (("", member) for member in (*defaults, getattr(value, "__self__", None)))


def _function(value: Any) -> Any:
    """The plain function behind a ``tf.function``, a method, or a cache around one."""
    if isinstance(value, tf.types.experimental.PolymorphicFunction):
        return _function(value.python_function)
    if isinstance(value, MethodType):
        return value.__func__
    return value.__wrapped__ if isinstance(value, type(_cached)) else value


@cache
def _cached() -> None:
    """Has the type of what remembers a function's results."""


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _codes(inner)


def _contents(cell: CellType) -> list[Any]:
    """What a cell holds, as a list: it may be empty."""
    try:
        return [cell.cell_contents]
    except ValueError:
        return []


@dataclass(frozen=True, slots=True)
class Stored:
    """A name that may be bound anew: in a namespace, in a class, in a cell of functions."""

    name: str
    place: Any

    def now(self) -> list[Any]:
        """What it is bound to; a list of that, so that nothing is something too."""
        if isinstance(self.place, CellType):
            return _contents(self.place)
        names = vars(self.place) if isinstance(self.place, type) else self.place
        return [names[self.name]] if self.name in names else []

    def put_back(self, before: list[Any]) -> None:
        """Bind it as it was."""
        if isinstance(self.place, CellType):
            for value in before:
                self.place.cell_contents = value
        elif isinstance(self.place, type):
            setattr(self.place, self.name, before[0])
        elif before:
            self.place[self.name] = before[0]
        else:
            self.place.pop(self.name, None)


def stored(value: Any) -> list[Stored]:
    """The names outside of itself that a function binds, ``global`` and ``nonlocal`` ones, and
    the plain attributes of a class of the user's."""
    if isinstance(value, type):
        plain = {n for n, v in vars(value).items() if not n.startswith("__") and _is_plain(v)}
        return [Stored(name, value) for name in plain] if _is_users_class(value) else []
    function = _function(value)
    if not isinstance(function, FunctionType) or not is_user_file(function.__code__.co_filename):
        return []
    code = function.__code__
    cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=False))
    found = []
    for step in (step for part in _codes(code) for step in dis.get_instructions(part)):
        if step.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
            found.append(Stored(step.argval, function.__globals__))
        elif step.opname in ("STORE_DEREF", "DELETE_DEREF") and step.argval in cells:
            found.append(Stored(step.argval, cells[step.argval]))
    return found


def _is_plain(value: Any) -> bool:
    return not callable(value) and not hasattr(type(value), "__get__")
