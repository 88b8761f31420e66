"""Tab completion of the magics' options and of the names they take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfmagic.notebook.options import Options

try:  # IPython 8.6 and later
    from IPython.core.completer import SimpleCompletion, context_matcher
except ImportError:
    context_matcher = None

_NAMES = ("--target", "--wrt", "--watch")


class Completion:
    """One matcher for all magics; an instance belongs to a shell."""

    _of: dict[int, Any] = {}  # noqa: RUF012 - one matcher per shell, kept to be removed

    @classmethod
    def attach(cls, shell: Any, parsers: Mapping[str, Options]) -> None:
        """Add the matcher to the shell's completer, where it can take one."""
        completer = getattr(shell, "Completer", None)
        if completer is None or context_matcher is None:
            return
        matcher = _matcher(shell, parsers)
        completer.custom_matchers.append(matcher)
        cls._of[id(shell)] = matcher

    @classmethod
    def detach(cls, shell: Any) -> None:
        """Take the matcher out again."""
        matcher = cls._of.pop(id(shell), None)
        if matcher is not None:
            shell.Completer.custom_matchers.remove(matcher)


def _matcher(shell: Any, parsers: Mapping[str, Options]) -> Any:
    @context_matcher()  # type: ignore[untyped-decorator, unused-ignore]
    def tfmagic_options(context: Any) -> Any:
        words = candidates(context.line_with_cursor, context.token, parsers, shell.user_ns)
        found = [SimpleCompletion(word, type="param") for word in words]
        return {"completions": found, "suppress": bool(found)}

    return tfmagic_options


def candidates(
    line: str, token: str, parsers: Mapping[str, Options], namespace: Mapping[str, Any]
) -> list[str]:
    """What can stand where the cursor is: options after a dash, names after an option."""
    name, _, rest = line.lstrip("%").partition(" ")
    if not line.startswith("%") or name not in parsers or (not rest and not line.endswith(" ")):
        return []
    if name == "tape" and not line.startswith("%%"):
        return [word for word in ("on", "off") if word.startswith(token)]
    if token.startswith("-"):
        return [word for word in parsers[name].names() if word.startswith(token)]
    before = rest[: len(rest) - len(token)].split()
    if (before and before[-1].rstrip(",") in _NAMES) or name == "tfgraph":
        return [n for n in namespace if n.startswith(token) and not n.startswith("_")]
    return []
