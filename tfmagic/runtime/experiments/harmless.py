"""Whether lines of the user's do nothing but compute, so that they can be run once more.

It is read off the source and the objects that its names stand for: functions of TensorFlow,
numpy, Keras and ``math``, the user's own functions and classes that hold nothing else, methods
that write no file.
"""

from __future__ import annotations

import ast
import sys
import types
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfmagic.analysis.code import code_of, dotted
from tfmagic.runtime.capture.source import is_user_file, source_of

__all__ = ["Refused", "harmless", "is_users"]

_PACKAGES = frozenset({
    "collections", "dataclasses", "functools", "itertools", "keras", "math", "numpy",
    "operator", "random", "tensorflow", "tf_keras", "time", "typing",
})  # fmt: skip
#: Parts of a function's name that read or write outside of the process, or set up the session.
_OUTSIDE = frozenset({
    "Server", "app", "callbacks", "config", "distribute", "dump", "evaluate", "exit",
    "experimental_connect_to_cluster", "export", "fit", "fromfile", "genfromtxt", "get_file",
    "io", "load", "load_data", "load_model", "load_op_library", "load_weights", "loadtxt",
    "memmap", "plot_model", "popen", "print", "profiler", "py_function",
    "run_functions_eagerly", "save", "save_weights", "saved_model", "savetxt", "savez",
    "savez_compressed", "set_logical_device_configuration", "sleep", "summary", "system",
    "to_csv", "tofile", "train_and_evaluate", "write", "write_graph",
})  # fmt: skip
_BUILTINS = frozenset({
    "AssertionError", "Exception", "NotImplementedError", "RuntimeError", "TypeError",
    "ValueError", "abs", "all", "any", "bool", "callable", "classmethod", "complex", "dict",
    "divmod", "enumerate", "filter", "float", "format", "frozenset", "getattr", "globals",
    "hasattr", "id", "int", "isinstance", "issubclass", "iter", "len", "list", "locals",
    "map", "max", "min", "next", "object", "pow", "print", "property", "range", "repr", "reversed",
    "round", "set", "setattr", "slice", "sorted", "staticmethod", "str", "sum", "super",
    "tuple", "type", "vars", "zip",
})  # fmt: skip


class Refused(Exception):
    """The lines do something that cannot be put back."""


def harmless(sources: Sequence[str], space: Mapping[str, Any]) -> list[ast.Module]:
    """The trees of the sources, without statements that only show something.

    Raises :class:`Refused` where the rest does more than compute.
    """
    trees = [ast.parse(source) for source in sources]
    reader = _Reader(trees, space)
    for tree in trees:
        _WithoutShows(reader).visit(tree)
        reader.require(tree)
    return trees


class _WithoutShows(ast.NodeTransformer):
    """Passes over statements whose only work is a call that may not run."""

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        try:
            self._reader.require(node)
        except Refused:
            if any(isinstance(n, ast.Attribute) and n.attr == "gradient" for n in ast.walk(node)):
                raise
            return ast.copy_location(ast.Pass(), node)
        return node


class _Reader:
    """Reads whether code does nothing but compute."""

    def __init__(self, trees: Sequence[ast.AST], space: Mapping[str, Any]) -> None:
        self._space = space
        self._own: set[str] = set()
        self._imported: dict[str, str] = {}
        self._seen: set[int] = set()
        for tree in trees:
            self._learn(tree)

    def _learn(self, tree: ast.AST) -> None:
        """The names that the code gives a meaning to itself."""
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                self._own.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self._own.add(node.id)
            elif isinstance(node, ast.arg):
                self._own.add(node.arg)
            elif isinstance(node, ast.Import):
                for a in node.names:
                    self._imported[a.asname or a.name.partition(".")[0]] = (
                        a.name if a.asname else a.name.partition(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom):
                for a in node.names:
                    self._imported[a.asname or a.name] = f"{node.module}.{a.name}"

    def require(self, tree: ast.AST) -> None:
        """Raise :class:`Refused` where the code may not run."""
        for node in ast.walk(tree):
            if isinstance(node, (ast.Await, ast.AsyncFor, ast.AsyncWith, ast.Yield, ast.YieldFrom)):
                raise Refused
            if isinstance(node, ast.Import) and any(a.name not in sys.modules for a in node.names):
                raise Refused
            if isinstance(node, ast.ImportFrom) and (node.module or ".") not in sys.modules:
                raise Refused
            if isinstance(node, (ast.Attribute, ast.Subscript)) and not isinstance(
                node.ctx, ast.Load
            ):
                self._require_place(node)
            if isinstance(node, ast.Call):
                self._require_call(node.func)
            for decorator in getattr(node, "decorator_list", ()):
                self._require_call(decorator.func if isinstance(decorator, ast.Call) else decorator)

    def _require_place(self, node: ast.expr) -> None:
        """What is stored into must be the code's own, or be put back."""
        while isinstance(node, (ast.Attribute, ast.Subscript)):
            node = node.value
        if not isinstance(node, ast.Name):
            return
        value = self._space.get(node.id)
        kept = type(value) in (list, dict, set, np.ndarray) or is_users(type(value))
        if node.id not in self._own and not kept:
            raise Refused

    def _require_call(self, function: ast.expr) -> None:
        name = dotted(function)
        root, *rest = name.split(".")
        if root in ("?", ""):  # what an expression gives: its last name counts
            if isinstance(function, ast.Attribute) and function.attr in _OUTSIDE:
                raise Refused
            return
        if _OUTSIDE.intersection(rest):
            raise Refused
        if root in self._imported:
            self._require_path(self._imported[root])
        elif root in self._own:
            return
        elif root in self._space:
            self._require_object(self._space[root], rest)
        elif root not in _BUILTINS or rest:
            raise Refused

    def _require_path(self, path: str) -> None:
        parts = path.split(".")
        if parts[0] not in _PACKAGES or _OUTSIDE.intersection(parts[1:]):
            raise Refused

    def _require_object(self, value: Any, rest: Sequence[str]) -> None:
        """A value that the session holds, or a member of it, may be called."""
        if isinstance(value, types.ModuleType):
            self._require_path(".".join((value.__name__, *rest)))
            return
        kind = value if isinstance(value, type) else type(value)
        function = getattr(value, "python_function", value)
        if isinstance(function, types.FunctionType):
            self._require_function(function)
        elif is_users(kind):
            for member in vars(kind).values():
                function = getattr(member, "__func__", getattr(member, "python_function", member))
                if isinstance(function, types.FunctionType):
                    self._require_function(function)
        elif kind.__module__.partition(".")[0] not in (*_PACKAGES, "builtins"):
            raise Refused

    def _require_function(self, function: types.FunctionType) -> None:
        if id(function) in self._seen:
            return
        self._seen.add(id(function))
        home = function.__code__.co_filename
        if not is_user_file(home):
            if (function.__module__ or "").partition(".")[0] not in _PACKAGES:
                raise Refused
            return
        code = code_of(source_of(home))
        line = function.__code__.co_firstlineno
        nodes: list[ast.FunctionDef | ast.Lambda] = [
            *code.of(ast.FunctionDef),
            *code.of(ast.Lambda),
        ]
        found = [
            n
            for n in nodes
            if n.lineno == line or any(d.lineno == line for d in getattr(n, "decorator_list", ()))
        ]
        if not found or any(isinstance(n, (ast.Global, ast.Nonlocal)) for n in ast.walk(found[0])):
            raise Refused
        reader = _Reader(found, {**function.__globals__})
        reader._seen = self._seen
        reader.require(found[0])


def _decorated(node: ast.FunctionDef | ast.Lambda) -> list[int]:
    return [d.lineno for d in getattr(node, "decorator_list", ())]


def is_users(kind: type) -> bool:
    """Whether a class is the user's own."""
    return kind.__module__ == "__main__" or (
        kind.__module__.partition(".")[0] not in (*_PACKAGES, "builtins", "types")
        and is_user_file(getattr(sys.modules.get(kind.__module__), "__file__", None) or "<string>")
    )
