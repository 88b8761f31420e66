"""A matrix as colours: small ones as a table with its numbers, large ones as a picture."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Iterable, Sequence

from markupsafe import Markup

from tfmagic.analysis.notation import number
from tfmagic.language import say
from tfmagic.model.heat import Heat
from tfmagic.render.html import wide

__all__ = ["picture", "png"]

#: Up to so many rows and columns the numbers stand in the squares.
TABLE = (10, 10)
#: Edge of a square of the picture, in pixels: as large as fits, within these bounds.
LEAST, MOST, WIDTH, HEIGHT = 6, 16, 480, 320

Colour = tuple[int, int, int]
#: From the least to the greatest; where both signs occur 0 is white.
BOTH: tuple[Colour, ...] = (
    (33, 102, 172),
    (146, 197, 222),
    (255, 255, 255),
    (244, 165, 130),
    (178, 24, 43),
)
UP: tuple[Colour, ...] = ((255, 255, 255), (253, 219, 199), (239, 138, 98), (178, 24, 43))
DOWN: tuple[Colour, ...] = ((33, 102, 172), (103, 169, 207), (209, 229, 240), (255, 255, 255))
BROKEN: Colour = (0, 0, 0)


def picture(heat: Heat) -> Markup:
    """The squares, what their colours mean, and of what they are the means."""
    small = len(heat.rows) <= TABLE[0] and len(heat.rows[0]) <= TABLE[1] and heat.block == (1, 1)
    shown = _table(heat) if small else _image(heat)
    return shown + Markup('<p class="tfmagic-note">{}</p>').format(" ".join(_words(heat)))


def _table(heat: Heat) -> Markup:
    colour = _Scale(heat)
    header = Markup("").join(
        Markup('<th scope="col" style="text-align:center">{}</th>').format(i)
        for i in range(len(heat.rows[0]))
    )
    rows = Markup("").join(
        Markup('<tr class="tfmagic-row"><th scope="row">{}</th>{}</tr>').format(
            i, _squares(row, colour)
        )
        for i, row in enumerate(heat.rows)
    )
    drawn = Markup(
        '<table class="tfmagic-heat"><caption>{}</caption><thead><tr>'
        "<td></td>{}</tr></thead><tbody>{}</tbody></table>"
    ).format(say("heat.caption"), header, rows)
    return wide(say("heat.caption"), drawn)


def _squares(row: Sequence[float], colour: _Scale) -> Markup:
    return Markup("").join(
        Markup('<td style="text-align:right;background-color:{};color:{}">{}</td>').format(
            "#{:02x}{:02x}{:02x}".format(*colour(value)), _ink(colour(value)), number(value, 4)
        )
        for value in row
    )


def _image(heat: Heat) -> Markup:
    colour = _Scale(heat)
    edge = max(LEAST, min(MOST, WIDTH // len(heat.rows[0]), HEIGHT // len(heat.rows)))
    words = say("heat.alt", rows=len(heat.rows), columns=len(heat.rows[0]))
    data = base64.b64encode(png(([colour(v) for v in row] for row in heat.rows), edge)).decode()
    drawn = Markup(
        '<img class="tfmagic-graph tfmagic-heat" alt="{}" src="data:image/png;base64,{}">'
    )
    return wide(words, drawn.format(words, data))


def _words(heat: Heat) -> Iterable[str]:
    scale = _Scale(heat)
    if scale.colours is BOTH:
        yield say("heat.both", low=number(-scale.high, 3), high=number(scale.high, 3))
    elif scale.colours is UP:
        yield say("heat.up", low=number(scale.low, 3), high=number(scale.high, 3))
    else:
        yield say("heat.down", low=number(scale.low, 3), high=number(scale.high, 3))
    if any(not math.isfinite(value) for row in heat.rows for value in row):
        yield say("heat.broken")
    if heat.block != (1, 1):
        yield say("heat.block", rows=heat.block[0], columns=heat.block[1])
    if heat.place:
        yield say("heat.slice", place=f"[{', '.join(map(str, heat.place))}]")


class _Scale:
    """From a number to its colour."""

    def __init__(self, heat: Heat) -> None:
        finite = [value for row in heat.rows for value in row if math.isfinite(value)] or [0.0]
        self.low, self.high = min(finite), max(finite)
        self.colours = BOTH if self.low < 0 < self.high else UP if self.low >= 0 else DOWN
        if self.colours is BOTH:
            self.high = max(-self.low, self.high)
            self.low = -self.high

    def __call__(self, value: float) -> Colour:
        if not math.isfinite(value):
            return BROKEN
        # Halved first: the whole range of doubles does not fit into a double.
        span = self.high / 2 - self.low / 2
        part = (value / 2 - self.low / 2) / span if span else 0.0 if self.colours is UP else 1.0
        place = part * (len(self.colours) - 1)
        left = min(int(place), len(self.colours) - 2)
        pair = zip(self.colours[left], self.colours[left + 1], strict=True)
        red, green, blue = (round(a + (b - a) * (place - left)) for a, b in pair)
        return red, green, blue


def _ink(colour: Colour) -> str:
    """Black or white, whichever stands out more from the colour."""
    parts = [v / 3294.6 if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in colour]
    light = 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
    return "#000000" if (light + 0.05) ** 2 > 1.05 * 0.05 else "#ffffff"


def png(rows: Iterable[Sequence[Colour]], edge: int) -> bytes:
    """A PNG with a square of ``edge`` pixels for each colour."""
    lines, width, height = bytearray(), 0, 0
    for row in rows:
        line = b"\0" + b"".join(bytes(colour) * edge for colour in row)
        lines += line * edge
        width, height = len(row) * edge, height + edge
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(lines), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )
