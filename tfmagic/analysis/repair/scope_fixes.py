"""Repairs for ops that the tape did not hear: into its block with them."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from tfmagic.analysis.code import Code, Edits, dotted, names_in, stored
from tfmagic.analysis.repair.fix_context import FixContext
from tfmagic.model import Op, Repair

__all__ = ["onto_the_tape"]


def onto_the_tape(scene: FixContext) -> Repair | None:
    """What was missed, put where the tape listens."""
    if scene.heard is None or scene.block is None:
        return None
    reset = scene.heard.reset
    if reset is not None and (scene.op is None or scene.op.index < reset.op):
        return _without_reset(scene)
    way = scene.ways.way(scene.call, scene.gradient)
    missed = scene.heard.missed(op for op in way if op.type != "ReadVariableOp")
    if not missed:
        return None
    if missed[0].index < scene.heard.began.op:
        return _from_before(scene, missed)
    if missed[0].index >= scene.heard.spans[-1][1]:
        return _from_after(scene, missed)
    return _from_pause(scene)


def _without_reset(scene: FixContext) -> Repair | None:
    for cell, code, statement in scene.guilty():
        edits = Edits(code)
        alone = len(code.block(statement)) == 1
        edits.replace(statement, "pass" if alone else f"# {code.one_line(statement)}")
        return scene.repair(cell, edits)
    return None


def _from_pause(scene: FixContext) -> Repair | None:
    """The block of ``stop_recording`` without its header."""
    for cell, code, statement in scene.guilty():
        for outer in code.around(statement):
            if isinstance(outer, ast.With) and "stop_recording" in ast.dump(outer.items[0]):
                return scene.repair(cell, _dedented(code, outer))
    return None


def _dedented(code: Code, block: ast.With) -> Edits:
    first = block.body[0].lineno
    deeper, margin = code.indent(first), code.indent(block.lineno)
    last = block.end_lineno or first
    lines = [code.lines[i].decode() for i in range(first - 1, last)]
    text = "\n".join(margin + line.removeprefix(deeper) for line in lines)
    edits = Edits(code)
    edits.rows(block.lineno, last, text)
    return edits


def _here(scene: FixContext, ops: Sequence[Op]) -> list[ast.stmt]:
    """The statements beside the tape's block that led to these ops, in their order."""
    assert scene.block is not None
    cell, code, block = scene.block
    home = code.function(block)
    found: dict[ast.stmt, None] = {}
    for op in ops:
        for at, _, statement in scene.statements(op):
            if at == cell and code.function(statement) is home:
                found[_outermost(code, statement, block)] = None
    return sorted(found, key=lambda statement: statement.lineno)


def _outermost(code: Code, statement: ast.stmt, block: ast.With) -> ast.stmt:
    """The statement itself, or the loop around it that stands in a block with the tape."""
    around = set(code.around(block))
    while True:
        outer = next((n for n in code.around(statement) if isinstance(n, ast.stmt)), None)
        if outer is None or outer in around or isinstance(outer, ast.FunctionDef):
            return statement
        statement = outer


def _from_before(scene: FixContext, missed: Sequence[Op]) -> Repair | None:
    """The lines that ran before the tape listened, moved to the top of its block."""
    assert scene.block is not None and scene.heard is not None
    cell, code, block = scene.block
    before = [op for op in missed if op.index < scene.heard.began.op]
    moved = [s for s in _here(scene, before) if s.lineno < block.lineno]
    edits = Edits(code)
    inside = code.indent(block.body[0].lineno)
    if block.body[0].lineno == block.lineno:
        return None
    if not moved:
        return _copied(scene, before)
    moved = _with_followers(code, moved, block)
    header = _after_watches(code, block, moved)
    end = (header, len(code.lines[header - 1]))
    edits.cut(end, end, "".join("\n" + text for s in moved for text in _lines(code, s, inside)))
    for statement in moved:
        last = statement.end_lineno or statement.lineno
        edits.cut((statement.lineno, 0), (last + 1, 0), "")
    return scene.repair(cell, edits)


def _after_watches(code: Code, block: ast.With, moved: Sequence[ast.stmt]) -> int:
    """The last line of the block's header and of the ``tape.watch(x)`` at its beginning."""
    line, made = code.header(block)[1], set().union(*(stored(s) for s in moved))
    for statement in block.body:
        call = statement.value if isinstance(statement, ast.Expr) else None
        watches = isinstance(call, ast.Call) and dotted(call.func).endswith(".watch")
        if not watches or made & names_in(statement):
            break
        line = statement.end_lineno or statement.lineno
    return line


def _lines(code: Code, statement: ast.stmt, margin: str) -> list[str]:
    """The lines of a statement at another depth."""
    own = code.indent(statement.lineno)
    last = statement.end_lineno or statement.lineno
    rows = [code.lines[i].decode() for i in range(statement.lineno - 1, last)]
    return [margin + row.removeprefix(own) for row in rows]


def _with_followers(code: Code, moved: list[ast.stmt], block: ast.With) -> list[ast.stmt]:
    """The moved statements, and those before the block that need what they make."""
    names = set().union(*(stored(s) for s in moved))
    found = list(moved)
    for statement in code.block(moved[0]):
        last = statement.end_lineno or statement.lineno
        between = moved[0].lineno < statement.lineno and last < block.lineno
        if between and statement not in found and names & names_in(statement):
            found.append(statement)
            names |= stored(statement)
    return sorted(found, key=lambda statement: statement.lineno)


def _copied(scene: FixContext, before: Sequence[Op]) -> Repair | None:
    """Lines of an earlier cell, written once more inside the block."""
    assert scene.block is not None
    cell, code, block = scene.block
    inside = code.indent(block.body[0].lineno)
    texts: dict[str, None] = {}
    for op in before:
        for at, other, statement in scene.statements(op):
            if at != cell and isinstance(other.function(statement), ast.Module):
                texts["\n".join(_lines(other, statement, inside))] = None
    if not texts:
        return None
    header = code.header(block)[1]
    end = (header, len(code.lines[header - 1]))
    edits = Edits(code)
    edits.cut(end, end, "".join("\n" + text for text in texts))
    return scene.repair(cell, edits)


def _from_after(scene: FixContext, missed: Sequence[Op]) -> Repair | None:
    """The lines that ran once the tape had stopped, on the same tape again."""
    assert scene.block is not None
    cell, code, _ = scene.block
    if scene.asked is None:
        return None
    at, other, asked = scene.asked
    statements = [s for s in _here(scene, missed) if not isinstance(s, ast.FunctionDef)]
    ask = next((n for n in other.around(asked) if isinstance(n, ast.stmt)), None)
    if at == cell and statements and statements[-1] is ask:
        return _out_of_the_call(scene, code, ask)
    if not statements:
        return None
    first, last = statements[0].lineno, statements[-1].end_lineno or statements[-1].lineno
    margin = code.indent(first)
    rows = [code.lines[i].decode() for i in range(first - 1, last)]
    text = "\n".join(f"    {row}" if row.strip() else row for row in rows)
    edits = Edits(code)
    edits.rows(first, last, f"{margin}with {scene.tape}:\n{text}")
    return scene.repair(cell, edits)


def _out_of_the_call(scene: FixContext, code: Code, ask: ast.stmt) -> Repair | None:
    """A target that was computed in the very call gets a line of its own, on the tape."""
    target = scene.target()
    if target is None or isinstance(target, ast.Name) or scene.asked is None:
        return None
    name = "total" if "total" not in names_in(code.tree) | stored(code.tree) else "total_"
    margin = code.indent(ask.lineno)
    edits = Edits(code)
    edits.replace(target, name)
    start = (ask.lineno, 0)
    edits.cut(
        start, start, f"{margin}with {scene.tape}:\n{margin}    {name} = {code.one_line(target)}\n"
    )
    return scene.repair(scene.asked[0], edits)
