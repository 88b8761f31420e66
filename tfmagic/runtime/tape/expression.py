"""What the user's expressions stand for, and the nearest name where they stand for nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfmagic.errors import OptionError
from tfmagic.language import Message

__all__ = ["evaluate"]


def evaluate(expression: str, namespace: Mapping[str, Any], option: str) -> Any:
    """What the user's ``expression`` stands for in their namespace.

    Raises :class:`OptionError`, one line, where it stands for nothing.
    """
    try:
        return eval(expression, dict(namespace))
    except NameError as error:
        name = getattr(error, "name", None) or expression
        raise OptionError(
            "tape.no_such_name", option=option, given=name, near=_near(name, namespace)
        ) from None
    except Exception as error:
        raise OptionError(
            "tape.bad_expression",
            option=option,
            given=expression,
            detail=f"{type(error).__name__}: {error}"[:200],
        ) from None


def _near(name: str, namespace: Mapping[str, Any]) -> Message | str:
    import builtins
    import difflib

    known = [n for n in namespace if not n.startswith("_") and not hasattr(builtins, n)]
    close = difflib.get_close_matches(name, known, 1, 0.75)
    return Message.of("tape.near", name=close[0]) if close else ""
