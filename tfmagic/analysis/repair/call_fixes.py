"""Repairs of the tape and of how it is asked."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable

from tfmagic.analysis.code import Code, Edits, dotted, stored
from tfmagic.analysis.dependence import largest
from tfmagic.analysis.repair.fix_context import FixContext
from tfmagic.analysis.repair.rewrite import called, keyword, rewrite
from tfmagic.model import Repair

__all__ = ["ask_scaled", "persistent", "smooth_maximum", "watch"]


# -- the tape ---------------------------------------------------------------------------------


def watch(scene: FixContext) -> Repair | None:
    """``tape.watch(x)`` as the first thing in the tape's block."""
    if scene.block is None:
        return None
    cell, code, block = scene.block
    if scene.gradient.variable is None and not scene.gradient.source_tensors:
        return _as_variable(scene, cell, code, block)
    edits = Edits(code)
    line = f"{scene.tape}.watch({_watched(scene)})"
    made = _made_inside(code, block, scene.source)
    if made is not None:
        end = made.end_lineno or made.lineno
        _after(edits, end, code.indent(made.lineno) + line)
    elif block.body[0].lineno == code.header(block)[1]:  # on one line with its header
        start = (block.body[0].lineno, block.body[0].col_offset)
        edits.cut(start, start, line + "; ")
    else:
        _after(edits, code.header(block)[1], code.indent(block.body[0].lineno) + line)
    return scene.repair(cell, edits)


def _after(edits: Edits, line: int, text: str) -> None:
    end = (line, len(edits.code.lines[line - 1]))
    edits.cut(end, end, "\n" + text)


def _watched(scene: FixContext) -> str:
    """The source, together with the others of the same call that nobody watches."""
    same = [g for g in scene.call.gradients if g.value is None and g.source]
    expression = scene.sources()
    if len(same) > 1 and len(same) == len(scene.call.gradients) and expression is not None:
        return scene.asked[1].one_line(expression) if scene.asked else scene.source
    names = list(dict.fromkeys(g.source for g in same)) or [scene.source]
    return names[0] if len(names) == 1 else f"[{', '.join(names)}]"


def _made_inside(code: Code, block: ast.With, source: str) -> ast.stmt | None:
    """The statement in the block that gives the source its value, if one does."""
    root = source.partition(".")[0].partition("[")[0]
    for statement in block.body:
        if root in stored(statement) and not hasattr(statement, "body"):
            return statement
    return None


def _as_variable(scene: FixContext, cell: int, code: Code, block: ast.With) -> Repair | None:
    """An array is not a tensor at all: it becomes a variable before the block."""
    if not scene.source.isidentifier():
        return None
    tf = code.tensorflow
    wanted = {scene.recording.tensors[t].dtype for t in scene.call.target_tensors}
    dtype = next(iter(wanted), "float32")
    edits = Edits(code)
    edits.before(
        block.lineno, f"{scene.source} = {tf}.Variable({scene.source}, dtype={tf}.{dtype})"
    )
    return scene.repair(cell, edits)


def persistent(scene: FixContext) -> Repair | None:
    """``persistent=True`` where the tape is made."""
    if scene.block is None:
        return None
    cell, code, block = scene.block
    makers: list[ast.expr] = [item.context_expr for item in block.items]
    for node in code.of(ast.Assign):
        if scene.tape in {dotted(target) for target in node.targets}:
            makers.append(node.value)
    for maker in makers:
        call = called(code, maker, ["GradientTape"])
        if call is None:
            continue
        edits = Edits(code)
        given = keyword(call, "persistent", 0)
        if given is not None:
            edits.replace(given, "True")
        else:
            words = [code.one_line(a) for a in call.args]
            words += [f"{k.arg}={code.one_line(k.value)}" for k in call.keywords]
            text = ", ".join([*words, "persistent=True"])
            edits.replace(call, f"{code.one_line(call.func)}({text})")
        return scene.repair(cell, edits)
    return None


def smooth_maximum(scene: FixContext) -> Repair | None:
    """A smooth maximum, which takes something of every value."""
    for op in scene.ways.way(scene.call, scene.gradient):
        if op.type not in ("Max", "Min"):
            continue
        for cell, code, statement in scene.statements(op):

            def rule(
                node: ast.expr, text: Callable[[ast.expr], str], code: Code = code
            ) -> str | None:
                call = called(code, node, ["reduce_max"])
                if call is None or not call.args:
                    return None
                words = [text(a) for a in call.args]
                words += [f"{k.arg}={text(k.value)}" for k in call.keywords]
                return f"{code.tensorflow}.reduce_logsumexp({', '.join(words)})"

            edits = Edits(code)
            if rewrite(edits, statement, rule):
                return scene.repair(cell, edits)
    return None


# -- what is done with the answer --------------------------------------------------------------


def ask_scaled(scene: FixContext) -> Repair | None:
    """The gradient of a scaled target, scaled back in a wider dtype: loss scaling."""
    target = scene.target()
    if target is None or scene.asked is None or keyword(scene.asked[2], "output_gradients", 2):
        return None
    cell, code, call = scene.asked
    tf = code.tensorflow
    scale, wide = _loss_scale(scene)
    text = code.one_line(target)
    words = [code.one_line(a) for a in call.args]
    words += [f"{k.arg}={code.one_line(k.value)}" for k in call.keywords]
    asked = ", ".join([*words, f"output_gradients={scale} * {tf}.ones_like({text})"])
    inner = f"{code.one_line(call.func)}({asked})"
    edits = Edits(code)
    edits.replace(call, _each(scene, inner, f"{tf}.cast({{}}, {tf}.{wide}) / {scale}"))
    return scene.repair(cell, edits)


def _loss_scale(scene: FixContext) -> tuple[str, str]:
    """A scale by which nothing is lost and nothing overflows, and the dtype to take it off in."""
    tensors = scene.recording.tensors
    if any(tensors[t].dtype == "float16" for t in scene.call.target_tensors):
        return "4096.0", "float32"
    lost = largest(scene.ways.gradients(scene.op.outputs)) if scene.op is not None else 0.0
    way = scene.ways.way(scene.call, scene.gradient)
    if lost and any(tensors[t].dtype == "float16" for op in way for t in op.inputs):
        return f"1e{round(-math.log10(lost))}", "float64"
    return "1e30", "float64"


def _each(scene: FixContext, call: str, form: str) -> str:
    """``form`` for every gradient of the answer, in its structure as far as that is flat."""
    place = scene.gradient.place
    if not place:
        return form.format(call)
    if place.startswith("['"):
        return f"{{k: {form.format('g')} for k, g in {call}.items()}}"
    return f"[{form.format('g')} for g in {call}]"
