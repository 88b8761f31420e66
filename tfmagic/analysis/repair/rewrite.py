"""Rewriting expressions by rule, with everything around them as the user wrote it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator

from tfmagic.analysis.code import Code, Edits, dotted, own_expressions

__all__ = ["Rule", "called", "grouped", "keyword", "rewrite"]

#: Text in place of a node, or None to leave it; the second argument gives the text of its
#: parts, rewritten.
Rule = Callable[[ast.expr, Callable[[ast.expr], str]], str | None]

_TIGHT = (ast.BinOp, ast.UnaryOp, ast.Compare, ast.Attribute, ast.Subscript, ast.BoolOp, ast.Await)
_ATOMS = (
    ast.Name, ast.Call, ast.Attribute, ast.Subscript, ast.Constant, ast.List, ast.Tuple, ast.Dict
)  # fmt: skip


def rewrite(edits: Edits, statement: ast.stmt, rule: Rule) -> bool:
    """Rewrite the expressions of ``statement`` (not of statements in its body) by ``rule``;
    whether anything changed."""
    writer = _Writer(edits.code, rule)
    changed = False
    for expression in own_expressions(statement):
        new = writer.text(expression)
        if new != edits.code.text(expression):
            edits.replace(expression, new)
            changed = True
    return changed


def called(code: Code, node: ast.AST, names: Iterable[str]) -> ast.Call | None:
    """``node`` as a call of a function whose last name is among ``names``, imports followed."""
    if not isinstance(node, ast.Call):
        return None
    name = dotted(node.func)
    root, _, rest = name.partition(".")
    full = code.aliases.get(root, root) + (f".{rest}" if rest else "")
    wanted = set(names)
    return node if {full.rpartition(".")[2], name.rpartition(".")[2]} & wanted else None


def keyword(call: ast.Call, name: str, position: int | None = None) -> ast.expr | None:
    """The argument of this name, or at this position."""
    for word in call.keywords:
        if word.arg == name:
            return word.value
    if position is not None and position < len(call.args):
        return call.args[position]
    return None


def grouped(text: str) -> str:
    """``text`` as it can stand beside any operator."""
    return text if _is_atom(text) else f"({text})"


def _is_atom(text: str) -> bool:
    try:
        return isinstance(ast.parse(text.strip(), mode="eval").body, _ATOMS)
    except SyntaxError:
        return False


class _Writer:
    """Puts the text of an expression together again, part by part."""

    def __init__(self, code: Code, rule: Rule) -> None:
        self._code = code
        self._rule = rule

    def text(self, node: ast.expr) -> str:
        new = self._rule(node, self.text)
        return self._spliced(node) if new is None else new

    def _spliced(self, node: ast.expr) -> str:
        old = self._code.text(node)
        if isinstance(node, ast.JoinedStr):
            return old  # the places of what is inside a format string are not told
        changes = []
        for part in _parts(node):
            new = self._rule(part, self.text)
            if new is None:  # what stands there is of the same kind as before
                after = self._spliced(part)
            else:
                after = grouped(new) if self._is_tight(node, part) else new
            if after != self._code.text(part):
                changes.append((part, after))
        return self._code.with_parts(node, changes) if changes else old

    def _is_tight(self, node: ast.expr, part: ast.expr) -> bool:
        """Whether an operator stands beside ``part`` that could take a piece of it."""
        if not isinstance(node, _TIGHT) or _inside_brackets(node, part):
            return False
        (first, start), (last, end) = self._code.span(part)
        before, after = self._code.lines[first - 1][:start], self._code.lines[last - 1][end:]
        return not (before.rstrip().endswith(b"(") and after.lstrip().startswith(b")"))


def _inside_brackets(node: ast.expr, part: ast.expr) -> bool:
    return isinstance(node, ast.Subscript) and part is node.slice


def _parts(node: ast.AST) -> Iterator[ast.expr]:
    """The nearest expressions inside ``node``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            yield child
        elif not isinstance(child, (ast.expr_context, ast.operator, ast.cmpop)):
            yield from _parts(child)
