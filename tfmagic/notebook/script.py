"""``tfmagic run train.py``: a script as Python itself would run it, recorded.

The script is ``__main__``, with its own arguments, import path, exit code and traceback.
The report is written when it ends, raises, is interrupted, or leaves by ``os._exit``; what
keeps it from being written is one line on standard error, and changes nothing else.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib.util
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from tfmagic.errors import OptionError, TfmagicError
from tfmagic.language import say
from tfmagic.notebook.tracebacks import hide_frames, show_frames, without_frames
from tfmagic.runtime.arrival import when_imported

if TYPE_CHECKING:
    from tfmagic.runtime.tape.tape import Tape

__all__ = ["Request", "main_module", "parsed", "run_script"]

#: Option → what the file must end in.
_FILES = {"--html": ".html", "--json": ".json", "--log": ""}


@dataclass(slots=True)
class Request:
    """What ``tfmagic run`` was asked: the script or module, its own words, and the files."""

    target: str = ""
    words: list[str] = field(default_factory=list)
    module: bool = False
    files: dict[str, str] = field(default_factory=dict)


def parsed(words: Sequence[str]) -> Request:
    """The words behind ``tfmagic run``.

    Our options stand before the script, or behind its own; where some stand before it, or
    behind ``--``, all that follows is the script's.  Raises
    :class:`~tfmagic.errors.OptionError` for a script that is not named or not there, and for
    a file that cannot be written.
    """
    request, todo = Request(), list(words)
    while todo and not request.target:
        word = todo.pop(0)
        if word == "-m" and todo:
            request.module, request.target = True, todo.pop(0)
        elif not _takes(request, word, todo):
            if word.startswith("-"):
                raise OptionError("script.unknown", given=word, known=", ".join(("-m", *_FILES)))
            request.target = word
    theirs = bool(request.files)
    while todo and not theirs:
        word = todo.pop(0)
        if word == "--":
            break
        if not _takes(request, word, todo):
            request.words.append(word)
    request.words += todo
    if not request.target:
        raise OptionError("script.none")
    for option, path in request.files.items():
        request.files[option] = _checked(option, path)
    return request


def _takes(request: Request, word: str, todo: list[str]) -> bool:
    """Whether a word is an option of ours; then it is taken, with the file behind it."""
    name, equals, value = word.partition("=")
    if name not in _FILES:
        return False
    if not equals and not todo:
        raise OptionError("script.needs_file", option=name)
    request.files[name] = value if equals else todo.pop(0)
    return True


def _checked(option: str, path: str) -> str:
    """The whole path, wherever the script goes: a folder for TensorBoard is made at once."""
    from tfmagic.render import files

    ending = _FILES[option]
    found = files.checked(path, [ending])[0] if ending else files.folder(path)
    return str(found.absolute())


def run_script(request: Request, module: ModuleType, code: CodeType) -> int:
    """Run it, and write the report; what the script raises passes.  0 where it ends well."""
    report = _Report(request, module)
    sys.modules["__main__"] = module  # and stays it: what it leaves behind may still look
    with contextlib.ExitStack() as undo:
        undo.callback(when_imported("tensorflow", report.listen))
        undo.callback(show_frames)
        hide_frames()
        undo.enter_context(_last_words(report.write))
        try:
            exec(code, module.__dict__)
        except BaseException as error:
            report.write(error)
            if not isinstance(error, SystemExit):
                _show_without_ours()
            raise
        report.write(None)
    return 0


def main_module(request: Request) -> tuple[ModuleType, CodeType]:
    """The module that the script becomes, and its code; ``sys`` tells of it as of any script.

    Raises :class:`~tfmagic.errors.OptionError` for a file or module that is not there.
    """
    module = ModuleType("__main__")
    vars(module)["__builtins__"] = builtins
    if request.module:
        sys.path[0:1] = [os.getcwd()]
        path, code = _of_module(request.target, module)
    else:
        path, code = _of_file(request.target)
        vars(module)["__cached__"] = None
    module.__file__ = os.path.abspath(path)
    sys.argv[:] = [path, *request.words]
    return module, code


def _of_file(target: str) -> tuple[str, CodeType]:
    place = Path(target)
    sys.path[0:1] = [str((place if place.is_dir() else place.parent).resolve())]
    path = str(place / "__main__.py") if place.is_dir() else target
    try:
        with io.open_code(path) as file:
            source = file.read()
    except OSError as error:
        detail = error.strerror or str(error)
        raise OptionError("script.not_there", path=target, detail=detail) from None
    return path, compile(source, os.path.abspath(path), "exec", dont_inherit=True)


def _of_module(name: str, module: ModuleType) -> tuple[str, CodeType]:
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{name}.__main__")
    except (ImportError, ValueError) as error:
        raise OptionError("script.no_module", name=name, detail=str(error)[:200]) from None
    loader: Any = spec.loader if spec is not None else None
    code = loader.get_code(spec.name) if spec is not None and loader is not None else None
    if spec is None or code is None:
        raise OptionError("script.no_module", name=name, detail="")
    module.__spec__, module.__loader__, module.__package__ = spec, spec.loader, spec.parent
    return spec.origin or name, code


class _Report:
    """The recording of a script, written once however the script ends."""

    def __init__(self, request: Request, module: ModuleType) -> None:
        self._request = request
        self._module = module
        self._process = os.getpid()
        self._tape: Tape | None = None
        self._note = ""
        self._written = False

    def listen(self) -> None:
        """TensorFlow is there: record from now on."""
        from tfmagic.runtime.tape.tape import Tape

        try:
            tape = Tape(lambda: vars(self._module), label=os.path.basename, keep=False)
            tape.start()
        except Exception as error:
            self._note = str(error)
        else:
            self._tape = tape

    def write(self, error: BaseException | None) -> None:
        """The script is over: say what it did, and write the files that were asked for.

        Nothing in a child that the script forked, and nothing twice.
        """
        if self._written or os.getpid() != self._process:
            return
        self._written = True
        try:
            self._write(error)
        except (Exception, KeyboardInterrupt) as failure:  # the script's end is not ours to change
            _tell(say("cells.view_failed", detail=f"{type(failure).__name__}: {failure}"[:300]))

    def _write(self, error: BaseException | None) -> None:
        tape = self._tape
        if tape is None:
            _tell(self._note or say("script.no_tensorflow", name=self._request.target))
            return
        left = isinstance(error, SystemExit) and not error.code
        tape.stop(None if left else error)
        if error is None and not tape.recording.runs:
            with contextlib.suppress(TfmagicError):  # no gradient is told of then
                tape.infer()
        from tfmagic.render.report import Report

        report = Report(tape.release().recording, os.path.basename(self._request.target))
        written = [path for path in self._request.files.values() if _saved(report, path)]
        if len(written) < max(1, len(self._request.files)):
            _tell(report.text(width=80, colour=False))
        for path in written:
            _tell(say("script.written", path=path))


def _saved(report: Any, path: str) -> bool:
    try:
        report.save(path)
    except (TfmagicError, OSError) as error:
        _tell(str(error))
        return False
    return True


def _tell(text: str) -> None:
    """To standard error: standard output is the script's own."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _last_words(write: Callable[[BaseException | None], None]) -> Any:
    """Have ``write`` called before ``os._exit`` and before a SIGTERM that nobody handles."""
    leave = os._exit

    def leaving(status: int) -> NoReturn:
        write(SystemExit(status))
        leave(status)

    def ended(number: int, frame: object) -> None:
        write(SystemExit(128 + number))
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    os._exit = leaving
    handled = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if handled:
        signal.signal(signal.SIGTERM, ended)
    try:
        yield
    finally:
        if os._exit is leaving:
            os._exit = leave
        if handled and signal.getsignal(signal.SIGTERM) is ended:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _show_without_ours() -> None:
    """The traceback that ends the process begins in the script."""
    shown = sys.excepthook

    def without(kind: Any, error: Any, trace: Any) -> None:
        trace = without_frames(trace)
        while trace is not None and trace.tb_next is not None and _is_start(trace):
            trace = trace.tb_next
        if error is not None:
            error.__traceback__ = trace
        shown(kind, error, trace)

    sys.excepthook = without


def _is_start(trace: Any) -> bool:
    """A frame of whatever started us: of the command, of ``python -m``."""
    return trace.tb_frame.f_globals is not vars(sys.modules["__main__"])
