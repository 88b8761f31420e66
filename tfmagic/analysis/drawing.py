"""The boxes and arrows of one cut through the tree of folds, in the order the ops ran."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from tfmagic.analysis.boxes import Boxes, is_stub
from tfmagic.analysis.fold import Cut
from tfmagic.analysis.notation import shape, shorten
from tfmagic.analysis.producers import Origin, Selection
from tfmagic.analysis.tree import Fold, Part
from tfmagic.model import Cluster, Edge, Node, Op, Recording

__all__ = ["Drawing", "absorbed"]


class Flows(Protocol):
    """See :class:`tfmagic.analysis.graph.Flows`."""

    @property
    def inputs(self) -> Mapping[int, tuple[tuple[Origin, int], ...]]:
        """For each op its inputs: where each comes from, and the tensor."""

    @property
    def changes(self) -> Mapping[int, tuple[int, ...]]:
        """For each op the variables that it changes."""

    @property
    def quiet(self) -> Collection[Origin]:
        """The constants that say nothing beside a fold."""


def absorbed(way: str, users: Collection[Any], folded: Collection[Any], absorb: int) -> bool:
    """Whether a source is not drawn: 1 = one fold alone uses it, 2 = folds alone do.

    A gradient call leads from one fold to another: it is drawn as long as 3 is not asked.
    """
    if not absorb or not all(user in folded for user in users):
        return False
    return len(users) == 1 or absorb > (2 if way == "backward" else 1)


@dataclass
class Drawing:
    """Collects nodes and edges.

    ``absorb`` says which sources vanish into their folds, ``takers`` which ops meet a
    source.  With ``around`` a fold is drawn from inside: for each op outside the box in
    which it is seen from there.
    """

    recording: Recording
    selection: Selection
    flows: Flows
    cut: Cut
    absorb: int
    boxes: Boxes
    takers: Mapping[Origin, tuple[int, ...]]
    around: Mapping[int, Part] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: dict[tuple[str, str, str], Edge] = field(default_factory=dict)
    home: dict[int, str] = field(default_factory=dict)
    inside: dict[str, int] = field(default_factory=dict)
    folds: set[str] = field(default_factory=set)
    users: dict[Origin, frozenset[str]] = field(default_factory=dict)
    parents: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.parents = {fold.id: parent for fold, parent in self.cut.frames}

    def draw(self) -> None:
        """Fill ``nodes`` and ``edges``."""
        for box in self.cut.boxes:
            if isinstance(box, int):
                self.home[box] = f"o{box}"
            else:
                self.home.update(dict.fromkeys(box.ops, box.id))
                self.folds.add(box.id)
        self._count_absorbed()
        for box in self.cut.boxes:
            self._draw_box(box)
        self._draw_unused()

    def clusters(self) -> Iterator[Cluster]:
        """The frames of the open folds in which a box stands, outermost first."""
        used = {node.cluster for node in self.nodes.values()}
        used.update(frame for name in list(used) for frame in self._chain(name))
        for fold, parent in self.cut.frames:
            if fold.id in used:
                yield Cluster(fold.id, self.boxes.frame_title(fold), parent)

    def finished_edges(self) -> Iterator[Edge]:
        """The edges, those between two marked boxes marked as well."""
        for edge in self.edges.values():
            red = self.nodes[edge.tail].marked and self.nodes[edge.head].marked
            yield replace(edge, marked=True) if red else edge

    def _draw_box(self, box: Part) -> None:
        ops = (box,) if isinstance(box, int) else box.ops
        head = self.home[ops[0]]
        for index in ops:
            op = self.recording.ops[index]
            for source, tensor in self.flows.inputs[index]:
                self._arrive(source, tensor, op, head)
        frame = self._frame(box)
        if isinstance(box, int):
            self.nodes[head] = self.boxes.op(self.recording.ops[box], head, frame)
        else:
            variables = self.inside.get(head, 0)
            self.nodes[head] = self.boxes.fold(box, variables=variables, cluster=frame)
        for index in ops:
            self._leave(self.recording.ops[index], head)

    def _frame(self, box: Part) -> str:
        return self.cut.places[box if isinstance(box, int) else box.id]

    def _arrive(self, source: Origin, tensor: int, op: Op, head: str) -> None:
        """The arrow from where a tensor comes from to the box that takes it."""
        kind = "backward" if op.kind == "backward" or source[0] == "backward" else "forward"
        tail = self._tail(source, tensor, head)
        if tail and tail != head:
            label = self._edge_label(tail, tensor)
            self.edges.setdefault((tail, head, kind), Edge(tail, head, kind, label))

    def _tail(self, source: Origin, tensor: int, head: str) -> str:
        way, key = source
        if way == "op" and key in self.home:
            return self.home[key]
        if way in ("op", "outside"):
            return self._outside(key)
        if self._absorbed(source):
            return ""
        if way == "variable":
            return self._variable(key)
        return self._backward(key) if way == "backward" else self._input(tensor, head)

    def _variable(self, key: int) -> str:
        identity = f"v{key}"
        if identity not in self.nodes:
            info = self.recording.variables[key]
            frame = self._shared_frame(("variable", key))
            self.nodes[identity] = self.boxes.variable(info, identity, frame)
        return identity

    def _input(self, tensor: int, head: str) -> str:
        info = self.recording.tensors[tensor]
        users = len(self._users(("input", tensor)))
        stub = is_stub(info, users)
        if head in self.folds and ("input", tensor) in self.flows.quiet:
            return ""
        identity = f"t{tensor}" + (f"_{head}" if stub else "")
        if identity not in self.nodes:
            frame = self._shared_frame(("input", tensor))
            if stub:
                frame = self.cut.places[head if head in self.folds else int(head[1:])]
            self.nodes[identity] = self.boxes.input(info, identity, stub=stub, cluster=frame)
        return identity

    def _outside(self, index: int) -> str:
        part = self.around.get(index)
        identity = f"x_{part.id}" if isinstance(part, Fold) else f"x{index}"
        if identity not in self.nodes:
            if isinstance(part, Fold):
                self.nodes[identity] = self._neighbour(identity, part)
            else:
                node = self.boxes.op(self.recording.ops[index], identity)
                self.nodes[identity] = replace(node, kind="outside", gradient="")
        return identity

    def _neighbour(self, identity: str, part: Fold) -> Node:
        return Node(identity, "outside", shorten(part.title, 32), ops=part.ops)

    def _backward(self, call: int) -> str:
        """One box for the backward ops of a call, with an arrow from its target."""
        identity = f"b{call}"
        if identity not in self.nodes:
            ops = tuple(op.index for op in self.recording.backward if (op.call or 0) == call)
            frame = self._shared_frame(("backward", call))
            self.nodes[identity] = self.boxes.backward(call, ops, identity, frame)
            self._from_targets(call, identity)
        return identity

    def _from_targets(self, call: int, identity: str) -> None:
        asked = self.recording.call(call)
        for target in asked.target_tensors if asked else ():
            maker = self.recording.tensors[target].op
            if maker in self.home:
                tail = self.home[maker]
                self.edges[(tail, identity, "backward")] = Edge(tail, identity, "backward")

    def _leave(self, op: Op, tail: str) -> None:
        """The arrows to the variables that an op changes, and to what lies beyond."""
        for key in self.flows.changes.get(op.index, ()):
            if not self._absorbed(("variable", key)):
                head = self._variable(key)
                self.edges.setdefault((tail, head, "control"), Edge(tail, head, "control"))
        if not (self.selection.outside or self.around):
            return
        takers = (user for t in op.outputs for user in self.recording.consumers.get(t, ()))
        beyond = [u for u in takers if u in self.selection.outside or u in self.around]
        if self.around:
            for user in beyond:
                self._onward(tail, user)
        elif beyond:
            self._beyond(tail, beyond)

    def _onward(self, tail: str, user: int) -> None:
        """From inside a fold, the box in which a taker of a result stands."""
        part = self.around[user]
        identity = f"y_{part.id}" if isinstance(part, Fold) else f"y{part}"
        if identity not in self.nodes:
            title = part.title if isinstance(part, Fold) else self.recording.ops[part].title
            ops = part.ops if isinstance(part, Fold) else (part,)
            self.nodes[identity] = Node(identity, "outside", shorten(title, 32), ops=ops)
        kind = "backward" if self.recording.ops[user].kind == "backward" else "forward"
        self.edges.setdefault((tail, identity, kind), Edge(tail, identity, kind))

    def _beyond(self, tail: str, users: list[int]) -> None:
        """A small box for the ops beyond the focus that take a result."""
        identity = f"x_{tail}"
        types = dict.fromkeys(self.recording.ops[user].title for user in users)
        title = shorten(", ".join(types), 24)
        self.nodes.setdefault(identity, Node(identity, "outside", title, ops=tuple(users)))
        self.edges.setdefault((tail, identity, "forward"), Edge(tail, identity))

    def _edge_label(self, tail: str, tensor: int) -> str:
        """What flows, where the box at the tail does not say it."""
        info = self.recording.tensors[tensor]
        if tail.startswith("b"):
            return f"∇{self.boxes.holders.get(tensor, '')}"
        several = info.op is not None and len(self.recording.ops[info.op].outputs) > 1
        if not (tail in self.folds or several):
            return ""
        return shorten(info.name, 16) or (shape(info.shape) if info.shape is not None else "")

    def _users(self, source: Origin) -> frozenset[str]:
        """The boxes that meet a source, worked out once: a hub is met by thousands of ops."""
        if source not in self.users:
            self.users[source] = frozenset(self.home[op] for op in self.takers.get(source, ()))
        return self.users[source]

    def _absorbed(self, source: Origin) -> bool:
        return absorbed(source[0], self._users(source), self.folds, self.absorb)

    def _count_absorbed(self) -> None:
        for source in self.takers:
            if source[0] == "variable" and self._absorbed(source):
                for box in self._users(source):
                    self.inside[box] = self.inside.get(box, 0) + 1

    def _draw_unused(self) -> None:
        """A variable whose gradient was asked for is drawn even if nothing takes it."""
        if self.around or self.selection.outside:
            return
        for variable in self.boxes.asked:
            if ("variable", variable) not in self.takers:
                self._variable(variable)

    def _shared_frame(self, source: Origin) -> str:
        """The innermost frame in which all takers of a source stand."""
        homes = self._users(source)
        frames = {self.cut.places[home if home in self.folds else int(home[1:])] for home in homes}
        chains = [self._chain(frame) for frame in frames]
        shared = ""
        for level in zip(*chains, strict=False):
            if len(set(level)) > 1:
                break
            shared = level[0]
        return shared

    def _chain(self, frame: str) -> list[str]:
        """The frames around a box, outermost first."""
        found = [frame] if frame else []
        while frame := self.parents.get(frame, ""):
            found.append(frame)
        return found[::-1]
