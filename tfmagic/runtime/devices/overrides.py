"""Which ops ran elsewhere than where they were sent, and why: a watch around a cell."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from types import FrameType
from typing import Any

from tfmagic.analysis.notation import device as short
from tfmagic.language import Message
from tfmagic.runtime import private
from tfmagic.runtime.capture.interrupts import Carried, Interrupts, interrupts_put_off
from tfmagic.runtime.capture.source import UserFiles

__all__ = ["Overrides"]

_MOST = 3
_RESOURCE = 20
_CARRIED = Carried()


class Overrides:
    """Counts this thread's ops that run elsewhere than on ``wanted``, a full device name."""

    def __init__(self, wanted: str) -> None:
        self.wanted = wanted
        self.found: Counter[tuple[str, str, int]] = Counter()
        self._files = UserFiles()
        self._undo = contextlib.ExitStack()
        self._interrupts: Interrupts

    def __enter__(self) -> Overrides:
        undisturbed = frozenset({Overrides._on_op.__code__})
        self._interrupts = self._undo.enter_context(interrupts_put_off(undisturbed))
        self._undo.callback(private.remove_callback, self._on_op)
        private.add_callback(self._on_op)
        return self

    def __exit__(self, *raised: Any) -> None:
        self._undo.close()

    def _on_op(
        self,
        op_type: Any,
        inputs: Any,
        attrs: Any,
        outputs: Any,
        op_name: Any = None,
        graph: Any = None,
    ) -> Any:
        if graph is None:  # else traced into a graph, not run
            with _CARRIED:
                told = outputs or inputs
                if told and told[0].device != self.wanted:
                    self._note(inputs, told[0].device)
        if self._interrupts.waiting:
            self._interrupts.hand_on(sys._getframe(1))
        return None if graph is None else private.handed_on(outputs)

    def _note(self, inputs: Any, ran: str) -> None:
        scope = private.device_scope()
        if any(tensor._datatype_enum() == _RESOURCE for tensor in inputs):
            why = "home"  # whatever the scope says
        elif scope and scope != self.wanted:
            why = "scope"
        else:
            why = "moved"
        self.found[why, ran, self._line(sys._getframe(2))] += 1

    def _line(self, frame: FrameType | None) -> int:
        while frame is not None:
            if self._files[frame.f_code.co_filename]:
                return frame.f_lineno
            frame = frame.f_back
        return 0

    def message(self) -> Message | str:
        """What happened, in one line; empty where every op ran as it was sent."""
        if not self.found:
            return ""
        ways = [str(way) for way in self._ways()]
        more = " …" if len(ways) > _MOST else ""
        return Message.of(
            "device.overridden",
            n=self.found.total(),
            device=short(self.wanted),
            ways="; ".join(ways[:_MOST]) + more,
        )

    def _ways(self) -> Iterator[Message]:
        """For each reason and place how many ops, and in which lines."""
        places: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for (why, ran, line), count in self.found.items():
            places.setdefault((why, ran), []).append((line, count))
        for (why, ran), lines in places.items():
            numbers = sorted({line for line, _ in lines if line})
            listed = ", ".join(map(str, numbers[:_MOST])) + (", …" if len(numbers) > _MOST else "")
            yield Message.of(
                f"device.overridden_{why}",
                n=sum(count for _, count in lines),
                device=short(ran),
                lines=listed or "?",
            )
