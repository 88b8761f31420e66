"""Why does it not learn?  The first steps of a run are made again, on copies, with one thing
changed, and the losses are compared.

The steps are those of the recorded run: from its first weights, on its batches, in its own
compiled graph.  The user's variables are not touched, and none of their Python runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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

__all__ = ["trials"]

#: Steps of a trial, and the seconds that one run's trials may take: a share of the run's own,
#: though never less than the one nor more than the other.
_STEPS, _SHARE, _SHORTEST, _LONGEST = 48, 0.2, 0.5, 2.0
#: The rates that are tried, as multiples of the run's own.
_RATES = (0.1, 10.0, 0.01, 100.0, -1.0, 0.001, 1000.0)
_FASTER = (1000.0, 100.0, 10.0, -1.0, 10_000.0, 0.1)
#: A loss that moved by less than this share of itself stood still, but for its batches.
_STILL = 0.15
#: Numbers so large or so far from zero are tried brought to mean zero and spread one.
_LARGE = 5.0


@dataclass(slots=True)
class _Course:
    """A function that makes a step and tells its loss, and what was kept to start from."""

    name: str
    outputs: int
    kept: KeptSteps
    trained: tuple[int, ...]


def trials(kept: KeptSteps, seconds: float) -> tuple[Trial, ...]:
    """The run as it was and with one thing changed, each for the same steps.

    ``seconds`` is the time that the run took.  Empty where the steps cannot be made again.
    """
    until = perf_counter() + min(_LONGEST, max(_SHORTEST, _SHARE * seconds))
    try:
        return tuple(aside(lambda: list(_tried(kept, until))))
    except Exception:  # an op that does not run again: then nothing was tried
        return ()


def _tried(kept: KeptSteps, until: float) -> Iterator[Trial]:
    function = Function(kept.function, kept.graph)
    losses = [trained.loss for trained in function.trained if trained.loss]
    if not losses or not kept.steps:
        return
    places = {name: place for place, name in enumerate(function.arguments)}
    trained = tuple(places[each.resource] for each in function.trained)
    outputs = len(function.definition.signature.output_arg)
    function.definition.signature.output_arg.add(name="tfmagic_loss", type=function.kind(losses[0]))
    function.definition.ret["tfmagic_loss"] = losses[0]
    function.definition.signature.name += "__tfmagic_trial"
    private.add_function(function.definition)
    course = _Course(function.definition.signature.name, outputs + 1, kept, trained)
    try:
        own = _trial(course, "as_it_is")
        yield own
        # steps that leave the loss where it was ask for larger ones, all others for smaller
        still = np.ptp(own.losses) < _STILL * abs(own.losses[0])
        for rate in _FASTER if still else _RATES:
            if perf_counter() > until:
                return
            yield _trial(course, "rate", rate)
        for place in _large(course):
            if perf_counter() > until:
                return
            yield _trial(course, "standardised", float(place))
    finally:
        private.remove_function(course.name)


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
    return Trial(change, value, tuple(found))


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
