"""From a recording to boxes and arrows.

A variable is one box however often it is read, and the op that merely reads it is
stepped over: the arrow goes to the op that takes the value.  Backward ops are left
to the gradients written in the boxes unless they are asked for.  When there are
more boxes than fit, ops are folded (see :mod:`tfmagic.analysis.tree` for what can be
folded, :mod:`tfmagic.analysis.fold` for what is).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from tfmagic.analysis import fold as folding
from tfmagic.analysis.boxes import Boxes, is_small_constant
from tfmagic.analysis.cost import total
from tfmagic.analysis.drawing import Drawing, absorbed
from tfmagic.analysis.fold import Cut
from tfmagic.analysis.neighbourhood import Neighbourhood, parents
from tfmagic.analysis.notation import device, shorten
from tfmagic.analysis.places import placed
from tfmagic.analysis.producers import Origin, Selection, origin, select, writes
from tfmagic.analysis.tree import Fold, Part, coarser, folds, grow
from tfmagic.language import say
from tfmagic.model import Graph, Recording

__all__ = ["Flows", "Sketch", "build"]

_MOST_ABSORBED = 3  # see ``absorbed``
_LONGEST = 60  # characters of a device in the sentence that names all


def build(
    recording: Recording,
    *,
    depth: int | None = None,
    flat: bool = False,
    limit: int = 60,
    **options: Any,
) -> Graph:
    """Draw up the graph of a recording; ``options`` are those of :class:`Sketch`.

    ``depth`` folds every scope and function that lies deeper; ``flat`` folds nothing;
    otherwise the finest view with at most about ``limit`` boxes is taken.
    """
    return Sketch(recording, **options).graph(depth=depth, flat=flat, limit=limit)


@dataclass(frozen=True)
class Flows:
    """For each op, in parallel, where its inputs come from, and what it changes.

    ``quiet`` are the constants that say nothing beside a fold, ``targets`` for each gradient
    call the ops that made what is differentiated.
    """

    inputs: dict[int, tuple[tuple[Origin, int], ...]]
    changes: dict[int, tuple[int, ...]]
    quiet: frozenset[Origin]
    scalars: frozenset[int]
    targets: dict[int, tuple[int, ...]]

    def sources(self, op: int) -> Iterator[object]:
        """Boxes that come with an op when it is drawn for itself."""
        for source, tensor in self.inputs[op]:
            if source[0] == "input" and (source in self.quiet or tensor in self.scalars):
                yield (source, op)
            elif source[0] != "op":
                yield source
        for variable in self.changes.get(op, ()):
            yield ("variable", variable)

    def takers(self, ops: Sequence[int]) -> dict[Origin, tuple[int, ...]]:
        """For each variable, input and gradient call, those of these ops that meet it."""
        found: dict[Origin, dict[int, None]] = {}
        within = set(ops)
        for op in ops:
            for source, _ in self.inputs[op]:
                if source[0] in ("variable", "input", "backward"):
                    found.setdefault(source, {})[op] = None
            for variable in self.changes.get(op, ()):
                found.setdefault(("variable", variable), {})[op] = None
        for (way, call), users in found.items():
            if way == "backward":
                users.update(dict.fromkeys(within.intersection(self.targets.get(call, ()))))
        return {source: tuple(users) for source, users in found.items()}


class Sketch:
    """A recording's tree of folds, drawn with some of them open.

    ``backward`` draws the backward ops too.  ``focus`` are indices of ops: only these are
    drawn, with a small copy of what surrounds them.  ``marked`` are indices of ops, and
    names of variables or tensors, on a path to be shown in red.  ``by`` is one of
    :data:`tfmagic.analysis.folding.WAYS`.
    """

    def __init__(
        self,
        recording: Recording,
        *,
        backward: bool = False,
        focus: Collection[int] | None = None,
        marked: Collection[int | str] = (),
        by: str = "auto",
    ) -> None:
        self.recording = recording
        self.selection = select(recording, backward=backward, focus=focus)
        self.focused = focus is not None
        self._by = by
        self._boxes = Boxes(recording, marked)

    @cached_property
    def flows(self) -> Flows:
        """Where everything comes from."""
        return _flows(self.recording, self.selection)

    @cached_property
    def root(self) -> Fold:
        """The tree of folds."""
        return grow(self.recording, self.selection.ops, self._weights, self._by)

    @cached_property
    def folds(self) -> dict[str, Fold]:
        """Every fold by its id."""
        return {fold.id: fold for fold in folds(self.root)}

    @cached_property
    def _parents(self) -> dict[object, Fold]:
        """The fold around each op and each fold."""
        return parents(self.folds.values())

    def cut(
        self,
        *,
        depth: int | None = None,
        flat: bool = False,
        limit: int = 60,
        opened: Collection[str] | None = None,
    ) -> Cut:
        """Which folds are open: those ``opened``, or as :func:`build` says."""
        if opened is not None:
            return folding.opened(self.root, opened)
        if flat:
            return folding.all_open(self.root)
        if depth is not None and any(f.kind in ("scope", "function") for f in folds(self.root)):
            return folding.at_depth(self.root, depth)
        whole = folding.all_open(self.root)
        if self._absorb(whole, limit) == 0:
            return whole
        cut = folding.finest(self.root, self.flows, limit)
        most = min(limit, len(cut.boxes))
        while self._absorb(cut, limit) is None and most > 1:
            cut = folding.finest(coarser(self.recording, self.root, most), self.flows, limit)
            most //= 2
        if self._absorb(cut, limit) is None:
            cut = Cut(coarser(self.recording, self.root, 1), frozenset())
        return cut

    def graph(
        self,
        *,
        depth: int | None = None,
        flat: bool = False,
        limit: int = 60,
        opened: Collection[str] | None = None,
    ) -> Graph:
        """The boxes and arrows of a cut; for its options see :meth:`cut`."""
        if not self.selection.ops:
            return Graph()
        cut = self.cut(depth=depth, flat=flat, limit=limit, opened=opened)
        absorb = 1 if depth is not None and not flat else self._absorb(cut, limit)
        drawing = self._drawing(cut, _MOST_ABSORBED if absorb is None else absorb)
        drawing.draw()
        nodes = placed(self.recording, drawing.nodes.values())
        return Graph(
            nodes=nodes,
            edges=tuple(drawing.finished_edges()),
            clusters=tuple(drawing.clusters()),
            notes=tuple(self._notes(cut, len(nodes))),
        )

    def level(self, name: str) -> Graph:
        """What is inside one fold: its parts, and small boxes for what surrounds it."""
        fold = self.folds[name]
        cut = Cut(fold, frozenset())
        drawing = self._drawing(cut, 2)
        if name != self.root.id:
            drawing.around = Neighbourhood(fold, self._parents, len(self.selection.ops))
        drawing.draw()
        boxes = placed(self.recording, drawing.nodes.values())
        nodes = tuple(replace(node, cluster="") for node in boxes)
        return Graph(nodes, tuple(drawing.finished_edges()))

    # -- the parts ------------------------------------------------------------------------

    def _drawing(self, cut: Cut, absorb: int) -> Drawing:
        takers = self.flows.takers(cut.root.ops)
        return Drawing(self.recording, self.selection, self.flows, cut, absorb, self._boxes, takers)

    def _weights(self, op: int) -> Iterator[int]:
        """The trainable variables that an op reads."""
        known = self.recording.variables
        inputs = self.flows.inputs[op]
        return (key for (way, key), _ in inputs if way == "variable" and known[key].trainable)

    def _absorb(self, cut: Cut, limit: int) -> int | None:
        """How few sources must vanish into their folds for the rest to fit; None if all do not."""
        count = len(cut.boxes)
        if count > limit:
            return None
        place: dict[int, object] = {}
        folded = set()
        for box in cut.boxes:
            place.update(dict.fromkeys((box,) if isinstance(box, int) else box.ops, box_id(box)))
            if isinstance(box, Fold):
                folded.add(box.id)
        takers = self.flows.takers(cut.root.ops)
        users = {source: {place[op] for op in ops} for source, ops in takers.items()}
        count += sum(len(users.pop(source, set()) - folded) for source in self.flows.quiet)
        for absorb in range(_MOST_ABSORBED + 1):
            drawn = sum(
                not absorbed(source[0], boxes, folded, absorb) for source, boxes in users.items()
            )
            if count + drawn <= limit:
                return absorb
        return None

    def _notes(self, cut: Cut, boxes: int) -> Iterator[str]:
        ops = self.selection.ops
        kinds = {fold.kind for fold in cut.folded if len(fold.ops) > 1}
        if kinds:
            known = ("scope", "function", "op", "repeat", "turn", "line", "stretch", "call")
            words = dict.fromkeys(say(f"graph.way_{kind}") for kind in known if kind in kinds)
            yield say("graph.folded", n=len(ops), boxes=boxes, ways=", ".join(words))
        if self.focused and self.selection.outside:
            yield say("graph.focused", n=len(ops))
        if self.selection.left_out:
            yield say("graph.left_out", n=self.selection.left_out)
        if self.recording.op_seconds:
            yield self._cost_note()
        devices = {op.device for op in ops} - {""}
        places = sorted({shorten(device(name), _LONGEST) for name in devices})
        if len(places) > 1:
            yield say("graph.devices", devices=", ".join(places))

    def _cost_note(self) -> str:
        """How the costs in the boxes were measured, and what is missing from them."""
        ops = self.selection.ops
        timed = {op for op, _ in self.recording.op_seconds}
        missing = total(self.recording, ops).uncounted
        key = "graph.cost" if missing else "graph.cost_whole"
        told = ", ".join(missing[:6]) + (", …" if len(missing) > 6 else "")
        return say(key, n=sum(op.index in timed for op in ops), of=len(ops), missing=told)


def box_id(box: Part) -> object:
    """What tells one box of a cut from another."""
    return box if isinstance(box, int) else box.id


def _flows(recording: Recording, selection: Selection) -> Flows:
    changed = writes(recording)
    inputs: dict[int, tuple[tuple[Origin, int], ...]] = {}
    for op in selection.ops:
        own = {("variable", v) for v in changed.get(op.index, ())}
        pairs = [(origin(recording, t, selection), t) for t in op.inputs]
        # The handle through which an op writes a variable is no value that it takes.
        inputs[op.index] = tuple(
            (o, t) for o, t in pairs if not (o in own and recording.tensors[t].role == "handle")
        )
    changes = {op.index: changed[op.index] for op in selection.ops if op.index in changed}
    given = {t for pairs in inputs.values() for (way, _), t in pairs if way == "input"}
    quiet = (t for t in given if is_small_constant(recording.tensors[t]))
    scalars = (t for t in given if recording.tensors[t].shape == ())
    makers = {
        call.index: tuple(
            maker for t in call.target_tensors if (maker := recording.tensors[t].op) is not None
        )
        for call in recording.gradients
    }
    return Flows(
        inputs, changes, frozenset(("input", t) for t in quiet), frozenset(scalars), makers
    )
