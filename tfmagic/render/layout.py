"""From DOT to a picture, in a time that is given.

The engines stand behind one small protocol and are tried in order: the Graphviz that
is embedded in the package's own dependencies, then the system's ``dot``.  Where
neither can, :class:`~tfmagic.errors.RenderError` tells the caller to show a table.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

from tfmagic.errors import OptionError, RenderError
from tfmagic.render.clean import clean

__all__ = ["ENGINES", "Engine", "Picture", "svg"]

ENGINES = ("auto", "embedded", "dot")


@dataclass(frozen=True, slots=True)
class Picture:
    """A laid-out graph: SVG text, the engine that made it, and the seconds it took."""

    svg: str
    engine: str
    seconds: float


class Engine(Protocol):
    """Something that lays out DOT text."""

    name: str

    def available(self) -> bool:
        """Whether it can run here at all."""

    def svg(self, dot: str, budget: float) -> str:
        """Graphviz's own SVG; :class:`RenderError` where it fails or takes too long."""


def svg(dot: str, *, budget: float = 1.0, engine: str = "auto") -> Picture:
    """Lay out ``dot`` within ``budget`` seconds.

    ``engine`` is one of :data:`ENGINES`.  The same text gives the same bytes each
    time.  Raises :class:`~tfmagic.errors.RenderError` when no engine is here, when
    the layout ran out of its time, or when the text is no DOT.
    """
    chosen = _engines(engine)
    for candidate in chosen:
        if candidate.available():
            started = time.perf_counter()
            picture = clean(candidate.svg(dot, budget))
            return Picture(picture, candidate.name, time.perf_counter() - started)
    raise RenderError("report.no_engine", engines=", ".join(e.name for e in chosen))


def _engines(name: str) -> tuple[Engine, ...]:
    from tfmagic.render.embedded import EMBEDDED
    from tfmagic.render.system import SYSTEM

    if name not in ENGINES:
        raise OptionError("report.unknown_engine", given=name, known=", ".join(ENGINES))
    return tuple(e for e in (EMBEDDED, SYSTEM) if name in ("auto", e.name))
