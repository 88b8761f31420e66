"""What the names held when the last cell began, for ``%tfvars`` to say what it changed.

Nothing is kept until ``%tfvars`` was first used, and no more once it was not used for a
while: a look at every value takes time, which no cell should pay for nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tfmagic.language import say

if TYPE_CHECKING:
    from tfmagic.runtime.values.inventory import Since

#: Cells without a ``%tfvars`` after which nothing is kept any more.
TIRES = 20


class Watch:
    """Looks at the names before each cell that does more than look itself."""

    def __init__(self, shell: Any, names: Callable[[], Mapping[str, Any]]) -> None:
        self.shell = shell
        self.names = names
        self.since: Since | None = None
        self._awake = self._acts = False
        self._unused = 0

    def wake(self) -> bool:
        """Keep watch from the next cell on; whether that is new."""
        self._unused = 0
        if self._awake:
            return False
        self._awake = True
        self.shell.events.register("pre_run_cell", self.before)
        self.shell.events.register("post_run_cell", self.after)
        return True

    def sleep(self) -> None:
        """Watch no more, and let everything go."""
        if self._awake:
            self._awake = False
            for event, hook in (("pre_run_cell", self.before), ("post_run_cell", self.after)):
                with contextlib.suppress(ValueError):
                    self.shell.events.unregister(event, hook)
        self.since = None

    def before(self, info: Any) -> None:
        """``pre_run_cell``: look, unless the cell does nothing but look."""
        self._acts = not only_looks(str(info.raw_cell))
        if not self._acts:
            return
        self._unused += 1
        if self._unused > TIRES:
            self.sleep()
            return
        from tfmagic.runtime.values.changes import look
        from tfmagic.runtime.values.inventory import Since

        try:
            self.since = Since(say("vars.this_cell"), look(self.names()))
        except Exception:  # an object that cannot be looked at: there is no comparison
            self.since = None

    def after(self, result: Any) -> None:
        """``post_run_cell``: only now the number of the cell is known in every IPython."""
        if self.since is not None and self._acts:
            number = result.execution_count
            cell = f"In [{number}]" if number else say("vars.last_cell")
            self.since = replace(self.since, cell=cell)


def only_looks(cell: str) -> bool:
    """Whether a cell is nothing but ``%tfvars`` and comments."""
    lines = [line.strip() for line in cell.splitlines()]
    return all(not line or line.startswith(("%tfvars", "#")) for line in lines)


__all__ = ["Watch"]
