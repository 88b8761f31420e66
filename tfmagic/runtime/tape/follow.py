"""Following a training run while it goes on: a few figures, seldom enough not to slow it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from tfmagic.runtime.autodiff.differentiate import aside
from tfmagic.runtime.capture.log import CompiledFunction, Log
from tfmagic.runtime.capture.structure import leaves

__all__ = ["Course", "Follower"]

#: Seconds between two looks at least, the share of the time that looks may take, the points of
#: a course, and the steps that one look reads of one function.
PERIOD, SHARE, MOST, AT_ONCE = 0.25, 0.02, 200, 24


@dataclass(slots=True)
class Course:
    """The loss, and the norm of all gradients, of the steps that were looked at so far."""

    steps: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    norm: list[float] = field(default_factory=list)

    def add(self, step: int, loss: float, norm: float) -> None:
        """One more step; where they become many every other one goes, but the last."""
        self.steps.append(step)
        self.loss.append(loss)
        self.norm.append(norm)
        if len(self.steps) > MOST:
            self.steps = [*self.steps[:-1:2], self.steps[-1]]
            self.loss = [*self.loss[:-1:2], self.loss[-1]]
            self.norm = [*self.norm[:-1:2], self.norm[-1]]


class Follower:
    """Called after every step; now and then it reads what is new in ``log``, and hands the
    courses on: one for each loss that something is trained by."""

    def __init__(
        self,
        log: Log,
        show: Callable[[dict[str, Course], float], None],
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._log = log
        self._show = show
        self._clock = clock
        self._start: float | None = None
        self._next = 0.0
        self._looks = 0
        self._read: dict[str, int] = {}
        self._calls = 0
        self.courses: dict[str, Course] = {}

    def step(self) -> None:
        """A step was made.  What goes wrong in here ends the following, not the training."""
        now = self._clock()
        if self._start is None:
            self._start, self._next = now, now + PERIOD
        if now < self._next:
            return
        try:
            self._look()
            self._show(self.courses, now - self._start)
        except Exception as error:
            self._log.progress = None
            self._log.faults.append(f"{type(error).__name__}: {error}"[:300])
        took, self._looks = self._clock() - now, self._looks + 1
        if self._looks <= 2:
            took = 0.0  # what draws was loaded
        self._next = self._clock() + max(PERIOD, took / SHARE)

    def _look(self) -> None:
        for function in self._log.compiled.values():
            self._compiled(function)
        if len(self._log.calls) > self._calls and self._log.calls[-1].origin == "cell":
            aside(self._eager)
        self._calls = len(self._log.calls)

    def _compiled(self, function: CompiledFunction) -> None:
        columns = _columns(function)
        last = self._read.get(function.name, -1)
        fresh = [step for step in function.steps if step.number > last] if columns else []
        for step in fresh[:: max(1, len(fresh) // AT_ONCE)]:
            for name, (group, loss, gradients) in columns.items():
                rows = np.asarray(step.figures[group], float)
                if len(rows):
                    norm = np.sqrt(2.0 * np.sum(rows[-1, gradients]))
                    course = self.courses.setdefault(name, Course())
                    value = float(rows[-1, loss]) if loss is not None else float("nan")
                    course.add(step.number + 1, value, float(norm))
        self._read[function.name] = function.count - 1

    def _eager(self) -> None:
        """The loss that was differentiated last; its gradients would cost a look at all of them."""
        call = self._log.calls[-1]
        values = [
            np.mean(np.asarray(v, float)) for _, v in leaves(call.target) if hasattr(v, "_id")
        ]
        if values:
            same = sum(c.place == call.place for c in self._log.calls)
            name = str(call.place[0][1]) if call.place else ""
            course = self.courses.setdefault(name, Course())
            course.add(same, float(sum(values)), float("nan"))


def _columns(function: CompiledFunction) -> dict[str, tuple[int, int | None, list[int]]]:
    """Loss → the matrix of figures that it stands in, its column, and those of its gradients."""
    found: dict[str, tuple[int, int | None, list[int]]] = {}
    for group, taps in enumerate(function.taps):
        at, losses, gradients = 0, dict[str, int](), dict[str, list[int]]()
        for tap in taps:
            if tap.kind == "loss":
                losses[tap.key] = at
            elif tap.kind == "gradient":
                gradients.setdefault(tap.key[1], []).append(at)
            at += tap.width
        for loss, columns in gradients.items():
            found[f"{function.name} {loss}"] = group, losses.get(loss), columns
    return found
