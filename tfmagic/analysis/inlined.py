"""A recording in which the calls of ``tf.function`` are opened: their ops in their place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tfmagic.model import Body, GradientCall, Op, Recording, VariableInfo
from tfmagic.model.op_traits import ASSIGNS

__all__ = ["opened"]


def opened(recording: Recording) -> tuple[Recording, tuple[int, ...]]:
    """The recording with its bodies in place of their calls, and for each of its ops the
    index that it, or the call it stands in, had before."""
    opener = _Opener(recording)
    return opener.recording(), tuple(opener.before)


class _Opener:
    """Numbers ops and tensors anew."""

    def __init__(self, recording: Recording) -> None:
        self._old = recording
        self._bodies = {body.op: body for body in recording.bodies}
        self._tensors = list(recording.tensors)
        self._ops: list[Op] = []
        self._new: dict[int, int] = {}
        self._pairs = list(recording.tensor_gradients)
        self._assigned: dict[int, list[int]] = {}
        self._reads: dict[int, list[int]] = {}
        self.before: list[int] = []
        for op in recording.ops:
            self._new[op.index] = len(self._ops)
            body = self._bodies.get(op.index)
            if body is None:
                self._add(replace(op, index=len(self._ops)), op.index)
            else:
                self._open(op, body)

    def _add(self, op: Op, before: int) -> None:
        self._ops.append(op)
        self.before.append(before)
        for place, tensor in enumerate(op.outputs):
            self._tensors[tensor] = replace(self._tensors[tensor], op=op.index, output=place)

    def _open(self, call: Op, body: Body) -> None:
        number = dict(zip(body.inputs, call.inputs, strict=False))
        result: dict[int, int] = {}
        for inner, outer in zip(body.outputs, call.outputs, strict=False):
            if inner in number or inner in result:
                continue  # handed through, or given twice
            result[inner] = outer
        for tensor in body.tensors:
            if tensor.id in result:
                number[tensor.id] = result[tensor.id]
            elif tensor.id not in number:
                number[tensor.id] = len(self._tensors)
                self._tensors.append(replace(tensor, id=len(self._tensors), op=None))
        self._name(body, number)
        for op in body.ops:
            inputs = tuple(number[t] for t in op.inputs)
            outputs = tuple(number[t] for t in op.outputs)
            index = len(self._ops)
            self._state(op, index, inputs, outputs)
            stack = (*call.stack, *op.stack)
            line = op.line if op.line is not None else call.line
            self._add(
                replace(
                    call, index=index, type=op.type, inputs=inputs, outputs=outputs, stack=stack,
                    line=line, function="", own_gradient=op.own_gradient, attrs=(),
                    turn=op.turn,
                ),
                call.index,
            )  # fmt: skip
        self._through(call, body, number)
        self._pairs.extend((number[t], number[g]) for t, g in body.gradients)

    def _name(self, body: Body, number: Mapping[int, int]) -> None:
        """What the function calls its arguments, where they have no name outside."""
        for inner in body.inputs:
            known = self._tensors[number[inner]] if inner in number else None
            if known is not None and not known.name:
                name = body.tensors[inner].name
                self._tensors[known.id] = replace(known, name=name)

    def _through(self, call: Op, body: Body, number: Mapping[int, int]) -> None:
        """An output that is an input, or another output, gets an op that hands it on."""
        for inner, outer in zip(body.outputs, call.outputs, strict=False):
            if number[inner] != outer:
                index = len(self._ops)
                self._add(
                    replace(
                        call, index=index, type="Identity", inputs=(number[inner],),
                        outputs=(outer,), function="", attrs=(),
                    ),
                    call.index,
                )  # fmt: skip

    def _state(self, op: Op, index: int, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
        """Reads and assignments of the variables that were handed in."""
        handle = self._tensors[inputs[0]] if inputs else None
        if handle is None or handle.role != "handle" or handle.variable is None:
            return
        if op.type == "ReadVariableOp":
            for tensor in outputs:
                known = self._tensors[tensor]
                name = self._old.variables[handle.variable].name
                self._tensors[tensor] = replace(
                    known, role="read", variable=handle.variable, name=name
                )
                self._reads.setdefault(handle.variable, []).append(tensor)
        elif ASSIGNS.match(op.type):
            self._assigned.setdefault(handle.variable, []).append(index)

    # -- the whole ------------------------------------------------------------------------

    def recording(self) -> Recording:
        """All of it, numbered anew."""
        old, new = self._old, self._new
        ops = tuple(
            replace(
                op,
                differentiates=None if op.differentiates is None else new[op.differentiates],
            )
            for op in self._ops
        )
        return replace(
            old,
            ops=ops,
            tensors=tuple(self._tensors),
            variables=tuple(self._variable(v) for v in old.variables),
            gradients=tuple(self._call(call) for call in old.gradients),
            tensor_gradients=tuple(self._pairs),
            exits=tuple(replace(e, op=self._at(e.op)) for e in old.exits),
            functions=(),
            bodies=(),
        )

    def _variable(self, variable: VariableInfo) -> VariableInfo:
        assigned = [self._new[op] for op in variable.assigned_by]
        return replace(
            variable,
            reads=(*variable.reads, *self._reads.get(variable.id, ())),
            assigned_by=tuple(sorted({*assigned, *self._assigned.get(variable.id, ())})),
        )

    def _call(self, call: GradientCall) -> GradientCall:
        events = tuple(replace(event, op=self._at(event.op)) for event in call.events)
        gradients = tuple(
            g
            if g.variable is None
            else replace(g, source_tensors=(*g.source_tensors, *self._reads.get(g.variable, ())))
            for g in call.gradients
        )
        return replace(call, events=events, gradients=gradients)

    def _at(self, count: int) -> int:
        """How many ops had run, where ``count`` had before."""
        return self._new.get(count, len(self._ops))
