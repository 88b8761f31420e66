"""Options of the magics: parsing with one clear line on errors, help, and their names."""

from __future__ import annotations

import argparse
import ast
import difflib
import keyword
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from IPython.core.error import UsageError
from IPython.utils.process import arg_split

from tfmagic.errors import OptionError, TfmagicError
from tfmagic.language import say

#: How like an option a word must be to be taken for a slip of the finger.
_NEAR = 0.6


def natural(word: str) -> int:
    """The type of an option that takes 0, 1, 2 …"""
    if int(word) < 0:
        raise ValueError(word)
    return int(word)


class HelpShown(Exception):
    """``--help`` was given and answered: there is nothing more to do."""


class Sentences(argparse.ArgumentParser):
    """A parser that refuses with :class:`OptionError`: one line, in the user's language."""

    def __init__(self, prog: str, **others: Any) -> None:
        super().__init__(prog=prog, add_help=False, allow_abbrev=False, **others)

    def error(self, message: str) -> NoReturn:
        raise OptionError("options.error", magic=self.prog, detail=message)

    def names(self) -> list[str]:
        """Every option as one types it."""
        return [name for action in self._actions for name in action.option_strings]

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        try:
            return super()._get_value(action, arg_string)
        except argparse.ArgumentError:
            kind = getattr(action.type, "__name__", "")
            raise OptionError(
                f"options.not_{kind}", option=_called(action), given=arg_string
            ) from None

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            possible = [str(choice) for choice in action.choices]
            close = difflib.get_close_matches(str(value), possible, 1, _NEAR)
            raise OptionError(
                "options.choice_near" if close else "options.choice",
                option=_called(action),
                given=str(value),
                known=", ".join(possible),
                near=close[0] if close else "",
            )

    def _match_argument(self, action: argparse.Action, arg_strings_pattern: str) -> int:
        try:
            return super()._match_argument(action, arg_strings_pattern)
        except argparse.ArgumentError:
            raise OptionError(
                "options.needs_value",
                option=_called(action),
                value=_argument(action),
                magic=self.prog,
            ) from None

    def refuse(self, given: str) -> NoReturn:
        """Say of a word that nothing took what is most like it."""
        word = given.partition("=")[0]
        if not word.startswith("-"):
            raise OptionError("options.too_many", magic=self.prog, given=given)
        bare = {name.lstrip("-"): name for name in self.names()}
        close = difflib.get_close_matches(word.lstrip("-"), bare, 1, _NEAR)
        raise OptionError(
            "options.unknown" if close else "options.unknown_far",
            magic=self.prog,
            given=given,
            near=bare[close[0]] if close else "",
        )


class Options(Sentences):
    """The options of one magic; their help stands in the catalogue under ``help.…``."""

    def __init__(self, magic: str) -> None:
        super().__init__(magic)
        self.magic = magic
        self.add_argument("-h", "--help", action="store_true", help="help.help")

    def parse(self, line: str) -> argparse.Namespace:
        """The options in ``line``; :class:`OptionError` for any that does not fit."""
        try:
            words = list(_words(line))
        except ValueError:
            raise OptionError("options.unclosed", magic=self.magic, given=line.strip()) from None
        parsed, unknown = self.parse_known_args(words)
        if parsed.help:
            print(self.format_help().rstrip())
            raise HelpShown
        if unknown:
            self.refuse(unknown[0])
        return parsed

    def format_help(self) -> str:
        """Usage and options, in the user's language."""
        rows = [
            (", ".join(a.option_strings) or (a.metavar or a.dest), _argument(a), say(str(a.help)))
            for a in self._actions
        ]
        heads = [f"  {name} {argument}".rstrip() for name, argument, _ in rows]
        width = max(map(len, heads)) + 2
        lines = [f"{h:<{width}}{text}" for h, (_, _, text) in zip(heads, rows, strict=True)]
        return "\n".join([say(f"help.{self.magic.lstrip('%')}"), "", *lines]) + "\n"


def _called(action: argparse.Action) -> str:
    return action.option_strings[-1] if action.option_strings else str(action.metavar)


def _argument(action: argparse.Action) -> str:
    if not action.option_strings or action.nargs == 0:
        return ""
    return str(action.metavar or action.dest.upper())


class _Word(str):
    """A word of the line without the quotes around it, which ``typed`` still has, and the
    blank before it."""

    __slots__ = ("typed",)
    typed: str

    @classmethod
    def of(cls, typed: str, before: str) -> _Word:
        word = cls(_unquoted(typed))
        word.typed = before + typed
        return word


def _words(line: str) -> Iterator[_Word]:
    """The words of a line; a quotation may end one without a blank."""
    end = 0
    for typed in arg_split(line, posix=False):
        start = line.find(typed, end)
        yield _Word.of(typed, "" if start == end else " ")
        end = start + len(typed)


def source_of(words: Iterable[str]) -> str:
    """The Python expression that words of a parsed line make, with its quotes."""
    return "".join(getattr(word, "typed", f" {word}") for word in words).strip()


def _unquoted(word: str) -> str:
    """``"a b"`` without its quotes; an expression such as ``grads['w']`` as it is."""
    if len(word) >= 2 and word[0] == word[-1] and word[0] in "\"'":
        return word[1:-1]
    name, sign, value = word.partition("=")
    if sign and name.startswith("--"):
        return name + sign + _unquoted(value)
    return word


def expression_names(expression: str) -> tuple[str, ...]:
    """``A,B`` or ``[A, B]`` as the separate expressions they are."""
    try:
        body = ast.parse(expression, mode="eval").body
    except SyntaxError:
        return (expression,)
    if isinstance(body, (ast.Tuple, ast.List)):
        return tuple(ast.unparse(part) for part in body.elts)
    return (expression,)


def identifier(word: str | None, option: str) -> str | None:
    """``word`` where it can be a variable's name; :class:`OptionError` where it cannot."""
    if word is not None and (not word.isidentifier() or keyword.iskeyword(word)):
        raise OptionError("options.no_identifier", option=option, given=word)
    return word


def usage_error(error: TfmagicError) -> UsageError:
    """One line without a traceback, as IPython shows a wrong use of a magic."""
    return UsageError(str(error))
