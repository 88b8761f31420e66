"""Notebooks played with and without ``%%tape``, each in a fresh process, and compared."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PLAYER = Path(__file__).with_name("player.py")


class PlayError(AssertionError):
    """A notebook did not come to its end."""


@dataclass
class Player:
    """The server of ``player.py``; see there."""

    process: subprocess.Popen[str]

    def play(self, cells: list[str], wrap: str, seconds: float = 60) -> list[dict[str, Any]]:
        """What could be noticed of each cell."""
        request = {"cells": cells, "wrap": wrap, "seconds": seconds}
        assert self.process.stdin and self.process.stdout
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        if isinstance(answer, dict):
            raise PlayError(f"{wrap}: {answer['died']}")
        return list(answer)

    def differences(self, cells: list[str], *wraps: str, seconds: float = 60) -> list[str]:
        """What each wrap changed about a notebook, in words; empty is as it should be.

        A notebook that does not come to its end by itself says nothing.
        """
        try:
            plain = self.play(cells, "none", seconds)
        except PlayError:
            return []
        found: dict[tuple[str, str], tuple[int, str]] = {}
        for wrap in wraps:
            taped = self.play(cells, wrap, seconds)
            for number, pair in enumerate(zip(plain, taped, strict=True)):
                for what in compared(*pair):  # a name that differs does so in later cells too
                    found.setdefault((wrap, what), (number, f"{wrap}: cell {number}: {what}"))
        if found:
            shaky = self._shaky(cells, plain, seconds)
            found = {k: v for k, v in found.items() if v[0] < shaky.get(part_of(k[1]), len(cells))}
        return [text for _, text in found.values()][:20]

    def _shaky(
        self, cells: list[str], plain: list[dict[str, Any]], seconds: float
    ) -> dict[str, int]:
        """Part → the first cell where several plain plays do not agree on it: threads that add
        up in another order, a draw on the brink.  From there on it cannot be compared."""
        first: dict[str, int] = {}
        for _ in range(4):
            again = self.play(cells, "none", seconds)
            for number, pair in enumerate(zip(plain, again, strict=True)):
                for what in compared(*pair):
                    part = part_of(what)
                    first[part] = min(number, first.get(part, number))
        return first


def part_of(what: str) -> str:
    """Which part of what can be noticed a difference is about."""
    return what.partition(":")[0]


def compared(plain: dict[str, Any], taped: dict[str, Any]) -> Iterator[str]:
    """How a recorded cell differs from the plain one, but for the report under it."""
    own = len(plain["shown"])
    extra = taped["shown"][own:]
    if len(extra) > 1 or any('class="tfmagic"' not in e.get("text/html", "") for e in extra):
        yield f"shown besides: {str(extra)[:300]}"
    taped = {**taped, "shown": taped["shown"][:own]}
    for part in plain:
        if plain[part] != taped[part]:
            yield f"{part}: " + where(plain[part], taped[part])


def where(one: Any, other: Any, path: str = "") -> str:
    """The first place at which two structures differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}, key=str):
            if one.get(key, "(not there)") != other.get(key, "(not there)"):
                return where(
                    one.get(key, "(not there)"), other.get(key, "(not there)"), f"{path}.{key}"
                )
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for position, (a, b) in enumerate(zip(one, other, strict=True)):
            if a != b:
                return where(a, b, f"{path}[{position}]")
    one, other = str(one), str(other)
    same = sum(1 for _ in itertools.takewhile(bool, map(str.__eq__, one, other)))
    start = max(0, same - 100)
    return f"{path}: plain {one[start:][:300]!r}, recorded {other[start:][:300]!r}"


@pytest.fixture(scope="session")
def player() -> Iterator[Player]:
    """One server for all tests."""
    process = subprocess.Popen(
        [sys.executable, str(PLAYER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    yield Player(process)
    assert process.stdin and process.stdout
    process.stdin.close()
    process.stdout.close()
    process.wait(timeout=60)
