"""A :class:`~tfmagic.runtime.tape.tweak.Tweak` as it is shown: a panel, or what one leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tfmagic.notebook.view import show

__all__ = ["attach", "detach", "show_tweak"]

_TYPE = ("tfmagic.runtime.tape.tweak", "Tweak")


def show_tweak(
    shell: Any,
    tweak: Any,
    picture: Mapping[str, Any] | None = None,
    ended: Callable[[], None] = lambda: None,
) -> None:
    """The panel where there is a frontend for it; ``ended`` is called when it is closed."""
    from tfmagic.notebook.panels.tweak import TweakPanel

    panel = TweakPanel(tweak, picture, ended)
    if hasattr(shell, "kernel"):
        panel.show()
        return
    show(panel.snapshot)
    panel.close()


def attach(shell: Any) -> None:
    """Have a cell that ends in a ``tfmagic.tweak(…)`` show its panel."""
    formatter = shell.display_formatter.ipython_display_formatter
    formatter.for_type_by_name(*_TYPE, lambda tweak: show_tweak(shell, tweak))


def detach(shell: Any) -> None:
    """Leave nothing behind."""
    formatter = shell.display_formatter.ipython_display_formatter
    formatter.deferred_printers.pop(_TYPE, None)
    for kind in [k for k in formatter.type_printers if (k.__module__, k.__name__) == _TYPE]:
        formatter.type_printers.pop(kind)
