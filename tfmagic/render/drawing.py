"""A graph and its picture: drawn once, and coarser where the layout takes too long."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from tfmagic.errors import RenderError
from tfmagic.language import say
from tfmagic.model import Graph
from tfmagic.render.dot import plain, source
from tfmagic.render.escape import clipped, visible
from tfmagic.render.layout import printed
from tfmagic.render.palette import LOOKS, PLACES
from tfmagic.render.svg import draw

__all__ = ["Drawing", "Drawn"]

#: Boxes of the coarser graphs that are tried after the one that was asked for.
COARSER = (25, 8)
_NAMED = 12  # boxes that the alternative text names
_LONGEST = 60  # characters of a device that the legend names


@dataclass(frozen=True, slots=True)
class Drawn:
    """What there is to show: a graph, and its picture or the reason why there is none."""

    graph: Graph
    svg: str = ""
    coarser: bool = False
    error: RenderError | None = None

    @property
    def width(self) -> int:
        """The picture's own width in pixels; 0 where there is none."""
        found = re.search(r'<svg[^>]*? width="([0-9.]+)', self.svg)
        return round(float(found[1])) if found else 0

    @property
    def description(self) -> str:
        """What a screen reader says instead of the picture."""
        titles = [visible(node.title) for node in self.graph.nodes if node.kind != "stub"]
        named = ", ".join(titles[:_NAMED]) + (", …" if len(titles) > _NAMED else "")
        return say("report.picture_alt", n=len(self.graph.nodes), titles=clipped(named, 300))

    def legend(self) -> Iterator[tuple[str, str, str]]:
        """Fill, border and word for each kind of box that is there."""
        present = {node.kind for node in self.graph.nodes}
        for kind, look in LOOKS.items():
            if kind in present:
                yield look.fill, look.line, say(f"report.kind_{kind}")
        places = {node.place: node.device for node in self.graph.nodes if node.place}
        for place, name in sorted(places.items()):
            fill, line = PLACES[(place - 1) % len(PLACES)]
            yield fill, line, say("report.on_device", device=clipped(visible(name), _LONGEST))


class Drawing:
    """``make`` gives the graph with at most so many boxes, or the one that was asked for."""

    def __init__(
        self,
        make: Callable[[int | None], Graph],
        *,
        title: str = "",
        budget: float = 1.0,
        engine: str = "auto",
        direction: str = "auto",
    ) -> None:
        self._make = make
        self._title = title
        self._budget = budget
        self._engine = engine
        self._direction = direction

    @cached_property
    def graph(self) -> Graph:
        """The boxes and arrows that were asked for, before any layout."""
        return self._make(None)

    def dot(self) -> str:
        """The graph as DOT."""
        return source(self.graph, direction=self._direction)

    def printed(self, form: str) -> bytes:
        """The picture that was shown as ``"png"`` or ``"pdf"``.

        Raises :class:`~tfmagic.errors.RenderError` where there is no ``dot`` to write it.
        """
        dot = source(plain(self.drawn.graph), direction=self._direction)
        paper = 'bgcolor="white", dpi=144' if form == "png" else 'bgcolor="white"'
        return printed(dot.replace('bgcolor="transparent"', paper, 1), form)

    @cached_property
    def drawn(self) -> Drawn:
        """The picture that fits into the budget; a table is left where none does."""
        graph, coarser = self.graph, False
        for limit in (*COARSER, None):
            try:
                return Drawn(graph, self._svg(graph), coarser)
            except RenderError as error:
                if error.key != "layout.over_budget" or limit is None:
                    return Drawn(graph, coarser=coarser, error=error)
            smaller = self._make(limit)
            coarser = coarser or len(smaller.nodes) < len(graph.nodes)
            graph = smaller
        raise AssertionError("the loop returns")

    def notes(self) -> Iterator[str]:
        """What is to be said below the picture."""
        if self.drawn.error is not None:
            yield say("report.no_picture", detail=str(self.drawn.error))
        elif self.drawn.coarser:
            yield say("report.coarser", seconds=self._budget)
        yield from map(visible, self.drawn.graph.notes)

    def _svg(self, graph: Graph) -> str:
        titles = [visible(node.title) for node in graph.nodes if node.kind != "stub"]
        title = self._title or clipped(", ".join(titles), 120)
        picture = draw(
            graph,
            title=title,
            budget=self._budget,
            engine=self._engine,
            direction=self._direction,
        )
        return picture.svg
