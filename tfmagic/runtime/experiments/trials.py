"""Why does it not learn?  The first steps of a run are made again, on copies, with one thing
changed, and the losses are compared.

The steps are those of the recorded run: from its first weights, on its batches, in its own
compiled graph.  The user's variables are not touched, and none of their Python runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from tfmagic.model import Trial
from tfmagic.runtime import private
from tfmagic.runtime.autodiff.differentiate import aside
from tfmagic.runtime.autodiff.step_replay import StepReplay
from tfmagic.runtime.capture.log import KeptStep, KeptSteps
from tfmagic.runtime.compiled.reader import Function
from tfmagic.runtime.experiments.pairing import pairing, source_place
from tfmagic.runtime.experiments.rebuild import Change, Rebuilt
from tfmagic.runtime.experiments.suspects import suspects

__all__ = ["trials"]

#: Steps of a trial, and the seconds that one run's trials may take: a share of the run's own,
#: though never less than the one nor more than the other.
_STEPS, _SHARE, _SHORTEST, _LONGEST = 72, 0.2, 0.5, 2.0
#: Steps of a trial with another graph, and the nodes of the largest that is built anew.
_LONG, _LARGEST = 256, 3_000
#: The rates that are tried, as multiples of the run's own.
_RATES = (0.1, 10.0, 0.01, 100.0, -1.0, 0.001, 1000.0)
_FASTER = (1000.0, 100.0, 10.0, -1.0, 10_000.0, 0.1)
#: A loss that moved by less than this share of itself stood still, but for its batches; weights
#: that moved by less than this share of themselves too.
_STILL, _UNMOVED = 0.15, 0.01
#: Numbers so large or so far from zero are tried brought to mean zero and spread one.
_LARGE = 5.0


@dataclass(slots=True)
class _Course:
    """A function that makes a step and tells its loss, and what was kept to start from."""

    name: str
    outputs: int
    kept: KeptSteps
    trained: tuple[int, ...]


def trials(kept: KeptSteps, seconds: float, stalled: bool = True) -> tuple[Trial, ...]:
    """The run as it was and with one thing changed, each for the same steps.

    ``seconds`` is the time that the run took; of one that did not stall only that is tried which
    its graph and its data give cause to.  Empty where the steps cannot be made again.  The
    ``names`` of a trial are layers' scopes, or the ids of variables' handles.
    """
    until = perf_counter() + min(_LONGEST, max(_SHORTEST, _SHARE * seconds))
    try:
        return tuple(aside(lambda: list(_tried(kept, until, stalled))))
    except Exception:  # an op that does not run again: then nothing was tried
        return ()


def _tried(kept: KeptSteps, until: float, stalled: bool) -> Iterator[Trial]:
    function = Function(kept.function, kept.graph)
    losses = list(dict.fromkeys(trained.loss for trained in function.trained if trained.loss))
    if not losses or not kept.steps:
        return
    yield from _rebuilt(function, kept, until, stalled) if len(losses) == 1 else ()
    with _registered(function, kept, losses[0]) as course:
        if _batches_sorted(function, kept):
            yield _shuffled(course)
        large = _large(course)
        if not stalled and not large:
            return
        own = _trial(course, "as_it_is")
        yield own
        for place in large:
            yield _trial(course, "standardised", float(place))
        # steps that leave the weights where they were ask for larger ones, all others for smaller
        still = own.value < _UNMOVED or np.ptp(own.losses) < _STILL * abs(own.losses[0])
        rates = _FASTER if still else _RATES
        if 0 < own.value < _UNMOVED:  # what would move the weights by about themselves
            rates = tuple(dict.fromkeys((10.0 ** round(-math.log10(own.value)), *rates)))
        for rate in rates if stalled else ():
            if perf_counter() > until:
                return
            yield _trial(course, "rate", rate)


@contextmanager
def _registered(function: Function, kept: KeptSteps, loss: str) -> Iterator[_Course]:
    """The function with its loss as a further output, for as long as the block lasts."""
    places = {name: place for place, name in enumerate(function.arguments)}
    trained = tuple(places[each.resource] for each in function.trained)
    definition = private.function_definition(kept.function)
    outputs = len(definition.signature.output_arg)
    definition.signature.output_arg.add(name="tfmagic_loss", type=function.kind(loss))
    definition.ret["tfmagic_loss"] = loss
    definition.signature.name += "__tfmagic_trial"
    private.add_function(definition)
    try:
        yield _Course(definition.signature.name, outputs + 1, kept, trained)
    finally:
        private.remove_function(definition.signature.name)


def _rebuilt(function: Function, kept: KeptSteps, until: float, stalled: bool) -> Iterator[Trial]:
    """What the signs of the graph call for, each tried with the graph built anew."""
    StepReplay(kept)  # raises for what must not run again
    if len(function.nodes) > _LARGEST:
        return
    handles = dict(zip(function.arguments, kept.steps[0].inputs, strict=False))
    own: dict[tuple[str, ...], tuple[float, ...]] = {}
    for suspect in suspects(function, kept, stalled):
        if perf_counter() > until:
            return
        terms = suspect.change.terms
        try:
            if terms not in own:
                own[terms] = _course(Rebuilt(function, kept, Change(terms=terms)), kept)
            changed = Rebuilt(function, kept, suspect.change)
            if suspect.start is not None:
                held = {name: v.numpy() for name, v in changed.variables.items()}
                for name, value in suspect.start(held).items():
                    changed.variables[name].assign(value)
            losses = _course(changed, kept)
        except Exception:  # a graph that cannot be built anew: then this was not tried
            continue
        names = tuple(str(handles[n]._id) if n in handles else n for n in suspect.names)
        place = source_place(function, suspect.node)
        yield Trial(suspect.kind, 0.0, losses, names, own[terms], *place)


def _course(rebuilt: Rebuilt, kept: KeptSteps) -> tuple[float, ...]:
    found = list[float]()
    for number in range(_LONG):
        found.append(rebuilt.step(kept.steps[number % len(kept.steps)]))
        if not np.isfinite(found[-1]):
            break
    return tuple(found)


def _trial(course: _Course, change: str, value: float = 0.0) -> Trial:
    steps = course.kept.steps
    rate = value if change == "rate" else 1.0
    scale = _scaling(course, int(value)) if change == "standardised" else None
    replay, found = StepReplay(course.kept), list[float]()
    for number in range(_STEPS):
        step = steps[number % len(steps)]
        if scale is not None:
            step = scale(step)
        before = [] if rate == 1.0 else [_variable(course, replay, step, p) for p in course.trained]
        old = [variable.read_value() for variable in before]
        made, _ = private.call_unheard(course.name, replay.inputs(step), course.outputs)
        for variable, was in zip(before, old, strict=True):
            variable.assign(was + rate * (variable - was))
        found.append(float(np.mean(np.asarray(made[-1], float))))
        if not np.isfinite(found[-1]):
            break
    if change == "as_it_is":
        value = _moved(course, replay)
    return Trial(change, value, tuple(found))


def _moved(course: _Course, replay: StepReplay) -> float:
    """By what share of themselves the weights were moved, all together."""
    first = course.kept.steps[0].inputs
    pairs = [(course.kept.variables[first[p]._id], replay.variables[first[p]._id])
             for p in course.trained]  # fmt: skip
    change = sum(float(np.sum(np.square(np.asarray(b) - np.asarray(a)))) for a, b in pairs)
    size = sum(float(np.sum(np.square(np.asarray(a)))) for a, _ in pairs)
    return float(np.sqrt(change / size)) if size and np.isfinite(change) else 1.0


def _batches_sorted(function: Function, kept: KeptSteps) -> bool:
    pair = pairing(kept)
    return pair is not None and pair.batches == "sorted"


def _shuffled(course: _Course) -> Trial:
    """The rows of all batches mixed; both courses are measured on the batches as they came."""
    import tensorflow as tf

    steps = course.kept.steps
    rows = len(steps[0].inputs[_batch_places(course)[0]])
    full = [s for s in steps if len(s.inputs[_batch_places(course)[0]]) == rows]
    order = np.random.RandomState(0).permutation(rows * len(full)).reshape(len(full), rows)
    mixed = {
        place: np.concatenate([np.asarray(s.inputs[place]) for s in full])
        for place in _batch_places(course)
    }
    new = [
        step._replace(
            inputs=tuple(
                tf.constant(mixed[p][order[i]], t.dtype) if p in mixed else t
                for p, t in enumerate(step.inputs)
            )
        )
        for i, step in enumerate(full)
    ]
    told = [_measured(course, each) for each in (new, full)]
    return Trial("shuffled", 0.0, told[0], own=told[1])


def _batch_places(course: _Course) -> list[int]:
    """The places of what a step takes row by row."""
    given = enumerate(course.kept.steps[0].inputs)
    mine = [(p, t) for p, t in given if t._id not in course.kept.variables and t.shape.rank]
    return [p for p, t in mine if t.shape[0] == mine[0][1].shape[0]]


def _measured(course: _Course, steps: Sequence[KeptStep]) -> tuple[float, ...]:
    """The loss over some of the batches as they came, before these steps and after each round."""
    replay = StepReplay(course.kept)

    def loss(step: KeptStep) -> float:
        made, _ = private.call_unheard(course.name, replay.inputs(step), course.outputs)
        return float(np.mean(np.asarray(made[-1], float)))

    def whole() -> float:
        held = {key: v.read_value() for key, v in replay.variables.items()}
        every = course.kept.steps[:: max(1, len(course.kept.steps) // 16)]
        found = []
        for step in every:
            found.append(loss(step))
            for key, value in held.items():
                replay.variables[key].assign(value)
        return float(np.mean(found))

    told = [whole()]
    for _ in range(max(2, _STEPS // len(steps))):
        for step in steps:
            loss(step)
        told.append(whole())
    return tuple(told)


def _variable(course: _Course, replay: StepReplay, step: KeptStep, place: int) -> Any:
    return replay.variables[step.inputs[place]._id]


def _large(course: _Course) -> list[int]:
    """The places of inputs whose numbers are far from mean zero and spread one."""
    found = []
    for place, tensor in enumerate(course.kept.steps[0].inputs):
        if tensor.dtype.is_floating and tensor.shape.rank:
            array = np.asarray(tensor, float)
            far = abs(float(array.mean())) > _LARGE or float(array.std()) > _LARGE
            if array.size and np.isfinite(array).all() and far:
                found.append(place)
    return found


def _scaling(course: _Course, place: int) -> Callable[[KeptStep], KeptStep]:
    """Brings an input of every step to mean zero and spread one, each column by itself."""
    import tensorflow as tf

    arrays = [np.asarray(step.inputs[place], float) for step in course.kept.steps]
    rows = [a.reshape(-1, a.shape[-1]) if a.ndim > 1 else a[:, None] for a in arrays]
    every = np.concatenate(rows)
    mean, spread = every.mean(axis=0), every.std(axis=0) + 1e-12

    def scaled(step: KeptStep) -> KeptStep:
        tensor = step.inputs[place]
        array = np.asarray(tensor, float)
        new = (array - mean) / spread if array.ndim > 1 else (array - mean[0]) / spread[0]
        inputs: Sequence[Any] = step.inputs
        changed = tf.constant(new, tensor.dtype)
        return step._replace(inputs=(*inputs[:place], changed, *inputs[place + 1 :]))

    return scaled
