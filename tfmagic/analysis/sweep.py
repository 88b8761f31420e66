"""Sweeps: the values of a variable, how time grows with it, and where one variant overtakes."""

from __future__ import annotations

import itertools
import keyword
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfmagic.analysis.bench import compared, within
from tfmagic.errors import OptionError
from tfmagic.model.bench import Bench, Timing

__all__ = ["Crossover", "Curve", "crossovers", "curves", "parsed", "points", "rounded", "swept"]

#: Most points of one sweep; each takes its time.
MOST = 200


def parsed(option: str) -> tuple[str, tuple[float, ...]]:
    """``n=64:4096:2`` as the name and its values; also ``n=64:4096:+64`` and ``n=1,10,100``.

    Without a step each value is twice the one before.  Raises
    :class:`~tfmagic.errors.OptionError` for anything else.
    """
    name, _, given = option.partition("=")
    try:
        values = _range(given) if ":" in given else [_number(v) for v in given.split(",")]
    except (ValueError, OverflowError):
        values = []
    name = name.strip()
    if not name.isidentifier() or keyword.iskeyword(name) or not values:
        raise OptionError("bench.no_sweep", given=option)
    if len(values) > MOST:
        raise OptionError("bench.sweep_many", given=option, most=MOST)
    return name, tuple(values)


def _range(given: str) -> list[float]:
    start, stop, *step = given.split(":")
    first, last = _number(start), _number(stop)
    word = step[0] if step else "2"
    by = _number(word.lstrip("+"))
    if len(step) > 1 or by <= (0 if word.startswith("+") else 1) or first > last:
        raise ValueError(given)
    if word.startswith("+"):
        return [first + i * by for i in range(min(MOST + 1, int((last - first) / by + 1e-9) + 1))]
    if first <= 0:
        raise ValueError(given)
    count = int(math.log(last / first) / math.log(by) + 1e-9) + 1
    return [_plain(first * by**i) for i in range(min(MOST + 1, count))]


def _number(text: str | float) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return _plain(value)


def _plain(value: float) -> float:
    """A whole number as int: it may stand for a size."""
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else float(value)


def points(sweeps: Mapping[str, Sequence[float]]) -> Iterator[dict[str, float]]:
    """Every combination of the values, the last variable changing fastest.

    Raises :class:`~tfmagic.errors.OptionError` where a variable has none, or one that is no number.
    """
    known = [_values(name, given) for name, given in sweeps.items()]
    return (dict(zip(sweeps, values, strict=True)) for values in itertools.product(*known))


def _values(name: str, given: Any) -> list[float]:
    try:
        values = [] if isinstance(given, str) else [_number(value) for value in given]
    except (TypeError, ValueError, OverflowError):
        values = []
    if not values:
        raise OptionError("bench.no_sweep", given=f"{name}={given}")
    return values


def swept(bench: Bench) -> tuple[str, ...]:
    """The variables of the sweep, in order; the last one is drawn along the axis."""
    return tuple(name for name, _ in bench.timings[0].point) if bench.timings else ()


@dataclass(frozen=True, slots=True)
class Curve:
    """One variant along the last swept variable; ``fixed`` are the values of the others."""

    name: str
    fixed: tuple[tuple[str, float], ...]
    values: tuple[float, ...]
    timings: tuple[Timing, ...]


def curves(bench: Bench) -> tuple[Curve, ...]:
    """The measured points of a sweep, variant by variant."""
    found: dict[tuple[str, tuple[tuple[str, float], ...]], list[Timing]] = {}
    for timing in bench.timings:
        if timing.point and timing.median is not None:
            found.setdefault((timing.name, timing.point[:-1]), []).append(timing)
    return tuple(
        Curve(name, fixed, tuple(t.point[-1][1] for t in timings), tuple(timings))
        for (name, fixed), timings in found.items()
    )


@dataclass(frozen=True, slots=True)
class Crossover:
    """From ``value`` of ``variable`` on, ``winner`` is faster than ``loser``.

    The value lies between two measured points; it is where a straight line between them, in
    logarithms, meets 1.
    """

    winner: str
    loser: str
    variable: str
    value: float
    fixed: tuple[tuple[str, float], ...] = ()


def crossovers(bench: Bench) -> tuple[Crossover, ...]:
    """Where two variants change places, and stay so, with a verdict on either side."""
    found = []
    drawn = curves(bench)
    for a, b in itertools.combinations(drawn, 2):
        if a.fixed == b.fixed:
            found += _crossing(bench, a, b)
    return tuple(found)


def _crossing(bench: Bench, a: Curve, b: Curve) -> list[Crossover]:
    ratios = _ratios(bench, a, b)
    for (x, one), (y, other) in itertools.pairwise(ratios):
        after = [ratio for value, ratio in ratios if value >= y]
        if (one > 1) == (other > 1) or any((ratio > 1) != (other > 1) for ratio in after):
            continue
        share = math.log(one) / (math.log(one) - math.log(other))
        value = x * (y / x) ** share if x > 0 else x + (y - x) * share
        winner, loser = (b, a) if other < 1 else (a, b)
        variable = bench.timings[0].point[-1][0]
        return [Crossover(winner.name, loser.name, variable, value, a.fixed)]
    return []


def _ratios(bench: Bench, a: Curve, b: Curve) -> list[tuple[float, float]]:
    """``(value, b over a)`` at the points where a difference can be claimed."""
    second: Mapping[float, Timing] = dict(zip(b.values, b.timings, strict=True))
    found = []
    for value, timing in zip(a.values, a.timings, strict=True):
        other = second.get(value)
        if other is None:
            continue
        said = compared(timing, other, within(bench))
        if said.verdict in ("faster", "slower") and said.ratio:
            found.append((value, said.ratio))
    return sorted(found)


def rounded(value: float) -> str:
    """``≈ 700`` for a crossover: no more digits than it is good for."""
    if value <= 0:
        return f"{value:.2g}"
    digits = max(0, 1 - math.floor(math.log10(value)))
    return f"{round(value, 1 - math.floor(math.log10(value))):,.{digits}f}"
