"""``%tfdevice --why``: where each op of a recording ran, what decided it, what was copied."""

from __future__ import annotations

from collections.abc import Iterator

from tfmagic.analysis.notation import UNKNOWN_SIGN, size
from tfmagic.analysis.notation import device as short
from tfmagic.analysis.placement import Copies, Placement, copies, placements
from tfmagic.language import say
from tfmagic.model import Recording
from tfmagic.render import html, text
from tfmagic.render.escape import clipped, visible
from tfmagic.render.tables import Column, Row, Table

__all__ = ["PlacementView"]

_MOST = 60
_LINES = 4


class PlacementView:
    """The placements and copies of one recording as text and HTML."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.placements = placements(recording)
        self.copies = copies(recording)

    def __repr__(self) -> str:
        return text.render(self._head(), self._tables(), self._notes())

    def mimebundle(self) -> dict[str, str]:
        """The tables as ``text/plain`` and ``text/html``."""
        parts = [html.head(self._head()), *map(html.table, self._tables())]
        parts.append(html.notes(self._notes()))
        return {"text/plain": repr(self), "text/html": html.report(parts)}

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return self.mimebundle()

    def _head(self) -> str:
        counts: dict[str, int] = {}
        for each in self.placements:
            counts[each.device] = counts.get(each.device, 0) + 1
        places = (
            say("placement.on", n=count, device=visible(short(name)) or UNKNOWN_SIGN)
            for name, count in counts.items()
        )
        return " · ".join(places)

    def _tables(self) -> list[Table]:
        tables = [self._ops().head(_MOST)]
        if self.copies:
            tables.append(_copies(self.copies))
        return tables

    def _ops(self) -> Table:
        """One row for the ops of a line that ran at the same place for the same reason."""
        groups: dict[tuple[object, ...], list[Placement]] = {}
        for each in self.placements:
            op = self.recording.ops[each.op]
            key = (op.line, each.device, each.why, each.sent, each.home)
            groups.setdefault(key, []).append(each)
        columns = (
            Column(say("report.where")),
            Column(say("placement.ops"), code=True),
            Column(say("placement.ran"), code=True),
            Column(say("placement.why")),
        )
        rows = tuple(map(self._row, groups.values()))
        return Table(say("placement.caption"), columns, rows, heading=1)

    def _row(self, group: list[Placement]) -> Row:
        first = group[0]
        types: dict[str, int] = {}
        for each in group:
            name = self.recording.ops[each.op].title
            types[name] = types.get(name, 0) + 1
        told = (name if count == 1 else f"{name} × {count}" for name, count in types.items())
        return Row(
            (
                self._where(first.op),
                clipped(visible(", ".join(told)), 60),
                visible(short(first.device)) or UNKNOWN_SIGN,
                self._why(first),
            ),
            tone="warn" if first.astray else "",
        )

    def _where(self, op: int) -> str:
        at = self.recording.ops[op].line
        if at is None:
            return UNKNOWN_SIGN
        line = self.recording.lines[at]
        told = say("graph.line", number=line.number)
        if len(self.recording.cells) < 2:
            return told
        return f"{clipped(visible(self.recording.cells[line.cell].label), 24)} · {told}"

    def _why(self, placement: Placement) -> str:
        return say(
            f"placement.{placement.why}",
            sent=visible(short(placement.sent)),
            home=clipped(visible(placement.home), 40) or say("placement.its_resource"),
            kind=visible(short(placement.device).rpartition("/")[2].partition(":")[0]),
        )

    def _notes(self) -> list[str]:
        return list(_notes(self))


def _copies(found: tuple[Copies, ...]) -> Table:
    columns = (
        Column(say("placement.from"), code=True),
        Column(say("placement.to"), code=True),
        Column(say("placement.copied"), "right"),
        Column(say("vars.bytes"), "right"),
        Column(say("placement.lines")),
    )
    rows = tuple(
        Row(
            (
                visible(short(each.source)),
                visible(short(each.target)),
                say("placement.tensors", n=each.count),
                size(each.size),
                _numbers(each.lines),
            )
        )
        for each in found
    )
    return Table(say("placement.copies"), columns, rows)


def _numbers(lines: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, lines[:_LINES])) + (", …" if len(lines) > _LINES else "")
    return shown or UNKNOWN_SIGN


def _notes(view: PlacementView) -> Iterator[str]:
    if view.copies:
        yield say("placement.copies_note")
    elif len({each.device for each in view.placements if each.device}) > 1:
        yield say("placement.no_copies")
    if any(op.function for op in view.recording.ops):
        yield say("placement.functions")
    if any(each.why == "missing" for each in view.placements):
        yield say("placement.missing_note")
