"""One variant: a statement on a device in a mode, ready to be run by the schedule."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from tfmagic.model.bench import OpCount
from tfmagic.runtime import private
from tfmagic.runtime.timer.place import Place, on_device, waiter
from tfmagic.runtime.timer.schedule import Course
from tfmagic.runtime.timer.statement import Loop, Subject

__all__ = ["Heard", "Variant", "prepared"]

#: A block lasts at least so many times as long as waiting for the idle device.
SYNCS_IN_BLOCK = 50


@dataclass(frozen=True, slots=True)
class Heard:
    """The ops of one eager run: how many of each type, and the devices they ran on."""

    counts: Mapping[str, int]
    devices: frozenset[str]
    outcome: Mapping[str, Any]


@dataclass(slots=True)
class Variant:
    """A statement on a ``place`` in a ``mode``; ``loop`` runs it without waiting."""

    place: Place
    mode: str
    loop: Loop
    space: dict[str, Any]
    wait: Callable[[Any], None] | None
    sync: float | None = None
    first_use: float | None = None
    trace: float | None = None
    first: float | None = None
    ops: tuple[OpCount, ...] = ()
    course: Course = field(init=False)

    def __post_init__(self) -> None:
        block = SYNCS_IN_BLOCK * self.sync if self.sync else 0.0
        self.course = Course(self.run, self.place.scope, block=block)

    def run(self, loops: int) -> Any:
        """Run it ``loops`` times, and wait until the device is done."""
        outcome = self.loop(loops)
        if self.wait is not None:
            self.wait(outcome)
        return outcome

    def hear(self) -> Heard:
        """One more run, in which every eager op is heard."""
        counts: dict[str, int] = {}
        devices: set[str] = set()

        def note(kind: Any, inputs: Any, attrs: Any, outputs: Any, *rest: Any) -> None:
            if len(rest) > 1 and rest[1] is not None:
                return  # traced into a graph
            name = kind.decode() if isinstance(kind, bytes) else kind
            counts[name] = counts.get(name, 0) + 1
            devices.update(t.device for t in outputs if isinstance(t, private.EagerTensor))

        private.add_callback(note)
        try:
            with self.place.scope():
                outcome = self.run(1)
        finally:
            private.remove_callback(note)
        return Heard(counts, frozenset(devices), outcome)


def prepared(subject: Subject, place: Place, point: Mapping[str, Any]) -> Variant:
    """The statement as it is, with its inputs on ``place`` and its first run behind it."""
    wait = waiter(place)
    first_use, sync = _first_use(place, wait)
    with place.scope():
        space = subject.space(point)
    for name in subject.statement.reads & space.keys():
        with contextlib.suppress(TypeError, ValueError):  # what tf.nest cannot walk stays
            space[name] = on_device(space[name], place)
    variant = Variant(place, "eager", subject.statement.loop(space), space, wait, sync, first_use)
    if wait is not None:
        wait(None)
    with place.scope():
        start = perf_counter()
        variant.run(1)
        variant.first = perf_counter() - start
    return variant


def _first_use(place: Place, wait: Callable[[Any], None] | None) -> tuple[float, float | None]:
    """Seconds that the first op on the device took, and those of waiting for it idle."""
    import tensorflow as tf

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
