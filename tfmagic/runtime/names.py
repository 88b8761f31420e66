"""What the user calls a tensor or a variable.

The namespace is walked for the very objects that were recorded; a name is only given
where the walk really reaches the object: ``W_1``, ``grads[0]``, ``model.layers[0].kernel``.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from tfmagic.runtime import private
from tfmagic.runtime.log import handle_of

#: Objects looked at in one walk, and how deep; a namespace can hold anything.
MOST, DEEPEST, WIDEST = 20_000, 6, 500


def key_of(value: Any) -> int | None:
    """The id under which a tensor or variable is recorded, or None for anything else."""
    if value.__class__ is private.EagerTensor:
        return int(value._id)
    handle = handle_of(value)
    return None if handle is None else int(handle._id)


def walk(namespace: Mapping[str, Any], wanted: set[int]) -> dict[int, str]:
    """Names for the ``wanted`` ids; the shortest way to each, and it stops when all are found."""
    names: dict[int, str] = {}
    seen: set[int] = set()
    queue: deque[tuple[str, Any, int]] = deque(
        (name, value, 0) for name, value in list(namespace.items()) if not name.startswith("_")
    )
    for _ in range(MOST):
        if not queue or len(names) == len(wanted):
            break
        name, value, depth = queue.popleft()
        key = key_of(value)
        if key is not None:
            if key in wanted:
                names.setdefault(key, name)
            continue
        if depth >= DEEPEST or id(value) in seen:
            continue
        seen.add(id(value))
        queue.extend((n, v, depth + 1) for n, v in _members(name, value))
    return names


def _members(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, (list, tuple)):
        yield from ((f"{name}[{i}]", v) for i, v in enumerate(value[:WIDEST]))
    elif isinstance(value, dict):
        pairs = list(value.items())[:WIDEST]
        yield from ((f"{name}[{k!r}]", v) for k, v in pairs if isinstance(k, (str, int)))
    elif _is_keras(value, "Layer"):
        yield from _layer_members(name, value)
    elif _is_keras(value, "Optimizer"):
        yield from ((f"{name}.variables[{i}]", v) for i, v in enumerate(value.variables))
    elif _is_users(value):
        yield from _attributes(name, value)


_PLAIN = (str, int, float, bool, type(None), bytes)


def _layer_members(name: str, layer: Any) -> Iterator[tuple[str, Any]]:
    """A Keras model's layers under their place in ``.layers``, then a layer's own weights."""
    if _is_keras(layer, "Model"):
        yield from ((f"{name}.layers[{i}]", v) for i, v in enumerate(layer.layers))
    yield from _attributes(name, layer)


def _attributes(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Attributes from ``__dict__`` alone: no property of the user's is run."""
    for attribute, member in list(getattr(value, "__dict__", {}).items())[:WIDEST]:
        if isinstance(member, _PLAIN) or attribute.startswith("__"):
            continue
        if isinstance(member, (list, dict, tuple)) and not member:
            continue
        if attribute.startswith("_"):  # Keras keeps `kernel` as `_kernel`
            public = attribute.lstrip("_")
            if not hasattr(type(value), public):
                continue
            attribute = public
        yield f"{name}.{attribute}", member


def _is_keras(value: Any, kind: str) -> bool:
    keras = sys.modules.get("keras")
    owner = getattr(keras, "optimizers" if kind == "Optimizer" else "layers", None)
    owner = keras if kind == "Model" else owner
    cls = getattr(owner, kind, None)
    return isinstance(cls, type) and isinstance(value, cls)


def _is_users(value: Any) -> bool:
    """A ``tf.Module``, or a plain object of a class of the user's own."""
    import tensorflow as tf

    if isinstance(value, tf.Module):
        return True
    if isinstance(value, type) or callable(getattr(value, "__array__", None)):
        return False
    home = type(value).__module__.partition(".")[0]
    return home == "__main__" or (home not in sys.stdlib_module_names and _from_user(home))


def _from_user(module: str) -> bool:
    from tfmagic.runtime.source import is_user_file

    filename = getattr(sys.modules.get(module), "__file__", None)
    return bool(filename) and is_user_file(str(filename))
