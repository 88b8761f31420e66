"""Where a ``tf.custom_gradient`` of the user's gives its gradient."""

from __future__ import annotations

import ast

from tfmagic.analysis.code import Code, code_of, dotted
from tfmagic.model import Cell, Line, Op, Recording

__all__ = ["answering_line", "custom_function", "custom_line"]


def custom_function(recording: Recording, op: Op) -> tuple[Cell, Code, ast.FunctionDef] | None:
    """The function whose result the op gives, where its source is in the recording.

    Inside a ``tf.function`` an op does not tell its name: then it is the only one there is.
    """
    name, every = op.own_gradient.rpartition(".")[2], []
    for cell in reversed(recording.cells):
        code = code_of(cell.source)
        for function in code.of(ast.FunctionDef):
            marks = [dotted(d).rpartition(".")[2] for d in function.decorator_list]
            if "custom_gradient" in marks:
                every.append((cell, code, function))
    if name == "custom" and len(every) == 1:
        return every[0]
    return next((found for found in every if found[2].name == name), None)


def custom_line(recording: Recording, op: Op) -> Line | None:
    """The line on which the user's function gives no gradient, or None where it is not seen."""
    found = custom_function(recording, op)
    return None if found is None else _line_of(recording, found[0], _giving_nothing(found[2]))


def answering_line(recording: Recording, op: Op) -> Line | None:
    """The line on which the user's function answers its gradient."""
    found = custom_function(recording, op)
    return None if found is None else _line_of(recording, found[0], _answering(found[2]))


def _line_of(recording: Recording, cell: Cell, node: ast.stmt | ast.expr) -> Line:
    text = cell.source.split("\n")[node.lineno - 1].strip()
    for line in recording.lines:
        if (line.cell, line.number) == (cell.index, node.lineno):
            return line
    return Line(-1, cell.index, node.lineno, text)


def _giving_nothing(function: ast.FunctionDef) -> ast.stmt | ast.expr:
    """The inner function, lambda or return that answers None."""
    for node in ast.walk(function):
        if isinstance(node, ast.Lambda) and _has_none(node.body):
            return node
        if isinstance(node, ast.FunctionDef) and node is not function:
            returns = [n for n in ast.walk(node) if isinstance(n, ast.Return)]
            empty = [n for n in returns if n.value is None or _has_none(n.value)]
            if empty or not returns:
                return empty[0] if empty else node
    return function


def _answering(function: ast.FunctionDef) -> ast.stmt | ast.expr:
    """The last return of the inner function, or the lambda."""
    for node in ast.walk(function):
        if isinstance(node, ast.Lambda):
            return node
        if isinstance(node, ast.FunctionDef) and node is not function:
            returns = [n for n in ast.walk(node) if isinstance(n, ast.Return)]
            return returns[-1] if returns else node
    return function


def _has_none(node: ast.expr) -> bool:
    parts = node.elts if isinstance(node, (ast.Tuple, ast.List)) else [node]
    return any(isinstance(part, ast.Constant) and part.value is None for part in parts)
