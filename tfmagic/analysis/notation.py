"""How numbers, shapes, values and devices are written: short, plain, never wrong.

Shared by the picture and the tables, so that a figure reads the same in both.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from tfmagic.model import Histogram, Value

__all__ = [
    "UNKNOWN_SIGN",
    "bars",
    "cells",
    "compact",
    "device",
    "duration",
    "histogram",
    "named",
    "number",
    "percent",
    "rows",
    "shape",
    "shorten",
    "size",
    "spark",
    "timed",
    "value_lines",
]

UNKNOWN_SIGN = "—"
SMALL = 12  # elements that still read at a glance
WIDEST_ROW = 6
TALLEST = 6


def number(value: Any, digits: int = 5) -> str:
    """One element of a tensor: about ``digits`` significant digits, plain where it reads.

    ``0.8500000238`` → ``0.85``; ``12345.6`` → ``12346``; ``1.2e-7`` stays so.
    None, which stands for "not known", is ``—``.
    """
    if value is None:
        return UNKNOWN_SIGN
    if isinstance(value, str):
        return repr(shorten(value, 20))
    if isinstance(value, (bool, int)):
        return str(value)
    if isinstance(value, complex):
        sign = "-" if value.imag < 0 else "+"
        return f"{number(value.real, digits)}{sign}{number(abs(value.imag), digits)}j"
    return _real(float(value), digits)


@lru_cache(4096)
def _real(value: float, digits: int) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if -4 <= exponent < 6:
        text = f"{value:.{max(0, digits - 1 - exponent)}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa, power = f"{value:.{digits - 2}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(power)}"


def percent(part: int, whole: int) -> str:
    """``part`` of ``whole`` in per cent; a part that is not all and not none says so."""
    if not whole:
        return UNKNOWN_SIGN
    if 0 < part < whole:
        share = 100 * part / whole
        return "<1 %" if share < 1 else ">99 %" if share > 99 else f"{share:.0f} %"
    return "100 %" if part else "0 %"


def duration(seconds: float) -> str:
    """A time with its unit: ``0.8 ms``, ``12 µs``, ``3.4 s``."""
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= scale:
            return f"{number(seconds / scale, 2 if seconds < 100 * scale else 3)} {unit}"
    return "0 s" if seconds <= 0 else f"{number(seconds / 1e-9, 2)} ns"


def timed(seconds: float | None, digits: int = 3) -> str:
    """A measured time with ``digits`` significant digits, none dropped: ``49.70 µs``."""
    if seconds is None:
        return UNKNOWN_SIGN
    if seconds <= 0:
        return "0 s"
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")):
        amount = seconds / scale
        if amount >= 1 or unit == "ns":
            break
    decimals = max(0, digits - 1 - math.floor(math.log10(amount)))
    return f"{amount:,.{decimals}f} {unit}"


def size(count: int) -> str:
    """A number of bytes with its unit, in powers of 1,024."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{number(amount, 3)} {unit}"
        amount /= 1024
    return f"{number(amount, 3)} TiB"


def shape(dims: tuple[int | None, ...] | None) -> str:
    """A shape as TensorFlow prints it: ``(2, 1)``, ``(None, 3)``, ``()``."""
    return UNKNOWN_SIGN if dims is None else str(dims)


def device(full_name: str) -> str:
    """``/job:localhost/replica:0/task:0/device:CPU:0`` → ``CPU:0``; a worker stays named.

    Of ``/job:worker/replica:0/task:1/device:GPU:0`` remains ``worker:1/GPU:0``.
    """
    short = full_name.rpartition("device:")[2]
    parts = dict(p.split(":", 1) for p in full_name.split("/") if p.startswith(("job:", "task:")))
    job = parts.get("job", "localhost")
    return short if job == "localhost" else f"{job}:{parts.get('task', '0')}/{short}"


def shorten(text: str, most: int) -> str:
    """``text`` on one line and in at most ``most`` characters, ending in ``…`` where cut."""
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most and len(text) <= 4 * most else line[: most - 1] + "…"


def cells(text: str) -> int:
    """Columns that ``text`` takes in a fixed-width font: two for Hangul and its like."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def compact(data: Any) -> str:
    """Nested tuples of numbers on one line: ``[[0.11, 0.21], [0.12, 0.08]]``."""
    if isinstance(data, tuple):
        return "[" + ", ".join(compact(member) for member in data) + "]"
    return number(data)


def value_lines(value: Value) -> tuple[str, ...]:
    """The value of a small tensor in lines, a matrix in rows; empty where it is not small."""
    data = value.data
    if data is None or _count(data) > SMALL:
        return ()
    if not isinstance(data, tuple):
        return (number(data),)
    if _is_matrix(data):
        return rows(data) if len(data) <= TALLEST and len(data[0]) <= WIDEST_ROW else ()
    return (compact(data),)


def rows(matrix: tuple[tuple[Any, ...], ...]) -> tuple[str, ...]:
    """A matrix in lines, its columns under each other."""
    texts = [[number(element) for element in row] for row in matrix]
    widths = [max(cells(row[i]) for row in texts) for i in range(len(texts[0]))]
    return tuple(_row_lines(texts, widths))


def _row_lines(texts: list[list[str]], widths: list[int]) -> Iterator[str]:
    for i, row in enumerate(texts):
        padded = (" " * (width - cells(t)) + t for t, width in zip(row, widths, strict=True))
        start = "[[" if i == 0 else " ["
        yield f"{start}{', '.join(padded)}{']]' if i == len(texts) - 1 else '],'}"


def named(name: str, lines: tuple[str, ...]) -> tuple[str, ...]:
    """``name = `` before the lines, the later ones moved under the first."""
    if not name or not lines:
        return lines
    if len(lines) > 1 and cells(name) > 10:
        return (f"{name} =", *lines)
    room = " " * (cells(name) + 3)
    return (f"{name} = {lines[0]}", *(room + line for line in lines[1:]))


#: From least to most, for figures in a line of text.
BARS = "▁▂▃▄▅▆▇█"


def bars(counts: Sequence[int]) -> str:
    """A histogram as one line of text; an empty bin is a blank, any other is seen."""
    most = max(counts, default=0)
    return "".join(BARS[-(-7 * n // most)] if n else " " for n in counts) if most else ""


def spark(values: Sequence[float | None]) -> str:
    """A course of figures as one line of text, from the least (▁) to the greatest (█).

    What is None or not finite is ``×``.
    """
    finite = [v for v in values if v is not None and math.isfinite(v)]
    if not finite:
        return "×" * len(values)
    least, span = min(finite), max(finite) - min(finite)
    return "".join(
        "×"
        if v is None or not math.isfinite(v)
        else BARS[round(7 * (v - least) / span)]
        if span
        else BARS[3]
        for v in values
    )


def histogram(found: Histogram | None) -> str:
    """A gradient's histogram with its two ends."""
    if found is None or not found.counts:
        return ""
    return f"{number(found.edges[0], 2)} {bars(found.counts)} {number(found.edges[-1], 2)}"


def _count(data: Any) -> int:
    """The number of elements, or more than ``SMALL`` as soon as that is certain."""
    total, open_parts = 0, [data]
    while open_parts and total <= SMALL:
        part = open_parts.pop()
        if isinstance(part, tuple):
            open_parts.extend(part[: SMALL + 1])
        else:
            total += 1
    return total


def _is_matrix(data: tuple[Any, ...]) -> bool:
    return all(
        isinstance(row, tuple)
        and 0 < len(row) == len(data[0])
        and not any(isinstance(e, tuple) for e in row)
        for row in data
    ) and bool(data)
