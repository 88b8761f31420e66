"""What a namespace or an object holds, looked at without running a step of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfmagic.model.inventory import Holding, Inventory
from tfmagic.model.value import Value
from tfmagic.runtime.values import changes
from tfmagic.runtime.values.figures import Sample, as_real, describe, figures
from tfmagic.runtime.values.heat import heat_of
from tfmagic.runtime.values.kinds import CONTAINERS, kind_of, numbers, parts, unseen
from tfmagic.runtime.values.tree import children, size_of, variables_of

__all__ = ["inventory"]

#: How deep containers are opened.
DEPTH = 12
#: Elements up to which a value is kept whole, and up to which its figures stand on all;
#: of a larger one so many are looked at, evenly spaced.
WHOLE, EXACT, SAMPLE = 64, 2**24, 2**20
BINS = 8


@dataclass(frozen=True, slots=True)
class Since:
    """The cell whose changes are told, and what was there when it began."""

    cell: str
    look: changes.Look


def inventory(subject: Any, title: str = "", since: Since | None = None) -> Inventory:
    """What ``subject`` holds: a namespace (a mapping of names) or one object, as a tree.

    With ``since`` each value is compared with what it was then.  No op callback hears
    what is read for it, and no tape notes it.
    """
    alone = kind_of(subject) not in ("", *CONTAINERS)
    walker = _Walker(since, alone=alone)
    tree = not isinstance(subject, Mapping)
    names = [(title or "value", subject)] if tree else subject.items()
    with unseen():
        for key, value in list(names):
            if isinstance(key, (str, int)):
                name = key if isinstance(key, str) else f"[{key}]"
                if title and not tree:
                    walker.key = (name, f"{title}[{key!r}]")
                walker.visit(name, value, tree=tree)
    return walker.finish(title, whole=not (tree or title))


class _Walker:
    def __init__(self, since: Since | None, alone: bool) -> None:
        self.since, self.alone = since, alone
        self.rows: list[tuple[Holding, Any]] = []
        self.names: dict[int, list[str]] = {}
        self.memory: dict[int, dict[str, int]] = {}
        self.alive: list[Any] = []  # an id is only a name while its object lives
        self.counted: dict[int, tuple[int, int]] = {}
        self.shown: set[int] = set()
        self.uncompared = 0
        self.key = ("", "")  # of an expression's dictionary: what is shown, and how one writes it

    def visit(self, name: str, value: Any, *, tree: bool, depth: int = 0) -> None:
        """Note ``value``, its members in a tree, and those of a list or dictionary."""
        kind = kind_of(value)
        if not kind:
            if depth < DEPTH:
                for part, member in parts(value):
                    self.visit(name + part, member, tree=tree, depth=depth + tree)
            return
        self.names.setdefault(id(value), []).append(name)
        self.alive.append(value)
        if kind in CONTAINERS:
            self._container(name, value, kind, tree, depth)
        else:
            self.rows.append((self._leaf(name, value, kind, depth), value))

    def _container(self, name: str, value: Any, kind: str, tree: bool, depth: int) -> None:
        variables = list(variables_of(value))
        sizes = {id(v): size_of(v) for _, v in variables}
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
            change=self._sum(name, value, kind, [v for _, v in variables]),
            note="" if getattr(value, "built", True) else "not_built",
        )
        self.rows.append((row, value))
        if tree and id(value) not in self.shown and depth < DEPTH:
            self.shown.add(id(value))
            self._parts(name, value, kind, depth)

    def _parts(self, name: str, value: Any, kind: str, depth: int) -> None:
        """The rows of what is inside; another name of one that is there already is noted."""
        beside: set[int] = set()
        for path, part in children(value, kind):
            known = self.shown if kind_of(part) == "variable" else beside
            if id(part) in known:
                self.names.setdefault(id(part), []).append(f"{name}{path}")
            else:
                beside.add(id(part))
                self.visit(f"{name}{path}", part, tree=True, depth=depth + 1)

    def _written(self, name: str) -> str:
        """How the namespace calls it, where what was there is kept under."""
        shown, written = self.key
        return written + name[len(shown) :]

    def _sum(self, name: str, value: Any, kind: str, variables: list[Any]) -> Any:
        """What became of all variables of a container together."""
        if self.since is None:
            return None
        look = self.since.look
        held = look.names.get(self._written(name))
        if held is not None and held.kind != kind:
            return changes.change(held, kind, None, None)
        return changes.together(look, variables)

    def _leaf(self, name: str, value: Any, kind: str, depth: int) -> Holding:
        row = Holding(name, kind, type(value).__name__, depth)
        if kind == "variable":
            self.shown.add(id(value))
            self.counted[id(value)] = size_of(value)
            row = replace(row, trainable=bool(value.trainable), parameters=size_of(value)[1])
        if kind == "dataset":
            return replace(row, note=str(value.element_spec))
        try:
            if kind == "list":
                return replace(row, dtype=value.dtype.name, shape=_of_list(value))
            return self._described(row, value, kind)
        except Exception as error:  # a deleted variable, a dead worker: the others are shown
            return replace(row, note=f"{type(error).__name__}: {error}"[:200])

    def _described(self, row: Holding, value: Any, kind: str) -> Holding:
        inner, shape = numbers(value, kind)
        if inner is None:
            return _symbolic(row, value)
        shape = tuple(inner.shape) if shape is None else shape
        if self.since is not None:
            then = self.since.look.before(self._written(row.name), value)
            row = replace(row, change=changes.change(then, kind, shape, inner))
            self.uncompared += bool(then and then.numbers is None and then.too_large)
        device = "" if isinstance(inner, np.ndarray) else _device(value, inner)
        dtype = inner.dtype.name
        row = replace(row, shape=shape, dtype=dtype, device=device)
        if dtype in ("resource", "variant"):
            return replace(row, value=Value(absent=dtype))
        return self._measured(row, value, inner)

    def _measured(self, row: Holding, value: Any, inner: Any) -> Holding:
        count = int(np.prod(tuple(inner.shape), dtype=np.int64))
        flat = changes.flattened(inner, EXACT, SAMPLE)
        if flat is None:
            return replace(row, value=_text(inner, count))
        size = inner.nbytes if isinstance(inner, np.ndarray) else count * inner.dtype.size
        row = replace(row, bytes=size, bins=_bins(flat))
        self._place(row, value, inner, flat)
        if self.alone and flat.size == count:
            row = replace(row, heat=heat_of(flat.reshape(tuple(inner.shape))))
        if count <= WHOLE:
            return replace(row, value=describe(flat.reshape(tuple(inner.shape))))
        if flat.size < count:
            return replace(row, value=Sample(flat, count).value(), note="sampled")
        return replace(row, value=Value(stats=figures(as_real(flat), count)))

    def _place(self, row: Holding, value: Any, inner: Any, flat: Any) -> None:
        """Where the numbers lie, if they can be seen there: a copy's address says nothing, and a
        single number is always one."""
        here = isinstance(inner, np.ndarray)
        seen = here or (row.device.endswith("CPU:0") and _is_plain(inner))
        if not (seen and flat.size and tuple(inner.shape)):
            return
        self.alive.append(inner)
        self.memory.setdefault(_start(inner if here else flat), {})[row.name] = id(value)

    def finish(self, title: str, whole: bool) -> Inventory:
        """The rows with the other names of each, and the totals."""
        rows = tuple(self._with_names(row, value) for row, value in self.rows)
        sizes = self.counted.values()
        gone: set[str] = set()
        if self.since is not None and whole:
            names = {row.name for row in rows} | {n for held in self.names.values() for n in held}
            gone = set(self.since.look.names) - names
        return Inventory(
            rows,
            title,
            variables=len(self.counted),
            parameters=sum(count for _, count in sizes),
            bytes=sum(size for size, _ in sizes),
            since=self.since.cell if self.since is not None else "",
            gone=tuple(sorted(gone)),
            uncompared=self.uncompared,
            alone=self.alone,
        )

    def _with_names(self, row: Holding, value: Any) -> Holding:
        same = tuple(n for n in dict.fromkeys(self.names[id(value)]) if n != row.name)
        beside = next((held for held in self.memory.values() if row.name in held), {})
        shares = tuple(n for n, key in beside.items() if key != id(value))
        return replace(row, same=same, shares=shares)


def _device(value: Any, inner: Any) -> str:
    return str(getattr(value, "device", "") or getattr(inner, "device", "") or "")


def _of_list(array: Any) -> tuple[int | None, ...] | None:
    """The shape that a ``TensorArray`` has when it is stacked; reading it may use it up."""
    if array.element_shape.rank is None:
        return None
    return (int(array.size()), *array.element_shape)


def _symbolic(row: Holding, value: Any) -> Holding:
    shape = getattr(value, "shape", None)
    try:
        dims = None if shape is None else tuple(shape)
    except ValueError:  # not even the number of axes is known
        dims = None
    dtype = getattr(value.dtype, "name", value.dtype)
    return replace(
        row, kind="symbolic", shape=dims, dtype=str(dtype), value=Value(absent="symbolic")
    )


def _text(inner: Any, count: int) -> Value:
    """A small tensor or array of text, with all of it."""
    if count > WHOLE:
        return Value(absent="string")
    return describe(np.asarray(inner if isinstance(inner, np.ndarray) else inner.numpy(), object))


def _is_plain(tensor: Any) -> bool:
    """Whether numpy looks at the tensor's own memory, which it cannot for bfloat16 and such."""
    return np.dtype(tensor.dtype.as_numpy_dtype).kind in "fiubc"


def _start(array: Any) -> int:
    """Where the memory of an array begins, that of the whole for a view of a part."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return int(array.__array_interface__["data"][0])


def _bins(flat: Any) -> tuple[int, ...]:
    if flat.dtype.kind == "c":
        flat = np.abs(flat)
    finite = flat[np.isfinite(flat)] if flat.dtype.kind == "f" else flat
    if finite.size < 2 or finite.min() == finite.max():
        return ()
    try:
        return tuple(int(n) for n in np.histogram(finite.astype(np.float64), BINS)[0])
    except ValueError:  # a range that is too wide for a double
        return ()
