"""Loading into a shell, and leaving it without a trace."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from tfmagic import language
from tfmagic.notebook import tweaking
from tfmagic.notebook.cells import Cells
from tfmagic.notebook.completion import Completion
from tfmagic.notebook.display import Readable
from tfmagic.notebook.document import language_of
from tfmagic.notebook.magics import FAMILIES, Family
from tfmagic.notebook.settings import TFMagic


@dataclass(frozen=True, slots=True)
class Loaded:
    """What stands in one shell."""

    settings: TFMagic
    cells: Cells
    readable: Readable
    families: tuple[Family, ...]


_loaded: dict[int, Loaded] = {}


def load(shell: Any) -> None:
    """Register the magics, the hooks around cells and the settings; twice does no harm."""
    if id(shell) in _loaded:
        return
    language.hint(language_of(shell.user_ns))
    settings = TFMagic(parent=shell)
    cells = Cells(shell, settings)
    families = tuple(family(shell, settings, cells) for family in FAMILIES)
    shell.register_magics(*families)
    shell.configurables.append(settings)
    cells.magics = {name: how for each in families for name, how in each.takes_cells.items()}
    cells.names = frozenset(name for each in families for name in each.magics["cell"])
    cells.attach()
    tweaking.attach(shell)
    readable = Readable(shell)
    settings.observe(lambda change: readable.use(change["new"]), "display")
    readable.use(settings.display)
    for family in families:
        family.attach()
    Completion.attach(
        shell, {name: parser for each in families for name, parser in each.parsers.items()}
    )
    _loaded[id(shell)] = Loaded(settings, cells, readable, families)


def unload(shell: Any) -> None:
    """Take everything out again."""
    loaded = _loaded.pop(id(shell), None)
    if loaded is None:
        return
    language.hint(None)
    loaded.cells.detach()
    tweaking.detach(shell)
    loaded.readable.use(False)
    panels = sys.modules.get("tfmagic.notebook.panels.base")
    if panels is not None:
        panels.close_all()
    Completion.detach(shell)
    shell.configurables.remove(loaded.settings)
    for family in loaded.families:
        family.detach()
        for kind, registered in shell.magics_manager.magics.items():
            for name in family.magics[kind]:
                registered.pop(name, None)
        shell.magics_manager.registry.pop(type(family).__name__, None)


def last_recording() -> Any:
    """The last recording of the shells that are loaded, or None."""
    for loaded in reversed(list(_loaded.values())):
        if loaded.cells.last is not None:
            return loaded.cells.last
    return None
