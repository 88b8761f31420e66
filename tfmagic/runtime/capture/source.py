"""Where the user's code ends and other people's begins, and what its lines assign."""

from __future__ import annotations

import ast
import linecache
import os
import re
import site
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from tfmagic.analysis.code import code_of

_PACKAGE = str(Path(__file__).parents[2]) + os.sep
_FOREIGN = tuple(
    dict.fromkeys(
        path.rstrip(os.sep) + os.sep
        for path in (
            sysconfig.get_path("stdlib"),
            sysconfig.get_path("platstdlib"),
            sysconfig.get_path("purelib"),
            sysconfig.get_path("platlib"),
            *site.getsitepackages(),
            site.getusersitepackages(),
        )
    )
)
_NO_SOURCE = ("<frozen", "<string>", "<__array_function__", "<attrs", "<decorator", "<magic")
_LIBRARIES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


class UserFiles(dict[str, bool]):
    """File name → whether it is the user's own code; each name is judged once.

    The user's are notebook cells, scripts and their own modules; not the standard
    library, installed packages, tfmagic itself or code that AutoGraph generated.
    """

    def __missing__(self, name: str) -> bool:
        self[name] = found = is_user_file(name)
        return found


def is_user_file(name: str) -> bool:
    """Whether the code in file ``name`` was written by the user."""
    if name.startswith(_NO_SOURCE) or name.startswith(_PACKAGE) or "__autograph_gen" in name:
        return False
    return not (name.startswith(_FOREIGN) or any(part in name for part in _LIBRARIES))


def source_of(filename: str) -> str:
    """The whole source of a cell or file, or an empty string."""
    return "".join(linecache.getlines(filename))


_MAGIC = re.compile(r"get_ipython\(\)\.(run_line_magic|system|getoutput)\((.*)\)")
_SIGNS = {"run_line_magic": "%", "system": "!", "getoutput": "!"}


def as_typed(line: str) -> str:
    """A line of a cell with its magic as the user wrote it: IPython keeps what it made of it."""
    found = _MAGIC.search(line)
    if found is None:
        return line
    try:
        given = ast.literal_eval(f"({found[2]},)")
        words = " ".join(part for part in given if part)
    except (SyntaxError, ValueError, TypeError):
        return line
    return line[: found.start()] + _SIGNS[found[1]] + words + line[found.end() :]


@lru_cache(maxsize=256)
def _assigned(source: str) -> dict[int, tuple[str, ...]]:
    lines: dict[int, tuple[str, ...]] = {}
    for node in ast.walk(code_of(source).tree):
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.NamedExpr)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = tuple(name for target in targets for name in _stored(target))
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                lines[line] = lines.get(line, ()) + names
    return lines


@lru_cache(maxsize=256)
def words_of(source: str) -> frozenset[str]:
    """The names that a cell speaks of, but for those that only its loops give a value."""
    tree = code_of(source).tree
    every = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    looped: set[str] = set()
    given: set[str] = set()
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.For, ast.AsyncFor)):
            looped.update(_stored(node.target))
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            given.update(_stored(node))
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            todo.extend(n for n in ast.iter_child_nodes(node) if not isinstance(n, ast.expr))
    return frozenset(every - (looped - given))


def _stored(node: ast.AST) -> Iterator[str]:
    """The names that ``node`` gives a value."""
    names = (part for part in ast.walk(node) if isinstance(part, ast.Name))
    return (part.id for part in names if isinstance(part.ctx, ast.Store))


class Assignments(dict[str, dict[int, tuple[str, ...]]]):
    """File name → line number → the names that the statement on that line assigns."""

    def __missing__(self, filename: str) -> dict[int, tuple[str, ...]]:
        self[filename] = found = _assigned(source_of(filename))
        return found


@lru_cache(maxsize=256)
def call_arguments(source: str, line: int, method: str) -> tuple[ast.expr, ...]:
    """The arguments of the call ``….method(…)`` that stands on ``line`` of ``source``.

    Positional ones first, then those named ``target`` and ``sources``; empty where the
    line has no such call or more than one.
    """
    statement = code_of(source).statement(line)
    if statement is None:
        return ()
    calls = [
        node
        for node in ast.walk(statement)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == method
    ]
    if len(calls) != 1:
        return ()
    named = {word.arg: word.value for word in calls[0].keywords}
    return (*calls[0].args, *(named[w] for w in ("target", "sources") if w in named))
