"""The line above everything: what ran, how much of it, where, and how long it took."""

from __future__ import annotations

from collections.abc import Iterator

from tfmagic.analysis.notation import device, duration, shorten
from tfmagic.analysis.tree import line_span
from tfmagic.language import say
from tfmagic.model import Recording
from tfmagic.render.escape import clipped, visible

__all__ = ["failure", "not_seen", "summary"]

_DEVICES = 3
_LONGEST = 60  # characters of a device


def summary(recording: Recording) -> str:
    """``5 forward ops, 13 backward · 2 variables · lines 2–5 · took 26 ms … · CPU:0``."""
    return " · ".join(_parts(recording))


def _parts(recording: Recording) -> Iterator[str]:
    ops = say("report.forward", n=len(recording.forward))
    if recording.backward:
        ops += ", " + say("report.backward", n=len(recording.backward))
    yield ops
    if recording.variables:
        yield say("report.variables_read", n=len(recording.variables))
    cells = {op.cell for op in recording.ops}
    numbers = {recording.lines[op.line].number for op in recording.ops if op.line is not None}
    if len(cells) > 1:
        yield say("report.cells", n=len(cells))
    elif numbers:
        yield line_span(numbers)
    if recording.seconds > 0:
        yield say("report.took", time=duration(recording.seconds))
    names = dict.fromkeys(op.device for op in recording.ops if op.device)
    places = list(dict.fromkeys(shorten(device(name), _LONGEST) for name in names))
    if places:
        more = ", …" if len(places) > _DEVICES else ""
        yield visible(", ".join(places[:_DEVICES])) + more


def failure(recording: Recording) -> str:
    """The exception that ended the cell, in one sentence; empty where there was none."""
    end = recording.failure
    if end is None:
        return ""
    kind, detail = visible(end.type), clipped(visible(end.message), 300)
    said = "report.left" if end.type == "SystemExit" else "report.stopped"  # an end it chose
    if end.line is None:
        told = say(said, type=kind, detail=detail)
    else:
        number = recording.lines[end.line].number
        told = say(f"{said}_line", type=kind, detail=detail, number=number)
    return told.rstrip(": ")  # of an exception without a message


def not_seen(recording: Recording) -> tuple[str, ...]:
    """What the recorder did not see, each as one line."""
    heading = say("report.not_seen")
    return tuple(f"{heading}: {visible(gap.message)}" for gap in recording.complete)
