"""What each replica of a strategy had, beside what the strategy made of it."""

from __future__ import annotations

from itertools import islice

from tfmagic.analysis.notation import UNKNOWN_SIGN, device, number, value_lines
from tfmagic.language import say
from tfmagic.model import Recording
from tfmagic.model.reduction import Reduction
from tfmagic.render.escape import clipped, visible
from tfmagic.render.tables import Column, Row, Table

__all__ = ["reductions"]

_MOST = 8  # replicas that have a column
_ROWS = 20


def reductions(recording: Recording) -> Table | None:
    """One row for each value that replicas made together; None where there is none."""
    found = recording.reductions
    if not found:
        return None
    most = min(_MOST, max(len(each.parts) for each in found))
    columns = (
        Column(say("report.where")),
        Column(say("replica.what"), code=True),
        *(Column(_replica(recording, found, i), code=True) for i in range(most)),
        Column(say("replica.how")),
        Column(say("replica.reduced"), code=True),
    )
    rows = tuple(_row(recording, each, most) for each in found)
    notes = [say("replica.note")]
    hidden = max(len(each.parts) for each in found) - most
    if hidden:
        notes.append(say("replica.hidden", n=hidden))
    return Table(say("replica.caption"), columns, rows, tuple(notes), heading=1).head(_ROWS)


def _replica(recording: Recording, found: tuple[Reduction, ...], place: int) -> str:
    """``replica 1 · CPU:1``."""
    parts = (each.parts[place] for each in found if len(each.parts) > place)
    where = {device(recording.tensors[part].device) for part in islice(parts, _ROWS)}
    word = say("replica.replica", number=place)
    return f"{word} · {visible(where.pop())}" if len(where) == 1 else word


def _row(recording: Recording, reduction: Reduction, most: int) -> Row:
    line = reduction.line
    where = UNKNOWN_SIGN
    if line is not None:
        where = say("graph.line", number=recording.lines[line].number)
    what = f"∇{reduction.source}" if reduction.source else reduction.name
    parts = [_value(recording, part) for part in reduction.parts[:most]]
    word = f"replica.{reduction.how}" if reduction.how in ("sum", "mean") else "replica.other"
    return Row(
        (
            where,
            clipped(visible(what), 40) or UNKNOWN_SIGN,
            *parts,
            *([UNKNOWN_SIGN] * (most - len(parts))),
            say(word, how=visible(reduction.how)),
            _value(recording, reduction.result),
        )
    )


def _value(recording: Recording, tensor: int) -> str:
    value = recording.tensors[tensor].value
    lines = value_lines(value)
    if lines:
        return visible("\n".join(lines), lines=True)
    norm = value.stats.norm if value.stats else None
    return f"‖·‖ = {number(norm, 4)}" if norm is not None else UNKNOWN_SIGN
