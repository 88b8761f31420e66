"""What to write instead: repairs made of the user's own lines.

Each rule takes the :class:`FixContext` of one gradient and answers one or a few
:class:`~tfmagic.model.Repair`, the new text of some lines of a cell, or nothing where it finds
nothing to hold on to.  They are candidates, best first: each has to be tried before it is
offered, and where none cures the catalogue's advice stands in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tfmagic.analysis.repair import (
    assignment_fixes,
    call_fixes,
    finite,
    host_transfer_fixes,
    scope_fixes,
    surrogate_gradients,
)
from tfmagic.analysis.repair.fix_context import FixContext
from tfmagic.model import Repair

__all__ = ["FixContext", "candidates"]

Rule = Callable[[FixContext], "Repair | Iterable[Repair | None] | None"]

_RULES: dict[str, Rule] = {
    "not_watched": call_fixes.watch,
    "not_trainable": call_fixes.watch,
    "rebound": assignment_fixes.assign,
    "not_float": assignment_fixes.as_float,
    "left_tensorflow": host_transfer_fixes.stay,
    "frozen_at_trace": assignment_fixes.trace_again,
    "stop_gradient": surrogate_gradients.let_through,
    "through_integer": surrogate_gradients.smooth_choice,
    "no_gradient_op": surrogate_gradients.straight_through,
    "state": assignment_fixes.keep_value,
    "outside_tape": scope_fixes.onto_the_tape,
    "custom_gradient": assignment_fixes.inner_tape,
    "dead_relu": surrogate_gradients.leaky,
    "clipped": surrogate_gradients.straight_through,
    "saturated": surrogate_gradients.unsaturated,
    "flat_op": surrogate_gradients.sloped,
    "underflow": call_fixes.ask_scaled,
    "cancelled": surrogate_gradients.not_constant,
    "zero_input": assignment_fixes.not_zero,
    "unused_rows": call_fixes.smooth_maximum,
    "domain_edge": finite.away_from_the_edge,
    "overflow": finite.within_range,
    "where_branch": finite.inner_where,
    "nan_input": finite.only_finite,
    "tape_used_up": call_fixes.persistent,
    "no_gradient_registered": surrogate_gradients.differentiable,
    "vanishing": surrogate_gradients.passing,
}
#: Findings that no change of a line can mend, or that have more than one mend.
_ADVICE = {
    "empty", "dropped", "overwritten", "itself", "one_alone", "normalised", "in_control",
    "py_function", "flat_slope", "too_small", "clipped_probability", "mean_of_nothing",
    "not_finite", "at_bound", "flat_here", "gradient_too_large",
}  # fmt: skip


def candidates(scene: FixContext) -> tuple[Repair, ...]:
    """The repairs to try for what was found; none where only advice can be given."""
    rule = _RULES.get(scene.finding.code)
    if rule is None or scene.finding.words in _ADVICE:
        return ()
    found = rule(scene)
    several = (found,) if isinstance(found, Repair) else found or ()
    return tuple(dict.fromkeys(r for r in several if r is not None))
