"""What to write instead: repairs made of the user's own lines.

Each rule takes the :class:`Scene` of one gradient and answers a :class:`Repair`, the new
text of some lines of a cell, or None where it finds nothing to hold on to.  Then the
catalogue's advice stands in its place.
"""

from __future__ import annotations

from collections.abc import Callable

from tfmagic.analysis.repair import asking, finite, giving, leaving, moving, slopes
from tfmagic.analysis.repair.scene import Repair, Scene
from tfmagic.model import Op

__all__ = ["Repair", "Scene", "repair"]

_RULES: dict[str, Callable[[Scene], Repair | None]] = {
    "not_watched": asking.watch,
    "not_trainable": asking.watch,
    "rebound": giving.assign,
    "wrong_object": asking.ask_for_root,
    "made_later": asking.ask_for_root,
    "not_float": giving.as_float,
    "unused": asking.take_out,
    "left_tensorflow": leaving.stay,
    "frozen_at_trace": giving.trace_again,
    "stop_gradient": slopes.let_through,
    "through_integer": slopes.smooth_choice,
    "no_gradient_op": slopes.straight_through,
    "state": giving.keep_value,
    "outside_tape": moving.onto_the_tape,
    "custom_gradient": giving.inner_tape,
    "disconnected": asking.ask_another_target,
    "dead_relu": slopes.leaky,
    "clipped": slopes.straight_through,
    "saturated": slopes.unsaturated,
    "flat_op": slopes.sloped,
    "underflow": asking.ask_scaled,
    "cancelled": slopes.not_constant,
    "zero_input": giving.not_zero,
    "unused_rows": asking.ask_for_rows,
    "domain_edge": finite.away_from_the_edge,
    "overflow": finite.within_range,
    "where_branch": finite.inner_where,
    "nan_input": finite.only_finite,
    "tape_used_up": asking.persistent,
    "no_gradient_registered": slopes.differentiable,
    "vanishing": slopes.passing,
    "exploding": asking.clip,
}
_STOPPED = {"stop_gradient", "through_integer", "no_gradient_op"}
#: Findings that no change of a line can mend, or that have more than one mend.
_ADVICE = {
    "empty", "dropped", "overwritten", "itself", "one_alone", "normalised", "in_control",
    "py_function", "flat_slope", "too_small", "clipped_probability", "mean_of_nothing",
    "not_finite", "at_bound", "flat_here", "gradient_too_large",
}  # fmt: skip


def repair(scene: Scene) -> Repair | None:
    """The repair for what was found, or None where only advice can be given."""
    if scene.finding.words in _ADVICE:
        return None
    found = _RULES[scene.finding.code](scene)
    if found is None or _changes_nothing(scene, found) or _is_not_all(scene, found):
        return None
    return found


def _is_not_all(scene: Scene, found: Repair) -> bool:
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


def _changes_nothing(scene: Scene, found: Repair) -> bool:
    lines = scene.recording.cells[found.cell].source.split("\n")[found.first - 1 : found.last]
    return [line.strip() for line in lines] == [line.strip() for line in found.text.split("\n")]
