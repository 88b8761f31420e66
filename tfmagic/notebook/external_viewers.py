"""``--open``: a graph in Netron or TensorBoard, served on this machine alone."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tfmagic.errors import OptionError
from tfmagic.language import say
from tfmagic.notebook.cells import show_line
from tfmagic.notebook.view import show

__all__ = ["VIEWERS", "ExternalViewers"]

VIEWERS = ("netron", "tensorboard")
_HEIGHT = 600


class ExternalViewers:
    """What one shell has opened: temporary files, and servers that are stopped at the end."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._folders: list[tempfile.TemporaryDirectory[str]] = []
        self._served: list[tuple[str, int]] = []

    def open(self, viewer: str, view: Any) -> None:
        """Show ``view`` in a viewer, beneath the cell.

        Raises :class:`~tfmagic.errors.OptionError` where the viewer is not installed.
        """
        if importlib.util.find_spec(viewer) is None:
            raise OptionError("cells.no_viewer", viewer=viewer)
        folder = tempfile.TemporaryDirectory(prefix="tfmagic-")
        self._folders.append(folder)
        if viewer == "tensorboard":
            self._tensorboard(view.save(Path(folder.name)).parent)
        else:
            self._netron(view.save(Path(folder.name) / "graph.pb"))

    def close(self) -> None:
        """Stop the servers and remove the files."""
        while self._served:
            import netron

            netron.stop(self._served.pop())
        while self._folders:
            self._folders.pop().cleanup()

    def _tensorboard(self, folder: Path) -> None:
        self._shell.run_line_magic("load_ext", "tensorboard")
        self._shell.run_line_magic("tensorboard", f"--logdir {folder}")

    def _netron(self, file: Path) -> None:
        import netron

        host, port = address = netron.serve(str(file), None, browse=False)
        self._served.append(address)
        url = f"http://{host}:{port}"
        frame = Markup('<iframe src="{}" title="Netron" width="100%" height="{}"></iframe>')
        text = say("cells.served", viewer="Netron", url=url)
        show_line(text)
        show(lambda: {"text/plain": text, "text/html": str(frame.format(url, _HEIGHT))})
