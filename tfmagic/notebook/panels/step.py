"""The panel of ``%tfstep``: the two layers under the student's fingers.

The module in ``static/step.js`` only paints what comes from here: marks for the picture,
formulas as factors, curves as SVG.  Every message is answered with what is new in the state.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from tfmagic.analysis import formulas
from tfmagic.analysis.landscape import COARSE, GRID, is_slow, landscape
from tfmagic.analysis.notation import number
from tfmagic.analysis.predict import feedback
from tfmagic.analysis.stepping import Focus, diagram_part, focus
from tfmagic.errors import OptionError
from tfmagic.language import catalogue, current, say
from tfmagic.model.step import FORWARD, Formula
from tfmagic.notebook.panels.base import Panel, script, style
from tfmagic.notebook.panels.changes import Changes
from tfmagic.notebook.panels.step_link import Link
from tfmagic.notebook.view import Bundle
from tfmagic.render.curves import landscape as landscape_picture
from tfmagic.render.curves import loss_curve
from tfmagic.render.neurons import marks, skeleton
from tfmagic.render.step import StepView, agreement_line, head_line
from tfmagic.runtime.twolayer.twolayer import TwoLayer

__all__ = ["StepPanel"]

MOST_SLIDERS = 24  # of one matrix; a larger one gets a picker
MOST_RUN = 10_000
PART = re.compile(r"(\w+)\[(\d+)(?:,(\d+))?\]")
SLIDERS = ("W_1", "b_1", "W_2", "b_2", "X", "Y")

Chosen = tuple[str, tuple[int, int]]


class StepPanel(Panel):
    """A :class:`~tfmagic.TwoLayer` with buttons, sliders and pictures."""

    _esm = script("knobs.js", "step.js")
    _css = style("step.css")

    def __init__(self, stepper: TwoLayer, link: Link | None = None) -> None:
        super().__init__()
        self.title = say("step.panel_title")
        self.stepper = stepper
        self.link = link
        self.chosen: Chosen = ("W_1", (0, 0))
        self.sample = 0
        self.whole = True  # both passes stand there; False while one steps piece by piece
        self.predicting = False
        self.told = ""
        self.told_right = False
        self.axes: tuple[str, str] | None = None
        self._dragging = False
        self._shape: Any = None
        self._changes = Changes("marks")
        self._actions: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "forward": lambda c: self._piece("forward", c),
            "backward": lambda c: self._piece("backward", c),
            "update": lambda c: self._piece("update", c),
            "run": self._run,
            "undo": lambda c: self._back(stepper.undo),
            "reset": lambda c: self._back(lambda: self._complete(stepper.reset())),
            "goto": lambda c: self._back(lambda: self._complete(stepper.goto(int(c["step"])))),
            "set": self._set,
            "choose": self._choose,
            "sample": self._pick_sample,
            "predict": self._predict,
            "guess": self._guess,
            "landscape": self._pick_axes,
            "rest": lambda c: None,
        }
        if link is not None:
            link.changed = self._from_outside
            link.refused = self.complain

    # -- messages ------------------------------------------------------------------------

    def answer(self, kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """What an action changed; all there is, with what must be built, when a view opens."""
        if kind == "code":
            return self._state() | {"code": self.stepper.as_code()}
        action = self._actions.get(kind)
        if action is not None:
            if kind not in ("choose", "guess", "rest"):
                self.told = ""
            self._dragging = bool(content.get("gesture"))
            action(content)
            if self.link is not None:
                self.link.write()
        elif kind != "hello":
            raise OptionError("step.no_such_action", given=kind)
        return self._state(first=kind == "hello")

    def snapshot(self) -> Bundle:
        """The present state without anything that lives."""
        return StepView(self.stepper.history, self.stepper.at, self.sample).mimebundle()

    def free(self) -> None:
        """Let the variables and the history go."""
        if self.link is not None:
            self.link.close()

    # -- actions -------------------------------------------------------------------------

    def _piece(self, name: str, content: Mapping[str, Any]) -> None:
        act = getattr(self.stepper, name)
        self.whole = bool(content.get("all"))
        act(None if self.whole else 1)
        if self.whole and name == "update":
            self._complete(self.stepper)

    def _run(self, content: Mapping[str, Any]) -> None:
        count = int(content.get("n", 1))
        if not 1 <= count <= MOST_RUN:
            raise OptionError("step.run_many", given=count, most=MOST_RUN)
        self.whole = True
        self._complete(self.stepper.run(count))

    def _complete(self, stepper: TwoLayer) -> None:
        """Show both passes of the state one has come to."""
        self.whole = True
        stepper.show_whole()

    def _back(self, act: Callable[[], Any]) -> None:
        self.whole = True
        act()
        self._keep_in_range()

    def _set(self, content: Mapping[str, Any]) -> None:
        """Numbers by their place: ``{"W_1[0,1]": 0.3, "lr": 0.1, "gesture": "12"}``."""
        changes: dict[str, Any] = {}
        for part, given in content.items():
            if part == "gesture":
                continue
            value = finite(part, given)
            if part == "lr":
                changes["lr"] = value
                continue
            name, index = self._place(part)
            if name not in changes:
                changes[name] = getattr(self.stepper.state.network, name).copy()
            changes[name][index] = value
        self.stepper.set(gesture=str(content.get("gesture", "")), **changes)

    def _place(self, part: str) -> Chosen:
        """``W_1[0,1]`` as a name and a place that are there."""
        found = PART.fullmatch(str(part))
        value = getattr(self.stepper.state.network, found[1], None) if found else None
        if found is None or found[1] not in SLIDERS or value is None:
            raise OptionError("step.no_such_part", given=part, known=", ".join(SLIDERS))
        row = int(found[2])
        other = self.sample if found[1] in ("X", "Y") else 0
        column = int(found[3]) if found[3] else other
        if row >= value.shape[0] or column >= value.shape[1]:
            raise OptionError("step.no_such_place", given=part, shape=value.shape)
        return found[1], (row, column)

    def _choose(self, content: Mapping[str, Any]) -> None:
        chosen = self._place(content["part"])
        if chosen != self.chosen:
            self.told = ""
        self.chosen = chosen

    def _pick_sample(self, content: Mapping[str, Any]) -> None:
        self.sample = int(content["sample"])
        self._keep_in_range()

    def _keep_in_range(self) -> None:
        self.sample = max(0, min(self.sample, self.stepper.state.network.samples - 1))

    def _predict(self, content: Mapping[str, Any]) -> None:
        self.predicting = bool(content["on"])
        if self.predicting:
            self.stepper.show_whole()
            self.whole = True

    def _guess(self, content: Mapping[str, Any]) -> None:
        typed = str(content["guess"]).strip()
        guess = finite(say("step.your_answer"), typed)
        digits = len(typed.partition(".")[2]) if "e" not in typed.lower() else 9
        network = self.stepper.state.base
        found = feedback(network, *self.chosen, guess, self.stepper.lr, digits)
        what = formulas.label(*self.chosen, network.samples > 1)
        parts = {"value": number(found.value), "what": found.what, "weight": what,
                 "typed": number(guess)}  # fmt: skip
        self.told = say(f"predict.{found.code}", **parts)
        self.told_right = found.right

    def _question(self) -> str:
        many = self.stepper.state.network.samples > 1
        return f"∂Loss/∂{formulas.label(*self.chosen, many)}"

    def _pick_axes(self, content: Mapping[str, Any]) -> None:
        first, second = str(content.get("first", "")), str(content.get("second", ""))
        if not first:
            self.axes = None
            return
        for part in (first, second):
            if self._place(part)[0] in ("X", "Y"):
                raise OptionError("step.no_such_part", given=part, known="W_1, b_1, W_2, b_2")
        self.axes = (first, second)

    def _from_outside(self) -> None:
        """A cell of the user's has changed what the panel started from."""
        self._complete(self.stepper)
        self._keep_in_range()
        self.push(self._state())

    # -- the state -----------------------------------------------------------------------

    def _state(self, *, first: bool = False) -> dict[str, Any]:
        stepper, state = self.stepper, self.stepper.state
        seen = focus(state, self.chosen, self.sample, whole=self.whole)
        hidden = self.predicting and not self.told
        history = stepper.history
        made = {
            "head": head_line(state),
            "agree": agreement_line(stepper.agreement),
            "agrees": stepper.agreement.holds if stepper.agreement.finite else None,
            "marks": marks(state, self.sample, seen.parts, hide=hidden),
            "formula": self._formula(seen, hidden=hidden),
            "values": self._values(),
            "chosen": self._part(self.chosen),
            "lr": state.lr,
            "sample": self.sample,
            "next": self._next(),
            "last": history[-1].step,
            "at": state.step,
            "curve": loss_curve([s.step for s in history], [s.loss for s in history], stepper.at),
            "landscape": self._landscape(),
            "unfinished": self._coarse,
            "can_undo": not stepper.undone,
            "predicting": self.predicting,
            "question": self._question(),
            "stop": stepper.diverged,
            "told": self.told,
            "told_right": self.told_right,
            "warning": self._warning(),
        }
        shape = (state.network.sizes, state.network.samples)
        whole = first or shape != self._shape
        if whole:
            self._shape = shape
            made |= self._frame()
        return self._changes.of(made, whole=whole)

    def _frame(self) -> dict[str, Any]:
        """What stays while the numbers move: the picture, the groups of sliders, the words."""
        network = self.stepper.state.network
        keys = (key.partition(".") for key in catalogue(current()))
        words = {
            word: say(f"steppanel.{word}") for family, _, word in keys if family == "steppanel"
        }
        groups = [
            {"name": name, "rows": value.shape[0], "columns": value.shape[1],
             "picker": value.size > MOST_SLIDERS}
            for name in SLIDERS
            if (value := getattr(network, name)) is not None
        ]  # fmt: skip
        return {
            "frame": {
                "svg": skeleton(network),
                "groups": groups,
                "samples": network.samples,
                "words": words,
            }
        }

    def _values(self) -> dict[str, Any]:
        """Whole matrices where each number has a slider, else the number that is chosen."""
        network = self.stepper.state.network
        found: dict[str, Any] = {}
        for name in SLIDERS:
            value = getattr(network, name)
            if value is None:
                continue
            if value.size <= MOST_SLIDERS:
                found[name] = [[short(v) for v in row] for row in value]
            else:
                index = self.chosen[1] if self.chosen[0] == name else (0, 0)
                found[name] = {"at": list(index), "value": short(value[index])}
        return found

    def _part(self, chosen: Chosen) -> str:
        name, (row, column) = chosen
        return formulas.place(name, *((row,) if name.startswith("b_") else (row, column)))

    def _next(self) -> dict[str, str]:
        """What each stepping button would do, so that it can say so."""
        state = self.stepper.state
        pieces = state.network.backward_pieces
        forward = FORWARD[state.forward % len(FORWARD)]
        backward = pieces[state.backward % len(pieces)]
        update = self.stepper.updated_pieces[state.updated]
        return {
            "forward": formulas.symbol(forward),
            "backward": f"∂Loss/∂{formulas.symbol(backward[1:])}",
            "update": update,
        }

    def _formula(self, seen: Focus, *, hidden: bool) -> list[dict[str, Any]]:
        """Each line as text, a gradient as its factors; without numbers while one guesses."""
        many = self.stepper.state.network.samples > 1
        return [self._line(line, seen, many, hidden=hidden) for line in seen.lines]

    def _line(self, line: Formula, seen: Focus, many: bool, *, hidden: bool) -> dict[str, Any]:
        terms = [
            [
                {
                    "over": factor.over,
                    "under": factor.under,
                    "symbol": factor.symbol,
                    "value": "?" if hidden else number(factor.value),
                    "part": diagram_part(factor.part, many),
                    "now": i in seen.factors,
                }
                for i, factor in enumerate(way)
            ]
            for way in line.terms
        ]
        steps = [line.steps[0]] if hidden else list(line.steps)
        return {
            "name": line.name,
            "steps": steps,
            "terms": terms,
            "more": say("step.more_ways", n=line.more) if line.more else "",
            "value": "?" if hidden else number(line.value),
            "latex": "" if hidden else line.latex,
        }

    @property
    def _coarse(self) -> bool:
        """Whether a slider moves over a landscape that takes long: it is refined after that."""
        return self._dragging and self.axes is not None and is_slow(self.stepper.state.network)

    def _landscape(self) -> str:
        if self.axes is None:
            return ""
        first, second = (self._place(part) for part in self.axes)
        grid = COARSE if self._coarse else GRID
        stepper = self.stepper
        return landscape_picture(landscape(stepper.history, stepper.at, first, second, grid))

    def _warning(self) -> str:
        """What a rate that cannot learn does, said before one wonders."""
        state = self.stepper.state
        if not state.passed.finite:
            return say("step.diverged", lr=number(state.lr))
        if state.lr == 0:
            return say("step.rate_zero")
        if state.lr < 0:
            return say("step.rate_negative")
        history = self.stepper.history
        if self.stepper.at and state.loss > 2 * history[self.stepper.at - 1].loss:
            return say("step.rate_high", lr=number(state.lr))
        return ""


def finite(name: str, given: Any) -> float:
    """The number that was typed, or an :class:`OptionError` that says why it is none."""
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise OptionError("step.field", name=name, given=str(given)[:40])
    return value


def short(value: Any) -> float | None:
    """The shortest number that reads back as the same in its precision; None if not finite."""
    return float(str(value)) if math.isfinite(value) else None
