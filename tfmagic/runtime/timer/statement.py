"""A statement or a cell as something that can be run a thousand times.

It becomes a function, as in ``timeit``: what it assigns is local to that function, what it
reads comes from a copy of the user's namespace, so that nothing of theirs is bound anew.
The body returns what it made, and the caller holds that until the device is done.

A name that the statement both reads and assigns (``x = x + 1``) has its first value again
at the beginning of each run: every run does the same work.
"""

from __future__ import annotations

import ast
import builtins
import itertools
import linecache
import symtable
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tfmagic.errors import OptionError

__all__ = ["Statement", "Subject", "keras_subjects", "subject"]

LOOP, BODY, VALUE = "_tfbench_loop", "_tfbench_body", "_tfbench_value"
TIMES, TURN, FIRST = "_tfbench_times", "_tfbench_turn", "_tfbench_first_"
CALL, FETCH = "_tfbench_call", "_tfbench_fetch"
TENSORS = "_tfbench_tensors"
_counter = itertools.count()

#: Runs the statement so many times; the last run's outcome, by name.
Loop = Callable[[int], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Statement:
    """Source code, and what can be known of it without running it.

    ``reads`` are the names that it may read from outside, ``assigns`` those it binds.
    Raises :class:`~tfmagic.errors.OptionError` where it is no Python, empty, or cannot
    stand in a function.
    """

    source: str
    filename: str = "<tfbench>"
    flags: int = 0
    tree: ast.Module = field(init=False, repr=False)
    reads: frozenset[str] = field(init=False)
    assigns: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        try:
            tree = ast.parse(self.source, self.filename)
            compile(tree, self.filename, "exec", self.flags, dont_inherit=True)
            table = symtable.symtable(_apart(tree) or self.source, self.filename, "exec")
            self._compiled(_in_loop(tree))
        except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
            detail = getattr(error, "msg", None) or str(error)
            raise OptionError("bench.no_python", given=_short(self.source), detail=detail) from None
        if not tree.body:
            raise OptionError("bench.empty")
        bound = [s.get_name() for s in table.get_symbols() if _binds(s)]
        object.__setattr__(self, "tree", tree)
        object.__setattr__(self, "reads", frozenset(_read(table)) | _changed(tree))
        object.__setattr__(self, "assigns", tuple(dict.fromkeys([*bound, *_walrus(tree)])))

    def remember(self) -> None:
        """Let tracebacks show its lines, and AutoGraph find the functions that it makes."""
        lines = self.source.splitlines(keepends=True)
        linecache.cache[self.filename] = (len(self.source), None, lines, self.filename)

    def run(self, space: dict[str, Any]) -> None:
        """Run it once, as it stands, in ``space``."""
        exec(self._compiled(self.tree), space)

    def loop(
        self,
        space: dict[str, Any],
        fresh: Mapping[str, Callable[[], Any]] | None = None,
        fetch: Callable[[Any], None] | None = None,
    ) -> Loop:
        """The statement in a loop, reading its names from ``space``.

        Names in ``fresh`` are bound anew at the beginning of each run, and ``fetch`` is given
        what the run made at its end; both belong to the run.
        """
        fresh = fresh or {}
        again = {n: n for n in self.assigns if n in self.reads and n in space and n not in fresh}
        space.update({FIRST + name: space[name] for name in again})
        space.update({FIRST + name: copied for name, copied in fresh.items()})
        begin = [f"{name} = {FIRST}{name}" for name in again]
        begin += [f"{name} = {FIRST}{name}()" for name in fresh]
        end = []
        if fetch is not None:
            space[FETCH] = fetch
            own = [name for name in self.assigns if name not in fresh]
            names = [VALUE, *own] if not self._may_skip() else [VALUE]
            end = [f"{FETCH}([{', '.join(names)}])"]
        made: dict[str, Any] = {}
        exec(self._compiled(_in_loop(self.tree, begin, end)), space, made)
        function = made[LOOP]
        return lambda times: dict(function(itertools.repeat(None, times)))

    def body(
        self, space: dict[str, Any], arguments: Sequence[str], results: Sequence[str]
    ) -> tuple[Callable[..., Any], Callable[[], None]]:
        """One run as a function of ``arguments``, to be traced; it gives what the function that
        ``space`` has as ``TENSORS`` makes of the ``results``.

        AutoGraph finds its source until the second function is called.
        """
        text = ast.unparse(_as_body(self.tree, arguments, results)) + "\n"
        filename = f"<tfbench {next(_counter)}>"
        linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
        made: dict[str, Any] = {}
        exec(compile(text, filename, "exec", self.flags, dont_inherit=True), space, made)

        def forget() -> None:
            linecache.cache.pop(filename, None)

        return made[BODY], forget

    def _may_skip(self) -> bool:
        """Whether a name may stay unbound in a run: in a branch, or where it is deleted."""
        branching = (ast.If, ast.Try, ast.For, ast.While, ast.Match, ast.Delete, ast.NamedExpr)
        return any(isinstance(node, branching) for node in ast.walk(self.tree))

    def _compiled(self, tree: ast.Module) -> Any:
        return compile(tree, self.filename, "exec", self.flags, dont_inherit=True)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is timed: a statement, its setup, the namespace that they see, how it is called, and
    its ``label`` among several."""

    statement: Statement
    setup: Statement | None
    namespace: Mapping[str, Any]
    title: str = ""
    label: str = ""

    @property
    def reads(self) -> frozenset[str]:
        """The names that the statement or its setup may read."""
        return self.statement.reads | (self.setup.reads if self.setup else frozenset())

    def remember(self) -> None:
        """Let the lines of both be found."""
        for part in (self.statement, self.setup):
            if part is not None:
                part.remember()

    def forget(self) -> None:
        """Undo :meth:`remember`."""
        for part in (self.statement, self.setup):
            if part is not None:
                linecache.cache.pop(part.filename, None)

    def space(self, more: Mapping[str, Any]) -> dict[str, Any]:
        """A fresh copy of the namespace with ``more`` bound, and the setup run in it."""
        space = {"__builtins__": builtins, **self.namespace, **more}
        if self.setup is not None:
            self.setup.run(space)
        return space


def subject(
    statement: str | Callable[[], Any], setup: str, namespace: Mapping[str, Any], title: str = ""
) -> Subject:
    """What is timed, from source code or from a function without arguments."""
    if callable(statement):
        title = title or f"{getattr(statement, '__name__', type(statement).__name__)}()"
        namespace = {**namespace, CALL: statement}
        statement = f"{CALL}()"
    filename = f"<tfbench {next(_counter)}>"
    return Subject(Statement(statement, filename), _prepared(setup), namespace, title or statement)


def keras_subjects(
    source: str, setup: str, namespace: Mapping[str, Any], title: str = ""
) -> list[Subject]:
    """The ways in which a Keras model is run, each on the same batch once: ``source`` is
    ``model, x`` or ``model, x, y``, and with targets the model is trained, too.

    Raises :class:`~tfmagic.errors.OptionError` where it is something else.
    """
    value = getattr(Statement(source).tree.body[0], "value", None)
    given = value.elts if isinstance(value, ast.Tuple) else []
    if len(given) not in (2, 3):
        raise OptionError("bench.keras_what", given=_short(source))
    model, x, *rest = (f"({ast.unparse(part)})" for part in given)
    ways = {
        "model(x)": f"{model}({x})",
        "predict_on_batch": f"{model}.predict_on_batch({x})",
        "predict": f"{model}.predict({x}, batch_size=len({x}), verbose=0)",
    }
    for y in rest:
        ways["train_on_batch"] = f"{model}.train_on_batch({x}, {y})"
        ways["fit"] = f"{model}.fit({x}, {y}, batch_size=len({x}), verbose=0)"
    return [
        replace(subject(way, setup, namespace, title or source), label=label)
        for label, way in ways.items()
    ]


def _prepared(setup: str) -> Statement | None:
    """The setup; None where there is nothing to run in it."""
    try:
        return Statement(setup, f"<tfbench setup {next(_counter)}>")
    except OptionError as error:
        if error.key == "bench.empty":
            return None
        raise OptionError("bench.no_setup", **error.values) from None


def _in_loop(tree: ast.Module, begin: Sequence[str] = (), end: Sequence[str] = ()) -> ast.Module:
    """``def loop(times): for … in times: STATEMENT``, which returns what it holds at the end."""
    whole = ast.parse(
        f"def {LOOP}({TIMES}):\n {VALUE} = None\n for {TURN} in {TIMES}: 0\n return locals()"
    )
    function = whole.body[0]
    assert isinstance(function, ast.FunctionDef)
    turn = function.body[1]
    assert isinstance(turn, ast.For)
    first, last = (ast.parse("\n".join(lines)).body for lines in (begin, end))
    turn.body = [*first, *_with_value(_anew(tree).body), *last] or turn.body
    return ast.fix_missing_locations(whole)


def _as_body(tree: ast.Module, arguments: Sequence[str], results: Sequence[str]) -> ast.Module:
    """``def body(arguments): STATEMENT; return tensors(results)``."""
    given, made = ", ".join(arguments), ", ".join(results)
    whole = ast.parse(f"def {BODY}({given}):\n return {TENSORS}({made})")
    function = whole.body[0]
    assert isinstance(function, ast.FunctionDef)
    function.body = [*_with_value(_anew(tree).body), *function.body]
    return ast.fix_missing_locations(whole)


def _anew(node: Any) -> Any:
    """The same nodes once more, and nothing else: what shows a traceback hangs whole files on the
    marks that all trees share, as ``ast.Load()`` is one, and ``copy.deepcopy`` would follow."""
    if isinstance(node, list):
        return [_anew(part) for part in node]
    if not isinstance(node, ast.AST):
        return node
    parts = {name: _anew(part) for name, part in ast.iter_fields(node)}
    return ast.copy_location(type(node)(**parts), node)


def _with_value(body: list[ast.stmt]) -> list[ast.stmt]:
    """The same statements, the value of each expression under a name, the last as ``VALUE``."""
    named: list[ast.stmt] = []
    for place, part in enumerate(body, 1 - len(body)):
        if isinstance(part, ast.Expr) and (place == 0 or not isinstance(part.value, ast.Constant)):
            name = ast.Name(VALUE if place == 0 else f"{VALUE}{place + len(body)}", ast.Store())
            named.append(ast.copy_location(ast.Assign([name], part.value), part))
        else:
            named.append(part)
    return named


def _apart(tree: ast.Module) -> str:
    """The source with its list, set and dict comprehensions as generators, or empty where there
    are none: since Python 3.12 the names of the others stand among those around them (PEP 709)."""
    generators = _Generators()
    apart = generators.visit(_anew(tree))
    return ast.unparse(apart) if generators.found else ""


class _Generators(ast.NodeTransformer):
    found = False

    def visit(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node, (ast.ListComp, ast.SetComp)):
            element = node.elt
        elif isinstance(node, ast.DictComp):
            element = ast.Tuple([node.key, node.value], ast.Load())
        else:
            return node
        self.found = True
        return ast.GeneratorExp(element, node.generators)


def _read(table: symtable.SymbolTable) -> Iterator[str]:
    """Names that are read here, or as globals in a function or class inside."""
    outermost = table.get_type() == "module"
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (outermost or symbol.is_global()):
            yield symbol.get_name()
    for inside in table.get_children():
        yield from _read(inside)


def _changed(tree: ast.Module) -> set[str]:
    """Names of ``name += …`` and ``del name``, which read what they bind."""
    changed = {n.target.id for n in ast.walk(tree)
               if isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name)}  # fmt: skip
    deleted = {t.id for n in ast.walk(tree) if isinstance(n, ast.Delete)
               for t in n.targets if isinstance(t, ast.Name)}  # fmt: skip
    return changed | deleted


def _walrus(node: ast.AST) -> Iterator[str]:
    """Names of ``:=`` that are bound around a comprehension, which a table has as global there."""
    if isinstance(node, ast.NamedExpr):
        yield node.target.id
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
        for inside in ast.iter_child_nodes(node):
            yield from _walrus(inside)


def _binds(symbol: symtable.Symbol) -> bool:
    return symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()


def _short(source: str) -> str:
    line = str(source).strip().split("\n")[0]
    return line if len(line) <= 80 else line[:79] + "…"
