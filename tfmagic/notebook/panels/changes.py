"""What of a panel's state is new: an answer carries no more than that."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

__all__ = ["Changes"]

_NOTHING: Any = object()


class Changes:
    """Remembers the state that the views were told last.

    Of the ``keyed`` parts, which are dicts, only the entries that are new go out.  Each answer
    bears its number as ``turn``, so that a view notices one that never arrived and asks anew.
    """

    def __init__(self, *keyed: str) -> None:
        self._keyed: Collection[str] = keyed
        self._told: dict[str, Any] = {}
        self._turn = 0

    def of(self, state: Mapping[str, Any], *, whole: bool = False) -> dict[str, Any]:
        """What to send of this state; all of it for a view that opens."""
        told = {} if whole else self._told
        found = {name: value for name, value in state.items() if told.get(name, _NOTHING) != value}
        for name in self._keyed:
            if name in found:
                before = told.get(name, {})
                found[name] = new_in(found[name], before)
        self._told = {**self._told, **state}
        self._turn += 1
        return {**found, "turn": self._turn}

    def forget(self, *names: str) -> None:
        """These parts go out again the next time, whatever they are: something drew over them."""
        for name in names:
            self._told.pop(name, None)


def new_in(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that are not what they were."""
    return {key: value for key, value in now.items() if before.get(key, _NOTHING) != value}
