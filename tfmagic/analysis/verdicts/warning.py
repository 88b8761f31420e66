"""Gradients that shrink or grow again and again on their way back."""

from __future__ import annotations

from tfmagic.analysis.dependence import DependenceGraph, Finding, largest
from tfmagic.analysis.notation import number
from tfmagic.analysis.verdicts.constant import ConstantRules
from tfmagic.model import Gradient, GradientCall, Stats

__all__ = ["warning"]

#: Largest element of the gradient from where on its way is looked at, and how much it
#: must have changed on that way, in at least so many steps of at least this factor.
_SMALL, _LARGE = 1e-5, 1e3
_CHANGE, _STEPS, _STEP = 1e5, 4, 1.6
#: Ops whose gradient is a sum where an input was broadcast, and the relative rounding of a
#: term of such a sum.
_ADDING = {"AddV2", "Add", "BiasAdd", "Sub", "BroadcastTo"}
_ROUNDING = {"float64": 1e-15, "float32": 1e-6, "bfloat16": 3e-2, "float16": 5e-3}


def warning(ways: DependenceGraph, call: GradientCall, gradient: Gradient, stats: Stats) -> Finding:
    """``vanishing``, ``exploding`` or ``ok`` for a gradient that is there.

    One factor that is small or large is the user's own (a scaled loss); many in a row
    are what deep and recurrent networks suffer from.
    """
    here = largest([stats])
    if _SMALL < here < _LARGE or not here:
        return Finding("ok")
    shrunk = grown = 0
    before = start = 0.0
    moving, own = ways.reach(gradient, ways.ancestors(call)).any, ways.own(gradient)
    for op in reversed(ways.way(call, gradient)):
        passed = [t for t in op.inputs if t in moving]
        # what stays at a weight on the way says nothing of what went on
        there = largest(ways.gradients([t for t in passed if t not in own] or passed))
        if not there:
            continue
        if before:
            shrunk += there * _STEP <= before
            grown += there >= before * _STEP
        start = start or there
        before = there
    values = (("here", number(here, 3)), ("there", number(start, 3)))
    if here < _SMALL and here * _CHANGE < start:
        centred = ConstantRules(ways).centred(ways.way(call, gradient), gradient)
        if centred is not None:
            return centred
    if here < _SMALL and shrunk >= _STEPS and here * _CHANGE < start:
        if _rounded(ways, call, gradient):
            return Finding("ok")
        return Finding("vanishing", line=call.line, values=values)
    if here > _LARGE and grown >= _STEPS and here > start * _CHANGE:
        return Finding("exploding", line=call.line, values=values)
    return Finding("ok")


def _rounded(ways: DependenceGraph, call: GradientCall, gradient: Gradient) -> bool:
    """Whether the gradient did not shrink but is zero by nature, but for the rounding of terms
    that cancel out: a softmax does not change with the bias of an attention's keys."""
    moving = ways.reach(gradient, ways.ancestors(call)).any
    for op in ways.way(call, gradient):
        coming = ways.gradients(op.outputs)
        going = ways.gradients(t for t in op.inputs if t in moving)
        if op.type not in _ADDING or not coming or not going:
            continue
        terms = coming[0].count / max(1, going[0].count)
        noise = terms * _ROUNDING.get(gradient.dtype, 1e-6) * largest(coming)
        if terms > 1 and largest(going) < noise:
            return True
    return False
