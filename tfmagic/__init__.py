"""Look inside TensorFlow from a notebook.

``%load_ext tfmagic`` loads the magics; the functions behind them are here.  Importing
this package imports neither TensorFlow nor matplotlib: what needs them does so when it
is first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfmagic.api import (
        bench,
        connect,
        device,
        devices,
        disconnect,
        explain,
        graph,
        load,
        tweak,
        variables,
    )
    from tfmagic.model import Recording, Verdict
    from tfmagic.runtime.tape.tape import Tape, record
    from tfmagic.runtime.twolayer.twolayer import TwoLayer

__version__ = "0.1.0"

_HOME = {
    "Recording": "tfmagic.model",
    "Tape": "tfmagic.runtime.tape.tape",
    "TwoLayer": "tfmagic.runtime.twolayer.twolayer",
    "Verdict": "tfmagic.model",
    "bench": "tfmagic.api",
    "connect": "tfmagic.api",
    "device": "tfmagic.api",
    "devices": "tfmagic.api",
    "disconnect": "tfmagic.api",
    "explain": "tfmagic.api",
    "graph": "tfmagic.api",
    "load": "tfmagic.api",
    "record": "tfmagic.runtime.tape.tape",
    "tweak": "tfmagic.api",
    "variables": "tfmagic.api",
}

__all__ = [
    "Recording",
    "Tape",
    "TwoLayer",
    "Verdict",
    "__version__",
    "bench",
    "connect",
    "device",
    "devices",
    "disconnect",
    "explain",
    "graph",
    "last",
    "load",
    "record",
    "tweak",
    "variables",
]


def __getattr__(name: str) -> Any:
    if name == "last":
        return _last()
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _last() -> Any:
    """The last recording that a magic made, or None."""
    loaded = sys.modules.get("tfmagic.notebook.extension")
    return None if loaded is None else loaded.last_recording()


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext tfmagic``."""
    from tfmagic.notebook.extension import load as load_into

    load_into(shell)


def unload_ipython_extension(shell: Any) -> None:
    """``%unload_ext tfmagic``."""
    from tfmagic.notebook.extension import unload

    unload(shell)
