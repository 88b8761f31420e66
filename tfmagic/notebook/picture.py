"""A static picture, and under it the way into the live one where a frontend can show that."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from tfmagic.notebook.view import Bundle, show

__all__ = ["show_picture"]

_MARK = 'class="tfmagic-picture"'


def show_picture(shell: Any, make: Callable[[], Any], live: bool = True) -> None:
    """Show a graph or a report; ``live`` is whether the user wants to open it."""
    name = f"tfmagic-picture-{uuid4().hex[:12]}"
    shown: list[Any] = []

    def named() -> Bundle:
        view = make()
        bundle: Bundle = view.mimebundle()
        before, mark, after = bundle.get("text/html", "").rpartition(_MARK)
        if live and mark and _has_cells(shell):
            bundle = {**bundle, "text/html": f'{before}class="tfmagic-picture {name}"{after}'}
            shown.append(getattr(view, "traced", view))
        return bundle

    show(named)
    with contextlib.suppress(Exception):  # the picture stands without it
        for view in shown:
            _door(view, name)


def _has_cells(shell: Any) -> bool:
    """Whether a frontend with cells asked for this, and not a program that runs a notebook."""
    from tfmagic.notebook.panels.base import place

    return hasattr(shell, "kernel") and bool(place().cell)


def _door(view: Any, name: str) -> None:
    from tfmagic.notebook.panels.deferred_graph import DeferredGraph

    if view.recording is not None:
        DeferredGraph(view, name).show()
