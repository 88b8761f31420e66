"""One variant: a statement on a device in a mode, ready to be run by the schedule."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

import tensorflow as tf

from tfmagic.errors import OptionError
from tfmagic.model.bench import MODES, OpTime, Remark
from tfmagic.runtime.capture.interrupts import by_handler
from tfmagic.runtime.devices.placing import short
from tfmagic.runtime.timer.compiled import compiled
from tfmagic.runtime.timer.memory import MEMORY_ERRORS
from tfmagic.runtime.timer.observed import Functions, Heard, calls_watched, hearing, traced_anew
from tfmagic.runtime.timer.place import Placed, TimedDevice, fetched, inputs_on, waiter
from tfmagic.runtime.timer.schedule import Course
from tfmagic.runtime.timer.speed import peak
from tfmagic.runtime.timer.state_restore import Births
from tfmagic.runtime.timer.statement import Loop, Subject

__all__ = ["How", "Variant", "checked_modes", "prepared", "problem_of"]

#: A block lasts at least so many times as long as waiting for the idle device.
SYNCS_IN_BLOCK = 100
#: Runs that are listened to, so that what changes from run to run is noticed.
LISTENED = 3
#: Bytes that are written before a run to empty the caches.
FLUSHED = 64 * 2**20
#: ``{{function_node …}}`` and ``[Op:Fill] name:`` in a message of TensorFlow's.
_NOTES = re.compile(r"\{\{.*?\}\} ?| ?\[Op:\w+\]( name:.*)?")
#: What XLA says of ops that it does not know, and their names in it.
_UNSUPPORTED = re.compile(r"Detected unsupported operations when .*? on \w+: (.*)")
_OPS = re.compile(r"(\w+) \(")


def checked_modes(wanted: Sequence[str]) -> tuple[str, ...]:
    """The modes that are asked for; :class:`OptionError` for one that there is not."""
    for given in wanted:
        if given.lower() not in MODES:
            near = difflib.get_close_matches(given.lower(), MODES, 1)
            key = "options.choice_near" if near else "options.choice"
            known = ", ".join(MODES)
            raise OptionError(key, option="-m", given=given, known=known, near="".join(near))
    return tuple(dict.fromkeys(given.lower() for given in wanted)) or MODES[:1]


@dataclass(slots=True)
class Variant:
    """A statement on a ``place`` in a ``mode``; ``loop`` runs it without waiting."""

    place: TimedDevice
    mode: str
    loop: Loop | None
    wait: Callable[[Any], None] | None = None
    sync: float | None = None
    first_use: float | None = None
    trace: float | None = None
    first: float | None = None
    naive: float | None = None
    naive_loops: int = 0
    latency: float | None = None
    memory: int | None = None
    flops: float | None = None
    flops_whole: bool = True
    peak: float | None = None
    op_times: tuple[OpTime, ...] = ()
    made: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    detail: str = ""
    remarks: list[Remark] = field(default_factory=list)
    starting: Functions = field(default_factory=Functions)
    steady: Functions | None = None
    cold: bool = False
    course: Course = field(init=False)

    def __post_init__(self) -> None:
        block = SYNCS_IN_BLOCK * self.sync if self.sync and not self.cold else 0.0
        around = partial(_cold, self.place, self.wait) if self.cold else self.place.scope
        self.course = Course(self.run, around, block=block, single=self.cold)

    def run(self, loops: int) -> Any:
        """Run it ``loops`` times, and wait until the device is done."""
        assert self.loop is not None
        outcome = self.loop(loops)
        if self.wait is not None:
            self.wait(outcome)
        return outcome

    def timed_first(self) -> Any:
        """The very first run, timed; what it made."""
        with self.place.scope(), calls_watched() as self.starting:
            start = perf_counter()
            outcome = self.run(1)
            self.first = perf_counter() - start
        return outcome

    @property
    def preparing(self) -> float:
        """Seconds that the functions' first calls took beyond what they take now."""
        steady = self.steady.calling if self.steady else self.course.middle
        return max(0.0, self.starting.calling - steady) if self.starting.called else 0.0

    def failed(self, error: BaseException) -> None:
        """It cannot be measured, and why."""
        unsupported = _UNSUPPORTED.search(str(error))
        self.problem = "unsupported" if unsupported else problem_of(error)
        self.detail = _names(unsupported[1]) if unsupported else one_line(error)
        self.loop = None


def _names(unsupported: str) -> str:
    """The ops that XLA does not know; a text that goes in or out is none that one has called."""
    names = ("tf.string" if n in ("_Arg", "_Retval") else n for n in _OPS.findall(unsupported))
    return ", ".join(dict.fromkeys(names))


def problem_of(error: BaseException) -> str:
    """The word for what a run raised: ``"memory"``, ``"used_up"`` or ``"raised"``."""
    if isinstance(error, (StopIteration, tf.errors.OutOfRangeError)):
        return "used_up"
    return "memory" if isinstance(error, MEMORY_ERRORS) else "raised"


def one_line(error: BaseException) -> str:
    """``ValueError: the first line of what it says``, without TensorFlow's notes for itself.

    What AutoGraph raises is a traceback that ends in such a line.
    """
    lines = str(error).strip().splitlines() or [""]
    if lines[0] == "in user code:":
        return _NOTES.sub("", lines[-1]).strip()[:300]
    text = _NOTES.sub("", lines[0]).strip()[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@dataclass(frozen=True, slots=True)
class How:
    """How every variant of one point is run; all runs but the first are in ``silence``."""

    modes: tuple[str, ...]
    point: Mapping[str, Any]
    transfer: bool
    cold: bool
    silence: contextlib.AbstractContextManager[Any]
    births: Births


def prepared(subject: Subject, place: TimedDevice, how: How) -> list[Variant]:
    """The statement on one device, once for each mode, its first run behind it.

    The eager run comes first, also where it is not asked for: it tells what there is to do.
    What it raises passes; where only a compiled mode fails, that variant says why.
    """
    wait = waiter(place)
    first_use, sync = _first_use(place, wait)
    with place.scope():
        space = subject.space(how.point)
    read = sorted(subject.statement.reads & space.keys())
    placed = inputs_on(place, {name: space[name] for name in read}, transfer=how.transfer)
    space.update(placed.values)
    loop = subject.statement.loop(space, placed.fresh, fetched if how.transfer else None)
    eager = Variant(place, "eager", loop, wait, sync, first_use, cold=how.cold)
    if wait is not None:
        wait(None)
    with how.births.noticed():
        made = eager.timed_first()
    how.births.spare({n: made[n] for n in subject.statement.assigns if n in made})
    found = [eager]
    with how.silence:
        try:
            outcome, heard = _listen(eager)
        except Exception as error:
            if by_handler(error) or problem_of(error) != "used_up":
                raise
            return [_used_up(eager, error, made, how.modes[0])]
        for mode in how.modes:
            if mode != "eager":
                found.append(_graph_variant(eager, mode, subject, space, placed, outcome))
    for variant in found:
        variant.made = made
    if heard.flops:
        _count_speed(found, heard)
    asked = [variant for variant in found if variant.mode in how.modes]
    return sorted(asked, key=lambda variant: how.modes.index(variant.mode))


def _count_speed(found: Sequence[Variant], heard: Heard) -> None:
    """What each variant is to compute in a run, as heard in the eager one."""
    bound = peak(found[0].place, half=heard.half)
    for variant in found:
        variant.flops, variant.flops_whole = float(heard.flops), heard.flops_whole
        variant.peak = bound


def _used_up(eager: Variant, error: BaseException, made: Any, mode: str) -> Variant:
    """A statement whose input was enough for its first run, and for too few after it."""
    eager.failed(error)
    eager.made, eager.mode = made, mode
    return eager


@contextlib.contextmanager
def _cold(place: TimedDevice, wait: Callable[[Any], None] | None) -> Iterator[None]:
    """Fill the caches with something else, then put ops on the device."""
    with tf.device(place.full):
        filled = tf.ones([FLUSHED // 4]) + 1.0
        if wait is not None:
            wait(filled)
    del filled
    with place.scope():
        yield


def _listen(eager: Variant) -> tuple[Mapping[str, Any], Any]:
    """Some more runs, heard: what they do, where, and whether they always do the same."""
    with eager.place.scope(), hearing() as heard:
        outcome = eager.run(1)
    with eager.place.scope(), hearing() as more:
        for _ in range(LISTENED - 1):
            eager.run(1)
    runs = []
    for _ in range(LISTENED - 1):
        with eager.place.scope(), calls_watched() as functions:
            eager.run(1)
        runs.append(functions)
    if runs[-1].called:
        eager.steady = min(runs, key=lambda run: run.seconds)
        eager.steady.share = heard.share_of_calls
    anew = traced_anew(runs)
    if anew is not None:
        eager.remarks.append(anew)
    elsewhere = {short(d) for d in heard.devices} - {eager.place.name, ""}
    if elsewhere and heard.devices:
        share = "part" if eager.place.name in {short(d) for d in heard.devices} else "all"
        eager.remarks.append(
            Remark.of(
                f"elsewhere_{share}", devices=", ".join(sorted(elsewhere)), name=eager.place.name
            )
        )
    shapes = {name: heard.shapes.get(name, set()) | more.shapes[name] for name in more.shapes}
    if any(len(seen) > 1 for seen in shapes.values()):
        eager.remarks.append(Remark.of("shapes_vary"))
    return outcome, heard


def _graph_variant(
    eager: Variant, mode: str, subject: Subject, space: dict[str, Any],
    placed: Placed, outcome: Mapping[str, Any],
) -> Variant:  # fmt: skip
    variant = Variant(
        eager.place, mode, None, eager.wait, eager.sync, eager.first_use, cold=eager.cold
    )
    if tf.config.functions_run_eagerly():
        variant.problem = "run_eagerly"
        return variant
    try:
        made = compiled(
            subject.statement, space, outcome, xla=mode == "xla", scope=eager.place.scope
        )
        variant.trace, variant.loop = made.trace, made.loop(placed.fresh)
        variant.timed_first()
    except Exception as error:
        if by_handler(error):
            raise
        variant.failed(error)
    return variant


def _first_use(
    place: TimedDevice, wait: Callable[[Any], None] | None
) -> tuple[float, float | None]:
    """Seconds that the first op on the device took, and those of waiting for it idle."""
    start = perf_counter()
    with tf.device(place.full):
        one = tf.identity(tf.constant(1.0)) + 1.0
    if wait is None:
        return perf_counter() - start, None
    wait(one)
    first_use, waits = perf_counter() - start, []
    for _ in range(5):
        start = perf_counter()
        wait(one)
        waits.append(perf_counter() - start)
    return first_use, sorted(waits)[2]
