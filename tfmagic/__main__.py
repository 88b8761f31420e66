"""The command ``tfmagic``, or ``python -m tfmagic``: each sub-command is one function."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from tfmagic import __version__
from tfmagic.errors import OptionError
from tfmagic.language import say
from tfmagic.notebook.options import Sentences


def doctor(_: argparse.Namespace) -> int:
    """Say what works here; 1 where something that is needed does not."""
    from tfmagic.notebook.doctor import report

    lines, fine = report()
    print("\n".join(lines))
    return 0 if fine else 1


def worker(options: argparse.Namespace) -> int:
    """Serve TensorFlow to others until Ctrl-C; 1 where that cannot be done."""
    from tfmagic.errors import TfmagicError
    from tfmagic.runtime import private
    from tfmagic.runtime.cluster.serve import HERE, serve

    try:
        server, port = serve(options.host, options.port)
    except TfmagicError as error:
        print(error, file=sys.stderr)
        return 1
    here = options.host in HERE
    with contextlib.suppress(KeyboardInterrupt):  # it may come as soon as the way to end is printed
        print(say("cluster.serving", release=private.release(), host=options.host, port=port))
        print(say("cluster.loopback" if here else "cluster.open"))
        print(say("cluster.serving_end"), flush=True)
        while True:  # the signal may wake one of TensorFlow's threads instead: look up now and then
            time.sleep(0.5)
    del server
    return 0


def worker_options(parser: argparse.ArgumentParser) -> None:
    """Options of ``tfmagic worker``."""
    parser.add_argument("--port", type=int, default=0, help=say("doctor.worker_port"))
    parser.add_argument("--host", default="127.0.0.1", help=say("doctor.worker_host"))


def run(options: argparse.Namespace) -> int:
    """Run a script or module, recorded; its own exit code, 2 where there is nothing to run."""
    from tfmagic.notebook.script import main_module, parsed, run_script

    try:
        request = parsed(options.words)
        module, code = main_module(request)
    except OptionError as error:
        print(error, file=sys.stderr)
        return 2
    return run_script(request, module, code)


#: Sub-command → what runs it; its help stands in the catalogue under ``doctor.help_…``.
COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "doctor": doctor,
    "worker": worker,
    "run": run,
}


def run_options(parser: argparse.ArgumentParser) -> None:
    """What ``tfmagic run --help`` tells; the words are parsed by ``notebook.script``."""
    parser.add_argument("-m", metavar="MODULE", help=say("doctor.run_module"))
    for name in ("html", "json", "log"):
        parser.add_argument(f"--{name}", metavar="PATH", help=say(f"doctor.run_{name}"))
    parser.add_argument("words", nargs="*", metavar="SCRIPT", help=say("doctor.run_words"))


#: Sub-command → what adds its options, where it has any.
OPTIONS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "worker": worker_options,
    "run": run_options,
}


class Command(Sentences):
    """The options of ``tfmagic``, or of one of its sub-commands."""

    def __init__(self, prog: str, **others: Any) -> None:
        super().__init__(prog, **others)
        self.add_argument("-h", "--help", action="help", help=say("help.help"))


def main(words: Sequence[str] | None = None) -> int:
    """Run the sub-command that the words name, ``doctor`` where there is none; 2 where the
    words do not fit."""
    parser = Command("tfmagic", description=say("doctor.help"))
    parser.add_argument(
        "--version", action="version", version=f"tfmagic {__version__}", help=say("doctor.version")
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Command)
    inner = {name: commands.add_parser(name, help=_literally(name)) for name in COMMANDS}
    for name, add in OPTIONS.items():
        add(inner[name])
    given = list(sys.argv[1:] if words is None else words)
    if given[:1] == ["run"] and not {"-h", "--help"} & set(given[1:2]):
        return run(argparse.Namespace(words=given[1:]))  # what follows is a script's, not ours
    try:
        options, unknown = parser.parse_known_args(given)
        if unknown:
            inner.get(options.command, parser).refuse(unknown[0])
    except OptionError as error:
        print(error, file=sys.stderr)
        return 2
    return COMMANDS[options.command or "doctor"](options)


def _literally(name: str) -> str:
    """The help of a sub-command, with every percent sign as it is."""
    return say(f"doctor.help_{name}").replace("%", "%%")


if __name__ == "__main__":
    sys.exit(main())
