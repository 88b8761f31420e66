"""The parts of a distribution strategy's replicas, and what became of them together."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Reduction", "replica_name", "without_replica"]

_WORD = " (replica "


@dataclass(frozen=True, slots=True)
class Reduction:
    """Values of replicas made one.

    ``how`` is ``"sum"`` or ``"mean"``.  ``parts`` are the tensors of the replicas in this
    process, in their order, and ``result`` what came of them, and of those of other processes
    where there are any.  ``source`` names the variable whose gradient it is, or is empty.
    """

    how: str
    parts: tuple[int, ...]
    result: int
    source: str = ""
    name: str = ""
    line: int | None = None


def replica_name(name: str, replica: int) -> str:
    """``W_1`` for the first replica, ``W_1 (replica 1)`` for the next."""
    return f"{name}{_WORD}{replica})" if replica else name


def without_replica(name: str) -> str:
    """The user's own name for what has a part in each replica."""
    return name.partition(_WORD)[0]
