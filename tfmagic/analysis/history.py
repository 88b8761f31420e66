"""A cell that asks for gradients again and again (a training loop) as one course of figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tfmagic.model import Gradient, GradientCall, Recording

__all__ = ["Course", "History", "histories"]

#: As many calls on one line make a history.
FEWEST = 3


@dataclass(frozen=True, slots=True)
class Course:
    """One figure over the steps: None where there was none, NaN and infinity as they were."""

    name: str
    values: tuple[float | None, ...]

    @property
    def finite(self) -> tuple[float, ...]:
        """The values that can be drawn."""
        return tuple(v for v in self.values if v is not None and math.isfinite(v))

    @property
    def first_trouble(self) -> int | None:
        """The first step (from 1) without a finite value, or None."""
        for step, value in enumerate(self.values, 1):
            if value is None or not math.isfinite(value):
                return step
        return None


@dataclass(frozen=True, slots=True)
class History:
    """The calls of ``gradient`` on one line: the target's value and each gradient's norm.

    ``line`` indexes :attr:`Recording.lines`.  A target of several elements counts by their
    mean, which ``mean`` says; ``target`` is None where no value of it was kept.
    """

    cell: int
    line: int
    target: Course | None
    gradients: tuple[Course, ...]
    mean: bool = False

    @property
    def steps(self) -> int:
        """The number of calls."""
        return len(self.gradients[0].values) if self.gradients else 0


def histories(recording: Recording) -> tuple[History, ...]:
    """One history for each line that asked for the same gradients three times or more."""
    found: dict[tuple[int, int, tuple[str, ...]], list[GradientCall]] = {}
    for call in recording.gradients:
        if call.line is not None and call.gradients and call.origin == "cell":
            names = tuple(gradient.source for gradient in call.gradients)
            found.setdefault((call.cell, call.line, names), []).append(call)
    return tuple(
        _history(recording, cell, line, names, calls)
        for (cell, line, names), calls in found.items()
        if len(calls) >= FEWEST
    )


def _history(
    recording: Recording,
    cell: int,
    line: int,
    names: Sequence[str],
    calls: Sequence[GradientCall],
) -> History:
    targets = [_target(recording, call) for call in calls]
    name = " + ".join(calls[-1].targets)
    course = Course(name, tuple(value for value, _ in targets))
    gradients = tuple(
        Course(source, tuple(_norm(call.gradients[place]) for call in calls))
        for place, source in enumerate(names)
    )
    known = course if course.finite or any(v is not None for v in course.values) else None
    return History(cell, line, known, gradients, any(several for _, several in targets))


def _target(recording: Recording, call: GradientCall) -> tuple[float | None, bool]:
    """The value that was differentiated, and whether it is the mean of several."""
    figures = [recording.tensors[t].value.stats for t in call.target_tensors]
    if not figures or any(stats is None for stats in figures):
        return None, False
    total = 0.0
    for stats in figures:
        if stats is None or not stats.finite:
            return math.nan, False
        total += stats.mean or 0.0
    return total, any(stats is not None and stats.count > 1 for stats in figures)


def _norm(gradient: Gradient) -> float | None:
    """The norm; NaN or infinity where an element is; None for a gradient that is None."""
    stats = gradient.value.stats if gradient.value is not None else None
    if stats is None:
        return None
    if stats.nan:
        return math.nan
    return math.inf if stats.inf else stats.norm
