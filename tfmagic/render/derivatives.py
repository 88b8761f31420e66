"""Tables of what was asked beyond the gradient: checks, Jacobians, Hessians."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

from tfmagic.analysis.notation import UNKNOWN_SIGN, number, percent, shape
from tfmagic.language import say
from tfmagic.model import Check, Gradient, Hessian, Jacobian, Recording
from tfmagic.render.escape import clipped, visible
from tfmagic.render.grid import Column, Row, Table

__all__ = ["check_cell", "check_note", "check_notes", "derivatives"]

#: A matrix of up to this many rows and columns is written out.
MOST_ROWS, MOST_COLUMNS = 16, 12
#: Eigenvalues or singular values told one by one.
MOST_VALUES = 12


def check_cell(check: Check | None) -> str:
    """Whether numerical differences agree, how far off they were, and of how many elements."""
    if check is None or check.agrees is None:
        return UNKNOWN_SIGN
    key = "check.agrees" if check.agrees else "check.disagrees"
    difference = number(check.difference, 2)
    return say(key, difference=difference, elements=f"{check.elements:,}", n=check.of)


def check_note(gradient: Gradient) -> str:
    """What a check that failed, or could not be made, has to say."""
    check = gradient.check
    if check is None or check.agrees or (check.agrees is None and gradient.is_none):
        return ""
    if check.agrees is None:
        return say("check.why_not", why=visible(check.why))
    figures = {"analytic": number(check.analytic), "numeric": number(check.numeric)}
    if check.at is None:
        return say("check.wrong_along", **figures)
    at = gradient.source + (f"[{', '.join(map(str, check.at))}]" if check.at else "")
    return say("check.wrong_at", at=visible(at), **figures)


def check_notes(gradients: Sequence[Gradient]) -> Iterator[str]:
    """How the checks of a table were made."""
    made = [g.check for g in gradients if g.check is not None and g.check.agrees is not None]
    for precision, seed in dict.fromkeys((check.precision, check.seed) for check in made):
        yield say("check.how", precision=precision, seed=seed)
    held = dict.fromkeys(op for check in made for op in check.held)
    if held:
        yield say("check.held", ops=visible(", ".join(held)))


def derivatives(recording: Recording) -> Iterator[Table]:
    """A table for each Jacobian and each Hessian of a recording."""
    for jacobian in recording.jacobians:
        yield _jacobian(jacobian)
    for hessian in recording.hessians:
        yield _hessian(hessian)


def _jacobian(found: Jacobian) -> Table:
    caption = say(
        "derivative.jacobian",
        target=_name(found.target),
        source=_name(found.source),
        target_shape=shape(found.target_shape),
        source_shape=shape(found.source_shape),
    )
    if found.error or found.value is None:
        return Table(caption, (), (), (visible(found.error),))
    rows = _labels(found.target, found.target_shape)
    columns = _labels(found.source, found.source_shape)
    notes = [*_singular(found, len(rows), len(columns))]
    stats = found.value.stats
    if stats is not None:
        shares = percent(stats.zeros, stats.seen)
        least, most = number(stats.min), number(stats.max)
        norm = number(stats.norm)
        notes.insert(0, say("derivative.figures", norm=norm, min=least, max=most, zeros=shares))
    return _matrix(caption, rows, columns, found.value.data, notes)


def _singular(found: Jacobian, rows: int, columns: int) -> Iterator[str]:
    values = found.singular
    if not values:
        return
    yield say("derivative.singular", values=_listed(values))
    full = min(rows, columns)
    rank = sum(value > values[0] * max(rows, columns) * 1e-7 for value in values)
    key = "derivative.full_rank" if rank == full else "derivative.rank"
    yield say(key, rank=rank, full=full)


def _hessian(found: Hessian) -> Table:
    names = ", ".join(_name(source) for source in found.sources)
    target = _name(found.target)
    if found.error:
        return Table(
            say("derivative.hessian_plain", target=target), (), (), (visible(found.error),)
        )
    caption = say("derivative.hessian", target=target, sources=names, n=found.size)
    notes = tuple(_curvature(found, target, names))
    data = found.value.data if found.value is not None else None
    labels = [
        label
        for source, dims in zip(found.sources, found.shapes, strict=False)
        for label in _labels(source, dims)
    ]
    return _matrix(caption, labels, labels, data, notes)


def _curvature(found: Hessian, target: str, names: str) -> Iterator[str]:
    if not found.whole:
        yield say(
            "derivative.hessian_large",
            n=found.size,
            count=found.size**2,
            most=256,
            products=found.products,
            target=target,
            sources=names,
        )
    if found.eigenvalues:
        small = _nothing(found.eigenvalues)
        plain = [0.0 if abs(value) <= small else value for value in found.eigenvalues]
        yield say("derivative.eigenvalues", values=_listed(plain))
        yield from _shape_of_it(found.eigenvalues, target)
    elif found.greatest is not None:
        key = "derivative.greatest" if found.settled else "derivative.greatest_unsettled"
        yield say(key, value=number(found.greatest), products=found.products)
    if found.along is not None:
        yield say("derivative.along", value=number(found.along))
    if found.greatest is not None and found.greatest > 0:
        yield say("derivative.step", lr=number(2 / found.greatest, 3))


def _shape_of_it(values: Sequence[float], target: str) -> Iterator[str]:
    """What the signs of the eigenvalues say."""
    small = _nothing(values)
    up, down = (sum(sign * value > small for value in values) for sign in (1, -1))
    flat = len(values) - up - down
    if up and down:
        yield say("derivative.saddle", n=down, target=target)
    elif up == len(values):
        yield say("derivative.convex", target=target)
    elif down == len(values):
        yield say("derivative.concave", target=target)
    if flat:
        yield say("derivative.flat", n=flat, target=target)


def _nothing(eigenvalues: Sequence[float]) -> float:
    """What in float32 cannot be told from zero beside the largest of them."""
    return max(map(abs, eigenvalues)) * 1e-6


def _matrix(
    caption: str, rows: Sequence[str], columns: Sequence[str], data: object, notes: Sequence[str]
) -> Table:
    """The matrix itself where it is small, else only what is said of it."""
    if data is None or len(rows) > MOST_ROWS or len(columns) > MOST_COLUMNS:
        return Table(caption, (), (), tuple(notes))
    figures = [number(value, 4) for value in _flat(data)]
    width = len(columns)
    made = tuple(
        Row((_name(label), *figures[i * width : (i + 1) * width])) for i, label in enumerate(rows)
    )
    heads = (
        Column("", code=True),
        *(Column(_name(label), "right", code=True) for label in columns),
    )
    return Table(caption, heads, made, tuple(notes))


def _labels(name: str, dims: tuple[int, ...]) -> list[str]:
    """``W_1[0, 1]`` for each element, in the order of memory; the name alone for a scalar."""
    if math.prod(dims) > MOST_ROWS * MOST_COLUMNS:
        return [name] * math.prod(dims)
    return [
        f"{name}[{', '.join(map(str, index))}]" if index else name
        for index in product(*map(range, dims))
    ]


def _flat(data: object) -> Iterator[object]:
    if isinstance(data, tuple):
        for part in data:
            yield from _flat(part)
    else:
        yield data


def _listed(values: Sequence[float]) -> str:
    """The values, the middle left out where there are many."""
    texts = [number(value, 4) for value in values]
    if len(texts) > MOST_VALUES:
        half = MOST_VALUES // 2
        texts = [*texts[:half], "…", *texts[-half:]]
    return ", ".join(texts)


def _name(text: str) -> str:
    return clipped(visible(text), 40)
