"""The recording of a run that goes on: what was worked out of its beginning stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tfmagic.analysis.learning import explained
from tfmagic.analysis.runs import eager_runs
from tfmagic.analysis.tracing import remarks
from tfmagic.analysis.verdicts import judged
from tfmagic.analysis.verdicts.beside import beside
from tfmagic.language import Message
from tfmagic.model import GradientCall, Recording
from tfmagic.runtime.capture.log import Call, Entry, Log
from tfmagic.runtime.tape.builder import Failed, RecordingBuilder

__all__ = ["IncrementalBuilder", "copied"]


class IncrementalBuilder:
    """Tells of one log, again and again while it grows, and each time only what is new.

    The entries and calls of before are neither settled nor put into words nor judged again:
    a story of many cells costs with each cell what that cell ran.
    """

    def __init__(self, label: Callable[[str], str]) -> None:
        self._finisher = RecordingBuilder(label)
        self._entries: list[Entry] = []
        self._calls: list[Call] = []
        self._judged: tuple[GradientCall, ...] = ()

    def recording(
        self, log: Log, *, seconds: float, failure: Failed | None, notes: Sequence[Message]
    ) -> Recording:
        """All that the log holds by now; its own tensors stay."""
        settled = copied(log, self._entries, self._calls)
        settled.settle()
        self._entries, self._calls = settled.entries, settled.calls
        found = self._finisher.recording(settled, seconds=seconds, failure=failure, notes=notes)
        told = judged(found, self._judged)
        wrong = (*told.remarks, *beside(told), *remarks(told))
        told = replace(told, runs=(*told.runs, *eager_runs(told)), remarks=wrong)
        told = replace(told, runs=tuple(explained(told, run) for run in told.runs))
        self._judged = told.gradients
        return told


def copied(log: Log, entries: Sequence[Entry] = (), calls: Sequence[Call] = ()) -> Log:
    """The same log once more, so that it can be settled while the tensors stay.

    ``entries`` and ``calls`` are those of its beginning that were settled before.
    """
    copy = Log(
        entries=[*entries, *log.entries[len(entries) :]],
        variables=dict(log.variables),
        implicit_reads=dict(log.implicit_reads),
        functions=dict(log.functions),
        custom=dict(log.custom),
        own_gradients=log.own_gradients,
        calls=[*calls, *(call.copy() for call in log.calls[len(calls) :])],
        snapshots=log.snapshots,
        names=log.names,
        settled=max(log.settled, len(entries)),
        dropped=log.dropped,
        foreign=log.foreign,
        faults=list(log.faults),
        default=log.default,
        reductions=list(log.reductions),
        exits=list(log.exits),
        traced=dict(log.traced),
        insides=log.insides,
        rebound=log.rebound,
        jacobians=log.jacobians,
        hessians=log.hessians,
        probes=log.probes,
        compiled=log.compiled,
        untapped=log.untapped,
        traces=list(log.traces),
        frozen=list(log.frozen),
        inner=log.inner,
    )
    copy.keep_handles = True
    return copy
