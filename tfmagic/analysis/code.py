"""The user's source as a tree that can be asked and edited without losing its form.

Edits replace the very characters of an expression, so that comments, line breaks and
everything beside it stay as the user wrote them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import TypeVar

from tfmagic.model.verdict import margin_of

__all__ = [
    "Code",
    "Edits",
    "code_of",
    "dotted",
    "must_be_whole",
    "names_in",
    "own_expressions",
    "stored",
]

_N = TypeVar("_N", bound=ast.AST)
_ATOMS = (
    ast.Name, ast.Call, ast.Attribute, ast.Subscript, ast.Constant, ast.List, ast.Tuple, ast.Dict
)  # fmt: skip
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@lru_cache(maxsize=256)
def code_of(source: str) -> Code:
    """The tree of ``source``; one that does not parse is empty."""
    return Code(source)


class Code:
    """One cell's source, parsed."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.lines = [line.encode() for line in source.split("\n")]
        try:
            self.tree: ast.Module = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            self.tree = ast.Module([], [])

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node, outer ones before inner ones, in the order of the source."""
        found: list[ast.AST] = []
        self._parents: dict[ast.AST, ast.AST] = {}
        todo: list[ast.AST] = [self.tree]
        while todo:  # no recursion: a sum of a thousand terms is a thousand deep
            found.append(node := todo.pop())
            children = list(ast.iter_child_nodes(node))
            self._parents.update(dict.fromkeys(children, node))
            todo.extend(reversed(children))
        return tuple(found)

    def parent(self, node: ast.AST) -> ast.AST | None:
        """The node around ``node``."""
        assert self.nodes
        return self._parents.get(node)

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes around ``node``, innermost first."""
        while (found := self.parent(node)) is not None:
            yield found
            node = found

    def of(self, kind: type[_N], within: ast.AST | None = None) -> Iterator[_N]:
        """Every node of this kind."""
        nodes = self.nodes if within is None else ast.walk(within)
        return (node for node in nodes if isinstance(node, kind))

    # -- places -------------------------------------------------------------------

    def statement(self, line: int) -> ast.stmt | None:
        """The innermost statement that covers ``line`` (from 1)."""
        best: ast.stmt | None = None
        for node in self.of(ast.stmt):
            if node.lineno <= line <= (node.end_lineno or node.lineno):
                best = node
        return best

    def header(self, statement: ast.stmt) -> tuple[int, int]:
        """First and last line of a statement without its body."""
        body = getattr(statement, "body", None)
        first = min([statement.lineno, *(d.lineno for d in _decorators(statement))])
        if not isinstance(body, list) or not body:
            return first, statement.end_lineno or statement.lineno
        start = min([body[0].lineno, *(d.lineno for d in _decorators(body[0]))], default=first)
        return first, max(first, start - 1) if start > statement.lineno else statement.lineno

    def function(self, node: ast.AST) -> ast.AST:
        """The function that ``node`` stands in, or the module."""
        for outer in self.around(node):
            if isinstance(outer, (*_FUNCTIONS, ast.Lambda, ast.Module)):
                return outer
        return self.tree

    def block(self, statement: ast.stmt) -> list[ast.stmt]:
        """The list of statements that ``statement`` is a member of."""
        parent = self.parent(statement)
        for name in ("body", "orelse", "finalbody", "handlers"):
            members = getattr(parent, name, None)
            if isinstance(members, list) and statement in members:
                return members
        return [statement]

    def indent(self, line: int) -> str:
        """The white space that ``line`` (from 1) begins with."""
        text = self.lines[line - 1].decode()
        return text[: len(text) - len(text.lstrip())]

    # -- text ---------------------------------------------------------------------

    def text(self, node: ast.AST) -> str:
        """The user's own text of a node."""
        found = ast.get_source_segment(self.source, node)
        return ast.unparse(node) if found is None else found

    def with_parts(self, node: ast.expr, parts: Sequence[tuple[ast.expr, str]]) -> str:
        """The text of ``node``, with new text for some of its parts."""
        (first, column), (last, end) = self.span(node)
        rows = self.lines[first - 1 : last]
        rows[-1] = rows[-1][:end]
        starts = list(accumulate((len(row) + 1 for row in rows), initial=0))
        text = b"\n".join(rows)
        for part, new in sorted(parts, key=lambda p: self.span(p[0]), reverse=True):
            (a, b), (c, d) = self.span(part)
            text = text[: starts[a - first] + b] + new.encode() + text[starts[c - first] + d :]
        return text[column:].decode()

    def one_line(self, node: ast.AST) -> str:
        """The text of a node on one line."""
        found = self.text(node)
        return found if "\n" not in found and "#" not in found else ast.unparse(node)

    def factor(self, node: ast.AST) -> str:
        """The text of a node as it can stand beside any operator."""
        text = self.one_line(node)
        return text if isinstance(node, _ATOMS) else f"({text})"

    def span(self, node: ast.expr | ast.stmt) -> tuple[tuple[int, int], tuple[int, int]]:
        """Where a node begins and ends: line from 1, column in bytes."""
        end = (node.end_lineno or node.lineno, node.end_col_offset or 0)
        return (node.lineno, node.col_offset), end

    # -- names --------------------------------------------------------------------

    @cached_property
    def tensorflow(self) -> str:
        """What TensorFlow is called here."""
        return next((name for name, of in self.aliases.items() if of == "tensorflow"), "tf")

    @cached_property
    def aliases(self) -> dict[str, str]:
        """What imports of this cell bind: ``{"np": "numpy", "relu": "tensorflow.nn.relu"}``."""
        found = {}
        for node in self.of(ast.Import):
            for name in node.names:
                found[name.asname or name.name.partition(".")[0]] = (
                    name.name if name.asname else name.name.partition(".")[0]
                )
        for other in self.of(ast.ImportFrom):
            for name in other.names:
                found[name.asname or name.name] = f"{other.module}.{name.name}"
        return found


def _decorators(node: ast.AST) -> list[ast.expr]:
    found: list[ast.expr] = getattr(node, "decorator_list", [])
    return found


def dotted(node: ast.AST) -> str:
    """``tf.math.log`` of such an expression; what is no name and no attribute is ``?``."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return "?"


def names_in(node: ast.AST) -> set[str]:
    """The names that are read in ``node``."""
    return {
        part.id
        for part in ast.walk(node)
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)
    }


def own_expressions(statement: ast.stmt) -> Iterator[ast.expr]:
    """The expressions that stand directly in a statement."""
    for child in ast.iter_child_nodes(statement):
        if isinstance(child, ast.expr):
            yield child
        elif isinstance(child, ast.withitem):
            yield child.context_expr


def stored(node: ast.AST) -> set[str]:
    """The plain names that ``node`` gives a value."""
    found = {
        part.id
        for part in ast.walk(node)
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
    }
    if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
        found.add(node.name)
    return found


def must_be_whole(code: Code, node: ast.Call) -> bool:
    """Whether the number is used as a place or as a count: no other has its work to do."""
    wanted: set[ast.AST] = set()
    for at in code.of(ast.expr):
        if isinstance(at, ast.Subscript):
            wanted.update(ast.walk(at.slice))
        elif isinstance(at, ast.Call) and dotted(at.func) == "range":
            wanted.update(part for argument in at.args for part in ast.walk(argument))
    statement = code.statement(node.lineno)
    names = stored(statement) if isinstance(statement, ast.Assign) else set()
    return node in wanted or any(isinstance(n, ast.Name) and n.id in names for n in wanted)


class Edits:
    """Replacements in one source; :meth:`result` gives the lines that they change."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self._done: list[tuple[tuple[int, int], tuple[int, int], str]] = []

    def __bool__(self) -> bool:
        return bool(self._done)

    def replace(self, node: ast.expr | ast.stmt, text: str) -> None:
        """``text`` in place of ``node``; what lies inside an earlier replacement is left."""
        start, end = self.code.span(node)
        self.cut(start, end, text)

    def cut(self, start: tuple[int, int], end: tuple[int, int], text: str) -> None:
        """``text`` in place of what stands between two places."""
        if not any(s <= start and end <= e for s, e, _ in self._done):
            self._done = [d for d in self._done if not (start <= d[0] and d[1] <= end)]
            self._done.append((start, end, text))

    def rows(self, first: int, last: int, text: str) -> None:
        """``text``, whole lines with their indentation, in place of lines ``first``–``last``."""
        self.cut((first, 0), (last, len(self.code.lines[last - 1])), text)

    def before(self, line: int, text: str) -> None:
        """A line of its own before ``line``, at its depth."""
        self._done.append(((line, 0), (line, 0), f"{self.code.indent(line)}{text}\n"))

    def result(self) -> tuple[str, int, int]:
        """The new text of the lines that change (at no depth), and which lines they are."""
        first = min(start[0] for start, _, _ in self._done)
        last = max(end[0] for _, end, _ in self._done)
        text = b"\n".join(self.code.lines[first - 1 : last])
        offsets, at = [], 0
        for line in self.code.lines[first - 1 : last]:
            offsets.append(at)
            at += len(line) + 1
        for start, end, new in sorted(self._done, reverse=True):
            a = offsets[start[0] - first] + start[1]
            b = offsets[end[0] - first] + end[1]
            text = text[:a] + new.encode() + text[b:]
        margin = margin_of([row.decode() for row in self.code.lines[first - 1 : last]])
        return "\n".join(row.removeprefix(margin) for row in text.decode().split("\n")), first, last
