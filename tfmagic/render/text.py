"""Tables and reports for terminals, drawn by rich; plain text where there is no colour."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tfmagic.language import say
from tfmagic.render.tables import Row, Table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

__all__ = ["render"]

_WIDTH = 130  # columns where the text does not go to a terminal
_ROOMY = 120  # columns from which on a matrix is not broken
_TONES = {"bad": "red", "warn": "yellow", "good": "green"}


def render(
    head: str,
    tables: Iterable[Table],
    notes: Iterable[str],
    *,
    width: int | None = None,
    colour: bool | None = None,
) -> str:
    """The head line, then each table, then the notes.

    ``width`` is in columns, ``colour`` whether terminal codes may be in it; both go by
    standard output where they are not given.
    """
    terminal = sys.stdout.isatty()
    out = io.StringIO()
    console = _console(
        out,
        width or (shutil.get_terminal_size((_WIDTH, 24)).columns if terminal else _WIDTH),
        terminal if colour is None else colour,
    )
    _say(console, head, "bold")
    for table in tables:
        console.print(_table(table, console.width))
        _below(console, table)
    for note in notes:
        _say(console, note)
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip().split("\n"))


def _console(out: io.StringIO, width: int, colour: bool) -> Console:
    from rich.console import Console

    return Console(
        file=out,
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )


def _say(console: Console, text: str, style: str = "") -> None:
    from rich.text import Text

    console.print(Text(text, style=style), soft_wrap=True)


def _below(console: Console, table: Table) -> None:
    """What belongs to single rows, then what belongs to the table."""
    for row in table.rows:
        if row.note or row.code:
            _say(console, f"  {_name(table, row)}: {row.note}".rstrip(), _TONES.get(row.tone, ""))
        if row.code:
            _say(console, f"    {say('report.repair')}:")
            _say(console, "\n".join(f"      {line}" for line in row.code.split("\n")))
    if table.more:
        _say(console, f"  {say('report.more_rows', n=table.more)}")
    for note in table.notes:
        _say(console, f"  {note}")


def _name(table: Table, row: Row) -> str:
    return row.cells[table.heading].split("\n")[0]


def _table(table: Table, width: int) -> RichTable:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(
        title=Text(table.caption, style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for column in table.columns:
        justify = "right" if column.align == "right" else "left"
        drawn.add_column(
            Text(column.title),
            justify=justify,  # type: ignore[arg-type]
            overflow="fold",
            no_wrap=column.code and width >= _ROOMY,
        )
    for row in table.rows:
        drawn.add_row(*(Text(cell) for cell in row.cells), style=_TONES.get(row.tone, ""))
    return drawn
