"""Every sentence that tfmagic says, in Korean and in English.

The catalogues are the folders ``en`` and ``ko`` beside this file, one TOML file for
each subject: the same keys in both, the same ``{placeholders}``.  The sentence
``too_large`` of ``load.toml`` is ``say("load.too_large", …)``.  A sentence that depends
on a number has the forms ``one`` and ``other``, chosen by the value of ``n``; Korean
needs only ``other``.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Self

__all__ = ["LANGUAGES", "Message", "catalogue", "current", "guess", "hint", "say", "use"]

LANGUAGES = ("en", "ko")
_chosen: str | None = None
_hinted: str | None = None


def hint(language: str | None) -> None:
    """Go by ``language``, the notebook's own, before the locale where none is chosen."""
    global _hinted
    _hinted = language


def use(language: str | None) -> None:
    """Speak ``language`` from now on; None or ``"auto"`` goes by :func:`guess`."""
    global _chosen
    if language in (None, "", "auto"):
        _chosen = None
        return
    if language not in LANGUAGES:
        raise ValueError(say("language.unknown", given=language, known=", ".join(LANGUAGES)))
    _chosen = language


def current() -> str:
    """The language that is spoken now: ``"en"`` or ``"ko"``."""
    return _chosen or guess()


def guess() -> str:
    """The notebook's language; without one that of the locale, which is Korean or English."""
    if _hinted is not None:
        return _hinted
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(name, "")
        if value:
            return "ko" if value.lower().startswith("ko") else "en"
    return "en"


def say(key: str, **values: Any) -> str:
    """The sentence for ``key`` in the language that is spoken now, filled in."""
    return _form(catalogue(current())[key], values).format(**values)


def _form(entry: Any, values: dict[str, Any]) -> str:
    if isinstance(entry, str):
        return entry
    form = "one" if values.get("n") == 1 and "one" in entry else "other"
    return str(entry[form])


@cache
def catalogue(language: str) -> dict[str, Any]:
    """All sentences of one language: ``"subject.key"`` → text, or its number forms."""
    folder = files("tfmagic.language").joinpath(language)
    return {
        f"{subject.name.removesuffix('.toml')}.{key}": sentence
        for subject in folder.iterdir()
        if subject.name.endswith(".toml")
        for key, sentence in tomllib.loads(subject.read_text(encoding="utf-8")).items()
    }


@dataclass(frozen=True, slots=True)
class Message:
    """Something to say, by the key of its sentence and the values that fill it.

    What is worked out and kept says so by these; ``str(message)`` words it in the language that
    is spoken when it is shown.  A value may be a message itself, or a tuple of values.
    """

    key: str
    values: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, key: str, **values: Any) -> Self:
        """``Message.of("gap.python", n=3)``."""
        return cls(key, tuple(values.items()))

    @classmethod
    def plain(cls, text: str) -> Self:
        """Somebody else's words, which stay as they are."""
        return cls("", (("text", text),))

    def __str__(self) -> str:
        filled = {name: _filling(value) for name, value in self.values}
        return say(self.key, **filled) if self.key else filled["text"]


def _filling(value: Any) -> Any:
    """What stands for a value in a sentence: its own words, or those of many in a row."""
    if isinstance(value, Message):
        return str(value)
    return ", ".join(map(str, value)) if isinstance(value, tuple) else value
