"""What every family of magics stands on: the shell, the settings, the cells, the parsers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from IPython.core.magic import Magics

from tfmagic.notebook.cells import Cells
from tfmagic.notebook.options import Options
from tfmagic.notebook.settings import TFMagic


class Family(Magics):
    """Magics that belong together; a subclass is decorated with ``@magics_class``.

    ``parsers`` are the options by the magic's name, for Tab completion.  ``takes_cells``
    are the cell magics whose line is taken off the cell, so that IPython runs the plain
    cell: the parser, and what shows the recording afterwards.
    """

    def __init__(self, shell: Any, settings: TFMagic, cells: Cells) -> None:
        super().__init__(shell)
        self.settings = settings
        self.cells = cells
        self.parsers: dict[str, Options] = {}
        self.takes_cells: dict[str, tuple[Options, Callable[[Any], None]]] = {}

    def attach(self) -> None:
        """Put further hooks into the shell, once those around recorded cells are there."""

    def detach(self) -> None:
        """Leave nothing behind when the extension is unloaded."""

    def picture(self, options: Any) -> dict[str, Any]:
        """What the options and the settings say of a picture."""
        return {
            "depth": options.depth,
            "flat": options.flat,
            "backward": options.backward,
            "limit": self.settings.boxes,
            "budget": self.settings.seconds,
            "engine": self.settings.engine,
        }
