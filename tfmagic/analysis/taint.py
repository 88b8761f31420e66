"""Which lines hand a value to numpy or Python, read from the user's source.

``np.sin(x)`` reads a tensor's memory, and no method of the tensor is asked: such an exit
is only to be seen in the source, by the names that carry the value.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tfmagic.analysis.code import Code, code_of, dotted, names_in, own_expressions, stored
from tfmagic.model import Cell, Gradient, GradientCall, Line, Recording

__all__ = ["TF_NAMES", "goes_on", "is_numpy", "leaving", "roots"]

TF_NAMES = ("tf", "tensorflow", "keras", "K", "layers", "tfp", "tfk", "tnp")
_FOREIGN = ("numpy", "math", "scipy", "sklearn", "pandas", "cmath", "statistics", "torch", "jax")
_METHODS = ("numpy", "item", "tolist", "predict", "predict_on_batch", "__array__", "eval")
#: Where a value is looked at, and nothing comes of it.
_SHOWING = ("print", "display", "plt", "ax", "logging", "logger", "log", "tqdm", "pbar", "wandb")
#: How far the user's own functions are followed.
_DEEP = 3
_BUILTINS = ("float", "int", "bool", "complex")
_WORDS = re.compile(r"[^\W\d]\w*")
#: Functions by whose name numpy is known where its import is not in sight.
_NUMPY = frozenset(
    {
        "sin", "cos", "tan", "exp", "log", "sqrt", "square", "array", "asarray", "sum", "mean",
        "dot", "matmul", "abs", "power", "maximum", "minimum", "tanh", "log10", "log2", "std",
        "var", "prod", "clip", "concatenate", "stack", "reshape", "transpose", "max", "min",
        "float32", "float64", "einsum", "outer", "where", "sign", "linalg", "arange", "multiply",
        "add", "subtract", "divide",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Look:
    code: Code
    cell: Cell


def roots(gradient: Gradient) -> set[str]:
    """The plain names in the user's expression for the source: ``model`` of ``model.w``."""
    first = _WORDS.match(gradient.source)
    return {first[0]} if first else set()


def leaving(
    recording: Recording, call: GradientCall, names: set[str], lines: set[int]
) -> Iterator[Line]:
    """Lines up to the call on which a value among ``names`` leaves TensorFlow.

    ``lines`` are the recorded lines that computed with the source: what they assign
    carries its value too.
    """
    asked = recording.lines[call.line] if call.line is not None else None
    for cell in recording.cells:
        code = code_of(cell.source)
        last = asked.number if asked and asked.cell == cell.index else 0
        numbers = {
            recording.lines[i].number for i in lines if recording.lines[i].cell == cell.index
        }
        yield from _in_cell(_Look(code, cell), set(names), numbers, last)


def goes_on(recording: Recording, call: GradientCall, at: Line, lines: set[int]) -> bool:
    """Whether the value that left ``at`` a line can have come to one of ``lines`` or to the
    target, by the names that carry it; True where the source does not tell."""
    code = code_of(recording.cells[at.cell].source)
    statement = code.statement(at.number)
    if statement is None or not isinstance(code.function(statement), ast.Module):
        return True
    names = _given(statement)
    if names is None:
        return True
    wanted = {(recording.lines[i].cell, recording.lines[i].number) for i in lines}
    if call.line is not None:
        wanted.add((recording.lines[call.line].cell, recording.lines[call.line].number))
    if (at.cell, at.number) in wanted:
        return True
    return _reaches(recording, names, wanted, set(call.targets))


def _reaches(
    recording: Recording, names: set[str], wanted: set[tuple[int, int]], targets: set[str]
) -> bool:
    """Whether a statement on one of the ``wanted`` lines reads what comes of ``names``."""
    before = -1
    while len(names) > before:
        before = len(names)
        for cell in recording.cells:
            code = code_of(cell.source)
            for statement in code.of(ast.stmt):
                first, last = code.header(statement)
                read = set().union(*(names_in(e) for e in own_expressions(statement)))
                if not names & read:
                    continue
                if any((cell.index, number) in wanted for number in range(first, last + 1)):
                    return True
                given = _given(statement)
                names |= stored(statement) if given is None else given
    return bool(names & targets)


def _given(statement: ast.stmt) -> set[str] | None:
    """The names that a statement gives a value or adds one to; None where it may be any."""
    if isinstance(statement, ast.Assert):
        return set()
    if isinstance(statement, ast.Expr):
        call = statement.value
        if not isinstance(call, ast.Call):
            return set()
        root, _, method = dotted(call.func).partition(".")
        if root in _SHOWING or root in TF_NAMES:
            return set()
        return {root} if method and root != "?" else None
    if isinstance(statement, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        roots_ = {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
        return roots_ or None
    return None


def _in_cell(look: _Look, names: set[str], numbers: set[int], last: int) -> Iterator[Line]:
    code = look.code
    for statement in code.of(ast.stmt):
        if last and statement.lineno >= last:
            continue
        first, end = code.header(statement)
        if numbers.intersection(range(first, end + 1)):
            names |= stored(statement) if not hasattr(statement, "body") else set()
        for call in _own_calls(code, statement):
            found = list(_lines_of(look, call, names, 0))
            if found:
                yield from found
                names |= stored(statement) if not hasattr(statement, "body") else set()


def _lines_of(look: _Look, call: ast.Call, names: set[str], depth: int) -> Iterator[Line]:
    """Where a call lets its value out: itself, or a line of the user's function it calls."""
    if _leaves(look.code, call, names):
        text = look.cell.source.split("\n")[call.lineno - 1].strip()
        yield Line(-1, look.cell.index, call.lineno, text)
        return
    function = _definition(look.code, call) if depth < _DEEP else None
    if function is None or not names & names_in(call):
        return
    inner = {a.arg for a in function.args.args} - {"self"}
    for statement in look.code.of(ast.stmt, function):
        for nested in _own_calls(look.code, statement):
            found = list(_lines_of(look, nested, inner, depth + 1))
            yield from found
            if found or inner & names_in(statement):
                inner |= stored(statement) if not hasattr(statement, "body") else set()


def _definition(code: Code, call: ast.Call) -> ast.FunctionDef | None:
    """The user's function that is called: by name, as a method, or an object's own call."""
    name = dotted(call.func).rpartition(".")[2]
    for function in code.of(ast.FunctionDef):
        if function.name == name:
            return function
    for statement in code.of(ast.Assign):
        made = statement.value
        if name in stored(statement) and isinstance(made, ast.Call):
            for home in code.of(ast.ClassDef):
                if home.name == dotted(made.func):
                    methods = {m.name: m for m in home.body if isinstance(m, ast.FunctionDef)}
                    return methods.get("__call__") or methods.get("call")
    return None


def _own_calls(code: Code, statement: ast.stmt) -> Iterator[ast.Call]:
    """The calls in a statement, those in the statements of its body aside."""
    for node in ast.walk(statement):
        if (
            isinstance(node, ast.Call)
            and next((n for n in code.around(node) if isinstance(n, ast.stmt)), None) is statement
        ):
            yield node


def _leaves(code: Code, call: ast.Call, names: set[str]) -> bool:
    if not names & names_in(call):
        return False
    function = call.func
    if isinstance(function, ast.Attribute) and function.attr in _METHODS:
        return bool(names & names_in(function.value)) or function.attr.startswith("predict")
    name = dotted(function)
    if name.endswith(("numpy_function", "py_func")):
        return True
    taken = set().union(*(names_in(a) for a in (*call.args, *(k.value for k in call.keywords))))
    if not names & taken:
        return False
    if name.rpartition(".")[2] == "constant" and isinstance(call.args[0], ast.Name):
        return True  # of a Variable it takes the value alone
    return name in _BUILTINS or is_numpy(code, name)


def is_numpy(code: Code, name: str) -> bool:
    """Whether the function of this dotted name is numpy's, or of a library like it."""
    root, _, rest = name.partition(".")
    known = code.aliases.get(root)
    if known is not None:
        return known.split(".")[0] in _FOREIGN
    if root in TF_NAMES or root == "?":
        return False
    if root in ("np", "numpy", "math", "scipy", "sklearn", "pd"):
        return True
    if any(root in stored(s) for s in code.of(ast.stmt)):
        return False
    return (rest.split(".")[0] if rest else root) in _NUMPY and root not in dir(builtins)
