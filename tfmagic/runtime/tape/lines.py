"""The user's cells and lines, each told once, and the way through them that led to an op."""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType

from tfmagic.model import Cell, Frame, Line
from tfmagic.runtime.capture.log import SourceStack
from tfmagic.runtime.capture.source import as_typed, source_of


class Lines:
    """Those met so far, in the order they were met; ``label`` names the cell of a file for people.

    A place is known by its identity: whoever asks keeps it alive, as the log does.
    """

    def __init__(self, label: Callable[[str], str]) -> None:
        self._label = label
        self._lines: dict[tuple[str, int], Line] = {}
        self._cells: dict[str, Cell] = {}
        self._places: dict[int, tuple[int | None, tuple[Frame, ...]]] = {}

    @property
    def lines(self) -> tuple[Line, ...]:
        """Every line that was met."""
        return tuple(self._lines.values())

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Every cell or file that was met."""
        return tuple(self._cells.values())

    def knows(self, code: CodeType) -> bool:
        """Whether a line of the same file was met."""
        return code.co_filename in self._cells

    def of(self, code: CodeType, number: int) -> int:
        """The index of the line with this number in the file of ``code``."""
        return self.at(code.co_filename, number)

    def at(self, filename: str, number: int) -> int:
        """The index of the line with this number in a file."""
        key = (filename, number)
        if key not in self._lines:
            cell = self._cell(filename)
            text = cell.source.split("\n")[number - 1 : number] if number else []
            told = as_typed(text[0].strip()) if text else ""
            self._lines[key] = Line(len(self._lines), cell.index, number, told)
        return self._lines[key].index

    def place(self, place: SourceStack) -> tuple[int | None, tuple[Frame, ...]]:
        """The innermost line of a place, and all its frames, outermost first."""
        known = self._places.get(id(place))
        if known is None:
            running = place[-1][0].co_filename if place else ""
            frames = tuple(
                Frame(_function_name(code), self.at(_now(code.co_filename, running), number))
                for code, number in reversed(place)
            )
            known = self._places[id(place)] = (frames[-1].line if frames else None), frames
        return known

    def _cell(self, filename: str) -> Cell:
        if filename not in self._cells:
            self._cells[filename] = Cell(
                len(self._cells), self._label(filename), source_of(filename)
            )
        return self._cells[filename]


def _now(filename: str, running: str) -> str:
    """The file that a line stands in: of a cell that ran before, word for word, AutoGraph may
    still hold the code that it converted then."""
    if filename == running or not (source := source_of(running)):
        return filename
    return running if source_of(filename) == source else filename


def _function_name(code: CodeType) -> str:
    return "" if code.co_name == "<module>" or code.co_name.startswith("<cell") else code.co_name
