"""What the values were when a cell began, for telling what it changed."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfmagic.model.inventory import Change
from tfmagic.runtime.values.kinds import CONTAINERS, kind_of, numbers, parts, unseen

__all__ = ["Look", "change", "flattened", "look", "together"]

#: Bytes of values that are kept for comparing.
KEPT = 64 * 2**20
#: Elements up to which a value is kept whole; of a larger one so many, evenly spaced.
WHOLE, SAMPLE = 2**20, 2**16
#: How deep lists and dictionaries are opened.
DEPTH = 8


@dataclass(frozen=True, slots=True)
class Kept:
    """One value as it was: its kind, shape and numbers; ``too_large`` to keep those."""

    kind: str
    shape: tuple[int | None, ...] | None = None
    numbers: Any = None
    count: int = 0
    too_large: bool = False


@dataclass(slots=True)
class Look:
    """Values by their name, and those of variables by the variable as well."""

    names: dict[str, Kept] = field(default_factory=dict)
    variables: dict[int, tuple[Any, Kept]] = field(default_factory=dict)
    room: int = KEPT

    def of_variable(self, variable: Any) -> Kept | None:
        """What this very variable was."""
        known = self.variables.get(id(variable))
        return known[1] if known is not None and known[0]() is variable else None

    def before(self, name: str, value: Any) -> Kept | None:
        """What ``value`` was if it is a variable that was there, else what ``name`` held."""
        return self.of_variable(value) or self.names.get(name)

    def keep(self, name: str, value: Any, kind: str) -> None:
        """Note one value."""
        kept = self._kept(value, kind)
        self.names[name] = kept
        if kind == "variable":
            self.variables[id(value)] = (weakref.ref(value), kept)

    def _kept(self, value: Any, kind: str) -> Kept:
        known = self.of_variable(value)
        if known is not None:
            return known
        try:
            array, shape = numbers(value, kind)
            if array is None:
                return Kept(kind)
            shape = tuple(array.shape) if shape is None else shape
            flat = flattened(array, WHOLE, SAMPLE)
        except Exception:  # a deleted variable, a dead worker: it is not compared
            return Kept(kind)
        if flat is None or flat.nbytes > self.room:
            return Kept(kind, shape, too_large=flat is not None)
        self.room -= flat.nbytes
        return Kept(kind, shape, flat.copy(), int(np.prod(tuple(array.shape), dtype=np.int64)))


def look(namespace: Mapping[str, Any]) -> Look:
    """What the names hold now; no op callback and no tape notices."""
    found = Look()
    with unseen():
        for name, value in list(namespace.items()):
            for path, part, kind in _held(name, value, 0):
                found.keep(path, part, kind)
    return found


def _held(name: str, value: Any, depth: int) -> Iterator[tuple[str, Any, str]]:
    from tfmagic.runtime.values.tree import variables_of

    kind = kind_of(value)
    if kind in CONTAINERS:
        yield name, value, kind
        for path, variable in variables_of(value):
            yield name + path, variable, "variable"
    elif kind:
        yield name, value, kind
    elif depth < DEPTH:
        for path, member in parts(value):
            yield from _held(name + path, member, depth + 1)


def flattened(array: Any, whole: int, some: int) -> Any:
    """The numbers in one row, of a large array ``some`` evenly spaced; None for text.

    What lies on another device is thinned out there, before it is copied.
    """
    dtype = array.dtype
    if getattr(dtype, "name", "") in ("string", "resource", "variant"):
        return None
    count = int(np.prod(tuple(array.shape), dtype=np.int64))
    step = 1 if count <= whole else -(-count // some)
    if not isinstance(array, np.ndarray):
        if step > 1 and not array.device.endswith("CPU:0"):
            import tensorflow as tf

            array, step = tf.reshape(array, [-1])[::step], 1
        from tfmagic.runtime.private import view

        array = view(array)
    flat = np.asarray(array).reshape(-1)[::step]
    if flat.dtype.kind in "SUO":
        return None
    return flat if flat.dtype.kind in "fiubc" else flat.astype(np.float32)


def change(before: Kept | None, kind: str, shape: Any, array: Any) -> Change:
    """From what a name held to what it holds."""
    if before is None:
        return Change(new=True)
    if before.kind != kind:
        return Change(kind=before.kind)
    if before.shape != shape:
        return Change(shape=before.shape)
    if before.numbers is None or array is None:
        return Change()
    now = flattened(array, WHOLE, SAMPLE)
    if now is None or now.shape != before.numbers.shape:
        return Change()
    return Change(*_norm(before.numbers, now, before.count))


def together(look: Look, variables: list[Any]) -> Change:
    """What became of all of these; new where none of them was there."""
    known = [(v, then) for v in variables if (then := look.of_variable(v)) is not None]
    if variables and not known:
        return Change(new=True)
    each = [_of_variable(variable, then) for variable, then in known]
    norms = [one.norm for one in each if one.norm is not None]
    if len(norms) < len(each):
        return Change()
    return Change(math.hypot(*norms), any(one.sampled for one in each))


def _of_variable(variable: Any, then: Kept) -> Change:
    inner, _ = numbers(variable, "variable")
    return change(then, "variable", tuple(inner.shape), inner)


def _norm(old: Any, now: Any, count: int) -> tuple[float, bool]:
    """The Euclidean norm of the difference, and whether it was scaled up from a sample."""
    part = now.size < count
    if np.array_equal(old, now, equal_nan=now.dtype.kind in "fc"):
        return 0.0, part
    wide = np.complex128 if "c" in (now.dtype.kind, old.dtype.kind) else np.float64
    with np.errstate(all="ignore"):
        norm = float(np.linalg.norm(now.astype(wide) - old.astype(wide)))
    return norm * float(np.sqrt(count / now.size)) if part else norm, part
