"""Our places in a shell: a line is taken off a cell, and its beginning and end are heard."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from tfmagic.runtime.capture.interrupts import interrupts_put_off

_Transform = TypeVar("_Transform", bound=Callable[..., list[str]])


def only_when_run(transform: _Transform) -> _Transform:
    """An input transformer that IPython leaves out while a cell is being typed.

    A terminal asks at each Enter whether the cell is whole: one that begins with ``%%`` is
    when an empty line follows, any other as soon as it is Python.
    """
    transform.__dict__["has_side_effects"] = True
    return transform


class CellHooks:
    """An input transformer and the two events around a cell, put in and taken out together."""

    shell: Any

    def attach(self, ahead_of: CellHooks | None = None) -> None:
        """Put our hooks into the shell: last, or right before those of another."""
        transforms = self.shell.input_transformers_cleanup
        place = len(transforms) if ahead_of is None else transforms.index(ahead_of.take_line_off)
        transforms.insert(place, self.take_line_off)
        for event, hook in self._events():
            self.shell.events.register(event, hook)

    def detach(self) -> None:
        """Take them out again."""
        with contextlib.suppress(ValueError):
            self.shell.input_transformers_cleanup.remove(self.take_line_off)
        for event, hook in self._events():
            with contextlib.suppress(ValueError):
                self.shell.events.unregister(event, hook)

    def _events(self) -> Iterable[tuple[str, Any]]:
        return (("pre_run_cell", self.undisturbed), ("post_run_cell", self.after))

    def undisturbed(self, info: Any) -> None:
        """:meth:`before`; an interrupt that falls into it is meant for the cell, and waits."""
        with interrupts_put_off(_UNDISTURBED):
            self.before(info)

    def take_line_off(self, lines: list[str]) -> list[str]:
        """Input transformer: the cell without the line of ours that it begins with."""
        raise NotImplementedError

    def before(self, info: Any) -> None:
        """``pre_run_cell``."""
        raise NotImplementedError

    def after(self, result: Any) -> None:
        """``post_run_cell``."""
        raise NotImplementedError

    def _cleaned(self, lines: list[str]) -> list[str]:
        """What IPython makes of the first lines before our turn comes: without blank lines,
        common indentation and pasted prompts."""
        for transform in self.shell.input_transformers_cleanup:
            if transform == self.take_line_off:
                break
            lines = transform(lines)
        return lines


_UNDISTURBED = frozenset({CellHooks.undisturbed.__code__})
