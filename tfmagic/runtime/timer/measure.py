"""From a request to a finished measurement."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tfmagic.errors import OptionError
from tfmagic.model.bench import Bench, Remark, Timing
from tfmagic.runtime.timer.guard import Silence, random_state, variables_of, variables_restored
from tfmagic.runtime.timer.machine import machine
from tfmagic.runtime.timer.place import Place, resolve
from tfmagic.runtime.timer.schedule import Clock, Plan, take_turns
from tfmagic.runtime.timer.spoilers import Watch
from tfmagic.runtime.timer.statement import Subject
from tfmagic.runtime.timer.variant import Variant, checked_modes, one_line, prepared

__all__ = ["Request", "measure"]

#: Seconds for which the naive loop runs, and the most runs it makes.
NAIVE_SECONDS, NAIVE_RUNS = 0.1, 100


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for; ``devices`` and ``modes`` as the user names them."""

    subject: Subject
    title: str = ""
    setup: str = ""
    devices: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    plan: Plan = field(default_factory=Plan)


@dataclass(slots=True)
class _State:
    """What the measurement has so far."""

    timings: list[Timing] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)


def measure(
    request: Request,
    *,
    clock: Clock = time.perf_counter,
    wall: Clock = time.time,
    progress: Callable[[float], None] = lambda share: None,
) -> Bench:
    """Time the statement.

    What the statement raises in its first run passes untouched.  Raises
    :class:`~tfmagic.errors.OptionError` for a device that is not there.
    """
    _check(request.plan)
    modes = checked_modes(request.modes)
    chosen, start = resolve(request.devices), clock()
    state, changed = _State(), list[str]()
    reached = variables_of(
        request.subject.namespace.get(name) for name in request.subject.statement.reads
    )
    with random_state(), variables_restored(reached, changed):
        _measure_all(request, chosen, modes, state, clock, wall, progress)
    if changed:
        state.remarks.append(_changed(changed))
    return Bench(
        request.title or request.subject.statement.source,
        setup=request.setup,
        timings=tuple(state.timings),
        machine=machine(chosen),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        budget=request.plan.budget,
        seconds=clock() - start,
        remarks=tuple(state.remarks),
    )


def _check(plan: Plan) -> None:
    if plan.budget < 0:
        raise OptionError("bench.budget_negative", given=plan.budget)
    for option, given in (("-n", plan.loops), ("-r", plan.repeat)):
        if given is not None and given < 1:
            raise OptionError("bench.at_least_one", option=option, given=given)


def _changed(names: Sequence[str]) -> Remark:
    back = [name for name in names if not name.endswith("*")]
    if back:
        return Remark.of("variables_restored", names=", ".join(back[:5]), n=len(back))
    return Remark.of("variables_left", names=", ".join(n.rstrip("*") for n in names[:5]))


def _measure_all(
    request: Request,
    chosen: Sequence[Place],
    modes: Sequence[str],
    state: _State,
    clock: Clock,
    wall: Clock,
    progress: Callable[[float], None],
) -> None:
    first, *others = chosen
    silence = Silence()
    variants = prepared(request.subject, first, modes, {}, silence)
    with silence:
        for place in others:
            variants += prepared(request.subject, place, modes, {}, silence)
        live = [variant for variant in variants if variant.loop is not None]
        traced = {id(variant): variant.traced() for variant in live}
        with Watch() as spoilers:
            courses = [variant.course for variant in live]
            take_turns(courses, request.plan, clock, spoilers, random.Random(), progress)
        for variant in live:
            _notice_tracing(variant, traced[id(variant)])
        naive = {id(variant): _naive(variant, wall) for variant in live}
        latency = {id(variant): _latency(variant, clock) for variant in live}
    if silence.characters:
        state.remarks.append(Remark.of("printed", n=silence.characters))
    for variant in variants:
        mean, loops = naive.get(id(variant), (None, 0))
        state.timings.append(_timing(variant, mean, loops, latency.get(id(variant))))


def _notice_tracing(variant: Variant, before: Mapping[str, int]) -> None:
    """Say where a function was traced again while its steady state was measured."""
    for name, count in variant.traced().items():
        if count > before.get(name, count):
            variant.remarks.append(Remark.of("retraced", name=name, n=count - before[name]))


def _naive(variant: Variant, wall: Clock) -> tuple[float | None, int]:
    """The mean over a loop, as one is tempted to take it: nobody waits for the device."""
    try:
        with variant.place.scope():
            start = wall()
            variant.run(1)
            loops = max(1, min(NAIVE_RUNS, int(NAIVE_SECONDS / max(wall() - start, 1e-7))))
            start = wall()
            held = variant.loop(loops) if variant.loop else None
            seconds = wall() - start
            if variant.wait is not None:
                variant.wait(held)
    except (Exception, KeyboardInterrupt):  # the blocks that follow will meet it again
        return None, 0
    return seconds / loops, loops


def _latency(variant: Variant, clock: Clock) -> float | None:
    """The median of single runs, each waited for; None where a run waits by itself."""
    if variant.wait is None or variant.course.error is not None:
        return None
    times: list[float] = []
    with variant.place.scope(), contextlib.suppress(Exception, KeyboardInterrupt):
        limit = clock() + 0.1 * max(0.5, variant.course.spent)
        while len(times) < 30 and (not times or clock() < limit):
            start = clock()
            variant.run(1)
            times.append(clock() - start)
    return sorted(times)[len(times) // 2] if times else None


def _timing(variant: Variant, naive: float | None, loops: int, latency: float | None) -> Timing:
    course = variant.course
    found, problem, detail = course.interval, variant.problem, variant.detail
    if course.error is not None:
        problem, detail = "raised", one_line(course.error)
    return Timing(
        variant.place.name,
        variant.mode,
        loops=course.loops,
        rounds=tuple(course.rounds),
        times=tuple(course.times),
        spoilt=tuple(course.spoilt),
        median=found.median if found else None,
        low=found.low if found else None,
        high=found.high if found else None,
        effective=found.effective if found else 0.0,
        stopped=course.stopped,
        naive=naive,
        naive_loops=loops,
        latency=latency,
        sync=variant.sync,
        first_use=variant.first_use,
        trace=variant.trace,
        first=variant.first,
        asynchronous=variant.place.asynchronous,
        ops=variant.ops,
        problem=problem,
        detail=detail,
        remarks=tuple(variant.remarks),
    )
