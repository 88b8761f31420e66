"""What was asked beyond the plain gradient: checks, histograms, Jacobians, curvature."""

from __future__ import annotations

from dataclasses import dataclass

from tfmagic.language import Message
from tfmagic.model.value import Value


@dataclass(frozen=True, slots=True)
class Check:
    """A gradient beside numerical differences of the recorded run.

    ``agrees`` is None where nothing could be compared, and ``said`` is the reason.
    ``elements`` of ``of`` elements were moved one at a time, drawn with ``seed``, and all of
    them together once in each of ``directions`` random directions.  ``difference`` is the
    largest difference found, relative to the largest element compared; ``at`` is the index
    where it was (empty for a direction), ``numeric`` and ``analytic`` the two figures there.
    ``precision`` is the dtype of the differences, ``held`` the types of op whose random
    draws were kept as they fell.
    """

    agrees: bool | None
    said: Message | None = None
    elements: int = 0
    of: int = 0
    directions: int = 0
    seed: int = 0
    precision: str = "float64"
    difference: float | None = None
    at: tuple[int, ...] | None = None
    numeric: float | None = None
    analytic: float | None = None
    held: tuple[str, ...] = ()

    @property
    def why(self) -> str:
        """Why nothing was compared, in the language that is spoken now; empty where it was."""
        return str(self.said or "")


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of the finite elements in bins of equal width; ``edges`` is one longer.

    ``zeros`` are those of them that are exactly zero, ``lost`` the NaN and infinite ones.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    zeros: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Jacobian:
    """All derivatives of a target's elements by a source's: shape ``target + source``.

    ``value`` keeps the whole of a small one.  ``singular`` are the singular values of the
    matrix (target elements × source elements), greatest first, where it was small enough.
    ``said`` is why there is none.
    """

    target: str
    source: str
    target_shape: tuple[int, ...] = ()
    source_shape: tuple[int, ...] = ()
    value: Value | None = None
    singular: tuple[float, ...] = ()
    said: Message | None = None

    @property
    def error(self) -> str:
        """Why there is none, in one line of the language that is spoken now."""
        return str(self.said or "")


@dataclass(frozen=True, slots=True)
class Hessian:
    """Second derivatives of a target by all its sources together.

    The sources' elements are laid out one after the other (``sources``, ``shapes``), ``size``
    in all.  A small Hessian is ``whole``: ``value`` holds the matrix and ``eigenvalues`` all
    of them, least first.  Of a larger one products with vectors are taken instead:
    ``greatest`` is the eigenvalue of largest magnitude (power iteration, ``products``
    products, ``settled`` where it no longer moved by more than one per cent), and
    ``eigenvalues`` is empty.  ``along`` is the curvature along the gradient, ``gᵀHg / gᵀg``.
    ``said`` is why there is none.
    """

    target: str
    sources: tuple[str, ...] = ()
    shapes: tuple[tuple[int, ...], ...] = ()
    size: int = 0
    whole: bool = False
    value: Value | None = None
    eigenvalues: tuple[float, ...] = ()
    greatest: float | None = None
    along: float | None = None
    products: int = 0
    settled: bool = True
    said: Message | None = None

    @property
    def error(self) -> str:
        """Why there is none, in one line of the language that is spoken now."""
        return str(self.said or "")
