"""Loading into a shell, and leaving it without a trace."""

from __future__ import annotations

from typing import Any

from tfmagic.notebook.completion import Completion
from tfmagic.notebook.magics import TFMagics
from tfmagic.notebook.settings import TFMagic

_loaded: dict[int, TFMagics] = {}


def load(shell: Any) -> None:
    """Register the magics, the hooks around cells and the settings; twice does no harm."""
    if id(shell) in _loaded:
        return
    settings = TFMagic(parent=shell)
    magics = TFMagics(shell, settings)
    shell.register_magics(magics)
    shell.configurables.append(settings)
    magics.cells.attach()
    Completion.attach(shell, magics.parsers)
    _loaded[id(shell)] = magics


def unload(shell: Any) -> None:
    """Take everything out again."""
    magics = _loaded.pop(id(shell), None)
    if magics is None:
        return
    magics.cells.detach()
    Completion.detach(shell)
    shell.configurables.remove(magics.settings)
    for kind, registered in shell.magics_manager.magics.items():
        for name in magics.magics[kind]:
            registered.pop(name, None)
    shell.magics_manager.registry.pop(type(magics).__name__, None)


def last_recording() -> Any:
    """The last recording of the shells that are loaded, or None."""
    for magics in reversed(list(_loaded.values())):
        if magics.cells.last is not None:
            return magics.cells.last
    return None
