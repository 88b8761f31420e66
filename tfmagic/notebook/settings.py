"""``%config TFMagic``: what a user can set, each with its help."""

from __future__ import annotations

from typing import Any

from traitlets import Bool, Enum, Float, Int, observe
from traitlets.config import Configurable

from tfmagic import language


class TFMagic(Configurable):
    """Settings of tfmagic, for this kernel."""

    lang = Enum(
        ("auto", *language.LANGUAGES),
        default_value="auto",
        help="Language of every message: 'en', 'ko', or 'auto': what the notebook's metadata names "
        "(tfmagic.lang), else the locale (LANG).",
    ).tag(config=True)
    budget = Float(
        2.0, min=0.0, help="Gigabytes of tensors that are held while a recorded cell runs."
    ).tag(config=True)
    boxes = Int(60, min=1, help="Most boxes in a picture before ops are folded.").tag(config=True)
    seconds = Float(
        1.0, min=0.01, help="Seconds that the layout of a picture may take before it is stopped."
    ).tag(config=True)
    engine = Enum(
        ("auto", "embedded", "dot"),
        default_value="auto",
        help="Which Graphviz draws: the embedded one, the system's dot, or whichever works.",
    ).tag(config=True)
    graph = Bool(True, help="Whether %%tape draws the graph unless told otherwise.").tag(
        config=True
    )

    live = Bool(
        True,
        help="Whether a button under each picture opens it as a live graph, where the frontend "
        "shows widgets.",
    ).tag(config=True)

    live_training = Bool(
        False,
        help="Whether the curves of a training grow under its %%tape cell while it goes on, as "
        "with --live.",
    ).tag(config=True)

    display = Bool(
        False,
        help="Whether a tensor or variable that a cell ends with is shown readably, with a heat "
        "map; its repr stays as it is.",
    ).tag(config=True)

    @observe("lang")
    def _speak(self, change: Any) -> None:
        language.use(change["new"])

    @property
    def budget_bytes(self) -> int:
        """The budget in bytes."""
        return int(self.budget * 2**30)
