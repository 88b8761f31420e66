"""Matrices as rectangles in the order of their product, so that one sees which sides differ."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import prod

from markupsafe import Markup

from tfmagic.analysis.notation import shape
from tfmagic.render import html
from tfmagic.render.palette import MARK, QUIET, SANS

__all__ = ["picture", "words"]

ORDER = ("W_2", "W_1", "X")
GOOD = "#2f855a"
_SMALLEST, _LARGEST, _GAP = 26.0, 120.0, 58.0

Shapes = Mapping[str, tuple[int, ...]]


def words(shapes: Shapes) -> str:
    """``Ŷ = W_2 (1, 3) ✗ W_1 (2, 2) · X (2, 1)``: ✗ stands where the sides differ."""
    matrices = _matrices(shapes)
    parts = [f"{matrices[0][0]} {shape(matrices[0][1])}"]
    for (_, left), (name, right) in pairwise(matrices):
        parts.append(f"{'·' if left[1] == right[0] else '✗'} {name} {shape(right)}")
    wrong = _wrong_target(matrices, shapes)
    if wrong is not None:
        parts.append(f"= {shape(wrong[0])} ✗ Y {shape(shapes['Y'])}")
    return "Ŷ = " + " ".join(parts)


def picture(shapes: Shapes, message: str) -> dict[str, str]:
    """The message and the drawing, as ``text/plain`` and ``text/html``."""
    text = words(shapes)
    svg, width = _svg(shapes, text)
    body = [html.alert(message), html.image(svg, text, width)]
    return {"text/plain": f"{message}\n{text}", "text/html": html.report(body)}


def _matrices(shapes: Shapes) -> list[tuple[str, tuple[int, int]]]:
    """What stands in the product, a plain list as the column it would be."""
    found = []
    for name in ORDER:
        dims = shapes.get(name, (1, 1))
        rows = dims[0] if dims else 1
        found.append((name, (rows, dims[1] if len(dims) > 1 else 1)))
    return found


def _made(matrices: list[tuple[str, tuple[int, int]]]) -> tuple[int, int] | None:
    """The shape of Ŷ; None where the product breaks before it."""
    chained = all(left[1][1] == right[1][0] for left, right in pairwise(matrices))
    return (matrices[0][1][0], matrices[-1][1][1]) if chained else None


def _wrong_target(
    matrices: list[tuple[str, tuple[int, int]]], shapes: Shapes
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """The shapes of Ŷ and of a target that does not fit it."""
    made, target = _made(matrices), shapes.get("Y")
    if target is None or made is None or _alike(made, target):
        return None
    rows, columns = (*target, 1, 1)[:2]
    return made, (rows, columns)


def _alike(made: tuple[int, int], target: tuple[int, ...]) -> bool:
    """Whether a target fits, be it a matrix, a plain list or one number."""
    return target == made or (len(target) < 2 and prod(target) == prod(made))


def _svg(shapes: Shapes, title: str) -> tuple[str, int]:
    matrices = _matrices(shapes)
    wrong = _wrong_target(matrices, shapes)
    most = max(max(dims) for dims in (*(dims for _, dims in matrices), *(wrong or ())))
    unit = _LARGEST / max(most, 1)
    x, middle, parts = 20.0, 90.0, []
    end = 0.0
    for i, (name, (rows, columns)) in enumerate(matrices):
        high, wide = (max(_SMALLEST, unit * side) for side in (rows, columns))
        fits = [True, True]  # its rows with the matrix before, its columns with the one after
        if i:
            fits[0] = matrices[i - 1][1][1] == rows
            parts.append(_text(x - _GAP / 2, middle + 6, "·" if fits[0] else "✗", 20, fits[0]))
        if i + 1 < len(matrices):
            fits[1] = columns == matrices[i + 1][1][0]
        parts.append(_box(x, middle, wide, high, name))
        parts.append(_text(x - 10, middle + 4, str(rows), 13, fits[0] if i else None))
        parts.append(
            _text(
                x + wide / 2,
                middle - high / 2 - 6,
                str(columns),
                13,
                fits[1] if i + 1 < len(matrices) else None,
            )
        )
        end = x + wide
        x = end + _GAP
    if wrong is not None:
        parts += _target_box(x, middle, unit, *wrong)
        end = x + _wide(unit, wrong[1][1])
    width = round(end + 20)
    svg = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{0}" width="{1}" '
        'height="180" viewBox="0 0 {1} 180"><title>{0}</title>{2}</svg>'
    ).format(title, width, Markup("").join(parts))
    return str(svg), width


def _wide(unit: float, side: int) -> float:
    return max(_SMALLEST, unit * side)


def _target_box(
    x: float, middle: float, unit: float, made: tuple[int, int], target: tuple[int, int]
) -> list[Markup]:
    """The target behind the product, its sides red where they are not those of Ŷ."""
    high, wide = (_wide(unit, side) for side in target)
    return [
        _text(x - _GAP / 2, middle + 6, "✗", 20, False),
        _box(x, middle, wide, high, "Y"),
        _text(x - 10, middle + 4, str(target[0]), 13, target[0] == made[0]),
        _text(x + wide / 2, middle - high / 2 - 6, str(target[1]), 13, target[1] == made[1]),
    ]


def _box(x: float, middle: float, wide: float, high: float, name: str) -> Markup:
    """A matrix as a rectangle with its name."""
    rect = Markup(
        '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill="#dcebfb" '
        'stroke="#2b6cb0" stroke-width="1.5"/>'
    ).format(x, middle - high / 2, wide, high)
    label = Markup(
        '<text x="{:.1f}" y="{:.1f}" text-anchor="middle" font-family="{}" font-size="12" '
        'font-weight="bold" fill="#1f2933">{}</text>'
    ).format(x + wide / 2, middle + 4, SANS, name)
    return rect + label


def _text(x: float, y: float, text: str, size: int, fits: bool | None) -> Markup:
    """A number beside its side: green where it fits its neighbour, red where it does not."""
    colour = QUIET if fits is None else GOOD if fits else MARK
    return Markup(
        '<text x="{:.1f}" y="{:.1f}" text-anchor="middle" font-family="{}" font-size="{}" '
        'font-weight="bold" fill="{}">{}</text>'
    ).format(x, y, SANS, size, colour, text)
