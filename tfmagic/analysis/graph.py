"""From a recording to boxes and arrows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from tfmagic.analysis.fold import Folding, Group, at_depth, singles, ways
from tfmagic.analysis.notation import device, named, number, shape, shorten, value_lines
from tfmagic.analysis.origin import Origin, Selection, origin, select, writes
from tfmagic.language import say
from tfmagic.model import Cluster, Edge, Graph, Node, Op, Recording, TensorInfo, Value

__all__ = ["build"]

#: Consumers from which on a small input stands beside each of them as a stub.
_HUB = 2
_NAME = 40


def build(
    recording: Recording,
    *,
    backward: bool = False,
    depth: int | None = None,
    flat: bool = False,
    limit: int = 60,
    focus: Collection[int] | None = None,
    marked: Collection[int] = (),
) -> Graph:
    """The graph of a recording, folded to at most about ``limit`` boxes unless ``flat``.

    ``depth`` folds scopes at that depth instead.  ``focus`` draws only these ops (by
    index), ``marked`` are the ops on the path of a verdict.  The same recording gives
    the same graph.
    """
    selection = select(recording, backward=backward, focus=focus)
    folding = _choose(recording, selection, depth=depth, flat=flat, limit=limit)
    return _Builder(recording, selection, folding, frozenset(marked)).graph()


def _choose(
    recording: Recording, selection: Selection, *, depth: int | None, flat: bool, limit: int
) -> Folding:
    ops = selection.ops
    fine = singles(recording, ops)
    if flat:
        return fine
    if depth is not None:
        return at_depth(recording, ops, depth)
    if _boxes(recording, fine) <= limit:
        return fine
    last = fine
    for family in ways(recording, ops):
        for last in family:
            if _boxes(recording, last) <= limit:
                return last
    return last


def _boxes(recording: Recording, folding: Folding) -> int:
    """Boxes that a folding needs: its groups, and the variables while they stand alone."""
    if any(len(group.ops) > 1 for group in folding.groups):
        return len(folding.groups)
    return len(folding.groups) + len(recording.variables)


class _Builder:
    """One picture being put together, in the order in which the ops ran."""

    def __init__(
        self,
        recording: Recording,
        selection: Selection,
        folding: Folding,
        marked: frozenset[int],
    ) -> None:
        self._recording = recording
        self._selection = selection
        self._folding = folding
        self._marked = marked
        self._home: dict[int, str] = {}
        self._nodes: dict[str, Node] = {}
        self._edges: dict[tuple[str, str, str], Edge] = {}
        self._clusters: dict[tuple[str, ...], Cluster] = {}
        self._written = writes(recording)
        self._targets = {
            recording.tensors[t].op for call in recording.gradients for t in call.target_tensors
        }
        self._shared = self._consumers()

    def graph(self) -> Graph:
        """All of it."""
        for group in self._folding.groups:
            for op in group.ops:
                self._home[op] = _group_id(group)
        for group in self._folding.groups:
            self._inputs(group)
            self._add_group(group)
            self._arrows_out(group)
        return Graph(
            nodes=tuple(self._nodes.values()),
            edges=tuple(self._edges.values()),
            clusters=tuple(self._clusters.values()),
            notes=tuple(self._notes()),
        )

    def _consumers(self) -> dict[int, int]:
        counts: dict[int, int] = {}
        for op in self._selection.ops:
            for tensor in set(op.inputs):
                counts[tensor] = counts.get(tensor, 0) + 1
        return counts

    # -- groups -----------------------------------------------------------------

    def _add_group(self, group: Group) -> None:
        key = _group_id(group)
        ops = [self._recording.ops[i] for i in group.ops]
        marked = any(op.index in self._marked for op in ops)
        node = self._fold(key, group, ops) if len(ops) > 1 else self._single(key, ops[0])
        cluster = self._cluster(group.scope)
        self._nodes[key] = Node(
            id=key,
            kind=node.kind,
            title=node.title,
            detail=node.detail,
            ops=group.ops,
            tensor=node.tensor,
            cluster=cluster,
            gradient=node.gradient,
            marked=marked,
        )

    def _single(self, key: str, op: Op) -> Node:
        title = op.function or op.type
        kind = "target" if op.index in self._targets else "op"
        outputs = [self._recording.tensors[t] for t in op.outputs]
        shown = outputs[0] if outputs else None
        details = [line for tensor in outputs[:3] for line in _tensor_lines(tensor)]
        if len(outputs) > 3:
            details.append(say("graph.more_outputs", n=len(outputs) - 3))
        gradient = "" if shown is None else self._gradient_text(shown.id)
        return Node(
            id=key,
            kind="backward" if op.kind == "backward" else kind,
            title=title,
            detail=tuple(details),
            tensor=shown.id if shown else None,
            gradient=gradient,
        )

    def _fold(self, key: str, group: Group, ops: Sequence[Op]) -> Node:
        details = [say("graph.ops", n=len(ops))]
        names = dict.fromkeys(
            self._recording.tensors[t].name
            for op in ops
            for t in op.outputs
            if self._recording.tensors[t].name and self._recording.tensors[t].role == "op"
        )
        if names:
            details.append(shorten(", ".join(names), _NAME))
        weights = {
            tensor.variable
            for op in ops
            for tensor in (self._recording.tensors[t] for t in op.inputs)
            if tensor.variable is not None
        }
        if weights:
            details.append(say("graph.reads", n=len(weights)))
        target = any(op.index in self._targets for op in ops)
        kind = "fold_target" if target else "fold"
        return Node(id=key, kind=kind, title=group.title, detail=tuple(details))

    def _gradient_text(self, tensor: int) -> str:
        found = self._recording.gradient_of.get(tensor)
        if found is None:
            return ""
        return _gradient(self._recording.tensors[found].value)

    def _cluster(self, scope: tuple[str, ...]) -> str:
        if not scope:
            return ""
        if scope not in self._clusters:
            parent = self._cluster(scope[:-1])
            key = f"scope{len(self._clusters)}"
            self._clusters[scope] = Cluster(key, shorten(scope[-1], _NAME), parent)
        return self._clusters[scope].id

    # -- arrows -----------------------------------------------------------------

    def _inputs(self, group: Group) -> None:
        head = _group_id(group)
        for index in group.ops:
            op = self._recording.ops[index]
            written = self._written.get(index, ())
            for tensor in op.inputs:
                info = self._recording.tensors[tensor]
                if info.variable in written and info.role == "handle":
                    continue
                tail = self._tail(origin(self._recording, tensor, self._selection), op, head)
                if tail and tail != head:
                    self._arrow(tail, head, op, info)

    def _arrow(self, tail: str, head: str, op: Op, info: TensorInfo) -> None:
        kind = "backward" if op.kind == "backward" else "forward"
        folded = self._nodes[tail].kind.startswith("fold") if tail in self._nodes else False
        label = shape(info.shape) if folded and info.shape else ""
        marked = op.index in self._marked and (info.op is None or info.op in self._marked)
        self._edges.setdefault(
            (tail, head, kind), Edge(tail, head, kind=kind, label=label, marked=marked)
        )

    def _arrows_out(self, group: Group) -> None:
        """From an op that changes a variable to the variable."""
        for index in group.ops:
            for variable in self._written.get(index, ()):
                tail, head = _group_id(group), self._variable(variable)
                self._edges.setdefault((tail, head, "control"), Edge(tail, head, kind="control"))

    def _tail(self, source: Origin, op: Op, head: str) -> str:
        where, key = source
        if where == "variable":
            return self._variable(key)
        if where == "op":
            return self._home[key]
        if where == "outside":
            return ""
        if where == "backward":
            return self._gradients_box(key)
        return self._input(key, op, head)

    def _variable(self, key: int) -> str:
        node = f"var{key}"
        if node not in self._nodes:
            info = self._recording.variables[key]
            lines = value_lines(info.value) or (_summary(info.shape, info.dtype, info.value),)
            frozen = () if info.trainable else (say("graph.not_trainable"),)
            self._nodes[node] = Node(
                id=node,
                kind="variable",
                title=shorten(info.name, _NAME),
                detail=(*lines, *frozen),
                variable=key,
                tensor=info.reads[0] if info.reads else None,
                gradient=self._variable_gradient(key),
            )
        return node

    def _variable_gradient(self, key: int) -> str:
        for call in reversed(self._recording.gradients):
            for gradient in call.gradients:
                if gradient.variable == key:
                    return "∇ = None" if gradient.value is None else _gradient(gradient.value)
        return ""

    def _input(self, key: int, op: Op, head: str) -> str:
        info = self._recording.tensors[key]
        small = not info.name and info.value.whole and info.bytes <= 64
        stub = small and self._shared.get(key, 0) >= _HUB
        node = f"in{key}_{head}" if stub else f"in{key}"
        if node not in self._nodes:
            title, lines = _input_text(info)
            self._nodes[node] = Node(
                id=node,
                kind="stub" if stub else "input",
                title=title,
                detail=lines,
                tensor=key,
                gradient=self._gradient_text(key) if info.name else "",
            )
        return node

    def _gradients_box(self, call: int) -> str:
        """The gradients of one call, as the one box that later ops take them from."""
        node = f"call{call}"
        if node not in self._nodes:
            asked = self._recording.gradients[call]
            self._nodes[node] = Node(
                id=node,
                kind="fold_backward",
                title=say("graph.gradient_call", target=shorten(", ".join(asked.targets), _NAME)),
                detail=(say("graph.ops", n=sum(o.call == call for o in self._recording.ops)),),
            )
            for tensor in asked.target_tensors:
                maker = self._recording.tensors[tensor].op
                if maker is not None and maker in self._home:
                    tail = self._home[maker]
                    self._edges[tail, node, "backward"] = Edge(tail, node, kind="backward")
        return node

    def _notes(self) -> Iterator[str]:
        folded = [g for g in self._folding.groups if len(g.ops) > 1]
        if folded:
            count = sum(len(g.ops) for g in folded)
            yield say(f"graph.folded_by_{self._folding.by}", n=count, boxes=len(folded))
        if self._selection.left_out:
            yield say("graph.left_out", n=self._selection.left_out)
        places = {device(op.device) for op in self._selection.ops if op.device}
        if len(places) > 1:
            yield say("graph.devices", devices=", ".join(sorted(places)))


def _group_id(group: Group) -> str:
    return f"{'op' if len(group.ops) == 1 else 'fold'}{group.ops[0]}"


def _tensor_lines(tensor: TensorInfo) -> Iterable[str]:
    name = shorten(tensor.name, _NAME)
    lines = value_lines(tensor.value)
    if lines:
        return named(name, lines)
    summary = _summary(tensor.shape, tensor.dtype, tensor.value)
    return (f"{name}: {summary}" if name else summary,)


def _input_text(info: TensorInfo) -> tuple[str, tuple[str, ...]]:
    lines = value_lines(info.value)
    if info.name:
        return shorten(info.name, _NAME), lines or (_summary(info.shape, info.dtype, info.value),)
    if len(lines) == 1:
        return lines[0], ()
    return say("graph.constant"), lines or (_summary(info.shape, info.dtype, info.value),)


def _summary(dims: tuple[int | None, ...] | None, dtype: str, value: Value) -> str:
    text = f"{shape(dims)} {dtype}"
    stats = value.stats
    if stats is None or stats.norm is None:
        return text
    broken = "".join(
        f"  {count} {word}" for count, word in ((stats.nan, "NaN"), (stats.inf, "Inf")) if count
    )
    return f"{text}  ‖·‖ = {number(stats.norm, 3)}{broken}"


def _gradient(value: Value) -> str:
    lines = value_lines(value)
    if lines:
        return "\n".join(named("∇", lines))
    if value.stats is None or value.stats.norm is None:
        return "∇"
    return f"‖∇‖ = {number(value.stats.norm, 3)}"
