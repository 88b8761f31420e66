"""``%config TFMagic.display = True``: a tensor or variable as a card beside its repr.

Only the HTML is added; text/plain stays what TensorFlow says.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from tfmagic.runtime.arrival import when_imported

__all__ = ["Readable"]

LIBRARIES = ("tensorflow", "keras")


class Readable:
    """The HTML formatter for the values of one shell, on or off."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self._before: dict[type, Any] = {}
        self._cancel: list[Callable[[], None]] = []

    def use(self, wanted: bool) -> None:
        """Add the formatter, also for a library that is imported later, or take it out."""
        if not wanted:
            self._off()
        elif not (self._before or self._cancel):
            self._register()
            missing = [name for name in LIBRARIES if name not in sys.modules]
            self._cancel = [when_imported(name, self._register) for name in missing]

    def _register(self) -> None:
        from tfmagic.runtime.values.kinds import shown_types

        formatter = self.shell.display_formatter.formatters["text/html"]
        for each in shown_types():
            if each not in self._before:
                self._before[each] = formatter.for_type(each, self._html)

    def _off(self) -> None:
        for cancel in self._cancel:
            cancel()
        formatter = self.shell.display_formatter.formatters["text/html"]
        for each, before in self._before.items():
            formatter.pop(each, None)
            if before is not None:
                formatter.for_type(each, before)
        self._before, self._cancel = {}, []

    def _html(self, value: Any) -> str | None:
        """The card; None, which leaves the repr alone, where none can be made."""
        from tfmagic.render.value import view_of
        from tfmagic.runtime.values.inventory import inventory

        try:
            return view_of(inventory(value, self._name(value))).mimebundle()["text/html"]
        except Exception:  # a tensor whose device is gone still has its repr
            return None

    def _name(self, value: Any) -> str:
        """The user's own name for it."""
        names = self.shell.user_ns.items()
        own = (n for n, v in list(names) if v is value and not n.startswith("_"))
        return next(own, type(value).__name__)
