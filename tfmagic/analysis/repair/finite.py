"""Repairs for values and slopes that are not finite."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import replace

from tfmagic.analysis.code import Code, Edits, dotted, names_in
from tfmagic.analysis.dependence import FLOATS
from tfmagic.analysis.repair.fix_context import FixContext
from tfmagic.analysis.repair.rewrite import Rule, called, grouped
from tfmagic.analysis.repair.surrogate_gradients import names_of
from tfmagic.model import Op, Repair

__all__ = ["away_from_the_edge", "inner_where", "only_finite", "within_range"]

Text = Callable[[ast.expr], str]
_Above = Callable[[str, str], str]
_Form = Callable[[Code, ast.expr, Text, _Above, str], str | None]
_QUOTIENTS = ("RealDiv", "Div", "DivNoNan", "Reciprocal", "Inv", "Xdivy")
#: Functions with an edge at zero, and those with one at plus and minus one.
_FROM_ZERO = ("sqrt", "rsqrt", "log", "reciprocal", "lgamma", "digamma")
_WITHIN_ONE = ("acos", "asin", "atanh", "arccos", "arcsin", "erfinv")
_TINY = {"float16": "1e-4", "bfloat16": "1e-12", "float32": "1e-12", "float64": "1e-24"}
_LARGEST_EXPONENT = {"float16": "10.0", "bfloat16": "80.0", "float32": "80.0", "float64": "700.0"}
_WIDER = {
    "float16": "float32",
    "bfloat16": "float32",
    "float32": "float64",
    "complex64": "complex128",
}
_BELOW_ONE = {"float16": "0.999", "bfloat16": "0.99", "float64": "1.0 - 1e-12"}


def _dtype(scene: FixContext) -> str:
    op = scene.op
    known = [scene.recording.tensors[t].dtype for t in (*op.inputs, *op.outputs)] if op else []
    return next((d for d in known if d.startswith(("float", "bfloat"))), "float32")


def _home(scene: FixContext) -> Code:
    assert scene.line is not None
    return scene.code(scene.line.cell)


def away_from_the_edge(scene: FixContext) -> Iterator[Repair | None]:
    """The input moved off the edge, so that there is a slope; else held where there is one."""
    if scene.op is None or scene.line is None:
        return
    for held in (False, True):
        yield scene.by_rule(_edge_rule(scene, _home(scene), held))


def _edge_rule(scene: FixContext, code: Code, held: bool) -> Rule:
    tf, dtype, op = code.tensorflow, _dtype(scene), scene.op.type if scene.op else ""
    forms: list[_Form] = [_log_of_softmax, _root_of_squares]
    forms += [_power] if op == "Pow" else []
    forms += [_quotient] if op in _QUOTIENTS else []
    tiny, below = _TINY.get(dtype, "1e-12"), _BELOW_ONE.get(dtype, "1.0 - 1e-6")

    def above(inner: str, least: str) -> str:
        return f"{tf}.maximum({inner}, {least})" if held else f"{grouped(inner)} + {least}"

    def within(inner: str) -> str:
        bounds = f"-({below}), {below}"
        return f"{tf}.clip_by_value({inner}, {bounds})" if held else f"{grouped(inner)} * {below}"

    edges: dict[str, Callable[[str], str]] = {
        **dict.fromkeys(_FROM_ZERO, lambda inner: above(inner, tiny)),
        **dict.fromkeys(_WITHIN_ONE, within),
        "log1p": lambda inner: f"{tf}.maximum({inner}, -({below}))",
        "acosh": lambda inner: above(inner, "1e-6") if not held else above(inner, "1.0 + 1e-6"),
    }

    def rule(node: ast.expr, text: Text) -> str | None:
        for form in forms:
            new = form(code, node, text, above, tiny)
            if new is not None:
                return new
        for name, away in edges.items():
            call = called(code, node, [name])
            if call is not None and call.args:
                return _with_first(code, call, away(text(call.args[0])), text)
        call = called(code, node, ["xlogy", "xdivy"])
        if call is not None and len(call.args) == 2:
            second = above(text(call.args[1]), tiny)
            return f"{code.one_line(call.func)}({text(call.args[0])}, {second})"
        return None

    return rule


def _with_first(code: Code, call: ast.Call, first: str, text: Text) -> str:
    words = [first, *(text(a) for a in call.args[1:])]
    words += [f"{k.arg}={text(k.value)}" for k in call.keywords]
    return f"{code.one_line(call.func)}({', '.join(words)})"


def _log_of_softmax(code: Code, node: ast.expr, text: Text, above: _Above, tiny: str) -> str | None:
    """``log(softmax(E)[i])`` as ``log_softmax(E)[i]``, which has no zeros."""
    log = called(code, node, ["log"])
    inner = log.args[0] if log is not None and log.args else None
    picked = inner if isinstance(inner, ast.Subscript) else None
    softmax = called(code, picked.value if picked else inner, ["softmax"]) if inner else None
    if softmax is None:
        return None
    words = [*map(text, softmax.args), *(f"{k.arg}={text(k.value)}" for k in softmax.keywords)]
    place = f"[{code.text(picked.slice)}]" if picked else ""
    return f"{code.tensorflow}.nn.log_softmax({', '.join(words)}){place}"


def _root_of_squares(
    code: Code, node: ast.expr, text: Text, above: _Above, tiny: str
) -> str | None:
    """A norm or standard deviation, written as the root of what may be zero."""
    call, tf = called(code, node, ["norm", "reduce_euclidean_norm", "reduce_std"]), code.tensorflow
    if call is None or not call.args:
        return None
    rest = [f"{k.arg}={text(k.value)}" for k in call.keywords if k.arg in ("axis", "keepdims")]
    inner = text(call.args[0])
    if called(code, node, ["reduce_std"]):
        rest = [*(text(a) for a in call.args[1:]), *rest]
        under = f"{tf}.math.reduce_variance({', '.join([inner, *rest])})"
    else:
        under = f"{tf}.reduce_sum({', '.join([f'{tf}.square({inner})', *rest])})"
    return f"{tf}.sqrt({above(under, tiny)})"


def _power(code: Code, node: ast.expr, text: Text, above: _Above, tiny: str) -> str | None:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        if _is_whole(node.right):
            return None
        return f"{grouped(above(text(node.left), tiny))} ** {grouped(text(node.right))}"
    call = called(code, node, ["pow"])
    if call is None or len(call.args) != 2 or _is_whole(call.args[1]):
        return None
    return f"{code.one_line(call.func)}({above(text(call.args[0]), tiny)}, {text(call.args[1])})"


def _is_whole(node: ast.expr) -> bool:
    """An exponent of 1, 2, 3…: such a power has a slope everywhere."""
    value = node.value if isinstance(node, ast.Constant) else None
    return isinstance(value, (int, float)) and value >= 1 and value == int(value)


def _quotient(code: Code, node: ast.expr, text: Text, above: _Above, tiny: str) -> str | None:
    pair: list[ast.expr] = []
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        pair = [node.left, node.right]
    elif (call := called(code, node, ["divide", "truediv", "div"])) is not None:
        pair = list(call.args[:2])
    if len(pair) != 2 or isinstance(pair[1], ast.Constant):
        return None
    return f"{code.tensorflow}.math.divide_no_nan({text(pair[0])}, {text(pair[1])})"


# -- overflow -----------------------------------------------------------------------------------


def within_range(scene: FixContext) -> Iterator[Repair | None]:
    """A form that stays within the dtype: log-sum-exp, softplus, more room, a bounded exponent."""
    if scene.op is None or scene.line is None:
        return
    code, wide = _home(scene), _wider_dtype(scene)
    yield scene.by_rule(_stable_rule(scene, code))
    if wide:
        yield scene.by_rule(_wider_rule(scene, code, wide))


def _stable_rule(scene: FixContext, code: Code) -> Rule:
    tf = code.tensorflow
    most = _LARGEST_EXPONENT.get(_dtype(scene), "80.0")

    def rule(node: ast.expr, text: Text) -> str | None:
        log = called(code, node, ["log"])
        if log is not None and log.args:
            return _log_of_exp(code, log.args[0], text, tf)
        call = called(code, node, ["exp", "expm1", "sinh", "cosh"])
        if call is not None and call.args:
            return f"{code.one_line(call.func)}({tf}.minimum({text(call.args[0])}, {most}))"
        return None

    return rule


def _log_of_exp(code: Code, inner: ast.expr, text: Text, tf: str) -> str | None:
    total = called(code, inner, ["reduce_sum"])
    if total is not None and total.args:
        exponential = called(code, total.args[0], ["exp"])
        if exponential is not None and exponential.args:
            rest = [f"{k.arg}={text(k.value)}" for k in total.keywords]
            return f"{tf}.reduce_logsumexp({', '.join([text(exponential.args[0]), *rest])})"
    if isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.Add):
        for one, other in ((inner.left, inner.right), (inner.right, inner.left)):
            exponential = called(code, other, ["exp"])
            if isinstance(one, ast.Constant) and one.value == 1 and exponential is not None:
                return f"{tf}.math.softplus({text(exponential.args[0])})"
    return None


def _wider_dtype(scene: FixContext) -> str:
    """A dtype with more room than that of the guilty op, or nothing where there is none."""
    assert scene.op is not None
    tensors = (scene.recording.tensors[t] for t in (*scene.op.inputs, *scene.op.outputs))
    known = next((t.dtype for t in tensors if t.dtype.startswith(FLOATS)), "float32")
    return _WIDER.get(known, "")


def _wider_rule(scene: FixContext, code: Code, wide: str) -> Rule:
    """What carries the source, in a dtype with more room."""
    tf = code.tensorflow

    def rule(node: ast.expr, text: Text) -> str | None:
        if isinstance(node, ast.Name) and node.id in scene.carriers and _is_value(code, node):
            return f"{tf}.cast({node.id}, {tf}.{wide})"
        return None

    return rule


def _is_value(code: Code, node: ast.Name) -> bool:
    """Whether the name stands for a value here: it is not called, assigned or looked into."""
    parent = code.parent(node)
    called_ = isinstance(parent, ast.Call) and parent.func is node
    return isinstance(node.ctx, ast.Load) and not called_ and not isinstance(parent, ast.Attribute)


# -- where_branch ---------------------------------------------------------------------------------


def inner_where(scene: FixContext) -> Iterator[Repair | None]:
    """A harmless input for the function where the branch is not taken."""
    if scene.op is None or scene.line is None:
        return
    if (choice := _choice(scene)) is not None:
        yield scene.by_rule(_safe_rule(scene, _home(scene), *choice))
    yield from away_from_the_edge(scene)
    yield from within_range(scene)


def _choice(scene: FixContext) -> tuple[str, bool] | None:
    """The condition of the ``tf.where`` after the guilty op, and whether its value is what is
    taken where that is true."""
    assert scene.op is not None
    after = set(scene.op.outputs)
    for op in scene.ways.way(scene.call, scene.gradient):
        if op.index <= scene.op.index or not after.intersection(op.inputs):
            continue
        if op.type in ("SelectV2", "Select"):
            for _, code, statement in scene.statements(op):
                for node in ast.walk(statement):
                    call = called(code, node, ["where", "where_v2"])
                    if call is not None and len(call.args) == 3:
                        return code.one_line(call.args[0]), op.inputs[1] in after
        after.update(op.outputs)
    return None


def _safe_rule(scene: FixContext, code: Code, condition: str, taken: bool) -> Rule:
    tf = code.tensorflow
    assert scene.op is not None
    names = {*names_of(scene.op.type), "log", "exp", "sqrt", "pow", "reciprocal", "divide"}

    def safe(inner: str) -> str:
        one = f"{tf}.ones_like({inner})"
        pair = f"{inner}, {one}" if taken else f"{one}, {inner}"
        return f"{tf}.where({condition}, {pair})"

    def rule(node: ast.expr, text: Text) -> str | None:
        choice = called(code, node, ["where", "where_v2"])
        if choice is not None and len(choice.args) == 3:  # its condition stays as it is
            words = [code.one_line(choice.args[0]), *(text(a) for a in choice.args[1:])]
            return f"{code.one_line(choice.func)}({', '.join(words)})"
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Div, ast.Pow)):
            base = node.right if isinstance(node.op, ast.Div) else node.left
            divided = isinstance(node.op, ast.Div) and scene.mentions(node.left)
            if not scene.mentions(base) and not (divided and isinstance(base, ast.Name)):
                return None
            left, right = text(node.left), text(node.right)
            if isinstance(node.op, ast.Div):
                return f"{grouped(left)} / {safe(right)}"
            return f"{safe(left)} ** {grouped(right)}"
        call = called(code, node, names)
        if call is None or not call.args:
            return None
        place = 1 if dotted(call.func).endswith("divide") and len(call.args) > 1 else 0
        words = [safe(text(a)) if i == place else text(a) for i, a in enumerate(call.args)]
        words += [f"{k.arg}={text(k.value)}" for k in call.keywords]
        return f"{code.one_line(call.func)}({', '.join(words)})"

    return rule


# -- nan_input ------------------------------------------------------------------------------------


def only_finite(scene: FixContext) -> Iterator[Repair | None]:
    """Zeros where the values are not finite, before the tape listens; where an op made them of
    finite ones, its input held where it has a value."""
    name = _culprit(scene)
    origin = None if _is_given(scene) else _origin(scene)
    if origin is not None:
        found = replace(scene.finding, op=origin.index)
        at = None if origin.line is None else scene.recording.lines[origin.line]
        there = replace(scene, finding=found, line=at)
        yield from away_from_the_edge(there)
        yield from within_range(there)
    elif name and scene.block is not None:
        cell, code, block = scene.block
        tf = code.tensorflow
        variable = name in {v.name for v in scene.recording.variables}
        clean = f"{tf}.where({tf}.math.is_finite({name}), {name}, {tf}.zeros_like({name}))"
        edits = Edits(code)
        edits.before(
            code.header(block)[0], f"{name}.assign({clean})" if variable else f"{name} = {clean}"
        )
        yield scene.repair(cell, edits)


def _is_given(scene: FixContext) -> bool:
    """Whether a value with a name, or the source itself, is not finite."""
    recording = scene.recording
    inputs = scene.op.inputs if scene.op is not None else ()
    named = [t for t in inputs if recording.tensors[t].name]
    return any(_not_finite(scene, t) for t in (*scene.gradient.source_tensors, *named))


def _not_finite(scene: FixContext, tensor: int) -> bool:
    stats = scene.ways.stats(tensor)
    return stats is not None and not stats.finite


def _origin(scene: FixContext) -> Op | None:
    """The op that gave the first value that is not finite, of finite ones."""
    recording, op = scene.recording, scene.op
    while op is not None:
        bad = next((t for t in op.inputs if _not_finite(scene, t)), None)
        if bad is None:
            return op if op is not scene.op else None
        maker = recording.tensors[bad].op
        op = None if maker is None else recording.ops[maker]
    return None


def _culprit(scene: FixContext) -> str:
    """The name of the first value that is not finite."""
    recording = scene.recording
    for tensor in scene.gradient.source_tensors:
        stats = scene.ways.stats(tensor)
        if stats is not None and not stats.finite:
            return scene.source
    for tensor in scene.op.inputs if scene.op is not None else ():
        stats = scene.ways.stats(tensor)
        if stats is not None and not stats.finite and recording.tensors[tensor].name:
            return recording.tensors[tensor].name
    for _, code, statement in scene.guilty():
        modules = {*code.aliases, code.tensorflow, "np", "keras"}
        functions = {
            dotted(n.func).partition(".")[0] for n in ast.walk(statement) if isinstance(n, ast.Call)
        }
        names = names_in(statement) - scene.carriers - modules - functions
        if len(names) == 1:
            return names.pop()
    return ""
