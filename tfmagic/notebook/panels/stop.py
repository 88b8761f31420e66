"""A button that stops a training: pressed while the kernel is busy, so it asks the frontend to
interrupt it, as the one above the notebook does."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import anywidget
import traitlets

__all__ = ["Stop"]


class Stop(anywidget.AnyWidget):
    """``words`` stand on the button, ``asked`` once it was pressed."""

    _esm: Any = files("tfmagic.notebook").joinpath("static", "stop.js").read_text(encoding="utf-8")
    words = traitlets.Unicode().tag(sync=True)
    asked = traitlets.Unicode().tag(sync=True)

    def __repr__(self) -> str:
        return ""
