"""The newest cell of a story as a recording of its own: what it ran and asked, and what that
rests on of the cells before.

So what is shown beneath a cell is of that cell's size, however long the story has become.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import replace
from heapq import heapify, heappop, heappush

from tfmagic.language import Message
from tfmagic.model import (
    Gradient,
    GradientCall,
    Op,
    Recording,
    TensorInfo,
    VariableInfo,
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
    return _view(recording, cell, kept)


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


def _view(recording: Recording, cell: int, kept: Sequence[int]) -> Recording:
    """These ops with what they and their calls name, all by the numbers of the whole."""
    whole, ops = recording, set(kept)
    asked = {op.call for i in kept if (op := whole.ops[i]).call is not None}
    asked.update(call.index for call in _calls_of(whole, cell))
    calls = tuple(call for call in whole.gradients if call.index in asked)
    tensors = set(_tensors_of((whole.ops[i] for i in kept), calls))
    variables = {
        *(v for t in tensors if (v := whole.tensors[t].variable) is not None),
        *(v for call in calls for event in call.events for v in event.variables),
        *(g.variable for call in calls for g in call.gradients if g.variable is not None),
    }
    taken = {t for i in kept if whole.ops[i].cell == cell for t in whole.ops[i].inputs}
    sources = {gradient.source for call in calls for gradient in call.gradients}
    reductions = [each for each in whole.reductions if tensors.issuperset(each.parts)]
    tensors.update(each.result for each in reductions)
    return replace(
        whole,
        story=len(whole.ops),
        ops=tuple(_op(whole.ops[i], ops) for i in kept),
        tensors=tuple(_tensor(whole.tensors[t], ops) for t in sorted(tensors)),
        variables=tuple(
            _variable(whole, whole.variables[v], ops, tensors, taken) for v in sorted(variables)
        ),
        gradients=tuple(
            replace(call, gradients=tuple(_gradient(g, ops) for g in call.gradients))
            for call in calls
        ),
        tensor_gradients=tuple(pair for pair in whole.tensor_gradients if tensors >= set(pair)),
        reductions=tuple(reductions),
        exits=tuple(each for each in whole.exits if each.tensor in tensors),
        functions=tuple(
            replace(each, ops=ran)
            for each in whole.functions
            if (ran := tuple(op for op in each.ops if op in ops))
        ),
        bodies=tuple(each for each in whole.bodies if each.op in ops),
        rebound=tuple(pair for pair in whole.rebound if pair[0] in sources),
        jacobians=tuple(each for each in whole.jacobians if each.source in sources),
        runs=tuple(each for each in whole.runs if each.cell == cell),
        hessians=tuple(each for each in whole.hessians if sources.issuperset(each.sources)),
        op_seconds=tuple(pair for pair in whole.op_seconds if pair[0] in ops),
        said=(Message.of("report.chapter", n=len(ops), of=len(whole.ops)),),
    )


def _tensors_of(ops: Iterable[Op], calls: Iterable[GradientCall]) -> Iterator[int]:
    """The tensors that these name."""
    for op in ops:
        yield from (*op.inputs, *op.outputs)
    for call in calls:
        yield from call.target_tensors
        for event in call.events:
            yield from event.tensors
        for gradient in call.gradients:
            yield from gradient.source_tensors
            if gradient.tensor is not None:
                yield gradient.tensor


def _op(op: Op, kept: Container[int]) -> Op:
    lost = op.differentiates is not None and op.differentiates not in kept
    return replace(op, differentiates=None) if lost else op


def _tensor(info: TensorInfo, kept: Container[int]) -> TensorInfo:
    """A tensor, which comes from outside where the op that made it was not taken along."""
    if info.op is None or info.op in kept:
        return info
    return replace(info, op=None, role="input" if info.role == "op" else info.role)


def _variable(
    whole: Recording,
    info: VariableInfo,
    ops: Container[int],
    tensors: Container[int],
    taken: Container[int],
) -> VariableInfo:
    """A variable, with the value that it had when the cell read it first."""
    reads = tuple(t for t in info.reads if t in tensors)
    first = next((t for t in reads if t in taken), reads[0] if reads else None)
    value = info.value if first is None else whole.tensors[first].value
    assigned = tuple(op for op in info.assigned_by if op in ops)
    return replace(info, value=value, reads=reads, assigned_by=assigned)


def _gradient(gradient: Gradient, kept: Container[int]) -> Gradient:
    verdict = gradient.verdict
    if verdict is None:
        return gradient
    op = verdict.op if verdict.op in kept else None
    ops = tuple(op for op in verdict.ops if op in kept)
    return replace(gradient, verdict=replace(verdict, op=op, ops=ops))
