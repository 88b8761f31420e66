"""A training run: the steps that one line of the user's made, and how everything moved in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tfmagic.model.verdict import Verdict

Array = npt.NDArray[np.float64]

#: What a series tells; ``gradient``, ``weight`` and ``update`` are Euclidean norms by variable,
#: ``mean``, ``std``, ``zeros`` and ``saturated`` (shares) those of a layer's output.
KINDS = (
    "loss",
    "metric",
    "gradient",
    "weight",
    "update",
    "mean",
    "std",
    "zeros",
    "saturated",
)


@dataclass(frozen=True, slots=True)
class Series:
    """One figure over the steps of a run; NaN where there was none."""

    kind: str
    name: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class BadValue:
    """The first value of a run that was not finite.

    ``step`` counts from 1; ``op`` is the type of the op that made it, ``line_number`` the
    user's line (0 where there is none), ``layer`` where it stands; ``direction`` is
    ``"forward"``, ``"backward"``, ``"update"``, or ``"data"`` for a value that came with the
    batch.  ``figure`` is ``"NaN"`` or ``"inf"``, ``before`` what the op took: dtype, least and
    greatest value of each input; ``turn`` is that of the compiled loop around it (0: none).
    """

    step: int
    op: str = ""
    line_number: int = 0
    line: str = ""
    layer: str = ""
    direction: str = "forward"
    figure: str = "NaN"
    before: tuple[tuple[str, float, float], ...] = ()
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Trial:
    """The first steps of a run made again with one thing changed, and the loss of each.

    ``change`` is ``"as_it_is"`` (``value``: by what share of themselves the weights
    moved), ``"rate"`` (``value``: times the run's own), ``"standardised"``
    (``value``: the place of the input that was brought to mean zero and spread one),
    ``"shuffled"`` batches (both measured on them as they came), or with a
    change of the step's graph: ``"activation"`` put behind linear layers, ``"relu"`` in place of
    squashing ones, ``"batch_mode"`` for a normalisation, ``"no_penalty"``, ``"no_clip"``,
    ``"learning"`` of what did not, weights ``"redrawn"``.  ``names`` are the layers or variables
    that it concerns, ``own`` the losses of the same steps as they were, measured in the same way;
    ``line_number`` (0: not known) and ``line`` are those of the op that gave cause to it.
    """

    change: str
    value: float = 0.0
    losses: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    own: tuple[float, ...] = ()
    line_number: int = 0
    line: str = ""


@dataclass(frozen=True, slots=True)
class Pairing:
    """How a step's loss takes what the model gives and the targets.

    ``kind`` is the form of the loss: ``"sigmoid"`` or ``"softmax"`` (cross-entropy of logits),
    ``"sigmoid_of_sigmoid"`` or ``"softmax_of_softmax"`` (of what was made a probability before),
    ``"softmax_of_one"`` (the model ends in a softmax over a single unit),
    ``"probability"`` (binary cross-entropy of numbers that are clipped to 0 and 1),
    ``"unapplied"`` (its gradients are computed and thrown away), or empty.
    ``batches`` is ``"same"`` where all that were kept are one and the same, ``"sorted"`` where
    each holds a single label and others another, or empty.
    ``targets`` are the least, the greatest and one more of the values that the targets have;
    ``torn`` are the shapes of a column and a row that meet in the loss.  ``line_number`` (0: not
    known) and ``line`` are those of the op that shows it.
    """

    kind: str = ""
    targets: tuple[float, ...] = ()
    torn: tuple[str, ...] = ()
    line_number: int = 0
    line: str = ""
    batches: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """The steps that one line of the cell made: calls of a compiled train function, or turns of
    an eager loop.

    ``steps`` is how many there were; the series tell of those in ``numbers`` (from 1), which are
    all of them but in a long run.  ``epochs`` are the steps at which the data began anew,
    ``layers`` pairs each layer with the names of its variables, ``flow`` each with those that take
    what it gives.  ``validation`` are metrics as
    they were found between the steps: name, step, value.  ``trials`` are the experiments behind the
    ``verdicts``.
    """

    function: str
    line: int | None
    line_number: int
    cell: int
    steps: int
    seconds: float
    numbers: tuple[int, ...]
    series: tuple[Series, ...]
    target: str = ""
    epochs: tuple[int, ...] = ()
    layers: tuple[tuple[str, tuple[str, ...]], ...] = ()
    flow: tuple[tuple[str, str], ...] = ()
    validation: tuple[tuple[str, int, float], ...] = ()
    first_bad: BadValue | None = None
    verdicts: tuple[Verdict, ...] = ()
    trials: tuple[Trial, ...] = ()
    pairing: Pairing | None = None
    compiled: bool = True

    def of(self, kind: str) -> dict[str, Array]:
        """Name → the series of this kind, as an array of one figure a step."""
        return {s.name: np.asarray(s.values, float) for s in self.series if s.kind == kind}

    @property
    def loss(self) -> Array:
        """The loss of every step (the mean, where it has several elements)."""
        return next(iter(self.of("loss").values()), np.full(len(self.numbers), np.nan))

    @property
    def metrics(self) -> dict[str, Array]:
        """Metric → its value after every step."""
        return self.of("metric")

    @property
    def gradient_norm(self) -> dict[str, Array]:
        """Variable → norm of its gradient, before clipping and optimiser."""
        return self.of("gradient")

    @property
    def weight_norm(self) -> dict[str, Array]:
        """Variable → its norm before the step."""
        return self.of("weight")

    @property
    def update_ratio(self) -> dict[str, Array]:
        """Variable → norm of what the step added to it, by its own norm."""
        weights = self.weight_norm
        with np.errstate(divide="ignore", invalid="ignore"):
            return {n: v / weights[n] for n, v in self.of("update").items() if n in weights}

    @property
    def skipped(self) -> tuple[int, ...]:
        """The steps that changed nothing because a gradient was not finite, as those are by which
        a loss scale is found in half precision."""
        gradients, updates = self.of("gradient"), self.of("update")
        if not gradients or len(updates) < len(gradients):
            return ()
        bad = np.any([~np.isfinite(v) for v in gradients.values()], axis=0)
        still = np.all([v == 0 for v in updates.values()], axis=0)
        return tuple(int(self.numbers[i]) for i in np.flatnonzero(bad & still))

    @property
    def mean(self) -> dict[str, Array]:
        """Layer → mean of its output."""
        return self.of("mean")

    @property
    def std(self) -> dict[str, Array]:
        """Layer → standard deviation of its output."""
        return self.of("std")

    @property
    def zeros(self) -> dict[str, Array]:
        """Layer → share of zeros in its output."""
        return self.of("zeros")

    @property
    def saturated(self) -> dict[str, Array]:
        """Layer → share of its output at the ends of a sigmoid or tanh."""
        return self.of("saturated")

    def to_pandas(self) -> Any:
        """A frame with a row a step; columns are (kind, name)."""
        import pandas as pd

        columns = {(s.kind, s.name): s.values for s in self.series}
        return pd.DataFrame(columns, index=pd.Index(self.numbers, name="step"))
