"""Medians of times, how sure they are, and what may be said of two of them.

Times of a busy machine are skewed, and neighbours resemble each other.  So everything here
goes by ranks, and counts how many independent blocks the series is worth:

A median's interval is made of two order statistics.  Were the blocks independent, the number
below the true median would be binomial, and the ranks ``n/2 ± z·√n/2`` would hold it.  The
signs "above or below the median" are a series with an autocorrelation of its own; its
integrated autocorrelation time τ widens the ranks to ``n/2 ± z·√(nτ)/2``.  τ is summed over
pairs of lags as long as the sums are positive (Geyer's initial positive sequence, Statistical
Science 7, 1992), which holds for no shape of distribution in particular.

That sum ends in the noise before a weak and slow drift is in it.  So τ is found a second way, from
how far the means of longer parts of the series lie apart (overlapping batch means, Meketon and
Schmeiser, 1984), for parts of several lengths.  Few parts tell little of their own spread, which
Student's distribution allows for; the widest of all these reaches counts.  Where τ of the longest
parts is much larger than that of the shortest, it would be larger still for the whole: the drift
is slower than the series is long, and τ is carried on at the rate at which it grew.

Two variants that took turns are compared by the ratios within each round: whatever slows the
machine for longer than a round slows both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

__all__ = [
    "Interval",
    "autocorrelation_time",
    "median_interval",
    "paired_ratio",
    "student",
]

LEVEL = 0.95
#: How many parts a series is cut into, and the fewest values that make a part.
PARTS, LEAST_PART = (8, 16, 32), 4
#: Growth of τ from the shortest parts to the longest that is no accident, and the most by which
#: it is carried on from there: four times the length from the shortest to the longest, eight
#: times to the whole.
GROWTH, CARRIED, MOST_CARRIED = 1.5, math.log(8) / math.log(4), 4.0


@dataclass(frozen=True, slots=True)
class Interval:
    """A median and what holds the true one; ``low`` and ``high`` are None where unknown.

    ``effective`` is the number of independent values that the series is worth.
    """

    median: float
    low: float | None
    high: float | None
    effective: float

    @property
    def spread(self) -> float:
        """Half the width as a share of the median; infinite where there is no interval."""
        if self.low is None or self.high is None or not self.median:
            return math.inf
        return (self.high - self.low) / 2 / abs(self.median)


def median_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """The median of a series in time, with the interval that holds the true one.

    There is no interval where the series is too short for one: six independent values at
    95 %.  Raises ValueError for an empty series.
    """
    series = np.asarray(values, dtype=float)
    if series.size == 0:
        raise ValueError("a median needs at least one value")
    middle = float(np.median(series))
    apart = series - middle
    equal = np.abs(apart) <= 1e-9 * abs(middle)  # what rounding does is no pattern
    signs, n = np.where(equal, 0.0, np.sign(apart)), series.size
    times = [(autocorrelation_time(signs), math.inf), *_part_times(signs)]
    tau = max(time for time, _ in times)
    wide = max(student(level, freedom) * math.sqrt(n * time) for time, freedom in times)
    reach = wide / 2 + 0.5  # as in the continuity correction of the binomial distribution
    lowest, highest = math.floor(n / 2 - reach), math.ceil(n / 2 + reach) - 1
    if lowest < 0 or highest > n - 1:
        return Interval(middle, None, None, n / tau)
    ordered = np.sort(series)
    return Interval(middle, float(ordered[lowest]), float(ordered[highest]), n / tau)


def autocorrelation_time(series: Sequence[float] | np.ndarray) -> float:
    """How many neighbours are worth one independent value: at least 1.

    A short series hides its own slow drift, because its mean moves with it; each lag is
    therefore given back the ``1/n`` that estimating the mean takes from it.
    """
    centred = np.asarray(series, dtype=float)
    centred = centred - centred.mean() if centred.size else centred
    n = centred.size
    power = float(centred @ centred)
    if n < 4 or power == 0:
        return 1.0
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(centred, size)
    lags = np.fft.irfft(spectrum * np.conj(spectrum), size)[: n // 2] / power + 1 / n
    lags[0] = 1.0
    pairs = lags[: lags.size // 2 * 2].reshape(-1, 2).sum(axis=1)
    negative = np.flatnonzero(pairs <= 0)
    last = int(negative[0]) if negative.size else pairs.size
    return float(max(1.0, 2 * pairs[:last].sum() - 1))


def _part_times(series: np.ndarray) -> Iterator[tuple[float, float]]:
    """The autocorrelation time by the means of parts, with its degrees of freedom, for parts of
    several lengths."""
    centred = series - series.mean()
    n, power = centred.size, float(centred @ centred) / centred.size
    sums = np.concatenate([[0.0], np.cumsum(centred)])
    found = []
    for parts in PARTS:
        size = n // parts
        if size >= LEAST_PART and power > 0:
            means = (sums[size:] - sums[:-size]) / size
            spread = float(means @ means) / means.size * n / (n - size)
            found.append((max(1.0, size * spread / power), 1.5 * (parts - 1)))
    yield from found
    if len(found) == len(PARTS):
        (longest, freedom), (shortest, _) = found[0], found[-1]
        growth = max(1.0, longest / shortest / GROWTH) ** CARRIED
        yield longest * min(MOST_CARRIED, growth), freedom


def student(level: float, freedom: float) -> float:
    """The quantile of Student's distribution that a two-sided interval reaches.

    By the first terms of its expansion around the normal distribution (Abramowitz and Stegun,
    26.7.5), which from five degrees of freedom on is good to a part in a thousand.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))


def paired_ratio(a: Sequence[float], b: Sequence[float], level: float = LEVEL) -> Interval | None:
    """``b / a`` over paired values: the median ratio with its interval; None without pairs."""
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    usable = (first > 0) & (second > 0)
    if not usable.any():
        return None
    return median_interval(second[usable] / first[usable], level)
