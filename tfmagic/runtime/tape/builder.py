"""From the settled log to the frozen recording."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, NamedTuple

from tfmagic.language import Message
from tfmagic.model import (
    Body,
    Exit,
    Failure,
    Frozen,
    Gradient,
    GradientCall,
    Jacobian,
    Op,
    Recording,
    TapeEvent,
    TensorInfo,
    Trace,
    TracedFunction,
    VariableInfo,
)
from tfmagic.model.op_traits import ASSIGNS, PYTHON
from tfmagic.model.reduction import Reduction, without_replica
from tfmagic.model.value import UNKNOWN
from tfmagic.runtime.capture.log import (
    FUNCTION,
    Answer,
    Call,
    Entry,
    HostTransfer,
    Leaf,
    Log,
    Reduced,
    SourceStack,
    Traced,
    VariableRecord,
)
from tfmagic.runtime.capture.snapshot import Snapshot, describe_together
from tfmagic.runtime.capture.source import call_arguments, source_of
from tfmagic.runtime.capture.structure import expression_at
from tfmagic.runtime.tape.attributes import Attributes
from tfmagic.runtime.tape.backward_links import Linker
from tfmagic.runtime.tape.bodies import body
from tfmagic.runtime.tape.gaps import gaps, no_gradient, places, versions
from tfmagic.runtime.tape.inner_gradients import inner_verdicts
from tfmagic.runtime.tape.lines import Lines
from tfmagic.runtime.tape.runs import compiled_runs

#: Characters of an exception's text that are kept.
_MESSAGE = 2000


class Failed(NamedTuple):
    """The exception that ended a run, without the frames that a traceback keeps alive."""

    type: str
    message: str
    places: SourceStack

    @classmethod
    def of(cls, error: BaseException) -> Failed:
        """What is kept of ``error``; its places stand outermost first."""
        places, trace = [], error.__traceback__
        while trace is not None:
            places.append((trace.tb_frame.f_code, trace.tb_lineno))
            trace = trace.tb_next
        text = str(error)  # what is the matter stands at the end of TensorFlow's long ones
        text = (
            text
            if len(text) <= _MESSAGE
            else f"{text[: _MESSAGE // 2]}\n…\n{text[-_MESSAGE // 2 :]}"
        )
        return cls(type(error).__name__, text, tuple(places))


@dataclass(slots=True)
class _Made:
    """What was made of the log so far; ``stale`` are keys whose tensor is to be told anew.

    ``untaped`` are the names of the functions that were called, ``ran`` the types of op and the
    devices that they ran on, ``unknown`` the exits of tensors that no op has taken yet.
    """

    ops: list[Op] = field(default_factory=list)
    tensors: list[TensorInfo] = field(default_factory=list)
    calls: list[GradientCall] = field(default_factory=list)
    gradient_of: dict[int, int] = field(default_factory=dict)
    answers: dict[int | None, str] = field(default_factory=dict)
    exits: dict[Exit, None] = field(default_factory=dict)
    bodies: dict[int, Body] = field(default_factory=dict)
    types: set[str] = field(default_factory=set)
    ran: set[tuple[str, str]] = field(default_factory=set)
    untaped: list[str] = field(default_factory=list)
    opaque: int = 0
    unknown: list[HostTransfer] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    variable_names: list[str] = field(default_factory=list)
    stale: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Upto:
    """How much of each list of the log has been taken."""

    reads: int = 0
    exits: int = 0
    reductions: int = 0


class RecordingBuilder:
    """Builds the :class:`Recording` of a log, and builds it again once the log has grown.

    What was made of an op or of a gradient call stands: a log to which a cell was added costs
    what that cell ran.  ``label`` names the cell of a file for people.
    """

    def __init__(self, label: Callable[[str], str]) -> None:
        self._log = Log()
        self._entries: list[Entry] = []
        self._linker = Linker(self._entries)
        self._tensor: dict[int, int] = {}
        self._order: list[int] = []
        self._origin: dict[int, tuple[int, int]] = {}
        self._lines = Lines(label)
        self._attributes = Attributes()
        self._read_of: dict[int, int] = {}
        self._read_seen: set[int] = set()
        self._assigned: dict[int, list[int]] = {}
        self._read_at: dict[int, list[tuple[int, int]]] = {}
        self._since: dict[int, tuple[int, tuple[int, ...]]] = {}
        self._records: list[VariableRecord] = []
        self._made, self._upto = _Made(), _Upto()

    def recording(
        self,
        log: Log,
        *,
        seconds: float = 0.0,
        failure: Failed | None = None,
        notes: Sequence[Message] = (),
    ) -> Recording:
        """The whole of a settled ``log``: of the one before, with what it has grown by."""
        self._log, made = log, self._made
        self._take_entries()
        self._take_calls()
        calls = tuple(made.calls)
        failed = self._failure(failure)
        reductions = tuple(self._reduction(reduced) for reduced in log.reductions)
        exits, functions = self._exits(), self._functions()
        rebound = self._rebound(calls)
        bodies = self._bodies()
        traces, frozen = self._traces(), self._frozen()
        runs = compiled_runs(log, made.ops, self._lines.lines, self._name_of_handle)
        inner = tuple(inner_verdicts(log, self._lines, self._name_of_handle, runs))
        return Recording(
            ops=tuple(made.ops),
            tensors=self._tensors(),
            variables=self._variables(),
            runs=runs,
            traces=traces,
            frozen=frozen,
            remarks=inner,
            gradients=calls,
            lines=self._lines.lines,
            cells=self._lines.cells,
            complete=gaps(log, made.untaped, made.opaque),
            failure=failed,
            tensor_gradients=tuple(made.gradient_of.items()),
            no_gradient=no_gradient(self._op_types()),
            seconds=seconds,
            versions=versions(),
            jacobians=tuple(_named(*found, calls) for found in log.jacobians),
            hessians=tuple(_named(*found, calls) for found in log.hessians),
            said=tuple(notes),
            exits=exits,
            functions=functions,
            places=places(made.ran, log.default),
            reductions=reductions,
            bodies=bodies,
            rebound=rebound,
        )

    # -- what is new ------------------------------------------------------------

    def _take_entries(self) -> None:
        """Number the tensors of what ran since the last time, and note reads and writes."""
        log, first = self._log, len(self._entries)
        self._records = sorted(log.variables.values(), key=lambda record: record.index)
        self._entries += islice(log.entries, first, None)
        fresh = self._entries[first:]
        for position, entry in enumerate(fresh, first):
            self._number(position, entry)
            self._linker.meet(position, entry)
        self._made.types.update({entry.type for entry in fresh})
        for key, record in islice(log.implicit_reads.items(), self._upto.reads, None):
            self._read(key, record.index)
        self._upto.reads = len(log.implicit_reads)
        for position, entry in enumerate(fresh, first):
            self._variables_of(position, entry)
        for position, entry in enumerate(fresh, first):
            self._note_reads(position, entry)

    def _take_calls(self) -> None:
        """Follow the gradient calls that were made since, and put ops and calls into words."""
        log, made = self._log, self._made
        calls = log.calls[len(made.calls) :]
        for call in calls:
            self._linker.follow(call)
            for leaf in (*call.target, *call.sources):
                self._number_leaf(leaf)
            for answer in call.result:
                self._anew(answer.key)
        for reduced in islice(log.reductions, self._upto.reductions, None):
            for key in (*reduced.parts, reduced.result):
                self._anew(key)
        self._upto.reductions = len(log.reductions)
        for position in range(len(made.ops), len(self._entries)):
            made.ops.append(self._op(position, self._entries[position]))
        found = tuple(self._call(call) for call in calls)
        made.calls += found
        made.answers.update((g.tensor, g.source) for call in found for g in call.gradients)
        self._gradients()

    def _rebound(self, calls: Sequence[GradientCall]) -> tuple[tuple[str, int], ...]:
        """Sources without a gradient that were Variables once, and the line that changed it."""
        known = self._log.rebound
        if not known:
            return ()
        lost = {g.source for call in calls for g in call.gradients if g.value is None}
        return tuple((name, self._lines.at(*known[name])) for name in lost & known.keys())

    def _op_types(self) -> set[str]:
        inner = (op.type for inside in self._log.insides.values() for op in inside.ops)
        return self._made.types.union(inner)

    def _reduction(self, reduced: Reduced) -> Reduction:
        line, _ = self._lines.place(reduced.place)
        *parts, result = self._ids((*reduced.parts, reduced.result))
        return Reduction(
            how=reduced.how,
            parts=tuple(parts),
            result=result,
            source=without_replica(self._made.answers.get(parts[0], "")),
            name=self._log.names.get(reduced.result, ""),
            line=line,
        )

    # -- numbers ----------------------------------------------------------------

    def _id(self, key: int | None) -> int | None:
        if key is None or key not in self._log.snapshots:
            return None
        if key not in self._tensor:
            self._tensor[key] = len(self._order)
            self._order.append(key)
        return self._tensor[key]

    def _anew(self, key: int | None) -> None:
        """Number a tensor of which more is known now than its op told."""
        if self._id(key) is not None and key is not None:
            self._made.stale.add(key)

    def _snapshot(self, key: int | None) -> Snapshot | None:
        known = key is not None and key in self._log.snapshots
        return self._log.snapshot(key) if known else None  # type: ignore[arg-type]

    def _ids(self, keys: Sequence[int]) -> tuple[int, ...]:
        known = self._tensor
        try:
            return tuple([known[key] for key in keys])
        except KeyError:  # some are new, or none of the recording's
            return tuple([i for i in map(self._id, keys) if i is not None])

    def _number(self, position: int, entry: Entry) -> None:
        known = self._tensor
        for key in entry.inputs:
            if key not in known:
                self._id(key)
        for output, key in enumerate(entry.outputs):
            self._anew(key)
            self._origin[key] = (position, output)

    def _number_leaf(self, leaf: Leaf) -> None:
        if leaf.kind == "tensor":
            self._id(leaf.key)

    def _read(self, key: int, variable: int) -> None:
        """The tensor with this key is what was read of a variable."""
        self._read_of[key] = variable
        self._made.stale.add(key)

    def _variables_of(self, position: int, entry: Entry) -> None:
        variables = self._log.variables
        owners = [variables[key] for key in entry.inputs if key in variables]
        if owners and entry.type == "ReadVariableOp":
            self._read(entry.outputs[0], owners[0].index)
        elif owners and ASSIGNS.match(entry.type):
            self._assigned.setdefault(owners[0].index, []).append(position)

    def _note_reads(self, position: int, entry: Entry) -> None:
        """For each variable its reads and the entries where they first appear, in order."""
        for key in (*entry.inputs, *entry.outputs):
            if key in self._read_of and key not in self._read_seen:
                self._read_seen.add(key)
                self._read_at.setdefault(self._read_of[key], []).append((position, key))

    # -- ops and tensors --------------------------------------------------------

    def _op(self, position: int, entry: Entry) -> Op:
        op_type, inputs, _, outputs, place, scope, sent, when, call, cell, _ = entry
        before = self._entries[position - 1].when if position else when
        line, stack = self._lines.place(place)
        match = FUNCTION.match(op_type) if op_type[0] == "_" else None
        function = match[2] if match else ""
        if function and call < 0:
            self._made.untaped.append(function)
        # one without a result runs where what it changes lives
        first = outputs[0] if outputs else inputs[0] if inputs else None
        where = "" if first is None else self._log.snapshot(first).device
        self._made.ran.add((op_type, where))
        self._made.opaque += op_type in PYTHON
        return Op(
            index=position,
            type=op_type,
            kind="forward" if call < 0 else "backward",
            inputs=self._ids(inputs),
            outputs=self._ids(outputs),
            attrs=self._attributes.of(entry),
            scope=scope,
            line=line,
            stack=stack,
            device=where,
            sent=sent,
            duration=max(0.0, when - before),
            differentiates=self._linker.forward.get(position),
            call=call if call >= 0 else None,
            cell=cell,
            function=function,
            own_gradient=self._log.own_gradients.get(outputs[0], "") if outputs else "",
        )

    def _tensors(self) -> tuple[TensorInfo, ...]:
        """Every tensor, those anew of which a name, a value or a maker has become known."""
        made = self._made
        self._note_names()
        told = len(made.tensors)
        for key in made.stale:
            if self._tensor.get(key, told) < told:
                made.tensors[self._tensor[key]] = self._tensor_info(key)
        made.stale.clear()
        describe_together(map(self._log.snapshot, self._order[told:]))
        made.tensors += [self._tensor_info(key) for key in self._order[told:]]
        return tuple(made.tensors)

    def _note_names(self) -> None:
        """Find the tensors whose names have become known, or those of their variables."""
        made, names = self._made, self._log.names
        made.stale.update(key for key, name in names.items() if made.names.get(key) != name)
        made.stale.update(made.names.keys() - names.keys())
        made.names = dict(names)
        before = made.variable_names
        made.variable_names = [self._variable_name(r.index) for r in self._records]
        for record, name in zip(self._records, made.variable_names, strict=True):
            if record.index >= len(before) or before[record.index] != name:
                made.stale.add(record.key)
                made.stale.update(key for _, key in self._read_at.get(record.index, ()))

    def _tensor_info(self, key: int) -> TensorInfo:
        log, snapshot = self._log, self._log.snapshot(key)
        position, output = self._origin.get(key, (None, 0))
        variable = self._read_of.get(key)
        if key in log.variables:
            role, variable = "handle", log.variables[key].index
        elif variable is not None:
            role = "read"
        else:
            role = "input" if position is None else "op"
        return TensorInfo(
            id=self._tensor[key],
            shape=snapshot.shape,
            dtype=snapshot.dtype,
            device=snapshot.device,
            role=role,
            op=position,
            output=output,
            variable=variable,
            name=self._name(key, variable),
            value=snapshot.value(),
            bytes=snapshot.bytes,
        )

    def _name(self, key: int, variable: int | None) -> str:
        if variable is not None:
            return self._variable_name(variable)
        return self._log.names.get(key, "")

    def _name_of_handle(self, key: int) -> str:
        """What the variable is called whose handle this is."""
        record = self._log.variables.get(key)
        return self._variable_name(record.index) if record is not None else str(key)

    def _variable_name(self, index: int) -> str:
        record = self._records[index]
        return self._log.names.get(record.key) or record.label or f"variable {index}"

    def _variables(self) -> tuple[VariableInfo, ...]:
        found = []
        for record in self._records:
            mine = self._ids([key for _, key in self._read_at.get(record.index, ())])
            first = self._log.snapshot(self._order[mine[0]]) if mine else None
            handle = self._snapshot(record.key)
            found.append(
                VariableInfo(
                    id=record.index,
                    name=self._variable_name(record.index),
                    shape=first.shape if record.shape is None and first else record.shape,
                    dtype=record.dtype or (first.dtype if first else ""),
                    device=handle.device if handle else (first.device if first else ""),
                    trainable=record.trainable,
                    label=record.label,
                    value=first.value() if first else UNKNOWN,
                    reads=mine,
                    assigned_by=tuple(self._assigned.get(record.index, ())),
                )
            )
        return tuple(found)

    # -- gradients --------------------------------------------------------------

    def _gradients(self) -> None:
        """Note which tensor is whose gradient by the calls that were followed last."""
        for tensor, key in self._linker.take_gradients().items():
            one, its = self._id(tensor), self._id(key)
            if one is not None and its is not None:
                self._made.gradient_of[one] = its

    def _call(self, call: Call) -> GradientCall:
        line, _ = self._lines.place(call.place)
        target, sources = self._expressions(call)
        names = tuple(self._leaf_name(leaf, target) for leaf in call.target)
        known = (self._id(leaf.key) for leaf in call.target if leaf.kind == "tensor")
        answers = call.result or (Answer(None),) * len(call.sources)
        return GradientCall(
            index=call.index,
            origin=call.origin,
            targets=names,
            target_tensors=tuple(t for t in known if t is not None),
            gradients=tuple(
                self._gradient(call, " + ".join(names), leaf, answer, sources, position)
                for position, (leaf, answer) in enumerate(zip(call.sources, answers, strict=True))
            ),
            line=line,
            error=call.error,
            cell=call.cell,
            watches=call.watches,
            events=tuple(self._event(event) for event in call.events),
            zeros=call.zeros,
        )

    def _event(self, event: Any) -> TapeEvent:
        line, _ = self._lines.place(event.place)
        records = (self._log.variables.get(key) for key in event.keys)
        return TapeEvent(
            kind=event.kind,
            op=event.at,
            line=line,
            tensors=self._ids(event.keys),
            variables=tuple(record.index for record in records if record is not None),
        )

    # -- what is not an op --------------------------------------------------------

    def _exits(self) -> tuple[Exit, ...]:
        made, heard = self._made, self._log.exits
        waiting = [*made.unknown, *islice(heard, self._upto.exits, None)]
        self._upto.exits = len(heard)
        made.unknown = [left for left in waiting if not self._take_exit(left)]
        return tuple(made.exits)

    def _take_exit(self, left: HostTransfer) -> bool:
        """Note a place where a value went to Python; whether the tensor is a recorded one."""
        tensor, (line, _) = self._id(left.key), self._lines.place(left.place)
        if tensor is not None and line is not None:
            self._made.exits[Exit(tensor, left.how, line, left.at)] = None
        return tensor is not None

    def _bodies(self) -> tuple[Body, ...]:
        made = self._made.bodies
        for position in sorted(self._log.insides.keys() - made.keys()):
            made[position] = body(position, self._log.insides[position], self._lines.at)
        return tuple(made[position] for position in sorted(made))

    def _functions(self) -> tuple[TracedFunction, ...]:
        calls: dict[Traced, list[int]] = {}
        for position, traced in self._log.traced.items():
            calls.setdefault(traced, []).append(position)
        return tuple(
            TracedFunction(
                name=traced.code.co_name,
                ops=tuple(ops),
                mentions=traced.mentions,
                line=self._lines.of(traced.code, traced.code.co_firstlineno),
            )
            for traced, ops in calls.items()
        )

    def _traces(self) -> tuple[Trace, ...]:
        return tuple(
            Trace(
                function=note.function,
                line_number=note.place[0][1] if note.place else 0,
                reason=note.reason,
                seconds=note.seconds,
                argument=note.argument,
                before=note.before,
                now=note.now,
                line=self._lines.of(*note.place[0]) if note.place else None,
                made=note.code.co_firstlineno if note.own else 0,
                own=note.own,
                inside=note.inside,
            )
            for note in self._log.traces
        )

    def _frozen(self) -> tuple[Frozen, ...]:
        return tuple(
            Frozen(
                function=told.function,
                kind=told.kind,
                name=told.name,
                line_number=told.line,
                line=self._lines.of(told.code, told.line),
                before=told.before,
                now=told.now,
            )
            for told in self._log.frozen
        )

    def _expressions(self, call: Call) -> tuple[Any, Any]:
        """What the user wrote for target and sources, where their line says it."""
        if not call.place:
            return None, None
        code, number = call.place[0]
        source = source_of(code.co_filename)
        arguments = call_arguments(source, number, "gradient") or call_arguments(
            source, number, "jacobian"
        )
        target, sources, *_ = *arguments, None, None
        return target, sources

    def _leaf_name(self, leaf: Leaf, expression: Any) -> str:
        known = self._log.names.get(leaf.key) if leaf.key is not None else None
        record = self._log.variables.get(leaf.key) if leaf.key is not None else None
        return (
            known
            or expression_at(expression, leaf.place)
            or (record.label if record else "")
            or f"{leaf.kind}{leaf.place}"
        )

    def _gradient(
        self,
        call: Call,
        target: str,
        leaf: Leaf,
        answer: Answer,
        expression: Any,
        position: int,
    ) -> Gradient:
        snapshot = self._snapshot(answer.key)
        record = self._log.variables.get(leaf.key) if leaf.key is not None else None
        tensors = self._source_tensors(call, leaf)
        weight = None
        if tensors:
            figures = self._log.snapshot(self._order[tensors[-1]]).value().stats
            weight = figures.norm if figures else None
        return Gradient(
            target=target,
            source=self._leaf_name(leaf, expression),
            place=leaf.place,
            shape=(answer.shape or snapshot.shape) if snapshot else None,
            dtype=snapshot.dtype if snapshot else "",
            value=snapshot.value() if snapshot else None,
            tensor=self._id(answer.key),
            variable=record.index if record else None,
            source_tensors=tensors,
            weight_norm=weight if weight is None or math.isfinite(weight) else None,
            rows=answer.rows,
            source_dtype=leaf.dtype,
            frozen=leaf.frozen,
            check=_at(call.checks, position),
            histogram=_at(call.histograms, position),
            probe=self._log.probes.get((call.index, position)),
        )

    def _source_tensors(self, call: Call, leaf: Leaf) -> tuple[int, ...]:
        """The tensors that stand for a source: itself, or the reads of a variable.

        In a loop each call has its own: the reads since the call before it that asked
        for the same variable, or that call's where there were none since.
        """
        if leaf.kind == "tensor":
            own = self._id(leaf.key)
            return () if own is None else (own,)
        record = self._log.variables.get(leaf.key) if leaf.key is not None else None
        if record is None:
            return ()
        reads = self._read_at.get(record.index, [])
        start, before = self._since.get(record.index, (0, ()))
        end = bisect_left(reads, (call.start if call.origin == "cell" else call.end,))
        found = self._ids([key for _, key in reads[start:end]]) or before
        self._since[record.index] = (max(start, end), found)
        return found

    def _failure(self, failed: Failed | None) -> Failure | None:
        if failed is None:
            return None
        mine = [place for place in failed.places if self._lines.knows(place[0])]
        line = self._lines.of(*mine[-1]) if mine else None
        return Failure(failed.type, failed.message, line)


def _named(index: int, places: tuple[int, ...], found: Any, calls: Sequence[GradientCall]) -> Any:
    """A Jacobian or Hessian with the user's names for its target and sources."""
    call = calls[index]
    target, *sources = places
    names = tuple(call.gradients[place].source for place in sources)
    if isinstance(found, Jacobian):
        return replace(found, target=call.targets[target], source=names[0])
    return replace(found, target=call.targets[target], sources=names)


def _at(found: Sequence[Any], position: int) -> Any:
    return found[position] if position < len(found) else None
