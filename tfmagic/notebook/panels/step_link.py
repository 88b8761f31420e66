"""The user's own variables and the panel, kept in step both ways.

What moves in the panel is written where it came from: a ``tf.Variable`` and a Keras weight
are assigned, an array is filled, and the name of a tensor or list gets a new one.  After
each cell the names are read again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfmagic.errors import TfmagicError
from tfmagic.model.step import PARAMETERS

__all__ = ["Link"]


class Link:
    """``names`` says which expression of the user's each part of the network came from.

    A Keras model stands for all its weights: ``{"model": "net", "X": "x"}``.
    """

    def __init__(self, shell: Any, stepper: Any, names: Mapping[str, str]) -> None:
        self.shell = shell
        self.stepper = stepper
        self.model = names.get("model", "")
        self.names = {part: name for part, name in names.items() if part != "model"}
        if self.model:
            parts = [name for name, _ in stepper.state.network.parameters()]
            self.names |= {part: f"{self.model} {part}" for part in parts}
        self.changed: Callable[[], None] = lambda: None
        self.refused: Callable[[str], None] = lambda text: None
        self._known = {part: self._of_panel(part) for part in self.names}
        shell.events.register("post_run_cell", self.read)

    def close(self) -> None:
        """Leave the variables alone from now on."""
        with contextlib.suppress(ValueError):
            self.shell.events.unregister("post_run_cell", self.read)

    # -- from the panel to the names ---------------------------------------------------------

    def write(self) -> None:
        """Put the panel's numbers where they came from."""
        from tfmagic.runtime.tape.two_way_binding import put

        for part, expression in self.names.items():
            value = self._of_panel(part)
            if same(value, self._known[part]):
                continue
            target = self._evaluate(expression)
            if target is _GONE:
                continue
            new = put(target, value, turned=self._turned(part))
            if new is not None and expression.isidentifier():
                self.shell.user_ns[expression] = new
            self._known[part] = value

    # -- from the names to the panel -----------------------------------------------------------

    def read(self, result: Any = None) -> None:
        """``post_run_cell``: take over what a cell has changed."""
        from tfmagic.runtime.tape.two_way_binding import look

        found = {}
        for part, expression in self.names.items():
            target = self._evaluate(expression)
            value = None if target is _GONE else look(target, turned=self._turned(part))
            if value is not None and not same(value, self._known[part]):
                found[part] = value
        if not found:
            return
        try:
            self.stepper.set(**found)
        except TfmagicError as error:
            self.refused(str(error))
        else:
            self.changed()
        self._known |= found

    def _turned(self, part: str) -> bool:
        """Keras keeps a sample in a row, and its matrices the other way round."""
        return bool(self.model) and not part.startswith("b_")

    def _of_panel(self, part: str) -> Any:
        network = self.stepper.state.network
        return getattr(network, part)

    def _evaluate(self, expression: str) -> Any:
        from tfmagic.runtime.twolayer.dense import weight

        name, _, part = expression.rpartition(" ") if self.model else ("", "", "")
        try:
            if name == self.model and part in PARAMETERS:
                return weight(eval(name, self.shell.user_ns), part)
            return eval(expression, self.shell.user_ns)
        except Exception:  # the name is gone: it is no longer kept in step
            return _GONE


_GONE = object()


def same(one: Any, other: Any) -> bool:
    """Whether two arrays have the same numbers, whatever their shape."""
    one, other = np.asarray(one), np.asarray(other)
    return one.size == other.size and bool(np.array_equal(one.ravel(), other.ravel()))
