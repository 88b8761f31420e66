"""Text from the user, made safe to look at: no control characters, no direction marks.

Markup is escaped by ``markupsafe`` in :mod:`tfmagic.render.html` and by
:mod:`tfmagic.render.dot` for labels; what stands here comes before either.
"""

from __future__ import annotations

import unicodedata

__all__ = ["clipped", "visible"]

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_STANDS_FOR = "\N{REPLACEMENT CHARACTER}"
# Emoji families and some scripts are written with this joiner; alone it moves nothing.
_JOINER = "\N{ZERO WIDTH JOINER}"


def visible(text: str, *, lines: bool = False) -> str:
    """``text`` with every character that cannot be seen replaced by ``�``.

    That takes terminal escapes, NULs, halves of surrogates and marks that turn the
    direction of writing around.  White space becomes a blank; with ``lines`` a line
    break stays one.
    """
    if text.isprintable():  # the common case, told at once
        return text
    return "".join(_visible(c, lines) for c in text)


def _visible(character: str, lines: bool) -> str:
    if (character == "\n" and lines) or character == _JOINER:
        return character
    if character.isspace():
        return " " if character != "\N{NO-BREAK SPACE}" else character
    return _STANDS_FOR if unicodedata.category(character) in _UNSEEN else character


def clipped(text: str, most: int) -> str:
    """At most ``most`` characters of ``text``, ending in ``…`` where something is missing."""
    return text if len(text) <= most else text[: most - 1] + "…"
