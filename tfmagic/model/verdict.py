"""Why a gradient is None, zero, NaN or fine."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from tfmagic.language import Message

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
BESIDE = ("broadcast", "batch_statistics", "label_encoding", "not_updated", "not_known")
FINE = ("ok", "vanishing", "exploding")

#: Of a function rather than of a gradient.
TRACING = ("retraced",)

#: Of a training run that does not learn.
TRAINING = (
    "lr_too_high",
    "lr_too_low",
    "lr_sign",
    "input_scale",
    "bad_initialisation",
    "missing_activation",
    "wrong_last_activation",
    "wrong_loss",
    "logits_mismatch",
    "label_encoding",
    "wrong_metric",
    "data_order",
    "too_few_steps",
    "batch_statistics",
    "dropout",
    "noise",
    "regularisation",
    "clipped_gradient",
    "imbalance",
    "lost_in_layer",
    "not_updated",
    "frozen",
    "not_known",
)

CODES = NONE_SOURCE + NONE_PATH + ZERO + NON_FINITE + ERRORS + BESIDE + FINE + TRACING + TRAINING


@dataclass(frozen=True, slots=True)
class Repair:
    """Code in place of the lines ``first`` to ``last`` of a cell."""

    text: str
    cell: int
    first: int
    last: int

    def applied(self, source: str) -> str:
        """The ``source`` of the cell with it: at the depth of the lines that it replaces."""
        lines = source.split("\n")
        margin = margin_of(lines[self.first - 1 : self.last])
        new = textwrap.indent(self.text, margin).split("\n") if self.text else []
        return "\n".join([*lines[: self.first - 1], *new, *lines[self.last :]])


@dataclass(frozen=True, slots=True)
class Probe:
    """What a target did when a source with a gradient of zero was moved along random directions.

    ``kind`` is ``"stationary"`` (it changes with the square: the zero is right), ``"slope"`` (it
    changes in proportion: the zero is wrong), ``"plateau"`` (it stays for small moves),
    ``"bottom"`` (so too, at zero, and never falls below), ``"imaginary"`` (only its imaginary
    part changes), ``"constant"`` or ``"unclear"``.  ``moved`` is how far, ``change`` what the
    target did then; for a slope what the slope is.  ``op`` is the index of the last op that took
    something that moved and gave what did not.
    """

    kind: str
    moved: float = 0.0
    change: float = 0.0
    op: int | None = None


@dataclass(frozen=True, slots=True)
class Tried:
    """What a repair gave: the same target by the same source, without it and with it.

    ``before`` and ``after`` are the Euclidean norms of the gradient, None where it is None and
    NaN where it is not finite; ``value_before`` and ``value_after`` those of the target.
    """

    before: float | None = None
    after: float | None = None
    value_before: float = math.nan
    value_after: float = math.nan

    @property
    def same_value(self) -> bool:
        """Whether the target stays what it was, but for rounding."""
        return math.isclose(self.value_before, self.value_after, rel_tol=1e-6, abs_tol=1e-12)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why the gradient of ``target`` with respect to ``source`` is what it is.

    ``code`` is one of :data:`CODES`.  ``line`` is the text of the guilty line of the
    user's code and ``line_number`` its 1-based number in its cell (0 where no line
    is to blame).  ``op`` is the index of the guilty op in the recording, or None.
    ``path`` names the tensors and ops from the source to where it breaks.
    ``said`` words what is the matter.  ``mended`` is code that works when pasted over the lines
    ``replaces`` (first and last, counted from 1) of cell ``cell``; where there is none
    ``replaces`` is ``(0, 0)`` and ``advice`` stands in its place.  ``ops`` are the
    indices of the ops on the path, ``values`` pairs of a word and what its sentence needs besides.
    ``evidence`` are the experiments behind it, and ``tried`` what the repair gave.
    ``candidates`` are repairs that have still to be tried.
    Of a remark on tracing ``target`` is the function, ``source`` the argument or name that changed,
    ``path`` the values that it had.
    """

    code: str
    target: str
    source: str
    line: str = ""
    line_number: int = 0
    op: int | None = None
    path: tuple[str, ...] = ()
    said: Message | None = None
    mended: str = ""
    ops: tuple[int, ...] = ()
    replaces: tuple[int, int] = (0, 0)
    cell: int = 0
    values: tuple[tuple[str, str], ...] = ()
    advice: Message | None = None
    evidence: tuple[Message, ...] = ()
    tried: Tried | None = None
    candidates: tuple[Repair, ...] = ()

    @property
    def message(self) -> str:
        """What is the matter, in the language that is spoken now."""
        return str(self.said or "")

    @property
    def repair(self) -> str:
        """The code that mends it; without any, advice in the language that is spoken now."""
        return self.mended or str(self.advice or "")

    @property
    def fine(self) -> bool:
        """Whether there is nothing to repair."""
        return self.code in ("ok", "expected")

    def repaired(self, source: str) -> str:
        """The ``source`` of the cell with the repair in place of the lines that it replaces.

        The repair stands at the depth of those lines.  Without code to put in, the source
        comes back as it was.
        """
        first, last = self.replaces
        return Repair(self.mended, self.cell, first, last).applied(source) if first else source


def margin_of(lines: Sequence[str]) -> str:
    """The white space that all ``lines`` begin with, blank ones aside."""
    margins = [line[: len(line) - len(line.lstrip())] for line in lines if line.strip()]
    return min(margins, key=len, default="")
