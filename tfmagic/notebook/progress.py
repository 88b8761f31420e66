"""How far a long measurement is: one output, which becomes the result when it is there.

In a kernel the bar of ``tqdm`` would stay behind, as a widget that is closed and in the saved
notebook as text.  A display that is updated leaves nothing but what it shows last.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Any

from IPython.display import display

from tfmagic.language import say
from tfmagic.notebook.view import Bundle, View, show

__all__ = ["Progress"]

#: Seconds between two steps that are shown, and squares of the bar.
STEP, SQUARES = 0.2, 20


class Progress:
    """Shows how much is done, in a notebook or in a terminal; nothing where it is ``quiet``."""

    def __init__(self, shell: Any, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._kernel = getattr(shell, "kernel", None) is not None
        self._handle: Any = None
        self._bar: Any = None
        self._shown = -1.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: object, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        if error is not None and self._handle is not None:
            self._handle.update(View(lambda: {"text/plain": ""}))

    def move(self, share: float) -> None:
        """So much of the whole is done, from 0 to 1."""
        if self._quiet or monotonic() < self._shown + STEP:
            return
        self._shown = monotonic()
        share = min(1.0, max(0.0, share))
        if not self._kernel:
            self._in_terminal(share)
        elif self._handle is None:
            self._handle = display(View.of_line(_line(share)), display_id=True)
        else:
            self._handle.update(View.of_line(_line(share)))

    def _in_terminal(self, share: float) -> None:
        if self._bar is None:
            from tqdm import tqdm

            class Bar(tqdm):
                monitor_interval = 0  # else a thread stays behind that looks after bars

            form = "{l_bar}{bar}| {elapsed}"
            self._bar = Bar(total=100, leave=False, bar_format=form)
        self._bar.update(round(100 * share) - self._bar.n)

    def conclude(self, bundle: Callable[[], Bundle]) -> None:
        """Show the result where the bar stands, or by itself where there was none."""
        if self._quiet:
            return
        if self._handle is None:
            show(bundle)
        else:
            self._handle.update(View(bundle))


def _line(share: float) -> str:
    done = round(SQUARES * share)
    bar = "▰" * done + "▱" * (SQUARES - done)
    return f"{bar} {100 * share:.0f} % · " + say("bench.interruptible")
