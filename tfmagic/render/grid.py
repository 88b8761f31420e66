"""A table as plain cells: what text and HTML are both drawn from."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["Column", "Row", "Table"]


@dataclass(frozen=True, slots=True)
class Column:
    """A heading; ``align`` is ``"left"`` or ``"right"``, ``code`` a fixed-width font.

    A narrow terminal does without the ``spare`` columns, 1 before 2.  ``note`` explains the
    column beneath the table, where the column is shown.
    """

    title: str
    align: str = "left"
    code: bool = False
    spare: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Cells, in the order of the columns; a cell may have several lines.

    ``tone`` is ``""``, ``"good"``, ``"warn"`` or ``"bad"``.  ``note`` is said beneath,
    and ``code`` is code that works when pasted over what ``over`` names.  ``name`` is what the
    row is called beneath a table, where its heading alone does not say it.  ``tried`` says what
    the code gave, ``evidence`` how what is said was found out, a line for each experiment.
    """

    cells: tuple[str, ...]
    tone: str = ""
    note: str = ""
    code: str = ""
    over: str = ""
    name: str = ""
    tried: str = ""
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A caption, columns and rows; ``more`` rows were left out, ``notes`` say the rest.

    ``heading`` is the column whose cells name their row.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    more: int = 0
    heading: int = 0

    def head(self, most: int) -> Table:
        """The first ``most`` rows, those that tell of trouble before the others."""
        if len(self.rows) <= most:
            return self
        troubled = [i for i, row in enumerate(self.rows) if row.tone in ("bad", "warn")]
        quiet = [i for i, row in enumerate(self.rows) if row.tone not in ("bad", "warn")]
        kept = sorted((troubled + quiet)[:most])
        rows = tuple(self.rows[i] for i in kept)
        return replace(self, rows=rows, more=self.more + len(self.rows) - most)
