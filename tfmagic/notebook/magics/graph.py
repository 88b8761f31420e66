"""``%tfgraph`` and ``%%tfgraph``: the op graph, inline or into a file."""

from __future__ import annotations

from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import (
    cell_magic,
    line_magic,
    magics_class,
    no_var_expand,
    output_can_be_silenced,
)

from tfmagic.analysis.folding import WAYS
from tfmagic.errors import TfmagicError
from tfmagic.language import say
from tfmagic.notebook.cells import Session, show_line
from tfmagic.notebook.external_viewers import VIEWERS, ExternalViewers
from tfmagic.notebook.magics.base import Family
from tfmagic.notebook.options import HelpShown, Options, identifier, natural, source_of, usage_error
from tfmagic.notebook.picture import show_picture
from tfmagic.notebook.view import show


def graph_options() -> Options:
    """Options of ``%tfgraph`` and ``%%tfgraph``."""
    parser = Options("%tfgraph")
    add: Any = parser.add_argument
    add("expression", nargs="*", metavar="EXPR", help="help.graph_expression")
    add("--depth", type=natural, metavar="N", help="help.tape_depth")
    add("--flat", action="store_true", help="help.tape_flat")
    add("--fold", dest="flat", action="store_false", help="help.tape_fold")
    add("--by", metavar="WAY", choices=WAYS, default="auto", help="help.graph_by")
    add("--backward", action="store_true", help="help.tape_backward")
    add("--focus", metavar="NAME", help="help.graph_focus")
    add("--only-gradient", action="store_true", help="help.graph_only_gradient")
    add("--cost", action="store_true", help="help.graph_cost")
    add("--lr", dest="direction", action="store_const", const="LR", help="help.graph_lr")
    add("--td", dest="direction", action="store_const", const="TB", help="help.graph_td")
    add("-i", "--interactive", action="store_true", help="help.graph_interactive")
    add("--save", metavar="FILE", help="help.graph_save")
    add("--open", metavar="VIEWER", choices=VIEWERS, help="help.graph_open")
    add("-o", dest="output", metavar="NAME", help="help.output")
    add("-q", dest="quiet", action="store_true", help="help.quiet")
    parser.set_defaults(direction="auto")
    return parser


def timed(tape: Any) -> Any:
    """The recording of a tape with the time of each op."""
    from tfmagic.runtime.tape.graph_subject import timed as measured

    return measured(tape)


def _costed(session: Session) -> Any:
    """The recording of a cell with the time of each op; its tensors are let go then."""
    try:
        return timed(session.tape)
    finally:
        if not session.story and session.tape is not None:
            session.tape.release()


@magics_class
class GraphMagics(Family):
    """``%tfgraph EXPR`` draws a recording, a function or a model; ``%%tfgraph`` the cell."""

    def __init__(self, *shared: Any) -> None:
        super().__init__(*shared)
        self.viewers = ExternalViewers(self.shell)
        self.parsers = {"tfgraph": graph_options()}
        self.takes_cells = {"tfgraph": (self.parsers["tfgraph"], self._show_graph)}

    def detach(self) -> None:
        """Stop what ``--open`` has started."""
        self.viewers.close()

    @cell_magic("tfgraph")
    @no_var_expand
    @output_can_be_silenced
    def graph_cell(self, line: str, cell: str) -> Any:
        """Run the cell as it is, and draw its graph."""
        __tracebackhide__ = True
        return self.cells.run_inside("tfgraph", line, cell)

    @line_magic("tfgraph")
    @no_var_expand
    def graph_line(self, line: str) -> None:
        """Draw a recording, a function or a Keras model; alone, the last recording."""
        try:
            options = self._graph_options(line)
        except HelpShown:
            return
        except TfmagicError as error:
            raise usage_error(error) from None
        try:
            self._draw(options, *self._drawable(options))
        except TfmagicError as error:
            raise usage_error(error) from None

    def _graph_options(self, line: str) -> Any:
        options = self.parsers["tfgraph"].parse(line)
        identifier(options.output, "-o")
        return options

    def _drawable(self, options: Any) -> tuple[Any, str]:
        expression = source_of(options.expression)
        if not expression:
            last = self.cells.last
            if last is None:
                raise UsageError(say("cells.nothing_yet"))
            return (timed(self.cells.last_tape) if options.cost else last), ""
        from tfmagic.runtime.tape.graph_subject import subject_of

        found = subject_of(
            expression, lambda: self.shell.user_ns, self.cells.label, cost=options.cost
        )
        return found, expression

    def _show_graph(self, session: Session) -> None:
        options, tape = session.options, session.tape
        if tape is None:
            if not options.quiet:
                show_line(session.note)
        elif not tape.ran:
            show_line(say("cells.no_ops"))
        else:
            self._draw(options, _costed(session) if options.cost else tape.recording, "")

    def _draw(self, options: Any, subject: Any, title: str) -> None:
        from tfmagic.api import graph

        view = graph(
            subject,
            title,
            by=options.by,
            focus=options.focus,
            only_gradient=options.only_gradient,
            direction=options.direction,
            **self.picture(options),
        )
        if options.save is not None:
            path = view.save(options.save)
            show_line(say("cells.saved", path=str(path)))
        if options.output:
            self.shell.user_ns[options.output] = view
        if options.open:
            self.viewers.open(options.open, view)
            return
        if options.interactive and not options.quiet:
            self._interact(view)
        elif not options.quiet:
            show_picture(self.shell, lambda: view, self.settings.live)

    def _interact(self, view: Any) -> None:
        """The live picture; of a function's two the traced one, beneath what ran."""
        from tfmagic.notebook.panels.graph import GraphPanel

        eager = getattr(view, "eager", None)
        if eager is not None:
            show(eager.mimebundle)
        GraphPanel(getattr(view, "traced", view)).show()
