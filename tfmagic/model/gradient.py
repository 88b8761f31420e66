"""The gradients that were computed, and for what."""

from __future__ import annotations

from dataclasses import dataclass

from tfmagic.model.derivative import Check, Histogram
from tfmagic.model.value import Value
from tfmagic.model.verdict import Probe, Verdict


@dataclass(frozen=True, slots=True)
class TapeEvent:
    """Something that was done to a ``GradientTape``.

    ``kind`` is ``"enter"`` (it listens from here), ``"leave"`` (no more), ``"watch"`` or
    ``"reset"``; ``op`` is the number of ops that had run by then, ``line`` the user's line.
    ``tensors`` and ``variables`` are what a ``watch`` named.
    """

    kind: str
    op: int
    line: int | None = None
    tensors: tuple[int, ...] = ()
    variables: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Gradient:
    """The gradient of one target with respect to one source.

    ``source`` is the user's own name for it (``W_1``, ``model.layers[0].kernel``) and
    ``place`` where it stood in the structure that was given (``"[0]"``, ``"['w']"``,
    empty for a single source).  ``value`` is None where the gradient is None.  For
    ``IndexedSlices`` ``rows`` are the distinct rows that were touched.
    ``tensor`` is the recorded tensor that holds the gradient, ``source_tensors`` the
    recorded tensors that stand for the source (every read of a variable), and
    ``weight_norm`` the Euclidean norm of the source's own value.  ``frozen`` is True for
    a weight that its Keras layer does not train.
    ``check`` and ``histogram``
    are there where they were asked for, ``probe`` where all of the gradient is zero.
    """

    target: str
    source: str
    place: str = ""
    shape: tuple[int | None, ...] | None = None
    dtype: str = ""
    value: Value | None = None
    tensor: int | None = None
    variable: int | None = None
    source_tensors: tuple[int, ...] = ()
    weight_norm: float | None = None
    rows: tuple[int, ...] | None = None
    verdict: Verdict | None = None
    source_dtype: str = ""
    frozen: bool = False
    check: Check | None = None
    histogram: Histogram | None = None
    probe: Probe | None = None

    @property
    def is_none(self) -> bool:
        """Whether TensorFlow's answer is None."""
        return self.value is None

    @property
    def ratio(self) -> float | None:
        """Norm of the gradient over the norm of the source, where both are known."""
        stats = self.value.stats if self.value else None
        if stats is None or stats.norm is None or not self.weight_norm:
            return None
        return stats.norm / self.weight_norm


@dataclass(frozen=True, slots=True)
class GradientCall:
    """One ``gradient(targets, sources)``: the cell's own, or one inferred afterwards.

    ``origin`` is ``"cell"`` for a call that the user's code made, ``"inferred"`` for
    one worked out from the recording because the cell made none, and ``"asked"`` for
    one asked by option or through a named tape.  ``targets`` are the user's names,
    ``target_tensors`` the recorded tensors behind them.  ``line`` indexes
    :attr:`Recording.lines` (None where no line of the user's made the call).
    ``error`` is the text of the exception where the call raised.  ``watches`` is False
    for a tape with ``watch_accessed_variables=False``.  ``zeros`` is True where it was told to
    answer zero in place of None.  ``events`` are what was done to the
    tape before it was asked, in order; empty where that was not seen.
    """

    index: int
    origin: str
    targets: tuple[str, ...]
    target_tensors: tuple[int, ...]
    gradients: tuple[Gradient, ...]
    line: int | None = None
    error: str = ""
    cell: int = 0
    watches: bool = True
    events: tuple[TapeEvent, ...] = ()
    zeros: bool = False
