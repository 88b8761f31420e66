"""The command ``tfmagic``, or ``python -m tfmagic``: each sub-command is one function."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Sequence

from tfmagic.language import say


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


#: Sub-command → what runs it; its help stands in the catalogue under ``doctor.help_…``.
COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {"doctor": doctor, "worker": worker}
#: Sub-command → what adds its options, where it has any.
OPTIONS: dict[str, Callable[[argparse.ArgumentParser], None]] = {"worker": worker_options}


def main(words: Sequence[str] | None = None) -> int:
    """Run the sub-command that the words name, ``doctor`` where there is none."""
    parser = argparse.ArgumentParser(prog="tfmagic", description=say("doctor.help"))
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name in COMMANDS:
        command = commands.add_parser(name, help=say(f"doctor.help_{name}"))
        if name in OPTIONS:
            OPTIONS[name](command)
    options = parser.parse_args(words)
    return COMMANDS[options.command or "doctor"](options)


if __name__ == "__main__":
    sys.exit(main())
