"""Replicas of a ``tf.distribute`` strategy: their part of a value, and how parts become one.

A strategy runs its replicas in threads of its own, one at a time, and has them inherit the op
callback: their ops are heard like any other.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from tfmagic.runtime import private
from tfmagic.runtime.capture.hook import Hook, hooked

__all__ = ["heard_reductions", "local_parts", "parts_of"]

#: What is called with how, the parts, the result and the frame that asked for it.
Note = Callable[[str, tuple[Any, ...], Any, FrameType], None]


def parts_of(value: Any) -> tuple[Any, ...]:
    """The part of each replica here, or the value itself where it is one for all."""
    import tensorflow as tf

    if issubclass(type(value), tf.distribute.DistributedValues):
        return tuple(getattr(value, "values", ()))
    return (value,)


def local_parts(structure: Any) -> Any:
    """A structure of values in which each is the part of the replica that this thread runs."""
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None:
        return structure

    def part(value: Any) -> Any:
        parts = parts_of(value)
        return parts[context.replica_id_in_sync_group % len(parts)] if parts else value

    return tf.nest.map_structure(part, structure)


@contextlib.contextmanager
def heard_reductions(note: Note) -> Iterator[None]:
    """``note`` hears, inside the block, of every time that a strategy makes one of many."""
    import tensorflow as tf

    across, replica = tf.distribute.CrossDeviceOps, tf.distribute.ReplicaContext
    with hooked(note) as told, contextlib.ExitStack() as undo:
        heard = _Heard(told)
        for owner, name, listening in (
            (across, "reduce", heard.reduce),
            (across, "batch_reduce", heard.batch_reduce),
            (replica, "all_reduce", heard.all_reduce),
        ):
            undo.enter_context(private.replaced(owner, name, listening(getattr(owner, name))))
        yield


class _Heard:
    """The three ways of TensorFlow to reduce, each telling of what it did."""

    def __init__(self, told: Hook[Note]) -> None:
        self._told = told
        self.count = 0

    def _tell(self, how: Any, value: Any, result: Any) -> None:
        note = self._told.listener
        if note is None:
            return
        with contextlib.suppress(Exception):
            word = str(getattr(how, "value", how)).lower()
            first = parts_of(result)
            note(word, parts_of(value), first[0] if first else None, sys._getframe(2))
            self.count += 1

    def reduce(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """One value; across replicas."""

        @functools.wraps(original)
        def reduce(ops: Any, how: Any, value: Any, *args: Any, **named: Any) -> Any:
            result = original(ops, how, value, *args, **named)
            self._tell(how, value, result)
            return result

        return reduce

    def batch_reduce(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Several values at once; across replicas."""

        @functools.wraps(original)
        def batch_reduce(ops: Any, how: Any, pairs: Any, *args: Any, **named: Any) -> Any:
            results = original(ops, how, pairs, *args, **named)
            for (value, _), result in zip(pairs, results, strict=False):
                self._tell(how, value, result)
            return results

        return batch_reduce

    def all_reduce(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """From inside a replica; told only where it did not go one of the other ways."""

        @functools.wraps(original)
        def all_reduce(context: Any, how: Any, value: Any, *args: Any, **named: Any) -> Any:
            import tensorflow as tf

            if context.num_replicas_in_sync == 1:  # Keras's optimizers ask without a strategy too
                return original(context, how, value, *args, **named)
            before = self.count
            result = original(context, how, value, *args, **named)
            if self.count == before:
                flat = zip(tf.nest.flatten(value), tf.nest.flatten(result), strict=False)
                for part, whole in flat:
                    self._tell(how, part, whole)
            return result

        return all_reduce
