"""What to write instead: repairs made of the user's own lines.

Each rule takes the :class:`FixContext` of one gradient and answers a :class:`Repair`, the new
text of some lines of a cell, or None where it finds nothing to hold on to.  Then the
catalogue's advice stands in its place.
"""

from __future__ import annotations

from collections.abc import Callable

from tfmagic.analysis.repair import (
    assignment_fixes,
    call_fixes,
    finite,
    host_transfer_fixes,
    scope_fixes,
    surrogate_gradients,
)
from tfmagic.analysis.repair.fix_context import FixContext, Repair
from tfmagic.model import Op

__all__ = ["FixContext", "Repair", "repair"]

_RULES: dict[str, Callable[[FixContext], Repair | None]] = {
    "not_watched": call_fixes.watch,
    "not_trainable": call_fixes.watch,
    "rebound": assignment_fixes.assign,
    "wrong_object": call_fixes.ask_for_root,
    "made_later": call_fixes.ask_for_root,
    "not_float": assignment_fixes.as_float,
    "unused": call_fixes.take_out,
    "left_tensorflow": host_transfer_fixes.stay,
    "frozen_at_trace": assignment_fixes.trace_again,
    "stop_gradient": surrogate_gradients.let_through,
    "through_integer": surrogate_gradients.smooth_choice,
    "no_gradient_op": surrogate_gradients.straight_through,
    "state": assignment_fixes.keep_value,
    "outside_tape": scope_fixes.onto_the_tape,
    "custom_gradient": assignment_fixes.inner_tape,
    "disconnected": call_fixes.ask_another_target,
    "dead_relu": surrogate_gradients.leaky,
    "clipped": surrogate_gradients.straight_through,
    "saturated": surrogate_gradients.unsaturated,
    "flat_op": surrogate_gradients.sloped,
    "underflow": call_fixes.ask_scaled,
    "cancelled": surrogate_gradients.not_constant,
    "zero_input": assignment_fixes.not_zero,
    "unused_rows": call_fixes.ask_for_rows,
    "domain_edge": finite.away_from_the_edge,
    "overflow": finite.within_range,
    "where_branch": finite.inner_where,
    "nan_input": finite.only_finite,
    "tape_used_up": call_fixes.persistent,
    "no_gradient_registered": surrogate_gradients.differentiable,
    "broadcast": lambda scene: None,
    "vanishing": surrogate_gradients.passing,
    "exploding": call_fixes.clip,
}
_STOPPED = {"stop_gradient", "through_integer", "no_gradient_op"}
#: Findings that no change of a line can mend, or that have more than one mend.
_ADVICE = {
    "empty", "dropped", "overwritten", "itself", "one_alone", "normalised", "in_control",
    "py_function", "flat_slope", "too_small", "clipped_probability", "mean_of_nothing",
    "not_finite", "at_bound", "flat_here", "gradient_too_large",
}  # fmt: skip


def repair(scene: FixContext) -> Repair | None:
    """The repair for what was found, or None where only advice can be given."""
    if scene.finding.words in _ADVICE:
        return None
    found = _RULES[scene.finding.code](scene)
    if found is None or _changes_nothing(scene, found) or _is_not_all(scene, found):
        return None
    return found


def _is_not_all(scene: FixContext, found: Repair) -> bool:
    """Whether another op, beyond the lines of the repair, lets no gradient through either."""
    stop = scene.op
    if stop is None or scene.finding.code not in _STOPPED:
        return False
    lines, mended = scene.recording.lines, range(found.first, found.last + 1)

    def crossing(op: Op) -> bool:
        frames = (lines[frame.line] for frame in op.stack)
        here = any(line.cell == found.cell and line.number in mended for line in frames)
        mends = scene.finding.code == "through_integer" or op.type == stop.type
        return (here and mends) or not scene.ways.blocks(op)

    return not scene.ways.leads(stop, scene.call, crossing)


def _changes_nothing(scene: FixContext, found: Repair) -> bool:
    lines = scene.recording.cells[found.cell].source.split("\n")[found.first - 1 : found.last]
    return [line.strip() for line in lines] == [line.strip() for line in found.text.split("\n")]
