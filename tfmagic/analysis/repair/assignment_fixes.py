"""Repairs of the statement that gives a name its value."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import takewhile

from tfmagic.analysis.code import Code, Edits, dotted, names_in, own_expressions, stored
from tfmagic.analysis.custom import custom_function
from tfmagic.analysis.dependence import STATE
from tfmagic.analysis.rebinding import assigned, same_place
from tfmagic.analysis.repair.fix_context import FixContext
from tfmagic.analysis.repair.rewrite import called, grouped, keyword, rewrite
from tfmagic.model import Repair

__all__ = ["as_float", "assign", "inner_tape", "keep_value", "not_zero", "trace_again"]

_SIGNS = {"assign": "", "assign_add": "+", "assign_sub": "-"}
_SCATTERS = ("scatter_nd_update", "scatter_nd_add", "scatter_nd_sub")
_CHANGES = (*_SIGNS, *_SCATTERS)
_READS = ("read_value", "value")
_APART = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_MAKERS = ("Variable", "constant", "convert_to_tensor")
_KERAS = ("kernel", "bias", "gamma", "beta", "embeddings", "recurrent_kernel")
_INDEXED = {"GatherV2", "ResourceGather", "GatherNd", "OneHot", "StridedSlice", "Gather"}


# -- rebound ------------------------------------------------------------------------------------


def assign(scene: FixContext) -> Repair | None:
    """``W.assign_sub(…)`` where ``W = W - …`` put a tensor in the Variable's place."""
    for cell, code, statement in scene.guilty():
        pairs = [
            (target, value)
            for target, value in assigned(statement)
            if same_place(code, target, scene.source)
        ]
        if not pairs:
            continue
        edits = Edits(code)
        edits.replace(statement, _assignments(scene, code, statement, pairs[0]))
        if scene.finding.op is None and scene.block is not None and scene.block[0] == cell:
            tf, line = code.tensorflow, code.header(scene.block[2])[0]
            edits.before(line, f"{scene.source} = {tf}.Variable({scene.source})")
        return scene.repair(cell, edits)
    return None


def _assignments(
    scene: FixContext, code: Code, statement: ast.stmt, mine: tuple[ast.expr, ast.expr]
) -> str:
    if isinstance(statement, ast.AugAssign):
        method = {ast.Sub: "assign_sub", ast.Add: "assign_add"}.get(type(statement.op))
        target, value = (code.one_line(part) for part in mine)
        if method:
            return f"{target}.{method}({value})"
        new = ast.unparse(ast.BinOp(mine[0], statement.op, mine[1]))
        return f"{target}.assign({new})"
    pairs = list(assigned(statement))
    margin = "\n" + code.indent(statement.lineno)
    if len(pairs) > 1 and len({id(v) for _, v in pairs}) < len(pairs):  # one call gives them all
        assert isinstance(statement, ast.Assign)
        targets, value = code.one_line(statement.targets[0]), code.one_line(pairs[0][1])
        return f"{targets} = ({code.tensorflow}.Variable(v) for v in {value})"
    return margin.join(_assignment(scene, code, target, value) for target, value in pairs)


def _assignment(scene: FixContext, code: Code, target: ast.expr, value: ast.expr) -> str:
    text = code.one_line(target)
    if dotted(target) not in {dotted(n) for n in ast.walk(value)} and not isinstance(
        target, ast.Subscript
    ):
        return f"{text} = {code.one_line(value)}"
    if isinstance(value, ast.ListComp) and len(value.generators) == 1:
        loop = _loop(code, text, value)
        if loop:
            return loop
    step = _step(code, text, value)
    if step:
        return step
    try:
        wanted = ast.parse(scene.source, mode="eval").body
    except SyntaxError:
        wanted = target
    if isinstance(wanted, ast.Subscript) and not isinstance(target, ast.Subscript):
        return _each_assigned(code, text, value, wanted)
    if _same_form(scene):
        return f"{text}.assign({code.one_line(value)})"
    return f"{text} = {code.tensorflow}.Variable({code.one_line(value)})"


def _each_assigned(code: Code, text: str, value: ast.expr, wanted: ast.Subscript) -> str:
    """A whole list or dict of new values, each assigned to its Variable."""
    margin = "\n" + code.indent(value.lineno) + "    "
    new = code.one_line(value)
    if isinstance(wanted.slice, ast.Constant) and isinstance(wanted.slice.value, str):
        return f"for key, new in {grouped(new)}.items():{margin}{text}[key].assign(new)"
    return f"for old, new in zip({text}, {new}):{margin}old.assign(new)"


def _step(code: Code, text: str, value: ast.expr) -> str:
    """``W - e`` as ``W.assign_sub(e)``; an empty text where it is nothing like that."""
    if not isinstance(value, ast.BinOp):
        return ""
    left, right = code.one_line(value.left), code.one_line(value.right)
    if isinstance(value.op, ast.Sub) and left == text:
        return f"{text}.assign_sub({right})"
    if isinstance(value.op, ast.Add) and text in (left, right):
        return f"{text}.assign_add({right if left == text else left})"
    return ""


def _loop(code: Code, text: str, value: ast.ListComp) -> str:
    """``[p - e for p, g in zip(W, grads)]`` as a loop that changes each Variable."""
    generator = value.generators[0]
    item = _item_of(code, text, generator)
    if not item:
        return ""
    step = _step(code, item, value.elt) or f"{item}.assign({code.one_line(value.elt)})"
    over = f"{code.one_line(generator.target)} in {code.one_line(generator.iter)}"
    margin = "\n" + code.indent(value.lineno) + "    "
    conditions = "".join(f"if {code.one_line(test)}: " for test in generator.ifs[:1])
    return (
        f"for {over.removeprefix('(')}:{margin}{conditions}{step}".replace(") in ", " in ", 1)
        if (over.startswith("("))
        else f"for {over}:{margin}{conditions}{step}"
    )


def _item_of(code: Code, text: str, generator: ast.comprehension) -> str:
    """What the items of ``text`` are called in a comprehension."""
    target, over = generator.target, generator.iter
    if code.one_line(over) == text:
        return code.one_line(target)
    zipped = called(code, over, ["zip"])
    if zipped is not None and isinstance(target, ast.Tuple):
        for part, argument in zip(target.elts, zipped.args, strict=False):
            if code.one_line(argument) == text:
                return code.one_line(part)
    return ""


def _same_form(scene: FixContext) -> bool:
    """Whether the tensor has the shape and dtype of a Variable that it was computed from."""
    recording = scene.recording
    if scene.op is None or not scene.op.outputs:
        return False
    made = recording.tensors[scene.op.outputs[0]]
    before = {
        (recording.tensors[t].shape, recording.tensors[t].dtype)
        for op in scene.ways.to_op(scene.op.index)
        for t in recording.ops[op].inputs
        if recording.tensors[t].variable is not None
    }
    return (made.shape, made.dtype) in before


# -- not_float ----------------------------------------------------------------------------------


def as_float(scene: FixContext) -> Repair | None:
    """The source as a floating Variable, where it was given its value."""
    dtype = scene.gradient.source_dtype
    if dtype == "string" or _is_index(scene):
        return None
    root = scene.source
    found = scene.definition(root) if root.isidentifier() else None
    if found is None:
        return _cast_before(scene)
    cell, code, statement = found
    pairs = list(assigned(statement))
    value = next(value for target, value in pairs if root in stored(target))
    if sum(other is value for _, other in pairs) > 1:  # one call gives several
        return _cast_before(scene)
    edits = Edits(code)
    watched = scene.heard is not None and scene.heard.watch_of(scene.gradient) is not None
    edits.replace(value, _floated(code, value, watched))
    return scene.repair(cell, edits)


def _is_index(scene: FixContext) -> bool:
    """Whether the source says which rows are meant: that cannot be moved a little."""
    own = scene.ways.own(scene.gradient)
    recording = scene.recording
    return any(op.type in _INDEXED and own & set(op.inputs[1:]) for op in recording.forward) or any(
        op.type in ("OneHot",) and own & set(op.inputs[:1]) for op in recording.forward
    )


def _floated(code: Code, value: ast.expr, watched: bool) -> str:
    tf = code.tensorflow
    maker = called(code, value, _MAKERS)
    if maker is None or not maker.args:
        text = f"{tf}.cast({code.one_line(value)}, {tf}.float32)"
        return text if watched else f"{tf}.Variable({text})"
    first = maker.args[0]
    plain = _literal(first)
    argument = plain or f"{tf}.cast({code.one_line(first)}, {tf}.float32)"
    rest = [
        f"{k.arg}={code.one_line(k.value)}" for k in maker.keywords if k.arg not in ("dtype", None)
    ]
    function = code.one_line(maker.func) if watched else f"{tf}.Variable"
    return f"{function}({', '.join([argument, *rest])})"


def _literal(node: ast.expr) -> str:
    """Whole numbers written out, as floating ones; empty for anything else."""
    try:
        value = ast.literal_eval(node)
    except (ValueError, SyntaxError, TypeError):
        return ""
    return repr(new) if (new := _as_floats(value)) is not None else ""


def _as_floats(value: object) -> object:
    if isinstance(value, (list, tuple)):
        parts = [_as_floats(part) for part in value]
        return None if None in parts else type(value)(parts)
    if isinstance(value, (int, float)):
        return float(value)
    return None


def _cast_before(scene: FixContext) -> Repair | None:
    if scene.block is None:
        return None
    cell, code, block = scene.block
    tf = code.tensorflow
    edits = Edits(code)
    line = code.header(block)[0]
    edits.before(line, f"{scene.source} = {tf}.Variable({tf}.cast({scene.source}, {tf}.float32))")
    return scene.repair(cell, edits)


# -- state --------------------------------------------------------------------------------------


def keep_value(scene: FixContext) -> Repair | None:
    """The value itself under the name, where it was stored in a variable."""
    items = scene.op is not None and scene.op.type == "ResourceStridedSliceAssign"
    for cell, code, statement in scene.guilty():
        edits = Edits(code)
        if isinstance(statement, ast.For) and _unstacked(code, statement, edits):
            return scene.repair(cell, edits)
        name = _unstored(code, statement, items, edits)
        if name:
            _as_a_tensor(code, statement, name, items, edits)
            for other in _further(scene, cell, statement):
                if further := _unstored(code, other, items, edits):
                    _as_a_tensor(code, other, further, items, edits)
            return scene.repair(cell, edits)
    return None


def _further(scene: FixContext, cell: int, first: ast.stmt) -> Iterator[ast.stmt]:
    """The statements of the cell by which the value went from one variable into the next."""
    ways = [scene.recording.ops[i] for i in scene.finding.way or ()]
    for op in ways:
        if STATE.fullmatch(op.type) and op is not scene.op:
            here = (statement for at, _, statement in scene.statements(op) if at == cell)
            yield from (statement for statement in here if statement is not first)


def _unstored(code: Code, statement: ast.stmt, items: bool, edits: Edits) -> str:
    """The name of a variable that the statement stores a value in, and from now on the value's."""
    for target, made in assigned(statement):
        maker = called(code, made, ["Variable"])
        if maker is not None and maker.args:
            edits.replace(made, code.one_line(maker.args[0]))
            return code.one_line(target)
    for call in _changes(code, statement):
        change = _change(code, call, items)
        if change is None:
            continue
        name, value = change
        if _is_loops(code, statement, name):
            continue
        whole = _whole(code, call)
        alone = isinstance(statement, ast.Expr) and whole is statement.value
        if not alone and not _can_stand_before(code, statement):
            continue
        text = _global(code, statement, name, edits) + f"{name} = {value}"
        if alone:
            edits.replace(statement, text)
        else:  # what the call gives is used in its line
            edits.replace(whole, name)
            edits.before(statement.lineno, text)
        return name
    return ""


def _can_stand_before(code: Code, statement: ast.stmt) -> bool:
    """Whether a line before the statement runs just before it."""
    begins = len(code.indent(statement.lineno)) == statement.col_offset
    return begins and not hasattr(statement, "body")


def _changes(code: Code, statement: ast.stmt) -> Iterator[ast.Call]:
    """The calls in a statement (not in its body) that change a variable when it runs."""
    for expression in own_expressions(statement):
        for node in ast.walk(expression):
            if not isinstance(node, ast.Call) or not (node.args or node.keywords):
                continue
            changes = isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGES
            around = takewhile(lambda outer: outer is not statement, code.around(node))
            if changes and not any(isinstance(outer, _APART) for outer in around):
                yield node


def _change(code: Code, call: ast.Call, items: bool) -> tuple[str, str] | None:
    """``v`` and its new value for ``v.assign(E)``, or with ``items`` for ``v[0].assign(E)``."""
    assert isinstance(call.func, ast.Attribute)
    method, target = call.func.attr, call.func.value
    sign, tf = _SIGNS.get(method, ""), code.tensorflow
    given = [code.one_line(part) for part in (*call.args, *(k.value for k in call.keywords))]
    if isinstance(target, ast.Attribute) and target.attr in _KERAS:
        return None  # a Keras layer's own: it cannot be put a tensor in the place of
    name, value = code.one_line(target), given[0]
    if method in _SCATTERS:
        return name, f"{tf}.tensor_{method}({', '.join([name, *given[:2]])})"
    if items and isinstance(target, ast.Subscript):
        if sign or not isinstance(target.slice, ast.Constant):
            return None
        name = code.one_line(target.value)
        at = code.one_line(target.slice)
        return name, f"{tf}.tensor_scatter_nd_update({name}, [[{at}]], [{value}])"
    value = _plain(value, name)
    return name, f"{name} {sign} {grouped(value)}" if sign else value


def _is_loops(code: Code, statement: ast.stmt, name: str) -> bool:
    """Whether a loop gives the name its variables: the value would not stay in one of them."""
    loops = (outer for outer in code.around(statement) if isinstance(outer, ast.For))
    return any(name.partition(".")[0].partition("[")[0] in stored(loop.target) for loop in loops)


def _global(code: Code, statement: ast.stmt, name: str, edits: Edits) -> str:
    """What has to stand before ``name`` gets a value in a function that has it from outside."""
    inside = code.function(statement)
    if not isinstance(inside, ast.FunctionDef) or not name.isidentifier():
        return ""
    if name in _bound(inside):
        return ""
    closed = any(isinstance(f, ast.FunctionDef) and name in _bound(f) for f in code.around(inside))
    word = f"{'nonlocal' if closed else 'global'} {name}"
    if any(n.id == name and n.lineno < statement.lineno for n in code.of(ast.Name, inside)):
        edits.before(inside.body[0].lineno, word)
        return ""
    return f"{word}\n{code.indent(statement.lineno)}"


def _bound(function: ast.FunctionDef) -> set[str]:
    """The names that a function's own lines may give a value."""
    declared = (n for n in ast.walk(function) if isinstance(n, (ast.Global, ast.Nonlocal)))
    given = {a.arg for a in function.args.args} | stored(function)
    return given | {name for node in declared for name in node.names}


def _whole(code: Code, call: ast.Call) -> ast.expr:
    """The call, or ``v.assign(E).read_value()`` of which it is a part."""
    method = code.parent(call)
    outer = code.parent(method) if isinstance(method, ast.Attribute) else None
    reads = isinstance(method, ast.Attribute) and method.attr in _READS
    return outer if reads and isinstance(outer, ast.Call) else call


def _as_a_tensor(code: Code, statement: ast.stmt, name: str, items: bool, edits: Edits) -> None:
    """The other lines that take ``name`` for a variable: it is none any more."""
    first = _beginning(code, statement)
    for other in code.of(ast.stmt):
        if other is statement or other.lineno < first:
            continue
        value = _stored_by(code, other, name, items)
        if value:
            here = code.function(other) is code.function(statement)
            before = "" if here else _global(code, other, name, edits)
            edits.replace(other, f"{before}{name} = {value}")
            continue
        for expression in own_expressions(other):
            text = code.text(expression)
            if (plain := _plain(text, name)) != text:
                edits.replace(expression, plain)


def _stored_by(code: Code, statement: ast.stmt, name: str, items: bool) -> str:
    """The new value of ``name`` where the statement does nothing but store it."""
    if not isinstance(statement, ast.Expr):
        return ""
    for call in _changes(code, statement):
        change = _change(code, call, items)
        if change is not None and change[0] == name and _whole(code, call) is statement.value:
            return change[1]
    return ""


def _beginning(code: Code, statement: ast.stmt) -> int:
    """The line of the outermost loop or the function around the statement, or its own."""
    first = statement.lineno
    for outer in code.around(statement):
        if isinstance(outer, (ast.For, ast.While, ast.FunctionDef)):
            first = outer.lineno
    return first


def _plain(text: str, name: str) -> str:
    """``text`` with ``name`` in place of ``name.read_value()``, which a tensor has not."""
    return re.sub(rf"(?<![\w.]){re.escape(name)}\.({'|'.join(_READS)})\(\)", name, text)


def _unstacked(code: Code, statement: ast.For, edits: Edits) -> bool:
    """A loop over the tensor itself, where it went over a dataset of it."""
    made = called(code, statement.iter, ["from_tensor_slices"])
    if made is None or not made.args:
        return False
    edits.replace(statement.iter, f"{code.tensorflow}.unstack({code.one_line(made.args[0])})")
    return True


# -- zero_input -----------------------------------------------------------------------------------


def not_zero(scene: FixContext) -> Repair | None:
    """A random beginning where a factor of zero lets nothing through."""
    return _random_start(scene) or _without_zero(scene)


def _random_start(scene: FixContext) -> Repair | None:
    recording = scene.recording
    if scene.op is None:
        return None
    # one with a name of its own first: an intermediate that is zero may be so because of it
    for tensor in sorted(scene.op.inputs, key=lambda t: not recording.tensors[t].name):
        info = recording.tensors[tensor]
        stats = info.value.stats
        if stats is None or not stats.count or stats.zeros < stats.seen:
            continue
        if not info.dtype.startswith(("float", "bfloat")):
            continue
        name = info.name
        found = scene.definition(name) if name.isidentifier() else None
        if found is not None:
            return _redefined(scene, name, found, info.shape or (), info.dtype)
        if info.variable is not None and name:
            return _initialised(scene, name) or _assigned_before(scene, name, info.variable)
        named = [n for n in _statement_names(scene) if (d := scene.definition(n)) and _zeros(d[2])]
        if named:
            again = scene.definition(named[0])
            assert again is not None
            return _redefined(scene, named[0], again, info.shape or (), info.dtype)
    return None


def _statement_names(scene: FixContext) -> list[str]:
    for _, _, statement in scene.guilty():
        return sorted(names_in(statement) - scene.carriers)
    return []


def _zeros(statement: ast.Assign | ast.AnnAssign) -> bool:
    return statement.value is not None and "zeros" in ast.dump(statement.value)


def _redefined(
    scene: FixContext,
    name: str,
    found: tuple[int, Code, ast.Assign | ast.AnnAssign],
    shape: tuple[int | None, ...],
    dtype: str,
) -> Repair | None:
    cell, code, statement = found
    tf = code.tensorflow
    wanted = "" if dtype == "float32" else f", dtype={tf}.{dtype}"
    random = f"{tf}.random.normal({shape!r}, stddev=0.1{wanted})"
    values = [value for target, value in assigned(statement) if dotted(target) == name]
    own = {id(node) for value in values for node in ast.walk(value)}

    def rule(node: ast.expr, text: object) -> str | None:
        if id(node) not in own:
            return None
        if called(code, node, ["zeros", "zeros_like", "zeros_initializer"]):
            return random
        maker = called(code, node, ["Variable", "constant", "convert_to_tensor"])
        if maker is not None and maker.args and _literal(maker.args[0]):
            inner = f"{code.one_line(maker.func)}({random})"
            return inner if called(code, node, ["Variable"]) else random
        return None

    edits = Edits(code)
    rewrite(edits, statement, rule)
    return scene.repair(cell, edits)


def _initialised(scene: FixContext, name: str) -> Repair | None:
    """Another initializer where a layer was made with one of zeros."""
    layer, _, weight = name.partition(".")
    found = scene.definition(layer) if layer.isidentifier() else None
    if found is None:
        return None
    cell, code, statement = found
    for target, value in assigned(statement):
        if dotted(target) != layer or not isinstance(value, ast.Call):
            continue
        initializer = keyword(value, f"{weight}_initializer")
        if initializer is not None and "zeros" in ast.dump(initializer).lower():
            edits = Edits(code)
            edits.replace(initializer, '"random_normal"')
            return scene.repair(cell, edits)
    return None


def _assigned_before(scene: FixContext, name: str, variable: int) -> Repair | None:
    if scene.block is None or _made_on_the_tape(scene, variable):
        return None
    cell, code, block = scene.block
    edits = Edits(code)
    line, tf = code.header(block)[0], code.tensorflow
    edits.before(line, f"{name}.assign({tf}.random.normal({name}.shape, stddev=0.1))")
    return scene.repair(cell, edits)


def _made_on_the_tape(scene: FixContext, variable: int) -> bool:
    """Whether the variable was made when the tape listened already: a layer's first call."""
    handles = (t for t in scene.recording.tensors if t.role == "handle" and t.variable == variable)
    return scene.heard is not None and any(
        t.op is not None and t.op >= scene.heard.began.op for t in handles
    )


def _without_zero(scene: FixContext) -> Repair | None:
    """``x`` where ``x * 0.0`` was written."""

    def rule(node: ast.expr, text: object) -> str | None:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            for zero, other in ((node.left, node.right), (node.right, node.left)):
                if isinstance(zero, ast.Constant) and zero.value == 0:
                    return ast.unparse(other)
        return None

    return scene.by_rule(rule)


# -- frozen_at_trace, custom_gradient -------------------------------------------------------------


def trace_again(scene: FixContext) -> Repair | None:
    """The function traced afresh, so that it takes in what the name means now."""
    name = str(dict(scene.finding.values).get("function", ""))
    for cell, code, statement in scene.guilty():
        calls = [n for n in ast.walk(statement) if isinstance(n, ast.Call)]
        mine = [c for c in calls if dotted(c.func).rpartition(".")[2] == name]
        if not mine and name == "__call__":
            mine = [c for c in calls if dotted(c.func) not in ("?",) and _is_object(code, c)]
        if not mine:
            mine = [c for c in calls if isinstance(c.func, ast.Name) and _is_object(code, c)]
        if not mine:
            continue
        function = code.one_line(mine[0].func) + (".__call__" if name == "__call__" else "")
        edits = Edits(code)
        edits.replace(mine[0].func, f"{code.tensorflow}.function({function}.python_function)")
        return scene.repair(cell, edits)
    return None


def _is_object(code: Code, call: ast.Call) -> bool:
    root = dotted(call.func).partition(".")[0]
    return root not in (code.tensorflow, "np", "numpy", "float", "int", "print", "range", "zip")


def inner_tape(scene: FixContext) -> Repair | None:
    """A custom gradient that asks a tape of its own: the place to change it stays."""
    if scene.op is None:
        return None
    found = custom_function(scene.recording, scene.op)
    if found is None:
        return None
    cell, code, function = found
    returns = [s for s in function.body if isinstance(s, ast.Return)]
    names = [a.arg for a in function.args.args]
    value = returns[-1].value if returns else None
    if not names or not isinstance(value, ast.Tuple) or len(value.elts) != 2:
        return None
    first = function.body[0].lineno
    margin = code.indent(first)
    inputs = names[0] if len(names) == 1 else f"[{', '.join(names)}]"
    kept = [
        code.lines[i].decode()
        for s in function.body
        if not isinstance(s, (ast.FunctionDef, ast.Return))
        for i in range(s.lineno - 1, s.end_lineno or s.lineno)
    ]
    lines = [
        f"{margin}with {code.tensorflow}.GradientTape() as inner:",
        f"{margin}    inner.watch({inputs})",
        *(f"    {line}" for line in kept),
        f"{margin}    result = {code.one_line(value.elts[0])}",
        f"{margin}def grad(upstream):",
        f"{margin}    return inner.gradient(result, {inputs}, output_gradients=upstream)",
        f"{margin}return result, grad",
    ]
    edits = Edits(code)
    edits.rows(first, function.end_lineno or first, "\n".join(lines))
    return scene.repair(cell.index, edits)
