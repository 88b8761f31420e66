"""Folding: which ops stand together in one box when there are too many to draw.

The ways to fold, from fine to coarse: by scope (a Keras layer, a ``tf.name_scope``) at
every depth, then by the user's line, then by stretches of lines.  Of all that
fit, the finest is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from tfmagic.analysis.notation import shorten
from tfmagic.language import say
from tfmagic.model import Op, Recording

__all__ = ["Folding", "Group", "at_depth", "scope_parts", "singles", "ways"]

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
    return _folding(recording, ops, "scope", _by_scope(recording, depth, _alone), runs=True)


def ways(recording: Recording, ops: Sequence[Op]) -> Iterator[tuple[Folding, ...]]:
    """Families of foldings, the preferred first; the members of each from fine to coarse."""
    deepest = max((len(scope_parts(recording, op)) for op in ops), default=0)
    if deepest:
        yield tuple(_scope_family(recording, ops, deepest))
    yield (
        _folding(recording, ops, "line", _line_key, runs=True),
        _folding(recording, ops, "line", _line_key, runs=False),
    )
    yield tuple(_stretches(recording, ops))


def _scope_family(recording: Recording, ops: Sequence[Op], deepest: int) -> Iterator[Folding]:
    for runs in (True, False):
        for depth in range(deepest, 0, -1):
            for words in (None, 3, 2, 1):
                for rest in (_alone, _line_key):
                    key = _by_scope(recording, depth, rest, words)
                    yield _folding(recording, ops, "scope", key, runs=runs)


Key = Callable[[Op], Hashable]


def _by_scope(recording: Recording, depth: int, rest: Key, words: int | None = None) -> Key:
    """By the first ``depth`` scopes, of the last of them only the first ``words``.

    Networks name the layers of one block alike (``block_1_expand``, ``block_1_project``),
    so a name cut after some words holds together what belongs together.
    """

    def key(op: Op) -> Hashable:
        parts = scope_parts(recording, op)
        if not parts:
            return rest(op)
        stem = "_".join(parts[:depth][-1].split("_")[:words])
        return ("scope", op.kind, (*parts[: min(depth, len(parts)) - 1], stem))

    return key


def _alone(op: Op) -> Hashable:
    return ("op", op.kind, op.index)


def _line_key(op: Op) -> Hashable:
    return ("line", op.kind, op.line)


def _folding(recording: Recording, ops: Sequence[Op], by: str, key: Key, *, runs: bool) -> Folding:
    """Group by ``key``: with ``runs`` only neighbours in time, else wherever they ran."""
    if runs:
        members = [list(run) for _, run in groupby(ops, key)]
    else:
        found: dict[Hashable, list[Op]] = {}
        for op in ops:
            found.setdefault(key(op), []).append(op)
        members = list(found.values())
    groups = tuple(_group(recording, m, key(m[0])) for m in members)
    return Folding(by, groups, merged=not runs)


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


def _stretches(recording: Recording, ops: Sequence[Op]) -> Iterator[Folding]:
    """Ever longer stretches of what ran one after the other: one of them fits any limit."""
    count = 64
    while count >= 1:
        step = -(-len(ops) // count) or 1
        parts = [ops[i : i + step] for i in range(0, len(ops), step)]
        stretches = tuple(_stretch(recording, part) for part in parts)
        yield Folding("stretch", stretches, merged=True)
        count //= 2


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
