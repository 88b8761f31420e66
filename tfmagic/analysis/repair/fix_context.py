"""What a repair has to know: the cell, the tape, the call, the guilty line."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from tfmagic.analysis.code import Code, Edits, code_of, names_in, stored
from tfmagic.analysis.dependence import DependenceGraph, Finding
from tfmagic.analysis.repair.rewrite import Rule, keyword, rewrite
from tfmagic.analysis.taint import roots
from tfmagic.analysis.tapes import Heard, heard
from tfmagic.model import Gradient, GradientCall, Line, Op, Recording, Repair

__all__ = ["FixContext"]


@dataclass(frozen=True)
class FixContext:
    """One gradient with what was found about it."""

    ways: DependenceGraph
    call: GradientCall
    gradient: Gradient
    finding: Finding
    line: Line | None

    @property
    def recording(self) -> Recording:
        """The recording that all of this is in."""
        return self.ways.recording

    @property
    def source(self) -> str:
        """What the user calls the source."""
        return self.gradient.source

    def code(self, cell: int) -> Code:
        """The source of a cell."""
        return code_of(self.recording.cells[cell].source)

    # -- the guilty op -------------------------------------------------------------

    @cached_property
    def op(self) -> Op | None:
        """The guilty op."""
        return None if self.finding.op is None else self.recording.ops[self.finding.op]

    def statements(self, op: Op) -> Iterator[tuple[int, Code, ast.stmt]]:
        """The statements that led to ``op``, innermost first, with their cells."""
        for frame in reversed(op.stack):
            line = self.recording.lines[frame.line]
            code = self.code(line.cell)
            statement = code.statement(line.number)
            if statement is not None:
                yield line.cell, code, statement

    def guilty(self) -> Iterator[tuple[int, Code, ast.stmt]]:
        """The statements of the guilty line, and those that led to it."""
        if self.line is not None:
            code = self.code(self.line.cell)
            statement = code.statement(self.line.number)
            if statement is not None:
                yield self.line.cell, code, statement
        if self.op is not None:
            yield from self.statements(self.op)

    def by_rule(self, rule: Rule) -> Repair | None:
        """The guilty statement rewritten; the nearest one to which the rule applies."""
        for cell, code, statement in self.guilty():
            edits = Edits(code)
            if rewrite(edits, statement, rule):
                return self.repair(cell, edits)
        return None

    @staticmethod
    def repair(cell: int, edits: Edits) -> Repair | None:
        """The edits as a repair, None where they change nothing."""
        if not edits:
            return None
        text, first, last = edits.result()
        return Repair(text, cell, first, last)

    # -- the call --------------------------------------------------------------------

    @cached_property
    def asked(self) -> tuple[int, Code, ast.Call] | None:
        """The call ``tape.gradient(target, sources)`` in the user's source."""
        if self.call.line is None:
            return None
        line = self.recording.lines[self.call.line]
        code = self.code(line.cell)
        statement = code.statement(line.number)
        found = [
            node
            for node in ast.walk(statement or ast.Module([], []))
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("gradient", "jacobian")
        ]
        nearest = sorted(found, key=lambda node: abs(node.lineno - line.number))
        return (line.cell, code, nearest[0]) if nearest else None

    @property
    def tape(self) -> str:
        """What the user calls the tape."""
        if self.asked is None:
            return "tape"
        _, code, call = self.asked
        assert isinstance(call.func, ast.Attribute)
        return code.one_line(call.func.value)

    @cached_property
    def heard(self) -> Heard | None:
        """The life of the tape."""
        return heard(self.call)

    @cached_property
    def block(self) -> tuple[int, Code, ast.With] | None:
        """The ``with`` statement in which the tape listened."""
        if self.heard is not None and self.heard.began.line is not None:
            line = self.recording.lines[self.heard.began.line]
            found = self._with_at(line.cell, line.number)
            if found is not None:
                return found
        if self.asked is None:
            return None
        cell, code, call = self.asked
        above = [
            node
            for node in code.of(ast.With)
            if node.lineno <= call.lineno
            and any(
                item.optional_vars is not None and code.one_line(item.optional_vars) == self.tape
                for item in node.items
            )
        ]
        return (cell, code, above[-1]) if above else None

    def _with_at(self, cell: int, number: int) -> tuple[int, Code, ast.With] | None:
        code = self.code(cell)
        for node in code.of(ast.With):
            first, last = code.header(node)
            if first <= number <= last:
                return cell, code, node
        return None

    def target(self) -> ast.expr | None:
        """The target as it stands in the call."""
        return None if self.asked is None else keyword(self.asked[2], "target", 0)

    def sources(self) -> ast.expr | None:
        """The sources as they stand in the call."""
        return None if self.asked is None else keyword(self.asked[2], "sources", 1)

    # -- names -----------------------------------------------------------------------

    @cached_property
    def carriers(self) -> frozenset[str]:
        """Plain names that carry the source's value."""
        reach = self.ways.reach(self.gradient, self.recording.ops)
        names = {self.recording.tensors[t].name for t in reach.any}
        return frozenset({n for n in names if n.isidentifier()} | roots(self.gradient))

    def definition(self, name: str) -> tuple[int, Code, ast.Assign | ast.AnnAssign] | None:
        """The last assignment that gave the plain ``name`` its value, before the tape."""
        until = self.block
        for cell in reversed(self.recording.cells):
            code = code_of(cell.source)
            found = [
                node
                for node in code.of(ast.stmt)
                if isinstance(node, (ast.Assign, ast.AnnAssign))
                and node.value is not None
                and name in stored(node)
                and (until is None or until[0] != cell.index or node.lineno <= until[2].lineno)
            ]
            if found:
                return cell.index, code, found[-1]
        return None

    def used(self) -> list[str]:
        """Names of the variables that the target was computed from, the source aside."""
        recording, found = self.recording, dict[str, None]()
        for op in self.ways.ancestors(self.call):
            for tensor in op.inputs:
                index = recording.tensors[tensor].variable
                if index is not None and index != self.gradient.variable:
                    variable = recording.variables[index]
                    if variable.trainable and variable.dtype.startswith(("float", "bfloat")):
                        found[variable.name] = None
        return [name for name in found if _is_expression(name)]

    def mentions(self, node: ast.AST) -> bool:
        """Whether a value that comes from the source is read in ``node``."""
        return bool(self.carriers & names_in(node))


def _is_expression(name: str) -> bool:
    try:
        ast.parse(name, mode="eval")
    except SyntaxError:
        return False
    return True
