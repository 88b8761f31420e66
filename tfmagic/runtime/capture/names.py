"""What the user calls a tensor or a variable.

The namespace is walked for the very objects that were recorded; a name is only given
where the walk really reaches the object: ``W_1``, ``grads[0]``, ``model.layers[0].kernel``.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tfmagic.runtime import private
from tfmagic.runtime.capture.log import handle_of

#: Objects looked at in one walk, and how deep; a namespace can hold anything.
MOST, DEEPEST, WIDEST = 20_000, 6, 500


def key_of(value: Any) -> int | None:
    """The id under which a tensor or variable is recorded, or None for anything else."""
    if type(value) is private.EagerTensor:
        return int(value._id)
    handle = handle_of(value)
    return None if handle is None else int(handle._id)


def is_a(value: Any, kinds: Any) -> bool:
    """``isinstance`` that asks no object of the user's for its ``__class__``; TensorFlow's own
    wrappers around dicts pass for them."""
    kind = type(value)
    return issubclass(kind, kinds) or (
        kind.__module__.startswith("tensorflow.") and isinstance(value, kinds)
    )


def items(value: Any) -> list[tuple[Any, Any]]:
    """The items of a dict, past any method of the user's."""
    return list(dict.items(value) if issubclass(type(value), dict) else value.items())


def walk(namespace: Mapping[str, Any], wanted: set[int]) -> dict[int, str]:
    """Names for the ``wanted`` ids: the way on which each was found before, where it still
    leads there, else the shortest."""
    names = _found_again(namespace, wanted)
    if len(names) < len(wanted):
        names.update(_search(namespace, wanted - names.keys()))
    return names


#: The members of a value that a step chooses from, and which: ``("layers", 3)``.
Step = tuple[str, Any]


class _Way(NamedTuple):
    """How to come from a namespace to an object: nothing of the user's is held by it."""

    name: str
    steps: tuple[Step, ...]


#: The way to each id that was found, newest last; an id is never given to another tensor.
_ways: dict[int, _Way] = {}
_MOST_WAYS = 20_000


def _found_again(namespace: Mapping[str, Any], wanted: set[int]) -> dict[int, str]:
    names: dict[int, str] = {}
    known: dict[tuple[Step, ...], Any] = {}  # what the beginnings of ways lead to
    for key in wanted & _ways.keys():
        way = _ways[key]
        if key_of(_follow(namespace, way.steps, known)) == key:
            names[key] = way.name
        else:
            del _ways[key]
    return names


def _follow(
    namespace: Mapping[str, Any], steps: tuple[Step, ...], known: dict[tuple[Step, ...], Any]
) -> Any:
    """What the steps lead to, or None where they lead nowhere any more."""
    if steps in known:
        return known[steps]
    *before, (kind, which) = steps
    try:
        if before:
            all_of = (*before, (kind, None))
            if all_of not in known:
                known[all_of] = _choice(_follow(namespace, tuple(before), known), kind)
            found = known[all_of][which]
        else:
            found = namespace[which]
    except (LookupError, TypeError, AttributeError):
        found = None
    known[steps] = found
    return found


def _choice(value: Any, kind: str) -> Any:
    """The members of ``value`` that a step of this kind chooses from."""
    if kind == "item":
        return value if is_a(value, (list, tuple, dict)) else ()
    if kind == "attribute":
        return value.__dict__
    return getattr(value, kind) if _is_keras(value, _OWNERS[kind]) else ()


#: Properties of Keras that are asked for members, and what has them.
_OWNERS = {"layers": "Model", "variables": "Optimizer"}


def in_metric(namespace: Mapping[str, Any], key: int) -> bool:
    """Whether the way to a variable leads through a Keras metric."""
    steps = _ways[key].steps if key in _ways else ()
    known: dict[tuple[Step, ...], Any] = {}
    owners = (_follow(namespace, steps[:i], known) for i in range(1, len(steps)))
    return any(_is_keras(owner, "Metric") for owner in owners)


def _search(namespace: Mapping[str, Any], wanted: set[int]) -> dict[int, str]:
    """The shortest way to each; it stops when all are found."""
    names: dict[int, str] = {}
    seen: set[int] = set()
    queue: deque[tuple[_Way, Any]] = deque(
        (_Way(name, (("name", name),)), value)
        for name, value in list(namespace.items())
        if not name.startswith("_")
    )
    for _ in range(MOST):
        if not queue or len(names) == len(wanted):
            break
        way, value = queue.popleft()
        key = key_of(value)
        if key is not None:
            if key in wanted and key not in names:
                names[key] = way.name
                _ways[key] = way
            continue
        if len(way.steps) > DEEPEST or id(value) in seen:
            continue
        seen.add(id(value))
        queue.extend(
            (_Way(f"{way.name}{text}", (*way.steps, step)), v) for text, step, v in _members(value)
        )
    while len(_ways) > _MOST_WAYS:
        del _ways[next(iter(_ways))]
    return names


#: A member: what is written behind the name of its owner, the step to it, and itself.
Member = tuple[str, Step, Any]


def _members(value: Any) -> Iterator[Member]:
    if is_a(value, (list, tuple)):
        yield from ((f"[{i}]", ("item", i), v) for i, v in enumerate(value[:WIDEST]))
    elif is_a(value, dict):
        for key, member in items(value)[:WIDEST]:
            if isinstance(key, (str, int)):
                yield f"[{key!r}]", ("item", key), member
    elif _is_keras(value, "Layer"):
        if _is_keras(value, "Model"):  # its layers go by their place among them
            yield from _listed(value, "layers")
        yield from _attributes(value)
    elif _is_keras(value, "Optimizer"):
        yield from _listed(value, "variables")
    elif _is_users(value):
        yield from _attributes(value)


def _listed(value: Any, kind: str) -> Iterator[Member]:
    yield from ((f".{kind}[{i}]", (kind, i), v) for i, v in enumerate(getattr(value, kind)))


_PLAIN = (str, int, float, bool, type(None), bytes)


def _attributes(value: Any) -> Iterator[Member]:
    """Attributes from ``__dict__`` alone: no property of the user's is run."""
    for attribute, member in list(getattr(value, "__dict__", {}).items())[:WIDEST]:
        if is_a(member, _PLAIN) or attribute.startswith("__"):
            continue
        if is_a(member, (list, dict, tuple)) and not member:
            continue
        public = attribute.lstrip("_")
        # Keras keeps `kernel` as `_kernel`
        if attribute == public or hasattr(type(value), public):
            yield f".{public}", ("attribute", attribute), member


def _is_keras(value: Any, kind: str) -> bool:
    keras = sys.modules.get("keras")
    home = {"Optimizer": "optimizers", "Metric": "metrics"}.get(kind, "layers")
    owner = getattr(keras, home, None)
    owner = keras if kind == "Model" else owner
    cls = getattr(owner, kind, None)
    return isinstance(cls, type) and issubclass(type(value), cls)


def _is_users(value: Any) -> bool:
    """A ``tf.Module``, or a plain object of a class of the user's own."""
    import tensorflow as tf

    if issubclass(type(value), tf.Module):
        return True
    if issubclass(type(value), type) or callable(getattr(value, "__array__", None)):
        return False
    home = type(value).__module__.partition(".")[0]
    return home == "__main__" or (home not in sys.stdlib_module_names and _from_user(home))


def _from_user(module: str) -> bool:
    from tfmagic.runtime.capture.source import is_user_file

    filename = getattr(sys.modules.get(module), "__file__", None)
    return bool(filename) and is_user_file(str(filename))
