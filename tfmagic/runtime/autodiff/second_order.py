"""Jacobians, Hessians and products with them, from the recorded ops.

A Jacobian is one backward pass for each element of the target.  A Hessian is the gradient
of the gradient: two tapes are written, one inside the other.  Where it is too large to be
written out, products with vectors are taken instead, at the price of one gradient each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfmagic.errors import OptionError
from tfmagic.language import Message
from tfmagic.model.derivative import Hessian, Jacobian
from tfmagic.model.value import Value
from tfmagic.runtime.autodiff.differentiate import tape_for
from tfmagic.runtime.capture.log import Log
from tfmagic.runtime.capture.structure import leaves, rebuild
from tfmagic.runtime.values.figures import described

#: Elements of all sources together up to which the whole Hessian is worked out.
WHOLE = 256
#: Elements of a Jacobian or Hessian that are all kept.
KEPT = WHOLE * WHOLE
#: Backward passes for one Jacobian, and the most elements it may have.
ROWS, ELEMENTS = 1_024, 4_000_000
#: Products that the search for the greatest eigenvalue may take.
PRODUCTS = 30
SEED = 0

Array = np.ndarray[Any, Any]
Product = Callable[[Array], Array]


def jacobian_of(log: Log, target: Any, sources: Sequence[Any]) -> list[Jacobian]:
    """The Jacobian of ``target`` by each of ``sources``; names are given later."""
    shape = tuple(int(n) for n in target.shape)
    rows = int(np.prod(shape, dtype=int))
    widest = max((int(np.prod(s.shape, dtype=int)) for s in sources), default=0)
    if rows > ROWS or rows * widest > ELEMENTS:
        said = Message.of("derivative.jacobian_large", rows=rows, columns=widest, most=ROWS)
        return [Jacobian("", "", shape, said=said) for _ in sources]
    columns = _backward_passes(log, target, sources, rows)
    return [_jacobian(shape, *pair) for pair in zip(sources, columns, strict=True)]


def _backward_passes(log: Log, target: Any, sources: Sequence[Any], rows: int) -> list[list[Any]]:
    import tensorflow as tf

    tape = tape_for(log, target, list(sources), persistent=True)
    ones = np.eye(rows, dtype=target.dtype.as_numpy_dtype)
    columns: list[list[Any]] = [[] for _ in sources]
    for row in ones:
        seed = tf.constant(row.reshape(target.shape))
        found = tape.gradient(target, list(sources), output_gradients=seed)
        for column, gradient in zip(columns, found, strict=True):
            column.append(None if gradient is None else tf.convert_to_tensor(gradient).numpy())
    return columns


def _jacobian(shape: tuple[int, ...], source: Any, column: Sequence[Any]) -> Jacobian:
    within = tuple(int(n) for n in source.shape)
    if all(gradient is None for gradient in column):
        return Jacobian("", "", shape, within, said=Message.of("derivative.jacobian_none"))
    zero = np.zeros(within, np.float32)
    whole = np.stack([zero if g is None else g for g in column]).reshape(*shape, *within)
    matrix = whole.reshape(len(column), -1).astype(np.float64)
    singular: tuple[float, ...] = ()
    if max(matrix.shape) <= WHOLE and np.isfinite(matrix).all():
        singular = tuple(np.linalg.svd(matrix, compute_uv=False).tolist())
    return Jacobian("", "", shape, within, described(whole, KEPT), singular)


class Curvature:
    """Products of the Hessian of ``target`` by ``sources`` (a structure) with vectors."""

    def __init__(self, log: Log, target: Any, sources: Any) -> None:
        import tensorflow as tf

        self._sources = sources
        self._leaves = [source for _, source in leaves(sources)]
        outer = tf.GradientTape(persistent=True, watch_accessed_variables=False)
        with outer:
            for source in self._leaves:
                outer.watch(source)
            inner = tape_for(log, target, self._leaves)
            first = inner.gradient(target, self._leaves)
        self._outer = outer
        self._first = [None if g is None else tf.convert_to_tensor(g) for g in first]
        self.shapes = tuple(tuple(s.shape) for s in self._leaves)
        self.sizes = tuple(map(math.prod, self.shapes))
        self.products = 0

    @property
    def gradient(self) -> Array:
        """The gradient, the sources' elements one after the other."""
        return self._flat(self._first)

    def times(self, vector: Sequence[Any]) -> list[Any]:
        """The product with ``vector``, given and answered as one tensor for each source."""
        self.products += 1
        pairs = [(g, v) for g, v in zip(self._first, vector, strict=True) if g is not None]
        found = self._outer.gradient(
            [g for g, _ in pairs], self._leaves, output_gradients=[v for _, v in pairs]
        )
        return list(found)

    def flat(self, vector: Array) -> Array:
        """The product with one long vector."""
        import tensorflow as tf

        cuts = np.cumsum(self.sizes)[:-1]
        parts = [
            tf.constant(part.reshape(source.shape), dtype=source.dtype)
            for part, source in zip(np.split(vector, cuts), self._leaves, strict=True)
        ]
        return self._flat(self.times(parts))

    def _flat(self, parts: Sequence[Any]) -> Array:
        import tensorflow as tf

        flat = [
            np.zeros(size) if p is None else tf.convert_to_tensor(p).numpy().reshape(-1)
            for p, size in zip(parts, self.sizes, strict=True)
        ]
        return np.concatenate(flat).astype(np.float64)


def product(log: Log, target: Any, sources: Any, vector: Any) -> Any:
    """Hessian times ``vector``, in the structure of ``sources``.

    Raises :class:`OptionError` where ``vector`` does not have the sources' shapes.
    """
    import tensorflow as tf

    curvature = Curvature(log, target, sources)
    given = [v for _, v in leaves(vector)]
    own = [s for _, s in leaves(sources)]
    shapes = [tuple(s.shape) for s in own]
    if [tuple(np.shape(v)) for v in given] != shapes:
        found = [tuple(np.shape(v)) for v in given]
        raise OptionError("derivative.vector_shape", given=found, expected=shapes)
    pairs = zip(given, own, strict=True)
    answers = iter(curvature.times([tf.cast(v, s.dtype) for v, s in pairs]))
    return rebuild(sources, lambda _: next(answers))


def hessian_of(log: Log, target: Any, sources: Sequence[Any]) -> Hessian:
    """The Hessian of ``target``, or what products with it tell where it is too large."""
    count = int(np.prod(target.shape, dtype=int))
    if count != 1:
        return Hessian("", said=Message.of("derivative.hessian_scalar", n=count))
    try:
        curvature = Curvature(log, target, list(sources))
        return _hessian(curvature)
    except Exception as error:  # an op without a second derivative: TensorFlow says which
        detail = f"{type(error).__name__}: {error}".split("\n")[0][:200]
        return Hessian("", said=Message.of("derivative.hessian_failed", detail=detail))


def _hessian(curvature: Curvature) -> Hessian:
    size = sum(curvature.sizes)
    along = _along(curvature.flat, curvature.gradient)
    if size > WHOLE:
        greatest, settled = _greatest(curvature.flat, size)
        figures: dict[str, Any] = {"greatest": greatest, "settled": settled}
    else:
        figures = _whole(curvature.flat, size)
    return Hessian(
        "",
        shapes=curvature.shapes,
        size=size,
        along=along,
        products=curvature.products,
        **figures,
    )


def _whole(times: Product, size: int) -> dict[str, Any]:
    matrix = np.stack([times(row) for row in np.eye(size)])
    value: Value = described(matrix, KEPT)
    if not np.isfinite(matrix).all():
        return {"whole": True, "value": value}
    values = np.linalg.eigvalsh((matrix + matrix.T) / 2)
    greatest = float(values[np.argmax(np.abs(values))])
    return {
        "whole": True,
        "value": value,
        "eigenvalues": tuple(values.tolist()),
        "greatest": greatest,
    }


def _along(times: Product, gradient: Array) -> float | None:
    length = float(np.linalg.norm(gradient))
    if not np.isfinite(length) or length == 0.0:
        return None
    unit = gradient / length
    return float(unit @ times(unit))


def _greatest(times: Product, size: int) -> tuple[float | None, bool]:
    """Power iteration: the eigenvalue of largest magnitude, and whether it had settled."""
    vector = np.random.default_rng(SEED).normal(size=size)
    found, settled = None, False
    for _ in range(PRODUCTS):
        vector /= np.linalg.norm(vector)
        moved = times(vector)
        value = float(vector @ moved)
        if not np.isfinite(moved).all():
            return None, False
        settled = found is not None and abs(value - found) <= 0.01 * abs(value)
        found = value
        if settled or not np.linalg.norm(moved):
            return found, True
        vector = moved
    return found, settled
