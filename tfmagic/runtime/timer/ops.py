"""Each op of a run by itself: recorded once, then run again on the very inputs of that run."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any

from tfmagic.model.bench import OpTime
from tfmagic.runtime.autodiff.kernels import run_op
from tfmagic.runtime.capture.log import Entry
from tfmagic.runtime.op_traits import reason
from tfmagic.runtime.tape.tape import Tape
from tfmagic.runtime.timer.interference import Watch
from tfmagic.runtime.timer.schedule import Clock, Course, Plan, take_turns
from tfmagic.runtime.timer.variant import Variant

__all__ = ["op_times"]

#: Different ops that are timed; the rest of a large run is counted.
MOST = 60


def op_times(variant: Variant, budget: float, clock: Clock) -> tuple[tuple[OpTime, ...], bool]:
    """How long each op of one eager run takes, ops of one type and shape together; and whether
    an interrupt ended it, which leaves the rest without a time.

    ``budget`` is in seconds, for all of them.  Ops that cannot run again (a random draw, the
    user's Python, an assignment) are listed with the reason instead of a time.
    """
    alike: dict[tuple[Any, ...], list[Entry]] = {}
    with variant.place.scope(), Tape(dict, everything=True) as tape:
        variant.run(1)
    for entry in tape.log.entries:
        if entry.call < 0 and not entry.settled:
            alike.setdefault(_kind(entry), []).append(entry)
    groups = sorted(alike.values(), key=len, reverse=True)
    timed = [group for group in groups if not reason(group[0].type)][:MOST]
    courses = [Course(_again(group[0], variant), variant.place.scope) for group in timed]
    plan = Plan(budget=budget / max(1, len(courses)), least=1.0)
    with Watch() as spoilers:
        interrupted = take_turns(courses, plan, clock, spoilers, random.Random())
    by_group = {id(group): course for group, course in zip(timed, courses, strict=True)}
    found = [_described(group, by_group.get(id(group))) for group in groups]
    by_time = sorted(found, key=lambda op: -(op.seconds or 0.0) * op.count)
    return tuple(by_time), interrupted


def _kind(entry: Entry) -> tuple[Any, ...]:
    shapes = tuple((tuple(t.shape), t.dtype.name) for t in entry.inputs)
    return entry.type, shapes, repr(entry.attrs)


def _again(entry: Entry, variant: Variant) -> Callable[[int], Any]:
    wait, inputs = variant.wait, list(entry.inputs)

    def run(loops: int) -> Any:
        made: Sequence[Any] = ()
        for _ in repeat(None, loops):
            made = run_op(entry, inputs)
        if wait is not None:
            wait(made)
        return made

    return run


def _described(group: Sequence[Entry], course: Course | None) -> OpTime:
    first, found = group[0], course.interval if course else None
    shapes = ", ".join(str(tuple(t.shape)) for t in first.inputs)
    why = reason(first.type)
    if course is None and not why:
        why = "many"
    elif course is not None and course.error is not None:
        why = "failed"
    elif found is None and not why:
        why = "interrupted"
    return OpTime(
        first.type,
        shapes,
        len(group),
        seconds=found.median if found else None,
        low=found.low if found else None,
        high=found.high if found else None,
        reason=why,
    )
