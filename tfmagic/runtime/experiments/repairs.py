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
from typing import Any

from tfmagic.analysis.code import code_of
from tfmagic.language import Message
from tfmagic.model import Gradient, GradientCall, Recording, Repair, Tried, Verdict
from tfmagic.model.verdict import ERRORS, ZERO
from tfmagic.runtime.experiments.rerun import Answer, Draws, Program, Scope, rerun

__all__ = ["Trials"]

#: Seconds that the trials of one cell may take, and the share of the cell's own time.
_SECONDS, _SHARE = 0.5, 0.2
#: How much larger or smaller a gradient that shrank or grew has to come out.
_BETTER = 10.0
#: Functions with which a repair can end a slope.
_CUTS = ("maximum", "minimum", "clip_by_value", "where")


class Trials:
    """The trials of one tape's repairs; each is made once."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], Tried | bool | None] = {}

    def tried(self, recording: Recording, scope: Scope | None, seconds: float) -> Recording:
        """The recording, each verdict with the first of its repairs that cures, if one does.

        ``scope`` holds the user's names, ``seconds`` is the time that the cell took.
        """
        until = perf_counter() + max(_SECONDS, _SHARE * seconds)
        calls = [self._call(recording, call, scope, until) for call in recording.gradients]
        return replace(recording, gradients=tuple(calls))

    def _call(
        self, recording: Recording, call: GradientCall, scope: Scope | None, until: float
    ) -> GradientCall:
        """The call, each of its verdicts settled; what had nothing to be tried is what it was."""
        settled = {
            g: replace(g, verdict=self._settled(recording, call, g, scope, until))
            for g in call.gradients
            if g.verdict is not None and g.verdict.candidates
        }
        if not settled:
            return call
        return replace(call, gradients=tuple(settled.get(g, g) for g in call.gradients))

    def _settled(
        self,
        recording: Recording,
        call: GradientCall,
        gradient: Gradient,
        scope: Scope | None,
        until: float,
    ) -> Verdict:
        verdict = gradient.verdict
        assert verdict is not None
        for repair in verdict.candidates:
            key = (repair, call.line, gradient.place, verdict.code)
            if key not in self._known and scope is not None:
                trial = _Trial(recording, call, gradient, scope, until)
                self._known[key] = trial.of(repair)
            if isinstance(tried := self._known.get(key), Tried):
                lines = repair.first, repair.last
                found = replace(verdict, mended=repair.text, replaces=lines, cell=repair.cell)
                return replace(found, tried=tried, candidates=())
        first = verdict.candidates[0]
        untried = self._known.get((first, call.line, gradient.place, verdict.code)) is None
        advice = Message.of("verdict.untried", code=first.text) if untried else verdict.advice
        return replace(verdict, candidates=(), advice=advice)


@dataclass(frozen=True)
class _Trial:
    """The lines of one question, with and without a repair."""

    recording: Recording
    call: GradientCall
    gradient: Gradient
    scope: Scope
    until: float

    def of(self, repair: Repair) -> Tried | bool | None:
        """What the repair gives; False where it does not cure or asks something else, None where it
        cannot be tried."""
        call, cells = self.call, self._cells(repair)
        sources = [self.recording.cells[i].source for i in cells]
        whole = self.recording.cells[repair.cell].source
        if not _asks_the_same(whole, mended := repair.applied(whole)):
            return False
        draws, place = Draws(), call.gradients.index(self.gradient)
        before = rerun(Program(sources, call), self.scope, self.until, draws)
        at = self._position(before, cells)
        if at is None or len(before[at].norms) != len(call.gradients):
            return None
        changed = [mended if i == repair.cell else s for i, s in zip(cells, sources, strict=True)]
        after = rerun(Program(changed, call), self.scope, self.until, draws)
        if len(after) <= at or len(after[at].norms) != len(call.gradients):
            return None if len(cells) > 1 else False  # an earlier cell may lack what it began with
        was, now = before[at], after[at]
        tried = Tried(was.norms[place], now.norms[place], was.value, now.value)
        cut = _cuts(mended) > _cuts(whole)
        return tried if self._cures(was, now, place, cut) else False

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

    def _position(self, found: Sequence[Answer], cells: Sequence[int]) -> int | None:
        """Where the call stands among the answers of the lines as they are: the recording knows
        all gradients, but of jacobians only those in which something is None."""
        if self.call.origin != "cell":
            return 0 if found else None
        lines = self.recording.lines
        calls = [
            c.index
            for c in self.recording.gradients
            if c.origin == "cell" and c.line is not None and lines[c.line].cell in cells
        ]
        known = [i for i, a in enumerate(found) if not a.jacobian or None in a.norms]
        own = calls.index(self.call.index)
        return known[own] if own < len(known) else None

    def _cures(self, was: Answer, now: Answer, place: int, cut: bool) -> bool:
        """Whether the fault showed again without the repair, is gone with it, and nothing is
        worse.  A slope of zero is right where nothing was ``cut`` off to get it."""
        assert self.gradient.verdict is not None
        code, before, after = self.gradient.verdict.code, was.norms[place], now.norms[place]
        if now.error or after is None or not math.isfinite(after) or not math.isfinite(now.value):
            return False
        if any(_is_fine(b) and not _is_fine(a) for b, a in zip(was.norms, now.norms, strict=True)):
            return False
        if code in ERRORS:
            return bool(was.error)
        if code == "vanishing" or code in ZERO:
            return before is not None and after > before * _BETTER
        if (before is not None and not math.isfinite(before)) or not math.isfinite(was.value):
            return after > 0 or (not cut and 0.0 not in was.norms)
        return not before and after > 0


def _is_fine(norm: float | None) -> bool:
    return norm is not None and math.isfinite(norm) and norm > 0


def _cuts(source: str) -> int:
    return sum(source.count(f".{name}(") for name in _CUTS)


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
