"""A statement as a ``tf.function``, plain or compiled by XLA, that leaves out as little as can be.

Every tensor that the statement makes is returned, so that none is dropped as unused.  Every
tensor and array that it reads is an argument, so that nothing is computed once at tracing
and kept; tensors that functions of the user's capture become arguments too.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import tensorflow as tf

from tfmagic.runtime import private
from tfmagic.runtime.capture.interrupts import by_handler
from tfmagic.runtime.timer.place import fetched
from tfmagic.runtime.timer.statement import TENSORS, VALUE, Loop, Statement

__all__ = ["Compiled", "compiled"]


@dataclass(frozen=True, slots=True)
class Compiled:
    """The function, what it is called with, and the seconds that tracing took."""

    function: Any
    arguments: tuple[Any, ...]
    names: tuple[str, ...]
    trace: float

    def loop(self, fresh: Mapping[str, Callable[[], Any]]) -> Loop:
        """It, called so many times; arguments in ``fresh`` are copied for each call, and what
        it gives is then fetched."""
        function, arguments = self.function, self.arguments
        if fresh:
            return self._with_copies(fresh)

        def run(times: int) -> dict[str, Any]:
            made = None
            for _ in itertools.repeat(None, times):
                made = function(*arguments)
            return {VALUE: made}

        return run

    def _with_copies(self, fresh: Mapping[str, Callable[[], Any]]) -> Loop:
        pairs = zip(self.names, self.arguments, strict=True)
        makers = [fresh.get(name, partial(_same, argument)) for name, argument in pairs]
        function = self.function

        def run(times: int) -> dict[str, Any]:
            made = None
            for _ in itertools.repeat(None, times):
                made = function(*[make() for make in makers])
                fetched(made)
            return {VALUE: made}

        return run


def compiled(
    statement: Statement,
    space: dict[str, Any],
    outcome: Mapping[str, Any],
    *,
    xla: bool,
    scope: Callable[[], Any],
) -> Compiled:
    """Trace the statement; ``outcome`` is what an eager run of it held at the end.

    XLA must know small whole numbers (a shape, an axis) when it compiles: where it refuses
    them as arguments they stay constants.
    """
    results = [name for name, value in outcome.items() if _tensors_in(value)]
    space[TENSORS] = _returned
    try:
        return _traced(statement, space, results, _inputs(statement, space), xla, scope)
    except (tf.errors.InvalidArgumentError, ValueError, TypeError) as error:
        if not xla or by_handler(error):
            raise
    floats = [name for name in _inputs(statement, space) if not _whole_numbers(space[name])]
    return _traced(statement, space, results, floats, xla, scope)


def _traced(
    statement: Statement,
    space: dict[str, Any],
    results: list[str],
    inputs: list[str],
    xla: bool,
    scope: Callable[[], Any],
) -> Compiled:
    body, forget = statement.body(space, inputs, results)
    function = tf.function(body, jit_compile=True if xla else None)
    try:
        with scope(), private.captures_as_arguments():
            arguments = tuple(tf.nest.map_structure(_as_tensor, space[name]) for name in inputs)
            start = perf_counter()
            function.get_concrete_function(*arguments)
            seconds = perf_counter() - start
    finally:
        forget()
    return Compiled(function, arguments, tuple(inputs), seconds)


def _inputs(statement: Statement, space: Mapping[str, Any]) -> list[str]:
    return [n for n in sorted(statement.reads & space.keys()) if _made_of_tensors(space[n])]


def _made_of_tensors(value: Any) -> bool:
    """Whether it is a tensor or array, or lists and dictionaries of nothing else."""
    if isinstance(value, (tf.Tensor, np.ndarray)):
        return True
    if not isinstance(value, (list, tuple, dict)) or not value:
        return False
    return all(isinstance(leaf, (tf.Tensor, np.ndarray)) for leaf in tf.nest.flatten(value))


@tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
def _returned(*values: Any) -> list[Any]:
    """The tensors of the graph that is being traced, wherever they are in ``values``."""
    here = tf.compat.v1.get_default_graph()

    def made_here(part: Any) -> bool:
        parts = tf.nest.flatten(part, expand_composites=True)
        return not any(isinstance(p, private.EagerTensor) or p.graph is not here for p in parts)

    return [part for part in _tensors_in(values) if made_here(part)]


def _tensors_in(value: Any, depth: int = 0) -> list[Any]:
    """The tensors in lists and dictionaries."""
    if isinstance(value, (tf.Tensor, tf.__internal__.CompositeTensor)):
        return [value]
    inside = value.values() if isinstance(value, dict) else value
    if depth == 6 or not isinstance(value, (dict, list, tuple, set, deque)):
        return []
    return [t for part in inside for t in _tensors_in(part, depth + 1)]


def _same(value: Any) -> Any:
    return value


def _as_tensor(leaf: Any) -> Any:
    return tf.convert_to_tensor(leaf)


def _whole_numbers(value: Any) -> bool:
    return all(tf.as_dtype(leaf.dtype).is_integer for leaf in tf.nest.flatten(value))
