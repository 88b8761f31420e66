"""The answer in one sentence: what a recording shows, before anything else is said of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tfmagic.language import say
from tfmagic.model import Gradient, Recording, Verdict
from tfmagic.model.verdict import BESIDE
from tfmagic.render import run
from tfmagic.render.escape import clipped, visible

__all__ = ["Cause", "answer", "causes"]

#: Runs that are told of in the sentence, and names of sources that one cause lists.
_RUNS, _NAMES = 3, 4
_LONGEST = 300


@dataclass(frozen=True, slots=True)
class Cause:
    """What is wrong with the gradients of some sources: one verdict that speaks for all."""

    verdict: Verdict
    sources: tuple[str, ...]


def causes(recording: Recording) -> tuple[Cause, ...]:
    """Every cause once, with the sources that it hits.

    One that makes values bad on their way comes before one that stops a gradient, and in each
    the line that ran first: what stands first must be mended first.
    """
    found: dict[tuple[object, ...], list[Verdict]] = {}
    for verdict in recording.verdicts:
        if not verdict.fine and verdict not in recording.remarks:
            key = (verdict.code, verdict.cell, verdict.line_number, verdict.op)
            found.setdefault(key, []).append(verdict)
    made = [
        Cause(same[0], tuple(dict.fromkeys(each.source for each in same)))
        for same in found.values()
    ]
    return tuple(sorted(made, key=lambda cause: _rank(cause.verdict)))


def _rank(verdict: Verdict) -> tuple[int, int]:
    first = ("nan_input", "domain_edge", "overflow", "where_branch")
    return int(verdict.code not in first), verdict.op if verdict.op is not None else 1 << 40


def answer(recording: Recording) -> str:
    """One or a few sentences; empty where nothing was asked and nothing trained."""
    return " ".join(_sentences(recording))


def _sentences(recording: Recording) -> Iterator[str]:
    for told in recording.runs[:_RUNS]:
        yield run.sentence(told)
        if because := run.why(told):
            yield because
    last: dict[tuple[str, str], Gradient] = {}
    for call in recording.gradients:
        last.update({(g.target, g.source): g for g in call.gradients})
    told_of = causes(recording)
    if not told_of:
        wrong = next((r for r in recording.remarks if r.code in BESIDE), None)
        if wrong is not None:
            message = clipped(visible(wrong.message), _LONGEST)
            yield say("answer.beside", n=len(last), message=message) if last else message
        elif last and not recording.runs:
            yield say("answer.fine", n=len(last))
        return
    if not last:
        return
    hit = sum(1 for g in last.values() if g.verdict is not None and not g.verdict.fine)
    first = told_of[0]
    names = ", ".join(visible(clipped(name, 40)) for name in first.sources[:_NAMES])
    names += ", …" if len(first.sources) > _NAMES else ""
    message = clipped(visible(first.verdict.message), _LONGEST)
    yield say("answer.trouble", n=hit, of=len(last), names=names, message=message)
    if len(told_of) > 1:
        yield say("answer.more", n=len(told_of) - 1)
