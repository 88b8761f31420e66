"""From ``%%tape`` on a cell's first line to a recording of that cell.

The line is taken off before IPython sees the cell, so what runs *is* the plain cell:
the same ``Out``, the same ``;`` and ``await``, the same traceback.  The recorder is put
on by IPython's ``pre_run_cell`` event and taken off by ``post_run_cell``, where the
report is shown under whatever the cell showed.

Where the cell is not IPython's own to run (``%%time`` above ``%%tape``, a call of
``run_cell_magic``), :meth:`Cells.run_inside` runs the body the way IPython does.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.display import display

from tfmagic.errors import OptionError, TfmagicError
from tfmagic.language import Message, say
from tfmagic.notebook.body import run_body
from tfmagic.notebook.hooks import CellHooks, only_when_run
from tfmagic.notebook.live import Live
from tfmagic.notebook.options import HelpShown, Options, identifier, source_of, usage_error
from tfmagic.notebook.settings import TFMagic
from tfmagic.notebook.tracebacks import hide_frames, show_frames, without_frames
from tfmagic.notebook.variable_history import VariableHistory
from tfmagic.notebook.view import View
from tfmagic.runtime.arrival import when_imported
from tfmagic.runtime.capture.gc_throttle import calm, off

if TYPE_CHECKING:
    from tfmagic.model import Recording
    from tfmagic.runtime.tape.tape import Tape

#: Ops up to which ``-q`` still works out gradients that nobody asked for.
_UNASKED = 200


@dataclass(slots=True)
class Session:
    """One recorded cell: what was asked on its first line, and the tape once there is one.

    ``before`` is the number of ops that the tape held when the cell began, ``asked`` that
    of the gradients it had been asked for.
    """

    options: Any
    show: Callable[[Session], None]
    magic: str = "%%tape"
    tape: Tape | None = None
    cancel: Callable[[], None] | None = None
    story: bool = False
    before: int = 0
    asked: int = 0
    note: str = ""
    live: Live | None = None

    @property
    def has_news(self) -> bool:
        """Whether the cell ran an op or asked for a gradient, be it one that is None."""
        log = self.tape.log if self.tape is not None else None
        return log is not None and (len(log.entries) > self.before or len(log.calls) > self.asked)


class Cells(CellHooks):
    """The cells of one shell: which of them are recorded, and what came of it."""

    def __init__(self, shell: Any, settings: TFMagic) -> None:
        self.shell = shell
        self.settings = settings
        self.magics: dict[str, tuple[Options, Callable[[Session], None]]] = {}
        self.names: frozenset[str] = frozenset()  # of every cell magic of ours
        self.story: Tape | None = None
        self.telling = False
        self.last_tape: Tape | None = None
        self._once = VariableHistory(shell)
        self._running: list[Session | None] = []
        self._raised: list[Session] = []

    # -- hooks ------------------------------------------------------------------

    def detach(self) -> None:
        """Take our hooks out of the shell and let everything go."""
        super().detach()
        while self._running:
            session = self._running.pop()
            if session is not None:
                self._stop(session, None)
        self.end_story()

    # -- the plain way: IPython runs the cell -----------------------------------

    @only_when_run
    def take_line_off(self, lines: list[str]) -> list[str]:
        """Input transformer: the cell without the line of ours that it begins with.

        Only where IPython is about to run a cell of its own, and only where the line is
        one we can follow: any other goes its way and is refused as a magic.
        """
        if self._running:
            return lines
        if self._asked(lines) is None:
            return [*lines, "\n"] if self._stands_alone(lines) else lines
        return self._cleaned(lines[1:])

    def _stands_alone(self, lines: list[str]) -> bool:
        """Whether the cell is one line, a cell magic of ours: IPython would refuse it in words of
        its own, even where it asks for help."""
        name = lines[0][2:].split(maxsplit=1)[:1] if lines and lines[0].startswith("%%") else []
        return len(lines) == 1 and self.names.issuperset(name) and bool(name)

    def takes_off(self, lines: Sequence[str]) -> bool:
        """Whether the first of these lines is one that is taken off a cell here."""
        return self._asked(lines) is not None

    def _asked(self, lines: Sequence[str]) -> tuple[str, Any] | None:
        """The magic and options that the first line asks for, where it does so rightly."""
        first = lines[0] if lines else ""
        if not first.startswith("%%") or first.rstrip().endswith("?"):
            return None
        name, _, rest = first[2:].strip().partition(" ")
        if name not in self.magics or not "".join(lines[1:]).strip():
            return None
        if {"--help", "-h"} & set(rest.split()):
            return None
        try:
            return name, self._parse(name, rest)
        except TfmagicError:
            return None

    def _parse(self, name: str, rest: str) -> Any:
        options = self.magics[name][0].parse(rest)
        identifier(getattr(options, "name", None), options_name(name))
        _no_expression(name, getattr(options, "expression", ()))
        identifier(options.output, "-o")
        return options

    def before(self, info: Any) -> None:
        """``pre_run_cell``: start recording where the cell asks for it."""
        lines = info.raw_cell.splitlines(keepends=True)
        asked = None if self._running else self._asked(self._cleaned(lines))
        session = None
        self._once.look()
        if asked is not None:
            session = Session(asked[1], self.magics[asked[0]][1], "%%" + asked[0])
        elif self.telling and not self._running:
            session = Session(self.magics["tape"][0].parse(""), self.magics["tape"][1])
            session.story = True
        self._running.append(session)
        if session is not None:
            self._start(session)

    def after(self, result: Any) -> None:
        """``post_run_cell``: stop, and show what was recorded."""
        session = self._running.pop() if self._running else None
        try:
            self._end(session, result)
        except KeyboardInterrupt:  # the cell is over: only our report is given up
            if session is not None:
                self._stop(session, None)

    def _end(self, session: Session | None, result: Any) -> None:
        if not self._running:
            self._show_frames_again()
            raised, self._raised = self._raised, []
            for each in raised:
                self._show(each)
        if session is None:
            return
        self._finish(session, result.error_in_exec or result.error_before_exec, result.result)

    # -- the inside way: somebody else runs the cell ------------------------------

    def run_inside(self, name: str, line: str, body: str) -> Any:
        """The cell magic itself: run ``body`` as IPython would, recorded; its last value."""
        __tracebackhide__ = True
        try:
            options = self._parse(name, line)
        except HelpShown:
            return None
        except TfmagicError as error:
            raise usage_error(error) from None
        if not body.strip():
            raise UsageError(say("cells.empty", magic="%%" + name))
        session = Session(options, self.magics[name][1], "%%" + name)
        self._start(session)
        try:
            value = run_body(self.shell, body)
        except BaseException as error:
            self._finish(session, error, None, later=bool(self._running))
            raise
        self._finish(session, None, value)
        return value

    # -- what both ways share ---------------------------------------------------

    def _start(self, session: Session) -> None:
        """Listen now, or as soon as the cell imports TensorFlow."""
        self._strip_frames()
        if sys.modules.get("tensorflow") is not None:
            self._listen(session)
        else:
            session.cancel = when_imported("tensorflow", lambda: self._listen(session))

    def _listen(self, session: Session) -> None:
        try:
            session.tape = self._tape_for(session)
            session.before = len(session.tape.log.entries)
            session.asked = len(session.tape.log.calls)
            if getattr(session.options, "live", False) or self.settings.live_training:
                session.live = Live(self.shell)
                session.tape.follow(session.live.show)
            session.tape.start()
        except Exception as error:
            session.tape = None
            session.note = _one_line(error)

    def _tape_for(self, session: Session) -> Tape:
        from tfmagic.notebook.gradient_request import depth
        from tfmagic.runtime.tape.tape import Tape

        if self.telling and self.story is not None:
            session.story = True
            self.story.next_cell()
            return self.story
        asked = ("name", "target", "wrt", "watch")
        tape = Tape(
            lambda: self.shell.user_ns,
            label=self.label,
            budget=self.settings.budget_bytes,
            keep=self.telling
            or any(getattr(session.options, w, None) for w in asked)
            or bool(depth(session.options))
            or runs_again(session.options),
            eager=getattr(session.options, "eager", False),
            rebound=self._once.rebound(),
        )
        if self.telling:
            session.story = True
            self.story = tape
        return tape

    def label(self, filename: str) -> str:
        """``In [3]`` for a cell of this shell, the file's own name for anything else."""
        names = getattr(self.shell.compile, "_filename_map", {})
        if filename in names:
            return f"In [{names[filename]}]"
        return filename.replace("\\", "/").rpartition("/")[2]

    def _finish(
        self, session: Session, error: BaseException | None, value: Any, *, later: bool = False
    ) -> None:
        """``later``: shown under the traceback, once the cell around has ended.

        Whatever fails in here is ours: one line says so, and the cell stays as it was.
        """
        try:
            with calm(), _numbers_unheard():
                self._stop(session, error)
                self._conclude(session, error, value)
        except (Exception, KeyboardInterrupt) as failure:
            _tell(failure)
        else:
            if later:
                self._raised.append(session)
            else:
                self._show(session)

    def _show(self, session: Session) -> None:
        try:
            with off(), _numbers_unheard():
                session.show(session)
        except (Exception, KeyboardInterrupt) as failure:
            _tell(failure)
        if session.tape is not None:
            session.tape.forget_names()

    def _stop(self, session: Session, error: BaseException | None) -> None:
        if not self._running:
            self._show_frames_again()
        if session.cancel is not None:
            session.cancel()
        if session.tape is not None:
            session.tape.stop(error)
        if session.live is not None:
            session.live.close()

    def _conclude(self, session: Session, error: BaseException | None, value: Any) -> None:
        """Differentiate what was asked, then keep what was named and let the rest go."""
        tape = session.tape
        if tape is None:
            session.note = session.note or self._why_nothing(session)
            return
        try:
            if error is None and tape.ran:
                self._differentiate(session, tape, value)
        finally:
            self._keep(session, tape)

    def _differentiate(self, session: Session, tape: Tape, value: Any) -> None:
        from tfmagic.notebook.gradient_request import depth, wish

        options = session.options
        asked = getattr(options, "target", None) or getattr(options, "wrt", None)
        if options.quiet and not (asked or options.output) and len(tape.log.entries) > _UNASKED:
            tape.note(Message.of("cells.quiet_no_gradient", n=_UNASKED))
            return
        try:
            tape.infer(wish(options, self.shell.user_ns), value)
            tape.deepen(depth(options))
        except TfmagicError as error:
            if asked or not (session.story or tape.trained):
                tape.note(error.message)
        except Exception as error:
            tape.note(Message.of("cells.not_differentiated", detail=_one_line(error)))

    def _keep(self, session: Session, tape: Tape) -> None:
        name = getattr(session.options, "name", None)
        if name:
            self.shell.user_ns[name] = tape
        elif not session.story and not runs_again(session.options):
            tape.release()
        self.last_tape = tape
        if session.options.output:
            self.shell.user_ns[session.options.output] = tape.recording

    def _why_nothing(self, session: Session) -> str:
        if session.story:
            return ""
        if importlib.util.find_spec("tensorflow") is None:
            return say("tensorflow.missing")
        return say("cells.no_tensorflow", magic=session.magic)

    @property
    def last(self) -> Recording | None:
        """The last recording, or None."""
        return None if self.last_tape is None else self.last_tape.recording

    # -- a story of several cells -------------------------------------------------

    def begin_story(self) -> None:
        """Record every following cell into one recording."""
        self.telling = True

    def end_story(self) -> None:
        """Record no more cells by themselves, and let the tensors go."""
        self.telling = False
        if self.story is not None:
            self.story.release()
            self.story = None

    # -- tracebacks ---------------------------------------------------------------

    @contextlib.contextmanager
    def frames_hidden(self) -> Iterator[None]:
        """Tracebacks of the block, and of the cell that it stands in, are shown without ours."""
        self._strip_frames()
        try:
            yield
        finally:
            if not self._running:
                self._show_frames_again()

    def _strip_frames(self) -> None:
        """While a recorded cell runs, a traceback is shown without the recorder's frames."""
        hide_frames()
        shell, original = self.shell, getattr(self.shell, "_get_exc_info", None)
        if original is None or "_get_exc_info" in vars(shell):
            return

        def without_ours(*args: Any, **kwargs: Any) -> Any:
            found = original(*args, **kwargs)
            for error in _chain(found[1]):
                error.__traceback__ = without_frames(error.__traceback__)
            trace = found[1].__traceback__ if found[1] is not None else found[2]
            return (*found[:2], trace)

        shell._get_exc_info = without_ours

    def _show_frames_again(self) -> None:
        show_frames()
        vars(self.shell).pop("_get_exc_info", None)


def _numbers_unheard() -> contextlib.AbstractContextManager[Any]:
    """What our figures overflow or divide by is neither warned of nor raised for."""
    numpy = sys.modules.get("numpy")
    return contextlib.nullcontext() if numpy is None else numpy.errstate(all="ignore")


def runs_again(options: Any) -> bool:
    """Whether what is shown runs the ops again, so that it is what lets the tensors go."""
    return getattr(options, "tweak", None) is not None or getattr(options, "cost", False)


def _no_expression(magic: str, words: Sequence[str]) -> None:
    """A cell magic takes the cell: what the line magic of the same name would take is refused."""
    if words:
        given = source_of(words)
        raise OptionError(
            "options.no_expression", magic="%%" + magic, given=given, line=f"%{magic} {given}"
        )


def options_name(magic: str) -> str:
    """How the name that a magic binds is called in a message."""
    return f"%%{magic} NAME"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _one_line(error: BaseException) -> str:
    text = str(error).strip().split("\n")[0][:300]
    return text if isinstance(error, TfmagicError) else f"{type(error).__name__}: {text}"


def _tell(failure: BaseException) -> None:
    """What kept a report from being shown; nothing where standard output is closed or full."""
    line = _one_line(failure)
    with contextlib.suppress(OSError, ValueError):
        show_line(
            line if isinstance(failure, OptionError) else say("cells.view_failed", detail=line)
        )


def show_line(text: str) -> None:
    """One line for the user, as text in a terminal and as HTML in a notebook."""
    if text:
        display(View.of_line(text))
