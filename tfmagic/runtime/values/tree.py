"""What a module, layer, model or optimizer is made of: its parts, and every variable once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tfmagic.runtime.values.kinds import CONTAINERS, kind_of, parts

__all__ = ["children", "size_of", "variables_of"]

#: How deep containers are opened.
DEPTH = 12
KERAS = ("layer", "model", "optimizer", "metric")


def children(value: Any, kind: str) -> Iterator[tuple[str, Any]]:
    """The parts of a container: containers and variables with the way to them.

    What stands in it under two names comes twice.  Of a Keras layer the layers inside come
    first, then the variables of its own.
    """
    found = _of_keras(value) if kind in KERAS else _of_attributes(_attributes(value))
    return ((path, part) for path, part in found if part is not value)


def _of_keras(owner: Any) -> Iterator[tuple[str, Any]]:
    inside: set[int] = set()
    for layer in _layers(owner):
        inside.update(id(variable) for variable in _held(layer))
        yield f".{layer.name}", layer
    for variable in _held(owner):
        if id(variable) not in inside:
            yield f".{_path(variable, owner)}", variable


def _layers(owner: Any) -> Iterator[Any]:
    """The layers right inside: a model says them, a layer has them as attributes."""
    if kind_of(owner) in ("optimizer", "metric"):
        return
    given = getattr(owner, "layers", None)
    found = given if isinstance(given, list) else [p for _, p in _of_attributes(_attributes(owner))]
    for part in found:
        if kind_of(part) in ("layer", "model") and part is not owner:
            yield part


def _held(owner: Any) -> list[Any]:
    held = owner.variables
    return list(held() if callable(held) else held)


def _attributes(module: Any) -> Iterator[tuple[str, Any]]:
    for name, member in list(vars(module).items()):
        if not name.startswith(("_self_", "_tf_")):  # TensorFlow's own book-keeping
            yield f".{name}", member


def _of_attributes(members: Iterator[tuple[str, Any]], depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Variables and containers among the members, and in their lists and dictionaries."""
    for path, member in members:
        kind = kind_of(member)
        if kind == "variable" or kind in CONTAINERS:
            yield path, member
        elif not kind and depth < DEPTH:
            inner = ((path + part, each) for part, each in parts(member))
            yield from _of_attributes(inner, depth + 1)


def _path(variable: Any, owner: Any) -> str:
    """``kernel`` of ``model/block/dense/kernel``, for the layer ``dense``."""
    names = str(getattr(variable, "path", variable.name)).split("/")
    own = getattr(owner, "name", "")
    if own in names[:-1]:
        names = names[len(names) - names[::-1].index(own) :]
    return ".".join(names)


def variables_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Each variable in a container once, however deep, with the way to it."""
    yield from _every(value, kind_of(value), {id(value)}, 0)


def _every(owner: Any, kind: str, seen: set[int], depth: int) -> Iterator[tuple[str, Any]]:
    for path, part in children(owner, kind):
        if id(part) in seen:
            continue
        seen.add(id(part))
        inner = kind_of(part)
        if inner == "variable":
            yield path, part
        elif depth < DEPTH:
            for rest, variable in _every(part, inner, seen, depth + 1):
                yield path + rest, variable


def size_of(variable: Any) -> tuple[int, int]:
    """Bytes, and elements where it is trained."""
    import tensorflow as tf

    if getattr(variable.shape, "rank", 0) is None:  # not even the number of axes is settled
        return 0, 0
    shape = tuple(variable.shape)
    if None in shape:
        return 0, 0
    count = int(np.prod(shape, dtype=np.int64))
    dtype = tf.as_dtype(variable.dtype)
    return count * (dtype.size or 0), count if variable.trainable else 0
