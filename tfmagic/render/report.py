"""What is shown of a recording: the summary, the gradients, the picture, what was not seen."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator
from copy import copy
from itertools import islice
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tfmagic.analysis import reach
from tfmagic.analysis.graph import Sketch
from tfmagic.analysis.run_difference import pairs
from tfmagic.analysis.run_graph import MOST, run_graph
from tfmagic.errors import OptionError
from tfmagic.language import say
from tfmagic.model import Graph, Recording, Run
from tfmagic.render import exchange, files, html, page, run, run_difference, tables, text, tracing
from tfmagic.render.answer import answer, causes
from tfmagic.render.derivatives import derivatives
from tfmagic.render.dot import directed
from tfmagic.render.drawing import Drawing
from tfmagic.render.escape import visible
from tfmagic.render.replicas import reductions
from tfmagic.render.scene import Scene
from tfmagic.render.summary import failure, not_seen, summary
from tfmagic.render.tables import Table

__all__ = ["GraphView", "Report"]

#: Rows that a table shows at once; the rest opens on request.
_ROWS = 20
_MOST_ROWS = 80
#: Lines of a terminal that a report takes where nobody asked for more, and the rows of a table
#: and of the picture's that are tried for it.
_LINES = 40
_HEIGHTS = ((20, 60), (12, 12), (10, 8), (8, 5), (6, 0), (4, 0), (1, 0))


#: The most boxes before ops are folded, unless another number is asked for.
_BOXES = 60


class GraphView:
    """A graph as a picture, with its table beside it.

    ``subject`` is a :class:`~tfmagic.model.Recording`, or a
    :class:`~tfmagic.model.Graph` that is drawn as it is.  ``depth`` folds deeper scopes,
    ``flat`` folds nothing, ``limit`` is the most boxes before ops are folded (of its own accord
    a picture is as fine as a screen has room for), ``by`` what
    they are folded by (:data:`tfmagic.analysis.folding.WAYS`).  ``focus`` is a name (what leads
    to it and what it leads to), or indices of ops; with ``only_gradient`` ops that carry no
    gradient are left out.  ``opened`` are the ids of the folds to open, ``marked`` is as in
    :class:`tfmagic.analysis.graph.Sketch`.  ``budget`` is the seconds that a layout may take,
    ``engine`` which Graphviz draws, ``direction`` ``"LR"``, ``"TB"`` or ``"auto"``.
    """

    def __init__(
        self,
        subject: Recording | Graph,
        title: str = "",
        *,
        backward: bool = False,
        depth: int | None = None,
        flat: bool = False,
        limit: int = _BOXES,
        by: str = "auto",
        focus: str | Collection[int] | None = None,
        only_gradient: bool = False,
        opened: Collection[str] | None = None,
        marked: Collection[int | str] = (),
        budget: float = 1.0,
        engine: str = "auto",
        direction: str = "auto",
    ) -> None:
        self.recording = subject if isinstance(subject, Recording) else None
        self.title = visible(title)
        self.sketch: Sketch | None = None
        if isinstance(subject, Recording):
            part = _part(subject, focus, only_gradient)
            self.sketch = Sketch(subject, backward=backward, focus=part, marked=marked, by=by)

        self._options: dict[str, Any] = {"depth": depth, "flat": flat, "limit": limit}
        self._opened = opened
        self._layout: dict[str, Any] = {
            "budget": budget,
            "engine": engine,
            "direction": direction,
        }
        self._given = subject if isinstance(subject, Graph) else Graph()
        asked = flat or depth is not None or limit != _BOXES or opened is not None
        fit = not asked
        self._drawing = Drawing(self._make, title=self.title, fit=fit, **self._layout)

    def _make(self, coarser: int | None) -> Graph:
        """The graph with at most so many boxes, or the one that was asked for."""
        if self.sketch is None:
            return self._given
        if coarser is not None:
            return self.sketch.graph(limit=min(coarser, self._options["limit"]))
        return self.sketch.graph(**self._options, opened=self._opened)

    def with_open(self, opened: Collection[str] | None) -> GraphView:
        """The same with just these folds open."""
        other = copy(self)
        other._opened = self._opened if opened is None else opened
        fit = self._drawing.fit and other._opened is None
        other._drawing = Drawing(other._make, title=self.title, fit=fit, **self._layout)
        return other

    # -- the picture ------------------------------------------------------------------

    @property
    def graph(self) -> Graph:
        """The boxes and arrows that were asked for, before any layout."""
        return self._drawing.graph

    def dot(self) -> str:
        """The graph as DOT."""
        return self._drawing.dot()

    def svg(self) -> str:
        """The picture.  Raises :class:`~tfmagic.errors.RenderError` where none can be made."""
        drawn = self._drawing.drawn
        if drawn.error is not None:
            raise drawn.error
        return drawn.svg

    # -- the ways it is shown ---------------------------------------------------------

    def text(self, *, width: int | None = None, colour: bool | None = None) -> str:
        """For terminals: the tables, and the graph as a table of its boxes.

        ``width`` is in columns; both go by standard output where they are not given.
        """
        tables_ = self._tables()
        boxes = (tables.boxes(self.graph),) if self._has_picture() else ()
        drawn = self.graph.notes if boxes else ()
        lines = [*filter(None, [self._alert()]), *map(visible, drawn), *self._notes()]
        made = ""
        for rows, most in _HEIGHTS if self._drawing.fit else ((_ROWS, 3 * _ROWS),):
            shown = [table.head(rows) for table in tables_]
            shown += [table.head(most) for table in boxes if most]
            made = text.render(self._head(), shown, lines, width=width, colour=colour)
            if made.count("\n") < _LINES:
                break
        return made

    def html(self) -> str:
        """For notebooks: the tables, the picture, and its table twin."""
        return html.report(self._parts())

    def body(self) -> Markup:
        """The same without the element around it, to stand in another view."""
        return Markup("\n").join(part for part in self._parts() if part)

    def mimebundle(self) -> dict[str, str]:
        """Text and HTML of it."""
        return {"text/plain": self.text(), "text/html": self.html()}

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return self.mimebundle()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._head()}>"

    def save(self, path: str | Path) -> Path:
        """Write it to a file, whole or not at all.

        ``.svg``, ``.png``, ``.pdf`` and ``.dot`` are the picture, ``.html`` a page that opens
        offline and whose folds open and close, ``.json`` the recording, ``.pb`` a GraphDef
        (for Netron), ``.explorer.json`` a graph for Model Explorer; a folder that exists, or
        a path that ends in a slash, becomes a log for TensorBoard.  Raises
        :class:`~tfmagic.errors.OptionError` for another ending or a place that cannot be
        written, and :class:`~tfmagic.errors.RenderError` where no picture can be made.
        """
        makers: dict[str, Callable[[], str | bytes]] = {
            ".svg": self.svg,
            ".png": lambda: self._drawing.printed("png"),
            ".pdf": lambda: self._drawing.printed("pdf"),
            ".dot": self.dot,
            ".html": self._page,
        }
        if self.recording is not None:
            makers |= self._exchanged(self.recording)
            if files.is_folder(path):
                return self._log(path, self.recording)
        return files.save(path, makers)

    def scene(self) -> Scene:
        """The same graph as a picture whose folds open.  Only a recording has one."""
        if self.recording is None or self.sketch is None:
            raise OptionError("graph.no_folds")
        whole = self.sketch.graph(**self._options, opened=self._opened)
        towards = directed(whole, self._layout["direction"])
        return Scene(self.recording, self.sketch, **{**self._layout, "direction": towards})

    def _exchanged(self, recording: Recording) -> dict[str, Callable[[], str | bytes]]:
        return {
            ".json": recording.to_json,
            ".pb": lambda: exchange.graph_def(recording, self.sketch),
            ".explorer.json": lambda: exchange.explorer_json(recording, self.title, self.sketch),
        }

    def _log(self, path: str | Path, recording: Recording) -> Path:
        """An event file in a folder, which is made where it is not there."""
        name = f"events.out.tfevents.{int(time.time())}.tfmagic"
        made = files.folder(path)
        return files.save(
            made / name, {".tfmagic": lambda: exchange.event_file(recording, self.sketch)}
        )

    def _page(self) -> str:
        title = self.title or "tfmagic"
        if self.recording is None or not self.graph.nodes:
            return html.page(title, self.html())
        return page.page(self.scene(), title, self.html())

    # -- the parts --------------------------------------------------------------------

    def _head(self) -> str:
        """The line above it."""
        line = summary(self.recording) if self.recording is not None else ""
        return " — ".join(part for part in (self.title, line) if part)

    def _tables(self) -> tuple[Table, ...]:
        """The tables that stand above the picture."""
        return ()

    def _has_picture(self) -> bool:
        return bool(self.graph.nodes)

    def _alert(self) -> str:
        return failure(self.recording) if self.recording is not None else ""

    def _notes(self) -> tuple[str, ...]:
        if self.recording is None:
            return ()
        return (*not_seen(self.recording), *map(visible, self.recording.notes))

    def _parts(self) -> Iterator[Markup]:
        if self._head():
            yield html.head(self._head())
        if self._alert():
            yield html.alert(self._alert())
        for table in self._tables():
            yield _folded(table)
        if self._has_picture():
            yield from self._picture_parts()
        yield html.notes(self._notes())

    def _picture_parts(self) -> Iterator[Markup]:
        drawn = self._drawing.drawn
        if drawn.error is None:
            image = html.image(drawn.svg, drawn.description, drawn.width)
            legend = html.legend(drawn.legend(), self._legend(drawn.graph))
            yield html.picture((image, legend))
        yield html.notes(self._drawing.notes())
        twin = tables.boxes(drawn.graph)
        opened = drawn.error is not None
        yield html.details(twin.caption, html.table(twin.head(_MOST_ROWS)), opened=opened)
        runs = self.recording is not None and self.recording.runs  # they tell of each variable
        if self.recording is not None and not runs and (read := tables.variables(self.recording)):
            yield html.details(read.caption, html.table(read.head(_MOST_ROWS)))

    def _legend(self, graph: Graph) -> Iterator[str]:
        if self.recording is not None and any(node.gradient for node in graph.nodes):
            targets = dict.fromkeys(t for c in self.recording.gradients for t in c.targets)
            if targets:
                yield say("report.legend_gradient", targets=visible(", ".join(list(targets)[:3])))
        if any(node.marked for node in graph.nodes):
            yield say("report.legend_marked")


class Report(GraphView):
    """All that ``%%tape`` shows: the gradients and what is wrong with them, then the graph.

    ``beside`` is another recording and what it is called: its training is shown beside this one.
    """

    def __init__(
        self,
        recording: Recording,
        title: str = "",
        *,
        graph: bool = True,
        beside: tuple[str, Recording] | None = None,
        **options: Any,
    ) -> None:
        self._other, others = (beside[0], beside[1].runs) if beside is not None else ("", ())
        self._pairs = pairs(recording.runs, others)
        self._recording = recording
        chosen = any(options.get(name) for name in ("focus", "flat", "only_gradient", "backward"))
        turn = None if chosen or options.get("depth") is not None else reach.last_turn(recording)
        self._turn = turn is not None
        options = {"marked": _guilty(recording), **options} | ({"focus": turn} if turn else {})
        super().__init__(recording, title, **options)
        self._wanted = graph
        told = causes(recording)
        self._table = tables.gradients(recording, told[0].verdict if told else None)

    def _tables(self) -> tuple[Table, ...]:
        first = (self._table,) if self._table is not None else ()
        courses = (table for each in self._recording.runs for table in run.tables(each))
        joined = reductions(self._recording)
        replicas = (joined,) if joined is not None else ()
        both = (run_difference.table(a, b, self._other) for a, b in self._pairs)
        return (*first, *replicas, *derivatives(self._recording), *courses, *both)

    def _parts(self) -> Iterator[Markup]:
        plots = [part for each in self._recording.runs for part in _course(each)]
        plots += [part for a, b in self._pairs for part in _beside(a, b, self._other)]
        tables_and_picture = super()._parts()
        head = list(islice(tables_and_picture, self._before_plots()))
        yield from (*head, *plots, *tables_and_picture)

    def _before_plots(self) -> int:
        """The head, the alert and the tables stand above the plots."""
        return bool(self._head()) + bool(self._alert()) + len(self._tables())

    def _page(self) -> str:
        """Of a training the report itself: its ops in a live graph are the input pipeline."""
        if self._recording.runs:
            return html.page(self.title or "tfmagic", self.html())
        return super()._page()

    def _alert(self) -> str:
        return " ".join(filter(None, (super()._alert(), *tracing.remarks(self._recording))))

    def _has_picture(self) -> bool:
        return self._wanted and super()._has_picture()

    def _make(self, coarser: int | None) -> Graph:
        """Of training runs the layers of a step: what the cell itself ran is the input pipeline."""
        compiled = [run for run in self._recording.runs if run.flow]
        plain = self._opened is None and not self._options["flat"]
        if not compiled or not plain or self._options["depth"] is not None:
            return super()._make(coarser)
        return run_graph(compiled[0], min(coarser or MOST, MOST))

    def _head(self) -> str:
        told = answer(self._recording)
        return " — ".join(part for part in (self.title, told) if part) or super()._head()

    def _notes(self) -> tuple[str, ...]:
        told = [summary(self._recording)] if answer(self._recording) else []
        if self._turn and self._has_picture():
            told.insert(0, say("report.one_turn", n=max(r.steps for r in self._recording.runs)))
        return (*told, *super()._notes())


def _part(
    recording: Recording, focus: str | Collection[int] | None, only_gradient: bool
) -> Collection[int] | None:
    """The ops to draw; None for all."""
    part = reach.stream(recording, focus) if isinstance(focus, str) else focus
    if not only_gradient:
        return part
    carrying = reach.carrying(recording)
    return carrying if part is None else carrying.intersection(part)


def _guilty(recording: Recording) -> tuple[int | str, ...]:
    """The ops and the source on the path of every verdict that wants a repair."""
    found: dict[int | str, None] = {}
    for verdict in recording.verdicts:
        if not verdict.fine and verdict.ops:
            found.update(dict.fromkeys((*verdict.ops, verdict.source)))
    return tuple(found)


def _course(told: Run) -> Iterator[Markup]:
    """The curves of a run, and its variables on request; nothing where they cannot be drawn."""
    try:
        yield html.image(run.plot(told), run.plot_description(told), 720)
    except Exception as error:  # the table beside it says the same
        yield html.notes([say("report.no_picture", detail=visible(str(error)[:200]))])
    if (every := run.variables(told)) is not None:
        yield html.details(every.caption, html.table(every.head(_MOST_ROWS)))


def _beside(told: Run, other: Run, title: str) -> Iterator[Markup]:
    """The curves of two runs in one plot; nothing where they cannot be drawn."""
    with contextlib.suppress(Exception):  # the table above says the same
        svg = run_difference.plot(told, other, title)
        yield html.image(svg, run_difference.sentence(told, other), 720)


def _folded(table: Table) -> Markup:
    """A long table as its first rows, with all of them on request."""
    short = table.head(_ROWS)
    if short is table:
        return html.table(table)
    every = html.table(table.head(_MOST_ROWS))
    return html.table(short) + html.details(say("report.all_rows", n=len(table.rows)), every)
