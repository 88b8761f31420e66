"""Steps that can be run again: what they were given, and what the variables held before."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from tfmagic.runtime import private
from tfmagic.runtime.capture.log import CompiledFunction, KeptStep, KeptSteps
from tfmagic.runtime.compiled.reader import CALLS, Function, data

__all__ = ["Keeper", "StepFunction", "step_function"]

#: Bytes of variables above which none are kept, bytes and number of first steps that are.
_MOST_VARIABLES, _MOST_BYTES, _FIRST = 256 * 2**20, 64 * 2**20, 64
#: The share of a run's time that keeping may take, the most steps between two looks, and the
#: bytes that a step copies in a second at least.
_SHARE, _LONGEST, _COPIES = 0.01, 256, 2e9


class StepFunction(NamedTuple):
    """The function that makes one step, and where its inputs come from: the place among the
    inputs of the function that was called, or among the tensors of the batch."""

    name: str
    graph: Any
    inputs: tuple[tuple[str, int], ...]
    batch: tuple[str, ...] = ()


def step_function(function: Function) -> StepFunction | None:
    """The function itself where it trains, or the one that it calls once with a batch; None
    where a step cannot be told apart."""
    arguments = {name: place for place, name in enumerate(function.arguments)}
    if function.trained:
        if function.graph is None or any(
            n.op == "IteratorGetNext" for n in function.nodes.values()
        ):
            return None
        own = tuple(("input", place) for place in arguments.values())
        return StepFunction(function.name, function.graph, own)
    calls = [node for node in function.nodes.values() if node.op in CALLS]
    if len(calls) != 1 or function.graph is None:
        return None
    refs, name = data(calls[0]), calls[0].attr["f"].func.name
    batch = tuple(ref for ref in refs if ref not in arguments)
    makers = {function.nodes[ref.partition(":")[0]].op for ref in batch}
    if makers - {"IteratorGetNext"}:
        return None
    graph = function.called_graph(name)
    places = {ref: ("batch", place) for place, ref in enumerate(batch)}
    places |= {name: ("input", place) for name, place in arguments.items()}
    return StepFunction(name, graph, tuple(places[ref] for ref in refs), batch)


class Keeper:
    """Keeps, around the calls of one function, what is needed to run its steps again.

    The variables are read before a step (their memory is shared until the step writes to it);
    as that costs the step a copy, it is done so seldom that it takes a small share of the time,
    and what the steps since were given is kept too.  Once a figure was not finite nothing newer
    is kept: that step is the one that will be looked at.
    """

    def __init__(self, step: StepFunction, told: CompiledFunction) -> None:
        self._step = step
        self._told = told
        self._every = 1
        self._frozen = False
        self._ran = 0.0
        self._size = 0
        self._handles: Collection[int] = ()

    def before(self, inputs: Sequence[Any]) -> None:
        """A call is about to be made."""
        told = self._told
        due = told.latest is None or (
            len(told.latest.steps) >= self._every or told.latest.bytes > _MOST_BYTES
        )
        if self._frozen or not due:
            return
        start = perf_counter()
        worst = self._worst(told.latest) if told.latest is not None else 0.0
        if np.isnan(worst):
            self._frozen = True
            return
        if np.isinf(worst) and told.suspect is None:  # it may be but the square of a large norm
            told.suspect = told.latest
        told.latest = self._read(inputs)
        if told.first is None:
            first = told.latest
            told.first = KeptSteps(first.function, first.graph, dict(first.variables))
        usual = self._ran / max(told.count, 1)
        if told.count and usual:
            cost = perf_counter() - start + self._size / _COPIES  # the step copies it all
            self._every = int(min(_LONGEST, max(1.0, cost / (_SHARE * usual))))

    def _read(self, inputs: Sequence[Any]) -> KeptSteps:
        kept = KeptSteps(self._step.name, self._step.graph)
        size = 0
        for tensor in inputs:
            dtype = private.variable_dtype(tensor)
            if dtype and size <= _MOST_VARIABLES:
                kept.variables[tensor._id] = value = private.read_variable(tensor, dtype)
                size += value._num_elements() * 4
        self._size, self._handles = size, kept.variables.keys()
        return kept

    def after(self, inputs: Sequence[Any], batch: Sequence[Any], seconds: float) -> None:
        """A call was made: with these inputs, on this batch."""
        told, self._ran = self._told, self._ran + seconds
        sources = {"input": inputs, "batch": batch}
        given = tuple(sources[kind][place] for kind, place in self._step.inputs)
        size = sum(t._num_elements() * 4 for t in given if t._id not in self._handles)
        step, first, latest = KeptStep(told.count - 1, given), told.first, told.latest
        if latest is not None and not self._frozen:
            latest.steps.append(step)
            latest.bytes += size
        goes_on = first is not None and len(first.steps) == step.number < _FIRST
        if first is not None and goes_on and first.bytes + size <= _MOST_BYTES:
            first.bytes += size
            first.steps.append(step)

    def _worst(self, kept: KeptSteps) -> float:
        """NaN or infinity, where a figure of the kept steps is; else zero."""
        numbers = {step.number for step in kept.steps}
        told = (step for step in reversed(self._told.steps) if step.number in numbers)
        figures = [np.asarray(each).ravel() for step in told for each in step.figures]
        return _spoilt(np.concatenate(figures)) if figures else 0.0


def _spoilt(figures: Any) -> float:
    if np.isnan(figures).any():
        return float("nan")
    return float("inf") if np.isinf(figures).any() else 0.0
