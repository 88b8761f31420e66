"""Around a measurement: variables are as if nothing had been run."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfmagic.runtime.capture.source import is_user_file
from tfmagic.runtime.capture.unnoticed import Found
from tfmagic.runtime.timer.reachability import reached, variable_in

__all__ = ["Births", "variables_restored"]

#: Bytes of variables that are copied so that they can be put back.
MOST_COPIED = 2**30


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
