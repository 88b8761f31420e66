"""Tables and reports as HTML: escaped, readable in light and dark, and without its style."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from markupsafe import Markup

from tfmagic.language import current, say
from tfmagic.render.tables import Column, Row, Table

__all__ = [
    "alert",
    "code",
    "details",
    "head",
    "image",
    "legend",
    "line",
    "notes",
    "page",
    "picture",
    "report",
    "table",
    "wide",
]


_LONGEST_HEADING = 10  # characters of it that stay in one line


@cache
def _style() -> Markup:
    text = files("tfmagic.render").joinpath("report.css").read_text(encoding="utf-8")
    return Markup("<style>{}</style>").format(Markup(text))


def line(text: str) -> str:
    """One line of ours."""
    return report([Markup("<p>{}</p>").format(text)])


def report(parts: Iterable[Markup]) -> str:
    """The parts inside the one element that our style applies to."""
    body = Markup("\n").join(part for part in parts if part)
    wrapped = Markup('<div class="tfmagic" lang="{}">\n{}\n{}\n</div>')
    return str(wrapped.format(current(), _style(), body))


def page(title: str, body: str) -> str:
    """A report as a file of its own, which opens offline and follows the system's theme."""
    return str(
        Markup(
            '<!DOCTYPE html>\n<html lang="{}"><head><meta charset="utf-8">'
            '<meta name="color-scheme" content="light dark"><title>{}</title></head>\n'
            "<body>{}</body></html>\n"
        ).format(current(), title, Markup(body))
    )


def head(text: str) -> Markup:
    """The summary line."""
    return Markup('<p class="tfmagic-head"><strong>{}</strong></p>').format(text)


def alert(text: str) -> Markup:
    """A line that tells of trouble."""
    return Markup('<p class="tfmagic-alert" role="note">{}</p>').format(text)


def notes(texts: Iterable[str]) -> Markup:
    """Lines below a table or a picture."""
    rows = [Markup('<p class="tfmagic-note">{}</p>').format(text) for text in texts]
    return Markup("").join(rows)


def wide(label: str, content: Markup) -> Markup:
    """What may be wider than the page: it is moved sideways, by keyboard too."""
    return Markup(
        '<div class="tfmagic-wide" tabindex="0" role="group" aria-label="{}">{}</div>'
    ).format(label, content)


def table(data: Table) -> Markup:
    """A table with its caption, header cells in scope, and its notes."""
    if not data.columns:  # nothing to set out in columns, only to say
        return Markup('<p class="tfmagic-head">{}</p>').format(data.caption) + notes(data.notes)
    header = Markup("").join(
        Markup('<th scope="col"{}>{}</th>').format(_align(column), _breakable(column.title))
        for column in data.columns
    )
    rows = Markup("\n").join(_row(data, row) for row in data.rows)
    drawn = Markup(
        "<table><caption>{}</caption><thead><tr>{}</tr></thead>\n<tbody>\n{}\n</tbody></table>"
    ).format(data.caption, header, rows)
    more = (say("report.more_rows", n=data.more),) if data.more else ()
    explained = [column.note for column in data.columns if column.note]
    return wide(data.caption, drawn) + notes((*more, *explained, *data.notes))


def _breakable(title: str) -> Markup:
    """A long title may go on in the next line, but not with each of its words, and after a
    stroke, as a narrow cell asks for."""
    lines: list[str] = []
    for word in title.split():
        if lines and len(lines[-1]) + len(word) < _LONGEST_HEADING:
            lines[-1] += f"\N{NO-BREAK SPACE}{word}"
        else:
            lines.append(word)
    return Markup("/<wbr>").join(" ".join(lines).split("/"))


def _row(data: Table, row: Row) -> Markup:
    cells = Markup("").join(
        _cell(column, text, heading=i == data.heading)
        for i, (column, text) in enumerate(zip(data.columns, row.cells, strict=True))
    )
    made = Markup('<tr class="tfmagic-row {}">{}</tr>').format(_tone(row), cells)
    if not (row.note or row.code):
        return made
    return made + Markup(
        '<tr class="tfmagic-why {}"><td colspan="{}" style="text-align:left">{}</td></tr>'
    ).format(_tone(row), len(data.columns), _why(row))


def _why(row: Row) -> Markup:
    """What is said beneath a row, and the code that repairs it."""
    said = Markup("{}").format(row.note)
    if not row.code:
        return said
    heading = say("report.instead", over=row.over) if row.over else say("report.repair")
    said += Markup("<br>" if row.note else "") + Markup("{}: <pre><code>{}</code></pre>{}").format(
        heading, row.code, row.tried
    )
    if not row.evidence:
        return said
    shown = Markup("").join(Markup("<li>{}</li>").format(line) for line in row.evidence)
    how = say("report.evidence")
    return said + Markup("<details><summary>{}</summary><ul>{}</ul></details>").format(how, shown)


def _cell(column: Column, text: str, *, heading: bool) -> Markup:
    content = Markup("<br>").join(text.split("\n"))
    if column.code and text:
        # Spaces that align a matrix must not run together.
        lines = (t.replace(" ", "\N{NO-BREAK SPACE}") for t in text.split("\n"))
        content = Markup("<code>{}</code>").format(Markup("<br>").join(lines))
    tag = Markup('<th scope="row"{}>{}</th>' if heading else "<td{}>{}</td>")
    return tag.format(_align(column), content)


def _align(column: Column) -> Markup:
    return Markup(f' style="text-align:{column.align}"')


def _tone(row: Row) -> str:
    return f"tfmagic-{row.tone or 'plain'}"


def image(svg: str, description: str, width: int) -> Markup:
    """The picture as an ``<img>``: it survives where inline SVG is taken out.

    It shrinks to the page, but not so far that its ``width`` pixels become unreadable: then
    it is moved sideways.
    """
    data = base64.b64encode(svg.encode("utf-8")).decode("ascii")
    least = round(width * 0.7)
    drawn = Markup(
        '<img class="tfmagic-graph" alt="{}" width="{}" '
        'style="max-width:max(100%,{}px);height:auto" src="data:image/svg+xml;base64,{}">'
    ).format(description, width, least, data)
    return wide(description, drawn)


def picture(parts: Iterable[Markup]) -> Markup:
    """The picture of a graph with its legend, which the live graph takes the place of."""
    return Markup('<div class="tfmagic-picture">{}</div>').format(Markup("\n").join(parts))


def code(text: str) -> Markup:
    """Code that works when pasted."""
    return Markup("<pre><code>{}</code></pre>").format(text)


def legend(entries: Iterable[tuple[str, str, str]], texts: Iterable[str]) -> Markup:
    """What the colours mean: ``(fill, border, word)`` for each, then sentences."""
    boxes = [
        Markup(
            '<span class="tfmagic-key" style="background-color:{};color:#1f2933;'
            'border:1px solid {};border-radius:3px;padding:0 0.4em">{}</span>'
        ).format(fill, border, word)
        for fill, border, word in entries
    ]
    said = [Markup("<span>{}</span>").format(text) for text in texts]
    return Markup('<p class="tfmagic-legend">{}</p>').format(Markup(" ").join(boxes + said))


def details(title: str, content: Markup, *, opened: bool = False) -> Markup:
    """Content that opens on request."""
    start = Markup("<details open>" if opened else "<details>")
    return start + Markup("<summary>{}</summary>{}</details>").format(title, content)
