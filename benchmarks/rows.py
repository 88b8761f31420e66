"""Figures on their way to the page: what was measured, and what is to be reached.

A benchmark prints for people and calls :func:`note` for the page; where nobody asked for
a page, that does nothing.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

#: The environment variable with the file that figures are appended to.
FILE = "TFMAGIC_ROWS"


@dataclass(frozen=True)
class Row:
    """One figure.  ``most`` or ``least`` is what is to be reached, in the same ``unit``.

    Rows of one ``group`` measured the same thing and are drawn side by side; ``at`` is the
    size of what was measured, where a group has several sizes.
    """

    what: str
    found: float
    unit: str = ""
    most: float | None = None
    least: float | None = None
    group: str = ""
    at: float | None = None

    @property
    def share(self) -> float | None:
        """How much of what is allowed was taken: at most 1 where it was reached."""
        if self.most is not None:
            return self.found / self.most if self.most else float(self.found > 0) * 2
        if self.least is not None:
            return self.least / self.found if self.found else float("inf")
        return None

    @property
    def label(self) -> str:
        """What was measured, where its group and size are not said beside it."""
        size = "" if self.at is None else f", {self.at:,.0f}"
        return f"{self.group}{size}: {self.what}" if self.group else self.what + size

    @property
    def aim(self) -> str:
        """What is to be reached, in words."""
        if self.most is not None:
            return f"at most {self.most:g}{_behind(self.unit)}"
        return "" if self.least is None else f"at least {self.least:g}{_behind(self.unit)}"

    @property
    def told(self) -> str:
        """The figure with its unit."""
        return f"{self.found:.3g}{_behind(self.unit)}" if self.found < 1000 else self._large()

    def _large(self) -> str:
        return f"{self.found:,.0f}{_behind(self.unit)}"


def _behind(unit: str) -> str:
    return f" {unit}" if unit else ""


def note(what: str, found: float, unit: str = "", **more: object) -> None:
    """Have this figure on the page; ``more`` are the other fields of :class:`Row`."""
    path = os.environ.get(FILE)
    if path:
        row = Row(what, float(found), unit, **more)  # type: ignore[arg-type]
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(row)) + "\n")


def noted(path: Path) -> list[Row]:
    """All rows in a file, in the order in which they were noted."""
    if not path.exists():
        return []
    return [Row(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
