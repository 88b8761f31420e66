"""The loss over the steps, and over two weights: small pictures as SVG, drawn by hand.

Their colours read on a light page and on a dark one.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from tfmagic.analysis.landscape import Landscape
from tfmagic.analysis.notation import number
from tfmagic.language import say
from tfmagic.model.step import Array
from tfmagic.render.palette import MARK, QUIET, SANS

__all__ = ["landscape", "loss_curve"]

LINE = "#2f7fd0"
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 320, 150, 62, 26, 14
MOST_POINTS = 400
_ROUND = 4


def loss_curve(steps: Sequence[int], losses: Sequence[float], at: int, title: str = "Loss") -> str:
    """The loss of each step, or what ``title`` says; ``at`` is the place that is looked at.

    Losses that spread over more than three powers of ten stand on a logarithmic axis.
    """
    values = np.asarray(losses, float)
    finite = np.isfinite(values)
    good = values[finite]
    if not good.size:
        return _svg(say("step.curve_alt"), Markup(""))
    logarithmic = good.min() > 0 and good.max() / good.min() > 1000
    heights = np.log10(np.where(values > 0, values, np.nan)) if logarithmic else values
    low, high = float(np.min(heights[finite])), float(np.max(heights[finite]))
    room = (high - low) * 0.06 or max(abs(high) * 0.1, 1e-12)
    low, high = low - room, high + room

    def x(step: float) -> float:
        last = max(steps[-1], 1)
        return LEFT + (WIDTH - LEFT - 10) * step / last

    def y(height: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - height) / (high - low)

    kept = _thinned(len(values))
    points = " ".join(f"{x(steps[i]):.1f},{y(heights[i]):.1f}" for i in kept if finite[i])
    ends = [(low + room, y(low + room)), (high - room, y(high - room))]
    labels = [(number(10**v if logarithmic else v, 3), place) for v, place in dict(ends).items()]
    body = [_axes(labels, steps[-1], title, logarithmic=logarithmic)]
    body.append(
        Markup('<polyline points="{}" fill="none" stroke="{}" stroke-width="2"/>').format(
            points, LINE
        )
    )
    if len(values) <= 40:
        body += [
            Markup('<circle cx="{:.1f}" cy="{:.1f}" r="2.4" fill="{}"/>').format(
                x(steps[i]), y(heights[i]), LINE
            )
            for i in range(len(values))
            if finite[i]
        ]
    if finite[at]:
        body.append(_here(x(steps[at]), y(heights[at])))
    alt = say("step.curve_alt") + f": {number(values[0])} → {number(values[at])}"
    return _svg(alt, Markup("").join(body))


def _thinned(count: int) -> list[int]:
    if count <= MOST_POINTS:
        return list(range(count))
    return sorted({round(i * (count - 1) / (MOST_POINTS - 1)) for i in range(MOST_POINTS)})


def _axes(
    labels: Sequence[tuple[str, float]], last: int, title: str, *, logarithmic: bool
) -> Markup:
    floor = HEIGHT - BOTTOM
    lines = Markup(
        '<path d="M{0},{1} V{2} H{3}" fill="none" stroke="{4}" stroke-opacity="0.7"/>'
    ).format(LEFT, TOP - 6, floor, WIDTH - 6, QUIET)
    texts = [_text(LEFT - 5, y + 4, text, "end") for text, y in labels]
    texts.append(_text(LEFT, HEIGHT - 9, "0", "middle"))
    texts.append(_text(WIDTH - 10, HEIGHT - 9, f"{last:,}", "middle"))
    name = say("step.step_axis")
    texts.append(_text((LEFT + WIDTH) / 2, HEIGHT - 9, name, "middle"))
    texts.append(_text(LEFT + 6, TOP, title + (" (log)" if logarithmic else ""), "start"))
    return Markup("").join([lines, *texts])


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup(
        '<text x="{:.1f}" y="{:.1f}" text-anchor="{}" font-family="{}" font-size="11" '
        'fill="{}">{}</text>'
    ).format(x, y, anchor, SANS, QUIET, text)


def _here(x: float, y: float) -> Markup:
    return Markup(
        '<circle cx="{:.1f}" cy="{:.1f}" r="5" fill="{}" stroke="#fff" stroke-width="1.2"/>'
    ).format(x, y, MARK)


def _svg(title: str, body: Markup) -> str:
    return str(
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{0}" width="{1}" '
            'height="{2}" viewBox="0 0 {1} {2}"><title>{0}</title>{3}</svg>'
        ).format(title, WIDTH, HEIGHT, body)
    )


# --- the landscape ---------------------------------------------------------------------------

SIDE, MARGIN = 200, 56


def landscape(found: Landscape) -> str:
    """The loss over two weights as shades, low ones light, with the path that was walked."""
    (left, right), (low, high) = found.spans

    def place(first: float, second: float) -> tuple[float, float]:
        x = MARGIN + SIDE * (first - left) / (right - left)
        return x, 12 + SIDE * (high - second) / (high - low)

    body = [
        Markup(
            '<image x="{}" y="12" width="{}" height="{}" preserveAspectRatio="none" '
            'style="image-rendering:auto" href="data:image/png;base64,{}"/>'
        ).format(MARGIN, SIDE, SIDE, base64.b64encode(_png(found.losses)).decode("ascii")),
        Markup('<rect x="{}" y="12" width="{}" height="{}" fill="none" stroke="{}"/>').format(
            MARGIN, SIDE, SIDE, QUIET
        ),
    ]
    points = [place(a, b) for a, b in found.path if left <= a <= right and low <= b <= high]
    if len(points) > 1:
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        body.append(
            Markup('<polyline points="{}" fill="none" stroke="{}" stroke-width="2"/>').format(
                line, MARK
            )
        )
    body.append(_here(*place(*found.at)))
    first, second = found.names
    floor = SIDE + 28
    body += [
        _text(MARGIN, floor, number(left, 3), "middle"),
        _text(MARGIN + SIDE, floor, number(right, 3), "middle"),
        _text(MARGIN + SIDE / 2, floor, first, "middle"),
        _text(MARGIN - 5, 12 + SIDE, number(low, 3), "end"),
        _text(MARGIN - 5, 22, number(high, 3), "end"),
        _text(MARGIN - 5, 12 + SIDE / 2, second, "end"),
    ]
    key = say("step.landscape_key", low=number(found.least, 3), high=number(found.most, 3))
    body.append(_text(MARGIN + SIDE / 2, floor + 16, key, "middle"))
    title = say("step.landscape_alt", first=first, second=second)
    return str(
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{0}" width="{1}" '
            'height="{2}" viewBox="0 0 {1} {2}"><title>{0}</title>{3}</svg>'
        ).format(title, MARGIN + SIDE + 20, floor + 24, Markup("").join(body))
    )


def _png(losses: Array) -> bytes:
    """The grid as a picture of one pixel for each point: a valley is light, a height dark.

    Bands of equal colour stand for the contour lines.
    """
    finite = np.nan_to_num(losses, nan=np.inf, posinf=np.inf)
    good = finite[np.isfinite(finite)]
    low, high = (good.min(), good.max()) if good.size else (0.0, 1.0)
    share = np.clip((finite - low) / ((high - low) or 1.0), 0, 1) ** 0.5
    share = np.floor(share * 16) / 16
    shades = np.array([[236, 246, 255], [116, 173, 224], [38, 84, 150], [18, 32, 72]], float)
    at = share[::-1] * (len(shades) - 1)
    base = np.minimum(at.astype(int), len(shades) - 2)
    part = (at - base)[..., None]
    pixels = (shades[base] * (1 - part) + shades[base + 1] * part).astype(np.uint8)
    height, width = losses.shape
    raw = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(raw)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
