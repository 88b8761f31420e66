"""``%%tape --live``: the courses of a training run grow under its cell while it goes on.

In a notebook a display that is renewed, with a button that stops the training after the step
that is going on; in a terminal one line that renews itself.  Both go when the cell ends: what
stays is the report.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from typing import Any

from IPython.display import display

from tfmagic.language import say
from tfmagic.notebook.view import View

__all__ = ["Live"]


class Live:
    """What is shown of one cell while it trains."""

    def __init__(self, shell: Any) -> None:
        self._kernel = getattr(shell, "kernel", None) is not None
        self._handle: Any = None
        self._button: Any = None
        self._knob: Any = None
        self._line = ""

    def show(self, followed: Mapping[str, Any], seconds: float) -> None:
        """Show the courses so far."""
        from tfmagic.render import live

        if not followed:
            return
        if not self._kernel:
            self._renew(live.line(followed, seconds))
            return
        text, markup = live.line(followed, seconds), live.courses(followed, seconds)
        view = View(lambda: {"text/plain": text, "text/html": markup})
        if self._handle is None:
            self._place_button()
            self._handle = display(view, display_id=True)
        else:
            self._handle.update(view)

    def _place_button(self) -> None:
        with contextlib.suppress(Exception):  # the courses stand without it
            from tfmagic.notebook.panels.stop import Stop

            self._button = Stop(words=say("live.stop"), asked=say("live.stopping"))
            self._knob = display(self._button, display_id=True)

    def _renew(self, line: str) -> None:
        if sys.stderr is not None and sys.stderr.isatty():
            self._line = line[:78]
            print(f"\r{self._line}\x1b[K", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """The cell is over."""
        with contextlib.suppress(Exception):
            if self._line:
                print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            for handle in (self._knob, self._handle):
                if handle is not None:
                    handle.update({"text/plain": ""}, raw=True)
            if self._button is not None:
                self._button.close()
