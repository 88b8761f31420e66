"""A repair is tried before it is offered: the user's lines run once more, aside, with it.

They run up to the call of ``gradient`` that was asked, once as they are (the fault must show
again) and once with each repair; the same target must then have a gradient by the same
source.  Only lines that do nothing but compute are run (:mod:`.rerun`); what they would change
is put back.  A repair that was not tried, or that did not cure, becomes advice.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter

from tfmagic.analysis.code import code_of
from tfmagic.language import Message
from tfmagic.model import GradientCall, Recording, Repair, Tried, Verdict
from tfmagic.model.verdict import ERRORS, ZERO
from tfmagic.runtime.experiments.rerun import Answer, Draws, Program, Scope, rerun

__all__ = ["Trials"]

#: Seconds that the trials of one cell may take: a share of the cell's own time, though never less
#: than the one nor more than the other.
_SHARE, _SHORTEST, _LONGEST = 0.2, 0.5, 2.0
#: How much larger or smaller a gradient that shrank or grew has to come out.
_BETTER = 10.0


class Trials:
    """The trials of one tape's repairs; each is made once for all sources of a line."""

    def __init__(self) -> None:
        self._made: dict[tuple[Repair, int | None], _Compared | None] = {}

    def tried(self, recording: Recording, scope: Scope | None, seconds: float) -> Recording:
        """The recording, each verdict with the first of its repairs that cures, if one does.

        ``scope`` holds the user's names, ``seconds`` is the time that the cell took.
        """
        until = perf_counter() + min(_LONGEST, max(_SHORTEST, _SHARE * seconds))
        calls = []
        for call in recording.gradients:
            trial = None if scope is None else _Trial(recording, call, scope, until)
            settled = {
                place: replace(g, verdict=self._settled(g.verdict, call, place, trial))
                for place, g in enumerate(call.gradients)
                if g.verdict is not None and g.verdict.candidates
            }
            if settled:  # what had nothing to be tried is what it was
                both = (settled.get(place, g) for place, g in enumerate(call.gradients))
                call = replace(call, gradients=tuple(both))
            calls.append(call)
        return replace(recording, gradients=tuple(calls))

    def _settled(
        self, verdict: Verdict, call: GradientCall, place: int, trial: _Trial | None
    ) -> Verdict:
        for repair in verdict.candidates:
            key = repair, call.line
            if key not in self._made and trial is not None:
                self._made[key] = trial.of(repair)
            found = self._made.get(key)
            if found is not None and (tried := found.cured(verdict.code, place)) is not None:
                lines = repair.first, repair.last
                found_one = replace(verdict, mended=repair.text, replaces=lines, cell=repair.cell)
                return replace(found_one, tried=tried, candidates=())
        first = verdict.candidates[0]
        untried = self._made.get((first, call.line)) is None
        advice = Message.of("verdict.untried", code=first.text) if untried else verdict.advice
        return replace(verdict, candidates=(), advice=advice)


@dataclass(frozen=True, slots=True)
class _Compared:
    """A question answered without a repair and with it (None where it got no answer, or was
    another question)."""

    was: Answer | None = None
    now: Answer | None = None

    def cured(self, code: str, place: int) -> Tried | None:
        """What the repair gives one source, where the fault showed again without it, is gone with
        it, and nothing is worse.  Of a zero that a NaN became it must have been shown."""
        was, now = self.was, self.now
        if was is None or now is None or now.error or place >= len(was.norms):
            return None
        before, after = was.norms[place], now.norms[place]
        if after is None or not math.isfinite(after) or not math.isfinite(now.value):
            return None
        if any(_is_fine(b) and not _is_fine(a) for b, a in zip(was.norms, now.norms, strict=True)):
            return None
        if code in ERRORS:
            better = bool(was.error)
        elif code == "vanishing" or code in ZERO:
            better = before is not None and after > before * _BETTER
        elif (before is not None and not math.isfinite(before)) or not math.isfinite(was.value):
            better = after > 0 or place in now.stationary
        else:
            better = not before and after > 0
        return Tried(before, after, was.value, now.value) if better else None


@dataclass(frozen=True)
class _Trial:
    """The lines of one question, to be run with and without a repair."""

    recording: Recording
    call: GradientCall
    scope: Scope
    until: float

    def of(self, repair: Repair) -> _Compared | None:
        """The answers without the repair and with it; None where it cannot be tried."""
        call, cells = self.call, self._cells(repair)
        sources = [self.recording.cells[i].source for i in cells]
        whole = self.recording.cells[repair.cell].source
        if not _asks_the_same(whole, mended := repair.applied(whole)):
            return _Compared()
        if perf_counter() + self._took() > self.until:
            return None
        draws, turn = Draws(), self._turn_of_call(cells)
        before = rerun(Program(sources, call, turn), self.scope, self.until, draws)
        at = _position(before, turn)
        if at is None or len(before[at].norms) != len(call.gradients):
            return None
        changed = [mended if i == repair.cell else s for i, s in zip(cells, sources, strict=True)]
        after = rerun(Program(changed, call, at), self.scope, self.until, draws)
        if len(after) <= at or len(after[at].norms) != len(call.gradients):
            # an earlier cell may lack what it began with, and time may have been up
            late = len(cells) > 1 or perf_counter() > self.until
            return None if late else _Compared()
        now = after[at]
        if 0.0 in now.norms and any(n is not None and math.isnan(n) for n in before[at].norms):
            again = rerun(Program(changed, call, at, probed=True), self.scope, self.until, draws)
            now = again[at] if len(again) > at else now
        return _Compared(before[at], now)

    def _cells(self, repair: Repair) -> list[int]:
        """The cells to run, in the order in which they ran: that of the repair and that which
        asked; of a story all up to the one that asked."""
        recording = self.recording
        if self.call.line is None:
            return [0] if len(recording.cells) == 1 else []
        asked = recording.lines[self.call.line].cell
        told = self.call.cell > 0
        ran = {asked, repair.cell, *(c.index for c in recording.cells if told)}
        return sorted((i for i in ran if self._turn(i) <= self._turn(asked)), key=self._turn)

    def _turn(self, cell: int) -> tuple[int, int]:
        number = re.search(r"\d+", self.recording.cells[cell].label)
        return int(number[0]) if number else 0, cell

    def _took(self) -> float:
        """Seconds that the cell took up to the question, or somewhat more."""
        recording, call = self.recording, self.call
        own = (op.index for op in recording.backward if op.call == call.index)
        end = next(own, None)
        after = sum(op.duration for op in recording.ops[end:]) if end is not None else 0.0
        return max(0.0, recording.seconds - after)

    def _turn_of_call(self, cells: Sequence[int]) -> int:
        """How many questions the cells had asked before this one."""
        if self.call.origin != "cell":
            return 0
        lines = self.recording.lines
        calls = [
            c.index
            for c in self.recording.gradients
            if c.origin == "cell" and c.line is not None and lines[c.line].cell in cells
        ]
        return calls.index(self.call.index)


def _position(found: Sequence[Answer], turn: int) -> int | None:
    """Where a question stands among the answers: a recording knows all gradients, but of jacobians
    only those in which something is None."""
    known = [i for i, answer in enumerate(found) if answer.is_known]
    return known[turn] if turn < len(known) else None


def _is_fine(norm: float | None) -> bool:
    return norm is not None and math.isfinite(norm) and norm > 0


def _asks_the_same(source: str, mended: str) -> bool:
    """Whether the lines ask for the same, in the same order: the same sources of the same target,
    or of a name that now stands for its expression."""
    asked = iter(_questions(mended))
    return mended != source and all(
        any(now == was or (now[1] == was[1] and f"{now[0]} = {was[0]}" in mended) for now in asked)
        for was in _questions(source)
    )


def _questions(source: str) -> list[tuple[str, ...]]:
    """Target and sources of every call of ``gradient`` or ``jacobian``."""
    asked = []
    for node in code_of(source).of(ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("gradient", "jacobian"):
            words = (k.value for k in node.keywords if k.arg in ("target", "sources"))
            asked.append(tuple(ast.unparse(part) for part in (*node.args, *words))[:2])
    return asked
