"""Run recorded ops again on other values, without the cell's Python.

A :class:`Replay` is planned once, for the sources that will change (and, where only some
results matter, for the targets), and run as often as one likes.  Ops that do not depend on
a source are not run at all: what they gave in the recorded run stands.  So does what an op
gave that *cannot* be run again (a random draw, the user's Python, state that cannot be
followed): each of those is listed in :attr:`Replay.kept`, with the reason.

A source is given by its id: a tensor's own, or a variable's, which is its handle's
(:func:`tfmagic.runtime.capture.names.key_of`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tfmagic.model.op_traits import ASSIGNS, READS, SHAPES
from tfmagic.runtime import private
from tfmagic.runtime.autodiff.kernels import Widener, run_op
from tfmagic.runtime.capture.log import Entry, Log
from tfmagic.runtime.op_traits import (
    FOLLOWED,
    assigned,
    gathered,
    reason,
    reason_inside,
    stand_in,
)


class Kept(NamedTuple):
    """An op whose recorded result stands though a source leads to it.

    ``reason`` is ``"random"``, ``"python"``, ``"state"`` (what it does to a variable cannot
    be followed) or ``"budget"`` (its tensors have been let go).
    """

    position: int
    type: str
    reason: str


@dataclass(slots=True)
class _Run:
    """One run: values that are new, by tensor id, and what the variables hold."""

    values: dict[int, Any]
    state: dict[int, Any]
    shifts: Mapping[int, Any]
    new: dict[int, Any] = field(default_factory=dict)
    stand_ins: list[Any] = field(default_factory=list)


class Replay:
    """The recorded ops of ``log`` that lead from ``sources`` to ``targets`` (ids).

    Without ``targets`` every op that depends on a source runs, those of recorded gradients
    too.  Outputs of the op types in ``hold`` stay as they were recorded.  With
    ``follow_state`` a variable that a recorded op assigned is read with the value that the
    replay gives it; without, reads stay what they were, as a tape sees them.  With ``wide``
    everything is computed in float64 where there is a kernel for it; :attr:`narrow` are the
    types of op for which there is none.
    """

    def __init__(
        self,
        log: Log,
        sources: Iterable[int],
        targets: Iterable[int] | None = None,
        *,
        hold: frozenset[str] = frozenset(),
        follow_state: bool = True,
        wide: bool = False,
    ) -> None:
        private.demand("op_defs", "execute")
        self._log = log
        self._hold = hold | SHAPES  # a replay changes no shape
        self._follow = follow_state
        self._widener = Widener() if wide else None
        self._dirty = {key for key in sources if key in log.variables}
        self._depends = set(sources) - self._dirty
        self._last: dict[int, Any] = {}  # what was last read of each variable
        self._before: dict[int, Any] = {}  # … and that, for each assignment
        self._forgets: set[int] = set()
        self.kept: tuple[Kept, ...] = ()
        self.steps: tuple[int, ...] = ()
        self._plan(None if targets is None else set(targets))

    # -- the plan ---------------------------------------------------------------

    def _plan(self, targets: set[int] | None) -> None:
        steps: list[int] = []
        kept: dict[int, Kept] = {}
        sources = frozenset(self._dirty | self._depends)
        for position, entry in enumerate(self._log.entries):
            reason = self._reason(position, entry, sources)
            if reason == "":
                steps.append(position)
            elif reason is not None:
                kept[position] = Kept(position, entry.type, reason)
        if targets is not None:
            steps, kept = self._needed(steps, kept, targets)
        self.steps = tuple(sorted({*steps, *(self._forgets & kept.keys())}))
        self.kept = tuple(kept.values())

    def _reason(self, position: int, entry: Entry, sources: frozenset[int]) -> str | None:
        """Why this op cannot run again: empty where it can, None where it need not."""
        log, depends, dirty = self._log, self._depends, self._dirty
        if entry.settled:
            touched = any(key in depends or key in dirty for key in entry.inputs)
            return "budget" if touched else None
        handles = [t._id for t in entry.inputs if t._id in log.variables]
        for tensor in entry.inputs:
            record = log.implicit_reads.get(tensor._id)
            if record is not None:
                self._last[record.key] = tensor
                if record.key in dirty:
                    depends.add(tensor._id)
        if entry.type == "ReadVariableOp":
            self._last[entry.inputs[0]._id] = entry.outputs[0]
        moved = any(t._id in depends for t in entry.inputs)
        stale = any(key in dirty for key in handles)
        if not (moved or stale) or entry.type in self._hold:
            return None
        if ASSIGNS.match(entry.type):
            return self._reason_to_assign(position, entry, handles)
        reason = "" if entry.type in READS else self._why_not(position, entry)
        if not reason:
            depends.update(t._id for t in entry.outputs if t._id not in sources)
        return reason

    def _reason_to_assign(self, position: int, entry: Entry, handles: list[int]) -> str | None:
        """An assignment is followed where the new value can be worked out; else it is forgotten:
        what was recorded of the variable stands from here on."""
        if not self._follow or not handles:
            return None
        handle = handles[0]
        before = self._last.pop(handle, None)
        known = entry.type == "AssignVariableOp" or handle in self._dirty or before is not None
        if entry.type in FOLLOWED and known:
            self._before[position] = before
            self._dirty.add(handle)
            return ""
        self._dirty.discard(handle)
        self._forgets.add(position)
        return "state"

    def _why_not(self, position: int, entry: Entry) -> str:
        function = self._log.functions.get(position)
        if function is not None:
            return reason_inside(function) or self._changed_since(position, entry)
        return reason(entry.type)

    def _changed_since(self, position: int, entry: Entry) -> str:
        """A function reads its variables as they stand now: have they been assigned since?"""
        handles = {t._id for t in entry.inputs if t._id in self._log.variables}
        later = self._log.entries[position + 1 :] if handles else ()
        for after in later:
            keys = after.inputs if after.settled else [t._id for t in after.inputs]
            if ASSIGNS.match(after.type) and handles.intersection(keys[:1]):
                return "state"
        return ""

    def _needed(
        self, steps: list[int], kept: dict[int, Kept], targets: set[int]
    ) -> tuple[list[int], dict[int, Kept]]:
        """Only what the targets depend on; an assignment is needed by every read after it."""
        wanted, chosen, held, again = set(targets), [], {}, set(steps)
        for position in range(len(self._log.entries) - 1, -1, -1):
            entry = self._log.entries[position]
            assigns = self._follow and bool(ASSIGNS.match(entry.type))
            outputs = entry.outputs if entry.settled else [t._id for t in entry.outputs]
            if not assigns and wanted.isdisjoint(outputs):
                continue
            wanted.update(entry.inputs if entry.settled else [t._id for t in entry.inputs])
            if position in kept:
                held[position] = kept[position]
            elif position in again:
                chosen.append(position)
        return chosen[::-1], dict(sorted(held.items()))

    @property
    def narrow(self) -> tuple[str, ...]:
        """The types of op that ran in their own precision though float64 was asked for."""
        return tuple(sorted(self._widener.narrow)) if self._widener else ()

    # -- the run ----------------------------------------------------------------

    def run(
        self,
        values: Mapping[int, Any] | None = None,
        shifts: Mapping[int, Any] | None = None,
        *,
        each: Callable[[int, Sequence[Any]], None] | None = None,
    ) -> dict[int, Any]:
        """Every tensor that came out new, by the id of the recorded one.

        ``values`` are new values of sources; ``shifts`` are added to each recorded value of
        a source instead (to every read of a variable).  ``each(position, outputs)`` is
        called after each op.  Nothing of it gets onto a tape of the user's.
        """
        log = self._log
        given = dict(values or {})
        state = {key: given.pop(key) for key in list(given) if key in log.variables}
        run = _Run(given, state, shifts or {})
        for key in (*given, *(shifts or {})):
            if key not in log.variables:
                run.new[key] = self._source(run, key)
        for position in self.steps:
            entry = log.entries[position]
            outputs = self._step(run, position, entry)
            for old, new in zip(entry.outputs, outputs, strict=False):
                if old._id not in run.new:
                    run.new[old._id] = new
            if each is not None:
                each(position, outputs)
        return run.new

    def _source(self, run: _Run, key: int) -> Any:
        if key in run.values:
            return run.values[key]
        return private.add(self._wide(self.recorded(key)), run.shifts[key])

    def recorded(self, key: int) -> Any:
        """The recorded tensor with this id, live; KeyError where there is none."""
        for _, entry in self._log.live():
            for tensor in (*entry.inputs, *entry.outputs):
                if tensor._id == key:
                    return tensor
        raise KeyError(key)

    def _wide(self, tensor: Any) -> Any:
        return tensor if self._widener is None else self._widener.wide(tensor)

    def _step(self, run: _Run, position: int, entry: Entry) -> Sequence[Any]:
        if entry.type == "ReadVariableOp":
            return [self._read(run, entry.inputs[0]._id, entry.outputs[0])]
        if entry.type in READS:
            return [self._gather(run, entry)]
        if ASSIGNS.match(entry.type):
            self._assign(run, position, entry)
            return ()
        inputs = [self._input(run, tensor) for tensor in entry.inputs]
        if position in self._log.functions:
            inputs = [self._function_input(run, t) for t in inputs]
        return run_op(entry, inputs, self._widener)

    def _assign(self, run: _Run, position: int, entry: Entry) -> None:
        handle = entry.inputs[0]._id
        if position in self._forgets:
            run.state.pop(handle, None)
            return
        given = [self._input(run, tensor) for tensor in entry.inputs[1:]]
        before = run.state.get(handle, self._before[position])
        run.state[handle] = assigned(entry.type, before, given)

    def _input(self, run: _Run, tensor: Any) -> Any:
        found = run.new.get(tensor._id)
        if found is not None:
            return found
        record = self._log.implicit_reads.get(tensor._id)
        if record is not None and tensor._id in self._depends:
            run.new[tensor._id] = self._read(run, record.key, tensor)
            return run.new[tensor._id]
        return tensor

    def _read(self, run: _Run, handle: int, recorded: Any) -> Any:
        if handle in run.shifts:
            return private.add(self._wide(recorded), run.shifts[handle])
        return run.state.get(handle, recorded)

    def _gather(self, run: _Run, entry: Entry) -> Any:
        """An embedding's rows; a shift of the table shifts each row that was gathered."""
        handle, indices = entry.inputs[0]._id, self._input(run, entry.inputs[1])
        recorded = entry.outputs[0]
        if handle in run.shifts:
            moved = gathered(entry.type, run.shifts[handle], indices)
            return private.add(self._wide(recorded), moved)
        table = run.state.get(handle)
        return recorded if table is None else gathered(entry.type, table, indices)

    def _function_input(self, run: _Run, tensor: Any) -> Any:
        """A function reads a variable through its handle: it gets a stand-in with the value."""
        if tensor._id not in run.state and tensor._id not in run.shifts:
            return tensor
        record = self._log.variables.get(tensor._id)
        if record is None:
            return tensor
        now = private.read_variable(tensor, record.dtype)
        value = run.state.get(tensor._id, now)
        if tensor._id in run.shifts:
            value = private.add(now, run.shifts[tensor._id])
        run.stand_ins.append(stand_in(value, record.dtype))
        return run.stand_ins[-1].handle
