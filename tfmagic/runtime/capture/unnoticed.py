"""What runs inside these blocks leaves random state and the screen as if it had not run."""

from __future__ import annotations

import contextlib
import io
import os
import random
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from types import CodeType
from typing import Any

import numpy as np

from tfmagic.runtime import private
from tfmagic.runtime.capture.interrupts import handlers, runs_one_of

__all__ = ["Silence", "random_state"]

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
