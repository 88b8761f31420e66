"""Lists, tuples and dicts of sources, taken apart and put together again."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any


def leaves(structure: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """``(place, leaf)`` of a nested structure, dicts in their own order.

    The place is what one would type after the structure's name: ``[0]``, ``['w']``.
    """
    if isinstance(structure, dict):
        for key, value in structure.items():
            yield from leaves(value, f"{place}[{key!r}]")
    elif isinstance(structure, tuple) and hasattr(structure, "_fields"):
        for name, value in zip(structure._fields, structure, strict=True):
            yield from leaves(value, f"{place}.{name}")
    elif isinstance(structure, (list, tuple)):
        for position, value in enumerate(structure):
            yield from leaves(value, f"{place}[{position}]")
    else:
        yield place, structure


def rebuild(structure: Any, new: Callable[[Any], Any]) -> Any:
    """The same structure with ``new(leaf)`` in place of each leaf."""
    if isinstance(structure, dict):
        return type(structure)((k, rebuild(v, new)) for k, v in structure.items())
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        return type(structure)(*(rebuild(v, new) for v in structure))
    if isinstance(structure, (list, tuple)):
        parts = [rebuild(v, new) for v in structure]
        return tuple(parts) if isinstance(structure, tuple) else parts
    return new(structure)


def expression_at(expression: ast.expr | None, place: str) -> str:
    """The user's own words for the leaf at ``place`` of what ``expression`` denotes.

    ``[W_1, W_2]`` at ``[1]`` is ``W_2``; ``weights`` at ``[1]`` is ``weights[1]``.
    """
    if expression is None:
        return ""
    if not place:
        return _short(expression)
    try:
        step = ast.parse("_" + place, mode="eval").body
    except SyntaxError:
        return _short(expression) + place
    for key in _steps(step):
        found = _member(expression, key)
        if found is None:
            return _short(expression) + place
        expression = found
    return _short(expression)


def _short(expression: ast.expr) -> str:
    text = ast.unparse(expression)
    return text if len(text) <= 60 else text[:59] + "…"


def _steps(node: ast.expr) -> list[Any]:
    steps: list[Any] = []
    while isinstance(node, (ast.Subscript, ast.Attribute)):
        if isinstance(node, ast.Attribute):
            steps.append(node.attr)
        else:
            steps.append(node.slice.value if isinstance(node.slice, ast.Constant) else None)
        node = node.value
    return steps[::-1]


def _member(expression: ast.expr, key: Any) -> ast.expr | None:
    if isinstance(expression, (ast.List, ast.Tuple)) and isinstance(key, int):
        plain = not any(isinstance(e, ast.Starred) for e in expression.elts)
        return expression.elts[key] if plain and key < len(expression.elts) else None
    if isinstance(expression, ast.Dict):
        for name, value in zip(expression.keys, expression.values, strict=True):
            if isinstance(name, ast.Constant) and name.value == key:
                return value
    return None
