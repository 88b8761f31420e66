"""What stood on the tape that was asked: when it listened, what it watched."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tfmagic.model import Gradient, GradientCall, Op, TapeEvent


@dataclass(frozen=True, slots=True)
class Heard:
    """The life of one tape up to a call of ``gradient``.

    ``spans`` are half-open intervals of op indices in which it listened, after the last
    reset; ``began`` is where it first listened, ``reset`` the event that emptied it.
    """

    spans: tuple[tuple[int, int], ...]
    began: TapeEvent
    watched: tuple[TapeEvent, ...]
    reset: TapeEvent | None

    def listened(self, op: int) -> bool:
        """Whether the op with this index ran while the tape listened."""
        return any(start <= op < end for start, end in self.spans)

    def missed(self, ops: Iterable[Op]) -> tuple[Op, ...]:
        """Those of the ops that are not on the tape."""
        return tuple(op for op in ops if not self.listened(op.index))

    def watch_of(self, gradient: Gradient) -> TapeEvent | None:
        """Where the tape was told to watch this source, if it was."""
        for event in self.watched:
            named = gradient.variable is not None and gradient.variable in event.variables
            if named or set(gradient.source_tensors) & set(event.tensors):
                return event
        return None


def heard(call: GradientCall) -> Heard | None:
    """The tape of a call, where its life was seen from its beginning."""
    if not call.events:
        return None
    spans: list[tuple[int, int]] = []
    watched: list[TapeEvent] = []
    reset, start = None, -1
    for event in call.events:
        if event.kind == "enter":
            start = event.op
        elif event.kind == "leave" and start >= 0:
            spans.append((start, event.op))
            start = -1
        elif event.kind == "watch":
            watched.append(event)
        elif event.kind == "reset":
            spans, watched, reset, start = [], [], event, -1
    if start >= 0:
        spans.append((start, 2**62))
    return Heard(tuple(spans), call.events[0], tuple(watched), reset)
