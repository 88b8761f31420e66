"""What may be said of measured times: one variant against another, the naive figure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Protocol

from tfmagic.analysis.statistics import Interval, paired_ratio
from tfmagic.model.bench import Bench, Comparison, Remark, Timing

__all__ = [
    "against_earlier",
    "allowing_for_drift",
    "compared",
    "contended",
    "differences",
    "kept",
    "mostly_drift",
    "naive_remark",
    "pays_after",
    "resolved",
    "speed",
    "speed_remark",
    "spoilt_counts",
    "within",
]

#: A difference is claimed where the 99 % interval of the ratio does not hold 1, and the
#: ratio is at least this far from it: two copies of one loop differ by less, for good, by
#: where they happen to lie in memory.
CLAIM_LEVEL, LEAST_CLAIM = 0.99, 0.01
#: "The same" is said where the whole interval lies within so much of 1.
SAME = 0.02
#: What two measurements of the same thing may differ by where no self-test has said.
BETWEEN_RUNS = 0.05
#: Independent pairs that a verdict needs.
LEAST_PAIRS = 15
#: A ratio need not be known more closely than to this share of its distance from 1.
FAR = 0.25
#: Share of spoilt blocks above which none is left out: what spoils most of them belongs to the
#: statement, or to a busy machine.
CONTENDED = 0.5


class Blocks(Protocol):
    """Times of one variant by round, with the places and causes of those that were spoilt."""

    @property
    def rounds(self) -> Sequence[int]:
        """The round that each time belongs to."""

    @property
    def times(self) -> Sequence[float]:
        """Seconds for one run, block by block."""

    @property
    def spoilt(self) -> Sequence[tuple[int, str]]:
        """Index and cause of each block that was spoilt."""


def differences(bench: Bench) -> tuple[Comparison | None, ...]:
    """For each timing what is said of it against the first one at the same point."""
    first: dict[tuple[tuple[str, float], ...], Timing] = {}
    found: list[Comparison | None] = []
    for timing in bench.timings:
        reference = first.setdefault(timing.point, timing)
        same = reference is timing
        found.append(None if same else compared(reference, timing, within(bench)))
    return tuple(found)


def against_earlier(now: Bench, earlier: Bench) -> tuple[Comparison | None, ...]:
    """For each timing what is said of it against the same variant of another measurement.

    The two did not take turns, and a machine is not the same from one hour to the next: a
    difference is claimed only beyond what a self-test could resolve, or beyond 5 %.
    """
    known = {(t.device, t.mode, t.point): t for t in earlier.timings}
    return tuple(
        _unpaired(known[key], timing, now, earlier)
        if (key := (timing.device, timing.mode, timing.point)) in known
        else None
        for timing in now.timings
    )


def allowing_for_drift(bench: Bench) -> Bench:
    """The same, the intervals as wide as it takes where the machine drifts from run to run.

    One run cannot see by how much: a self-test on this machine can.  It measures what the host
    computes, so it says nothing of other devices.
    """
    return replace(bench, timings=tuple(_widened(t, _drift(bench)) for t in bench.timings))


def _drift(bench: Bench) -> float:
    return (bench.selftest.drift if bench.selftest else None) or 0.0


def _widened(timing: Timing, drift: float) -> Timing:
    middle, low, high = timing.median, timing.low, timing.high
    if middle is None or low is None or high is None or not timing.device.startswith("CPU"):
        return timing
    below, above = (math.hypot(reach, drift * middle) for reach in (middle - low, high - middle))
    return replace(timing, low=max(0.0, middle - below), high=middle + above)


def mostly_drift(bench: Bench) -> bool:
    """Whether an interval is much wider than its own run would have it."""
    most = 2 * _drift(bench)
    return any(t.spread is not None and 0 < t.spread < most for t in bench.timings)


def within(bench: Bench) -> float | None:
    """What two variants that take turns may differ by for nothing, by the self-test."""
    return None if bench.selftest is None else bench.selftest.within


def _between(bench: Bench) -> float:
    known = None if bench.selftest is None else bench.selftest.between
    return BETWEEN_RUNS if known is None else known


def _unpaired(a: Timing, b: Timing, now: Bench, earlier: Bench) -> Comparison:
    for timing in (a, b):
        if timing.median is None or timing.spread is None:
            return Comparison(a.name, b.name, "unclear", "reason_few")
    assert a.median is not None and b.median is not None
    ratio = b.median / a.median
    least = max(_between(now), _between(earlier))
    reach = 1.32 * math.hypot(a.spread or 0, b.spread or 0)  # from 95 % to 99 %
    interval = Interval(ratio, ratio / (1 + reach), ratio * (1 + reach), 0.0)
    verdict, reason = _verdict(interval, least)
    if now.machine.differs(earlier.machine):
        verdict, reason = "unclear", "reason_other_machine"
    return Comparison(a.name, b.name, verdict, reason, ratio, interval.low, interval.high)


def compared(a: Timing, b: Timing, resolution: float | None = None) -> Comparison:
    """What can be said of ``b`` against ``a``, which were run in the same rounds.

    ``resolution`` is the smallest difference that a self-test could resolve here.
    """
    for timing in (a, b):
        if timing.median is None:
            return Comparison(
                a.name, b.name, "unclear", "reason_failed", values=(("name", timing.name),)
            )
    pairs = _pairs(a, b)
    found = _ratio(pairs)
    if found is None or found.low is None or found.high is None or found.effective < LEAST_PAIRS:
        ratio = found.median if found else None
        return Comparison(a.name, b.name, "unclear", "reason_few", ratio, pairs=len(pairs))
    verdict, reason = _verdict(found, max(LEAST_CLAIM, resolution or 0.0))
    if verdict == "unclear" and (contended(a) or contended(b)):
        reason = "reason_contended"
    return Comparison(
        a.name, b.name, verdict, reason, found.median, found.low, found.high, len(pairs)
    )


def _verdict(ratio: Interval, least: float) -> tuple[str, str]:
    low, high = ratio.low or 0.0, ratio.high or math.inf
    if abs(ratio.median - 1) >= least and (high < 1 or low > 1):
        return ("faster" if high < 1 else "slower"), "reason_apart"
    if max(abs(low - 1), abs(high - 1)) <= max(SAME, 2 * least):
        return "same", "reason_alike"
    return "unclear", "reason_wide"


def resolved(a: Blocks, b: Blocks, precision: float) -> bool:
    """Whether the ratio of two variants is known closely enough for a verdict, whichever it be.

    It goes by the width of the interval, never by what the verdict would be: measuring until
    a difference shows would find one where there is none.
    """
    found = _ratio(_pairs(a, b))
    if found is None or found.effective < LEAST_PAIRS:
        return False
    return found.spread <= max(precision, FAR * abs(found.median - 1))


def _ratio(pairs: Sequence[tuple[float, float]]) -> Interval | None:
    return paired_ratio([x for x, _ in pairs], [y for _, y in pairs], CLAIM_LEVEL)


def _pairs(a: Blocks, b: Blocks) -> list[tuple[float, float]]:
    """The times of both in each round that spoilt neither."""
    first, second = _by_round(a), _by_round(b)
    return [(first[turn], second[turn]) for turn in first if turn in second]


def _by_round(blocks: Blocks) -> dict[int, float]:
    found: dict[int, list[float]] = defaultdict(list)
    for turn, seconds in kept(blocks):
        found[turn].append(seconds)
    return {turn: median(times) for turn, times in found.items()}


def kept(blocks: Blocks) -> list[tuple[int, float]]:
    """Round and time of each block that counts."""
    left_out = set() if contended(blocks) else {index for index, _ in blocks.spoilt}
    both = zip(blocks.rounds, blocks.times, strict=True)
    return [block for index, block in enumerate(both) if index not in left_out]


def contended(blocks: Blocks) -> bool:
    """Whether most blocks were spoilt: then none can be left out for it."""
    return bool(blocks.times) and len(blocks.spoilt) > CONTENDED * len(blocks.times)


def pays_after(plain: Timing, compiled: Timing) -> int | None:
    """The run from which a compiled variant has made up for its tracing and first run.

    None where it never does, or where its times are not known.
    """
    if plain.median is None or compiled.median is None or compiled.first is None:
        return None
    gain = plain.median - compiled.median
    cost = (compiled.trace or 0.0) + compiled.first - compiled.median
    return max(1, math.ceil(cost / gain)) if gain > 0 else None


def naive_remark(timing: Timing) -> Remark | None:
    """What explains that the naive figure is another; None where it is about the same."""
    if not timing.naive or not timing.median:
        return None
    ratio = timing.median / timing.naive
    if timing.asynchronous and ratio > 1.25:
        return Remark.of("naive_queued", times=times(ratio))
    if ratio > 1.25:
        return Remark.of("naive_less", times=times(ratio))
    if ratio < 0.8:
        return Remark.of("naive_more", times=times(1 / ratio))
    return None


def speed_remark(timing: Timing) -> Remark | None:
    """That a time, or the naive figure, would need more than the device can do."""
    if not timing.flops or not timing.peak:
        return None
    for code, seconds in (("impossible", timing.median), ("naive_impossible", timing.naive)):
        if seconds and timing.flops / seconds > timing.peak:
            return Remark.of(
                code,
                speed=speed(timing.flops / seconds),
                peak=speed(timing.peak),
                device=timing.device,
            )
    return None


def speed(amount: float) -> str:
    """``25 TFLOP/s``."""
    for scale, unit in ((1e12, "T"), (1e9, "G")):
        if amount >= scale:
            return f"{amount / scale:.3g} {unit}FLOP/s"
    return f"{amount / 1e6:.3g} MFLOP/s"


def times(ratio: float) -> str:
    """``1.3``, ``12``, ``1,090``: how many times."""
    return f"{ratio:.1f}" if ratio < 10 else f"{ratio:,.0f}"


def spoilt_counts(timing: Timing) -> Sequence[tuple[str, int]]:
    """How many blocks each cause spoilt."""
    counts: dict[str, int] = defaultdict(int)
    for _, cause in timing.spoilt:
        counts[cause] += 1
    return sorted(counts.items())
