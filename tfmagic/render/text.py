"""Tables and reports for terminals, drawn by rich; plain text where there is no colour."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tfmagic.analysis.notation import UNKNOWN_SIGN
from tfmagic.language import say
from tfmagic.render.tables import Column, Table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

__all__ = ["render"]

_WIDTH = 140  # columns where the text does not go to a terminal
_GAP = 3  # blanks between two columns of a table
_LONGEST_WORD = 16
_LEAST, _LEAST_WHOLE = 10, 20  # below so many columns a cell is chopped beyond reading
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
    ask = getattr(sys.stdout, "isatty", None)  # the user's own need not have it
    terminal = ask is not None and ask()
    out = io.StringIO()
    console = _console(
        out,
        width or (shutil.get_terminal_size((_WIDTH, 24)).columns if terminal else _WIDTH),
        terminal if colour is None else colour,
    )
    _say(console, head, "bold")
    for table in tables:
        _below(console, table, _draw(console, table))
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
        force_jupyter=False,  # else rich would display by itself what is wanted as text
    )


def _say(console: Console, text: str, style: str = "", *, code: bool = False) -> None:
    """A line of prose, broken where the terminal ends; code keeps its own lines."""
    from rich.padding import Padding
    from rich.text import Text

    if code:
        console.print(Text(text, style=style), soft_wrap=True)
        return
    for line in text.split("\n"):
        deep = len(line) - len(line.lstrip(" "))
        console.print(Padding(Text(line[deep:], style=style), (0, 0, 0, deep), expand=False))


def _below(console: Console, table: Table, shown: list[int]) -> None:
    """What belongs to single rows, then to the columns that are shown, then to the table."""
    for row in table.rows:
        if row.note or row.code:
            name = row.name or row.cells[table.heading].split("\n")[0]
            _say(console, f"  {name}: {row.note}".rstrip(), _TONES.get(row.tone, ""))
        if row.code:
            heading = say("report.instead", over=row.over) if row.over else say("report.repair")
            _say(console, f"    {heading}:")
            lines = (f"      {line}" for line in row.code.split("\n"))
            _say(console, "\n".join(lines), code=True)
        if row.tried:
            _say(console, f"    {row.tried}")
    if table.more:
        _say(console, f"  {say('report.more_rows', n=table.more)}")
    explained = [table.columns[i].note for i in shown if table.columns[i].note]
    for note in (*explained, *table.notes):
        _say(console, f"  {note}")


def _draw(console: Console, table: Table) -> list[int]:
    """The table; of one with no room even for its main columns each row as a small list.

    Gives the columns that it shows.
    """
    if not table.columns:
        _say(console, table.caption, "bold")
        return []
    every = list(range(len(table.columns)))
    needed = [_needed(table, i) for i in every]
    if _width(needed, every) > console.width:  # then a heading may take two lines
        needed = [_needed(table, i, broken=True) for i in every]
    shown = _that_fit(table, needed, console.width)
    least = sum(min(needed[i], _least(table.columns[i])) + _GAP for i in shown)
    if least > console.width:
        _list(console, table)
        return every
    roomy = _width(needed, shown) <= console.width
    console.print(_table(console, table, {i: needed[i] if roomy else None for i in shown}))
    hidden = [c.title for i, c in enumerate(table.columns) if i not in shown]
    if hidden:
        _say(console, f"  {say('report.too_narrow', columns=', '.join(hidden))}")
    return shown


def _list(console: Console, table: Table) -> None:
    _say(console, table.caption, "bold")
    for row in table.rows:
        _say(console, row.cells[table.heading], _TONES.get(row.tone, ""))
        for i, (column, cell) in enumerate(zip(table.columns, row.cells, strict=True)):
            if i != table.heading and cell not in ("", UNKNOWN_SIGN):
                lines = cell.split("\n")
                start = f"  {column.title}:" + (" " if len(lines) == 1 else "\n    ")
                _say(console, start + "\n    ".join(lines))
    _say(console, "")


def _table(console: Console, table: Table, shown: dict[int, int | None]) -> RichTable:
    """``shown`` are the columns, each with its least width where there is room for all of them."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(
        title=Text(table.caption, style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for i, least in shown.items():
        column = table.columns[i]
        drawn.add_column(
            _heading(console, column, least),
            justify="right" if column.align == "right" else "left",
            overflow="fold",
            no_wrap=least is not None and _is_whole(column),
            min_width=least,
        )
    for row in table.rows:
        tone = _TONES.get(row.tone, "")
        drawn.add_row(*(Text(row.cells[i]) for i in shown), style=tone)
    return drawn


def _heading(console: Console, column: Column, least: int | None) -> Text:
    """The title, broken between its words where figures or code beneath it are narrower."""
    from rich.text import Text

    if least is None or not _is_whole(column):
        return Text(column.title)
    return Text("\n").join(Text(column.title).wrap(console, least))


def _needed(table: Table, index: int, *, broken: bool = False) -> int:
    """Columns that a column takes: figures and code are not broken, words are between them.

    Its heading is not ``broken`` above figures and code, unless that is asked for.
    """
    from rich.cells import cell_len

    column = table.columns[index]
    whole = _is_whole(column)
    lines = (line for row in table.rows for line in row.cells[index].split("\n"))
    pieces = lines if whole else (word for line in lines for word in line.split())
    heading = [column.title] if whole and not broken else column.title.split()
    most = max(map(cell_len, (*pieces, *heading)), default=0)
    return most if whole else min(most, _LONGEST_WORD)


def _least(column: Column) -> int:
    return _LEAST_WHOLE if _is_whole(column) else _LEAST


def _is_whole(column: Column) -> bool:
    return column.code or column.align == "right"


def _width(needed: list[int], shown: list[int]) -> int:
    return sum(needed[i] + _GAP for i in shown)


def _that_fit(table: Table, needed: list[int], width: int) -> list[int]:
    """The columns that there is room for; the spare ones go first."""
    shown = list(range(len(table.columns)))
    spare = [i for i in shown if table.columns[i].spare]
    for i in sorted(spare, key=lambda i: table.columns[i].spare):
        if _width(needed, shown) <= width:
            break
        shown.remove(i)
    return shown
