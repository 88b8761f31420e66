"""Stretches of a sequence that repeat: the turns of a loop, the blocks of a network."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

__all__ = ["Repeat", "repeats"]

#: How many of the next places with the same label are tried as the length of one turn.
_TRIES = 4

Repeat = tuple[int, int, int]
"""Where it begins, how many members one turn has, how many turns there are."""


def repeats(labels: Sequence[Hashable], *, least: int = 3) -> Iterator[Repeat]:
    """The stretches in which the same members come ``least`` times or more in a row.

    They do not overlap and come in order; of several that begin at one place the one that
    covers most is taken, and of those the one with the shortest turn.
    """
    later = _next_places(labels)
    begin = 0
    while begin < len(labels):
        found = _longest(labels, later, begin, least)
        if found:
            period, count = found
            yield begin, period, count
            begin += period * count
        else:
            begin += 1


def _next_places(labels: Sequence[Hashable]) -> list[int]:
    """For each place the next one with the same label, or the length where there is none."""
    later, known = [len(labels)] * len(labels), dict[Hashable, int]()
    for place in range(len(labels) - 1, -1, -1):
        later[place] = known.get(labels[place], len(labels))
        known[labels[place]] = place
    return later


def _longest(
    labels: Sequence[Hashable], later: Sequence[int], begin: int, least: int
) -> tuple[int, int] | None:
    best: tuple[int, int] | None = None
    place = begin
    for _ in range(_TRIES):
        place = later[place]
        period = place - begin
        if begin + period * least > len(labels):
            break
        count = _matching(labels, begin, period) // period + 1
        if count >= least and (best is None or period * count > best[0] * best[1]):
            best = period, count
    return best


def _matching(labels: Sequence[Hashable], begin: int, period: int) -> int:
    """How many members from ``begin`` on equal the one that stands ``period`` later."""
    place = begin
    while place + period < len(labels) and labels[place] == labels[place + period]:
        place += 1
    return place - begin
