"""From a request to a finished measurement."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from tfmagic.errors import OptionError
from tfmagic.model.bench import Bench, Remark, Timing
from tfmagic.runtime import private
from tfmagic.runtime.capture.interrupts import Carried, by_handler
from tfmagic.runtime.capture.unnoticed import Silence, random_state
from tfmagic.runtime.timer.interference import Watch
from tfmagic.runtime.timer.machine import machine
from tfmagic.runtime.timer.memory import MEMORY_ERRORS, peak_memory, will_fit
from tfmagic.runtime.timer.observed import Functions, tracing_watched
from tfmagic.runtime.timer.ops import op_times
from tfmagic.runtime.timer.place import TimedDevice, resolve
from tfmagic.runtime.timer.reachability import reached
from tfmagic.runtime.timer.schedule import Clock, Plan, take_turns
from tfmagic.runtime.timer.state_restore import Births, variables_restored
from tfmagic.runtime.timer.statement import Subject
from tfmagic.runtime.timer.variant import (
    How,
    Variant,
    checked_modes,
    one_line,
    prepared,
    problem_of,
)

__all__ = ["Request", "measure"]

#: Seconds for which the naive loop runs, and the most runs it makes.
NAIVE_SECONDS, NAIVE_RUNS = 0.1, 100


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for; ``devices`` and ``modes`` as the user names them.

    ``others`` are timed beside the ``subject``, each as it stands.

    ``points`` are the values of the swept variables, one mapping for each point.  With
    ``transfer`` each run copies its inputs from the host and its results back; with ``cold``
    each run finds the caches filled with something else.  With ``by_op`` each op of the eager
    run is timed by itself, too.
    """

    subject: Subject
    others: tuple[Subject, ...] = ()
    devices: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    plan: Plan = field(default_factory=Plan)
    points: tuple[Mapping[str, float], ...] = ({},)
    transfer: bool = False
    cold: bool = False
    by_op: bool = False


def measure(
    request: Request,
    *,
    clock: Clock = time.perf_counter,
    wall: Clock = time.time,
    progress: Callable[[float], None] = lambda share: None,
    keep: dict[str, Any] | None = None,
) -> Bench:
    """Time the statement at every point.

    What the statement raises in its very first run passes untouched; at later points of a
    sweep it marks the point.  An interrupt ends the measurement with what there is.  Raises
    :class:`~tfmagic.errors.DeviceError` for a device that is not there.  What the very first
    run assigned is put into ``keep``.
    """
    _check(request)
    modes = checked_modes(request.modes)
    chosen, start = resolve(request.devices), clock()
    taken = _Measurement(request, chosen, modes, clock, wall, progress, keeps=keep is not None)
    if request.by_op and "eager" not in modes:
        taken.remarks.append(Remark.of("ops_eager"))
    if private.is_listened_to():
        taken.remarks.append(Remark.of("listened"))
    changed: list[str] = []
    namespace, subject = request.subject.namespace, request.subject
    subjects = (subject, *request.others)
    read = {n: namespace.get(n) for n in sorted({n for each in subjects for n in each.reads})}
    names = {id(value): name for name, value in [*namespace.items(), *read.items()]}
    found = reached(read)
    variables = variables_restored(found, changed, names, taken.births)
    with random_state(found), variables:
        for each in subjects:
            each.remember()
        taken.all_points()
    for each in subjects if keep is None else ():
        each.forget()
    if keep is not None:  # a function that is kept may be traced later
        assigned = subject.statement.assigns
        keep.update({n: taken.made[n] for n in assigned if n in taken.made})
    taken.remarks += _changed(list(dict.fromkeys(changed)))
    drawn_from = [name for name, value in read.items() if isinstance(value, Iterator)]
    if drawn_from and all(timing.problem != "used_up" for timing in taken.timings):
        taken.remarks.append(Remark.of("iterated", names=", ".join(drawn_from[:5])))
    return Bench(
        request.subject.title,
        setup=request.subject.setup.source if request.subject.setup else "",
        timings=tuple(taken.timings),
        machine=machine(chosen),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        budget=request.plan.budget,
        seconds=clock() - start,
        transfer=request.transfer,
        cold=request.cold,
        remarks=tuple(taken.remarks),
    )


def _check(request: Request) -> None:
    plan, subject = request.plan, request.subject
    if not 0 <= plan.budget < math.inf:
        raise OptionError("bench.budget_negative", given=plan.budget)
    for option, given in (("-n", plan.loops), ("-r", plan.repeat)):
        if given is not None and given < 1:
            raise OptionError("bench.at_least_one", option=option, given=given)
    for name in request.points[0]:
        if name not in subject.reads:
            raise OptionError("bench.sweep_unused", name=name)


def _changed(names: Sequence[str]) -> Iterator[Remark]:
    back = [name for name in names if not name.endswith("*")]
    left = [name.rstrip("*") for name in names if name.endswith("*")]
    if back:
        yield Remark.of("variables_restored", names=", ".join(back[:5]), n=len(back))
    if left:
        yield Remark.of("variables_left", names=", ".join(left[:5]))


@dataclass(slots=True)
class _Measurement:
    """A measurement under way, with what it has so far."""

    request: Request
    chosen: Sequence[TimedDevice]
    modes: Sequence[str]
    clock: Clock
    wall: Clock
    progress: Callable[[float], None]
    timings: list[Timing] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    silence: Silence = field(default_factory=Silence)
    births: Births = field(default_factory=Births)
    keeps: bool = False
    made: dict[str, Any] = field(default_factory=dict)

    def all_points(self) -> None:
        """Measure point by point until the last one, or an interrupt."""
        points = self.request.points
        for index, point in enumerate(points):
            try:
                done = self._reached(index, point)
            except KeyboardInterrupt:
                done = False
            if not done:
                self._interrupted()
                break
        if self.silence.characters:
            self.remarks.append(Remark.of("printed", n=f"{self.silence.characters:,}"))

    def _interrupted(self) -> None:
        """Say what is missing; where there is one point, a timing that was cut short says it."""
        points = len(self.request.points)
        if not self.timings:
            self.remarks.append(Remark.of("interrupted_first"))
        elif points > 1:
            begun = len({timing.point for timing in self.timings})
            self.remarks.append(Remark.of("interrupted", n=begun, points=points))
        elif all(timing.stopped != "interrupted" for timing in self.timings):
            self.remarks.append(Remark.of("interrupted_late"))

    def _reached(self, index: int, point: Mapping[str, float]) -> bool:
        """Measure one point, or mark it; False once it was interrupted."""
        if not will_fit(self.timings, point):
            self._mark(point, "memory", "")
            return True
        try:
            return self._point(index, point)
        except MEMORY_ERRORS as error:
            if not point:
                raise
            self._mark(point, "memory", one_line(error))
        except Exception as error:
            if not index or by_handler(error):
                raise
            self._mark(point, "raised", one_line(error))
        return True

    def _point(self, index: int, point: Mapping[str, float]) -> bool:
        request, silence, (first, *others) = self.request, self.silence, self.chosen
        how = How(tuple(self.modes), point, request.transfer, request.cold, silence, self.births)
        variants = self._variants(first, how)
        if not index:
            self.made = dict(variants[0].made) if self.keeps else {}
        for variant in variants:
            variant.made = {}  # what a run made is not held while others are timed
        with silence:
            for place in others:
                variants += self._variants(place, how)
            live = [variant for variant in variants if variant.loop is not None]
            with Watch() as spoilers, tracing_watched() as traced:
                courses = [variant.course for variant in live]
                share = self._share(index)
                interrupted = take_turns(
                    courses, request.plan, self.clock, spoilers, random.Random(), share
                )
            _notice_tracing(live, traced)
            interrupted = interrupted or self._besides(live)
        where = tuple((name, float(value)) for name, value in point.items())
        self.timings += [_timing(variant, where) for variant in variants]
        return not interrupted

    def _variants(self, place: TimedDevice, how: How) -> list[Variant]:
        """All that is timed on one device; what is timed beside the subject has its label."""
        variants = prepared(self.request.subject, place, how)
        for other in self.request.others:
            with how.silence:
                variants += prepared(other, place, replace(how, modes=("eager",)))
        labels = [each.label for each in (self.request.subject, *self.request.others)]
        for variant, label in zip(variants, labels, strict=False):
            variant.mode = label or variant.mode
        return variants

    def _besides(self, live: Sequence[Variant]) -> bool:
        """Take the other figures of each variant; True if interrupted."""
        request, budget = self.request, self.request.plan.budget
        try:
            for variant in [] if request.cold else live:
                variant.naive, variant.naive_loops = _naive(variant, self.wall, budget)
                variant.latency = _latency(variant, self.clock)
                variant.memory = peak_memory(variant.place, variant.run)
            for variant in live if request.by_op else []:
                if variant.mode == "eager":
                    variant.op_times, stopped = op_times(variant, budget, self.clock)
                    if stopped:
                        return True
        except KeyboardInterrupt:
            return True
        return False

    def _share(self, index: int) -> Callable[[float], None]:
        points = len(self.request.points)

        def moved(share: float) -> None:
            with self.silence.lifted():
                self.progress((index + min(1.0, share)) / points)

        return moved

    def _mark(self, point: Mapping[str, float], problem: str, detail: str) -> None:
        """Every variant of a point that could not be measured."""
        where = tuple((name, float(value)) for name, value in point.items())
        self.timings += [
            Timing(place.name, mode, where, problem=problem, detail=detail)
            for place in self.chosen
            for mode in self.modes
        ]


def _notice_tracing(live: Sequence[Variant], functions: Functions) -> None:
    """Say where a function of the user's was traced again while the steady state was measured,
    and it is not known yet that it is at every run."""
    names = Counter(traced.name for traced in functions.own())
    for variant in live:
        told = any(remark.code.startswith("anew") for remark in variant.remarks)
        for name, count in names.items() if variant.trace is None and not told else ():
            variant.remarks.append(Remark.of("retraced", name=name, n=count))


def _naive(variant: Variant, wall: Clock, budget: float) -> tuple[float | None, int]:
    """The mean over a loop, as one is tempted to take it: nobody waits for the device."""
    # What is only queued takes its time after the loop: enough runs show the queueing alone.
    seconds = max(NAIVE_SECONDS, budget / 4 if variant.wait else 0.0)
    try:
        with variant.place.scope():
            start = wall()
            variant.run(1)
            loops = max(1, min(NAIVE_RUNS, int(seconds / max(wall() - start, 1e-7))))
            start = wall()
            held = variant.loop(loops) if variant.loop else None
            seconds = wall() - start
            if variant.wait is not None:
                variant.wait(held)
    except Exception as error:  # the blocks have met it, or it is an input that is used up
        if by_handler(error):
            raise
        return None, 0
    return seconds / loops, loops


def _latency(variant: Variant, clock: Clock) -> float | None:
    """The median of single runs, each waited for; None where a run waits by itself."""
    if variant.wait is None or variant.course.error is not None:
        return None
    times: list[float] = []
    with Carried(), variant.place.scope():
        limit = clock() + 0.1 * max(0.5, variant.course.spent)
        while len(times) < 30 and (not times or clock() < limit):
            start = clock()
            variant.run(1)
            times.append(clock() - start)
    return sorted(times)[len(times) // 2] if times else None


def _timing(variant: Variant, point: tuple[tuple[str, float], ...]) -> Timing:
    course, steady = variant.course, variant.steady
    found, problem, detail = course.interval, variant.problem, variant.detail
    if course.error is not None:
        problem, detail = problem_of(course.error), one_line(course.error)
    return Timing(
        variant.place.name,
        variant.mode,
        point,
        loops=course.loops,
        rounds=tuple(course.rounds),
        times=tuple(course.times),
        spoilt=tuple(course.spoilt),
        median=found.median if found else None,
        low=found.low if found else None,
        high=found.high if found else None,
        effective=found.effective if found else 0.0,
        stopped=course.stopped,
        naive=variant.naive,
        naive_loops=variant.naive_loops,
        latency=variant.latency,
        sync=variant.sync,
        first_use=variant.first_use,
        trace=variant.trace,
        first=variant.first,
        tracing=variant.starting.tracing,
        preparing=variant.preparing,
        xla=variant.mode == "xla" or variant.starting.xla,
        inside=_inside(variant),
        calls=next(iter(steady.called)) if steady and steady.mostly_compiled else "",
        method=steady.method if steady else "",
        asynchronous=variant.place.asynchronous,
        op_times=variant.op_times,
        flops=variant.flops,
        flops_whole=variant.flops_whole,
        peak=variant.peak,
        memory=variant.memory,
        problem=problem,
        detail=detail,
        remarks=tuple(variant.remarks),
    )


def _inside(variant: Variant) -> float | None:
    """Seconds of one run in compiled functions: their share of the runs that were watched; None
    where a call only queues them."""
    steady, found = variant.steady, variant.course.interval
    if steady is None or found is None or variant.place.asynchronous or not steady.seconds:
        return None
    return found.median * min(1.0, steady.calling / steady.seconds)
