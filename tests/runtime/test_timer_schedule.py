"""The schedule of the stopwatch: what is run when, and when it is enough."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tfmagic.analysis.bench import (
    resolved,
)
from tfmagic.runtime.timer.schedule import Course, Plan, take_turns


class Clock:
    """A clock that only what is run moves forward."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: float) -> Callable[[int], None]:
        """A statement of so many seconds."""

        def run(loops: int) -> None:
            self.now += seconds * loops

        return run


class Quiet:
    """Nothing spoils a block, unless it is told so."""

    def __init__(self, *causes: str) -> None:
        self.causes: Iterator[str] = iter(causes)

    def begin(self) -> None:
        pass

    def end(self) -> str:
        return next(self.causes, "")


def measured(*seconds: float, plan: Plan | None = None, spoilers: Any = None) -> list[Course]:
    clock = Clock()
    courses = [Course(clock.work(s)) for s in seconds]
    take_turns(courses, plan or Plan(), clock, spoilers or Quiet(), random.Random(0))
    return courses


@pytest.mark.parametrize("seconds", [1e-7, 3e-5, 2e-4, 0.005])
def test_a_block_takes_about_half_a_millisecond(seconds: float) -> None:
    (course,) = measured(seconds)
    assert course.loops == pytest.approx(max(1, 5e-4 / seconds), abs=0.6, rel=0.01)
    assert course.interval and course.interval.median == pytest.approx(seconds)
    assert course.stopped == "precise"


def test_variants_take_turns_in_changing_order() -> None:
    ran: list[str] = []
    clock = Clock()

    def runner(name: str) -> Callable[[int], None]:
        def run(loops: int) -> None:
            ran.append(name)
            clock.now += 1e-3

        return run

    courses = [Course(runner(name)) for name in "abc"]
    take_turns(courses, Plan(budget=1.0, repeat=50), clock, Quiet(), random.Random(0))
    turns = ["".join(ran[-150:][i : i + 3]) for i in range(0, 150, 3)]
    assert {"".join(sorted(turn)) for turn in turns} == {"abc"}
    assert len(set(turns)) > 3
    assert all(course.rounds == list(range(50)) for course in courses)


def test_it_stops_when_the_time_is_up() -> None:
    clock, rng = Clock(), random.Random(0)

    def noisy(loops: int) -> None:
        clock.now += loops * 1e-3 * rng.choice([1, 50])

    course = Course(noisy)
    take_turns([course], Plan(budget=0.5), clock, Quiet(), random.Random(0))
    assert course.stopped == "time" and course.spent == pytest.approx(0.5, abs=0.06)


def test_it_goes_on_until_the_ratio_of_two_is_known_too() -> None:
    """Each figure is known to 1 % in a fifth of the time, but not yet the ratio of the two."""
    rng, clock = np.random.default_rng(0), Clock()

    def noisy(loops: int) -> None:
        clock.now += loops * 1e-3 * rng.normal(1, 0.03)

    alone, courses = Course(noisy), [Course(noisy), Course(noisy)]
    take_turns([alone], Plan(budget=0.6), clock, Quiet(), random.Random(0))
    take_turns(courses, Plan(budget=0.6), clock, Quiet(), random.Random(0))
    assert len(courses[0].times) > 1.5 * len(alone.times)
    assert resolved(*courses, 0.01) and {course.stopped for course in courses} == {"precise"}


def test_a_large_ratio_need_not_be_known_closely() -> None:
    rng = np.random.default_rng(0)

    def course(factor: float) -> Course:
        times = factor * rng.normal(1, 0.1, 100)
        return Course(print, rounds=list(range(100)), times=times.tolist())

    assert resolved(course(1), course(2), 0.01)
    assert not resolved(course(1), course(1), 0.01)
    assert not resolved(course(1), course(1.05), 0.01)


def test_what_is_asked_for_is_run() -> None:
    (course,) = measured(1e-3, plan=Plan(loops=7, repeat=11))
    assert (course.loops, len(course.times), course.stopped) == (7, 11, "asked")


def test_no_time_at_all_makes_one_block() -> None:
    (course,) = measured(1e-3, plan=Plan(budget=0.0))
    assert len(course.times) == 1 and course.interval and course.interval.low is None


def test_a_slow_block_is_left_out_only_for_a_cause() -> None:
    clock = Clock()
    lengths = iter([1e-3] * 200 + [1.0] * 20)

    def run(loops: int) -> None:
        clock.now += next(lengths, 1e-3)

    course = Course(run)
    take_turns([course], Plan(budget=0.1, loops=1, repeat=215), clock, Quiet(), random.Random(0))
    assert max(course.times) == 1.0 and course.spoilt == []


def test_a_spoilt_block_is_marked_with_its_cause() -> None:
    settle = [""] * 3
    (course,) = measured(
        1e-3, plan=Plan(loops=1, repeat=30), spoilers=Quiet(*settle, *[""] * 40, "gc")
    )
    assert len(course.times) == 30
    (course,) = measured(1e-3, plan=Plan(budget=0.05), spoilers=Quiet(*["gc", ""] * 500))
    assert course.spoilt and {cause for _, cause in course.spoilt} == {"gc"}


def test_an_error_ends_its_course_alone() -> None:
    clock = Clock()
    lasts = iter(range(20))

    def used_up(loops: int) -> None:
        clock.now += 1e-3
        next(lasts)

    courses = [Course(used_up), Course(clock.work(1e-3))]
    take_turns(courses, Plan(budget=0.2), clock, Quiet(), random.Random(0))
    assert isinstance(courses[0].error, StopIteration) and courses[0].stopped == "raised"
    assert courses[0].interval is not None
    assert courses[1].error is None and courses[1].stopped in ("precise", "time")


def test_an_interrupt_keeps_what_there_is() -> None:
    clock = Clock()
    left = iter(range(30))

    def run(loops: int) -> None:
        clock.now += 1e-3
        if next(left, None) is None:
            raise KeyboardInterrupt

    course = Course(run)
    assert take_turns([course], Plan(budget=9.0), clock, Quiet(), random.Random(0))
    assert course.stopped == "interrupted" and course.times and course.interval


@pytest.mark.parametrize(("lasting", "swing"), [(0.0, 0.0), (0.9, 0.0), (0.0, 0.02)])
def test_the_range_holds_what_a_run_would_come_to(lasting: float, swing: float) -> None:
    """By a clock that is quick and slow in turns, noise that lasts, and a swing of 0.3 s."""

    def held(seed: int) -> bool:
        rng, clock, level = np.random.default_rng(seed), Clock(), [0.0]
        phase = rng.uniform(0, 6.28)

        def run(loops: int) -> None:
            level[0] = lasting * level[0] + np.sqrt(1 - lasting**2) * rng.normal()
            slow = swing * np.sin(phase + 6.28 * clock.now / 0.3)
            clock.now += loops * 1e-4 * np.exp(0.01 * level[0] + slow)

        course = Course(run)
        take_turns([course], Plan(), clock, Quiet(), random.Random(seed))
        found = course.interval
        return found is None or found.low is None or found.low <= 1e-4 <= (found.high or 0.0)

    assert sum(map(held, range(24))) >= 21
