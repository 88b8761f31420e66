"""From a recording to boxes and arrows.

A variable is one box however often it is read, and the op that merely reads it is
stepped over: the arrow goes to the op that takes the value.  Backward ops are left
to the gradients written in the boxes unless they are asked for.  When there are
more boxes than fit, ops are folded (see :mod:`tfmagic.analysis.fold`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from tfmagic.analysis import fold
from tfmagic.analysis.boxes import Boxes, is_small_constant, is_stub
from tfmagic.analysis.fold import Folding, Group
from tfmagic.analysis.notation import device, shape, shorten
from tfmagic.analysis.origin import Origin, Selection, origin, select, writes
from tfmagic.language import say
from tfmagic.model import Cluster, Edge, Graph, Node, Op, Recording

__all__ = ["build"]


def build(
    recording: Recording,
    *,
    backward: bool = False,
    depth: int | None = None,
    flat: bool = False,
    limit: int = 60,
    focus: Collection[int] | None = None,
    marked: Collection[int | str] = (),
) -> Graph:
    """Draw up the graph of a recording.

    ``backward`` draws the backward ops too.  ``depth`` folds every scope that lies
    deeper; ``flat`` folds nothing; otherwise the finest view with at most about
    ``limit`` boxes is taken.  ``focus`` are indices of ops (those of a fold): only
    these are drawn, with a small copy of what surrounds them.  ``marked`` are indices of
    ops, and names of variables or tensors, on a path to be shown in red.
    """
    selection = select(recording, backward=backward, focus=focus)
    flows = _flows(recording, selection)
    folding, absorb = _choose(recording, selection, flows, depth, flat, limit)
    drawing = _Drawing(recording, selection, flows, folding, absorb, Boxes(recording, marked))
    drawing.draw()
    return Graph(
        nodes=tuple(drawing.nodes.values()),
        edges=tuple(drawing.finished_edges()),
        clusters=tuple(drawing.clusters.values()),
        notes=tuple(_notes(selection, folding, len(drawing.nodes), focus is not None)),
    )


@dataclass(frozen=True, slots=True)
class _Flows:
    """For each op, in parallel, where its inputs come from, and what it changes.

    ``sources`` maps a variable or an input to the ops that take or change it; ``calls``
    are the gradient calls whose result an op takes, each with the line that made it;
    ``quiet`` are the constants that say nothing beside a fold.
    """

    inputs: dict[int, tuple[tuple[Origin, int], ...]]
    changes: dict[int, tuple[int, ...]]
    sources: dict[Origin, tuple[int, ...]]
    calls: dict[int, int | None]
    quiet: frozenset[Origin]

    def call_box(self, call: int, *, merged: bool) -> int:
        """The call that stands for this one: with ``merged`` the first of the same line."""
        if not merged:
            return call
        return min(other for other, line in self.calls.items() if line == self.calls[call])


def _flows(recording: Recording, selection: Selection) -> _Flows:
    changed = writes(recording)
    inputs: dict[int, tuple[tuple[Origin, int], ...]] = {}
    sources: dict[Origin, dict[int, None]] = {}
    for op in selection.ops:
        own = {("variable", v) for v in changed.get(op.index, ())}
        pairs = [(origin(recording, t, selection), t) for t in op.inputs]
        # The handle through which an op writes a variable is no value that it takes.
        pairs = [
            (o, t) for o, t in pairs if not (o in own and recording.tensors[t].role == "handle")
        ]
        inputs[op.index] = tuple(pairs)
        for source in (*(o for o, _ in pairs if o[0] in ("variable", "input")), *own):
            sources.setdefault(source, {})[op.index] = None
    changes = {op.index: changed[op.index] for op in selection.ops if op.index in changed}
    used = {key for pairs in inputs.values() for (way, key), _ in pairs if way == "backward"}
    calls = {call: _line_of_call(recording, call) for call in sorted(used)}
    quiet = frozenset(
        source
        for source in sources
        if source[0] == "input" and is_small_constant(recording.tensors[source[1]])
    )
    return _Flows(inputs, changes, {o: tuple(ops) for o, ops in sources.items()}, calls, quiet)


def _line_of_call(recording: Recording, call: int) -> int | None:
    return recording.gradients[call].line if call < len(recording.gradients) else None


def _choose(
    recording: Recording,
    selection: Selection,
    flows: _Flows,
    depth: int | None,
    flat: bool,
    limit: int,
) -> tuple[Folding, int]:
    """The folding to draw, and which sources vanish into their folds (see ``_absorbed``)."""
    ops = selection.ops
    whole = fold.singles(recording, ops)
    if depth is not None and not flat and any(op.scope for op in ops):
        return fold.at_depth(recording, ops, depth), 1
    if flat or not ops or _least_absorbed(whole, flows, limit) is not None:
        return whole, 0
    for family in fold.ways(recording, ops, limit):
        fitting = [
            (folding, absorb)
            for folding in family
            if (absorb := _least_absorbed(folding, flows, limit)) is not None
        ]
        if fitting:
            return max(fitting, key=lambda found: (len(found[0].groups), -found[1]))
    return fold.together(recording, ops), 2


def _least_absorbed(folding: Folding, flows: _Flows, limit: int) -> int | None:
    """How few sources must vanish into their folds for the rest to fit."""
    count = len(folding.groups)
    count += len(set(flows.calls.values())) if folding.merged else len(flows.calls)
    if count > limit:
        return None
    place = {op: i for i, group in enumerate(folding.groups) for op in group.ops}
    folded = {i for i, group in enumerate(folding.groups) if len(group.ops) > 1}
    users = {source: {place[op] for op in ops} for source, ops in flows.sources.items()}
    count += sum(len(users.pop(source) - folded) for source in flows.quiet)
    for absorb in (0, 1, 2):
        drawn = sum(not _absorbed(boxes, folded, absorb) for boxes in users.values())
        if count + drawn <= limit:
            return absorb
    return None


def _absorbed(users: set[Any], folded: Collection[Any], absorb: int) -> bool:
    """Whether a source is not drawn: 1 = one fold alone uses it, 2 = folds alone do."""
    if not absorb or not users.issubset(folded):
        return False
    return absorb > 1 or len(users) == 1


@dataclass
class _Drawing:
    """Collects nodes and edges in the order the ops ran."""

    recording: Recording
    selection: Selection
    flows: _Flows
    folding: Folding
    absorb: int
    boxes: Boxes
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: dict[tuple[str, str, str], Edge] = field(default_factory=dict)
    clusters: dict[str, Cluster] = field(default_factory=dict)
    home: dict[int, str] = field(default_factory=dict)
    names: dict[tuple[str, ...], str] = field(default_factory=dict)
    frame: dict[str, str] = field(default_factory=dict)
    inside: dict[str, int] = field(default_factory=dict)
    folds: set[str] = field(default_factory=set)

    def draw(self) -> None:
        """Fill ``nodes``, ``edges`` and ``clusters``."""
        for group in self.folding.groups:
            identity = f"{'o' if len(group.ops) == 1 else 'f'}{group.ops[0]}"
            self.home.update(dict.fromkeys(group.ops, identity))
            if len(group.ops) > 1:
                self.folds.add(identity)
        self._open_clusters()
        self._count_absorbed()
        for group in self.folding.groups:
            self._draw_group(group)
        self._draw_unused()

    def finished_edges(self) -> Iterator[Edge]:
        """The edges, those between two marked boxes marked as well."""
        for edge in self.edges.values():
            red = self.nodes[edge.tail].marked and self.nodes[edge.head].marked
            yield replace(edge, marked=True) if red else edge

    def _draw_group(self, group: Group) -> None:
        head = self.home[group.ops[0]]
        for index in group.ops:
            op = self.recording.ops[index]
            for source, tensor in self.flows.inputs[index]:
                self._arrive(source, tensor, op, head)
        frame = self.frame.get(head, "")
        if len(group.ops) == 1:
            self.nodes[head] = self.boxes.op(self.recording.ops[group.ops[0]], head, frame)
        else:
            variables = self.inside.get(head, 0)
            self.nodes[head] = self.boxes.fold(group, head, variables=variables, cluster=frame)
        for index in group.ops:
            self._leave(self.recording.ops[index], head)

    def _arrive(self, source: Origin, tensor: int, op: Op, head: str) -> None:
        """The arrow from where a tensor comes from to the box that takes it."""
        kind = "backward" if op.kind == "backward" or source[0] == "backward" else "forward"
        tail = self._tail(source, tensor, op, head)
        if tail and tail != head:
            label = self._edge_label(tail, tensor)
            self.edges.setdefault((tail, head, kind), Edge(tail, head, kind, label))

    def _tail(self, source: Origin, tensor: int, op: Op, head: str) -> str:
        way, key = source
        if way == "op":
            return self.home[key]
        if way == "variable":
            return "" if self._absorbed(source) else self._variable(key)
        if way == "outside":
            return self._outside(key)
        if way == "backward":
            return self._backward(key)
        return "" if self._absorbed(source) else self._input(tensor, head)

    def _variable(self, key: int) -> str:
        identity = f"v{key}"
        if identity not in self.nodes:
            info = self.recording.variables[key]
            frame = self._shared_frame(("variable", key))
            self.nodes[identity] = self.boxes.variable(info, identity, frame)
        return identity

    def _input(self, tensor: int, head: str) -> str:
        info = self.recording.tensors[tensor]
        users = len({self.home[op] for op in self.flows.sources[("input", tensor)]})
        stub = is_stub(info, users)
        if head.startswith("f") and ("input", tensor) in self.flows.quiet:
            return ""
        identity = f"t{tensor}" + (f"_{head}" if stub else "")
        if identity not in self.nodes:
            frame = self.frame.get(head, "") if stub else self._shared_frame(("input", tensor))
            self.nodes[identity] = self.boxes.input(info, identity, stub=stub, cluster=frame)
        return identity

    def _outside(self, index: int) -> str:
        identity = f"x{index}"
        if identity not in self.nodes:
            node = self.boxes.op(self.recording.ops[index], identity)
            self.nodes[identity] = replace(node, kind="stub", gradient="")
        return identity

    def _backward(self, call: int) -> str:
        """One box for the backward ops of a call, with an arrow from its target."""
        box = self.flows.call_box(call, merged=self.folding.merged)
        identity = f"b{box}"
        if identity not in self.nodes:
            calls = [
                c
                for c in self.flows.calls
                if self.flows.call_box(c, merged=self.folding.merged) == box
            ]
            members = set(calls)
            ops = tuple(op.index for op in self.recording.backward if (op.call or 0) in members)
            self.nodes[identity] = self.boxes.backward(box, ops, identity)
            for each in calls:
                self._from_targets(each, identity)
        return identity

    def _from_targets(self, call: int, identity: str) -> None:
        calls = self.recording.gradients
        for target in calls[call].target_tensors if call < len(calls) else ():
            maker = self.recording.tensors[target].op
            if maker in self.home:
                tail = self.home[maker]
                self.edges[(tail, identity, "backward")] = Edge(tail, identity, "backward")

    def _leave(self, op: Op, tail: str) -> None:
        """The arrows to the variables that an op changes, and to what lies beyond a focus."""
        for key in self.flows.changes.get(op.index, ()):
            if not self._absorbed(("variable", key)):
                head = self._variable(key)
                self.edges.setdefault((tail, head, "control"), Edge(tail, head, "control"))
        if not self.selection.outside:
            return
        takers = (user for t in op.outputs for user in self.recording.consumers.get(t, ()))
        beyond = [user for user in takers if user in self.selection.outside]
        if beyond:
            self._beyond(tail, beyond)

    def _beyond(self, tail: str, users: list[int]) -> None:
        """A small box for the ops beyond the focus that take a result."""
        identity = f"x_{tail}"
        types = dict.fromkeys(self.recording.ops[user].type for user in users)
        title = shorten(", ".join(types), 24)
        self.nodes.setdefault(identity, Node(identity, "stub", title, ops=tuple(users)))
        self.edges.setdefault((tail, identity, "forward"), Edge(tail, identity))

    def _edge_label(self, tail: str, tensor: int) -> str:
        """What flows, where the box at the tail does not say it."""
        info = self.recording.tensors[tensor]
        if tail.startswith("b"):
            return f"∇{self.boxes.holders.get(tensor, '')}"
        several = info.op is not None and len(self.recording.ops[info.op].outputs) > 1
        if not (tail.startswith("f") or several):
            return ""
        return shorten(info.name, 16) or (shape(info.shape) if info.shape is not None else "")

    def _absorbed(self, source: Origin) -> bool:
        users = {self.home[op] for op in self.flows.sources[source]}
        return _absorbed(users, self.folds, self.absorb)

    def _count_absorbed(self) -> None:
        for source, ops in self.flows.sources.items():
            if source[0] == "variable" and self._absorbed(source):
                for box in {self.home[op] for op in ops}:
                    self.inside[box] = self.inside.get(box, 0) + 1

    def _draw_unused(self) -> None:
        """A variable whose gradient was asked for is drawn even if nothing takes it."""
        for variable in self.boxes.asked:
            source = ("variable", variable)
            if source not in self.flows.sources and not self.selection.outside:
                self._variable(variable)

    def _open_clusters(self) -> None:
        """Frames for the scopes; a chain of scopes with nothing between is one frame."""
        chains = {self.home[g.ops[0]]: g.scope for g in self.folding.groups if g.scope}
        kept = _branching(chains.values())
        for box, chain in chains.items():
            prefixes = [chain[: i + 1] for i in range(len(chain)) if chain[: i + 1] in kept]
            outer: tuple[str, ...] = ()
            for prefix in prefixes:
                self._open_cluster(prefix, outer)
                outer = prefix
            self.frame[box] = self.names[outer] if outer else ""

    def _open_cluster(self, prefix: tuple[str, ...], outer: tuple[str, ...]) -> None:
        if prefix not in self.names:
            identity = self.names[prefix] = f"c{len(self.names)}"
            title = shorten("/".join(prefix[len(outer) :]), 40)
            parent = self.names[outer] if outer else ""
            self.clusters[identity] = Cluster(identity, title, parent)

    def _shared_frame(self, source: Origin) -> str:
        """The frame of a source: that of its takers, where they share one."""
        frames = {self.frame.get(self.home[op], "") for op in self.flows.sources.get(source, ())}
        return frames.pop() if len(frames) == 1 else ""


def _branching(chains: Iterable[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """The scopes worth a frame: those that hold a box themselves or part into several."""
    own: set[tuple[str, ...]] = set()
    children: dict[tuple[str, ...], set[str]] = {}
    for chain in chains:
        own.add(chain)
        for i in range(1, len(chain)):
            children.setdefault(chain[:i], set()).add(chain[i])
    return own | {scope for scope, names in children.items() if len(names) > 1}


def _notes(selection: Selection, folding: Folding, boxes: int, focused: bool) -> Iterator[str]:
    ops = len(selection.ops)
    if folding.by != "none" and len(folding.groups) < ops:
        yield say(f"graph.folded_by_{folding.by}", n=ops, boxes=boxes)
    if focused and selection.outside:
        yield say("graph.focused", n=ops)
    if selection.left_out:
        yield say("graph.left_out", n=selection.left_out)
    places = sorted({device(op.device) for op in selection.ops if op.device})
    if len(places) > 1:
        yield say("graph.devices", devices=", ".join(places))
