"""Lines of the user's run once more, aside: only such as are :mod:`.harmless`.

A statement that shows or stores something and gives nothing (``print``, a plot) is passed over.
Variables, random state, Keras's counters, and the
attributes and lists of the user's that could be changed are as before afterwards.
"""

from __future__ import annotations

import ast
import contextlib
import linecache
import math
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from time import perf_counter
from typing import Any

import numpy as np

from tfmagic.analysis.code import code_of, stored
from tfmagic.model import GradientCall
from tfmagic.runtime import private
from tfmagic.runtime.autodiff.differentiate import aside
from tfmagic.runtime.capture.log import Call, Log, handle_of
from tfmagic.runtime.capture.recorder import Recorder
from tfmagic.runtime.capture.structure import leaves
from tfmagic.runtime.capture.unnoticed import Silence, random_state
from tfmagic.runtime.experiments.harmless import Refused, harmless, is_users
from tfmagic.runtime.experiments.probes import probe_zeros
from tfmagic.runtime.op_traits import reason

__all__ = ["Answer", "Draws", "Program", "Scope", "before_cell", "rerun"]

#: Bytes of variables, and of arrays of the user's, that are copied to be put back.
_MOST = 2**26
#: Elements of what is kept from before the cell.
_SMALL = 2**16
_number = count()


@dataclass(frozen=True, slots=True)
class Scope:
    """The user's names: ``now``, after the cell, and ``before`` those that held something small
    when it began.  ``variables`` are those that its ops met."""

    now: Mapping[str, Any]
    before: Mapping[str, Any]
    variables: tuple[Any, ...]


def before_cell(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The names of what is small and could be lost when the cell binds them anew: numbers,
    texts, tensors, variables, and lists and dicts of such."""
    return {name: value for name, value in namespace.items() if _is_small(value)}


def _is_small(value: Any) -> bool:
    try:
        return _has_few(value)
    except Exception:  # a tensor whose device is gone
        return False


def _has_few(value: Any) -> bool:
    kind = type(value)
    if kind in (int, float, bool, complex, str):
        return True
    if kind in (list, tuple):
        return len(value) < 64 and all(map(_is_small, value))
    if kind is dict:
        return len(value) < 64 and all(map(_is_small, dict.values(value)))
    if kind is private.EagerTensor:
        return int(value._num_elements()) < _SMALL
    if kind is np.ndarray:
        return bool(value.size < _SMALL)
    handle = handle_of(value)
    return handle is not None and (value.shape.num_elements() or _SMALL) < _SMALL


@dataclass(frozen=True, slots=True)
class Program:
    """The sources of cells, one after the other, up to the answer to a call of ``gradient`` that
    has ``turn`` such calls before it; with ``probed`` a gradient of zero in it is looked into."""

    sources: Sequence[str]
    call: GradientCall
    turn: int
    probed: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What one call of ``gradient`` or ``jacobian`` gave: the norm of each leaf (None where it is
    None, NaN where it is not finite), and the norm of the target.  ``stationary`` are the leaves
    whose zero was shown to be right."""

    norms: tuple[float | None, ...]
    value: float
    jacobian: bool = False
    error: str = ""
    stationary: frozenset[int] = frozenset()

    @property
    def is_known(self) -> bool:
        """Whether a recording would tell of it: of a jacobian only where something is None."""
        return not self.jacobian or None in self.norms


class _Over(BaseException):
    """Time is up, or all that was wanted has been answered."""


class Draws:
    """What random ops gave in the first run, given again in the next."""

    def __init__(self) -> None:
        self._given: list[tuple[str, Any]] = []
        self._next = 0
        self._first = True

    def begin(self) -> None:
        """A run begins."""
        self._first = not self._given
        self._next = 0

    def of(self, op_type: str, outputs: Any) -> Any:
        """What a random op is to give; None for what it gave."""
        if self._first:
            self._given.append((op_type, list(outputs)))
            return None
        kind, before = self._given[self._next] if self._next < len(self._given) else ("", ())
        alike = kind == op_type and [t.shape for t in before] == [t.shape for t in outputs]
        self._next += alike
        return list(before) if alike else None


def rerun(program: Program, scope: Scope, until: float, draws: Draws) -> list[Answer]:
    """The answers of the program's gradient calls, in order; as many as there were before it
    ended, was over time or raised.  Empty where it may not run."""
    draws.begin()
    try:
        space = _space(program, scope)
        trees = harmless(program.sources, space)
        return aside(lambda: _run(program, trees, space, scope, until, draws))
    except (Exception, _Over):  # not only what is refused: a worker that died, memory that is full
        return []


# -- running ----------------------------------------------------------------------------------


def _run(
    program: Program,
    trees: Sequence[ast.Module],
    space: dict[str, Any],
    scope: Scope,
    until: float,
    draws: Draws,
) -> list[Answer]:
    found: list[Answer] = []
    with contextlib.ExitStack() as undo:
        undo.enter_context(Silence())
        undo.enter_context(random_state())
        undo.enter_context(private.session_kept())
        undo.enter_context(_as_before(scope, space))
        undo.enter_context(_heard(found, program, until, draws))

        def answered(log: Log, call: Call, whole: int) -> None:
            probe_zeros(log, call)
            if sum(each.is_known for each in found) > program.turn:
                raise _Over

        recorder = Recorder(everything=True, answered=answered) if program.probed else None
        if recorder is not None:
            undo.callback(recorder.stop)
            recorder.start()
        names = [f"<tfmagic {next(_number)}>" for _ in trees]
        undo.callback(lambda: [linecache.cache.pop(name, None) for name in names])
        with contextlib.suppress(_Over, Exception):
            if program.call.origin == "cell":
                _execute(program, trees, names, space)
            else:
                found[:] = [_inferred(program, trees, names, space)]
    if recorder is not None and found:
        last = recorder.log.calls[-1].index if recorder.log.calls else -1
        shown = recorder.log.probes.items()
        right = {place for (call, place), p in shown if call == last and p.kind == "stationary"}
        found[-1] = replace(found[-1], stationary=frozenset(right))
    return found


def _execute(
    program: Program, trees: Sequence[ast.Module], names: Sequence[str], space: dict[str, Any]
) -> None:
    for source, tree, name in zip(program.sources, trees, names, strict=True):
        lines = source.splitlines(keepends=True)
        linecache.cache[name] = (len(source), None, lines, name)
        exec(compile(tree, name, "exec"), space)


def _inferred(
    program: Program, trees: Sequence[ast.Module], names: Sequence[str], space: dict[str, Any]
) -> Answer:
    """The answer to a question that the lines do not ask themselves."""
    import tensorflow as tf

    call = program.call
    with tf.GradientTape() as tape:
        _execute(program, trees, names, space)
    target = eval(call.targets[0], space)
    sources = [eval(gradient.source, space) for gradient in call.gradients]
    return _answer(target, tape.gradient(target, sources))


def _answer(target: Any, answer: Any, **more: Any) -> Answer:
    norms = tuple(None if leaf is None else _norm(leaf) for _, leaf in leaves(answer))
    values = [_norm(leaf) for _, leaf in leaves(target)]
    return Answer(norms, math.hypot(*values), **more)


def _norm(value: Any) -> float:
    values = getattr(value, "values", value)
    array = np.asarray(values() if callable(values) else values)
    array = array.astype(complex if np.iscomplexobj(array) else float)
    return float(np.linalg.norm(array.ravel())) if np.isfinite(array).all() else math.nan


@contextlib.contextmanager
def _heard(found: list[Answer], program: Program, until: float, draws: Draws) -> Iterator[None]:
    """Every question put to a tape is noted with its answer; time is watched at every op."""
    import tensorflow as tf

    deep = [0]

    def listening(original: Callable[..., Any], jacobian: bool) -> Callable[..., Any]:
        def asked(tape: Any, target: Any, sources: Any, *args: Any, **kwargs: Any) -> Any:
            deep[0] += 1
            try:
                answer = original(tape, target, sources, *args, **kwargs)
            except Exception as error:
                if deep[0] == 1 and tf.executing_eagerly():
                    norms = tuple(None for _ in leaves(sources))
                    found.append(Answer(norms, math.nan, jacobian, type(error).__name__))
                raise
            finally:
                deep[0] -= 1
            if not deep[0] and tf.executing_eagerly():
                found.append(_answer(target, answer, jacobian=jacobian))
                enough = sum(each.is_known for each in found) > program.turn
                if enough and not program.probed:
                    raise _Over
            return answer

        return asked

    def after_op(
        op_type: Any, inputs: Any, attrs: Any, outputs: Any, op_name: Any = None, graph: Any = None
    ) -> Any:
        if perf_counter() > until:
            raise _Over
        if graph is not None:
            return private.handed_on(outputs)
        kind = op_type.decode() if isinstance(op_type, bytes) else op_type
        return draws.of(kind, outputs) if reason(kind) == "random" else None

    kind = tf.GradientTape
    private.add_callback(after_op)
    try:
        with (
            private.replaced(kind, "gradient", listening(kind.gradient, False)),
            private.replaced(kind, "jacobian", listening(kind.jacobian, True)),
        ):
            yield
    finally:
        private.remove_callback(after_op)


# -- what is put back ---------------------------------------------------------------------------


def _space(program: Program, scope: Scope) -> dict[str, Any]:
    """The names as the cell found them: those that it binds as they were before, where that is
    known, lists and dicts copied."""
    bound = set().union(*(stored(code_of(source).tree) for source in program.sources))
    space = {n: v for n, v in scope.now.items() if n not in bound}
    space.update({n: v for n, v in scope.before.items() if n in bound})
    total = 0
    for name, value in space.items():
        kind = type(value)
        if kind in (list, dict, set):
            space[name] = kind(value)
        elif kind is np.ndarray and name in _words(program):
            total += value.nbytes
            if total > _MOST:
                raise Refused
            space[name] = value.copy()
        elif kind is types.FunctionType and value.__globals__.get(name) is value:
            space[name] = _with_globals(value, space)
    return space


def _words(program: Program) -> set[str]:
    trees = (code_of(source) for source in program.sources)
    return {node.id for code in trees for node in code.of(ast.Name)}


def _with_globals(function: types.FunctionType, space: dict[str, Any]) -> types.FunctionType:
    """A function of a cell that finds the names of ``space``."""
    again = types.FunctionType(
        function.__code__, space, function.__name__, function.__defaults__, function.__closure__
    )
    again.__kwdefaults__ = function.__kwdefaults__
    again.__dict__.update(function.__dict__)
    return again


@contextlib.contextmanager
def _as_before(scope: Scope, space: Mapping[str, Any]) -> Iterator[None]:
    """Variables and attributes of the user's objects are afterwards what they are now."""
    kept = [(v, np.asarray(v).copy()) for v in scope.variables]
    if sum(value.nbytes for _, value in kept) > _MOST:
        raise Refused
    objects = [(thing, dict(vars(thing)), _lists(thing)) for thing in _objects(space.values())]
    try:
        yield
    finally:
        for variable, value in kept:
            if np.asarray(variable).tobytes() != value.tobytes():
                variable.assign(value)
        for thing, members, held in objects:
            vars(thing).clear()
            vars(thing).update(members)
            for container, copy in held:
                if isinstance(container, list):
                    container[:] = copy
                else:
                    container.clear()
                    container.update(copy)


def _objects(values: Iterable[Any]) -> list[Any]:
    """Objects of the user's own classes that the names lead to."""
    found: dict[int, Any] = {}
    todo = [v for v in values if is_users(type(v))]
    while todo and len(found) < 200:
        thing = todo.pop()
        if id(thing) in found or not isinstance(getattr(thing, "__dict__", None), dict):
            continue
        found[id(thing)] = thing
        members = list(vars(thing).values())
        inside = (i for m in members if type(m) in (list, tuple) for i in m[:64])
        todo.extend(v for v in (*members, *inside) if is_users(type(v)))
    return list(found.values())


def _lists(thing: Any) -> list[tuple[Any, Any]]:
    members = vars(thing).values()
    return [(m, type(m)(m)) for m in members if type(m) in (list, dict, set)]
