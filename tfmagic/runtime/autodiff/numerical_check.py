"""Is a gradient right?  It is held against numerical differences of the recorded run.

The recorded ops are run again with a source moved a little to either side, in float64
where there are kernels for it, and the slope is compared with what the tape answered.
Random draws stay as they fell, ``stop_gradient`` stays what it gave.  Where the two sides
differ from each other (a kink: ``relu`` at 0) any slope in between is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from tfmagic.language import Message
from tfmagic.model.derivative import Check
from tfmagic.runtime import private
from tfmagic.runtime.autodiff.differentiate import ancestors
from tfmagic.runtime.autodiff.replay import Kept, Replay
from tfmagic.runtime.capture.log import FUNCTION, Call, Log
from tfmagic.runtime.capture.names import key_of
from tfmagic.runtime.capture.structure import leaves
from tfmagic.runtime.op_traits import reason

#: Elements of a source that are moved one at a time, and the largest source looked at.
ELEMENTS, LARGEST = 10, 20_000_000
SEED = 0
#: Seconds after which no further source or element is begun.
SECONDS = 20.0
_HOLD = frozenset({"StopGradient", "PreventGradient"})
#: Step, and what a right gradient may be off by: of the element, and of the largest one.
_STEP = {"float64": 1e-6, "float32": 4e-3}
_OFF = {"float64": (1e-2, 1e-4), "float32": (5e-2, 2e-3)}

Array = np.ndarray[Any, Any]


@dataclass(slots=True)
class _Found:
    """The worst that was met at one source."""

    difference: float = 0.0  # relative to the largest element
    bad: bool = False
    at: tuple[int, ...] | None = None
    numeric: float | None = None
    analytic: float | None = None


class _Slope(NamedTuple):
    """One-sided slopes of the target, and what rounding may add to them."""

    left: float
    right: float
    noise: float

    @property
    def middle(self) -> float:
        return (self.left + self.right) / 2


def check_call(log: Log, call: Call, *, seed: int = SEED, clock: Any = perf_counter) -> list[Check]:
    """One :class:`Check` for each source of a gradient call whose tensors are still held."""
    started = clock()
    targets = [t for _, t in leaves(call.target)]
    results = [r for _, r in leaves(call.result)]
    sources = [s for _, s in leaves(call.sources)]
    found = []
    for position, source in enumerate(sources):
        gradient = results[position] if position < len(results) else None
        if clock() - started > SECONDS:
            found.append(Check(None, Message.of("check.time", seconds=int(SECONDS))))
            continue
        try:
            checked = _Source(log, call, targets, source, gradient, seed, lambda: clock() - started)
            found.append(checked.check())
        except _CannotCheck as refused:
            found.append(Check(None, refused.said))
        except Exception as error:  # an op that does not take the moved value, a dead device
            text = f"{type(error).__name__}: {error}".split("\n")[0][:200]
            found.append(Check(None, Message.plain(text)))
    return found


class _CannotCheck(Exception):
    """There is nothing to compare, or no way to, for this reason."""

    def __init__(self, reason: str, **values: Any) -> None:
        super().__init__(reason)
        self.said = Message.of(f"check.{reason}", **values)


class _Source:
    """One source of one call, and the replay that moves it."""

    def __init__(
        self,
        log: Log,
        call: Call,
        targets: Sequence[Any],
        source: Any,
        gradient: Any,
        seed: int,
        elapsed: Any,
    ) -> None:
        self._log, self._seed, self._elapsed = log, seed, elapsed
        self._targets = targets
        self._weights = _weights(call, targets)
        self._gradient = _dense(gradient)
        self._key = _key(source)
        self._replay = Replay(
            log, [self._key], [t._id for t in targets], hold=_HOLD, follow_state=False, wide=True
        )
        self._refuse()
        value = _recorded(self._replay, log, self._key)
        self._complex = value.dtype.kind == "c"
        finite = np.abs(value[np.isfinite(value)].astype(np.complex128 if self._complex else float))
        self._scale = max(float(np.sqrt(np.mean(finite**2))) if finite.size else 0.0, 1e-2)
        self._base = self._target({self._key: np.zeros(self._gradient.shape)})
        self._precision = "float32" if self._replay.narrow else "float64"
        self._step = _STEP[self._precision] * self._scale

    def _refuse(self) -> None:
        made = {t._id for p in self._replay.steps for t in self._log.entries[p].outputs}
        if self._replay.kept:
            raise _refusal(self._replay.kept)
        if not any(t._id in made or t._id == self._key for t in self._targets):
            raise _CannotCheck("not_recorded")

    def check(self) -> Check:
        """Compare along one random direction, then element by element."""
        rng = np.random.default_rng(self._seed)
        found, gradient = _Found(), self._gradient
        largest = float(np.max(np.abs(gradient), initial=0.0))
        direction = self._direction(rng)
        slope = self._slope(direction)
        norm = float(np.linalg.norm(gradient.astype(np.complex128)))
        self._compare(found, slope, _inner(gradient, direction), norm, None)
        moved = 0
        for index in self._elements(rng):
            if moved and self._elapsed() > SECONDS:
                break
            for unit in (1.0, 1.0j) if self._complex else (1.0,):
                one = np.zeros(gradient.shape, complex if self._complex else float)
                one[index] = unit
                self._compare(found, self._slope(one), _inner(gradient, one), largest, index)
            moved += 1
        return Check(
            agrees=not found.bad,
            elements=moved,
            of=gradient.size,
            directions=1,
            seed=self._seed,
            precision=self._precision,
            difference=found.difference,
            at=found.at,
            numeric=found.numeric,
            analytic=found.analytic,
            held=self._held(),
        )

    def _direction(self, rng: np.random.Generator) -> Array:
        signs: Array = rng.choice([-1.0, 1.0], self._gradient.shape)
        if self._complex:
            signs = signs + 1j * rng.choice([-1.0, 1.0], self._gradient.shape)
        return signs

    def _elements(self, rng: np.random.Generator) -> Iterator[tuple[int, ...]]:
        """All of a few; of many the two greatest and others drawn at random."""
        size = self._gradient.size
        if size <= ELEMENTS:
            chosen = list(range(size))
        else:
            flat = np.abs(self._gradient).reshape(-1)
            greatest = np.argpartition(flat, -2)[-2:].tolist()
            drawn = rng.choice(size, ELEMENTS, replace=False).tolist()
            chosen = list(dict.fromkeys([*greatest, *drawn]))[:ELEMENTS]
        for flat_index in chosen:
            yield tuple(int(i) for i in np.unravel_index(flat_index, self._gradient.shape))

    def _slope(self, direction: Array) -> _Slope:
        step = self._step
        after, size = self._target({self._key: direction * step})
        before, _ = self._target({self._key: direction * -step})
        middle, _ = self._base
        grain = float(np.finfo(self._precision).eps)
        return _Slope((middle - before) / step, (after - middle) / step, 8 * grain * size / step)

    def _target(self, shifts: dict[int, Any]) -> tuple[float, float]:
        """The sum of the targets in float64, and the sum of their absolute values."""
        new = self._replay.run(shifts=shifts)
        total = size = 0.0
        for target, weight in zip(self._targets, self._weights, strict=True):
            value = new.get(target._id)
            if value is None:
                continue  # this target does not depend on the source
            array = np.real(np.asarray(value.numpy()) * weight)
            array = array.astype(np.float64)
            total += float(array.sum())
            size += float(np.abs(array).sum())
        if not np.isfinite(total):
            raise _CannotCheck("not_finite")
        return total, size

    def _compare(
        self,
        found: _Found,
        slope: _Slope,
        analytic: float,
        largest: float,
        index: tuple[int, ...] | None,
    ) -> None:
        relative, absolute = self._tolerance()
        low, high = sorted((slope.left, slope.right))
        numeric = slope.middle
        allowed = relative * max(abs(numeric), abs(analytic)) + absolute * largest + slope.noise
        nearest = min(max(analytic, low), high)  # any slope between the two sides is right
        bad = abs(analytic - nearest) > allowed
        kink = high - low > allowed
        off = abs(analytic - nearest) if kink and not bad else abs(numeric - analytic)
        difference = off / max(largest, abs(numeric), 1e-300)
        worse = (bad, bad and index is not None, difference)  # an element says more than a sum
        if found.numeric is None or worse > (
            found.bad,
            found.bad and found.at is not None,
            found.difference,
        ):
            found.difference, found.bad, found.at = difference, bad, index
            found.numeric, found.analytic = numeric, analytic

    def _tolerance(self) -> tuple[float, float]:
        relative, absolute = _OFF[self._precision]
        coarse = self._coarsest()
        return max(relative, 30 * coarse), max(absolute, 10 * coarse)

    def _coarsest(self) -> float:
        """The relative rounding of the least precise result on the way, as it was recorded."""
        import tensorflow as tf

        kinds = {t.dtype for p in self._replay.steps for t in self._log.entries[p].outputs}
        kinds |= {tf.dtypes.as_dtype(self._gradient.dtype)}
        grains = {"float16": 1e-3, "bfloat16": 8e-3}
        return max((grains.get(kind.name, 0.0) for kind in kinds), default=0.0)

    def _held(self) -> tuple[str, ...]:
        again = set(self._replay.steps)
        way = ancestors(self._log, [t._id for t in self._targets])
        types = {self._log.entries[p].type for p in way if p not in again}
        return tuple(sorted(t for t in types if reason(t) == "random"))


def _refusal(kept: Sequence[Kept]) -> _CannotCheck:
    first = kept[0]
    function = FUNCTION.match(first.type)
    return _CannotCheck(first.reason, op=function[2] if function else first.type)


def _key(source: Any) -> int:
    key = key_of(source)
    if key is None:
        raise _CannotCheck("kind", type=type(source).__name__)
    return key


def _dense(gradient: Any) -> Array:
    """The gradient as an array; IndexedSlices with equal rows added up."""
    if gradient is None:
        raise _CannotCheck("none")
    values = getattr(gradient, "values", None)
    if values is not None and hasattr(gradient, "indices"):
        shape = tuple(int(n) for n in gradient.dense_shape.numpy())
        dense = np.zeros(shape, values.numpy().dtype)
        np.add.at(dense, gradient.indices.numpy(), values.numpy())
    elif gradient.__class__ is private.EagerTensor:
        dense = gradient.numpy()
    else:
        raise _CannotCheck("kind", type=type(gradient).__name__)
    if dense.size > LARGEST:
        raise _CannotCheck("large", n=dense.size)
    if dense.dtype.kind not in "fc":  # bfloat16
        dense = dense.astype(np.float32)
    if not np.isfinite(dense).all():
        raise _CannotCheck("not_finite")
    return dense


def _weights(call: Call, targets: Sequence[Any]) -> list[Any]:
    """``output_gradients`` of the call, one for each target; 1 where none were given."""
    if any(t.__class__ is not private.EagerTensor for t in targets):
        raise _CannotCheck("target")
    if call.weights is None:
        return [1.0] * len(targets)
    given = [np.conj(np.asarray(w)) for _, w in leaves(call.weights)]
    return given if len(given) == len(targets) else [1.0] * len(targets)


def _recorded(replay: Replay, log: Log, key: int) -> Array:
    record = log.variables.get(key)
    if record is None:
        found = replay.recorded(key)
    elif record.live is not None:
        found = private.read_variable(record.live, record.dtype)
    else:
        raise _CannotCheck("not_recorded")
    array = np.asarray(found.numpy())
    return array if array.dtype.kind in "fc" else array.astype(np.float32)


def _inner(gradient: Array, direction: Array) -> float:
    """TensorFlow's gradient by a complex source is ``dL/dx + i dL/dy``."""
    wide = gradient.astype(np.complex128 if gradient.dtype.kind == "c" else np.float64)
    return float(np.real(np.sum(np.conj(wide) * direction)))
