"""A graph and its picture: drawn once, and coarser where the layout takes too long."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from tfmagic.errors import RenderError
from tfmagic.language import say
from tfmagic.model import Graph
from tfmagic.render.dot import directed, plain, source
from tfmagic.render.escape import clipped, visible
from tfmagic.render.layout import printed
from tfmagic.render.palette import LOOKS, PLACES
from tfmagic.render.svg import draw

__all__ = ["Drawing", "Drawn"]

#: Boxes of the coarser graphs that are tried where the one that was asked for takes too long.
COARSER = (25, 8)
#: The screen that a picture fits where nobody asked for more, in pixels, and the boxes of the
#: graphs that are tried for it, the most telling first.
SCREEN = (1000, 700)
#: A picture that is larger by at most this is shown smaller, and can still be read.
_LARGER = 1.2
#: Times as many boxes in columns as without.
_MORE = 1.8
FITTING = (25, 18, 13, 9, 6)
_LEAN = 26  # characters of a line in a lean box
_NAMED = 12  # boxes that the alternative text names
_LONGEST = 60  # characters of a device that the legend names


@dataclass(frozen=True, slots=True)
class Drawn:
    """What there is to show: a graph, and its picture or the reason why there is none."""

    graph: Graph
    svg: str = ""
    coarser: bool = False
    error: RenderError | None = None
    direction: str = "LR"
    columns: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """The picture's own width and height in pixels; zeros where there is none."""
        found = re.search(r'<svg[^>]*? width="([0-9.]+)\D+?height="([0-9.]+)', self.svg)
        return (round(float(found[1])), round(float(found[2]))) if found else (0, 0)

    @property
    def excess(self) -> float:
        """The part of a screen that it takes, in the direction in which it takes more."""
        return max(mine / screen for mine, screen in zip(self.size, SCREEN, strict=True))

    @property
    def width(self) -> int:
        """The pixels that it is shown at: somewhat smaller where it would not fit a screen."""
        return int(self.size[0] / (self.excess if 1 < self.excess <= _LARGER else 1))

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
    """``make`` gives the graph with at most so many boxes, or the one that was asked for.

    With ``fit`` it is drawn as fine as a screen has room for.
    """

    def __init__(
        self,
        make: Callable[[int | None], Graph],
        *,
        title: str = "",
        budget: float = 1.0,
        engine: str = "auto",
        direction: str = "auto",
        fit: bool = False,
    ) -> None:
        self._make = make
        self._title = title
        self._budget = budget
        self._engine = engine
        self._direction = direction
        self.fit = fit

    @cached_property
    def graph(self) -> Graph:
        """The boxes and arrows that are drawn."""
        return self.drawn.graph if self.fit else self._make(None)

    def dot(self) -> str:
        """The graph as DOT."""
        drawn = self.drawn
        return source(self.graph, direction=drawn.direction, columns=drawn.columns)

    def printed(self, form: str) -> bytes:
        """The picture that was shown as ``"png"`` or ``"pdf"``.

        Raises :class:`~tfmagic.errors.RenderError` where there is no ``dot`` to write it.
        """
        drawn = self.drawn
        dot = source(plain(drawn.graph), direction=drawn.direction, columns=drawn.columns)
        paper = 'bgcolor="white", dpi=144' if form == "png" else 'bgcolor="white"'
        return printed(dot.replace('bgcolor="transparent"', paper, 1), form)

    @cached_property
    def drawn(self) -> Drawn:
        """The picture that fits; a table is left where none does."""
        return self._fitting() if self.fit else self._within_budget(None)

    def _fitting(self) -> Drawn:
        """The finest picture that fits a screen, or the one that comes nearest to it.

        One that goes on in further columns is harder to follow: it has to show much more.
        """
        straight = self._finest((1,))
        whole = len(straight.graph.nodes) > FITTING[0] * 2  # a graph that has no folds
        if straight.error is not None or self._direction != "auto" or whole:
            return straight
        several = self._finest((2, 3, 4))
        more = len(several.graph.nodes) >= _MORE * len(straight.graph.nodes)
        better = several.excess < (straight.excess if straight.excess > _LARGER else 0)
        return several if several.error is None and (more or better) else straight

    def _finest(self, columns: Sequence[int]) -> Drawn:
        """The finest picture in so many columns that fits a screen, or the smallest."""
        best: Drawn | None = None
        met: set[int] = set()
        for limit in FITTING:
            graph = self._make(limit)
            if len(graph.nodes) in met:
                continue
            met.add(len(graph.nodes))
            for told in (graph, _lean(graph)):
                for drawn in self._ways(told, columns):
                    if drawn.error is not None:
                        return self._within_budget(limit)
                    if best is None or drawn.excess < best.excess:
                        best = drawn
                    if drawn.excess <= _LARGER:
                        return drawn
        assert best is not None
        return best

    def _ways(self, graph: Graph, columns: Sequence[int] = (1,)) -> Iterator[Drawn]:
        """The graph from left to right and from top to bottom, the likelier first; from top to
        bottom alone in several columns.  Nothing is tried once a layout has failed."""
        first = directed(graph, self._direction)
        both = (first, "TB" if first == "LR" else "LR") if self._direction == "auto" else (first,)
        for way, count in ((w, n) for n in columns for w in (both if n == 1 else ("TB",))):
            drawn = self._laid(graph, way, count)
            yield drawn
            if drawn.error is not None:
                return

    def _within_budget(self, limit: int | None) -> Drawn:
        """The graph as it was asked for; coarser where its layout takes too long."""
        graph, coarser = self._make(limit), False
        for smaller in (*COARSER, None):
            drawn = min(
                self._ways(graph), key=lambda d: (d.error is not None, d.excess > 1, d.size)
            )
            late = drawn.error is not None and drawn.error.key == "layout.over_budget"
            if not late or smaller is None:
                return replace(drawn, coarser=coarser)
            fewer = self._make(smaller)
            coarser = coarser or len(fewer.nodes) < len(graph.nodes)
            graph = fewer
        raise AssertionError("the loop returns")

    def _laid(self, graph: Graph, direction: str, columns: int) -> Drawn:
        titles = [visible(node.title) for node in graph.nodes if node.kind != "stub"]
        title = self._title or clipped(", ".join(titles), 120)
        try:
            picture = draw(
                graph,
                title=title,
                budget=self._budget,
                engine=self._engine,
                direction=direction,
                columns=columns,
            )
        except RenderError as error:
            return Drawn(graph, error=error, direction=direction)
        return Drawn(graph, picture.svg, direction=direction, columns=columns)

    def notes(self) -> Iterator[str]:
        """What is to be said below the picture."""
        if self.drawn.error is not None:
            yield say("report.no_picture", detail=str(self.drawn.error))
        elif self.drawn.coarser:
            yield say("report.coarser", seconds=self._budget)
        yield from map(visible, self.drawn.graph.notes)


def _lean(graph: Graph) -> Graph:
    """The graph with one line in a box beside its title, and one of its gradient."""
    nodes = (
        replace(
            node,
            title=_short(node.title),
            detail=tuple(map(_short, node.detail[:1])),
            gradient=_short(node.gradient.split("\n")[0]),
        )
        for node in graph.nodes
    )
    return replace(graph, nodes=tuple(nodes))


def _short(text: str) -> str:
    return text if len(text) <= _LEAN else text[: _LEAN - 1] + "…"
