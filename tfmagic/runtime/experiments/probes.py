"""Is a gradient of zero the truth?  The source is moved, and the target is watched.

The recorded ops are run again from the moved source (:mod:`tfmagic.runtime.autodiff.replay`),
in float64 where there are kernels for it, along random directions, a little and a lot.  So a
minimum is told from a plateau, and a target that does not move from one whose slope the op's
own gradient does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from tfmagic.model import Probe
from tfmagic.model.op_traits import READS
from tfmagic.runtime.autodiff.differentiate import aside
from tfmagic.runtime.autodiff.replay import Replay
from tfmagic.runtime.capture.log import Call, Log
from tfmagic.runtime.capture.names import key_of
from tfmagic.runtime.capture.structure import leaves

__all__ = ["probe_zeros"]

#: Calls of one line that are looked at, elements of a source, ops of a replay, and seconds in all.
_CALLS, _ELEMENTS, _OPS, _SECONDS = 2, 2**16, 2000, 0.3
#: How far the source is moved, as a share of its own size, and how often.
_STEPS, _DIRECTIONS = (1e-3, 3e-3, 1.0, 30.0), 2
#: Ops that a gradient takes for constants.
_HELD = frozenset({"StopGradient", "PreventGradient"})
#: A change of the target by less than this share of it is rounding.
_ROUNDING = 1e-9
_SINGLE = 3e-6
#: A target that changes by the same both ways, but for this share, has no slope there.
_EVEN = 1e-3


def probe_zeros(log: Log, call: Call) -> None:
    """Note in ``log.probes`` what the target does where a gradient of ``call`` is all zero."""
    if sum(other.place == call.place for other in log.calls[-64:]) > _CALLS:
        return
    answers = [value for _, value in leaves(call.result)]
    sources = [source for _, source in leaves(call.sources)]
    targets = [t for _, t in leaves(call.target) if hasattr(t, "_id")]
    until = perf_counter() + _SECONDS
    for place, (answer, source) in enumerate(zip(answers, sources, strict=False)):
        if perf_counter() > until or not targets or not _is_zero(answer):
            continue
        try:
            found = aside(partial(_probed, log, targets, source, until))
        except Exception:  # an op that does not run again: nothing was shown
            continue
        if found is not None:
            log.probes[call.index, place] = found


def _is_zero(answer: Any) -> bool:
    if answer is None or hasattr(answer, "values") or answer.shape.num_elements() > _ELEMENTS:
        return False
    array = np.asarray(answer)
    return bool(array.size) and array.dtype.kind in "fcV" and not array.any()


def _probed(log: Log, targets: list[Any], source: Any, until: float) -> Probe | None:
    import tensorflow as tf

    key = key_of(source)
    if key is None or not source.dtype.is_floating:
        return None
    replay = Replay(log, [key], [t._id for t in targets], hold=_HELD, wide=True)
    if len(replay.steps) > _OPS or any(kept.reason != "state" for kept in replay.kept):
        return None
    size = float(np.mean(np.abs(np.asarray(source, float)))) or 1.0
    random = np.random.default_rng(0)

    def moved(direction: Any, step: float) -> tuple[complex, dict[int, Any]]:
        shift = tf.constant(direction * step * size, tf.float64)
        new = replay.run(shifts={key: shift})
        value = sum(complex(np.asarray(new.get(t._id, t), complex).sum()) for t in targets)
        return value, new

    rounding = _SINGLE if replay.narrow else _ROUNDING
    probes = []
    for _ in range(_DIRECTIONS):
        direction = random.standard_normal(tuple(source.shape))
        base, as_it_is = moved(direction, 0.0)
        pairs = []
        for step in _STEPS:
            (up, there), (down, _) = moved(direction, step), moved(direction, -step)
            pairs.append((up - base, down - base))
            if perf_counter() > until:
                return None
            if step == _STEPS[1]:
                near = there
        found = _told(base, pairs, rounding, size)
        if found.kind in ("plateau", "constant"):
            moving = near if found.kind == "plateau" else there
            found = replace(found, op=_still(log, replay.steps, as_it_is, moving))
        probes.append(found)
    order = ("slope", "stationary", "plateau", "bottom", "imaginary", "constant", "unclear")
    return min(probes, key=lambda p: order.index(p.kind))


def _still(
    log: Log, steps: Sequence[int], base: dict[int, Any], moved: dict[int, Any]
) -> int | None:
    """The last op that took something that moved and gave something floating that did not."""
    changed = {
        key
        for key, value in base.items()
        if key in moved and not np.array_equal(np.asarray(value), np.asarray(moved[key]))
    }
    found = None
    for position in steps:
        entry = log.entries[position]
        floats = [t._id for t in entry.outputs if t.dtype.is_floating]
        takes = entry.type in READS or any(t._id in changed for t in entry.inputs)
        if floats and takes and not changed.intersection(floats):
            found = position
    return found


def _told(
    base: complex, pairs: list[tuple[complex, complex]], rounding: float, size: float
) -> Probe:
    """What a target at ``base`` that changed by these pairs, up and down, does."""
    noise = max(rounding * abs(base), 1e-14 * size)
    real = [(up.real, down.real) for up, down in pairs]
    if not all(np.isfinite(pair).all() for pair in real):
        return Probe("unclear")
    still = [max(abs(up), abs(down)) <= noise for up, down in real]
    if all(still):
        turned = any(max(abs(up.imag), abs(down.imag)) > noise for up, down in pairs)
        return Probe("imaginary" if turned else "constant", moved=_STEPS[-1] * size)
    if still[0] and still[1]:
        first = next(i for i, stays in enumerate(still) if not stays)
        bottom = base.real == 0 and min(min(pair) for pair in real) >= 0
        kind = "bottom" if bottom else "plateau"
        return Probe(kind, moved=_STEPS[first] * size, change=max(real[first], key=abs))
    if all(abs(up - down) < _EVEN * (abs(up) + abs(down)) for up, down in real[:2]):
        return Probe("stationary", moved=_STEPS[1] * size, change=max(real[1], key=abs))
    slopes = [
        (up - down) / (2 * step * size) for (up, down), step in zip(real, _STEPS, strict=True)
    ]
    bends = [abs(up + down) for up, down in real]
    straight = abs(slopes[0] - slopes[1]) < 0.2 * abs(slopes[1])
    if straight and abs(slopes[0]) * _STEPS[0] * size > 10 * max(noise, bends[0]):
        return Probe("slope", moved=_STEPS[0] * size, change=slopes[0])
    if abs(slopes[0]) <= 0.6 * abs(slopes[1]) or bends[1] > 4 * bends[0]:
        return Probe("stationary", moved=_STEPS[1] * size, change=max(real[1], key=abs))
    return Probe("unclear")
