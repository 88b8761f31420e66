"""``%tfbench`` and ``%%tfbench``: the stopwatch, with the options of ``%timeit`` and more."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
from tfmagic.notebook.cells import show_line
from tfmagic.notebook.magics.base import Family
from tfmagic.notebook.options import HelpShown, Options, identifier, usage_error
from tfmagic.notebook.progress import Progress
from tfmagic.notebook.tracebacks import without_frames

_WORD = re.compile(r"(?:\"[^\"]*\"|'[^']*'|\S)+")
#: ``-o`` without a name.
RETURNED = "·"


def bench_options() -> Options:
    """Options of ``%tfbench`` and ``%%tfbench``."""
    parser = Options("%tfbench")
    add: Any = parser.add_argument
    add("-n", dest="loops", type=int, metavar="N", help="help.bench_loops")
    add("-r", dest="repeat", type=int, metavar="R", help="help.bench_repeat")
    add("-d", "--devices", action="append", metavar="A,B", help="help.bench_devices")
    add("-m", "--modes", action="append", metavar="M,M", help="help.bench_modes")
    add("-s", "--sweep", action="append", metavar="N=A:B:C", help="help.bench_sweep")
    add("--transfer", action="store_true", help="help.bench_transfer")
    add("--cold", action="store_true", help="help.bench_cold")
    add("--keras", action="store_true", help="help.bench_keras")
    add("--ops", action="store_true", help="help.bench_ops")
    add("--keep", action="store_true", help="help.bench_keep")
    add("--vs", metavar="NAME", help="help.bench_vs")
    add("--plot", action="store_true", help="help.bench_plot")
    add("--budget", type=float, metavar="SECONDS", help="help.bench_budget")
    add("--setup", metavar="STATEMENT", help="help.bench_setup")
    add("-p", dest="precision", type=int, default=3, metavar="P", help="help.bench_precision")
    add("-v", dest="verbose", action="store_true", help="help.bench_verbose")
    add("-q", dest="quiet", action="store_true", help="help.quiet")
    add("-o", dest="output", nargs="?", const=RETURNED, metavar="NAME", help="help.bench_output")
    add("--selftest", action="store_true", help="help.bench_selftest")
    add("-t", dest="wall_time", action="store_true", help="help.bench_wall_time")
    add("-c", dest="cpu_time", action="store_true", help="help.bench_cpu_time")
    add("--save", metavar="FILE", help="help.bench_save")
    return parser


@magics_class
class BenchMagics(Family):
    """``%tfbench STATEMENT`` times a statement, ``%%tfbench`` a cell."""

    def __init__(self, *shared: Any) -> None:
        super().__init__(*shared)
        self.parsers = {"tfbench": bench_options()}

    @line_magic("tfbench")
    @no_var_expand
    @output_can_be_silenced
    def bench_line(self, line: str) -> Any:
        """Time a statement."""
        __tracebackhide__ = True
        return self._answer(line, None)

    @cell_magic("tfbench")
    @no_var_expand
    @output_can_be_silenced
    def bench_cell(self, line: str, cell: str) -> Any:
        """Time a cell; what follows the options is its setup."""
        __tracebackhide__ = True
        return self._answer(line, cell)

    def _answer(self, line: str, cell: str | None) -> Any:
        __tracebackhide__ = True
        try:
            options, rest = split(
                line, self.parsers["tfbench"], self.shell.user_ns, cell=cell is not None
            )
            self._check(options)
            if cell is not None:
                rest, options.setup = cell, "\n".join(filter(None, (options.setup, rest)))
            if options.selftest:
                return self._selftest(options)
            if not rest.strip():
                raise UsageError(say("bench.empty"))
            progress = Progress(self.shell, quiet=options.quiet)
            result = self._measured(rest, options, progress)
            if options.output not in (None, RETURNED):
                self.shell.user_ns[options.output] = result
            progress.conclude(result.mimebundle)
            if options.save is not None:
                show_line(say("cells.saved", path=str(result.save(options.save))))
        except HelpShown:
            return None
        except TfmagicError as error:
            raise usage_error(error) from None
        except UsageError:
            raise
        except Exception as error:  # the statement's own: without the frames of the stopwatch
            raise error.with_traceback(without_frames(error.__traceback__)) from error.__cause__
        return result if options.output == RETURNED else None

    def _selftest(self, options: Any) -> Any:
        from tfmagic.api import selftest

        with Progress(self.shell, quiet=options.quiet) as progress:
            found = selftest(progress.move)
        if options.output not in (None, RETURNED):
            self.shell.user_ns[options.output] = found
        progress.conclude(found.mimebundle)
        return found if options.output == RETURNED else None

    def _check(self, options: Any) -> None:
        """Refuse what would be refused after the measurement."""
        from tfmagic.model.bench import MODES
        from tfmagic.render.bench import BenchResult
        from tfmagic.render.files import checked

        if options.output != RETURNED:
            identifier(options.output, "-o")
        if options.cpu_time:
            raise OptionError("bench.no_cpu_time")
        if options.save:
            checked(options.save, BenchResult.FILES)
        if options.devices and not _listed(options.devices):
            raise OptionError("bench.no_devices")
        if options.modes and not _listed(options.modes):
            raise OptionError("bench.no_modes", known=", ".join(MODES))
        if options.precision < 1:
            raise OptionError("bench.at_least_one", option="-p", given=options.precision)

    def _earlier(self, given: str | None) -> Any:
        """The result that ``--vs`` names, or the path of its file."""
        from tfmagic.render.bench import BenchResult

        found = self.shell.user_ns.get(given, given)
        if found is not None and not isinstance(found, (BenchResult, str, Path)):
            raise OptionError("bench.vs_what", given=given)
        return found

    def _measured(self, source: str, options: Any, progress: Progress) -> Any:
        from tfmagic.analysis.sweep import parsed
        from tfmagic.api import bench

        made: dict[str, Any] = {}
        with progress:
            result = bench(
                self.shell.transform_cell(source).rstrip("\n"),
                namespace=self.shell.user_ns,
                setup=options.setup or "",
                devices=_listed(options.devices),
                modes=_listed(options.modes),
                sweep=dict(map(parsed, options.sweep or ())),
                transfer=options.transfer,
                cold=options.cold,
                keras=options.keras,
                ops=options.ops,
                keep=made if options.keep else None,
                vs=self._earlier(options.vs),
                plot=options.plot,
                loops=options.loops,
                repeat=options.repeat,
                budget=options.budget,
                precision=options.precision,
                verbose=options.verbose,
                progress=progress.move,
                title=source.strip(),
            )
        if options.keep:
            self.shell.user_ns.update(made)
        return result


def _listed(given: list[str] | None) -> list[str]:
    """``-d A,B -d C`` as A, B and C."""
    return [word.strip() for one in given or () for word in one.split(",") if word.strip()]


# --- where the options end and the statement begins -----------------------------------------


def split(
    line: str, parser: Options, namespace: Mapping[str, Any], *, cell: bool = False
) -> tuple[Any, str]:
    """The options before and after a statement, and the statement as it was typed; above a
    ``cell`` it is the setup.

    ``x -n`` may be a difference of two names: what follows a statement counts as options
    only where the whole is no Python, or names things that are not there.
    """
    ahead, rest = _leading(line.strip(), parser, namespace, cell)
    statement, behind = _trailing(rest, parser, namespace)
    return parser.parse(f"{ahead} {behind}"), statement


def _leading(
    line: str, parser: Options, namespace: Mapping[str, Any], cell: bool
) -> tuple[str, str]:
    """The options at the beginning, and what comes after them."""
    words = list(_WORD.finditer(line))
    at = 0
    while at < len(words) and _is_option(words[at].group(), parser):
        step = 2 if _wants_value(words[at].group(), parser) else 1
        if words[at].group() == "-o":
            step = 2 if _names_output(words[at + 1 :], cell) else 1
            if step == 1:
                words[at : at + 1] = [_WORD.match(f"-o={RETURNED}")]  # type: ignore[list-item]
        at += step
    ahead = " ".join(word.group() for word in words[:at])
    rest = line[words[at].start() :] if at < len(words) else ""
    name = re.match(r"--?([A-Za-z]\w*)", rest)
    stray = name is not None and _unknown_names(name[1], namespace)
    if stray or (rest.startswith("-") and not _is_python(rest)):
        return f"{ahead} {rest}", ""  # no option that is known: the parser says so
    return ahead, rest


def _names_output(words: list[re.Match[str]], cell: bool) -> bool:
    """Whether the word after ``-o`` is a name to keep the result under: a statement follows it,
    or there is the ``cell``, to which a name alone is no setup."""
    return len(words) > (0 if cell else 1) and words[0].group().isidentifier()


def _trailing(rest: str, parser: Options, namespace: Mapping[str, Any]) -> tuple[str, str]:
    if _is_python(rest) and not _unknown_names(rest, namespace):
        return rest, ""
    for word in _WORD.finditer(rest):
        statement, behind = rest[: word.start()].rstrip(), rest[word.start() :]
        if not (statement and _is_option(word.group(), parser) and _is_python(statement)):
            continue
        if _is_python(rest) and not (_unknown_names(behind, namespace)):
            continue
        return statement, re.sub(r"(?<!\S)-o\s*$", f"-o {RETURNED}", behind)
    return _stray(rest, namespace)


def _stray(rest: str, namespace: Mapping[str, Any]) -> tuple[str, str]:
    """A word like ``--foo`` behind a statement, for the parser to refuse."""
    for found in re.finditer(r"\s--([A-Za-z]\w*)", rest):
        if _is_python(rest[: found.start()]) and _unknown_names(found[1], namespace):
            return rest[: found.start()], rest[found.start() :]
    return rest, ""


def _is_option(word: str, parser: Options) -> bool:
    name = word.partition("=")[0]
    short = re.fullmatch(r"(-[a-z])[\w.:,]*", name)
    return name in parser.names() or bool(short and short[1] in parser.names())


def _wants_value(word: str, parser: Options) -> bool:
    """Whether the value of this option is the next word."""
    for action in parser._actions:
        if word in action.option_strings:
            return action.nargs != 0
    return False


def _is_python(source: str) -> bool:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _unknown_names(source: str, namespace: Mapping[str, Any]) -> set[str]:
    """Names in ``source`` that stand for nothing yet."""
    import builtins

    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {source}
    names = {n.id for n in nodes if isinstance(n, ast.Name)}
    return {n for n in names if n not in namespace and not hasattr(builtins, n)}
