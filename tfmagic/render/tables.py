"""Tables as plain cells: text and HTML share every line of this and differ in the last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import compress

from tfmagic.analysis.notation import (
    UNKNOWN_SIGN,
    device,
    histogram,
    number,
    percent,
    shape,
    value_lines,
)
from tfmagic.language import say
from tfmagic.model import Gradient, GradientCall, Graph, Node, Recording, Stats, Tried, Verdict
from tfmagic.render.derivatives import check_cell, check_note, check_notes
from tfmagic.render.escape import clipped, visible
from tfmagic.render.grid import Column, Row, Table

__all__ = ["Column", "Row", "Table", "boxes", "gradients", "variables"]

LONGEST_CELL = 120
#: Elements of a gradient that are written out.
_WRITTEN_OUT = 6
LONGEST_NOTE = 600


# --- gradients -----------------------------------------------------------------------------


def gradients(recording: Recording, said: Verdict | None = None) -> Table | None:
    """One row for each gradient that was asked for; None where none was.

    The same call in a loop stands in one row, with the last turn's figures.  What is the matter
    by the verdict ``said`` is told above already.
    """
    turns = _turns(recording)
    told: set[object] = set()
    rows = [row for turn in turns for row in _gradient_rows(recording, *turn[:2], told)]
    if said is not None:
        above = _note(said.message)
        rows = [replace(row, note="") if row.note == above else row for row in rows]
    if not rows:
        return None
    keep = _columns_worth(rows, len({(call.cell, call.line) for call, _, _ in turns}) > 1)
    lean = tuple(replace(row, cells=tuple(compress(row.cells, keep))) for row in rows)
    columns = tuple(compress(_gradient_columns(), keep))
    inferred = all(call.origin == "inferred" for call, _, _ in turns)
    caption = say("report.gradients_inferred" if inferred else "report.gradients")
    found = [gradient for _, gradient, _ in turns if gradient is not None]
    notes = (*_turn_notes(recording, turns), *check_notes(found))
    return Table(caption, columns, lean, notes, heading=columns.index(_source_column()))


Turns = list[tuple[GradientCall, Gradient | None, int]]


def _turns(recording: Recording) -> Turns:
    """Each gradient once, with how often it was computed; a failed call has none.

    What the cell itself asked for need not be worked out from the recording as well.
    """
    asked = {
        (call.target_tensors, gradient.source)
        for call in recording.gradients
        if call.origin != "inferred"
        for gradient in call.gradients
    }
    found: dict[tuple[object, ...], tuple[GradientCall, Gradient | None, int]] = {}
    for call in recording.gradients:
        for gradient in call.gradients or (None,):
            same = gradient and (call.target_tensors, gradient.source) in asked
            if same and call.origin == "inferred":
                continue
            code = gradient.verdict.code if gradient and gradient.verdict else ""
            what = (gradient.target, gradient.source, gradient.is_none) if gradient else call.error
            key = (call.cell, call.line, call.origin, what, code)
            count = found[key][2] if key in found else 0
            found[key] = (call, gradient, count + 1)
    return list(found.values())


def _turn_notes(recording: Recording, turns: Turns) -> Iterator[str]:
    most: dict[int, int] = {}
    for call, _, count in turns:
        if count > 1 and call.line is not None:
            most[call.line] = max(most.get(call.line, 0), count)
    for line, count in most.items():
        yield say("report.last_turn", number=recording.lines[line].number, n=count)


#: Columns that are left out where no row has anything in them.
_VERDICT, _CHECK, _GRADIENT, _HISTOGRAM = 3, 4, 6, 13


def _gradient_columns() -> tuple[Column, ...]:
    return (
        Column(say("report.where")),
        Column(say("report.target"), code=True),
        _source_column(),
        Column(say("report.verdict"), code=True),
        Column(say("check.column"), code=True),
        Column(say("report.shape"), code=True),
        Column(say("report.gradient"), code=True, spare=4),
        Column(say("report.norm"), "right"),
        Column(say("report.min"), "right", spare=1),
        Column(say("report.max"), "right", spare=2),
        Column(say("report.zeros"), "right", spare=3),
        Column("NaN/Inf", "right"),
        Column(say("report.ratio"), "right"),
        Column(say("derivative.histogram"), code=True, spare=5),
    )


def _source_column() -> Column:
    return Column(say("report.source"), code=True)


def _columns_worth(rows: Sequence[Row], several: bool) -> list[bool]:
    """All columns, but for those of values and verdicts where no row has one.

    The line is told where ``several`` lines asked for gradients.
    """
    optional = {_VERDICT, _CHECK, _GRADIENT, _HISTOGRAM}
    found = [
        i not in optional or any(row.cells[i] not in (UNKNOWN_SIGN, "…") for row in rows)
        for i in range(len(rows[0].cells))
    ]
    return [several, *found[1:]]


def _gradient_rows(
    recording: Recording,
    call: GradientCall,
    gradient: Gradient | None,
    told: set[object],
) -> Iterator[Row]:
    """The row of a gradient; a cause that is ``told`` of in a row before is not told again."""
    where = _where(recording, call)
    if gradient is None:
        if call.error:
            blank = (UNKNOWN_SIGN,) * 10
            targets = _cell(", ".join(call.targets))
            cells = (where, targets, UNKNOWN_SIGN, say("report.failed"), *blank)
            yield Row(cells, "bad", _note(call.error))
        return
    verdict = gradient.verdict
    again = False
    if verdict is not None and not verdict.fine:
        cause = (verdict.code, verdict.cell, verdict.line_number, verdict.op, verdict.repair)
        again = cause in told
        told.add(cause)
    yield Row(
        cells=(
            where,
            _cell(gradient.target),
            _cell(gradient.source),
            _verdict_word(verdict) if verdict else UNKNOWN_SIGN,
            check_cell(gradient.check),
            _shape(gradient),
            _value(gradient),
            *_figures(gradient.value.stats if gradient.value else None),
            number(gradient.ratio, 3),
            histogram(gradient.histogram) or UNKNOWN_SIGN,
        ),
        tone=_tone(gradient, verdict),
        note=check_note(gradient) if again else _notes_of(gradient),
        code=visible(verdict.repair, lines=True) if verdict and not again else "",
        over=_over(recording, verdict) if verdict and not again else "",
        tried=_tried(verdict.tried) if verdict and verdict.tried and not again else "",
        evidence=tuple(_note(str(e)) for e in verdict.evidence) if verdict and not again else (),
    )


def _verdict_word(verdict: Verdict) -> str:
    """The word of the reader's language, with the code where that is another."""
    word = say(f"code.{verdict.code}")
    return word if word == verdict.code else f"{word}\n{verdict.code}"


def _notes_of(gradient: Gradient) -> str:
    verdict = gradient.verdict
    said = _note(verdict.message) if verdict and verdict.code != "ok" else ""
    return "\n".join(part for part in (said, check_note(gradient)) if part)


def _tried(tried: Tried) -> str:
    """What a repair gave, in one line: the gradient and the target's value, before and after."""
    pair = {"before": _norm(tried.before), "after": _norm(tried.after)}
    values = {"value_before": number(tried.value_before), "value_after": number(tried.value_after)}
    return say("report.tried_same" if tried.same_value else "report.tried", **pair, **values)


def _norm(norm: float | None) -> str:
    return "None" if norm is None else number(norm)


def _over(recording: Recording, verdict: Verdict) -> str:
    """What a repair takes the place of: ``line 3``, ``lines 3–5``; empty for mere advice."""
    first, last = verdict.replaces
    if not first:
        return ""
    numbers = str(first) if first == last else f"{first}–{last}"
    text = say("report.over", n=last - first + 1, numbers=numbers)
    if len(recording.cells) < 2:
        return text
    return f"{_cell(recording.cells[verdict.cell].label, 40)} · {text}"


def _where(recording: Recording, call: GradientCall) -> str:
    """The line of the call, with its cell where there are several."""
    if call.line is None:
        return say("report.asked") if call.origin == "asked" else say("report.inferred")
    line = say("graph.line", number=recording.lines[call.line].number)
    if len(recording.cells) < 2:
        return line
    return _cell(f"{recording.cells[recording.lines[call.line].cell].label} · {line}", 40)


def _shape(gradient: Gradient) -> str:
    text = shape(gradient.shape)
    if gradient.rows is None:
        return text
    return f"{text}\n{say('report.rows', n=len(gradient.rows))}"


def _value(gradient: Gradient) -> str:
    if gradient.value is None:
        return "None"
    stats = gradient.value.stats
    lines = value_lines(gradient.value) if stats is None or stats.count <= _WRITTEN_OUT else ()
    return visible("\n".join(lines), lines=True) if lines else "…"


def _figures(stats: Stats | None) -> tuple[str, ...]:
    """Norm, least, greatest, zeros in per cent, NaN and Inf."""
    if stats is None:
        return (UNKNOWN_SIGN,) * 5
    about = "≈ " if stats.sampled else ""
    return (
        about + number(stats.norm) if stats.norm is not None else UNKNOWN_SIGN,
        number(stats.min),
        number(stats.max),
        about + percent(stats.zeros, stats.seen),
        "0" if stats.finite else f"{stats.nan}/{stats.inf}",
    )


def _tone(gradient: Gradient, verdict: Verdict | None) -> str:
    if gradient.check is not None and gradient.check.agrees is False:
        return "bad"
    if verdict is not None:
        if verdict.code == "ok":
            return "good"
        return "" if verdict.fine else "warn" if verdict.code in _WARNINGS else "bad"
    stats = gradient.value.stats if gradient.value else None
    return "bad" if gradient.is_none or (stats and not stats.finite) else ""


_WARNINGS = ("vanishing", "exploding")


# --- variables -----------------------------------------------------------------------------


def variables(recording: Recording) -> Table | None:
    """One row for each variable that was read or assigned; None where there is none."""
    if not recording.variables:
        return None
    yes, no = say("report.yes"), say("report.no")
    rows = tuple(
        Row(
            (
                _cell(v.name or v.label),
                shape(v.shape),
                v.dtype,
                yes if v.trainable else no,
                device(v.device) or UNKNOWN_SIGN,
                visible("\n".join(value_lines(v.value)), lines=True)
                or f"‖·‖ = {number(v.value.stats.norm if v.value.stats else None)}",
            )
        )
        for v in recording.variables
    )
    titles = ("variable", "shape", "dtype", "trainable", "device", "value")
    columns = tuple(
        Column(say(f"report.{t}"), code=t in ("variable", "shape", "value")) for t in titles
    )
    return Table(say("report.variables"), columns, rows)


# --- the picture ---------------------------------------------------------------------------


def boxes(graph: Graph) -> Table:
    """The picture's twin: every box, numbered, and the boxes its arrows come from."""
    numbers = {node.id: i for i, node in enumerate(graph.nodes, 1)}
    names = {node.id: f"{numbers[node.id]} {_cell(node.title, 24)}" for node in graph.nodes}
    comes: dict[str, dict[str, None]] = {}
    for edge in graph.edges:
        comes.setdefault(edge.head, {})[names.get(edge.tail, "")] = None
    frames = {cluster.id: cluster.title for cluster in graph.clusters}
    rows = tuple(
        Row(
            (
                str(numbers[node.id]),
                _box_title(node, frames),
                _cell(", ".join(comes.get(node.id, {}))) or UNKNOWN_SIGN,
                _cell_lines(node.detail),
                _cell_lines(node.gradient.split("\n")),
            ),
            tone="bad" if node.marked else "",
        )
        for node in graph.nodes
    )
    columns: tuple[Column, ...] = (
        Column("#", "right"),
        Column(say("report.box")),
        Column(say("report.comes_from")),
        Column(say("report.content"), code=True),
        Column(say("report.gradient"), code=True),
    )
    if not any(row.cells[4] for row in rows):
        columns, rows = columns[:4], tuple(replace(row, cells=row.cells[:4]) for row in rows)
    return Table(say("report.boxes"), columns, rows, heading=1)


def _box_title(node: Node, frames: dict[str, str]) -> str:
    frame = frames.get(node.cluster, "")
    kind = say(f"report.kind_{node.kind}")
    return _cell(f"{node.title} ({kind})" + (f" · {frame}" if frame else ""))


def _cell(text: str, most: int = LONGEST_CELL) -> str:
    return clipped(visible(text), most)


def _cell_lines(lines: Iterable[str]) -> str:
    return "\n".join(_cell(line) for line in lines)


def _note(text: str) -> str:
    return clipped(visible(text, lines=True), LONGEST_NOTE)
