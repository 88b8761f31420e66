"""Folding: which ops stand together in one box when there are too many to draw.

The ways to fold, from fine to coarse: by scope (a Keras layer, a ``tf.name_scope``) at
every depth, then by the user's line, then by stretches of lines.  Of all that
fit, the finest is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from tfmagic.analysis.notation import shorten
from tfmagic.language import say
from tfmagic.model import Op, Recording

__all__ = [
    "Folding",
    "Group",
    "at_depth",
    "line_span",
    "scope_parts",
    "singles",
    "together",
    "ways",
]

_TITLE = 40


@dataclass(frozen=True, slots=True)
class Group:
    """Ops that are drawn as one box, unless it is a single op.

    ``scope`` is the chain of scopes around the box, for the frames.
    """

    title: str
    ops: tuple[int, ...]
    scope: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Folding:
    """One way to fold: ``by`` is ``"none"``, ``"scope"``, ``"line"`` or ``"stretch"``.

    ``merged`` says that a box may hold ops of different turns of a loop.
    """

    by: str
    groups: tuple[Group, ...]
    merged: bool = False


def scope_parts(recording: Recording, op: Op) -> tuple[str, ...]:
    """The scopes around an op, outermost first; a backward op stands in its forward op's."""
    if not op.scope and op.differentiates is not None:
        op = recording.ops[op.differentiates]
    return tuple(part for part in op.scope.split("/") if part)


def singles(recording: Recording, ops: Sequence[Op]) -> Folding:
    """Every op for itself."""
    return Folding(
        "none", tuple(Group(op.type, (op.index,), scope_parts(recording, op)) for op in ops)
    )


def at_depth(recording: Recording, ops: Sequence[Op], depth: int) -> Folding:
    """Scopes cut at ``depth``: what lies deeper is one box; ops without scope stay single."""
    keys = _scope_keys(_places(recording, ops), ops, depth, None, _alone)
    return _folding(recording, ops, "scope", keys, runs=True)


def ways(recording: Recording, ops: Sequence[Op], limit: int) -> Iterator[Iterator[Folding]]:
    """Families of foldings, the preferred first, each with at most ``limit`` groups."""
    yield _scope_family(recording, ops, limit)
    yield _line_family(recording, ops, limit)
    yield _stretches(recording, ops, limit)


Key = Callable[[Op], Hashable]
Places = dict[int, tuple[str, ...]]


def _scope_family(recording: Recording, ops: Sequence[Op], limit: int) -> Iterator[Folding]:
    places = _places(recording, ops)
    deepest = max((len(parts) for parts in places.values()), default=0)
    rests: tuple[Key, ...] = (_alone, _line_key) if not all(places.values()) else (_line_key,)
    seen = set()
    for depth, words, rest in product(range(deepest, 0, -1), (None, 3, 2, 1), rests):
        keys = _scope_keys(places, ops, depth, words, rest)
        for runs in (True, False):
            count = _count(keys, runs=runs)
            if count <= limit:
                # A coarser key that makes as many groups makes the same groups.
                if (rest, runs, count) not in seen:
                    yield _folding(recording, ops, "scope", keys, runs=runs)
                seen.add((rest, runs, count))
                break


def _line_family(recording: Recording, ops: Sequence[Op], limit: int) -> Iterator[Folding]:
    keys = [_line_key(op) for op in ops]
    for runs in (True, False):
        if _count(keys, runs=runs) <= limit:
            yield _folding(recording, ops, "line", keys, runs=runs)


def _places(recording: Recording, ops: Sequence[Op]) -> Places:
    """The scopes of every op; those of the same name are the same tuple."""
    known: dict[str, tuple[str, ...]] = {}
    places: Places = {}
    for op in ops:
        parts = known.get(op.scope) if op.scope else None
        if parts is None:
            parts = known[op.scope] = scope_parts(recording, op)
        places[op.index] = parts
    return places


def _scope_keys(
    places: Places, ops: Sequence[Op], depth: int, words: int | None, rest: Key
) -> list[Hashable]:
    """By the first ``depth`` scopes, of the last of them only the first ``words``.

    Networks name the layers of one block alike (``block_1_expand``, ``block_1_project``),
    so a name cut after some words holds together what belongs together.
    """
    stems: dict[tuple[str, ...], tuple[str, ...]] = {(): ()}
    keys = []
    for op in ops:
        parts = places[op.index]
        stem = stems.get(parts)
        if stem is None:
            last = "_".join(parts[:depth][-1].split("_")[:words])
            stem = stems[parts] = (*parts[: min(depth, len(parts)) - 1], last)
        keys.append(("scope", op.kind, stem) if stem else rest(op))
    return keys


def _alone(op: Op) -> Hashable:
    return ("op", op.kind, op.index)


def _line_key(op: Op) -> Hashable:
    return ("line", op.kind, op.line)


def _count(keys: Sequence[Hashable], *, runs: bool) -> int:
    """How many groups there will be."""
    if runs:
        return sum(1 for i, key in enumerate(keys) if not i or key != keys[i - 1])
    return len(set(keys))


def _folding(
    recording: Recording, ops: Sequence[Op], by: str, keys: Sequence[Hashable], *, runs: bool
) -> Folding:
    """Group by ``keys``: with ``runs`` only neighbours in time, else wherever they ran."""
    groups: list[tuple[Hashable, list[Op]]] = []
    known: dict[Hashable, list[Op]] = {}
    for op, key in zip(ops, keys, strict=True):
        members = known.get(key)
        if members is None or (runs and groups[-1][0] != key):
            members = known[key] = []
            groups.append((key, members))
        members.append(op)
    made = tuple(_group(recording, members, key) for key, members in groups)
    return Folding(by, made, merged=not runs)


def _group(recording: Recording, ops: list[Op], key: Hashable) -> Group:
    kind, way, what = key if isinstance(key, tuple) else ("op", "", None)
    title, scope = ops[0].type, scope_parts(recording, ops[0])
    if kind == "scope":
        title, scope = _scope_title(recording, ops, what), what[:-1]
    elif kind == "line":
        title = _line_title(recording, what)
    if way == "backward":
        title = say("graph.backward_of", title=title)
    return Group(title, tuple(op.index for op in ops), scope)


def _scope_title(recording: Recording, ops: list[Op], stem: tuple[str, ...]) -> str:
    """The scope's name, or what the names in it begin with."""
    names = {scope_parts(recording, op)[: len(stem)] for op in ops}
    return names.pop()[-1] if len(names) == 1 else f"{stem[-1]}_…"


def _line_title(recording: Recording, line: int | None) -> str:
    if line is None:
        return say("graph.no_line")
    return shorten(recording.lines[line].text, _TITLE) or say("graph.no_line")


def _stretches(recording: Recording, ops: Sequence[Op], limit: int) -> Iterator[Folding]:
    """Ever longer stretches of what ran one after the other: one of them fits any limit."""
    count = limit
    while count >= 1:
        step = -(-len(ops) // count) or 1
        parts = [ops[i : i + step] for i in range(0, len(ops), step)]
        stretches = tuple(_stretch(recording, part) for part in parts)
        yield Folding("stretch", stretches, merged=True)
        count //= 2


def together(recording: Recording, ops: Sequence[Op]) -> Folding:
    """All ops as one box."""
    return Folding("stretch", (_stretch(recording, ops),), merged=True)


def _stretch(recording: Recording, ops: Sequence[Op]) -> Group:
    lines = [recording.lines[op.line].number for op in ops if op.line is not None]
    return Group(line_span(lines), tuple(op.index for op in ops))


def line_span(numbers: Iterable[int]) -> str:
    """``line 3`` or ``lines 3–9``; a word for "no line" where there is none."""
    known = sorted(set(numbers))
    if not known:
        return say("graph.no_line")
    if len(known) == 1:
        return say("graph.line", number=known[0])
    return say("graph.lines", first=known[0], last=known[-1])
