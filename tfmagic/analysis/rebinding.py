"""A name, list item or attribute that held a Variable and now holds a tensor."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tfmagic.analysis.code import Code, code_of, dotted, names_in, stored
from tfmagic.analysis.dependence import Finding, Source
from tfmagic.model import Gradient, GradientCall, Line, Op, Recording

__all__ = ["assigned", "rebound", "same_place"]


def rebound(
    recording: Recording, call: GradientCall, gradient: Gradient, source: Source
) -> Finding | None:
    """The line that put a tensor where the source's Variable had been, if one did."""
    if source.op is None:
        found = _before_the_recording(recording, call, gradient)
        earlier = dict(recording.rebound).get(gradient.source)
        if found is None and earlier is not None:
            return Finding("rebound", line=earlier, way=())
        return found
    op = recording.ops[source.op]
    for frame in reversed(op.stack):
        line = recording.lines[frame.line]
        code = code_of(recording.cells[line.cell].source)
        statement = code.statement(line.number)
        if statement is None:
            continue
        for target, value in assigned(statement):
            if not same_place(code, target, gradient.source):
                continue
            itself = (
                isinstance(statement, ast.AugAssign)
                or _mentions(code, value, target)
                or _mentions_item(code, statement, value, target)
            )
            had = _variable_before(recording, op, line, code, statement) if itself else None
            if had is not None and not _has_another_name(recording, had, gradient.source):
                return Finding("rebound", op=op.index, line=frame.line)
    named = {v.name for v in recording.variables}
    if gradient.source in named and op.line is not None:
        return Finding("rebound", op=op.index, line=op.line)
    return None


def assigned(statement: ast.stmt) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Pairs of target and value, tuples taken apart where both sides are one."""
    if isinstance(statement, (ast.AugAssign, ast.AnnAssign)):
        if statement.value is not None:
            yield statement.target, statement.value
    elif isinstance(statement, ast.Assign):
        for target in statement.targets:
            yield from _pairs(target, statement.value)


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    sequences = (ast.Tuple, ast.List)
    if not isinstance(target, sequences):
        yield target, value
    elif isinstance(value, sequences) and len(target.elts) == len(value.elts):
        yield from zip(target.elts, value.elts, strict=True)
    else:
        yield from ((part, value) for part in target.elts)


def same_place(code: Code, target: ast.expr, source: str) -> bool:
    """Whether an assignment to ``target`` can be one to what the user calls ``source``.

    ``params[i]`` may be ``params[0]``, ``self.w`` may be ``model.w``, and a new list
    ``params`` has new items.
    """
    text = code.one_line(target)
    if text == source:
        return True
    try:
        wanted = ast.parse(source, mode="eval").body
    except SyntaxError:
        return False
    if isinstance(wanted, ast.Subscript):
        base = wanted.value
        if isinstance(target, ast.Subscript):
            return _alike(target.value, base)
        return _alike(target, base)
    return _alike(target, wanted)


def _alike(target: ast.expr, wanted: ast.expr) -> bool:
    if isinstance(target, ast.Attribute) and isinstance(wanted, ast.Attribute):
        return target.attr == wanted.attr
    return dotted(target) == dotted(wanted) and "?" not in dotted(target)


def _mentions(code: Code, value: ast.expr, target: ast.expr) -> bool:
    wanted = dotted(target.value if isinstance(target, ast.Subscript) else target)
    return any(
        dotted(node) == wanted
        for node in ast.walk(value)
        if isinstance(node, (ast.Name, ast.Attribute))
    )


def _mentions_item(code: Code, statement: ast.stmt, value: ast.expr, target: ast.expr) -> bool:
    """``params[k] = p - lr * g`` in ``for k, (p, g) in enumerate(zip(params, grads))``."""
    if not isinstance(target, ast.Subscript):
        return False
    return any(
        _mentions(code, loop.iter, target) and stored(loop.target) & names_in(value)
        for loop in code.of(ast.For)
        if loop.lineno <= statement.lineno <= (loop.end_lineno or loop.lineno)
    )


def _variable_before(
    recording: Recording, op: Op, line: Line, code: Code, statement: ast.stmt
) -> int | None:
    """The Variable that the statement computed from, or None."""
    todo, seen = [op.index], set()
    while todo:
        current = recording.ops[todo.pop()]
        if current.index in seen or not _is_of(recording, current, line, code, statement):
            continue
        seen.add(current.index)
        for tensor in current.inputs:
            info = recording.tensors[tensor]
            if info.variable is not None and (
                info.role != "handle" or current.type == "ReadVariableOp"
            ):
                return info.variable
            if info.op is not None:
                todo.append(info.op)
    return None


def _has_another_name(recording: Recording, variable: int, source: str) -> bool:
    """Whether the Variable is still there under a plain name of its own: then nothing was lost,
    and what the source is called was a tensor's name from its first turn on."""
    name = recording.variables[variable].name
    made = (n for cell in recording.cells for n in code_of(cell.source).of(ast.Assign))
    return name != re.split(r"[.\[]", source)[0] and any(name in stored(n) for n in made)


def _is_of(recording: Recording, op: Op, line: Line, code: Code, statement: ast.stmt) -> bool:
    for frame in op.stack:
        other = recording.lines[frame.line]
        if other.cell == line.cell and code.statement(other.number) is statement:
            return True
    return False


def _before_the_recording(
    recording: Recording, call: GradientCall, gradient: Gradient
) -> Finding | None:
    """The tensor was there already: the cell's own update line made it when it ran before."""
    if call.line is None:
        return None
    at = recording.lines[call.line]
    code = code_of(recording.cells[at.cell].source)
    made = False
    found: Line | None = None
    for statement in code.of(ast.stmt):
        for target, value in assigned(statement):
            if not same_place(code, target, gradient.source):
                continue
            update = isinstance(statement, ast.AugAssign) or (
                isinstance(value, ast.BinOp)
                and isinstance(value.op, (ast.Add, ast.Sub))
                and _mentions(code, value, target)
            )
            if update and statement.lineno > at.number:
                text = recording.cells[at.cell].source.split("\n")[statement.lineno - 1]
                found = found or Line(-1, at.cell, statement.lineno, text.strip())
            elif not update:
                made = True
    return None if made or found is None else Finding("rebound", line=found, way=())
