"""A function's two graphs side by side: what ran, and what TensorFlow made of it."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from tfmagic.language import say
from tfmagic.model import Graph, Recording
from tfmagic.render import html
from tfmagic.render.report import GraphView

__all__ = ["Pair"]


class Pair:
    """The eager graph, the traced one, and the code that AutoGraph made in between.

    ``recording`` and ``graph`` are the traced ones, and so is what :meth:`save` writes.
    """

    #: Boxes that still read in half a page.
    BOXES = 30

    def __init__(self, eager: GraphView | None, traced: GraphView, code: str, note: str) -> None:
        self.eager = eager
        self.traced = traced
        self._code = code
        self._note = note

    @property
    def recording(self) -> Recording | None:
        """The traced graph as a recording."""
        return self.traced.recording

    @property
    def graph(self) -> Graph:
        """The boxes and arrows of the traced graph."""
        return self.traced.graph

    def text(self, *, width: int | None = None, colour: bool | None = None) -> str:
        """For terminals: one after the other."""
        parts = []
        if self.eager is not None:
            parts += [say("graph.eager"), self.eager.text(width=width, colour=colour), ""]
        parts += [say("graph.traced_head"), self.traced.text(width=width, colour=colour)]
        return "\n".join((*parts, self._note)).rstrip()

    def html(self) -> str:
        """For notebooks: beside each other where there is room."""
        both = [(say("graph.traced_head"), self.traced)]
        if self.eager is not None:
            both.insert(0, (say("graph.eager"), self.eager))
        columns = Markup("").join(
            Markup('<div class="tfmagic-column">{}{}</div>').format(html.head(head), view.body())
            for head, view in both
        )
        code = Markup("<pre><code>{}</code></pre>").format(self._code)
        return html.report(
            [
                Markup('<div class="tfmagic-columns">{}</div>').format(columns),
                html.notes([self._note] if self._note else []),
                html.details(say("graph.autograph"), code) if self._code else Markup(""),
            ]
        )

    def mimebundle(self) -> dict[str, str]:
        """Text and HTML of it."""
        return {"text/plain": self.text(), "text/html": self.html()}

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return self.mimebundle()

    def save(self, path: str | Path) -> Path:
        """Write the traced graph to a file; see :meth:`GraphView.save`."""
        return self.traced.save(path)
