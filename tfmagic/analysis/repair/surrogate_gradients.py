"""Repairs of an expression through which no gradient comes back."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterable
from functools import partial

from tfmagic.analysis.code import Code, Edits, code_of, dotted, stored
from tfmagic.analysis.dependence import largest
from tfmagic.analysis.repair.fix_context import FixContext
from tfmagic.analysis.repair.rewrite import Rule, called, grouped, keyword, rewrite
from tfmagic.model import Op, Repair

__all__ = [
    "differentiable",
    "leaky",
    "let_through",
    "not_constant",
    "passing",
    "scaled",
    "sloped",
    "smooth_choice",
    "straight_through",
    "unsaturated",
]

Text = Callable[[ast.expr], str]
#: Inputs that are scaled down by more than this are no values, but a mask.
_MASKED = 1e6
_BENT = ("Sigmoid", "Tanh", "Softsign")
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")
#: Type of op → the names of the functions that run it.
_CALLS = {
    "Round": ("round",), "Rint": ("rint", "round"), "Floor": ("floor",), "Ceil": ("ceil",),
    "Sign": ("sign",), "Minimum": ("minimum", "clip_by_value", "clip"),
    "Maximum": ("maximum", "clip_by_value", "clip"), "ClipByValue": ("clip_by_value", "clip"),
    "Relu6": ("relu6",), "Sigmoid": ("sigmoid",), "Tanh": ("tanh",), "Softmax": ("softmax",),
    "LogSoftmax": ("log_softmax",), "Erf": ("erf",), "Softsign": ("softsign",),
    "Softplus": ("softplus",), "Atan": ("atan",), "Relu": ("relu", "ReLU"),
    "Elu": ("elu", "ELU"), "Selu": ("selu",), "LeakyRelu": ("leaky_relu",),
    "OnesLike": ("ones_like",), "ZerosLike": ("zeros_like",),
}  # fmt: skip


def names_of(op_type: str) -> tuple[str, ...]:
    """The functions that run ops of a type, under whichever module they stand."""
    plain = re.sub(r"[vV]\d+$", "", op_type)
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in plain).lstrip("_")
    return _CALLS.get(op_type, (snake, plain.lower()))


# -- None ---------------------------------------------------------------------------------------


def let_through(scene: FixContext) -> Repair | None:
    """The expression without ``tf.stop_gradient`` around it."""
    code = _code(scene)
    if scene.finding.words == "straight_through":
        return None

    def rule(node: ast.expr, text: Text) -> str | None:
        call = called(code, node, ["stop_gradient", "PreventGradient", "prevent_gradient"])
        return text(call.args[0]) if call is not None and call.args else None

    return scene.by_rule(rule)


def _code(scene: FixContext) -> Code:
    """The cell of the guilty line; its imports say what a function is called there."""
    return scene.code(scene.line.cell) if scene.line is not None else code_of("")


def straight_through(scene: FixContext) -> Repair | None:
    """``E + tf.stop_gradient(F(E) - E)``: the value of F, the slope of E."""
    if scene.op is None:
        return None
    if dict(scene.finding.values).get("flat"):
        return _leaky_bound(scene)
    code, op = _code(scene), scene.op.type
    tf, names = code.tensorflow, names_of(op)

    def rule(node: ast.expr, text: Text) -> str | None:
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.FloorDiv, ast.Mod)):
            if op not in ("FloorDiv", "FloorMod"):
                return None
            left, right = grouped(text(node.left)), grouped(text(node.right))
            smooth = f"{left} / {right}" if op == "FloorDiv" else left
            sign = "//" if op == "FloorDiv" else "%"
            return f"{grouped(smooth)} + {tf}.stop_gradient({left} {sign} {right} - {smooth})"
        call = called(code, node, names)
        moving = _moving(scene, call) if call is not None else None
        if call is None or moving is None:
            return None
        inner = grouped(text(moving))
        return f"{inner} + {tf}.stop_gradient({_again(code, call, text)} - {inner})"

    return scene.by_rule(rule)


def _leaky_bound(scene: FixContext) -> Repair | None:
    """A leaky ReLU for ``tf.maximum(E, 0.0)`` of which a square or a product is taken: that is
    flat at zero, whatever the slope of E."""
    code = _code(scene)

    def rule(node: ast.expr, text: Text) -> str | None:
        call = called(code, node, ["maximum", "relu6"])
        arguments = call.args if call is not None else []
        moving = [a for a in arguments if not isinstance(a, ast.Constant)]
        bounds = [a.value for a in arguments if isinstance(a, ast.Constant)]
        if len(moving) != 1 or any(bounds):
            return None
        return f"{code.tensorflow}.nn.leaky_relu({text(moving[0])})"

    return scene.by_rule(rule)


def _again(code: Code, call: ast.Call, text: Text) -> str:
    words = [text(a) for a in call.args]
    words += [f"{k.arg}={text(k.value)}" for k in call.keywords]
    return f"{code.one_line(call.func)}({', '.join(words)})"


def _moving(scene: FixContext, call: ast.Call) -> ast.expr | None:
    """The argument that changes with the source: one that is computed, at best from it."""
    arguments = [*call.args, *(k.value for k in call.keywords if k.arg in ("x", "t", "input"))]
    computed = [
        a for a in arguments if any(isinstance(n, (ast.Name, ast.Call)) for n in ast.walk(a))
    ]
    carrying = [a for a in computed if scene.mentions(a)]
    if len(carrying) > 1 and called(_code(scene), call, ["minimum", "maximum"]):
        return None  # a choice between two, and no bound
    return next(iter(carrying or computed), None)


def smooth_choice(scene: FixContext) -> Repair | None:
    """Whole numbers, truth values and places replaced by something with a slope."""
    if scene.op is None:
        return None
    found = _on_the_way(scene) or _compared_later(scene)
    if found is not None:
        return found
    code = _code(scene)
    rule = _smooth_rule(scene, code)
    for cell, home, statement in scene.guilty():
        edits = Edits(home)
        if rewrite(edits, statement, _with_floats(scene, code, rule)):
            _floats_beside(scene, cell, statement, edits)
            return scene.repair(cell, edits)
    return None


def _with_floats(scene: FixContext, code: Code, rule: Rule) -> Rule:
    """``rule``, and whole numbers beside what it makes floating made floating too."""

    def both(node: ast.expr, text: Text) -> str | None:
        new = rule(node, text)
        return _beside(scene, code, node, text) if new is None else new

    return both


def _beside(scene: FixContext, code: Code, node: ast.expr, text: Text) -> str | None:
    """``a - b`` with ``b`` cast, where only ``a`` carries the source's value."""
    if not isinstance(node, ast.BinOp):
        return None
    carrying = [scene.mentions(part) for part in (node.left, node.right)]
    if carrying[0] == carrying[1]:
        return None
    moving, other = (node.left, node.right) if carrying[0] else (node.right, node.left)
    if not isinstance(other, ast.Name) or (
        text(moving) == code.text(moving) and not isinstance(moving, ast.Name)
    ):
        return None
    if not _is_whole(scene, other.id):
        return None
    cast = f"{code.tensorflow}.cast({other.id}, {code.tensorflow}.float32)"
    left, right = (text(moving), cast) if carrying[0] else (cast, text(moving))
    sign = code.text(node)[len(code.text(node.left)) : -len(code.text(node.right)) or None].strip()
    return f"{grouped(left)} {sign.strip('() ')} {grouped(right)}"


def _is_whole(scene: FixContext, name: str) -> bool:
    known = scene.recording.find(name)
    return known is not None and known.dtype.startswith(("int", "uint"))


def _floats_beside(scene: FixContext, cell: int, statement: ast.stmt, edits: Edits) -> None:
    """The same on the lines that go on with the whole numbers of the guilty op."""
    assert scene.op is not None
    tensors, moving = scene.recording.tensors, set(scene.op.outputs)
    for op in scene.ways.ancestors(scene.call):
        if op.index <= scene.op.index or not moving & set(op.inputs):
            continue
        if op.outputs and tensors[op.outputs[0]].dtype.startswith(("int", "uint", "bool")):
            moving.update(op.outputs)
            for at, code, other in list(scene.statements(op))[:1]:
                if at == cell and other is not statement:

                    def rule(node: ast.expr, text: Text, code: Code = code) -> str | None:
                        return _beside(scene, code, node, text)

                    rewrite(edits, other, rule)


def _smooth_rule(scene: FixContext, code: Code) -> Rule:
    tf = code.tensorflow

    def rule(node: ast.expr, text: Text) -> str | None:
        for form in (
            _soft_gather, _soft_hit, _one_hot, _soft_sample, _soft_argmax, _string, _soft_logic
        ):  # fmt: skip
            new = form(scene, code, node, text)
            if new is not None:
                return new
        cast = called(code, node, ["cast", "saturate_cast", "to_int32", "to_int64"])
        if cast is not None and cast.args and _is_integer(code, keyword(cast, "dtype", 1)):
            whole = called(code, code.parent(cast) or cast, _WHOLE)
            return None if whole else text(cast.args[0])
        return _soft_where(code, node, text) or _soft_comparison(scene, code, node, text, tf)

    return rule


def _soft_where(code: Code, node: ast.expr, text: Text) -> str | None:
    """``tf.where(a > b, yes, no)`` as both, weighed; its condition must stay a truth value."""
    call = called(code, node, ["where"])
    if call is None or len(call.args) != 3 or not isinstance(call.args[0], ast.Compare):
        return None
    weight, yes, no = (text(part) for part in call.args)
    if weight == code.text(call.args[0]):
        return None
    return f"({grouped(weight)} * {grouped(yes)} + (1.0 - {grouped(weight)}) * {grouped(no)})"


def _is_integer(code: Code, dtype: ast.expr | None) -> bool:
    if dtype is None:
        return True  # tf.to_int32 and its like
    name = dtype.value if isinstance(dtype, ast.Constant) else dotted(dtype).rpartition(".")[2]
    return name in _INTEGERS or name == "int"


def _soft_comparison(
    scene: FixContext, code: Code, node: ast.expr, text: Text, tf: str
) -> str | None:
    """``a > b`` as ``sigmoid(a - b)``, ``a == b`` as ``exp(-(a - b)²)``."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and scene.mentions(node):
        left, right = text(node.left), text(node.comparators[0])
        sign = type(node.ops[0]).__name__
    else:
        call = called(
            code, node, ["greater", "less", "greater_equal", "less_equal", "equal", "not_equal"]
        )
        if call is None or len(call.args) < 2 or not scene.mentions(node):
            return None
        left, right = text(call.args[0]), text(call.args[1])
        sign = dotted(call.func).rpartition(".")[2]
    left, right = grouped(left), grouped(right)
    if sign in ("Gt", "GtE", "greater", "greater_equal"):
        return f"{tf}.sigmoid({left} - {right})"
    if sign in ("Lt", "LtE", "less", "less_equal"):
        return f"{tf}.sigmoid({right} - {left})"
    alike = f"{tf}.exp(-{tf}.square({left} - {right}))"
    return alike if sign in ("Eq", "equal") else f"(1.0 - {alike})"


_ARGMAX, _ARGMIN = ("argmax", "arg_max"), ("argmin", "arg_min")
#: Functions that take whole numbers alone: a cast to them cannot be left out there.
_WHOLE = {
    "bincount", "range", "fill", "zeros", "ones", "tile", "repeat", "roll", "sequence_mask",
    "segment_sum", "unsorted_segment_sum", "dynamic_partition", "scatter_nd", "gather", "one_hot",
    "gather_nd", "embedding_lookup",
}  # fmt: skip


def _soft_argmax(scene: FixContext, code: Code, node: ast.expr, text: Text) -> str | None:
    """The mean place under a softmax."""
    call = called(code, node, (*_ARGMAX, *_ARGMIN))
    found = None if call is None else _weights(scene, code, call, text)
    if found is None or scene.op is None:
        return None
    weights, axis = found
    count = (scene.recording.tensors[scene.op.inputs[0]].shape or ())[axis]
    if count is None:
        return None
    tf = code.tensorflow
    return f"{tf}.tensordot({weights}, {tf}.range({float(count)}), [[{axis}], [0]])"


def _weights(scene: FixContext, code: Code, call: ast.Call, text: Text) -> tuple[str, int] | None:
    """The softmax in place of an argmax or argmin, and the axis that it is taken over."""
    shape = scene.recording.tensors[scene.op.inputs[0]].shape if scene.op is not None else None
    axis = _axis(call, len(shape), default=0) if shape else None
    if not call.args or axis is None or not shape or axis >= len(shape):
        return None
    inner = text(call.args[0])
    inner = f"-{grouped(inner)}" if "min" in dotted(call.func) else inner
    return f"{code.tensorflow}.nn.softmax({inner}, axis={axis})", axis


def _axis(call: ast.Call, rank: int, default: int) -> int | None:
    given = keyword(call, "axis", 1) or keyword(call, "dimension")
    if given is None:
        return default
    try:
        axis = ast.literal_eval(given)
    except ValueError:
        return None
    return axis % rank if isinstance(axis, int) and rank else None


def _one_hot(scene: FixContext, code: Code, node: ast.expr, text: Text) -> str | None:
    """``one_hot(argmax(A))`` as a softmax, ``one_hot(cast(E))`` as one around E."""
    call = called(code, node, ["one_hot", "to_categorical"])
    if call is None or not call.args:
        return None
    tf, chosen = code.tensorflow, called(code, call.args[0], _ARGMAX)
    if chosen is not None and chosen.args:
        return f"{tf}.nn.softmax({text(chosen.args[0])})"
    cast, depth = called(code, call.args[0], ["cast"]), keyword(call, "depth", 1)
    if cast is None or not cast.args or depth is None or not scene.mentions(cast):
        return None
    places = f"{tf}.range({tf}.cast({code.one_line(depth)}, {tf}.float32))"
    return f"{tf}.nn.softmax(-{tf}.square({tf}.expand_dims({text(cast.args[0])}, -1) - {places}))"


def _soft_hit(scene: FixContext, code: Code, node: ast.expr, text: Text) -> str | None:
    """Whether the guess is right, as the probability of the right class."""
    pair: list[ast.expr] = []
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq):
        pair = [node.left, node.comparators[0]]
    elif (call := called(code, node, ["equal"])) is not None:
        pair = list(call.args[:2])
    for one, other in (pair, pair[::-1]) if len(pair) == 2 else ():
        chosen = _chosen(scene, code, one)
        if chosen is not None and chosen.args and scene.mentions(chosen):
            tf = code.tensorflow
            return (
                f"{tf}.gather({tf}.nn.softmax({text(chosen.args[0])}), {text(other)}, batch_dims=1)"
            )
    return None


def _chosen(scene: FixContext, code: Code, node: ast.expr) -> ast.Call | None:
    """The argmax that ``node`` is, under a cast or under the name that the guilty line gave it."""
    cast = called(code, node, ["cast"])
    if cast is not None and cast.args:
        return _chosen(scene, code, cast.args[0])
    if isinstance(node, ast.Name):
        for _, _, statement in scene.guilty():
            if isinstance(statement, ast.Assign) and node.id in stored(statement):
                return _chosen(scene, code, statement.value)
        return None
    return called(code, node, _ARGMAX)


def _compared_later(scene: FixContext) -> Repair | None:
    """``c = argmax(A)`` and ``c == labels`` on another line: the argmax may stay."""
    if scene.op is None or scene.op.type != "ArgMax":
        return None
    made = set(scene.op.outputs)
    for op in scene.ways.ancestors(scene.call):
        if op.type == "Cast" and made & set(op.inputs):
            made.update(op.outputs)
        if op.type not in ("Equal", "NotEqual") or not made & set(op.inputs):
            continue
        for cell, code, statement in scene.statements(op):

            def rule(node: ast.expr, text: Text, code: Code = code) -> str | None:
                return _soft_hit(scene, code, node, text)

            edits = Edits(code)
            if rewrite(edits, statement, rule):
                return scene.repair(cell, edits)
    return None


def _soft_sample(scene: FixContext, code: Code, node: ast.expr, text: Text) -> str | None:
    """A draw from a distribution as a Gumbel softmax: noise outside, slope inside."""
    call = called(code, node, ["categorical"])
    if call is None or not call.args or scene.op is None:
        return None
    shape = scene.recording.tensors[scene.op.inputs[0]].shape or ()
    if len(shape) != 2 or shape[1] is None:
        return None
    tf, logits = code.tensorflow, grouped(text(call.args[0]))
    noise = f"{tf}.math.log(-{tf}.math.log({tf}.random.uniform({tf}.shape({logits}), 1e-7)))"
    soft = f"{tf}.nn.softmax({logits} - {noise})"
    return f"{tf}.tensordot({soft}, {tf}.range({float(shape[1])}), [[1], [0]])[:, {tf}.newaxis]"


def _soft_logic(scene: FixContext, code: Code, node: ast.expr, text: Text) -> str | None:
    """And as a product, or as a maximum, not as what is left to one, a count as a sum."""
    tf = code.tensorflow
    call = called(code, node, ["logical_and", "logical_or", "logical_not", "count_nonzero"])
    if call is None or not call.args or not scene.mentions(node):
        return None
    words = [text(a) for a in call.args[:2]]
    if words[0] == code.text(call.args[0]):
        return None  # it was made elsewhere
    kind = dotted(call.func).rpartition("_")[2]
    if kind == "nonzero":
        rest = [f"{k.arg}={text(k.value)}" for k in call.keywords if k.arg in ("axis", "keepdims")]
        return f"{tf}.reduce_sum({', '.join([words[0], *rest])})"
    if kind == "not":
        return f"(1.0 - {words[0]})"
    one, other = words
    return f"{one} * {other}" if kind == "and" else f"{tf}.maximum({one}, {other})"


def _string(scene: FixContext, code: Code, node: ast.expr, text: Text) -> str | None:
    """A number that went through a string, itself."""
    call = called(code, node, ["to_number"])
    inner = called(code, call.args[0], ["as_string"]) if call is not None and call.args else None
    return text(inner.args[0]) if inner is not None and inner.args else None


def _soft_gather(scene: FixContext, code: Code, node: ast.expr, text: Text) -> str | None:
    """A row that a computed place picks, as a mean of the rows near that place."""
    call = called(code, node, ["gather", "embedding_lookup"])
    if call is None:
        return None
    table, at = keyword(call, "params", 0), keyword(call, "indices", 1)
    cast = called(code, at, ["cast"]) if at is not None else None
    chosen = called(code, at, (*_ARGMAX, *_ARGMIN)) if at is not None else None
    if table is not None and chosen is not None and scene.mentions(chosen):
        found = _weights(scene, code, chosen, text)
        return None if found is None else _mixed(code, found[0], text(table), found[1])
    if table is None or cast is None or not scene.mentions(cast):
        return None
    return _near(code, text(table), text(cast.args[0]))


def _mixed(code: Code, weights: str, table: str, axis: int) -> str:
    return f"{code.tensorflow}.tensordot({weights}, {table}, [[{axis}], [0]])"


def _near(code: Code, table: str, place: str) -> str:
    tf = code.tensorflow
    rows = f"{tf}.range({tf}.cast({tf}.shape({table})[0], {tf}.float32))"
    weights = f"{tf}.nn.softmax(-{tf}.square({tf}.expand_dims({place}, -1) - {rows}))"
    return f"{tf}.tensordot({weights}, {table}, 1)"


def _on_the_way(scene: FixContext) -> Repair | None:
    """A choice made on one line and used as a place, or a one-hot, on another."""
    assert scene.op is not None
    outputs = set(scene.op.outputs)
    user = next(
        (
            op
            for op in scene.ways.ancestors(scene.call)
            if op.type in ("OneHot", "GatherV2", "ResourceGather") and outputs & set(op.inputs)
        ),
        None,
    )
    if user is None or user.line is None or user.line == scene.op.line:
        return None
    places = list(scene.statements(user))[:1]
    here = list(scene.guilty())[:1]
    if not places or not here or places[0][0] != here[0][0]:
        return None
    cell, code, statement = places[0]
    edits = Edits(code)

    axes: list[int] = []

    def chosen(node: ast.expr, text: Text) -> str | None:
        cast = called(code, node, ["cast"])
        if cast is not None and cast.args and _is_integer(code, keyword(cast, "dtype", 1)):
            return text(cast.args[0])
        call = called(code, node, (*_ARGMAX, *_ARGMIN))
        found = None if call is None else _weights(scene, code, call, text)
        axes.extend(() if found is None else (found[1],))
        return None if found is None else found[0]

    def used(node: ast.expr, text: Text) -> str | None:
        call = called(code, node, ["one_hot"])
        if call is not None and call.args:
            return text(call.args[0])
        call = called(code, node, ["gather", "embedding_lookup"])
        if call is None or len(call.args) < 2:
            return None
        table, place = text(call.args[0]), text(call.args[1])
        return _mixed(code, place, table, axes[0]) if axes else _near(code, table, place)

    done = rewrite(edits, here[0][2], chosen) and rewrite(edits, statement, used)
    return scene.repair(cell, edits) if done else None


def differentiable(scene: FixContext) -> Repair | None:
    """The same value by an op that TensorFlow can differentiate."""
    if scene.op is None or scene.op.function:  # its code stands elsewhere
        return None
    code = _code(scene)
    tf = code.tensorflow

    def unique(node: ast.expr, text: Text) -> str | None:
        by_name = isinstance(node, ast.Attribute) and node.attr == "y"
        first_of = isinstance(node, ast.Subscript) and ast.unparse(node.slice) == "0"
        if not isinstance(node, (ast.Attribute, ast.Subscript)) or not (by_name or first_of):
            return None
        call = called(code, node.value, ["unique"])
        if call is None or not call.args:
            return None
        inner = text(call.args[0])
        first = f"{tf}.argmax({tf}.equal({tf}.unique({inner}).y[:, None], {inner}), axis=1)"
        return f"{tf}.gather({inner}, {first})"

    def contrast(node: ast.expr, text: Text) -> str | None:
        call = called(code, node, ["adjust_contrast"])
        if call is None or len(call.args) < 2:
            return None
        image, factor = grouped(text(call.args[0])), grouped(text(call.args[1]))
        mean = f"{tf}.reduce_mean({image}, axis=[-3, -2], keepdims=True)"
        return f"{mean} + ({image} - {mean}) * {factor}"

    for op_type, rule in (("Unique", unique), ("AdjustContrast", contrast)):
        if scene.op.type.startswith(op_type):
            return scene.by_rule(rule)
    same = [scene.recording.tensors[t].shape for t in (scene.op.inputs[0], scene.op.outputs[0])]
    return straight_through(scene) if same[0] == same[1] else None


# -- zero ---------------------------------------------------------------------------------------


def leaky(scene: FixContext) -> Repair | None:
    """A leaky ReLU: it lets a little through where it is off."""
    code = _code(scene)
    tf = code.tensorflow

    def rule(node: ast.expr, text: Text) -> str | None:
        call = called(code, node, ["relu"])
        if call is not None and call.args:
            return f"{tf}.nn.leaky_relu({text(call.args[0])})"
        layer = called(code, node, ["ReLU"])
        if layer is not None:
            return f"{code.one_line(layer.func).removesuffix('ReLU')}LeakyReLU()"
        return None

    return scene.by_rule(rule) or _activation(scene, ("relu",), "leaky_relu")


def _activation(scene: FixContext, old: Iterable[str], new: str) -> Repair | None:
    """Another word where a Keras layer is told its activation by name."""
    wanted, layers = set(old), {"ReLU"} if new == "leaky_relu" else set[str]()
    for cell in reversed(scene.recording.cells):
        code = code_of(cell.source)
        edits = Edits(code)
        for node in code.of(ast.Constant):
            if node.value in wanted and isinstance(code.parent(node), (ast.keyword, ast.Call)):
                edits.replace(node, f'"{new}"')
        for word in code.of(ast.keyword):
            if word.arg == "activation" and dotted(word.value).rpartition(".")[2] in wanted:
                edits.replace(word.value, f'"{new}"')
        for call in code.of(ast.Call):
            if called(code, call, layers):
                edits.replace(
                    call.func, code.one_line(call.func).removesuffix("ReLU") + "LeakyReLU"
                )
        if edits:
            return scene.repair(cell.index, edits)
    return None


def scaled(scene: FixContext, names: Iterable[str], form: str) -> Repair | None:
    """``form`` with ``{f}`` the function, ``{e}`` its input and ``{s}`` a scale that brings
    the input into the range where the function has a slope."""
    if scene.op is None:
        return None
    code, wanted, scale = _code(scene), tuple(names), _scale(scene)

    def rule(node: ast.expr, text: Text) -> str | None:
        call = called(code, node, wanted)
        if call is None or not call.args:
            return None
        inner = text(call.args[0])
        divided = f"{grouped(inner)} / {scale}" if scale != 1.0 else inner
        rest = [text(a) for a in call.args[1:]]
        rest += [f"{k.arg}={text(k.value)}" for k in call.keywords]
        return form.format(
            f=code.one_line(call.func), e=", ".join([divided, *rest]), tf=code.tensorflow
        )

    return scene.by_rule(rule)


def _scale(scene: FixContext) -> float:
    """A round number by which the guilty op's input becomes about 2 at most."""
    assert scene.op is not None
    stats = scene.ways.stats(scene.op.inputs[0])
    if stats is None or stats.max is None or stats.min is None:
        return 1.0
    most = max(abs(stats.max), abs(stats.min))
    if most <= 4:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most / 2))
    return math.ceil(most / 2 / power) * power


def unsaturated(scene: FixContext) -> Repair | None:
    """The input scaled into the range where the function has a slope."""
    if scene.op is None:
        return None
    if _scale(scene) > _MASKED:
        return None
    names = names_of(scene.op.type)
    return scaled(scene, names, "{f}({e})") or _activation(scene, ("sigmoid", "tanh"), "softsign")


def sloped(scene: FixContext) -> Repair | None:
    """``tanh`` in place of ``sign``, a sigmoid in place of a softmax of one."""
    if scene.finding.words == "softmax_of_one":
        return _one_output(scene)
    if scene.op is not None and scene.op.type != "Sign":
        return straight_through(scene)
    return scaled(scene, ["sign"], "{tf}.tanh({e})")


def _one_output(scene: FixContext) -> Repair | None:
    code = _code(scene)

    def rule(node: ast.expr, text: Text) -> str | None:
        call = called(code, node, ["softmax"])
        if call is None or not call.args:
            return None
        return f"{code.tensorflow}.sigmoid({text(call.args[0])})"

    if scene.op is None or scene.op.type != "Softmax":
        return None
    return scene.by_rule(rule) or _activation(scene, ("softmax",), "sigmoid")


def passing(scene: FixContext) -> Repair | None:
    """ReLU in place of a function that flattens, where it is used again and again."""
    bent = [o for o in scene.ways.way(scene.call, scene.gradient) if o.type in _BENT]
    if bent and sum(map(partial(_shrinks, scene), bent)) < len(bent) / 2:
        return None  # the weights are too small
    for op in bent:
        for cell, code, statement in scene.statements(op):

            def rule(node: ast.expr, text: Text, code: Code = code) -> str | None:
                call = called(code, node, ["sigmoid", "tanh", "softsign"])
                if call is None or not call.args:
                    return None
                return f"{code.tensorflow}.nn.relu({text(call.args[0])})"

            edits = Edits(code)
            if rewrite(edits, statement, rule):
                return scene.repair(cell, edits)
    return _activation(scene, ("sigmoid", "tanh"), "relu")


def _shrinks(scene: FixContext, op: Op) -> bool:
    """Whether less of the gradient came out of an op than went in; True where it is not known."""
    coming, going = (largest(scene.ways.gradients(t)) for t in (op.outputs, op.inputs))
    return not coming or not going or going < 0.7 * coming


def not_constant(scene: FixContext) -> Repair | None:
    """A target that does change: logarithms of probabilities, squares of deviations."""
    if scene.op is None:
        return None
    code = _code(scene)

    def logarithms(node: ast.expr, text: Text) -> str | None:
        call = called(code, node, ["softmax"])
        if call is None or scene.op is None or scene.op.type != "Softmax":
            return None
        return f"{code.tensorflow}.nn.log_softmax({', '.join(text(a) for a in call.args)})"

    return scene.by_rule(logarithms) or _squares(scene)


def _squares(scene: FixContext) -> Repair | None:
    """``reduce_sum(E)`` as the sum of squares, at the last sum on the way."""
    sums = [o for o in scene.ways.way(scene.call, scene.gradient) if o.type in ("Sum", "Mean")]
    for op in reversed(sums):
        for cell, code, statement in scene.statements(op):
            if _is_difference(code, statement):
                continue  # its squares may cancel out as well

            def rule(node: ast.expr, text: Text, code: Code = code) -> str | None:
                call = called(code, node, ["reduce_sum", "reduce_mean"])
                if call is None or not call.args or _is_itself(code, call.args[0]):
                    return None
                # the sums inside stay as they are: one square is enough
                words = [f"{code.tensorflow}.square({code.text(call.args[0])})"]
                words += [code.text(a) for a in call.args[1:]]
                words += [f"{k.arg}={code.text(k.value)}" for k in call.keywords]
                return f"{code.one_line(call.func)}({', '.join(words)})"

            edits = Edits(code)
            if rewrite(edits, statement, rule):
                return scene.repair(cell, edits)
    return None


def _is_difference(code: Code, statement: ast.stmt) -> bool:
    """Whether one sum is taken off another."""
    return any(
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Sub)
        and called(code, node.left, ["reduce_sum", "reduce_mean"])
        and called(code, node.right, ["reduce_sum", "reduce_mean"])
        for node in ast.walk(statement)
    )


def _is_itself(code: Code, node: ast.expr) -> bool:
    """``x - x``: nothing that is done to it makes it depend on x."""
    return isinstance(node, ast.BinOp) and code.one_line(node.left) == code.one_line(node.right)
