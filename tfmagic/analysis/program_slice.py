"""The newest cell of a story as a recording of its own: what it ran and asked, and what that
rests on of the cells before.

So what is shown beneath a cell is of that cell's size, however long the story has become.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from heapq import heapify, heappop, heappush

from tfmagic.language import Message
from tfmagic.model import (
    Gradient,
    GradientCall,
    Op,
    Recording,
    TapeEvent,
    TensorInfo,
    VariableInfo,
    Verdict,
)

__all__ = ["chapter"]

#: Ops of earlier cells that are taken along, the nearest first.
MOST = 4_000


def chapter(recording: Recording, cell: int) -> Recording:
    """What cell ``cell``, the last one, rests on; the recording itself where that is all of it.

    Taken along are the ops that led to the cell's own, those that its gradients passed, and
    the calls of ``gradient`` that any of these belong to.
    """
    kept = _kept(recording, cell)
    if len(kept) == len(recording.ops):
        return recording
    return _Chapter(recording, cell, kept).recording()


def _kept(recording: Recording, cell: int) -> list[int]:
    """Indices of the ops that belong to the chapter, in order."""
    first = bisect_left(recording.ops, cell, key=lambda op: op.cell)
    found = set(range(first, len(recording.ops)))
    todo = [-op for call in _calls_of(recording, cell) for op in _of_call(recording, call)]
    todo += [-before for op in found for before in _before(recording, recording.ops[op])]
    heapify(todo)
    while todo and len(found) < len(recording.ops) - first + MOST:
        op = -heappop(todo)  # the one that ran last
        if op in found:
            continue
        found.add(op)
        for before in _before(recording, recording.ops[op]):
            heappush(todo, -before)
    return sorted(found)


def _calls_of(recording: Recording, cell: int) -> Iterator[GradientCall]:
    """The calls of ``gradient`` that the last cell made."""
    for call in reversed(recording.gradients):
        if call.cell != cell:
            break
        yield call


def _of_call(recording: Recording, call: GradientCall) -> Iterator[int]:
    """The ops that made what a call differentiated, and those that its verdicts speak of."""
    yield from _makers(recording, call.target_tensors)
    for gradient in call.gradients:
        yield from _makers(recording, gradient.source_tensors)
        if gradient.verdict is not None:
            yield from gradient.verdict.ops
            if gradient.verdict.op is not None:
                yield gradient.verdict.op


def _before(recording: Recording, op: Op) -> Iterator[int]:
    """The ops that an op rests on: the makers of its inputs, and whose gradient it works out."""
    yield from _makers(recording, op.inputs)
    if op.differentiates is not None:
        yield op.differentiates
    if op.call is not None and op.call < len(recording.gradients):
        yield from _makers(recording, recording.gradients[op.call].target_tensors)


def _makers(recording: Recording, tensors: Iterable[int]) -> Iterator[int]:
    makers = (recording.tensors[t].op for t in tensors)
    return (op for op in makers if op is not None)


class _Chapter:
    """Numbers ops, tensors, variables and calls anew."""

    def __init__(self, recording: Recording, cell: int, kept: Sequence[int]) -> None:
        self._old = recording
        self._cell = cell
        self._kept = kept
        self._op = {old: new for new, old in enumerate(kept)}
        ops = [recording.ops[i] for i in kept]
        asked = {op.call for op in ops if op.call is not None}
        asked.update(call.index for call in _calls_of(recording, cell))
        self._calls = [c for i in sorted(asked) for c in recording.gradients[i : i + 1]]
        self._call = {call.index: new for new, call in enumerate(self._calls)}
        self._taken = {t for op in ops if op.cell == cell for t in op.inputs}
        self._tensor: dict[int, int] = {}
        self._variable: dict[int, int] = {}

    def recording(self) -> Recording:
        """All of it."""
        old = self._old
        ops = tuple(self._an_op(old.ops[i]) for i in self._kept)
        calls = tuple(self._a_call(call) for call in self._calls)
        reductions = tuple(
            replace(each, parts=self._tensors(each.parts), result=self._t(each.result))
            for each in old.reductions
            if self._tensor.keys() >= set(each.parts)
        )
        names = {gradient.source for call in calls for gradient in call.gradients}
        # a tensor names its variable, and so all tensors come before the variables
        tensors = tuple(self._a_tensor(old.tensors[t]) for t in self._tensor)
        return replace(
            old,
            ops=ops,
            tensors=tensors,
            variables=tuple(self._a_variable(old.variables[v]) for v in self._variable),
            gradients=calls,
            tensor_gradients=tuple(self._gradients()),
            reductions=reductions,
            exits=tuple(
                replace(each, tensor=self._tensor[each.tensor], op=self._at(each.op))
                for each in old.exits
                if each.tensor in self._tensor
            ),
            functions=tuple(
                replace(each, ops=ran) for each in old.functions if (ran := self._ops(each.ops))
            ),
            bodies=tuple(
                replace(each, op=self._op[each.op]) for each in old.bodies if each.op in self._op
            ),
            rebound=tuple(pair for pair in old.rebound if pair[0] in names),
            jacobians=tuple(each for each in old.jacobians if each.source in names),
            runs=tuple(each for each in old.runs if each.cell == self._cell),
            hessians=tuple(each for each in old.hessians if names.issuperset(each.sources)),
            op_seconds=tuple((self._op[i], s) for i, s in old.op_seconds if i in self._op),
            said=(Message.of("report.chapter", n=len(ops), of=len(old.ops)),),
        )

    # -- numbers ------------------------------------------------------------------------

    def _t(self, tensor: int) -> int:
        return self._tensor.setdefault(tensor, len(self._tensor))

    def _tensors(self, tensors: Iterable[int]) -> tuple[int, ...]:
        return tuple(map(self._t, tensors))

    def _v(self, variable: int | None) -> int | None:
        if variable is None:
            return None
        return self._variable.setdefault(variable, len(self._variable))

    def _ops(self, ops: Iterable[int]) -> tuple[int, ...]:
        return tuple(self._op[i] for i in ops if i in self._op)

    def _at(self, count: int) -> int:
        """How many ops of the chapter had run, where ``count`` of the story had."""
        return bisect_left(self._kept, count)

    # -- the parts ----------------------------------------------------------------------

    def _an_op(self, op: Op) -> Op:
        return replace(
            op,
            index=self._op[op.index],
            inputs=self._tensors(op.inputs),
            outputs=self._tensors(op.outputs),
            differentiates=None if op.differentiates is None else self._op.get(op.differentiates),
            call=None if op.call is None else self._call.get(op.call),
        )

    def _a_tensor(self, info: TensorInfo) -> TensorInfo:
        """A tensor, which comes from outside where the op that made it was not taken along."""
        op = None if info.op is None else self._op.get(info.op)
        role = "input" if info.role == "op" and op is None else info.role
        identity, variable = self._tensor[info.id], self._v(info.variable)
        return replace(info, id=identity, op=op, role=role, variable=variable)

    def _a_variable(self, info: VariableInfo) -> VariableInfo:
        """A variable, with the value that it had when the cell read it first."""
        reads = [t for t in info.reads if t in self._tensor]
        first = next((t for t in reads if t in self._taken), reads[0] if reads else None)
        return replace(
            info,
            id=self._variable[info.id],
            value=info.value if first is None else self._old.tensors[first].value,
            reads=self._tensors(reads),
            assigned_by=self._ops(info.assigned_by),
        )

    def _gradients(self) -> Iterator[tuple[int, int]]:
        """The gradients of the chapter's tensors, by its own calls."""
        old = self._old
        for tensor, new in self._tensor.items():
            holder = old.gradient_of.get(tensor)
            if holder is not None and holder in self._tensor:
                yield new, self._tensor[holder]

    def _a_call(self, call: GradientCall) -> GradientCall:
        return replace(
            call,
            index=self._call[call.index],
            target_tensors=self._tensors(call.target_tensors),
            gradients=tuple(map(self._a_gradient, call.gradients)),
            events=tuple(map(self._an_event, call.events)),
        )

    def _a_gradient(self, gradient: Gradient) -> Gradient:
        holder, verdict = gradient.tensor, gradient.verdict
        return replace(
            gradient,
            tensor=None if holder is None else self._t(holder),
            variable=self._v(gradient.variable),
            source_tensors=self._tensors(gradient.source_tensors),
            verdict=None if verdict is None else self._a_verdict(verdict),
        )

    def _a_verdict(self, verdict: Verdict) -> Verdict:
        op = None if verdict.op is None else self._op.get(verdict.op)
        return replace(verdict, op=op, ops=self._ops(verdict.ops))

    def _an_event(self, event: TapeEvent) -> TapeEvent:
        variables = (self._v(variable) for variable in event.variables)
        return replace(
            event,
            op=self._at(event.op),
            tensors=self._tensors(event.tensors),
            variables=tuple(v for v in variables if v is not None),
        )
