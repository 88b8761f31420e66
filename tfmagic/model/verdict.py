"""Why a gradient is None, zero, NaN or fine."""

from __future__ import annotations

from dataclasses import dataclass

NONE_SOURCE = (
    "not_watched",
    "not_trainable",
    "rebound",
    "wrong_object",
    "made_later",
    "not_float",
    "unused",
    "expected",
)
NONE_PATH = (
    "left_tensorflow",
    "frozen_at_trace",
    "stop_gradient",
    "through_integer",
    "no_gradient_op",
    "state",
    "outside_tape",
    "custom_gradient",
    "disconnected",
)
ZERO = (
    "dead_relu",
    "clipped",
    "saturated",
    "flat_op",
    "underflow",
    "cancelled",
    "zero_input",
    "unused_rows",
)
NON_FINITE = ("domain_edge", "overflow", "where_branch", "nan_input")
ERRORS = ("tape_used_up", "no_gradient_registered")
FINE = ("ok", "vanishing", "exploding")

CODES = NONE_SOURCE + NONE_PATH + ZERO + NON_FINITE + ERRORS + FINE


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why the gradient of ``target`` with respect to ``source`` is what it is.

    ``code`` is one of :data:`CODES`.  ``line`` is the text of the guilty line of the
    user's code and ``line_number`` its 1-based number in its cell (0 where no line
    is to blame).  ``op`` is the index of the guilty op in the recording, or None.
    ``path`` names the tensors and ops from the source to where it breaks.
    ``repair`` is code that works when pasted, empty where nothing needs repair.
    """

    code: str
    target: str
    source: str
    line: str = ""
    line_number: int = 0
    op: int | None = None
    path: tuple[str, ...] = ()
    message: str = ""
    repair: str = ""
    ops: tuple[int, ...] = ()

    @property
    def fine(self) -> bool:
        """Whether there is nothing to repair."""
        return self.code in ("ok", "expected")
