"""Who is told by what stands in the place of a function while a cell is recorded.

The user may keep it: ``g = tape.gradient`` is a method bound to it.  It then does what
TensorFlow's own does, and no recording stays alive for its sake.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["Hook", "hooked"]

_T = TypeVar("_T")


class Hook(Generic[_T]):
    """``listener`` is told of every call, and is None once the recording is over."""

    __slots__ = ("listener",)

    def __init__(self, listener: _T) -> None:
        self.listener: _T | None = listener


@contextlib.contextmanager
def hooked(listener: _T) -> Iterator[Hook[_T]]:
    """A hook that tells nothing after the block, and holds nothing."""
    found = Hook(listener)
    try:
        yield found
    finally:
        found.listener = None
