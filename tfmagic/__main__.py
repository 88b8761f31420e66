"""The command ``tfmagic``, or ``python -m tfmagic``: each sub-command is one function."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from tfmagic.language import say


def doctor(_: argparse.Namespace) -> int:
    """Say what works here; 1 where something that is needed does not."""
    from tfmagic.notebook.doctor import report

    lines, fine = report()
    print("\n".join(lines))
    return 0 if fine else 1


#: Sub-command → what runs it; its help stands in the catalogue under ``doctor.help_…``.
COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {"doctor": doctor}


def main(words: Sequence[str] | None = None) -> int:
    """Run the sub-command that the words name, ``doctor`` where there is none."""
    parser = argparse.ArgumentParser(prog="tfmagic", description=say("doctor.help"))
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name in COMMANDS:
        commands.add_parser(name, help=say(f"doctor.help_{name}"))
    options = parser.parse_args(words)
    return COMMANDS[options.command or "doctor"](options)


if __name__ == "__main__":
    sys.exit(main())
