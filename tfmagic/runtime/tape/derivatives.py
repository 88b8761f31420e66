"""What may be asked of a gradient call beyond its answer: is it right, how is it spread,
what are all the derivatives, how does the target curve."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfmagic.model.derivative import Hessian, Histogram, Jacobian
from tfmagic.runtime import private
from tfmagic.runtime.autodiff.numerical_check import check_call
from tfmagic.runtime.autodiff.second_order import hessian_of, jacobian_of
from tfmagic.runtime.capture.log import Call, Log
from tfmagic.runtime.capture.names import key_of
from tfmagic.runtime.capture.structure import leaves

BINS = 24


@dataclass(frozen=True, slots=True)
class Depth:
    """What is wanted: numerical checks, histograms, Jacobians, second derivatives."""

    check: bool = False
    hist: bool = False
    jacobian: bool = False
    order: int = 1

    def __bool__(self) -> bool:
        return self.check or self.hist or self.jacobian or self.order > 1


def deepen(log: Log, cell: int, wanted: Depth) -> None:
    """Work out what is wanted for the gradient calls of a cell, while its tensors are held.

    Of the calls that a loop made on one line only the last one counts.  Where some were
    asked for by option, those alone.
    """
    for call in _chosen([c for c in log.calls if c.cell == cell and not c.settled]):
        if call.error:
            continue
        if wanted.check:
            call.checks = tuple(check_call(log, call))
        if wanted.hist:
            call.histograms = tuple(_histogram(r) for _, r in leaves(call.result))
        if wanted.jacobian:
            log.jacobians += _jacobians(log, call)
        if wanted.order > 1:
            log.hessians += _hessians(log, call)


def _chosen(calls: Sequence[Call]) -> Iterable[Call]:
    asked = [call for call in calls if call.origin == "asked"]
    last = {(call.place, call.origin): call for call in (asked or calls)}
    return last.values()


def _targets(call: Call) -> list[tuple[int, Any]]:
    found = enumerate(target for _, target in leaves(call.target))
    return [
        (position, target)
        for position, target in found
        if target.__class__ is private.EagerTensor and target.dtype.is_floating
    ]


def _sources(call: Call) -> list[tuple[int, Any]]:
    found = enumerate(source for _, source in leaves(call.sources))
    return [
        (position, source)
        for position, source in found
        if key_of(source) is not None and _floating(source)
    ]


def _floating(source: Any) -> bool:
    import tensorflow as tf

    return bool(tf.dtypes.as_dtype(source.dtype).is_floating)


def _jacobians(log: Log, call: Call) -> list[tuple[int, tuple[int, ...], Jacobian]]:
    places = tuple(position for position, _ in _sources(call))
    sources = [source for _, source in _sources(call)]
    found: list[tuple[int, tuple[int, ...], Jacobian]] = []
    for target_place, target in _targets(call):
        jacobians = jacobian_of(log, target, sources)
        for place, jacobian in zip(places, jacobians, strict=True):
            found.append((call.index, (target_place, place), jacobian))
    return found


def _hessians(log: Log, call: Call) -> list[tuple[int, tuple[int, ...], Hessian]]:
    places = tuple(position for position, _ in _sources(call))
    sources = [source for _, source in _sources(call)]
    return [
        (call.index, (target_place, *places), hessian_of(log, target, sources))
        for target_place, target in _targets(call)
        if sources
    ]


def _histogram(gradient: Any) -> Histogram | None:
    """Bins of equal width over all elements; an IndexedSlices' are those of its rows."""
    dense = getattr(gradient, "values", gradient)
    if dense.__class__ is not private.EagerTensor:
        return None
    flat = np.abs(dense.numpy()) if dense.dtype.is_complex else dense.numpy()
    flat = flat.reshape(-1).astype(np.float64)
    finite = flat[np.isfinite(flat)]
    if not finite.size:
        return Histogram((), (), 0, flat.size)
    counts, edges = np.histogram(finite, BINS)
    zeros = int(finite.size - np.count_nonzero(finite))
    lost = int(flat.size - finite.size)
    return Histogram(tuple(edges.tolist()), tuple(counts.tolist()), zeros, lost)
