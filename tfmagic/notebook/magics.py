"""``%%tape``, ``%tape``, ``%tfgraph``: each parses its line, and calls the function behind it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import (
    Magics,
    cell_magic,
    line_magic,
    magics_class,
    no_var_expand,
    output_can_be_silenced,
)

from tfmagic.errors import TfmagicError
from tfmagic.language import say
from tfmagic.notebook.cells import Cells, Session, show_line
from tfmagic.notebook.options import (
    HelpShown,
    Options,
    graph_options,
    identifier,
    tape_options,
    usage_error,
)
from tfmagic.notebook.settings import TFMagic
from tfmagic.notebook.view import show

if TYPE_CHECKING:
    from tfmagic.model import Recording


@magics_class
class TFMagics(Magics):
    """The magics of one shell; ``cells`` does the recording."""

    def __init__(self, shell: Any, settings: TFMagic) -> None:
        super().__init__(shell)
        self.settings = settings
        self.cells = Cells(shell, settings)
        self.parsers: dict[str, Options] = {"tape": tape_options(), "tfgraph": graph_options()}
        self.cells.magics = {
            "tape": (self.parsers["tape"], self._show_tape),
            "tfgraph": (self.parsers["tfgraph"], self._show_graph),
        }

    # -- %%tape -----------------------------------------------------------------

    @cell_magic("tape")
    @no_var_expand
    @output_can_be_silenced
    def tape_cell(self, line: str, cell: str) -> Any:
        """Run the cell as it is, and show its gradients and its graph."""
        __tracebackhide__ = True
        return self.cells.run_inside("tape", line, cell)

    @line_magic("tape")
    def tape_line(self, line: str) -> None:
        """``%tape on`` records every following cell as one story, ``%tape off`` ends it."""
        word = line.strip()
        if word == "on":
            self.cells.begin_story()
            show_line(say("cells.story_on"))
        elif word == "off":
            key = "cells.story_off" if self.cells.telling else "cells.story_none"
            self.cells.end_story()
            show_line(say(key))
        elif not word:
            show_line(say("cells.story_on" if self.cells.telling else "cells.story_none"))
        elif word in ("--help", "-h"):
            print(self.parsers["tape"].format_help().rstrip())
        else:
            raise UsageError(say("cells.story_unknown", given=word))

    def _show_tape(self, session: Session) -> None:
        options, tape = session.options, session.tape
        if options.quiet:
            return
        if tape is None:
            show_line(session.note)
        elif len(tape.log.entries) > session.before:
            show(lambda: self._report(options, tape.recording).mimebundle())
        elif not session.story:
            show_line(say("cells.no_ops"))

    def _report(self, options: Any, recording: Recording) -> Any:
        from tfmagic.render.report import Report

        wanted = self.settings.graph if options.graph is None else options.graph
        return Report(recording, graph=wanted, **self._picture(options))

    def _picture(self, options: Any) -> dict[str, Any]:
        return {
            "depth": options.depth,
            "flat": options.flat,
            "backward": options.backward,
            "limit": self.settings.boxes,
            "budget": self.settings.seconds,
            "engine": self.settings.engine,
        }

    # -- %tfgraph ---------------------------------------------------------------

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
            recording, title = self._drawable(options)
            self._draw(options, recording, title)
        except TfmagicError as error:
            raise usage_error(error) from None

    def _graph_options(self, line: str) -> Any:
        options = self.parsers["tfgraph"].parse(line)
        identifier(options.output, "-o")
        return options

    def _drawable(self, options: Any) -> tuple[Recording, str]:
        expression = " ".join(options.expression)
        if not expression:
            last = self.cells.last
            if last is None:
                raise UsageError(say("cells.nothing_yet"))
            return last, ""
        from tfmagic.runtime.subject import recording_of

        return recording_of(expression, lambda: self.shell.user_ns, self.cells.label), expression

    def _show_graph(self, session: Session) -> None:
        options, tape = session.options, session.tape
        if tape is None:
            if not options.quiet:
                show_line(session.note)
        elif not tape.ran:
            show_line(say("cells.no_ops"))
        else:
            self._draw(options, tape.recording, "")

    def _draw(self, options: Any, recording: Recording, title: str) -> None:
        from tfmagic.render.report import GraphView

        view = GraphView(recording, title, **self._picture(options))
        if options.save:
            path = Path(options.save).expanduser()
            view.save(path)
            show_line(say("cells.saved", path=str(path)))
        if options.output:
            self.shell.user_ns[options.output] = view
        if not options.quiet:
            show(view.mimebundle)
