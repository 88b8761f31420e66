"""``%tfbench``: how long one run takes, how sure that is, and what may be said of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from tfmagic.analysis.bench import (
    against_earlier,
    contended,
    differences,
    mostly_drift,
    naive_remark,
    pays_after,
    speed,
    speed_remark,
    spoilt_counts,
)
from tfmagic.analysis.notation import UNKNOWN_SIGN, number, size, timed
from tfmagic.analysis.sweep import crossovers, rounded, swept
from tfmagic.errors import RenderError
from tfmagic.language import say
from tfmagic.model.bench import MODES, Bench, Comparison, OpTime, Remark, SelfTest, Timing
from tfmagic.render import files, html, plots, text
from tfmagic.render.bench_plot import as_text, crossing_words, picture
from tfmagic.render.escape import clipped, visible
from tfmagic.render.tables import Column, Row, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["BenchResult", "SelfTestView"]

MOST_OPS = 40
#: Significant digits that a float has.
MOST_DIGITS = 17
#: Operations of a run from which on its speed says something.
LEAST_FLOPS = 1e6
#: Seconds by which a first call is longer before it is explained, the share of it that a part
#: must have to be told, and the share of a run that may be compiled code without a word.
LEAST_FIRST, LEAST_PART, MOSTLY_INSIDE = 5e-3, 0.01, 0.8
#: The same seconds where nothing was traced: a kernel that is loaded is soon told.
LEAST_ONCE = 0.02
#: What stands in a column: of the timing, and of what is said of it.
Cell = Callable[[Timing, Comparison | None, Comparison | None], str]
_RECORDED = (
    *("device", "mode", "median", "low", "high", "loops", "stopped", "naive", "latency"),
    *("first_use", "trace", "first", "memory", "flops", "problem"),
)
_TONES = {"faster": "good"}


class BenchResult:
    """A measurement as text and HTML; ``bench`` is the data behind it, every raw time in it.

    ``digits`` are the significant digits of a time, ``earlier`` is a measurement to set it
    against, ``plot`` whether its picture is shown: by itself only that of a sweep is.
    """

    #: Endings of the files that :meth:`save` writes.
    FILES = (".json", ".html")

    def __init__(
        self,
        bench: Bench,
        digits: int = 3,
        *,
        verbose: bool = False,
        earlier: Bench | None = None,
        plot: bool = False,
    ) -> None:
        self.bench = bench
        self.digits = min(digits, MOST_DIGITS)
        self.verbose = verbose
        self.earlier = earlier
        self.shows_plot = plot or len({timing.point for timing in bench.timings}) > 1

    @property
    def timings(self) -> tuple[Timing, ...]:
        """One for each variant and point, with its raw times in seconds."""
        return self.bench.timings

    def __repr__(self) -> str:
        drawn = as_text(self.bench) if self.shows_plot else ""
        tables = [*self._tables()]
        return text.render(self._head(), tables, filter(None, [drawn, *self._notes()]))

    def mimebundle(self) -> dict[str, str]:
        """The table and the picture as ``text/plain`` and ``text/html``."""
        times, *others = [html.table(table) for table in self._tables()] or [Markup()]
        parts = [html.head(self._head()), times, *self._picture(), *others]
        parts.append(html.notes(self._notes()))
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

    def plot(self) -> Figure:
        """The matplotlib figure: a sweep on logarithmic axes, else every block of each variant.

        Raises :class:`~tfmagic.errors.RenderError` where nothing was measured.
        """
        drawn = picture(self.bench)
        if drawn is None:
            raise RenderError("bench.nothing_to_plot")
        return drawn

    def compare(self, other: BenchResult) -> BenchResult:
        """The same, each variant set against the one of ``other`` of that device and mode."""
        return BenchResult(self.bench, self.digits, verbose=self.verbose, earlier=other.bench)

    def to_pandas(self) -> Any:
        """A data frame with a row for each variant and point; times are in seconds.

        Raises :class:`~tfmagic.errors.RenderError` where pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise RenderError("bench.no_pandas") from None
        return pandas.DataFrame([_record(timing) for timing in self.timings])

    # -- the parts ------------------------------------------------------------------

    def _head(self) -> str:
        line, *more = self.bench.statement.strip().splitlines() or [""]
        statement = clipped(visible(line + " …" if more else line), 100)
        found = [t for t in self.timings if t.median is not None]
        if len(self.timings) == 1 and found:
            time = timed(found[0].median, self.digits)
            return say("bench.head_one", statement=statement, time=time, name=found[0].name)
        if not self.timings:
            return say("bench.head_none", statement=statement)
        return say("bench.head", statement=statement, n=len(self.timings))

    def _picture(self) -> Iterator[Markup]:
        drawn = picture(self.bench) if self.shows_plot else None
        if drawn is not None:
            words = " ".join(self._crossings()) or self._head()
            yield html.image(plots.svg(drawn), words, 640)

    def _crossings(self) -> list[str]:
        return [
            crossing_words(crossing, rounded(crossing.value)) for crossing in crossovers(self.bench)
        ]

    def table(self) -> Table:
        """One row for each variant at each point."""
        said = differences(self.bench)
        before = against_earlier(self.bench, self.earlier) if self.earlier else None
        rows = []
        columns = self._columns(said, before)
        for index, timing in enumerate(self.timings):
            about = said[index], before[index] if before else None
            remarks = " ".join(self._remarks(timing, *about))
            if remarks and timing.point:
                remarks = f"{_where(timing)}: {remarks}"
            cells = tuple(cell(timing, *about) for _, cell in columns)
            rows.append(Row(cells, _tone(timing, said[index]), remarks))
        heads = tuple(column for column, _ in columns)
        return Table(say("bench.caption"), heads, tuple(rows), heading=len(swept(self.bench)))

    def _columns(
        self, said: Sequence[Comparison | None], before: Sequence[Comparison | None] | None
    ) -> list[tuple[Column, Cell]]:
        """The columns that have something to say here; a sweep does without the lesser ones."""
        digits, timings = self.digits, self.timings
        whole = self.verbose or not swept(self.bench)
        right: dict[str, Any] = {"align": "right"}
        columns: list[tuple[Column, Cell, bool]] = [
            *(
                (Column(visible(name), **right), _of_point(place), True)
                for place, name in enumerate(swept(self.bench))
            ),
            (Column(say("bench.variant")), lambda t, a, b: visible(t.name), True),
            (Column(say("bench.per_run"), **right), lambda t, a, b: timed(t.median, digits), True),
            (Column(self._interval(), **right), lambda t, a, b: _span(t, digits + 1), True),
            (Column(say("bench.against")), lambda t, a, b: verdict_words(a), any(said)),
            (
                Column(say("bench.against_earlier")),
                lambda t, a, b: verdict_words(b),
                before is not None,
            ),
            (
                Column(say("bench.naive"), **right),
                lambda t, a, b: timed(t.naive, digits),
                whole or any(t.asynchronous for t in timings),
            ),
            (
                Column(say("bench.first"), spare=1, **right),
                lambda t, a, b: timed(t.first, digits),
                whole,
            ),
            (
                Column(say("bench.trace"), spare=2, **right),
                lambda t, a, b: timed(t.trace, digits),
                whole and any(t.trace is not None for t in timings),
            ),
            (
                Column(say("bench.memory"), spare=2, **right),
                lambda t, a, b: UNKNOWN_SIGN if t.memory is None else size(t.memory),
                any(t.memory is not None for t in timings),
            ),
            (
                Column(say("bench.flops"), spare=2, **right),
                lambda t, a, b: _speed(t),
                any((t.flops or 0) >= LEAST_FLOPS for t in timings),
            ),
        ]
        return [(column, cell) for column, cell, wanted in columns if wanted]

    def _interval(self) -> str:
        """What an interval may be called: never a confidence in another measurement, for none sees
        the drift between them; what a self-test saw of that widens it."""
        tested = self.bench.selftest
        known = tested is not None and tested.drift is not None
        return say("bench.interval" if known else "bench.interval_run")

    def _tables(self) -> list[Table]:
        """The table of times, where there is one, and those of the ops."""
        return [self.table(), *self._op_tables()] if self.timings else []

    def _op_tables(self) -> list[Table]:
        return [_ops(timing, self.digits) for timing in self.timings if timing.op_times]

    def _remarks(
        self, timing: Timing, verdict: Comparison | None, before: Comparison | None
    ) -> Iterator[str]:
        if timing.problem:
            yield say(f"bench.problem_{_problem(timing)}", detail=visible(timing.detail))
        elif timing.low is None:
            yield say("bench.no_interval", n=len(timing.times))
        for unclear in [] if timing.problem else [verdict, before]:
            if unclear is not None and unclear.verdict == "unclear":
                earlier = say("bench.against_earlier") + ": " if unclear is before else ""
                yield earlier + say(f"bench.{unclear.reason}", **_values(unclear.values))
        anew = [remark for remark in timing.remarks if remark.code.startswith("anew")]
        yield from map(_said, anew)
        brief = bool(timing.point) and not self.verbose
        yield from [] if brief else self._first_call(timing)
        yield from [] if brief else self._around_the_model(timing)
        yield from self._break_even(timing, verdict)
        if "/" in timing.device and timing.sync is not None:
            dispatch = timed(timing.naive, self.digits) if timing.naive else UNKNOWN_SIGN
            yield say("bench.apart", trip=timed(timing.sync, self.digits), dispatch=dispatch)
        if timing.latency and timing.median and timing.latency > 1.25 * timing.median:
            yield say("bench.latency", time=timed(timing.latency, self.digits))
        yield from self._about_the_figures(timing)

    def _about_the_figures(self, timing: Timing) -> Iterator[str]:
        """What explains the naive figure, and what was noticed while measuring."""
        explained = naive_remark(timing)
        brief = bool(timing.point) and not self.verbose
        if explained is not None and (explained.code == "naive_queued" or self.verbose):
            yield _said(explained)
        impossible = speed_remark(timing)
        if impossible is not None:
            yield _said(impossible)
        if contended(timing) and not brief:
            yield say("bench.contended", n=len(timing.spoilt), blocks=len(timing.times))
        for remark in timing.remarks:
            if not remark.code.startswith("anew"):
                yield _said(remark)

    def _in_short(self) -> str:
        if len(self.timings) == 1:
            return _short_method(self.timings[0])
        reasons = {timing.stopped for timing in self.timings} - {"raised", ""}
        why = " " + say(f"bench.stopped_{min(reasons)}") if len(reasons) == 1 else ""
        return say("bench.method_turns") + why

    def _first_call(self, timing: Timing) -> Iterator[str]:
        """What the first call took its time for, where it took much longer than the others."""
        if timing.first is None or timing.median is None:
            return
        whole, tracing = (
            timing.first + (timing.trace or 0.0),
            timing.tracing + (timing.trace or 0.0),
        )
        more = whole - timing.median
        if more < max(LEAST_FIRST, timing.median) or _traced_anew(timing):
            return
        time, later = timed(whole, self.digits), timed(timing.median, self.digits)
        preparing = min(timing.preparing, more - tracing)
        prepared = "compiling" if timing.xla else "preparing"
        parts = (("tracing", tracing), (prepared, preparing), ("other", more - tracing - preparing))
        told = [
            say(f"bench.first_{word}", time=timed(seconds, self.digits))
            for word, seconds in parts
            if seconds > LEAST_PART * whole
        ]
        if tracing + preparing < LEAST_PART * whole:
            if more < LEAST_ONCE:
                return
            yield say("bench.first_once", time=time, later=later)
            return
        told.append(say("bench.first_running", time=timed(timing.median, self.digits)))
        yield say("bench.first_call", time=time, parts=", ".join(told), later=later)

    def _around_the_model(self, timing: Timing) -> Iterator[str]:
        """How much of a run is not the compiled function but what is done around it."""
        inside, median = timing.inside, timing.median
        if inside is None or not median or inside > MOSTLY_INSIDE * median or _traced_anew(timing):
            return
        times = {
            "inside": timed(inside, self.digits),
            "around": timed(median - inside, self.digits),
        }
        if timing.method.endswith("_on_batch"):
            yield say("bench.around_step", method=timing.method, **times)
        elif timing.method:
            yield say("bench.around_model", method=timing.method, **times)
        elif timing.calls:
            yield say("bench.around_function", **times)
        if timing.method == "predict":
            yield say("bench.predict_small")

    def _break_even(self, timing: Timing, verdict: Comparison | None) -> Iterator[str]:
        """From which run on a compiled variant pays, where it is faster at all."""
        first = next(t for t in self.timings if t.point == timing.point)
        if verdict is None or verdict.verdict != "faster" or timing.trace is None:
            return
        if (first.device, first.mode) == (timing.device, "eager"):
            run = pays_after(first, timing)
            if run is not None:
                yield say("bench.pays_after", mode=timing.mode, run=f"{run:,}")

    def _notes(self) -> list[str]:
        tested = self.bench.selftest
        busy = sum(contended(timing) for timing in self.timings)
        notes = [*self._crossings(), *(_said(remark) for remark in self.bench.remarks)]
        if busy and len(self.timings) > 1 and self.timings[0].point:
            notes.append(say("bench.busy_points", n=busy))
        if any(t.mode in MODES[1:] and not t.problem for t in self.timings):
            notes.append(say("bench.may_leave_out"))
        if self.bench.transfer:
            notes.append(say("bench.with_transfer"))
        if self.bench.cold:
            notes.append(say("bench.with_cold"))
        if tested is not None and tested.drift is not None and mostly_drift(self.bench):
            drift, when = share(tested.drift), tested.when[:10]
            notes.append(say("bench.drift_allowed", share=drift, when=when))
        if self.verbose:
            notes += [line for timing in self.timings for line in _method(timing, self.digits)]
            if tested is not None and tested.resolvable is not None:
                resolvable = share(tested.resolvable)
                notes.append(say("bench.selftest_cited", share=resolvable, when=tested.when[:10]))
            if tested is None:
                notes.append(say("bench.drift_unknown"))
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


def _tone(timing: Timing, verdict: Comparison | None) -> str:
    impossible = speed_remark(timing)
    if timing.problem or any(r.code == "elsewhere_all" for r in timing.remarks):
        return "bad"
    if impossible is not None and impossible.code == "impossible":
        return "bad"
    if _traced_anew(timing):
        return "warn"
    return _TONES.get(verdict.verdict, "") if verdict else ""


def _traced_anew(timing: Timing) -> bool:
    return any(remark.code.startswith("anew") for remark in timing.remarks)


def _problem(timing: Timing) -> str:
    """Why a variant has no times; a graph that never ran is no graph for this statement."""
    never = timing.problem == "raised" and not timing.times and timing.mode in MODES[1:]
    return timing.mode if never else timing.problem


def _speed(timing: Timing) -> str:
    """``≥ 8.1 GFLOP/s``: at least so many, where not every op is counted; ``≤`` of a graph, which
    may have left out some of the eager run's."""
    graph = timing.mode in MODES[1:]
    if not timing.flops or not timing.median or (graph and not timing.flops_whole):
        return UNKNOWN_SIGN
    sign = "≤ " if graph else "" if timing.flops_whole else "≥ "
    return sign + speed(timing.flops / timing.median)


def _span(timing: Timing | OpTime, digits: int) -> str:
    """``41.3 … 42.1 µs``."""
    if timing.low is None or timing.high is None:
        return UNKNOWN_SIGN
    low, high = timed(timing.low, digits), timed(timing.high, digits)
    amount, _, unit = low.partition(" ")
    return f"{amount if high.endswith(' ' + unit) else low} … {high}"


def _ops(timing: Timing, digits: int) -> Table:
    """The ops of one run, those that take longest first."""
    whole = sum((op.seconds or 0.0) * op.count for op in timing.op_times)
    rows = [
        Row(
            (
                visible(op.type),
                clipped(visible(op.shapes), 60),
                f"{op.count:,}",
                timed(op.seconds, digits),
                _span(op, digits + 1),
                share((op.seconds or 0.0) * op.count / whole) if op.seconds else UNKNOWN_SIGN,
            ),
            note=say(f"bench.op_{op.reason}") if op.reason else "",
        )
        for op in timing.op_times
    ]
    columns = (
        Column(say("bench.op_head"), code=True),
        Column(say("bench.op_inputs"), code=True),
        Column(say("bench.op_count"), "right"),
        Column(say("bench.op_once"), "right"),
        Column(say("bench.interval_run"), "right"),
        Column(say("bench.op_share"), "right"),
    )
    where = f" ({_where(timing)})" if timing.point else ""
    notes = (say("bench.op_note", time=timed(whole, digits)),)
    caption = say("bench.op_caption", name=visible(timing.name) + where)
    return Table(caption, columns, tuple(rows), notes).head(MOST_OPS)


def _where(timing: Timing) -> str:
    """``n = 512``."""
    return ", ".join(f"{visible(name)} = {number(value)}" for name, value in timing.point)


def _of_point(place: int) -> Cell:
    return lambda timing, said, before: number(timing.point[place][1])


def _record(timing: Timing) -> dict[str, Any]:
    """One row of the data frame; the raw times stay in ``result.timings``."""
    return {
        **dict(timing.point),
        **{name: getattr(timing, name) for name in _RECORDED},
        "blocks": len(timing.times),
        "spoilt": len(timing.spoilt),
    }


class SelfTestView:
    """What the stopwatch can tell apart here, as text and HTML; ``selftest`` is the data."""

    def __init__(self, selftest: SelfTest) -> None:
        self.selftest = selftest

    def __repr__(self) -> str:
        return text.render(self._head(), [self.table()], self._notes())

    def mimebundle(self) -> dict[str, str]:
        """The table as ``text/plain`` and ``text/html``."""
        parts = [html.head(self._head()), html.table(self.table()), html.notes(self._notes())]
        return {"text/plain": repr(self), "text/html": html.report(parts)}

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return self.mimebundle()

    def _head(self) -> str:
        found = self.selftest.resolvable
        if found is None:
            return say("bench.selftest_none")
        return say("bench.selftest_head", share=share(found))

    def table(self) -> Table:
        """How often each known difference was found."""
        columns = (
            Column(say("bench.selftest_extra"), "right"),
            Column(say("bench.selftest_found"), "right"),
        )
        rows = [Row((share(extra), share(found))) for extra, found in self.selftest.found]
        return Table(say("bench.selftest_caption"), columns, tuple(rows))

    def _notes(self) -> list[str]:
        test = self.selftest
        notes = [say("bench.selftest_same", claimed=test.claimed, n=test.pairs)]
        if test.within is not None:
            notes.append(say("bench.selftest_within", share=share(test.within)))
        if test.between is not None:
            notes.append(say("bench.selftest_between", share=share(test.between)))
        if test.drift:
            notes.append(say("bench.selftest_drift", share=share(test.drift)))
        return [*notes, say("bench.selftest_kept")]


def share(amount: float) -> str:
    """``5 %``, ``0.34 %``."""
    return f"{100 * amount:.2g} %" if amount < 0.1 else f"{100 * amount:,.0f} %"


def verdict_words(verdict: Comparison | None) -> str:
    """``1.83× as fast``, ``the same``, ``unclear``."""
    if verdict is None:
        return UNKNOWN_SIGN
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
    blocks, loops = say("bench.blocks", n=len(timing.times)), timing.loops
    how = say("bench.method", blocks=blocks, n=loops, loops=f"{loops:,}")
    parts = [how] if timing.times else []
    if timing.stopped and not timing.problem:  # what ended it is said there
        parts.append(say(f"bench.stopped_{timing.stopped}"))
    return " ".join(parts)


def _method(timing: Timing, digits: int) -> Iterator[str]:
    """All that is known about how one figure was taken."""
    yield f"{visible(timing.name)}: {_short_method(timing)}"
    for cause, count in [] if contended(timing) else spoilt_counts(timing):
        yield say(f"bench.spoilt_{cause}", n=count)
    if timing.first_use is not None:
        yield say("bench.first_use", time=timed(timing.first_use, digits))
    if timing.sync is not None:
        yield say("bench.sync", time=timed(timing.sync, digits))
