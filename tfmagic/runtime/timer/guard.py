"""Around a measurement: random state, variables and prints are as if nothing had been run."""

from __future__ import annotations

import contextlib
import io
import operator
import os
import random
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from types import CodeType
from typing import Any

import numpy as np
import tensorflow as tf

from tfmagic.runtime import private
from tfmagic.runtime.recorder.interrupt import handlers, runs_one_of

__all__ = ["Silence", "contents_restored", "random_state", "variables_of", "variables_restored"]

#: Bytes of variables that are copied so that they can be put back.
MOST_COPIED = 2**30
_DEEPEST = 5


@contextlib.contextmanager
def random_state() -> Iterator[None]:
    """The generators of Python, numpy, TensorFlow and Keras go on where they were.

    While the block runs, TensorFlow draws the seeds of its ops from another stream: a
    kernel that it keeps for a seed of the user's is never advanced.
    """
    python, numeric = random.getstate(), np.random.get_state()
    generators = [v for v in private.generator_states() if v is not None]
    before = [v.numpy() for v in generators]
    with private.other_op_seeds():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numeric)
            for variable, value in zip(generators, before, strict=True):
                variable.assign(value)


@contextlib.contextmanager
def variables_restored(
    variables: Iterable[Any], changed: list[str], names: Mapping[int, str]
) -> Iterator[None]:
    """Variables that the block changes get their values back; ``changed`` lists their names,
    those of ``names`` (by id) rather than TensorFlow's own.

    Those that would take more than a gigabyte to copy are left as they become, and listed
    with a ``*``.
    """
    kept, left, total = [], [], 0
    for variable in variables:
        size = _bytes(variable)
        if total + size <= MOST_COPIED:
            total += size
            kept.append((variable, variable.numpy()))
        else:
            left.append(variable)
    try:
        yield
    finally:
        for variable, value in kept:
            if not np.array_equal(variable.numpy(), value, equal_nan=value.dtype.kind in "fc"):
                changed.append(names.get(id(variable)) or _name(variable))
                variable.assign(value)
        changed.extend(f"{names.get(id(v)) or _name(v)}*" for v in left)


@contextlib.contextmanager
def contents_restored(values: Mapping[str, Any], changed: list[str]) -> Iterator[None]:
    """Arrays, lists, dictionaries and sets hold afterwards what they held before; ``changed``
    gets the names of those that the block changed.

    What the things in a list are themselves is not looked into, nor more than a gigabyte.
    """
    kept, total = dict[str, Any](), 0
    for name, value in values.items():
        weight = _weight(value)
        total += weight
        if weight and total <= MOST_COPIED:
            kept[name] = copy(value)
    try:
        yield
    finally:
        for name, before in kept.items():
            if not _equal(values[name], before):
                changed.append(name)
                _put_back(values[name], before)


def _weight(value: Any) -> int:
    """Bytes that a copy of a container takes; 0 for what is none."""
    if type(value) in (list, dict, set):
        return 64 + 16 * len(value)
    numeric = type(value) is np.ndarray and value.dtype.kind in "biufc" and value.flags.writeable
    return int(value.nbytes) if numeric else 0


def _equal(now: Any, before: Any) -> bool:
    if isinstance(now, np.ndarray):
        return np.array_equal(now, before, equal_nan=now.dtype.kind in "fc")
    if isinstance(now, dict):
        now, before = [*now.keys(), *now.values()], [*before.keys(), *before.values()]
    elif isinstance(now, set):
        return set(map(id, now)) == set(map(id, before))
    return len(now) == len(before) and all(map(operator.is_, now, before))


def _put_back(now: Any, before: Any) -> None:
    if isinstance(now, np.ndarray):
        now[...] = before
    elif isinstance(now, list):
        now[:] = before
    else:
        now.clear()
        now.update(before)


def variables_of(values: Iterable[Any]) -> list[Any]:
    """The variables that can be reached from ``values``: modules, models, optimisers, lists,
    and through the names and closures of functions."""
    found: dict[int, Any] = {}
    seen: set[int] = set()
    for value in values:
        _reach(value, found, seen, 0)
    return list(found.values())


def _reach(value: Any, found: dict[int, Any], seen: set[int], depth: int) -> None:
    if id(value) in seen or depth > _DEEPEST:
        return
    seen.add(id(value))
    inner = getattr(value, "_value", None)  # a Keras variable holds TensorFlow's
    variable = inner if isinstance(inner, tf.Variable) else value
    if isinstance(variable, tf.Variable):
        if variable.dtype.is_numpy_compatible and variable.dtype != tf.resource:
            found[id(variable)] = variable
        return
    for member in _members(value):
        _reach(member, found, seen, depth + 1)


def _members(value: Any) -> Iterable[Any]:
    if isinstance(value, (list, tuple, set)):
        return list(value)[:10_000]
    if isinstance(value, dict):
        return list(value.values())[:10_000]
    if isinstance(value, tf.Module) or type(value).__module__.split(".")[0] == "keras":
        own = getattr(value, "variables", ())
        return list(own) if isinstance(own, (list, tuple)) else ()
    function = getattr(value, "python_function", None) or getattr(value, "__func__", value)
    code = getattr(function, "__code__", None)
    if code is None:
        return ()
    names = getattr(function, "__globals__", {})
    cells = [_content(cell) for cell in getattr(function, "__closure__", None) or ()]
    owner = getattr(value, "__self__", None)
    return [*(names[n] for n in code.co_names if n in names), *cells, owner]


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _bytes(variable: Any) -> int:
    return int(variable.dtype.size or 8) * int(np.prod(variable.shape.as_list() or [1]))


def _name(variable: Any) -> str:
    return str(getattr(variable, "path", "") or variable.name).partition(":")[0]


class Silence:
    """Takes the place of ``sys.stdout`` and ``sys.stderr`` while a statement runs for the
    thousandth time; in a terminal also of what they write to, for ``tf.print`` goes there.

    It can be entered again inside itself, and as often as one likes.  What a signal handler of
    the user's prints is none of the statement's, and is heard.
    """

    def __init__(self) -> None:
        self.characters = 0
        self._depth = 0
        self._streams = (sys.stdout, sys.stderr)
        self._files: list[tuple[int, int]] = []
        self._handlers: frozenset[CodeType] = frozenset()

    def __enter__(self) -> Silence:
        self._depth += 1
        if self._depth == 1:
            self._handlers = handlers()
            self._mute()
        return self

    def __exit__(self, *error: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._unmute()

    @contextlib.contextmanager
    def lifted(self) -> Iterator[None]:
        """Inside the block everything is heard, for words of our own."""
        if not self._depth:
            yield
            return
        self._unmute()
        try:
            yield
        finally:
            self._mute()

    def _mute(self) -> None:
        self._streams = (sys.stdout, sys.stderr)
        if isinstance(sys.stderr, io.TextIOWrapper):  # a kernel's is none
            for stream in self._streams:
                stream.flush()
            self._files = _to_nowhere()
        sys.stdout = sys.stderr = self

    def _unmute(self) -> None:
        sys.stdout, sys.stderr = self._streams
        _back(self._files)
        self._files = []

    def write(self, text: str) -> int:
        """Count what is printed, and let it go."""
        if self._handlers and runs_one_of(self._handlers, sys._getframe(1)):
            with self.lifted():
                return sys.stdout.write(text)
        self.characters += len(text)
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._streams[0], name)


def _to_nowhere() -> list[tuple[int, int]]:
    """Send what goes to the process's standard output and error nowhere; how to get it back."""
    with _uninterrupted(), contextlib.suppress(OSError):
        saved = [(os.dup(number), number) for number in (1, 2)]
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for number in (1, 2):
            os.dup2(nowhere, number)
        os.close(nowhere)
        return saved
    return []


def _back(saved: Iterable[tuple[int, int]]) -> None:
    with _uninterrupted():
        for kept, number in saved:
            os.dup2(kept, number)
            os.close(kept)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """An interrupt inside the block comes after it, where the system can hold one back."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
