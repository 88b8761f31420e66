"""The panel of ``%%tape --tweak``: sliders on the sources of a recording."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

import numpy as np

from tfmagic.analysis.notation import duration, number
from tfmagic.errors import OptionError
from tfmagic.language import say
from tfmagic.notebook.panels.base import Panel, script, style
from tfmagic.notebook.panels.changes import Changes
from tfmagic.notebook.panels.step import finite, short
from tfmagic.notebook.view import Bundle
from tfmagic.render import html
from tfmagic.render.moving import MovingPicture, gradient_table
from tfmagic.render.report import Report
from tfmagic.runtime.tape.tweak import Tweak

__all__ = ["TweakPanel"]

MOST_SLIDERS = 24  # of one source; a larger one gets a picker
SLOW = 0.15  # seconds of a move: where it took longer, a drag shows the target, then the rest
MANY = 400  # ops that run again: before the first move, so many are taken to be slow


class TweakPanel(Panel):
    """A :class:`~tfmagic.runtime.tape.tweak.Tweak` with a slider for each number.

    ``picture`` are the options of the graph; ``ended`` is called when the panel is closed.
    """

    _esm = script("knobs.js", "tweak.js")
    _css = style("step.css")

    def __init__(
        self,
        tweak: Tweak,
        picture: Mapping[str, Any] | None = None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self.title = say("tweak.panel_title")
        self.tweak = tweak
        self._options = dict(picture or {})
        self._picture = MovingPicture(**self._options)
        self._names = tuple(tweak.values)
        self._places = dict.fromkeys(range(len(self._names)), 0)
        self._ended = ended
        self._seconds = 0.0
        self._slow = tweak.count > MANY
        self._changes = Changes("words")

    def answer(self, kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """The state after a move; the picture where a view opens or it no longer fits."""
        if kind == "set" and self._slow and content.get("gesture"):
            return self._glimpse(content)
        begun = perf_counter()
        if kind == "set":
            self.tweak.set(self._moved(content))
        elif kind == "rest":
            self.tweak.set()
        elif kind == "reset":
            self.tweak.reset()
        elif kind == "pick":
            self._pick(content)
        elif kind != "hello":
            raise OptionError("step.no_such_action", given=kind)
        ran = kind not in ("pick", "hello")
        if ran:
            self._seconds = perf_counter() - begun
        state = self._state(first=kind == "hello")
        if ran:
            self._slow = perf_counter() - begun > SLOW
        return self._changes.of(state, whole=kind == "hello")

    def snapshot(self) -> Bundle:
        """The whole report of the run on these values."""
        bundle = Report(self.tweak.recording, **self._options).mimebundle()
        notes = list(self.tweak.notes)
        below = html.report([html.notes(notes)]) if notes else ""
        return {
            "text/plain": "\n".join([bundle["text/plain"], *notes]),
            "text/html": bundle["text/html"] + below,
        }

    def free(self) -> None:
        """Let the results go, and the tape where nobody else holds it."""
        self.tweak.close()
        self._ended()

    # -- actions -------------------------------------------------------------------------

    def _glimpse(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """The target alone, while one drags: the view asks for the rest once the hand rests."""
        found = self.tweak.glimpse(self._moved(content))
        told = " · ".join(f"{name} = {number(value)}" for name, value in found.items())
        status = say("tweak.glimpse", target=told) if told else say("tweak.later")
        return self._changes.of({"values": self._values(), "status": status, "unfinished": True})

    def _moved(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Numbers by their place: ``{"0:3": 0.5}`` is the fourth number of the first source."""
        moved: dict[str, Any] = {}
        values = self.tweak.values
        for part, given in content.items():
            if part == "gesture":
                continue
            name, place = self._place(part)
            if name not in moved:
                moved[name] = np.array(values[name])
            moved[name].reshape(-1)[place] = finite(self._label(name, place), given)
        return moved

    def _place(self, part: str) -> tuple[str, int]:
        source, _, place = str(part).partition(":")
        try:
            name = self._names[int(source)]
            found = int(place)
        except (ValueError, IndexError):
            raise OptionError("tweak.no_source", given=part, known=", ".join(self._names)) from None
        if not 0 <= found < self.tweak.values[name].size:
            shape = self.tweak.values[name].shape
            raise OptionError("step.no_such_place", given=f"{name}: {place}", shape=shape)
        return name, found

    def _pick(self, content: Mapping[str, Any]) -> None:
        """Another number of a source that is too large for a slider each: ``"3,0"``."""
        source = int(content["source"])
        name = self._names[source]
        shape = self.tweak.values[name].shape
        try:
            index = tuple(int(i) for i in str(content["at"]).split(","))
            self._places[source] = int(np.ravel_multi_index(index, shape))
        except ValueError:
            given = f"{name}[{content['at']}]"
            raise OptionError("step.no_such_place", given=given, shape=shape) from None

    def _label(self, name: str, place: int) -> str:
        shape = self.tweak.values[name].shape
        index = ",".join(str(i) for i in np.unravel_index(place, shape)) if shape else ""
        return f"{name}[{index}]" if index else name

    # -- the state -----------------------------------------------------------------------

    def _state(self, *, first: bool) -> dict[str, Any]:
        recording = self.tweak.recording
        words = None if first else self._picture.words(recording)
        made: dict[str, Any] = {
            "values": self._values(),
            "table": gradient_table(recording),
            "notes": list(self.tweak.notes),
            "status": self._status(),
            "unfinished": False,
        }
        self._changes.forget("svg" if words is not None else "words")
        if words is None:
            made["svg"] = self._picture.draw(recording)
            made["error"] = self._picture.error
        else:
            made["words"] = words
        if first:
            made["frame"] = {
                "sources": [self._group(i, name) for i, name in enumerate(self._names)],
                "words": {word: say(f"tweak.{word}") for word in ("reset", "close", "row")},
            }
        return made

    def _status(self) -> str:
        if not self._seconds:
            return say("tweak.unchanged")
        return say("tweak.replayed", n=self.tweak.count, time=duration(self._seconds))

    def _group(self, source: int, name: str) -> dict[str, Any]:
        value = self.tweak.values[name]
        few = value.size <= MOST_SLIDERS
        labels = [self._label(name, i) for i in range(value.size)] if few else []
        return {"name": name, "shape": list(value.shape), "labels": labels, "source": source}

    def _values(self) -> list[Any]:
        """All numbers of a small source; of a large one the place that was picked."""
        found: list[Any] = []
        for source, (name, value) in enumerate(self.tweak.values.items()):
            if value.size <= MOST_SLIDERS:
                found.append([short(v) for v in value.reshape(-1)])
                continue
            place = self._places[source]
            index = [int(i) for i in np.unravel_index(place, value.shape)]
            number = value.reshape(-1)[place]
            told = short(number) if math.isfinite(number) else None
            label = self._label(name, place)
            found.append({"at": index, "place": place, "value": told, "label": label})
        return found
