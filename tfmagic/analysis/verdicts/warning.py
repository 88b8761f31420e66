"""Gradients that shrink or grow again and again on their way back."""

from __future__ import annotations

from tfmagic.analysis.notation import number
from tfmagic.analysis.ways import Finding, Ways, largest
from tfmagic.model import Gradient, GradientCall, Stats

__all__ = ["warning"]

#: Largest element of the gradient from where on its way is looked at, and how much it
#: must have changed on that way, in at least so many steps of at least this factor.
_SMALL, _LARGE = 1e-5, 1e3
_CHANGE, _STEPS, _STEP = 1e5, 4, 1.6


def warning(ways: Ways, call: GradientCall, gradient: Gradient, stats: Stats) -> Finding:
    """``vanishing``, ``exploding`` or ``ok`` for a gradient that is there.

    One factor that is small or large is the user's own (a scaled loss); many in a row
    are what deep and recurrent networks suffer from.
    """
    here = largest([stats])
    if _SMALL < here < _LARGE or not here:
        return Finding("ok")
    shrunk = grown = 0
    before = start = 0.0
    for op in reversed(ways.way(call, gradient)):
        there = largest(ways.gradients(op.inputs))
        if not there:
            continue
        if before:
            shrunk += there * _STEP <= before
            grown += there >= before * _STEP
        start = start or there
        before = there
    values = (("here", number(here, 3)), ("there", number(start, 3)))
    if here < _SMALL and shrunk >= _STEPS and here * _CHANGE < start:
        return Finding("vanishing", line=call.line, values=values)
    if here > _LARGE and grown >= _STEPS and here > start * _CHANGE:
        return Finding("exploding", line=call.line, values=values)
    return Finding("ok")
