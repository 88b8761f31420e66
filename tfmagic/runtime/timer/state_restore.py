"""Around a measurement: random state, variables and prints are as if nothing had been run."""

from __future__ import annotations

import contextlib
import io
import os
import random
import signal
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import CodeType
from typing import Any

import numpy as np
import tensorflow as tf

from tfmagic.runtime import private
from tfmagic.runtime.capture.interrupts import handlers, runs_one_of
from tfmagic.runtime.capture.source import is_user_file
from tfmagic.runtime.timer.reachability import reached, variable_in

__all__ = ["Births", "Silence", "random_state", "variables_restored"]

#: Bytes of variables that are copied so that they can be put back.
MOST_COPIED = 2**30


Found = Sequence[tuple[str, Any]]


@contextlib.contextmanager
def random_state(found: Found = ()) -> Iterator[None]:
    """The generators of Python, numpy, TensorFlow and Keras go on where they were, and so do
    those of the user's that are ``found``.

    While the block runs, TensorFlow draws the seeds of its ops from another stream: a
    kernel that it keeps for a seed of the user's is never advanced.
    """
    python, numeric = random.getstate(), np.random.get_state()
    own = [back for _, value in found for back in _rewinding(value)]
    generators = [v for v in private.generator_states() if v is not None]
    before = [v.numpy() for v in generators]
    with private.other_op_seeds():
        try:
            yield
        finally:
            for back in own:
                back()
            random.setstate(python)
            np.random.set_state(numeric)
            for variable, value in zip(generators, before, strict=True):
                variable.assign(value)


def _rewinding(value: Any) -> Iterator[Callable[[], Any]]:
    """What sets a generator of random numbers back to where it is now."""
    if isinstance(value, np.random.Generator):
        yield partial(setattr, value.bit_generator, "state", value.bit_generator.state)
    elif isinstance(value, np.random.RandomState):
        yield partial(value.set_state, value.get_state())
    elif isinstance(value, random.Random) and not isinstance(value, random.SystemRandom):
        yield partial(value.setstate, value.getstate())


@contextlib.contextmanager
def variables_restored(
    found: Found, changed: list[str], names: Mapping[int, str], births: Births
) -> Iterator[None]:
    """Variables that the block changes get their values back; ``changed`` lists their names,
    those of ``names`` (by id) rather than TensorFlow's own.

    Those that would take more than a gigabyte to copy are left as they become, and listed
    with a ``*``.
    """
    kept, left, total = [], [], 0
    for name, variable in _variables(found):
        total += _bytes(variable)
        called = names.get(id(variable)) or _name(variable, name)
        if total <= MOST_COPIED:
            kept.append((called, variable, variable.numpy()))
        else:
            left.append(called)
    try:
        yield
    finally:
        for called, variable, value in [*kept, *births.alive()]:
            if np.asarray(variable.numpy()).tobytes() != np.asarray(value).tobytes():
                changed.append(called)
                variable.assign(value)
        changed.extend(f"{called}*" for called in left)


def _variables(found: Found) -> Iterator[tuple[str, Any]]:
    """Each variable that is ``found`` once, if its value can be copied."""
    seen: set[int] = set()
    for name, value in found:
        variable = variable_in(value)
        if variable is None or id(variable) in seen:
            continue
        seen.add(id(variable))
        if variable.dtype.is_numpy_compatible and variable.dtype != tf.resource:
            yield name, variable


class Births:
    """Variables that a first run makes and leaves behind: an optimiser's slots, the weights of
    a layer that is built when it is called."""

    def __init__(self) -> None:
        self._born: list[tuple[weakref.ref[Any], Any]] = []
        self._bytes = 0

    def noticed(self) -> contextlib.AbstractContextManager[Any]:
        """Notice those that the block makes."""
        scope: contextlib.AbstractContextManager[Any] = tf.variable_creator_scope(self._made)
        return scope

    def spare(self, values: Mapping[str, Any]) -> None:
        """Those that can be reached from ``values`` are results, and stay as they are."""
        spared = {id(variable_in(value)) for _, value in reached(values)}
        self._born = [each for each in self._born if id(each[0]()) not in spared]

    def _made(self, maker: Callable[..., Any], **options: Any) -> Any:
        variable = maker(**options)
        self._bytes += _bytes(variable)
        if self._bytes < MOST_COPIED and variable.dtype.is_numpy_compatible:
            value = _initial(variable, options.get("initial_value"))
            if value is not None:
                self._born.append((weakref.ref(variable), value))
        return variable

    def alive(self) -> Iterator[tuple[str, Any, Any]]:
        """Those that are still there: their names, they, and what they were made with."""
        for born, value in self._born:
            variable = born()
            if variable is not None:
                yield _name(variable, ""), variable, value


def _initial(variable: Any, maker: Any) -> Any:
    """What a variable is made with.  One that is made while a function is traced, as the slots
    of Keras's optimisers are, has no value yet: it is told where it is the same everywhere."""
    if tf.executing_eagerly():
        return variable.numpy()
    if not callable(maker) or is_user_file(
        getattr(maker, "__code__", _initial.__code__).co_filename
    ):
        return tf.get_static_value(maker) if isinstance(maker, tf.Tensor) else None
    with tf.init_scope():
        value = np.asarray(maker())
    return value if value.size and (value == value.flat[0]).all() else None


def _bytes(variable: Any) -> int:
    return int(variable.dtype.size or 8) * int(np.prod(variable.shape.as_list() or [1]))


def _name(variable: Any, near: str) -> str:
    """TensorFlow's name of a variable, or the ``near`` one where that says nothing."""
    own = str(getattr(variable, "path", "") or variable.name).partition(":")[0]
    return near if near and own in ("Variable", "StateVar") else own


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
