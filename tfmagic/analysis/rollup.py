"""What some ops come to together, each of them looked at once.

A box can stand for any number of ops, and it is drawn anew beside every fold that is opened
near it.  So the sum of a fold is made from the sums of its parts, and kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from tfmagic.analysis.cost import Total, total
from tfmagic.analysis.notation import device
from tfmagic.analysis.tree import Fold
from tfmagic.model import Op, Recording

__all__ = ["Rollup", "Rollups"]


@dataclass(slots=True)
class Rollup:
    """Sums over ops; ``devices`` and ``dtypes`` are in the order met, ``types`` are counted.

    ``untimed`` says that ops were run again for their times, but not all of these.
    """

    types: dict[str, int] = field(default_factory=dict)
    devices: dict[str, None] = field(default_factory=dict)
    dtypes: dict[str, None] = field(default_factory=dict)
    numbers: dict[int, None] = field(default_factory=dict)
    seconds: float = 0.0
    untimed: bool = False
    flops: int = 0
    uncounted: dict[str, None] = field(default_factory=dict)
    bytes: int = 0
    norm: float | None = None

    @property
    def cost(self) -> Total:
        """The FLOPs, and what is not in them."""
        return Total(self.flops, tuple(self.uncounted))

    def add(self, other: Rollup) -> None:
        """Take other ops in."""
        for kind, count in other.types.items():
            self.types[kind] = self.types.get(kind, 0) + count
        self.devices |= other.devices
        self.dtypes |= other.dtypes
        self.numbers |= other.numbers
        self.uncounted |= other.uncounted
        self.seconds += other.seconds
        self.untimed |= other.untimed
        self.flops += other.flops
        self.bytes += other.bytes
        self.norm = max((n for n in (self.norm, other.norm) if n is not None), default=None)


class Rollups:
    """The sums of one recording's ops and folds; ``numbers`` of them are lines of cells."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.timed = dict(recording.op_seconds)
        self._one: dict[int, Rollup] = {}
        self._several: dict[tuple[int, ...], Rollup] = {}

    def learn(self, folds: Collection[Fold]) -> None:
        """Sum these folds up; each stands before those in it."""
        for fold in reversed(tuple(folds)):
            parts = ((p,) if isinstance(p, int) else p.ops for p in fold.parts)
            self._several[fold.ops] = _sum(map(self.of, parts))

    def of(self, ops: tuple[int, ...]) -> Rollup:
        """The sum over ops, by their indices."""
        if len(ops) == 1:
            return self._of_one(ops[0])
        if ops not in self._several:
            self._several[ops] = _sum(map(self._of_one, ops))
        return self._several[ops]

    def _of_one(self, index: int) -> Rollup:
        if index not in self._one:
            self._one[index] = self._made(self.recording.ops[index])
        return self._one[index]

    def _made(self, op: Op) -> Rollup:
        outputs = [self.recording.tensors[t] for t in op.outputs]
        counted = total(self.recording, [op])
        line = None if op.line is None else self.recording.lines[op.line].number
        return Rollup(
            types={op.title: 1},
            devices={device(op.device): None} if op.device else {},
            dtypes=dict.fromkeys(t.dtype for t in outputs if t.dtype),
            numbers={} if line is None else {line: None},
            seconds=self.timed.get(op.index, 0.0) if self.timed else op.duration,
            untimed=bool(self.timed) and op.index not in self.timed,
            flops=counted.count,
            uncounted=dict.fromkeys(counted.uncounted),
            bytes=sum(t.bytes for t in outputs),
            norm=max((n for t in op.outputs if (n := self.norm(t)) is not None), default=None),
        )

    def norm(self, tensor: int) -> float | None:
        """The norm of a tensor's gradient, where it was recorded."""
        holder = self.recording.gradient_of.get(tensor)
        stats = None if holder is None else self.recording.tensors[holder].value.stats
        return None if stats is None else stats.norm


def _sum(tallies: Iterable[Rollup]) -> Rollup:
    made = Rollup()
    for tally in tallies:
        made.add(tally)
    return made
