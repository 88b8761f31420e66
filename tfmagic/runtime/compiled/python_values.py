"""What tracing fixes for good: Python values that a function reads, Python that runs only then.

TensorFlow traces a function's Python once; numbers, texts and flags that it reads from globals,
from enclosing functions or from objects of the user's classes are constants from then on.
"""

from __future__ import annotations

import ast
import builtins
import dis
import time
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from tfmagic.analysis.code import code_of
from tfmagic.runtime import private
from tfmagic.runtime.capture.source import source_of

__all__ = ["PythonValues", "bound"]

#: How far the user's own functions are followed, and how much is looked at in one.
_DEEP, _MOST = 4, 200
_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_GONE = object()
_NOWHERE: tuple[Any, str] = (None, "")
#: Methods that run where their object is called.
_RUN = ("__call__", "call", "train_step", "compute_loss")
_GLOBAL = ("LOAD_GLOBAL", "LOAD_NAME")
_ENCLOSED = ("LOAD_DEREF", "LOAD_CLASSDEREF")
_ATTRIBUTE = ("LOAD_ATTR", "LOAD_METHOD")
#: A change or a call: function's name, kind, what the code says, code and line, before, now.
Told = tuple[str, str, str, CodeType, int, str, str]


class _Read(NamedTuple):
    """A name that a function read while it was traced: where it is kept, and what it held."""

    keeper: Any
    key: str
    name: str
    code: CodeType
    line: int
    value: Any

    def now(self) -> Any:
        """What it holds now."""
        if isinstance(self.keeper, Mapping):
            return self.keeper.get(self.key, _GONE)
        try:
            return self.keeper.cell_contents
        except ValueError:
            return _GONE


class PythonValues:
    """What the functions traced in one recording took for constant."""

    def __init__(self, is_users: Mapping[str, bool]) -> None:
        self._is_users = is_users

    def look(self, traced: Any, function: Any, keeper: Any) -> None:
        """Note what a function read that was traced just now; ``keeper`` is its ``self``."""
        reads, calls, seen = list[_Read](), list[Told](), set[Any]()
        for found, owner in self._functions(function, keeper, seen):
            reads += self._reads(found, owner)
            calls += _calls(function.__name__, found)
        _known[traced] = [function.__name__, reads[:_MOST], calls]

    def changed(self, traced: Any) -> Iterator[Told]:
        """What is not any more as it was when this function was traced, each once."""
        known = _known.get(traced)
        if known is None:
            return
        name, reads, calls = known
        if calls:
            known[2] = []
            yield from calls
        for read in reads:
            now = read.now()
            if now is not read.value and _differs(read.value, now):
                known[1] = [other for other in known[1] if other is not read]
                before, after = repr(read.value)[:60], repr(now)[:60]
                yield name, "value", read.name, read.code, read.line, before, after

    def _functions(
        self, function: Any, keeper: Any, seen: set[Any]
    ) -> Iterator[tuple[FunctionType, Any]]:
        """The user's functions that a traced one consists of, each with its ``self``."""
        todo: list[tuple[Any, Any, int]] = [(function, keeper, 0)]
        while todo and len(seen) < _MOST:
            found, keeper, depth = todo.pop()
            found = getattr(found, "__func__", found)
            if not isinstance(found, FunctionType) or (found, id(keeper)) in seen or depth > _DEEP:
                continue
            seen.add((found, id(keeper)))
            if self._is_users[found.__code__.co_filename]:
                yield found, keeper
            for value in _mentioned(found):
                inner = private.python_function(value) or value
                todo.append((inner, getattr(value, "__self__", None), depth + 1))
            for thing in self._objects(found, keeper):
                todo += ((method, thing, depth + 1) for method in _methods(thing, found))

    def _objects(self, function: FunctionType, keeper: Any) -> Iterator[Any]:
        """Objects of the user's own classes that a function can reach by a name, and the layers
        of a model among them."""
        for value in (*_mentioned(function), keeper):
            for part in (value, *_layers(value)):
                code = getattr(type(part), "__init__", None)
                module = getattr(code, "__code__", None)
                if module is not None and self._is_users[module.co_filename]:
                    yield part

    def _reads(self, function: FunctionType, keeper: Any) -> Iterator[_Read]:
        code, line = function.__code__, function.__code__.co_firstlineno
        cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=False))
        own = vars(keeper) if hasattr(keeper, "__dict__") else {}
        for step in dis.get_instructions(code):
            line = step.starts_line if type(step.starts_line) is int else line
            name, place = str(step.argval), _NOWHERE
            if step.opname in _GLOBAL and name in function.__globals__:
                place = function.__globals__, name
            elif step.opname in _ENCLOSED and name in cells:
                place = cells[name], name
            elif step.opname in _ATTRIBUTE and name in own:
                place = own, f"self.{name}"
            if place is not _NOWHERE:
                read = _Read(place[0], name, place[1], code, line, None)
                value = read.now()
                if _is_plain(value):
                    yield read._replace(value=value)


#: Traced function → its name, what it read, what ran only while it was traced.
_known: WeakKeyDictionary[Any, list[Any]] = WeakKeyDictionary()


def bound(options: Any) -> Any:
    """The object whose method was traced, or None."""
    found = getattr(options, "python_function", None)
    for _ in range(8):
        target = getattr(found, "__self__", None)
        if target is not None:
            return getattr(target, "target", target)
        found = getattr(found, "__wrapped__", None) or getattr(found, "func", None)
    return None


def _mentioned(function: FunctionType) -> Iterator[Any]:
    for name in function.__code__.co_names:
        if name in function.__globals__:
            yield function.__globals__[name]
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:
            continue


def _layers(value: Any) -> tuple[Any, ...]:
    """The layers of a Keras model, those within layers too."""
    if not type(value).__module__.startswith("keras") and not hasattr(value, "_flatten_layers"):
        return ()
    flatten = getattr(value, "_flatten_layers", None)
    return tuple(flatten())[:_MOST] if callable(flatten) and not isinstance(value, type) else ()


def _methods(thing: Any, caller: FunctionType) -> Iterator[Any]:
    """The methods of an object that a function calls, and those by which a model is run."""
    names = (*caller.__code__.co_names, *_RUN)
    for kind in type(thing).__mro__[:3]:
        yield from (vars(kind)[name] for name in names if name in vars(kind))


def _is_plain(value: Any) -> bool:
    if type(value) is tuple:
        return len(value) < 20 and all(map(_is_plain, value))
    return type(value) in _PLAIN


def _differs(before: Any, now: Any) -> bool:
    if type(before) is not type(now):
        return True
    return _is_plain(now) and bool(before != now) and not (before != before and now != now)


# --- Python that runs only while a function is traced --------------------------------------------


def _calls(name: str, function: FunctionType) -> Iterator[Told]:
    """Calls of the clock, of Python's and numpy's dice, and prints of what the function made."""
    code = function.__code__
    for node in ast.walk(_definition(code)):
        if isinstance(node, ast.Call):
            kind = _kind(_resolved(node.func, function))
            told = kind != "print" or any(
                isinstance(part, ast.Name) and part.id in code.co_varnames
                for argument in node.args
                for part in ast.walk(argument)
            )
            if kind and told:
                yield name, kind, ast.unparse(node.func), code, node.lineno, "", ""


def _definition(code: CodeType) -> ast.AST:
    """The statements of a function, where its source is known."""
    for node in ast.walk(code_of(source_of(code.co_filename)).tree):
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
            if first == code.co_firstlineno and getattr(node, "name", "<lambda>") == code.co_name:
                return node
    return ast.Module([], [])


def _resolved(node: ast.expr, function: FunctionType) -> Any:
    """What a name or a chain of attributes stands for, where nothing of the user's need run."""
    if isinstance(node, ast.Name):
        known = {**vars(builtins), **function.__globals__}
        return None if node.id in function.__code__.co_varnames else known.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _resolved(node.value, function)
        plain = type(owner).__name__ == "module" or isinstance(owner, type) or _kind_of(owner)
        return getattr(owner, node.attr, None) if plain else None
    return None


def _kind(called: Any) -> str:
    if called is print:
        return "print"
    if getattr(called, "__module__", None) == time.__name__ and called is not time.sleep:
        return "time"
    return _kind_of(getattr(called, "__self__", None))


def _kind_of(owner: Any) -> str:
    """``random`` for what draws, ``time`` for the classes of dates."""
    kind = owner if isinstance(owner, type) else type(owner)
    if kind.__module__ in ("random", "numpy.random.mtrand", "numpy.random._generator"):
        return "random"
    return "time" if kind.__module__ == "datetime" and isinstance(owner, type) else ""
