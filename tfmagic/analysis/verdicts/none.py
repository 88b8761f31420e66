"""Why a gradient is None: what the source is, and how far its influence gets.

The way is looked for from both ends.  Where a gradient could come back by the recorded
ops, the tape that was asked did not hear them all; where none could, the first op that
lets none through is to blame, or the place where the value left TensorFlow.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable

from tfmagic.analysis.code import code_of, dotted, must_be_whole, names_in, stored
from tfmagic.analysis.custom import custom_line
from tfmagic.analysis.dependence import (
    FLOATS,
    STATE,
    STOPS,
    DependenceGraph,
    Finding,
    Reach,
    Source,
)
from tfmagic.analysis.rebinding import rebound
from tfmagic.analysis.taint import goes_on, leaving, roots
from tfmagic.analysis.tapes import Heard, heard
from tfmagic.model import Exit, Gradient, GradientCall, Line, Op, TracedFunction

__all__ = ["NoneRules"]

_MOVING = re.compile(r"moving_(mean|variance)|seed_generator|iterations?$|learning_rate$")
_COPY = re.compile(r"\.(get_weights|numpy)\(\)")
_DATASET = re.compile("Dataset|Iterator")
_PYTHON = {"PyFunc", "PyFuncStateless"}
_STRAIGHT = re.compile(r"([\w.]+) \+ [\w.]*stop_gradient\(.* - \1\)")
_DRAWS = {"Multinomial", "StatelessMultinomial", "StatelessRandomBinomial"}
_SHAPES = {"Shape", "ShapeN", "Size", "Rank", "OnesLike", "ZerosLike"}


class NoneRules:
    """The rules for a gradient that is None, over one recording."""

    def __init__(self, ways: DependenceGraph) -> None:
        self._ways = ways
        self._recording = ways.recording
        self._apart_at: dict[tuple[int | None, str, str], Finding] = {}

    def finding(self, call: GradientCall, gradient: Gradient) -> Finding:
        """Why this gradient is None."""
        source = self._ways.source(gradient)
        if call.error and not call.target_tensors:
            return self._no_tensor(call, gradient)
        if gradient.frozen or _MOVING.search(source.label):
            return Finding("expected")
        if source.dtype and not source.dtype.startswith(FLOATS):
            return Finding("not_float", line=source.line, values=(("dtype", source.dtype),))
        if call.error and not source.known:
            return self._no_source(call, gradient)
        found = None if source.is_variable else rebound(self._recording, call, gradient, source)
        return found or self._on_the_way(call, gradient, source)

    def hidden(self, call: GradientCall, gradient: Gradient) -> Finding | None:
        """Why this gradient would be None, had zero not been wanted in place of that; a source
        that has no part in the target is what zero was wanted for."""
        reach = self._ways.reach(gradient, self._ways.ancestors(call))
        if set(call.target_tensors) & reach.free:
            tape, source = heard(call), self._ways.source(gradient)
            way = self._ways.way(call, gradient)
            return self._off_tape(call, gradient, source, tape, way) if tape is not None else None
        found = self.finding(call, gradient)
        return None if found.code in ("unused", "disconnected", "expected") else found

    def _no_tensor(self, call: GradientCall, gradient: Gradient) -> Finding:
        """The target is no tensor: its value was taken out of TensorFlow."""
        reach = self._ways.reach(gradient, self._recording.ops)
        return self._left(call, gradient, reach, bools=False) or Finding(
            "left_tensorflow", line=call.line, words="no_tensor"
        )

    def _no_source(self, call: GradientCall, gradient: Gradient) -> Finding:
        """The source is no tensor: plain data, or the value that was taken out of one."""
        if _COPY.search(gradient.source):
            return Finding("wrong_object", line=call.line, way=(), words="copy")
        names = roots(gradient)
        for exit_ in self._recording.exits:
            line = self._recording.lines[exit_.line]
            code = code_of(self._recording.cells[line.cell].source)
            statement = code.statement(line.number)
            if statement is not None and names & stored(statement):
                return Finding("wrong_object", line=exit_.line, way=())
        return Finding("not_watched", line=call.line)

    def _on_the_way(self, call: GradientCall, gradient: Gradient, source: Source) -> Finding:
        deep = self._ways.deep(call)
        reach = self._ways.reach(gradient, self._ways.ancestors(call), backward=deep)
        targets = set(call.target_tensors)
        if targets & reach.free:
            return self._unheard(call, gradient, source)
        # that a gradient was computed in the shape of a value is no way of the value's own
        heard = [op for op in reach.stops if op.kind == "forward" or op.type not in _SHAPES]
        whole = [op for op in heard if not self._ways.passes(op)]
        others = [op for op in (*whole, *heard) if op.type not in _SHAPES]
        stops = others or whole or heard
        if stops and targets & reach.any:
            stop = next((op for op in stops if self._ways.leads(op, call)), stops[0])
            way = self._ways.to(gradient, stop.outputs)
            words = _kept_in(stop) or _drawn(stop) or self._straight(stop)
            return Finding(self._why_blocked(stop), op=stop.index, way=way, words=words)
        dropped = self._dropped_out(call, gradient) if deep else None
        return dropped or self._apart(call, gradient, source)

    def _dropped_out(self, call: GradientCall, gradient: Gradient) -> Finding | None:
        """A source that the target is not made of any more: it led to what an earlier call
        differentiated, and the slope that came of it does without, as that of ``w * x + b``
        by ``x`` does without ``b``."""
        inner = {op.call for op in self._ways.ancestors(call) if op.kind == "backward"}
        free = self._ways.reach(gradient, self._recording.ops).free
        for before in self._recording.gradients:
            if before.index in inner and free.intersection(before.target_tensors):
                return Finding("disconnected", line=before.line, words="drops_out", way=())
        return None

    # -- a way there is, but not on this tape ---------------------------------------

    def _unheard(self, call: GradientCall, gradient: Gradient, source: Source) -> Finding:
        """A gradient could come back, and yet TensorFlow's answer is None."""
        way = self._ways.way(call, gradient)
        tape = heard(call)
        if tape is not None:
            found = self._off_tape(call, gradient, source, tape, way)
            if found is not None:
                return found
        for op in way:
            if op.own_gradient:
                line = custom_line(self._recording, op)
                return Finding("custom_gradient", op=op.index, line=line)
        for op in way:
            if op.function and tape is not None:
                return Finding("no_gradient_op", op=op.index)
        if not source.is_variable or not call.watches:
            return Finding("not_watched", line=source.line)
        return Finding("outside_tape" if source.trainable else "not_trainable", line=source.line)

    def _off_tape(
        self,
        call: GradientCall,
        gradient: Gradient,
        source: Source,
        tape: Heard,
        way: tuple[Op, ...],
    ) -> Finding | None:
        """The op that the tape did not hear, or the source that it was not told of."""
        told = tape.watch_of(gradient)
        by_itself = source.is_variable and source.trainable and call.watches
        if told is None and not by_itself and not self._comes_from_watched(call, source, tape):
            if tape.reset is not None and self._told_before(call, gradient):
                return Finding("outside_tape", line=tape.reset.line)
            if source.is_variable and call.watches:
                return Finding("not_trainable", line=tape.began.line)
            return Finding("not_watched", line=tape.began.line)
        own = self._ways.own(gradient)
        used = [op.index for op in way if own.intersection(op.inputs)]
        late = told is not None and not by_itself and used and min(used) < told.op
        if told is not None and late and tape.listened(min(used)):
            return Finding("not_watched", line=told.line)
        reads = [op for op in way if op.type != "ReadVariableOp"]
        missed = tape.missed(reads)
        if not missed:
            return None
        if tape.reset is not None and missed[0].index < tape.reset.op:
            return Finding("outside_tape", op=missed[0].index, line=tape.reset.line)
        # in a loop the same block ran before, on another tape: what stands beside it is to blame
        first = next((op for op in missed if not self._in_block(tape, op)), missed[0])
        return Finding("outside_tape", op=first.index, line=self._beside(tape, first))

    def _in_block(self, tape: Heard, op: Op) -> bool:
        """Whether a line that led to the op stands in the block of the tape."""
        if tape.began.line is None:
            return False
        home = self._recording.lines[tape.began.line]
        block = code_of(self._recording.cells[home.cell].source).statement(home.number)
        if not isinstance(block, ast.With) or tape.listened(op.index):
            return False
        lines = (self._recording.lines[frame.line] for frame in op.stack)
        inside = range(block.lineno, (block.end_lineno or block.lineno) + 1)
        return any(line.cell == home.cell and line.number in inside for line in lines)

    def _beside(self, tape: Heard, op: Op) -> int | None:
        """The line that led to the op, in the function in which the tape's block stands."""
        if tape.began.line is None:
            return None
        recording = self._recording
        home = recording.lines[tape.began.line]
        code = code_of(recording.cells[home.cell].source)
        block = code.statement(home.number)
        for frame in reversed(op.stack):
            line = recording.lines[frame.line]
            statement = code.statement(line.number) if line.cell == home.cell else None
            if statement is None or block is None:
                continue
            if code.function(statement) is code.function(block):
                return frame.line
        return None

    def _told_before(self, call: GradientCall, gradient: Gradient) -> bool:
        tensors = set(gradient.source_tensors)
        return any(
            e.kind == "watch" and (tensors & set(e.tensors) or gradient.variable in e.variables)
            for e in call.events
        )

    def _comes_from_watched(self, call: GradientCall, source: Source, tape: Heard) -> bool:
        """Whether the source was itself computed, on the tape, from something watched."""
        if source.op is None or not tape.listened(source.op):
            return False
        recording, todo, seen = self._recording, [source.op], set()
        watched = {t for event in tape.watched for t in event.tensors}
        variables = {v for event in tape.watched for v in event.variables}
        while todo:
            op = recording.ops[todo.pop()]
            if op.index in seen or not tape.listened(op.index):
                continue
            seen.add(op.index)
            for tensor in op.inputs:
                info = recording.tensors[tensor]
                if tensor in watched or info.variable in variables:
                    return True
                read = None if info.variable is None else recording.variables[info.variable]
                if read is not None and read.trainable and call.watches:
                    return True
                if info.op is not None:
                    todo.append(info.op)
        return False

    def _straight(self, stop: Op) -> str:
        """The sentence for ``x + tf.stop_gradient(y - x)``, which passes nothing to ``y``."""
        text = "" if stop.line is None else self._recording.lines[stop.line].text
        return "straight_through" if stop.type in STOPS and _STRAIGHT.search(text) else ""

    def _why_blocked(self, op: Op) -> str:
        outputs = [self._recording.tensors[t] for t in op.outputs]
        if op.type in _PYTHON:
            return "left_tensorflow"
        if op.type in STOPS:
            return "stop_gradient"
        if STATE.fullmatch(op.type):
            return "state"
        if self._ways.passes(op) or (outputs and not outputs[0].dtype.startswith(FLOATS)):
            return "through_integer"
        return "no_gradient_op"

    # -- nothing recorded leads there -------------------------------------------------

    def _apart(self, call: GradientCall, gradient: Gradient, source: Source) -> Finding:
        """Nothing recorded leads from the source to the target.

        All ops have to be looked through, so a line in a loop is judged once.
        """
        key = (call.line, gradient.source, gradient.place)
        if key not in self._apart_at:
            reach = self._ways.reach(gradient, self._recording.ops)
            self._apart_at[key] = self._why_apart(call, gradient, source, reach)
        return self._apart_at[key]

    def _why_apart(
        self, call: GradientCall, gradient: Gradient, source: Source, reach: Reach
    ) -> Finding:
        states = self._through_state(call, gradient, reach)
        if states:
            inputs = self._recording.ops[states[0]].inputs
            way = (*self._ways.to(gradient, inputs), *states)
            return Finding("state", op=states[0], way=way)
        made = any(self._recording.tensors[t].op is not None for t in call.target_tensors)
        if not made and not call.events and call.origin == "cell":
            return self._older(call, source)
        stored = [op for op in reach.stops if STATE.fullmatch(op.type)]
        if stored and set(call.target_tensors) & reach.any:
            way, words = (stored[0].index,), _kept_in(stored[0])
            return Finding("state", op=stored[0].index, way=way, words=words)
        frozen = self._frozen(call, gradient)
        if frozen is not None:
            return frozen
        left = self._left(call, gradient, reach)
        if left is not None:
            return left
        return self._not_the_one(call, gradient, source, reach)

    def _older(self, call: GradientCall, source: Source) -> Finding:
        """The target was computed before anybody listened: only what tape and source are is
        known, not what lies between them."""
        if source.is_variable and not source.trainable:
            return Finding("not_trainable", line=call.line, way=())
        code = "unused" if source.is_variable and call.watches else "not_watched"
        return Finding(code, line=call.line, way=(), words="older")

    def _not_the_one(
        self, call: GradientCall, gradient: Gradient, source: Source, reach: Reach
    ) -> Finding:
        first = min((self._recording.tensors[t].op or 0 for t in call.target_tensors), default=0)
        after = source.op is not None and source.op > first
        if not reach.used:
            if source.op is not None and self._related(call, source.op):
                return Finding("made_later" if after else "wrong_object", op=source.op, way=())
            copied = self._copied_from(call, gradient)
            if copied is not None:
                return Finding("wrong_object", op=copied, way=())
            return Finding("unused", line=call.line, way=())
        if after:
            return Finding("made_later", op=source.op, way=())
        return Finding("disconnected", line=call.line, way=())

    def _related(self, call: GradientCall, index: int) -> bool:
        """Whether what the source was made of went into the target too."""
        recording, tape = self._recording, heard(call)
        watched = {t for event in tape.watched for t in event.tensors} if tape else set()

        def roots_of(ops: Iterable[int]) -> set[tuple[str, int]]:
            tensors = [recording.tensors[t] for op in ops for t in recording.ops[op].inputs]
            floats = [t for t in tensors if t.dtype.startswith(FLOATS)]
            read = {("variable", t.variable) for t in tensors if t.variable is not None}
            known = (t for t in floats if t.op is not None or t.name or t.id in watched)
            return read | {("tensor", t.id) for t in known}

        return bool(
            roots_of(self._ways.to_op(index))
            & roots_of(op.index for op in self._ways.ancestors(call))
        )

    def _copied_from(self, call: GradientCall, gradient: Gradient) -> int | None:
        """The assignment by which the source got the value of what the target was made of."""
        if gradient.variable is None:
            return None
        recording = self._recording
        used = {
            recording.tensors[t].variable for op in self._ways.ancestors(call) for t in op.inputs
        } - {None}
        for index in recording.variables[gradient.variable].assigned_by:
            for op in self._ways.to_op(index):
                if used & {recording.tensors[t].variable for t in recording.ops[op].inputs}:
                    return index
        return None

    def _through_state(
        self, call: GradientCall, gradient: Gradient, reach: Reach
    ) -> tuple[int, ...]:
        """The assignments by which the source's influence went into a variable, from that into
        the next, and so into one that the target was made of."""
        recording, met = self._recording, {gradient.variable}
        needed = {t for op in self._ways.ancestors(call) for t in op.inputs}
        todo: list[tuple[set[int], tuple[int, ...]]] = [(reach.any, ())]
        for moved, chain in todo:
            for variable in recording.variables:
                changes = variable.assigned_by if variable.id not in met else ()
                index = next((i for i in changes if moved & set(recording.ops[i].inputs)), None)
                if index is None:
                    continue
                if needed.intersection(variable.reads):
                    return (*chain, index)
                met.add(variable.id)
                todo.append((self._moved_by(variable.reads), (*chain, index)))
        return ()

    def _moved_by(self, tensors: Iterable[int]) -> set[int]:
        """The tensors that change with these."""
        moved = set(tensors)
        for op in self._recording.forward:
            if moved.intersection(op.inputs):
                moved.update(op.outputs)
        return moved

    def _frozen(self, call: GradientCall, gradient: Gradient) -> Finding | None:
        """A ``tf.function`` that names the source, and took in something else as it was traced."""
        words = {_last_name(gradient.source), *roots(gradient)} - {"self", ""}
        plain = {_last_name(gradient.source)} if "." in gradient.source else words
        needed = {op.index for op in self._ways.ancestors(call)}
        for function in self._recording.functions:
            calls = needed.intersection(function.ops)
            named = plain & set(function.mentions)
            if calls and named and self._traced_before(gradient, function, named):
                return Finding(
                    "frozen_at_trace",
                    op=max(calls),
                    values=(("function", function.name),),
                    way=(max(calls),),
                )
        return None

    def _traced_before(self, gradient: Gradient, function: TracedFunction, names: set[str]) -> bool:
        """Whether the function can have been traced before its name meant the source: not
        where the source is older than its first call, or stands in a branch not taken."""
        made = [
            op.index
            for op in self._recording.forward
            if self._ways.own(gradient).intersection(op.outputs) and op.type != "ReadVariableOp"
        ]
        if made:
            return made[0] > min(function.ops)
        if function.line is None:
            return True
        line = self._recording.lines[function.line]
        code = code_of(self._recording.cells[line.cell].source)
        statement = code.statement(line.number + 1)
        home = code.function(statement) if statement is not None else code.tree
        choices = [n for n in ast.walk(home) if isinstance(n, (ast.If, ast.IfExp))]
        return not any(names & names_in(choice) for choice in choices)

    # -- exits --------------------------------------------------------------------------

    def _left(
        self, call: GradientCall, gradient: Gradient, reach: Reach, bools: bool = True
    ) -> Finding | None:
        """Where the source's value left TensorFlow, as it was heard or as the source says."""
        recording = self._recording
        until = self._end_of(call)
        stayed: set[tuple[int, bool]] = set()  # in a loop a line is heard of again and again
        for exit_ in recording.exits:
            line = exit_.line, exit_.how == "bool"
            if exit_.tensor not in reach.any or exit_.op > until or line in stayed:
                continue
            if not self._went_on(call, recording.lines[exit_.line], line[1], bools):
                stayed.add(line)
            else:
                way, words = self._ways.to(gradient, [exit_.tensor]), self._left_as(exit_)
                return Finding("left_tensorflow", line=exit_.line, way=way, words=words)
        tensors = [recording.tensors[t] for t in reach.any]
        names = roots(gradient) | {t.name for t in tensors if t.name.isidentifier()}
        made = {recording.ops[t.op].line for t in tensors if t.op is not None}
        lines = {line for line in made if line is not None}
        left = leaving(recording, call, names, lines)
        found: Line | None = next((at for at in left if self._went_on(call, at, False)), None)
        return None if found is None else Finding("left_tensorflow", line=found, way=())

    def _went_on(self, call: GradientCall, at: Line, truth: bool, bools: bool = True) -> bool:
        """Whether something of the target can have come of what Python was given there: not of
        what is only printed, or only kept in a list of losses."""
        statement = code_of(self._recording.cells[at.cell].source).statement(at.number)
        if truth or isinstance(statement, (ast.If, ast.While)):
            return (bools or not truth) and self._decided(call, at)
        lines = {op.line for op in self._ways.ancestors(call) if op.line is not None}
        return goes_on(self._recording, call, at, lines)

    def _left_as(self, exit_: Exit) -> str:
        """The sentence for a value that left as a place or a count, which have no slope."""
        line = self._recording.lines[exit_.line]
        code = code_of(self._recording.cells[line.cell].source)
        statement = code.statement(line.number) if exit_.how in ("int", "numpy") else None
        whole = statement is not None and any(
            isinstance(node, ast.Call) and dotted(node.func) == "int" and must_be_whole(code, node)
            for node in ast.walk(statement)
        )
        return "left_as_place" if whole else ""

    def _end_of(self, call: GradientCall) -> int:
        """How many ops had run when the call was made."""
        own = (op.index for op in self._recording.backward if op.call == call.index)
        return next(own, len(self._recording.ops))

    def _asked_names(self, call: GradientCall) -> set[str]:
        """The names in the line of the call: the target may be known by another."""
        line = self._recording.lines[call.line] if call.line is not None else None
        code = code_of(self._recording.cells[line.cell].source) if line is not None else None
        statement = code.statement(line.number) if code is not None and line is not None else None
        return names_in(statement) if statement is not None else set()

    def _decided(self, call: GradientCall, at: Line) -> bool:
        """Whether what the target was made of stands under the condition on this line."""
        code = code_of(self._recording.cells[at.cell].source)
        tests = [n for n in code.of(ast.stmt) if isinstance(n, (ast.If, ast.While))]
        here = [n for n in tests if n.test.lineno <= at.number <= (n.test.end_lineno or 0)]
        statement = here[-1] if here else code.statement(at.number)
        if statement is None:
            return False
        under = range(at.number, (statement.end_lineno or at.number) + 1)
        if not isinstance(statement, (ast.If, ast.While)):
            return any(isinstance(n, ast.IfExp) for n in ast.walk(statement)) and bool(
                {t for t in (dotted(x) for x in getattr(statement, "targets", [])) if t}
            )
        makers = (op.line for op in self._ways.ancestors(call) if op.line is not None)
        places = [self._recording.lines[i] for i in makers]
        if any(p.cell == at.cell and p.number in under for p in places):
            return True
        made = set().union(*(stored(part) for part in (*statement.body, *statement.orelse)))
        if made.intersection((*call.targets, *self._asked_names(call))):
            return True
        readers = (code.statement(p.number) for p in places if p.cell == at.cell)
        return any(made & names_in(reader) for reader in readers if reader is not None)


def _drawn(op: Op) -> str:
    """The sentence for whole numbers that are drawn."""
    return "drawn" if op.type in _DRAWS else ""


def _kept_in(op: Op) -> str:
    """The sentence for a value that goes into a dataset or queue, which is no variable."""
    if not STATE.fullmatch(op.type):
        return ""
    if op.type.startswith("Queue"):
        return "state_queue"
    return "state_dataset" if _DATASET.search(op.type) else ""


def _last_name(expression: str) -> str:
    """``w`` of ``model.w`` and of ``model.w[0]``, ``params`` of ``params[0]``."""
    plain = expression.partition("[")[0]
    return plain.rpartition(".")[2].strip()
