"""What a replay on other values cannot follow: told by the recording before and after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tfmagic.model import Recording, Value

__all__ = ["Turn", "turns"]


@dataclass(frozen=True, slots=True)
class Turn:
    """A value that the cell's Python looked at is another now; ``line`` counts from 1.

    ``how`` is ``"bool"`` where it would have decided otherwise, ``"int"`` where a count or
    an index is another, else ``"value"``: what Python made of it stands as recorded.
    """

    line: int
    how: str
    text: str


def turns(before: Recording, after: Recording) -> Iterator[Turn]:
    """Each line of the cell where Python would have met something else."""
    seen = set()
    for place in before.exits:
        old, new = (recording.tensors[place.tensor].value for recording in (before, after))
        how = _how(place.how, old, new)
        line = before.lines[place.line]
        if how and (line.index, how) not in seen:
            seen.add((line.index, how))
            yield Turn(line.number, how, line.text)


def _how(how: str, old: Value, new: Value) -> str:
    one, other = _known(old), _known(new)
    if one == other:
        return ""
    single = not isinstance(one, tuple) and not isinstance(other, tuple)
    if (how == "bool" or isinstance(one, bool)) and single:
        return "bool" if bool(one) != bool(other) else ""
    if how in ("int", "index") and single:
        return "int" if _whole(one) != _whole(other) else ""
    return "value"


def _known(value: Value) -> Any:
    """All that is known; the one number of a tensor of size 1, whatever its shape."""
    found = value.data if value.whole else value.stats
    while isinstance(found, tuple) and len(found) == 1:
        found = found[0]
    return found


def _whole(number: Any) -> Any:
    try:
        return int(number)
    except (TypeError, ValueError, OverflowError):
        return number
