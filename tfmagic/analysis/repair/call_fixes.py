"""Repairs of the tape and of what it is asked."""

from __future__ import annotations

import ast
import difflib
import math
from collections.abc import Callable, Sequence

from tfmagic.analysis.code import Code, Edits, dotted, stored
from tfmagic.analysis.dependence import largest
from tfmagic.analysis.repair.fix_context import FixContext, Repair
from tfmagic.analysis.repair.rewrite import called, keyword, rewrite

__all__ = [
    "ask_another_target",
    "ask_for_root",
    "ask_for_rows",
    "ask_scaled",
    "ask_watched",
    "clip",
    "persistent",
    "take_out",
    "watch",
]


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


# -- what is asked for ----------------------------------------------------------------------


def ask_for_root(scene: FixContext) -> Repair | None:
    """The gradient of the object that the target was really computed from."""
    if scene.finding.words == "copy":
        return _not_the_copy(scene)
    root = _root(scene)
    sources = scene.sources()
    if root is None or sources is None or scene.asked is None:
        return None
    cell, code, _ = scene.asked
    edits = Edits(code)
    leaf = _leaf(sources, scene.gradient.place)
    edits.replace(sources if leaf is None else leaf, root)
    return scene.repair(cell, edits)


def _not_the_copy(scene: FixContext) -> Repair | None:
    """The variables themselves where copies of their values in numpy were asked for."""
    sources = scene.sources()
    if sources is None or scene.asked is None:
        return None
    cell, code, _ = scene.asked
    text = code.text(sources).replace(".get_weights()", ".trainable_variables")
    edits = Edits(code)
    edits.replace(sources, text.replace(".numpy()", ""))
    return scene.repair(cell, edits)


def _root(scene: FixContext) -> str | None:
    """The name of the variable or tensor that source and target have in common."""
    used = scene.used()
    tensors, ancestors = scene.recording.tensors, scene.ways.ancestors(scene.call)
    taken = {t for op in ancestors for t in op.inputs}
    named = {tensors[t].name for t in taken if _has_gradient(scene, t)}
    for node in _made_of(scene):
        names = [n for n in _plain_names(node) if n in used or n in named]
        if names:
            return names[0]
    return used[0] if len(used) == 1 else None


def _has_gradient(scene: FixContext, tensor: int) -> bool:
    """Whether the tape that was asked was told of the tensor, or of what it was made of."""
    tape, info = scene.heard, scene.recording.tensors[tensor]
    if tape is None:
        return True
    watched = {t for event in tape.watched for t in event.tensors}
    if info.op is None or not tape.listened(info.op):
        return tensor in watched or info.variable is not None
    made_of = (t for i in scene.ways.to_op(info.op) for t in scene.recording.ops[i].inputs)
    return any(t in watched or scene.recording.tensors[t].variable is not None for t in made_of)


def _made_of(scene: FixContext) -> list[ast.AST]:
    """The source as it was asked for, and what was assigned to its name."""
    found: list[ast.AST] = []
    sources = scene.sources()
    leaf = None if sources is None else _leaf(sources, scene.gradient.place) or sources
    if leaf is not None and not isinstance(leaf, (ast.Name, ast.Attribute)):
        found.append(leaf)
    for _, _, statement in scene.guilty():
        value = getattr(statement, "value", None)
        if isinstance(value, ast.expr):
            found.append(value)
    return found


def _plain_names(node: ast.AST) -> list[str]:
    """Names and attributes in ``node``, longest first."""
    texts = {dotted(n) for n in ast.walk(node) if isinstance(n, (ast.Name, ast.Attribute))}
    return sorted((t for t in texts if "?" not in t), key=len, reverse=True)


def _leaf(sources: ast.expr, place: str) -> ast.expr | None:
    """The expression at ``place`` (``[1]``, ``['w']``) where the sources are written out."""
    try:
        step = ast.parse("_" + place, mode="eval").body
    except SyntaxError:
        return None
    if isinstance(step, ast.Name):
        return sources
    if not (isinstance(step, ast.Subscript) and isinstance(step.value, ast.Name)):
        return None
    key = step.slice.value if isinstance(step.slice, ast.Constant) else None
    if isinstance(sources, (ast.List, ast.Tuple)) and isinstance(key, int):
        plain = not any(isinstance(e, ast.Starred) for e in sources.elts)
        return sources.elts[key] if plain and key < len(sources.elts) else None
    if isinstance(sources, ast.Dict):
        for name, value in zip(sources.keys, sources.values, strict=True):
            if isinstance(name, ast.Constant) and name.value == key:
                return value
    return None


def take_out(scene: FixContext) -> Repair | None:
    """The sources without those that have no part; a single one becomes the likely one."""
    sources = scene.sources()
    if sources is None or scene.asked is None:
        return None
    cell, code, call = scene.asked
    edits = Edits(code)
    places = [g.place for g in scene.call.gradients if g.value is None or g is scene.gradient]
    if places in ([""], []) or len(places) == len(scene.call.gradients):
        near = _likely(scene)
        if near is None:
            return None
        edits.replace(sources, near)
        return scene.repair(cell, edits)
    _without(edits, sources, places)
    statement = next((n for n in code.around(call) if isinstance(n, ast.stmt)), None)
    if isinstance(statement, ast.Assign) and statement.value is call:
        _drop_names(edits, statement, places, [g.place for g in scene.call.gradients])
    return scene.repair(cell, edits)


def _likely(scene: FixContext) -> str | None:
    """The variable in the target whose name is nearest to the source's."""
    used = scene.used()
    near = difflib.get_close_matches(scene.source, used, 1, 0.0)
    return near[0] if near else None


def _without(edits: Edits, sources: ast.expr, places: Sequence[str]) -> None:
    code, keys = edits.code, [_key(place) for place in places]
    if isinstance(sources, (ast.List, ast.Tuple)) and not any(
        isinstance(e, ast.Starred) for e in sources.elts
    ):
        kept = [code.one_line(e) for i, e in enumerate(sources.elts) if i not in keys]
        edits.replace(sources, f"[{', '.join(kept)}]")
    elif any(isinstance(key, str) for key in keys):
        text = code.factor(sources)
        gone = f"k != {keys[0]!r}" if len(keys) == 1 else f"k not in {tuple(keys)!r}"
        edits.replace(sources, f"{{k: v for k, v in {text}.items() if {gone}}}")
    else:
        gone = f"i != {keys[0]}" if len(keys) == 1 else f"i not in {tuple(keys)!r}"
        text = code.one_line(sources)
        edits.replace(sources, f"[v for i, v in enumerate({text}) if {gone}]")


def _key(place: str) -> object:
    try:
        step = ast.parse("_" + place, mode="eval").body
    except SyntaxError:
        return None
    return (
        step.slice.value
        if isinstance(step, ast.Subscript) and isinstance(step.slice, ast.Constant)
        else None
    )


def _drop_names(
    edits: Edits, statement: ast.Assign, places: Sequence[str], every: Sequence[str]
) -> None:
    """``da, db = …`` without the name whose gradient is not asked for any more."""
    target = statement.targets[0]
    if not isinstance(target, (ast.Tuple, ast.List)) or len(target.elts) != len(every):
        return
    kept = [e for e, place in zip(target.elts, every, strict=True) if place not in places]
    names = ", ".join(edits.code.one_line(e) for e in kept)
    edits.replace(target, f"{names}," if len(kept) == 1 else names)


def ask_another_target(scene: FixContext) -> Repair | None:
    """The gradient of a value that does depend on the source, beside that of the target where
    other sources have one."""
    target = scene.target()
    recording = scene.recording
    if target is None or scene.asked is None or scene.finding.words == "drops_out":
        return take_out(scene)
    reach = scene.ways.reach(scene.gradient, recording.ops)
    own = scene.ways.own(scene.gradient)
    tensors = [recording.tensors[t] for t in sorted(reach.free - own)]
    heard = scene.heard
    named = [
        t
        for t in tensors
        if t.name.isidentifier() and t.op is not None and (heard is None or heard.listened(t.op))
    ]
    cell, code, asked = scene.asked
    here = _names_at(code, asked)
    fitting = [t.name for t in named if t.name in here and t.name != scene.source]
    if not fitting:
        return take_out(scene)
    edits = Edits(code)
    others = any(g.value is not None for g in scene.call.gradients)
    both = others and not isinstance(target, (ast.List, ast.Tuple))
    edits.replace(target, f"[{code.one_line(target)}, {fitting[-1]}]" if both else fitting[-1])
    return scene.repair(cell, edits)


def _names_at(code: Code, node: ast.AST) -> set[str]:
    """The names that have got a value in the function around a node, or outside of all."""
    statement = next((n for n in code.around(node) if isinstance(n, ast.stmt)), None)
    homes = (code.tree, code.tree if statement is None else code.function(statement))
    given: set[str] = set()
    for other in code.of(ast.stmt):
        if not hasattr(other, "body") and any(code.function(other) is home for home in homes):
            given |= stored(other)
    return given


def ask_watched(scene: FixContext) -> Repair | None:
    """The gradients of the variables that the tape did meet."""
    sources = scene.sources()
    if sources is None or scene.asked is None:
        return None
    cell, code, _ = scene.asked
    edits = Edits(code)
    used = scene.used()
    edits.replace(sources, used[0] if len(used) == 1 else f"{scene.tape}.watched_variables()")
    return scene.repair(cell, edits)


def ask_for_rows(scene: FixContext) -> Repair | None:
    """A smooth maximum, or the gradient of what the target did take its values from."""
    if scene.op is not None and scene.op.type in ("Max", "Pack"):
        found = _smooth_maximum(scene)
        if found is not None:
            return found
    sources = scene.sources()
    written = isinstance(sources, (ast.List, ast.Tuple)) or not scene.gradient.place
    if scene.finding.words == "not_chosen" and not written:
        return None  # not one weight of a model is too many, but the condition is not met
    return take_out(scene) if scene.used() else None


def _smooth_maximum(scene: FixContext) -> Repair | None:
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


def clip(scene: FixContext) -> Repair | None:
    """The gradients with their norm held down."""
    if scene.asked is None:
        return None
    cell, code, call = scene.asked
    tf, text = code.tensorflow, code.text(call)
    edits = Edits(code)
    if len(scene.call.gradients) == 1 and not scene.gradient.place:
        edits.replace(call, f"{tf}.clip_by_norm({text}, 1.0)")
    elif scene.gradient.place.startswith("[") and "'" not in scene.gradient.place:
        edits.replace(call, f"{tf}.clip_by_global_norm({text}, 1.0)[0]")
    else:
        edits.replace(call, _each(scene, text, f"{tf}.clip_by_norm({{}}, 1.0)"))
    return scene.repair(cell, edits)


def _each(scene: FixContext, call: str, form: str) -> str:
    """``form`` for every gradient of the answer, in its structure as far as that is flat."""
    place = scene.gradient.place
    if not place:
        return form.format(call)
    if isinstance(_key(place), str):
        return f"{{k: {form.format('g')} for k, g in {call}.items()}}"
    return f"[{form.format('g')} for g in {call}]"
