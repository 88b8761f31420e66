"""DOT in, SVG out, in a limited time: by the Graphviz that comes with the package, or by the
system's own.

::

    from tfmagic.render.layout import svg

    picture = svg("digraph { a -> b }")
    picture.svg, picture.engine, picture.seconds

The embedded Graphviz runs as WebAssembly inside the process: it needs no system package,
can be stopped at any point, and cannot take the kernel down with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol

from tfmagic.errors import OptionError, RenderError
from tfmagic.render.layout.clean import clean
from tfmagic.render.layout.command import Command
from tfmagic.render.layout.embedded import Embedded

__all__ = ["ENGINES", "Engine", "Picture", "places", "printed", "svg"]


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn graph: the SVG text, the engine that laid it out, the seconds it all took."""

    svg: str
    engine: str
    seconds: float


class Engine(Protocol):
    """One way to lay a graph out."""

    @property
    def name(self) -> str:
        """How a user chooses it."""

    def layout(self, dot: str, budget: float, form: str = "svg") -> str:
        """What Graphviz writes in the format ``form``, within ``budget`` seconds.

        Raises :class:`~tfmagic.errors.RenderError`: ``layout.no_engine`` where this
        engine is not here, ``layout.failed`` where it broke; these two say nothing about
        the DOT text, so another engine may do better.  ``layout.over_budget`` and
        ``layout.bad_dot`` are final.
        """


#: In the order in which ``"auto"`` tries them.
ENGINES: tuple[Engine, ...] = (Embedded(), Command())


def svg(dot_text: str, *, budget: float = 1.0, engine: str = "auto") -> Picture:
    """Lay ``dot_text`` out; the same text gives the same SVG from the same engine.

    ``budget`` is how many seconds the layout may take; making the engine ready, once for
    each process, does not count.  ``engine`` is ``"embedded"``, ``"dot"``, or ``"auto"``
    for whichever works.

    Raises :class:`~tfmagic.errors.RenderError`: ``layout.over_budget``,
    ``layout.no_engine``, ``layout.bad_dot`` or ``layout.failed``, and
    :class:`~tfmagic.errors.OptionError` for an engine that does not exist.
    """
    begun = perf_counter()
    name, drawn = _first(_chosen(engine), dot_text, budget)
    return Picture(clean(drawn), name, perf_counter() - begun)


def places(dot_text: str, *, budget: float = 1.0, engine: str = "auto") -> Mapping[str, Any]:
    """The same layout as figures: Graphviz's ``json0``, positions in points.

    Raises what :func:`svg` raises.
    """
    _, text = _first(_chosen(engine), dot_text, budget, "json0")
    try:
        found: Mapping[str, Any] = json.loads(text)
    except ValueError as error:
        raise RenderError("layout.failed", detail=str(error)) from error
    return found


def printed(dot_text: str, form: str, *, budget: float = 10.0) -> bytes:
    """The same as ``"png"`` or ``"pdf"``, which only the system's Graphviz writes.

    Raises what :func:`svg` raises; ``layout.needs_dot`` where there is no ``dot``.
    """
    try:
        return Command().drawn(dot_text, budget, form)
    except RenderError as error:
        if error.key != "layout.no_engine":
            raise
        raise RenderError("layout.needs_dot", form=form) from None


def _chosen(name: str) -> Sequence[Engine]:
    if name == "auto":
        return ENGINES
    chosen = [engine for engine in ENGINES if engine.name == name]
    if not chosen:
        known = ", ".join(("auto", *(engine.name for engine in ENGINES)))
        raise OptionError("layout.unknown_engine", given=name, known=known)
    return chosen


def _first(
    engines: Sequence[Engine], dot: str, budget: float, form: str = "svg"
) -> tuple[str, str]:
    """The name and the drawing of the first engine that works; else why the first one broke."""
    failure: RenderError | None = None
    for engine in engines:
        try:
            return engine.name, engine.layout(dot, budget, form)
        except RenderError as error:
            if error.key == "layout.failed":
                failure = failure or error
            elif error.key != "layout.no_engine":
                raise
        except Exception as error:  # another release of it, no thread or memory to be had
            detail = f"{type(error).__name__}: {error}"
            failure = failure or RenderError("layout.failed", detail=detail)
    raise failure or RenderError("layout.no_engine")
