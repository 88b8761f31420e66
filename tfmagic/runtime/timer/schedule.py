"""What is run when, and when it is enough.  Neither TensorFlow nor a real clock is in here.

The statement is run in blocks of about half a millisecond: short enough that most blocks are
left alone by everything else on the machine, long enough for the clock.  Variants take turns,
in a new random order each round, so that whatever slows the machine slows all of them.

A block is left out only for a cause that was seen (the garbage collector ran, the process
was put off its core), never for being slow.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from tfmagic.analysis.bench import kept, resolved
from tfmagic.analysis.statistics import Interval, median_interval
from tfmagic.runtime.capture.interrupts import by_handler

__all__ = ["Course", "Plan", "Spoilers", "judge", "take_turns"]

Clock = Callable[[], float]

#: Seconds for a variant, and at each of the many points of a sweep.
BUDGET, POINT_BUDGET = 2.0, 0.5
#: Independent blocks that an interval must be worth before it can end a measurement.
ENOUGH = 25


class Spoilers(Protocol):
    """What can go wrong in a block, looked at before and after."""

    def begin(self) -> None:
        """A block begins."""

    def end(self) -> str:
        """The cause that spoilt the block, or nothing."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure, all times in seconds.

    ``budget`` is for each variant; ``precision`` half the interval's width as a share of
    the median, at which it is enough, and so for each ratio to the first variant.  ``loops``
    and ``repeat`` are as in ``%timeit``: runs in a block and number of blocks; with ``repeat``
    the budget does not count.  ``least`` is the share of the budget that is spent even when
    the interval is narrow earlier.
    """

    budget: float = BUDGET
    precision: float = 0.01
    block: float = 5e-4
    loops: int | None = None
    repeat: int | None = None
    least: float = 0.2
    warm_up: float = 0.1

    @classmethod
    def given(
        cls, budget: float | None, loops: int | None, repeat: int | None, *, swept: bool
    ) -> Plan:
        """As the user asks; without a ``budget`` the usual one, less where points are ``swept``."""
        if budget is None:
            budget = POINT_BUDGET if swept else BUDGET
        return cls(budget=budget, loops=loops, repeat=repeat)

    @property
    def asked(self) -> bool:
        """Whether the number of blocks is given."""
        return self.repeat is not None


@dataclass(slots=True)
class Course:
    """One variant on its way: ``run(loops)`` runs it and waits until the work is done.

    Each block stands inside ``around``, which is not timed.  ``block`` is the least length
    of a block in seconds, where waiting for the device takes a longer one.
    """

    run: Callable[[int], Any]
    around: Callable[[], AbstractContextManager[Any]] = nullcontext
    block: float = 0.0
    single: bool = False
    loops: int = 1
    rounds: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    spoilt: list[tuple[int, str]] = field(default_factory=list)
    spent: float = 0.0
    stopped: str = ""
    error: BaseException | None = None
    interval: Interval | None = None

    @property
    def middle(self) -> float:
        """The median in seconds, 0 before there is one."""
        return self.interval.median if self.interval else 0.0

    def take(self, clock: Clock, spoilers: Spoilers, turn: int) -> None:
        """One block."""
        seconds, cause = self.timed(clock, spoilers, self.loops)
        if cause:
            self.spoilt.append((len(self.times), cause))
        self.rounds.append(turn)
        self.times.append(seconds / self.loops)
        self.spent += seconds

    def timed(self, clock: Clock, spoilers: Spoilers, loops: int) -> tuple[float, str]:
        """Seconds for ``loops`` runs, and what spoilt them."""
        run = self.run
        with self.around():
            spoilers.begin()
            start = clock()
            held = run(loops)
            seconds = clock() - start
            cause = spoilers.end()
        del held  # not before the clock has stopped
        return seconds, cause


def take_turns(
    courses: Sequence[Course],
    plan: Plan,
    clock: Clock,
    spoilers: Spoilers,
    order: random.Random,
    progress: Callable[[float], None] = lambda share: None,
) -> bool:
    """Measure all ``courses`` until each is precise or out of time; True if interrupted.

    What a course raises ends that course alone, with what it has.
    """
    live = list(courses)
    try:
        for course in list(live):
            _guarded(course, live, partial(_settle, course, plan, clock, spoilers))
        _rounds(live, plan, clock, spoilers, order, progress)
    except KeyboardInterrupt:
        for course in live:
            course.stopped = course.stopped or "interrupted"
        return True
    finally:
        for course in courses:
            judge(course)
    return False


def _settle(course: Course, plan: Plan, clock: Clock, spoilers: Spoilers) -> None:
    """Find how many runs make a block, and warm up.

    Warm is a variant when its runs no longer get faster: the best of the latest blocks is
    not better than the best before them by more than 3 %.
    """
    block, fixed = max(plan.block, course.block), plan.loops or (1 if course.single else 0)
    course.loops, spent, best = fixed or 1, 0.0, float("inf")
    while True:
        times = []
        for _ in range(3):
            seconds, _ = course.timed(clock, spoilers, course.loops)
            times.append(seconds)
            if spent + sum(times) > plan.budget:
                break
        latest, spent = min(times) / course.loops, spent + sum(times)
        warm = latest > 0.97 * best or spent > plan.warm_up * plan.budget
        best = min(best, latest)
        if fixed:
            if warm:
                return
            continue
        long_enough = course.loops * latest >= block / 2
        course.loops = _fitting(block, best, 10 * course.loops)
        if (long_enough and warm) or spent > plan.budget:
            return


def _fitting(block: float, per_run: float, most: int) -> int:
    return max(1, min(most, round(block / max(per_run, 1e-10))))


def _rounds(
    live: list[Course],
    plan: Plan,
    clock: Clock,
    spoilers: Spoilers,
    order: random.Random,
    progress: Callable[[float], None],
) -> None:
    everyone, start, turn, looked = len(live), clock(), 0, 0.0
    budget = plan.budget * everyone
    while live:
        for course in order.sample(live, len(live)):
            _guarded(course, live, partial(course.take, clock, spoilers, turn))
        turn += 1
        elapsed = clock() - start
        if plan.repeat is not None:
            progress(turn / plan.repeat)
            if turn >= plan.repeat:
                return _stop(live, "asked")
            continue
        if elapsed >= budget:
            return _stop(live, "time")
        if elapsed >= 1.1 * looked and elapsed >= plan.least * budget / 2:
            looked = elapsed
            progress(min(1.0, elapsed / budget))
            if elapsed >= plan.least * budget and _enough(live, plan):
                return _stop(live, "precise")
    return None


def _stop(live: list[Course], why: str) -> None:
    for course in live:
        course.stopped = why


def _enough(live: Sequence[Course], plan: Plan) -> bool:
    """Whether every figure is precise, and every ratio to the first."""
    return all(_precise(course, plan) for course in live) and all(
        resolved(live[0], course, plan.precision) for course in live[1:]
    )


def _precise(course: Course, plan: Plan) -> bool:
    judge(course)
    found = course.interval
    return found is not None and found.spread <= plan.precision and found.effective >= ENOUGH


def judge(course: Course) -> None:
    """Set the course's interval from the blocks that count.

    Where most blocks are spoilt, none is left out.
    """
    if not course.times:
        return
    course.interval = median_interval([seconds for _, seconds in kept(course)])


def _guarded(course: Course, live: list[Course], step: Callable[[], None]) -> None:
    """Run a step of one course; an error of the statement's ends that course."""
    try:
        step()
    except Exception as error:
        if by_handler(error):  # an alarm of the user's ends more than this course
            raise
        course.error, course.stopped = error, "raised"
        live.remove(course)
