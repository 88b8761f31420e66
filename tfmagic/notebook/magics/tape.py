"""``%%tape`` and ``%tape``: what a cell really ran, its gradients and its graph."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import (
    cell_magic,
    line_magic,
    magics_class,
    no_var_expand,
    output_can_be_silenced,
)

from tfmagic.errors import OptionError, TfmagicError
from tfmagic.language import say
from tfmagic.notebook.cells import Session, show_line
from tfmagic.notebook.magics.base import Family
from tfmagic.notebook.options import Options, natural
from tfmagic.notebook.picture import show_picture
from tfmagic.notebook.tweaking import show_tweak

if TYPE_CHECKING:
    from tfmagic.model import Recording


def tape_options() -> Options:
    """Options of ``%%tape``."""
    parser = Options("%%tape")
    add: Any = parser.add_argument
    add("name", nargs="?", metavar="NAME", help="help.tape_name")
    add("--target", metavar="EXPR", help="help.tape_target")
    add("--wrt", metavar="A,B", help="help.tape_wrt")
    add("--watch", metavar="X", help="help.tape_watch")
    add("--check", action="store_true", help="help.tape_check")
    add("--hist", action="store_true", help="help.tape_hist")
    add("--jacobian", action="store_true", help="help.tape_jacobian")
    add("--order", type=int, choices=(1, 2), default=1, metavar="2", help="help.tape_order")
    add("--tweak", nargs="?", const="", metavar="A,B", help="help.tape_tweak")
    add("--compare", metavar="NAME", help="help.tape_compare")
    add("--live", action="store_true", help="help.tape_live")
    add("--eager", action="store_true", help="help.tape_eager")
    add("--graph", action=argparse.BooleanOptionalAction, default=None, help="help.tape_graph")
    add("--depth", type=natural, metavar="N", help="help.tape_depth")
    add("--flat", action="store_true", help="help.tape_flat")
    add("--fold", dest="flat", action="store_false", help="help.tape_fold")
    add("--backward", action="store_true", help="help.tape_backward")
    add("-o", dest="output", metavar="NAME", help="help.output")
    add("-q", dest="quiet", action="store_true", help="help.quiet")
    return parser


@magics_class
class TapeMagics(Family):
    """``%%tape NAME …`` records a cell, ``%tape on`` every following one."""

    def __init__(self, *shared: Any) -> None:
        super().__init__(*shared)
        self.parsers = {"tape": tape_options()}
        self.takes_cells = {"tape": (self.parsers["tape"], self._show)}

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
            print(say("help.tape_line"), self.parsers["tape"].format_help().rstrip(), sep="\n\n")
        else:
            raise UsageError(say("cells.story_unknown", given=word))

    def _show(self, session: Session) -> None:
        options, tape = session.options, session.tape
        if options.quiet:
            return
        if tape is None:
            show_line(session.note)
        elif len(tape.log.entries) > session.before and options.tweak is not None:
            self._show_knobs(session)
        elif session.has_news:
            self._show_report(session)
        elif not session.story:
            show_line(say("cells.no_ops"))

    def _show_knobs(self, session: Session) -> None:
        """The report, with sliders where there is a frontend for them."""
        options, tape = session.options, session.tape
        assert tape is not None
        try:
            tweak = self._tweak(options, tape)
        except TfmagicError as error:
            show_line(str(error))
            self._show_report(session)
            return
        kept = bool(options.name) or session.story

        def ended() -> None:
            if not kept:
                tape.release()

        show_tweak(self.shell, tweak, self.picture(options), ended)

    def _tweak(self, options: Any, tape: Any) -> Any:
        from tfmagic.api import tweak
        from tfmagic.notebook.gradient_request import value_of

        sources = value_of("--tweak", options.tweak, self.shell.user_ns) if options.tweak else None
        return tweak(tape, sources)

    def _show_report(self, session: Session) -> None:
        """What the cell did; of a story the cell's own part."""
        options, tape = session.options, session.tape
        assert tape is not None
        recording = tape.chapter if session.story else tape.recording
        show_picture(self.shell, lambda: self._report(options, recording), self.settings.live)

    def _report(self, options: Any, recording: Recording) -> Any:
        from tfmagic.render.report import Report

        wanted = self.settings.graph if options.graph is None else options.graph
        picture: dict[str, Any] = self.picture(options)
        if options.compare:
            from tfmagic.notebook.gradient_request import value_of

            other = value_of("--compare", options.compare, self.shell.user_ns)
            other = getattr(other, "recording", other)  # of a tape, its own
            if not getattr(other, "runs", ()):
                raise OptionError("run_difference.no_runs", given=options.compare)
            picture["beside"] = (options.compare, other)
        return Report(recording, graph=wanted, **picture)
