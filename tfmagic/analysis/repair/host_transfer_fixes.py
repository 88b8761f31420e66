"""Repairs for values that left TensorFlow: the same computation, with its functions."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator

from tfmagic.analysis.code import Code, Edits, dotted, must_be_whole, names_in, stored
from tfmagic.analysis.repair.fix_context import FixContext
from tfmagic.analysis.repair.rewrite import called, grouped, keyword, rewrite
from tfmagic.analysis.taint import is_numpy
from tfmagic.model import Repair

__all__ = ["stay"]

#: numpy's function → TensorFlow's, under ``tf.``, where the name or the home differs.
_FUNCTIONS = {
    "log": "math.log", "log1p": "math.log1p", "sum": "reduce_sum", "mean": "reduce_mean",
    "max": "reduce_max", "amax": "reduce_max", "min": "reduce_min", "amin": "reduce_min",
    "prod": "reduce_prod", "std": "math.reduce_std", "var": "math.reduce_variance",
    "array": "convert_to_tensor", "asarray": "convert_to_tensor", "power": "pow",
    "concatenate": "concat", "clip": "clip_by_value", "absolute": "abs", "fabs": "abs",
    "arctan": "atan", "arcsin": "asin", "arccos": "acos", "arctan2": "atan2",
    "log10": "experimental.numpy.log10", "log2": "experimental.numpy.log2",
    "dot": "experimental.numpy.dot", "inner": "experimental.numpy.inner",
    "outer": "experimental.numpy.outer", "norm": "norm", "inv": "linalg.inv",
    "det": "linalg.det", "cumsum": "cumsum", "expand_dims": "expand_dims", "float32": "cast",
    "float64": "cast", "erf": "math.erf", "logsumexp": "reduce_logsumexp", "softmax": "nn.softmax",
    "expit": "sigmoid", "ravel": "experimental.numpy.ravel", "average": "reduce_mean",
    "subtract": "subtract", "divide": "divide", "reciprocal": "math.reciprocal",
    "expm1": "math.expm1", "logaddexp": "experimental.numpy.logaddexp",
    "cumprod": "math.cumprod", "trace": "linalg.trace", "diff": "experimental.numpy.diff",
    "flip": "experimental.numpy.flip", "vstack": "experimental.numpy.vstack",
    "hstack": "experimental.numpy.hstack", "swapaxes": "experimental.numpy.swapaxes",
    "moveaxis": "experimental.numpy.moveaxis", "hypot": "experimental.numpy.hypot",
    "pi": "constant", "copy": "identity", "mean_squared_error": "keras.losses.MSE",
}  # fmt: skip
_SAME = {
    "sin", "cos", "tan", "exp", "sqrt", "square", "abs", "maximum", "minimum", "tanh", "sinh",
    "cosh", "stack", "reshape", "transpose", "where", "sign", "einsum", "matmul", "multiply",
    "add", "zeros_like", "ones_like", "squeeze", "tile", "pow", "floor", "round", "pad",
    "sort", "repeat", "broadcast_to", "negative", "tensordot", "asinh", "acosh", "atanh", "atan",
    "acos", "asin", "atan2", "split", "linspace",
}  # fmt: skip
_METHODS = {
    "max": "reduce_max", "min": "reduce_min", "sum": "reduce_sum", "mean": "reduce_mean",
    "std": "math.reduce_std", "reshape": "reshape", "prod": "reduce_prod",
    "squeeze": "squeeze", "flatten": "experimental.numpy.ravel", "copy": "identity",
}  # fmt: skip
_DROPPED = ("numpy", "item", "tolist")


def stay(scene: FixContext) -> Repair | None:
    """Every exit between source and target rewritten; a condition becomes a blend."""
    exits = [e for e in scene.recording.exits if e.line == scene.finding.line]
    if exits and all(e.how == "bool" for e in exits):
        return _blended(scene)
    if scene.line is None:
        return None
    code, cell = scene.code(scene.line.cell), scene.line.cell
    edits = Edits(code)
    for statement in _carrying(scene, code):
        if _updated(code, statement, edits):
            continue
        rule = _Rule(scene, code, scene.carriers)
        if rewrite(edits, statement, rule):
            for function in rule.functions:
                rule.stuck |= _inside(scene, code, edits, function)
        if rule.stuck:
            return None
    return scene.repair(cell, edits)


def _carrying(scene: FixContext, code: Code) -> Iterator[ast.stmt]:
    """The guilty statement and those after it that carry its value on, up to the call."""
    assert scene.line is not None
    until = None
    if scene.asked is not None and scene.asked[0] == scene.line.cell:
        until = scene.asked[2].lineno
    names = set(scene.carriers)
    home = None
    for statement in code.of(ast.stmt):
        first, last = code.header(statement)
        if first <= scene.line.number <= last or (home and first > scene.line.number):
            if until is not None and first >= until and first > scene.line.number:
                break
            if home is None:
                home = statement
                yield statement
            elif names & names_in(statement) and not hasattr(statement, "body"):
                yield statement
            else:
                continue
            if not hasattr(statement, "body"):
                names |= stored(statement)


def _updated(code: Code, statement: ast.stmt, edits: Edits) -> bool:
    """``buf[0] = E`` into an array, as a tensor with that element exchanged."""
    if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Subscript):
        return False
    target = statement.targets[0]
    at = code.one_line(target.slice).strip("()")
    if ":" in at:
        return False
    whole, tf = code.one_line(target.value), code.tensorflow
    value = code.one_line(statement.value)
    new = f"{whole} = {tf}.tensor_scatter_nd_update({whole}, [[{at}]], [{value}])"
    edits.replace(statement, new)
    return True


class _Rule:
    """Numpy's functions and methods as TensorFlow's; ``functions`` are the user's own that
    ran inside ``numpy_function``.  It is ``stuck`` where TensorFlow has none for one that one
    of ``names`` is handed to: then the value still leaves."""

    def __init__(self, scene: FixContext, code: Code, names: Collection[str]) -> None:
        self._scene = scene
        self._code = code
        self._names = frozenset(names)
        self.functions: list[str] = []
        self.stuck = False

    def __call__(self, node: ast.expr, text: Callable[[ast.expr], str]) -> str | None:
        if not isinstance(node, ast.Call):
            return None
        tf, name = self._code.tensorflow, dotted(node.func)
        if name.endswith(("numpy_function", "py_func")):
            return self._called_plainly(node, text)
        if isinstance(node.func, ast.Attribute):
            found = self._method(node, node.func, text)
            if found is not None:
                return found
        self.stuck |= name == "round" and bool(self._names & names_in(node))
        if name == "int" and must_be_whole(self._code, node):
            return None
        if name in ("float", "int", "complex") and len(node.args) == 1:
            return f"{tf}.cast({text(node.args[0])}, {tf}.float32)"
        if called(self._code, node, ["Variable"]) and node.args:
            return text(node.args[0])
        if called(self._code, node, ["constant"]) and node.args and self._carries(node.args[0]):
            pack = (
                "stack" if isinstance(node.args[0], (ast.List, ast.Tuple)) else "convert_to_tensor"
            )
            return f"{tf}.{pack}({text(node.args[0])})"
        if is_numpy(self._code, name):
            found = self._numpys(node, name, text)
            self.stuck |= found is None and bool(self._names & names_in(node))
            return found
        return None

    def _method(
        self, node: ast.Call, function: ast.Attribute, text: Callable[[ast.expr], str]
    ) -> str | None:
        tf, owner = self._code.tensorflow, function.value
        if function.attr in _DROPPED and not is_numpy(self._code, dotted(function)):
            return text(owner) if not node.args else None
        if function.attr in ("predict", "predict_on_batch") and node.args:
            return f"{text(owner)}({text(node.args[0])})"
        if not any(map(self._is_array, ast.walk(owner))):
            return None
        if function.attr == "astype" and node.args:
            return f"{tf}.cast({text(owner)}, {tf}.float32)"
        if function.attr in _METHODS:
            rest = [text(a) for a in node.args]
            rest += [f"{k.arg}={text(k.value)}" for k in node.keywords]
            return f"{tf}.{_METHODS[function.attr]}({', '.join([text(owner), *rest])})"
        return None

    def _is_array(self, node: ast.AST) -> bool:
        """Whether a node makes an array: of a tensor, or by numpy."""
        if isinstance(node, ast.Attribute):
            return node.attr == "numpy"
        return isinstance(node, ast.Call) and is_numpy(self._code, dotted(node.func))

    def _numpys(self, node: ast.Call, name: str, text: Callable[[ast.expr], str]) -> str | None:
        tf, last = self._code.tensorflow, name.rpartition(".")[2]
        root = self._code.aliases.get(name.partition(".")[0], "")
        if root.startswith(("numpy.", "math.")) and "." not in name:
            last = root.rpartition(".")[2]
        new = last if last in _SAME else _FUNCTIONS.get(last)
        if new is None or (not self._scene.mentions(node) and not node.args):
            return None
        if not any(self._carries(a) for a in node.args):
            return None
        words = [text(a) for a in node.args]
        if last in ("float32", "float64"):
            return f"{tf}.cast({words[0]}, {tf}.{last})"
        words += [
            f"{k.arg}={text(k.value)}" for k in node.keywords if k.arg not in ("dtype", "copy")
        ]
        if new == "concat" and len(words) == 1:
            words.append("0")
        return f"{tf}.{new}({', '.join(words)})"

    def _carries(self, node: ast.expr) -> bool:
        """Anything but plain data written out: what is computed may come from the source."""
        return any(isinstance(n, (ast.Name, ast.Call)) for n in ast.walk(node))

    def _called_plainly(self, node: ast.Call, text: Callable[[ast.expr], str]) -> str | None:
        function, inputs = keyword(node, "func", 0), keyword(node, "inp", 1)
        if function is None or not isinstance(inputs, (ast.List, ast.Tuple)):
            return None
        arguments = ", ".join(text(part) for part in inputs.elts)
        name = dotted(function)
        if is_numpy(self._code, name):
            last = name.rpartition(".")[2]
            new = last if last in _SAME else _FUNCTIONS.get(last)
            return f"{self._code.tensorflow}.{new}({arguments})" if new else None
        self.functions.append(name)
        return f"{grouped(text(function))}({arguments})"


def _inside(scene: FixContext, code: Code, edits: Edits, name: str) -> bool:
    """The body of the user's own function, which numpy had worked in; whether it still does."""
    stuck = False
    for function in code.of(ast.FunctionDef):
        if function.name == name:
            rule = _Rule(scene, code, {a.arg for a in function.args.args} | stored(function))
            for statement in function.body:
                rewrite(edits, statement, rule)
            stuck = rule.stuck
    return stuck


# -- conditions ---------------------------------------------------------------------------------


def _blended(scene: FixContext) -> Repair | None:
    """Both branches, weighed by a sigmoid, where a truth value chose one."""
    for cell, code, statement in scene.guilty():
        edits = Edits(code)
        if isinstance(statement, ast.If):
            parts = _branches(statement)
            weight = _weight(code, statement.test)
            if parts is None or not weight:
                continue
            name, yes, no = parts
            edits.replace(
                statement, f"{name} = {_blend(weight, code.factor(yes), code.factor(no))}"
            )
            return scene.repair(cell, edits)

        def rule(node: ast.expr, text: Callable[[ast.expr], str], code: Code = code) -> str | None:
            if isinstance(node, ast.IfExp) and (weight := _weight(code, node.test)):
                return _blend(weight, code.factor(node.body), code.factor(node.orelse))
            return None

        if rewrite(edits, statement, rule):
            return scene.repair(cell, edits)
    return None


def _blend(weight: str, yes: str, no: str) -> str:
    return f"{weight} * {yes} + (1.0 - {weight}) * {no}"


def _weight(code: Code, test: ast.expr) -> str:
    """A comparison as a number between 0 and 1."""
    if not isinstance(test, ast.Compare) or len(test.ops) != 1:
        return ""
    left, right = code.factor(test.left), code.factor(test.comparators[0])
    if isinstance(test.ops[0], (ast.Gt, ast.GtE)):
        return f"{code.tensorflow}.sigmoid({left} - {right})"
    if isinstance(test.ops[0], (ast.Lt, ast.LtE)):
        return f"{code.tensorflow}.sigmoid({right} - {left})"
    return ""


def _branches(statement: ast.If) -> tuple[str, ast.expr, ast.expr] | None:
    """The name that both branches give a value, and the two values."""
    if len(statement.body) != 1 or len(statement.orelse) != 1:
        return None
    yes, no = statement.body[0], statement.orelse[0]
    if not (isinstance(yes, ast.Assign) and isinstance(no, ast.Assign)):
        return None
    one, other = dotted(yes.targets[0]), dotted(no.targets[0])
    return (one, yes.value, no.value) if one == other and "?" not in one else None
