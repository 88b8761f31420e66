"""Cells that run on a device of their own, and what is said of ops that ran elsewhere.

As with ``%%tape``, the line ``%%tfdevice …`` is taken off the cell where that is possible,
so that what IPython runs is the plain cell; the device's scope is opened before it and
closed after it, whatever happens inside.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tfmagic.errors import TfmagicError
from tfmagic.language import say
from tfmagic.notebook.cells import Cells, show_line
from tfmagic.notebook.hooks import CellHooks, only_when_run
from tfmagic.notebook.options import HelpShown
from tfmagic.runtime.capture.interrupts import interrupts_put_off

if TYPE_CHECKING:
    from tfmagic.runtime.cluster import Worker

__all__ = ["DeviceCells", "cell_scope"]


@contextlib.contextmanager
def cell_scope(device: str) -> Iterator[None]:
    """Ops inside are sent to ``device``; afterwards it is said which of them ran elsewhere."""
    from tfmagic.runtime.devices.overrides import Overrides
    from tfmagic.runtime.devices.placing import DeviceScope

    with DeviceScope(device) as scope, Overrides(scope.name) as watch:
        yield
    show_line(str(watch.message()))


class DeviceCells(CellHooks):
    """The cells of one shell: which of them are sent to a device.

    Its hooks stand right before those of the recorded cells: so ``%%tape`` may stand in the
    line under ``%%tfdevice``, and is taken off as well.
    ``asked`` answers the device that a first line names, or raises.
    """

    def __init__(self, shell: Any, cells: Cells, asked: Callable[[str], str]) -> None:
        self.shell = shell
        self._cells = cells
        self._asked = asked
        self._running: list[contextlib.ExitStack] = []

    def detach(self) -> None:
        """Take our hooks out of the shell, and close what is open."""
        super().detach()
        while self._running:
            self._running.pop().close()

    @only_when_run
    def take_line_off(self, lines: list[str]) -> list[str]:
        """Input transformer: the cell without its line ``%%tfdevice DEVICE``.

        Any that we cannot follow stays: it is refused, or run, as a magic.
        """
        return lines if self._running or not self._device(lines) else lines[1:]

    def _device(self, lines: list[str]) -> str:
        first = lines[0] if lines else ""
        name, _, rest = first[2:].strip().partition(" ")
        if not first.startswith("%%") or name != "tfdevice" or not "".join(lines[1:]).strip():
            return ""
        if "tensorflow" not in sys.modules or {"-h", "--help"} & set(rest.split()):
            return ""
        try:
            return self._asked(rest)
        except (TfmagicError, HelpShown):
            return ""

    def before(self, info: Any) -> None:
        """``pre_run_cell``: open the scope that the cell asks for, or watch the default's."""
        tell_of_lost_workers()
        stack = contextlib.ExitStack()
        if not self._running:
            lines = self._cleaned(info.raw_cell.splitlines(keepends=True))
            device = self._device(lines)
            if not device and self._cells.takes_off(lines):  # %%tape above: both lines went
                device = self._device(self._cleaned(lines[1:]))
            if device or _default():
                stack.enter_context(self._cells.frames_hidden())
                stack.enter_context(cell_scope(device) if device else _default_watched())
        self._running.append(stack)

    def after(self, result: Any) -> None:
        """``post_run_cell``: close it."""
        with interrupts_put_off(_CLOSING):
            if self._running:
                self._running.pop().close()
            tell_of_lost_workers()


_CLOSING = frozenset({DeviceCells.after.__code__})


def joined_line(joined: Sequence[Worker]) -> str:
    """The workers that answer, each with its address and its time."""
    from tfmagic.analysis.notation import duration

    told = (
        say(
            "cluster.worker",
            name=worker.name,
            address=worker.target.address,
            time=duration(worker.told.seconds),
        )
        for worker in joined
    )
    return say("cluster.connected", n=len(joined), workers=", ".join(told))


def tell_of_lost_workers() -> None:
    """One line for each worker that has gone since the last look."""
    cluster = sys.modules.get("tfmagic.runtime.cluster.state")
    if cluster is None or not cluster.workers():
        return
    placing = sys.modules["tfmagic.runtime.devices.placing"]
    default = placing.default()
    for worker in cluster.lost():
        names = ", ".join(w.name for w in cluster.workers() if w.lost is None)
        show_line(
            say(
                "cluster.lost",
                name=worker.name,
                address=worker.target.address,
                why=cluster.why(worker.lost),
                others=say("cluster.lost_others", names=names) if names else "",
            )
        )
    if default and not placing.default():
        show_line(say("device.set_auto"))


def _default() -> str:
    """The session's default device, where one was chosen."""
    placing = sys.modules.get("tfmagic.runtime.devices.placing")
    return "" if placing is None else placing.default()


@contextlib.contextmanager
def _default_watched() -> Iterator[None]:
    """Say which ops of the cell did not run on the session's default device."""
    from tfmagic.runtime.devices.overrides import Overrides

    default = _default()
    with Overrides(default) as watch:
        yield
    if _default() == default:  # else the cell itself has changed it
        show_line(str(watch.message()))
