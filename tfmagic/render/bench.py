"""``%tfbench``: how long one run takes, how sure that is, and what may be said of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tfmagic.analysis.bench import contended, differences, naive_remark, pays_after, spoilt_counts
from tfmagic.analysis.notation import UNKNOWN_SIGN, timed
from tfmagic.language import say
from tfmagic.model.bench import Bench, Comparison, Remark, Timing
from tfmagic.render import files, html, text
from tfmagic.render.escape import clipped, visible
from tfmagic.render.tables import Column, Row, Table

__all__ = ["BenchResult"]

_TONES = {"faster": "good", "slower": "warn", "same": "", "unclear": ""}


class BenchResult:
    """A measurement as text and HTML; ``bench`` is the data behind it, every raw time in it.

    ``digits`` are the significant digits of a time.
    """

    def __init__(self, bench: Bench, digits: int = 3, *, verbose: bool = False) -> None:
        self.bench = bench
        self.digits = digits
        self.verbose = verbose

    @property
    def timings(self) -> tuple[Timing, ...]:
        """One for each variant and point, with its raw times in seconds."""
        return self.bench.timings

    def __repr__(self) -> str:
        return text.render(self._head(), [self.table()], self._notes())

    def mimebundle(self) -> dict[str, str]:
        """The table as ``text/plain`` and ``text/html``."""
        parts = [html.head(self._head()), html.table(self.table()), html.notes(self._notes())]
        return {"text/plain": repr(self), "text/html": html.report(parts)}

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return self.mimebundle()

    def to_json(self) -> str:
        """The measurement as JSON text, with every raw time and the machine's description."""
        return self.bench.to_json()

    def save(self, path: str | Path) -> Path:
        """Write it to a ``.json`` or ``.html`` file, whole or not at all.

        Raises :class:`~tfmagic.errors.OptionError` for another ending or a place that
        cannot be written.
        """
        makers = {
            ".json": self.to_json,
            ".html": lambda: html.page("tfmagic", self.mimebundle()["text/html"]),
        }
        return files.save(path, makers)

    # -- the parts ------------------------------------------------------------------

    def _head(self) -> str:
        statement = clipped(visible(self.bench.statement), 100)
        found = [t for t in self.timings if t.median is not None]
        if len(self.timings) == 1 and found:
            time = timed(found[0].median, self.digits)
            return say("bench.head_one", statement=statement, time=time, name=found[0].name)
        return say("bench.head", statement=statement, n=len(self.timings))

    def table(self) -> Table:
        """One row for each variant."""
        columns = [
            Column(say("bench.variant")),
            Column(say("bench.per_run"), "right"),
            Column(say("bench.interval"), "right"),
            Column(say("bench.against")),
            Column(say("bench.naive"), "right"),
            Column(say("bench.first"), "right", spare=1),
        ]
        if self._traced():
            columns.append(Column(say("bench.trace"), "right", spare=2))
        verdicts = {(c.a, c.b): c for c in differences(self.bench)}
        first = self.timings[0].name if self.timings else ""
        rows = tuple(self._row(t, verdicts.get((first, t.name))) for t in self.timings)
        return Table(say("bench.caption"), tuple(columns), rows)

    def _traced(self) -> bool:
        return any(timing.trace is not None for timing in self.timings)

    def _row(self, timing: Timing, verdict: Comparison | None) -> Row:
        cells = [
            visible(timing.name),
            timed(timing.median, self.digits),
            self._interval(timing),
            verdict_words(verdict) if verdict else UNKNOWN_SIGN,
            timed(timing.naive, self.digits),
            timed(timing.first, self.digits),
        ]
        if self._traced():
            cells.append(timed(timing.trace, self.digits))
        tone = _TONES.get(verdict.verdict, "") if verdict else ""
        if timing.problem or any(r.code == "elsewhere_all" for r in timing.remarks):
            tone = "bad"
        elif timing.ops:
            tone = "warn"
        return Row(tuple(cells), tone, " ".join(self._remarks(timing, verdict)))

    def _interval(self, timing: Timing) -> str:
        if timing.low is None or timing.high is None or timing.spread is None:
            return UNKNOWN_SIGN
        digits = self.digits + 1
        return f"{timed(timing.low, digits)} … {timed(timing.high, digits)}"

    def _remarks(self, timing: Timing, verdict: Comparison | None) -> Iterator[str]:
        if timing.problem:
            yield say(f"bench.problem_{timing.problem}", detail=visible(timing.detail))
        elif timing.low is None:
            yield say("bench.no_interval", n=len(timing.times))
        if verdict is not None and verdict.verdict == "unclear":
            yield say(f"bench.{verdict.reason}", **_values(verdict.values))
        if timing.ops:
            worst = timing.ops[0]
            yield say("bench.left_out", ran=worst.ran, eager=worst.eager, type=visible(worst.type))
        yield from self._break_even(timing, verdict)
        if timing.latency and timing.median and timing.latency > 1.25 * timing.median:
            yield say("bench.latency", time=timed(timing.latency, self.digits))
        explained = naive_remark(timing)
        if explained is not None:
            yield _said(explained)
        if contended(timing):
            yield say("bench.contended", n=len(timing.spoilt), blocks=len(timing.times))
        for remark in timing.remarks:
            yield _said(remark)

    def _in_short(self) -> str:
        if len(self.timings) == 1:
            return _short_method(self.timings[0])
        reasons = {timing.stopped for timing in self.timings} - {"raised", ""}
        why = " " + say(f"bench.stopped_{min(reasons)}") if len(reasons) == 1 else ""
        return say("bench.method_turns") + why

    def _break_even(self, timing: Timing, verdict: Comparison | None) -> Iterator[str]:
        """From which run on a compiled variant pays, where it is faster at all."""
        first = self.timings[0]
        if verdict is None or verdict.verdict != "faster" or timing.trace is None:
            return
        if (first.device, first.mode) == (timing.device, "eager"):
            run = pays_after(first, timing)
            if run is not None:
                yield say("bench.pays_after", mode=timing.mode, run=f"{run:,}")

    def _notes(self) -> list[str]:
        notes = [_said(remark) for remark in self.bench.remarks]
        if self.verbose:
            notes += [line for timing in self.timings for line in _method(timing, self.digits)]
            machine = self.bench.machine
            notes.append(
                say(
                    "bench.machine",
                    processor=visible(machine.processor),
                    cores=machine.cores,
                    tensorflow=machine.tensorflow,
                    python=machine.python,
                )
            )
        else:
            notes += [self._in_short()] if self.timings else []
        return notes


def verdict_words(verdict: Comparison) -> str:
    """``1.83 times as fast``, ``the same (within ±2 %)``, ``unclear``."""
    ratio = verdict.ratio
    if verdict.verdict in ("faster", "slower") and ratio:
        factor = 1 / ratio if verdict.verdict == "faster" else ratio
        amount = f"{factor:,.0f}" if factor >= 100 else f"{factor:.2f}"
        return say(f"bench.{verdict.verdict}", times=amount)
    return say(f"bench.{verdict.verdict}")


def _said(remark: Remark) -> str:
    return say(f"bench.{remark.code}", **_values(remark.values))


def _values(pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return {name: clipped(visible(value), 300) for name, value in pairs}


def _short_method(timing: Timing) -> str:
    return say("bench.method", blocks=f"{len(timing.times):,}", loops=f"{timing.loops:,}") + (
        " " + say(f"bench.stopped_{timing.stopped}") if timing.stopped else ""
    )


def _method(timing: Timing, digits: int) -> Iterator[str]:
    """All that is known about how one figure was taken."""
    yield f"{visible(timing.name)}: {_short_method(timing)}"
    for cause, count in spoilt_counts(timing):
        yield say(f"bench.spoilt_{cause}", n=count)
    if timing.first_use is not None:
        yield say("bench.first_use", time=timed(timing.first_use, digits))
    if timing.sync is not None:
        yield say("bench.sync", time=timed(timing.sync, digits))
