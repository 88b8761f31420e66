"""``%tfdevice`` and ``%%tfdevice``: where work runs."""

from __future__ import annotations

import contextlib
import re
import sys
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import (
    cell_magic,
    line_magic,
    magics_class,
    no_var_expand,
    output_can_be_silenced,
)

from tfmagic.errors import DeviceError, TfmagicError
from tfmagic.language import say
from tfmagic.notebook.body import run_body
from tfmagic.notebook.cells import show_line
from tfmagic.notebook.magics.base import Family
from tfmagic.notebook.options import HelpShown, Options, identifier, usage_error
from tfmagic.notebook.scopes import DeviceCells, cell_scope, joined_line
from tfmagic.notebook.view import show

if TYPE_CHECKING:
    from tfmagic.runtime.devices.setup import Setup


def device_options() -> Options:
    """Options of ``%tfdevice``."""
    parser = Options("%tfdevice")
    add: Any = parser.add_argument
    add("device", nargs="?", metavar="DEVICE", help="help.device_device")
    add("--why", action="store_true", help="help.device_why")
    add("--plot", action="store_true", help="help.device_plot")
    add("--split", metavar="CPU=N", help="help.device_split")
    add("--growth", action="store_true", help="help.device_growth")
    add("--limit", metavar="GPU:0=SIZE", help="help.device_limit")
    add("--threads", metavar="N[,N]", help="help.device_threads")
    add("--connect", metavar="WORKERS", help="help.device_connect")
    add("--disconnect", action="store_true", help="help.device_disconnect")
    add("-o", dest="output", metavar="NAME", help="help.output")
    add("-q", dest="quiet", action="store_true", help="help.quiet")
    return parser


@magics_class
class DeviceMagics(Family):
    """``%tfdevice`` shows and chooses devices, ``%%tfdevice`` runs one cell on one."""

    def __init__(self, *shared: Any) -> None:
        super().__init__(*shared)
        self.parsers = {"tfdevice": device_options()}
        self.scopes = DeviceCells(self.shell, self.cells, self._cell_device)

    def attach(self) -> None:
        self.scopes.attach(ahead_of=self.cells)

    def detach(self) -> None:
        self.scopes.detach()
        placing = sys.modules.get("tfmagic.runtime.devices.placing")
        if placing is not None:
            with contextlib.suppress(TfmagicError):
                placing.set_default(None)

    @line_magic("tfdevice")
    @no_var_expand
    def device_line(self, line: str) -> None:
        """Show the devices, or choose the session's default."""
        try:
            options = self.parsers["tfdevice"].parse(line)
            identifier(options.output, "-o")
            self._do(options)
        except HelpShown:
            return
        except TfmagicError as error:
            raise usage_error(error) from None

    @cell_magic("tfdevice")
    @no_var_expand
    @output_can_be_silenced
    def device_cell(self, line: str, cell: str) -> Any:
        """Run the cell with its ops sent to one device."""
        __tracebackhide__ = True
        try:
            device = self._cell_device(line)
            if not cell.strip():
                raise UsageError(say("cells.empty", magic="%%tfdevice"))
        except HelpShown:
            return None
        except TfmagicError as error:
            raise usage_error(error) from None
        with self.cells.frames_hidden(), cell_scope(device):
            return run_body(self.shell, cell)

    def _cell_device(self, line: str) -> str:
        """The full name of the device that a cell's first line names."""
        device = self.parsers["tfdevice"].parse(line).device
        if not device:
            raise DeviceError("device.no_cell_device")
        from tfmagic.runtime.devices.placing import resolve

        return resolve(device)

    def _do(self, options: Any) -> None:
        from tfmagic.runtime.devices.setup import Setup

        setup = Setup(
            options.split or "", options.growth, options.limit or "", options.threads or ""
        )
        if setup:
            self._configure(options, setup)
        if options.disconnect:
            self._disconnect(options)
        if options.connect:
            self._connect(options)
        if options.device:
            self._choose(options)
        elif options.why:
            self._why(options)
        else:
            self._table(options)

    def _connect(self, options: Any) -> None:
        from tfmagic.runtime.cluster import connect

        joined = connect(self._workers(options.connect))
        if not options.quiet:
            show_line(joined_line([worker for worker in joined if worker.lost is None]))

    def _workers(self, given: str) -> Any:
        """Addresses as they are; anything else is an expression of the user's."""
        if given == "TF_CONFIG" or "//" in given or re.search(r":\d+$", given):
            return given
        from tfmagic.runtime.tape.expression import evaluate

        return evaluate(given, self.shell.user_ns, "--connect")

    def _disconnect(self, options: Any) -> None:
        from tfmagic.runtime.cluster import disconnect

        left = disconnect()
        if not options.quiet:
            show_line(
                say("cluster.disconnected", n=len(left)) if left else say("cluster.not_connected")
            )

    def _configure(self, options: Any, setup: Setup) -> None:
        from tfmagic.render.devices import restart_cell
        from tfmagic.runtime.devices.setup import apply

        try:
            changed = apply(setup)
        except DeviceError as error:
            if error.key == "device.too_late":
                show(lambda: restart_cell(setup.line()))
            raise
        if not changed and not options.quiet:
            show_line(say("device.already_so", options=setup.line()))

    def _choose(self, options: Any) -> None:
        from tfmagic.runtime.devices import placing

        name = placing.set_default(None if options.device.lower() == "auto" else options.device)
        if not options.quiet:
            given = placing.short(name)
            show_line(say("device.set", device=given) if name else say("device.set_auto"))

    def _why(self, options: Any) -> None:
        from tfmagic.render.placement import PlacementView

        if self.cells.last is None:
            raise DeviceError("device.nothing_yet")
        self._give(options, PlacementView(self.cells.last))

    def _table(self, options: Any) -> None:
        from tfmagic.api import devices

        self._give(options, devices(plot=options.plot))

    def _give(self, options: Any, view: Any) -> None:
        if options.output:
            self.shell.user_ns[options.output] = view
        if not options.quiet:
            show(view.mimebundle)
