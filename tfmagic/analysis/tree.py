"""The tree of folds: what can be drawn as one box, and what is in it.

A recording has one tree, whatever is open: so a fold that is opened or closed leaves
all others as they are.  Ops that ran one after the other stand together when they share

- a Python function of the user's and a scope (a Keras layer, a ``tf.name_scope``),
- the forward op that they differentiate (backward ops, which take its place in the tree),
- the turns of a loop, or blocks that are built alike (``× 12``),
- and, where a box would still hold too much, a part of their names, a line of the code, or
  simply the time at which they ran.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, pairwise

from tfmagic.analysis.notation import shorten
from tfmagic.analysis.repeat import repeats
from tfmagic.language import say
from tfmagic.model import Op, Recording

__all__ = ["Fold", "Part", "coarser", "folds", "grow", "line_span", "scope_parts"]

#: Members of a fold beyond which they are put together further.
MOST = 32
#: Turns of a loop beyond which those between the first and the last are one box.
TURNS = 8
_TITLE = 40
_DEEPEST = 40  # folds around an op: a function that calls itself stops here
_NO_FUNCTION = frozenset({"", "call", "__call__", "<lambda>", "<listcomp>", "<genexpr>"})
_BRANCHES = ("then", "else")  # of one op too, for it matters which it is
_BY_LINE = ("stretch", "line", "repeat")  # those that have no name of their own
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Fold:
    """Ops that can be drawn as one box.

    ``kind`` is ``"all"`` (the root), ``"scope"``, ``"function"``, ``"line"``, ``"call"``
    (a gradient call), ``"op"`` (the backward ops of one forward op), ``"repeat"`` (turns or
    blocks that are alike), ``"turn"``, or ``"stretch"`` (what ran one after the other).
    ``parts`` are folds and indices of ops in the order they ran, ``ops`` all ops in it.
    ``sign`` is equal for folds that are built alike, ``weights`` says of a repeat whether
    its turns share their variables: ``"shared"``, ``"own"``, ``"partly"`` or nothing.
    """

    id: str
    kind: str
    title: str
    ops: tuple[int, ...]
    parts: tuple[Part, ...]
    sign: int = 0
    backward: bool = False
    weights: str = ""
    turns: int = 0
    depth: int = 0


Part = Fold | int
Key = tuple[str, Hashable, str]
Weights = Callable[[int], Iterable[int]]


def grow(recording: Recording, ops: Sequence[Op], weights: Weights, by: str = "auto") -> Fold:
    """The tree over these ops, which stand in the order they ran.

    ``weights`` gives the variables that an op reads, ``by`` is one of
    :data:`tfmagic.analysis.folding.WAYS`.
    """
    paths = {op.index: _path(recording, op, by) for op in ops}
    plan = _Planter(recording, weights, paths)
    root = plan.fold("all", "", plan.arranged(plan.planted([op.index for op in ops], 0)))
    return _numbered(root)


def scope_parts(recording: Recording, op: Op) -> tuple[str, ...]:
    """The scopes around an op, outermost first; a backward op stands in its forward op's."""
    if not op.scope and op.differentiates is not None:
        op = recording.ops[op.differentiates]
    return tuple(part for part in op.scope.split("/") if part)


def line_span(numbers: Iterable[int]) -> str:
    """``line 3`` or ``lines 3–9``; a word for "no line" where there is none."""
    known = sorted(set(numbers))
    if not known:
        return say("graph.no_line")
    if len(known) == 1:
        return say("graph.line", number=known[0])
    return say("graph.lines", first=known[0], last=known[-1])


def _path(recording: Recording, op: Op, by: str) -> tuple[Key, ...]:
    """The folds around an op, outermost first."""
    path: list[Key] = []
    if by in ("auto", "function"):
        path += [
            ("function", (frame.function, before.line), f"{frame.function}()")
            for before, frame in zip((op.stack[:1] + op.stack), op.stack, strict=False)
            if frame.function not in _NO_FUNCTION
        ]
    if op.kind == "backward" and op.call is not None:
        path.append(("call", op.call, ""))
    if by in ("auto", "scope"):
        path += [("scope", part, part) for part in scope_parts(recording, op)]
    if by == "line":
        path.append(("line", op.line, _line_title(recording, op.line)))
    if op.differentiates is not None:
        path.append(("op", op.differentiates, recording.ops[op.differentiates].type))
    return tuple(path[:_DEEPEST])


def _line_title(recording: Recording, line: int | None) -> str:
    if line is None:
        return say("graph.no_line")
    return shorten(recording.lines[line].text, _TITLE) or say("graph.no_line")


@dataclass(frozen=True)
class _Planter:
    """Puts ops together, from the leaves to the root."""

    recording: Recording
    weights: Weights
    paths: dict[int, tuple[Key, ...]]

    # -- by function and scope ----------------------------------------------------------

    def planted(self, ops: Sequence[int], depth: int) -> list[Part]:
        """Neighbours with the same key at this depth of their paths as one fold."""
        parts: list[Part] = []
        for key, members in groupby(ops, lambda op: self._key(op, depth)):
            if key is None:
                parts.extend(members)
                continue
            kind, what, title = key
            inside = self.planted(list(members), depth + 1)
            parts.append(self._enclosed(kind, what, title, inside))
        return parts

    def _key(self, op: int, depth: int) -> Key | None:
        path = self.paths[op]
        return path[depth] if depth < len(path) else None

    def _enclosed(self, kind: str, what: Hashable, title: str, parts: list[Part]) -> Part:
        """A fold, unless it would hold a single op; a chain of scopes is one fold.

        A layer with weights keeps its name even where it is one op.
        """
        if len(parts) == 1 and isinstance(only := parts[0], int) and what not in _BRANCHES:
            layer = kind == "scope" and any(True for _ in self.weights(only))
            if not layer or self.recording.ops[only].kind == "backward":
                return only
        if len(parts) == 1 and isinstance(only := parts[0], Fold) and kind == only.kind == "scope":
            return replace(only, title=f"{title}/{only.title}", depth=only.depth + 1)
        if kind == "call" and isinstance(what, int):
            asked = self.recording.call(what)
            target = ", ".join(asked.targets) if asked else ""
            title = say("graph.gradient_call", target=target)
        return self.fold(kind, title, self.arranged(parts))

    # -- by repetition --------------------------------------------------------------------

    def arranged(self, parts: list[Part]) -> list[Part]:
        """The parts with what repeats as one fold, and no more of them than fit."""
        while len(parts) > 2:
            found = list(repeats([self._label(part) for part in parts]))
            if not found:
                break
            parts = self._with_repeats(parts, found)
        return _told_apart(self._fitting(parts))

    def _with_repeats(self, parts: list[Part], found: list[tuple[int, int, int]]) -> list[Part]:
        made, done = [], 0
        for begin, period, count in found:
            made += parts[done:begin]
            done = begin + period * count
            made.append(self._repeat(parts[begin:done], period, count))
        return [*made, *parts[done:]]

    def _repeat(self, parts: list[Part], period: int, count: int) -> Fold:
        turns = self._turns(parts, period, count)
        own = [self._variables(parts[i : i + period]) for i in range(0, len(parts), period)]
        title = say("graph.times", title=self._common(parts[:period]), n=count)
        made = self.fold("repeat", title, turns)
        return replace(made, weights=_sharing(own), turns=count)

    def _turns(self, parts: list[Part], period: int, count: int) -> list[Part]:
        """Each turn as one part, in the middle of a long loop all as one."""
        if period == 1 and isinstance(parts[0], int):
            return self._in_time(parts, turn=1)
        turns: list[Part] = []
        for turn in range(count):
            members = parts[turn * period : (turn + 1) * period]
            turns.append(members[0] if period == 1 else self._turn(members, turn + 1, count))
        if count <= (TURNS if self._is_loop(parts[:period], parts[-period:]) else MOST):
            return turns
        title = say("graph.turns", first=2, last=count - 1)
        between = self.fold("repeat", title, self._in_time(turns[1:-1], turn=2))
        return [turns[0], replace(between, turns=count - 2), turns[-1]]

    def _turn(self, members: list[Part], turn: int, count: int) -> Fold:
        stem = self._stem(members)
        title = f"{stem}_…" if stem else say("graph.turn", n=turn, of=count)
        return self.fold("turn", title, self.arranged(members))

    def _is_loop(self, first: Sequence[Part], last: Sequence[Part]) -> bool:
        """Whether the same layers and lines ran again, rather than blocks built alike."""
        return all(self._title(a) == self._title(b) for a, b in zip(first, last, strict=True))

    def _label(self, part: Part) -> Hashable:
        """Equal for parts that are built alike; for bare ops of the same line alone."""
        if isinstance(part, Fold):
            return part.sign
        op = self.recording.ops[part]
        return op.type, op.kind, op.line

    def _variables(self, parts: Iterable[Part]) -> frozenset[int]:
        ops = (op for p in parts for op in ((p,) if isinstance(p, int) else p.ops))
        return frozenset(variable for op in ops for variable in self.weights(op))

    def _common(self, parts: Sequence[Part]) -> str:
        """What the parts of one turn are called, without their number."""
        if len(parts) == 1:
            return _DIGITS.sub("", self._title(parts[0])).strip("_ ") or self._title(parts[0])
        stem = _DIGITS.sub("", self._stem(parts)).strip("_ ")
        ops = [op for p in parts for op in ((p,) if isinstance(p, int) else p.ops)]
        return stem or self._span(ops)

    def _title(self, part: Part) -> str:
        return part.title if isinstance(part, Fold) else self.recording.ops[part].type

    def _stem(self, parts: Sequence[Part]) -> str:
        """The words that the names of all these scopes begin with: ``block_3``."""
        scopes = [part for part in parts if isinstance(part, Fold) and part.kind == "scope"]
        names = [self._name(part) for part in (scopes if len(scopes) > 1 else parts)]
        first = names[0]
        if not all(names) or len(set(names)) == 1:
            return ""
        same = 0
        while all(len(name) > same and name[same] == first[same : same + 1][0] for name in names):
            same += 1
            if same >= len(first):
                break
        return "_".join(first[:same])

    def _name(self, part: Part) -> tuple[str, ...]:
        """The words of a scope's name; nothing for what stands in no scope of its own."""
        if isinstance(part, Fold):
            return tuple(part.title.split("_")) if part.kind == "scope" else ()
        scopes = scope_parts(self.recording, self.recording.ops[part])
        return tuple(scopes[-1].split("_")) if scopes else ()

    # -- by what fits ---------------------------------------------------------------------

    def _fitting(self, parts: list[Part]) -> list[Part]:
        """At most ``MOST`` parts: put together by name, then by line, then by time."""
        for words in (3, 2, 1):
            if len(parts) > MOST:
                parts = self._grouped(parts, partial(self._first_words, words), "scope")
        if len(parts) > MOST:
            parts = self._grouped(parts, self._line, "line")
        return self._in_time(parts)

    def _in_time(self, parts: list[Part], turn: int = 0) -> list[Part]:
        """Neighbours together until they fit; they say which turns of a loop they are, where the
        first part is turn ``turn``."""
        bounds = [*range(len(parts)), len(parts)]
        while len(parts) > MOST:
            size = min(MOST, -(-len(parts) // MOST))
            chunks = [parts[i : i + size] for i in range(0, len(parts), size)]
            bounds = [*bounds[:-1:size], bounds[-1]]
            titles = [
                say("graph.turns", first=first + turn, last=last + turn - 1) if turn else ""
                for first, last in pairwise(bounds)
            ]
            parts = self._stretches(chunks, titles)
        return parts

    def _stretches(self, chunks: list[list[Part]], titles: list[str]) -> list[Part]:
        """Each chunk as one part; those without a title that share their line are numbered."""
        made = [
            chunk[0] if len(chunk) == 1 else self.fold("stretch", title, chunk)
            for chunk, title in zip(chunks, titles, strict=True)
        ]
        return _told_apart(made)

    def _grouped(self, parts: list[Part], key: Callable[[Part], Hashable], kind: str) -> list[Part]:
        runs = [(what, list(run)) for what, run in groupby(parts, key)]
        if len(runs) == 1:
            return parts
        made: list[Part] = []
        for what, members in runs:
            if what in ((), None) or len(members) == 1:
                made += members
                continue
            title = f"{'_'.join(what)}_…" if isinstance(what, tuple) else self._line_text(what)
            made.append(self.fold(kind, title, self._in_time(members)))
        return made

    def _first_words(self, most: int, part: Part) -> tuple[str, ...]:
        return self._name(part)[:most]

    def _line(self, part: Part) -> int | None:
        return self.recording.ops[part].line if isinstance(part, int) else None

    def _line_text(self, line: Hashable) -> str:
        return _line_title(self.recording, line if isinstance(line, int) else None)

    def _span(self, ops: Iterable[int]) -> str:
        lines = (self.recording.ops[op].line for op in ops)
        return line_span(self.recording.lines[line].number for line in lines if line is not None)

    # -- one fold -------------------------------------------------------------------------

    def fold(self, kind: str, title: str, parts: Sequence[Part]) -> Fold:
        """A fold of these parts."""
        ops = tuple(op for p in parts for op in ((p,) if isinstance(p, int) else p.ops))
        backward = bool(ops) and all(self.recording.ops[op].kind == "backward" for op in ops)
        title = shorten(title, _TITLE) or self._span(ops)
        if backward and kind not in ("call", "repeat", "turn") and not title.startswith("∇"):
            title = say("graph.backward_of", title=title)
        known = self.recording.ops
        members = tuple(
            part.sign if isinstance(part, Fold) else (known[part].type, known[part].kind)
            for part in parts
        )
        sign = hash((kind, _DIGITS.sub("#", title), members))
        return Fold("", kind, title, ops, tuple(parts), sign, backward)


def _told_apart(parts: Sequence[Part]) -> list[Part]:
    """The same parts; those that would all be called by one line say which they are of it."""
    names = [p.title if isinstance(p, Fold) and p.kind in _BY_LINE else "" for p in parts]
    often, met = Counter(names), Counter[str]()
    made: list[Part] = []
    for part, name in zip(parts, names, strict=True):
        if isinstance(part, Fold) and name and often[name] > 1:
            met[name] += 1
            short = shorten(name, _TITLE - 14)
            title = say("graph.stretch", title=short, n=met[name], of=often[name])
            part = replace(part, title=title)
        made.append(part)
    return made


def _sharing(turns: Sequence[frozenset[int]]) -> str:
    """Whether the turns of a repeat read the same variables."""
    if not all(turns):
        return ""
    if all(turn == turns[0] for turn in turns):
        return "shared"
    every = frozenset().union(*turns)
    return "own" if len(every) == sum(map(len, turns)) else "partly"


def _numbered(root: Fold) -> Fold:
    """The same tree with ids, which depend on nothing but the recording."""
    count = -1

    def name(fold: Fold, depth: int) -> Fold:
        nonlocal count
        count += 1
        identity = f"f{count}"
        inside = depth + (fold.kind in ("scope", "function"))
        parts = tuple(p if isinstance(p, int) else name(p, inside + p.depth) for p in fold.parts)
        return replace(fold, id=identity, parts=parts, depth=inside)

    return name(root, 0)


def folds(root: Fold) -> Iterator[Fold]:
    """The fold and all folds in it, each before those in it."""
    todo = [root]
    while todo:
        fold = todo.pop()
        yield fold
        todo.extend(p for p in reversed(fold.parts) if isinstance(p, Fold))


def coarser(recording: Recording, root: Fold, most: int) -> Fold:
    """The same ops under a root of at most ``most`` parts: neighbours stand together."""
    size = -(-len(root.parts) // most)
    chunks = [root.parts[i : i + size] for i in range(0, len(root.parts), size)]
    planter = _Planter(recording, lambda op: (), {})
    made = _told_apart([planter.fold("stretch", "", chunk) for chunk in chunks])
    parts = (replace(fold, id=f"s{i}") for i, fold in enumerate(made) if isinstance(fold, Fold))
    return replace(root, parts=tuple(parts))
