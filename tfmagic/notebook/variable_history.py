"""Names that held a Variable before some cell and hold a tensor now.

``W = W - lr * g`` in a cell that nobody recorded leaves nothing for a later recording to
find.  So the names of Variables are noted before every cell, and the line that took one
away is looked for in the cells that ran.
"""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Iterator, Mapping
from typing import Any

#: Items of one list or dict that are looked at.
_MOST = 64


class VariableHistory:
    """The names of Variables of one shell, as they stood before each cell."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._names: set[str] = set()

    def look(self) -> None:
        """Note which names hold a Variable now; nothing happens before TensorFlow is there."""
        kind = _variable_class()
        if kind is not None:
            self._names.update(n for n, v in self._values() if issubclass(type(v), kind))

    def rebound(self) -> dict[str, tuple[str, int]]:
        """Name → file and line number of the statement that put a tensor in its place."""
        tf = sys.modules.get("tensorflow")
        if tf is None or not self._names:
            return {}
        lost = [n for n, v in self._values() if n in self._names and issubclass(type(v), tf.Tensor)]
        places = ((name, self._place(name)) for name in lost)
        return {name: place for name, place in places if place is not None}

    def _values(self) -> Iterator[tuple[str, Any]]:
        for name, value in list(self._shell.user_ns.items()):
            if name.startswith("_"):
                continue
            yield name, value
            kind = type(value)  # isinstance would ask an object for its `__class__`
            if issubclass(kind, (list, tuple)):
                yield from ((f"{name}[{i}]", v) for i, v in enumerate(value[:_MOST]))
            elif issubclass(kind, dict):
                pairs = list(dict.items(value))[:_MOST]
                yield from ((f"{name}[{k!r}]", v) for k, v in pairs if isinstance(k, str))
            elif kind.__module__ == "__main__":  # an object of the user's own class
                members = list(getattr(value, "__dict__", {}).items())[:_MOST]
                yield from ((f"{name}.{k}", v) for k, v in members)

    def _place(self, name: str) -> tuple[str, int] | None:
        """The last cell that gives ``name`` a value, and the line where it does."""
        from tfmagic.analysis.code import code_of
        from tfmagic.analysis.rebinding import assigned

        files: Mapping[str, int] = getattr(self._shell.compile, "_filename_map", {})
        ran = sorted(enumerate(files), key=lambda pair: (files[pair[1]], pair[0]), reverse=True)
        for _, filename in ran:
            found = [
                statement.lineno
                for statement in ast.walk(code_of("".join(linecache.getlines(filename))).tree)
                if isinstance(statement, ast.stmt)
                for target, value in assigned(statement)
                if _same(ast.unparse(target), name) and _carries_on(statement, value, name)
            ]
            if found:
                return filename, max(found)
        return None


def _same(target: str, name: str) -> bool:
    """Whether an assignment to ``target`` can be what changed ``name``: ``self.w`` is ``m.w``."""
    one, other = target.partition("[")[0], name.partition("[")[0]
    if "." in one and "." in other:
        return one.rpartition(".")[2] == other.rpartition(".")[2]
    return one == other


def _carries_on(statement: ast.stmt, value: ast.expr, name: str) -> bool:
    """Whether the new value comes of the old one; ``x = tf.constant(3.0)`` begins anew."""
    if isinstance(statement, ast.AugAssign) or isinstance(value, ast.Name):
        return True
    base = name.partition("[")[0].rpartition(".")[2]
    parts = (getattr(node, "id", getattr(node, "attr", "")) for node in ast.walk(value))
    return base in parts


def _variable_class() -> Any:
    tf, keras = sys.modules.get("tensorflow"), sys.modules.get("keras")
    kinds = (getattr(tf, "Variable", None), getattr(keras, "Variable", None))
    return tuple(k for k in kinds if isinstance(k, type)) or None
