"""Which folds of the tree are open: so many that the picture fits, or those that were asked.

The default is the finest view with at most about sixty boxes.  Folds that are built alike
are opened together or not at all, the larger ones first, and layers are opened into their
bare ops only where all of them can be: so a picture has one grain.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tfmagic.analysis.tree import Fold, Part, folds

__all__ = ["Cut", "Room", "all_open", "at_depth", "finest", "opened"]

#: Folds whose frame is drawn around their parts while they are open.
_FRAMED = frozenset({"scope", "function", "repeat", "turn", "call"})


class Room(Protocol):
    """How many boxes an op brings along, beside its own."""

    def sources(self, op: int) -> Iterable[object]:
        """The variables and inputs that an op takes: each is one box, whoever takes it."""


@dataclass(frozen=True)
class Cut:
    """The open folds of a tree, and so the boxes that are drawn: closed folds and bare ops."""

    root: Fold
    opened: frozenset[str]
    boxes: tuple[Part, ...] = field(init=False)
    frames: tuple[tuple[Fold, str], ...] = field(init=False)
    places: dict[str | int, str] = field(init=False)

    def __post_init__(self) -> None:
        boxes: list[Part] = []
        frames: list[tuple[Fold, str]] = []
        places: dict[str | int, str] = {}
        todo: list[tuple[Part, str]] = [(self.root, "")]
        while todo:
            part, frame = todo.pop()
            if isinstance(part, int) or (part.id not in self.opened and part is not self.root):
                places[part if isinstance(part, int) else part.id] = frame
                boxes.append(part)
                continue
            if part.kind in _FRAMED:
                frames.append((part, frame))
                frame = part.id
            todo.extend((inner, frame) for inner in reversed(part.parts))
        for name, what in (("boxes", tuple(boxes)), ("frames", tuple(frames)), ("places", places)):
            object.__setattr__(self, name, what)

    @property
    def folded(self) -> tuple[Fold, ...]:
        """The closed folds."""
        return tuple(box for box in self.boxes if isinstance(box, Fold))


def opened(root: Fold, names: Collection[str]) -> Cut:
    """The cut in which just these folds are open, as far as those around them are."""
    return Cut(root, frozenset(names))


def all_open(root: Fold) -> Cut:
    """Every op for itself."""
    return Cut(root, frozenset(fold.id for fold in folds(root)))


def at_depth(root: Fold, depth: int) -> Cut:
    """Scopes and functions cut at ``depth``: what lies deeper is one box."""
    ways = ("scope", "function")
    return Cut(root, frozenset(f.id for f in folds(root) if f.kind not in ways or f.depth < depth))


def finest(root: Fold, room: Room, limit: int) -> Cut:
    """The finest cut with at most about ``limit`` boxes."""
    count = _Count(room)
    open_: set[str] = set()
    waiting: dict[tuple[int, int], list[Fold]] = {}
    # The root is opened whatever it holds: its parts are few.
    _open(root, count, waiting, depth=0)
    open_.add(root.id)
    refused: set[tuple[int, int]] = set()
    while True:
        able = [key for key in waiting if key not in refused]
        layers = [key for key in able if _is_layer(waiting[key][0])]
        able = [key for key in able if key not in layers] or ([] if refused else layers)
        if not able:
            return Cut(root, frozenset(open_))
        key = max(able, key=lambda k: (sum(len(f.ops) for f in waiting[k]), -k[0]))
        alike = waiting[key]
        if count.boxes + count.growth(alike) > limit:
            refused.add(key)
            continue
        del waiting[key]
        for fold in alike:
            open_.add(fold.id)
            _open(fold, count, waiting, depth=key[0] + 1)


def _open(
    fold: Fold, count: _Count, waiting: dict[tuple[int, int], list[Fold]], *, depth: int
) -> None:
    count.open(fold)
    for part in fold.parts:
        if isinstance(part, Fold) and not _says_nothing(part):
            waiting.setdefault((depth, part.sign), []).append(part)


def _is_layer(fold: Fold) -> bool:
    """Whether it is a scope with nothing but bare ops in it."""
    return fold.kind == "scope" and not any(isinstance(part, Fold) for part in fold.parts)


def _says_nothing(fold: Fold) -> bool:
    """Whether there is nothing inside but stretches of time."""
    return all(isinstance(part, Fold) and part.kind == "stretch" for part in fold.parts)


@dataclass
class _Count:
    """How many boxes there are so far: parts, and what the bare ops among them take."""

    room: Room
    boxes: int = 1
    seen: set[object] = field(default_factory=set)

    def open(self, fold: Fold) -> None:
        self.boxes += self.growth([fold])
        self.seen.update(self._sources([fold]))

    def growth(self, alike: Sequence[Fold]) -> int:
        """Boxes that come with opening these folds."""
        new = {source for source in self._sources(alike) if source not in self.seen}
        return sum(len(fold.parts) - 1 for fold in alike) + len(new)

    def _sources(self, alike: Sequence[Fold]) -> Iterator[object]:
        for fold in alike:
            for part in fold.parts:
                if isinstance(part, int):
                    yield from self.room.sources(part)
