"""The last step of every output: a mimebundle that degrades and never breaks the cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from IPython.display import display

from tfmagic.language import say

Bundle = dict[str, str]


class View:
    """Something to display; its bundle is made when it is shown."""

    def __init__(self, bundle: Callable[[], Bundle]) -> None:
        self._bundle = bundle

    @classmethod
    def of_line(cls, text: str) -> View:
        """A single line."""
        from tfmagic.render.html import line

        return cls(lambda: {"text/plain": text, "text/html": line(text)})

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Bundle:
        try:
            return self._bundle()
        except Exception as error:  # a view that fails says so and leaves the cell alone
            return {"text/plain": _failed(error)}


def show(bundle: Callable[[], Bundle]) -> None:
    """Display a bundle; whatever goes wrong in it becomes one line of text."""
    try:
        display(View(bundle))
    except Exception as error:
        print(_failed(error))


def _failed(error: Exception) -> str:
    return say("cells.view_failed", detail=f"{type(error).__name__}: {error}"[:300])
