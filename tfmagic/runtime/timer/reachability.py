"""The variables and generators that a statement can reach from the names that it reads.

Followed are lists and dictionaries, what functions name, hold and belong to, and the
attributes of objects whose class the user wrote.
"""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, partial
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from tfmagic.runtime.capture.log import held_variable
from tfmagic.runtime.capture.source import is_user_file

__all__ = ["reached", "variable_in"]

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


def _is_users_object(value: Any) -> bool:
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
    if _is_users_object(value):
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
