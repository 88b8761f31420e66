"""How small a difference can be told apart on this machine, as it is now.

The same work is timed against itself: whatever differs then is not real.  And it is timed
against work that takes a known share longer: whatever is not found then is too small.  The
known work is a loop of Python's, because its length is exactly as long as it is made.
"""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import tensorflow as tf

from tfmagic.analysis.bench import compared
from tfmagic.model.bench import SelfTest, Timing
from tfmagic.runtime.timer.interference import Watch
from tfmagic.runtime.timer.machine import machine
from tfmagic.runtime.timer.schedule import Clock, Course, Plan, take_turns

__all__ = ["selftest", "taken"]

#: Extra work that is looked for, as shares.
EXTRAS = (0.01, 0.02, 0.05, 0.1, 0.2)
#: Share of the tries in which a difference must be found to count as resolvable.
FOUND = 0.9
#: Seconds of one run of the known work.
RUN = 1e-4


def selftest(
    pairs: int = 20,
    tries: int = 6,
    budget: float = 0.25,
    *,
    clock: Clock = time.perf_counter,
    progress: Callable[[float], None] = lambda share: None,
) -> SelfTest:
    """Time ``pairs`` of the same work, and ``tries`` of each extra; ``budget`` in seconds each."""
    length, total = _length(clock), pairs + tries * len(EXTRAS)
    done, same, plan = itertools.count(1), [], Plan(budget=budget)
    for index in range(pairs):
        run = _spin(length) if index % 2 else _op()
        same.append(taken([run, run], plan, clock))
        progress(next(done) / total)
    found = []
    for extra in EXTRAS:
        hits = 0
        for _ in range(tries):
            works = [_spin(length), _spin(round(length * (1 + extra)))]
            plain, longer = taken(works, plan, clock)
            hits += compared(plain, longer).verdict == "slower"
            progress(next(done) / total)
        found.append((extra, hits / tries))
    verdicts = [compared(a, b) for a, b in same]
    within = [abs(v.ratio - 1) for v in verdicts if v.ratio]
    return SelfTest(
        machine=machine(),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        pairs=len(same),
        claimed=sum(v.verdict in ("faster", "slower") for v in verdicts),
        within=float(np.quantile(within, 0.95)) if within else None,
        between=_between(same),
        drift=_drift(same),
        found=tuple(found),
        resolvable=next((e for i, (e, _) in enumerate(found) if _all_found(found[i:])), None),
    )


def _all_found(shares: Sequence[tuple[float, float]]) -> bool:
    return all(share >= FOUND for _, share in shares)


def _between(same: Sequence[Sequence[Timing]]) -> float | None:
    """By how much the same work differs from one measurement to a later one, in 95 %."""
    apart = []
    for kind in (same[0::2], same[1::2]):  # the op, then the loop
        medians = [timing.median for timings in kind for timing in timings if timing.median]
        apart += [abs(math.log(a / b)) for a, b in itertools.combinations(medians, 2)]
    return float(np.quantile(apart, 0.95)) if apart else None


def _drift(same: Sequence[Sequence[Timing]]) -> float | None:
    """By how much measurements lie around their middle, in 95 %.  What each could know of its own
    error is not taken off: these are short, and what is short reaches wide."""
    apart = list[float]()
    for kind in (same[0::2], same[1::2]):
        medians = [timing.median for timings in kind for timing in timings if timing.median]
        apart += [abs(found / float(np.median(medians)) - 1) for found in medians]
    return float(np.quantile(apart, 0.95)) if apart else None


def taken(
    works: Sequence[Callable[[int], Any]], plan: Plan, clock: Clock = time.perf_counter
) -> list[Timing]:
    """The works, timed in turns as every variant is."""
    courses = [Course(work) for work in works]
    with Watch() as spoilers:
        if take_turns(courses, plan, clock, spoilers, random.Random()):
            raise KeyboardInterrupt
    return [
        Timing(
            str(index),
            loops=course.loops,
            rounds=tuple(course.rounds),
            times=tuple(course.times),
            spoilt=tuple(course.spoilt),
            median=course.interval.median if course.interval else None,
            low=course.interval.low if course.interval else None,
            high=course.interval.high if course.interval else None,
            effective=course.interval.effective if course.interval else 0.0,
            stopped=course.stopped,
        )
        for index, course in enumerate(courses)
    ]


def _spin(length: int) -> Callable[[int], None]:
    def run(loops: int) -> None:
        for _ in itertools.repeat(None, loops):
            for _ in itertools.repeat(None, length):
                pass

    return run


def _op() -> Callable[[int], Any]:
    x = tf.ones([64, 64])

    def run(loops: int) -> Any:
        made = x
        for _ in itertools.repeat(None, loops):
            made = tf.matmul(x, x)
        return made

    return run


def _length(clock: Clock) -> int:
    """Turns of the loop that take about :data:`RUN`."""
    turns, work = 100_000, _spin(100_000)
    times = []
    for _ in range(5):
        start = clock()
        work(1)
        times.append(clock() - start)
    return max(100, round(turns * RUN / max(min(times), 1e-9)))
