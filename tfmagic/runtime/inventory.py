"""What a namespace or an object holds, looked at without running a step of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tfmagic.model.inventory import Holding, Inventory
from tfmagic.runtime import private
from tfmagic.runtime.snapshot import Snapshot, take

#: Bytes of values that are kept for comparing with the next look.
KEPT = 64 * 2**20
#: Members of a list or dictionary that are looked at, and how deep containers are opened.
MEMBERS, DEPTH = 100, 8
WHOLE, BINS = 64, 8
CONTAINERS = ("module", "layer", "model", "optimizer")


@dataclass(slots=True)
class Look:
    """The values that one look has seen, for the next one to compare with."""

    arrays: dict[str, Any] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    room: int = KEPT


def inventory(subject: Any, title: str = "", before: Look | None = None) -> tuple[Inventory, Look]:
    """What ``subject`` holds: a namespace (a mapping of names) or one object, as a tree.

    With ``before`` each value is compared with what that look saw under the same name.
    """
    walker = _Walker(before)
    names = subject.items() if isinstance(subject, Mapping) else [(title or "value", subject)]
    for name, value in list(names):
        if isinstance(name, str):
            walker.visit(name, value, tree=not isinstance(subject, Mapping))
    return walker.finish(title), walker.look


class _Walker:
    def __init__(self, before: Look | None) -> None:
        self.before, self.look = before, Look()
        self.rows: list[tuple[Holding, Any]] = []
        self.names: dict[int, list[str]] = {}
        self.memory: dict[int, dict[str, int]] = {}
        self.alive: list[Any] = []  # an id is only a name while its object lives
        self.counted: dict[int, tuple[int, int]] = {}
        self.uncompared = 0

    def visit(self, name: str, value: Any, *, tree: bool, depth: int = 0) -> None:
        """Note ``value``, its members in a tree, and those of a list or dictionary."""
        kind = kind_of(value)
        if not kind:
            self._open(name, value, tree, depth)
            return
        known = self.names.setdefault(id(value), [])
        known.append(name)
        self.alive.append(value)
        self.look.names.add(name)
        if kind in CONTAINERS:
            self._container(name, value, kind, tree, depth)
        else:
            self.rows.append((self._leaf(name, value, kind, depth), value))

    def _open(self, name: str, value: Any, tree: bool, depth: int) -> None:
        if depth < DEPTH:
            for part, member in _parts(value):
                self.visit(name + part, member, tree=tree, depth=depth + 1 if tree else depth)

    def _container(self, name: str, value: Any, kind: str, tree: bool, depth: int) -> None:
        variables = list(_variables(value, set()))
        sizes = {id(v): _size(v) for _, v in variables}
        self.counted.update(sizes)
        for path, variable in variables:
            self.alive.append(variable)
            if not tree:
                self.names.setdefault(id(variable), []).append(f"{name}{path}")
        row = Holding(
            name,
            kind,
            type(value).__name__,
            depth,
            bytes=sum(size for size, _ in sizes.values()),
            trainable=getattr(value, "trainable", None) if kind in ("layer", "model") else None,
            parameters=sum(count for _, count in sizes.values()),
            new=self._is_new(name),
            note="" if getattr(value, "built", True) else "not_built",
        )
        self.rows.append((row, value))
        if tree:
            for path, variable in variables:
                self.visit(f"{name}{path}", variable, tree=False, depth=depth + 1)

    def _is_new(self, name: str) -> bool:
        return self.before is not None and name not in self.before.names

    def _leaf(self, name: str, value: Any, kind: str, depth: int) -> Holding:
        row = Holding(name, kind, type(value).__name__, depth, new=self._is_new(name))
        if kind == "variable":
            self.counted[id(value)] = _size(value)
            row = replace(row, trainable=bool(value.trainable), parameters=_size(value)[1])
        if kind == "dataset":
            return replace(row, note=str(value.element_spec))
        try:
            return self._described(row, value, kind)
        except Exception as error:  # a deleted variable, a dead worker: the others are shown
            return replace(row, note=f"{type(error).__name__}: {error}"[:200])

    def _described(self, row: Holding, value: Any, kind: str) -> Holding:
        inner, shape = _numbers(value, kind)
        if isinstance(inner, np.ndarray):
            return self._of_array(row, inner, shape)
        taken = Snapshot(*take(inner, WHOLE, exact=True))
        whole = getattr(value, "device", "") or taken.device
        row = replace(
            row,
            shape=shape or taken.shape,
            dtype=taken.dtype,
            device=str(whole),
            bytes=taken.bytes,
            value=taken.value(),
        )
        if taken.dtype in ("resource", "variant", "string"):
            return row
        return self._compared(row, private.view(inner))

    def _of_array(self, row: Holding, array: Any, shape: Any) -> Holding:
        import tensorflow as tf

        row = replace(row, shape=shape or array.shape, dtype=array.dtype.name, bytes=array.nbytes)
        if array.size > 2**20:  # a conversion copies: a large array is looked at in part
            array = array.reshape(-1)[:: array.size // 2**20 + 1]
            row = replace(row, note="sampled")
        with tf.device("CPU:0"):
            taken = Snapshot(*take(tf.constant(array), WHOLE, exact=True))
        return self._compared(replace(row, value=taken.value()), array)

    def _compared(self, row: Holding, array: Any) -> Holding:
        flat = np.asarray(array)
        if flat.size and (not row.device or row.device.endswith("CPU:0")):
            # On another device this is a copy, whose address says nothing.
            self.memory.setdefault(_start(flat), {})[row.name] = id(self.alive[-1])
        if flat.dtype.kind not in "fiub":
            flat = flat.astype(np.complex128 if flat.dtype.kind == "c" else np.float32)
        if flat.nbytes <= self.look.room:
            self.look.arrays[row.name] = flat.copy()
            self.look.room -= flat.nbytes
        else:
            self.uncompared += 1
        old = self.before.arrays.get(row.name) if self.before else None
        change = None
        if old is not None and old.shape == flat.shape:
            wide = np.complex128 if flat.dtype.kind == "c" else np.float64
            with np.errstate(all="ignore"):
                same = np.array_equal(old, flat, equal_nan=True)
                change = 0.0 if same else float(np.linalg.norm(flat.astype(wide) - old))
        elif self.before and row.name in self.before.names and old is not None:
            row = replace(row, new=True)
        return replace(row, change=change, bins=_bins(flat))

    def finish(self, title: str) -> Inventory:
        """The rows with the other names of each, and the totals."""
        rows = tuple(self._with_names(row, value) for row, value in self.rows)
        sizes = self.counted.values()
        gone = self.before.names - self.look.names if self.before else set()
        return Inventory(
            rows,
            title,
            variables=len(self.counted),
            parameters=sum(count for _, count in sizes),
            bytes=sum(size for size, _ in sizes),
            compared=self.before is not None,
            gone=tuple(sorted(gone)),
            uncompared=self.uncompared,
        )

    def _with_names(self, row: Holding, value: Any) -> Holding:
        same = tuple(n for n in dict.fromkeys(self.names[id(value)]) if n != row.name)
        beside = next((held for held in self.memory.values() if row.name in held), {})
        shares = tuple(n for n, key in beside.items() if key != id(value))
        return replace(row, same=same, shares=shares)


def kind_of(value: Any) -> str:
    """``"tensor"``, ``"variable"``, ``"array"``, ``"model"`` …; empty for anything else."""
    if isinstance(value, (np.ndarray, np.generic)):
        return "array" if value.dtype.kind in "fiubcSU" else ""
    tf = sys.modules.get("tensorflow")
    if tf is None or isinstance(value, type):
        return ""
    return next((kind for kind, types in _types(tf) if isinstance(value, types)), "")


def _types(tf: Any) -> Iterator[tuple[str, Any]]:
    yield "variable", tf.Variable
    yield "tensor", tf.Tensor
    yield "ragged", tf.RaggedTensor
    yield "sparse", tf.SparseTensor
    yield "dataset", tf.data.Dataset
    keras = sys.modules.get("keras")
    if keras is not None:
        yield "variable", keras.Variable
        yield "model", keras.Model
        yield "layer", keras.layers.Layer
        yield "optimizer", keras.optimizers.Optimizer
    yield "module", tf.Module


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """The members of a list, tuple or dictionary."""
    if isinstance(value, dict):
        for key in list(value)[:MEMBERS]:
            if isinstance(key, (str, int)):
                yield f"[{key!r}]", value[key]
    elif isinstance(value, (list, tuple)):
        for i, member in enumerate(value[:MEMBERS]):
            yield f"[{i}]", member


def _variables(value: Any, seen: set[int], depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Each variable in a module, layer, model or optimizer once, with the path to it."""
    if depth > DEPTH or id(value) in seen:
        return
    seen.add(id(value))
    kind = kind_of(value)
    if kind == "variable":
        yield "", value
    elif kind in ("layer", "model", "optimizer"):
        held = value.variables
        for variable in held() if callable(held) else held:
            if id(variable) not in seen:
                seen.add(id(variable))
                yield f".{_path(variable, value)}", variable
    else:
        parts = _attributes(value) if kind == "module" else _parts(value)
        for part, member in parts:
            for path, variable in _variables(member, seen, depth + 1):
                yield part + path, variable


def _attributes(module: Any) -> Iterator[tuple[str, Any]]:
    for name, member in list(vars(module).items()):
        if not name.startswith(("_self_", "_tf_")):
            yield f".{name}", member


def _path(variable: Any, owner: Any) -> str:
    path = str(getattr(variable, "path", variable.name))
    return path.removeprefix(f"{getattr(owner, 'name', '')}/").replace("/", ".")


def _size(variable: Any) -> tuple[int, int]:
    """Bytes, and elements where it is trained."""
    import tensorflow as tf

    shape = tuple(variable.shape)
    if None in shape:
        return 0, 0
    count = int(np.prod(shape, dtype=np.int64))
    dtype = tf.as_dtype(variable.dtype)
    return count * (dtype.size or 0), count if variable.trainable else 0


def _numbers(value: Any, kind: str) -> tuple[Any, Any]:
    """The eager tensor or array with the numbers of ``value``, and its shape if another."""
    if kind == "array":
        return np.asarray(value), None
    if kind == "ragged":
        return value.flat_values, tuple(value.shape)
    if kind == "sparse":
        return value.values, tuple(value.shape)
    inner = getattr(value, "value", value)
    if kind == "variable":
        inner = inner() if callable(inner) else inner
        return getattr(inner, "read_value", lambda: inner)(), None
    if not hasattr(value, "_datatype_enum") or not hasattr(value, "numpy"):
        raise TypeError("symbolic")
    return value, None


def _start(array: Any) -> int:
    """Where the memory of an array begins, that of the whole for a view of a part."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return int(array.__array_interface__["data"][0])


def _bins(flat: Any) -> tuple[int, ...]:
    if flat.dtype.kind == "c":
        flat = np.abs(flat)
    finite = flat[np.isfinite(flat)] if flat.dtype.kind == "f" else flat.reshape(-1)
    if finite.size < 2 or finite.min() == finite.max():
        return ()
    try:
        return tuple(int(n) for n in np.histogram(finite.astype(np.float64), BINS)[0])
    except ValueError:  # a range that is too wide for a double
        return ()


__all__ = ["Look", "inventory", "kind_of"]
