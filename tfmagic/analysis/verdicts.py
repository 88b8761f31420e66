"""Why a gradient is None, zero, NaN or fine.

The rules look only at a recording.  A gradient that is None is looked for from both
ends: what the source is, and how far its influence gets towards the target.  A zero or a
NaN is followed backwards along the gradients of the tensors between the two, to the op
where it first appears.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tfmagic.language import say
from tfmagic.model import Gradient, GradientCall, Line, Op, Recording, Stats, TensorInfo, Verdict

__all__ = ["judged"]

_FLOATS = ("float", "bfloat", "complex", "half", "double")
_LEAVES = re.compile(
    r"\.numpy\(|\bnp\.|\bnumpy\.|\bfloat\(|\bint\(|\bbool\(|numpy_function|\.item\(|tolist\(|predict\("
)
_NO_SLOPE = {"Round", "Floor", "Ceil", "Rint", "FloorDiv", "FloorMod", "OnesLike", "ZerosLike"}
_STATE = re.compile(r"Assign\w*VariableOp|Resource(?:Apply|Scatter)\w*|Iterator\w*")
_RELU = {"Relu", "LeakyRelu", "Selu", "Elu"}
_CLIP = {"Minimum", "Maximum", "ClipByValue", "Relu6"}
_FLATTENS = {"Sigmoid", "Tanh", "Softmax", "LogSoftmax", "Erf", "Softsign", "Softplus"}
_SUMS_TO_ONE = {"Softmax"}
_FLAT = {"Sign", "Round", "Floor", "Ceil", "Rint"}
_AT_MINIMUM = {"Square", "SquaredDifference", "Pow", "Abs", "L2Loss"}
_EDGED = {
    "Sqrt", "Rsqrt", "Log", "Log1p", "Reciprocal", "RealDiv", "DivNoNan", "Pow", "Acos", "Asin",
    "Acosh", "Atanh", "Xlogy", "Xdivy", "Inv",
}  # fmt: skip
_MOVING = re.compile(r"moving_(mean|variance)|seed_generator|iterations?$")


def judged(recording: Recording) -> Recording:
    """The same recording, each of its gradients with its verdict."""
    if not recording.gradients:
        return recording
    judge = _Judge(recording)
    calls = tuple(
        replace(
            call,
            gradients=tuple(replace(g, verdict=judge.verdict(call, g)) for g in call.gradients),
        )
        for call in recording.gradients
    )
    return replace(recording, gradients=calls)


@dataclass(frozen=True, slots=True)
class _Finding:
    """What was found, before it is put into words."""

    code: str
    op: int | None = None
    line: int | Line | None = None
    values: tuple[tuple[str, object], ...] = ()


class _Judge:
    """The rules, over one recording."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._blocked = set(recording.no_gradient) | _NO_SLOPE | {"StopGradient"}
        self._variable_names = {v.name for v in recording.variables}
        self._needed: dict[tuple[int, ...], tuple[Op, ...]] = {}
        self._apart_at: dict[tuple[int | None, str, str], _Finding] = {}
        self._handle_of: dict[int, set[int]] = {}
        for tensor in recording.tensors:
            if tensor.role == "handle" and tensor.variable is not None:
                self._handle_of.setdefault(tensor.variable, set()).add(tensor.id)

    def verdict(self, call: GradientCall, gradient: Gradient) -> Verdict:
        """The verdict of one gradient of one call."""
        finding = self._finding(call, gradient)
        worded = finding.code not in ("ok", "expected")
        path = tuple(op.index for op in self._way(call, gradient)) if worded else ()
        line = self._line_of(finding)
        values = {
            "source": gradient.source,
            "target": gradient.target,
            "line": line.number if line else 0,
            "text": line.text if line else "",
            "op": self._recording.ops[finding.op].type if finding.op is not None else "",
            **dict(finding.values),
        }
        return Verdict(
            code=finding.code,
            target=gradient.target,
            source=gradient.source,
            line=line.text if line and worded else "",
            line_number=line.number if line and worded else 0,
            op=finding.op,
            path=tuple(self._recording.ops[i].type for i in path),
            message=say(f"verdict.{finding.code}", **values),
            repair=say(f"verdict.{finding.code}_repair", **values) if worded else "",
            ops=path,
        )

    def _finding(self, call: GradientCall, gradient: Gradient) -> _Finding:
        if "no gradient" in call.error.lower() or "LookupError" in call.error:
            return _Finding("no_gradient_registered", line=call.line)
        if "non-persistent" in call.error.lower():
            return _Finding("tape_used_up", line=call.line)
        if gradient.value is None:
            return self._none(call, gradient)
        stats = gradient.value.stats
        if stats is None:
            return _Finding("ok")
        if stats.nan or stats.inf:
            return self._not_finite(call, gradient)
        if stats.count and stats.zeros == stats.seen:
            return self._zero(call, gradient)
        return _Finding("ok")

    def _line_of(self, finding: _Finding) -> Line | None:
        line = finding.line
        if line is None and finding.op is not None:
            line = self._recording.ops[finding.op].line
        return self._recording.lines[line] if isinstance(line, int) else line

    # -- None -------------------------------------------------------------------

    def _none(self, call: GradientCall, gradient: Gradient) -> _Finding:
        source = self._source(gradient)
        if source.dtype and not source.dtype.startswith(_FLOATS):
            return _Finding("not_float", line=source.line, values=(("dtype", source.dtype),))
        if _MOVING.search(source.label):
            return _Finding("expected")
        if not source.is_variable and gradient.source in self._variable_names:
            return _Finding("rebound", op=source.op, line=source.line)
        reach = self._reach(gradient, self._ancestors(call))
        targets = set(call.target_tensors)
        if targets & reach.free:
            return self._unwatched(call, gradient, source)
        if reach.stops and targets & reach.any:
            return _Finding(self._why_blocked(reach.stops[0]), op=reach.stops[0].index)
        return self._apart(call, gradient, source)

    def _unwatched(self, call: GradientCall, gradient: Gradient, source: _Source) -> _Finding:
        """A gradient could come back, and yet TensorFlow's answer is None."""
        for op in self._way(call, gradient):
            if op.own_gradient:
                return _Finding("custom_gradient", op=op.index)
        if not source.is_variable or not call.watches:
            return _Finding("not_watched", line=source.line)
        return _Finding("outside_tape" if source.trainable else "not_trainable", line=source.line)

    def _why_blocked(self, op: Op) -> str:
        outputs = [self._recording.tensors[t] for t in op.outputs]
        if op.type in ("StopGradient", "PreventGradient"):
            return "stop_gradient"
        if _STATE.match(op.type):
            return "state"
        if outputs and not outputs[0].dtype.startswith(_FLOATS):
            return "through_integer"
        return "no_gradient_op"

    def _apart(self, call: GradientCall, gradient: Gradient, source: _Source) -> _Finding:
        """Nothing recorded leads from the source to the target.

        All ops have to be looked through, so a line in a loop is judged once.
        """
        key = (call.line, gradient.source, gradient.place)
        if key not in self._apart_at:
            reach = self._reach(gradient, self._recording.ops)
            self._apart_at[key] = self._why_apart(call, source, reach)
        return self._apart_at[key]

    def _why_apart(self, call: GradientCall, source: _Source, reach: _Reach) -> _Finding:
        state = self._through_state(call, reach)
        if state is not None:
            return _Finding("state", op=state)
        left = self._leaving_line(call)
        if left is not None and (reach.used or not source.is_variable):
            return _Finding("left_tensorflow", line=left)
        first = min((self._recording.tensors[t].op or 0 for t in call.target_tensors), default=0)
        if not reach.used:
            if source.is_variable or source.op is None:
                return _Finding("left_tensorflow", line=left) if left else _Finding("unused")
            code = "made_later" if source.op > first else "wrong_object"
            return _Finding(code, op=source.op)
        if source.op is not None and source.op > first:
            return _Finding("made_later", op=source.op)
        return _Finding("disconnected")

    def _through_state(self, call: GradientCall, reach: _Reach) -> int | None:
        """An assignment by which the source's influence went into a variable."""
        needed = self._ancestors(call)
        for variable in self._recording.variables:
            reads = set(variable.reads)
            used = any(reads.intersection(op.inputs) for op in needed)
            for index in variable.assigned_by:
                if used and set(self._recording.ops[index].inputs) & reach.any:
                    return index
        return None

    def _leaving_line(self, call: GradientCall) -> Line | None:
        """The first line, up to the call, that hands a value to numpy or Python.

        Such a line may have run no op, so the source is read, not the recording's lines.
        """
        asked = self._recording.lines[call.line] if call.line is not None else None
        for cell in self._recording.cells:
            last = asked.number if asked and asked.cell == cell.index else 0
            for number, text in enumerate(cell.source.split("\n"), 1):
                if last and number >= last:
                    break
                if _LEAVES.search(text.partition("#")[0]):
                    return Line(-1, cell.index, number, text.strip())
        return None

    # -- zero and not finite --------------------------------------------------------

    def _zero(self, call: GradientCall, gradient: Gradient) -> _Finding:
        moving = self._reach(gradient, self._ancestors(call)).any
        for op in reversed(self._way(call, gradient)):
            coming = self._gradients(op.outputs)
            going = self._gradients(t for t in op.inputs if t in moving)
            if coming and going and _some(coming) and not _some(going):
                if op.type in _SUMS_TO_ONE and all(s.min == s.max for s in coming):
                    return _Finding("cancelled", op=op.index)
                return self._why_zero(op, going, moving)
        return _Finding("ok")

    def _why_zero(self, op: Op, going: Sequence[Stats], moving: set[int]) -> _Finding:
        """``moving`` are the tensors that change with the source: a factor among them that
        is zero makes a stationary point, and nothing is wrong."""
        count = max(s.count for s in going)
        values = (("n", count),)
        zeros = [t for t in op.inputs if _all_zero(self._recording.tensors[t].value.stats)]
        for code, types in (
            ("dead_relu", _RELU),
            ("clipped", _CLIP),
            ("saturated", _FLATTENS),
            ("flat_op", _FLAT),
        ):
            if op.type in types:
                return _Finding(code, op=op.index, values=values)
        if op.type in _AT_MINIMUM or moving.intersection(zeros):
            return _Finding("ok")
        if zeros:
            return _Finding("zero_input", op=op.index, values=values)
        if any(self._recording.tensors[t].dtype in ("float16", "bfloat16") for t in op.inputs):
            return _Finding("underflow", op=op.index, values=values)
        return _Finding("cancelled", op=op.index, values=values)

    def _not_finite(self, call: GradientCall, gradient: Gradient) -> _Finding:
        ops = self._way(call, gradient)
        for tensor in gradient.source_tensors:
            stats = self._recording.tensors[tensor].value.stats
            if stats is not None and not stats.finite:
                users = self._recording.consumers.get(tensor, (None,))
                return _Finding("nan_input", op=users[0])
        for op in ops:  # forward, where a value itself broke
            inputs = [self._recording.tensors[t].value.stats for t in op.inputs]
            outputs = [self._recording.tensors[t].value.stats for t in op.outputs]
            if any(s and not s.finite for s in inputs):
                return _Finding("nan_input", op=op.index)
            if any(s and not s.finite for s in outputs):
                code = "domain_edge" if op.type in _EDGED else "overflow"
                return _Finding(self._or_where(code, op, ops), op=op.index)
        for op in reversed(ops):
            coming, going = self._gradients(op.outputs), self._gradients(op.inputs)
            if all(s.finite for s in coming) and not all(s.finite for s in going):
                code = "domain_edge" if op.type in _EDGED else "overflow"
                return _Finding(self._or_where(code, op, ops), op=op.index)
        return _Finding("overflow")

    def _or_where(self, code: str, op: Op, ops: Sequence[Op]) -> str:
        after = any(o.type in ("SelectV2", "Select") and o.index > op.index for o in ops)
        return "where_branch" if after else code

    def _gradients(self, tensors: Iterable[int]) -> list[Stats]:
        found = (self._recording.gradient_of.get(t) for t in tensors)
        values = (self._recording.tensors[g].value.stats for g in found if g is not None)
        return [s for s in values if s is not None]

    # -- ways -----------------------------------------------------------------------

    def _source(self, gradient: Gradient) -> _Source:
        if gradient.variable is not None:
            info = self._recording.variables[gradient.variable]
            label = f"{info.name} {info.label}"
            dtype = info.dtype or gradient.source_dtype
            return _Source(True, info.trainable, dtype, label, None, None)
        if not gradient.source_tensors:
            return _Source(True, True, gradient.source_dtype, gradient.source, None, None)
        tensor: TensorInfo = self._recording.tensors[gradient.source_tensors[0]]
        line = self._recording.ops[tensor.op].line if tensor.op is not None else None
        return _Source(False, True, tensor.dtype, tensor.name, tensor.op, line)

    def _handles(self, gradient: Gradient) -> set[int]:
        return (
            self._handle_of.get(gradient.variable, set())
            if gradient.variable is not None
            else set()
        )

    def _reach(self, gradient: Gradient, ops: Iterable[Op]) -> _Reach:
        """How far the source's influence gets within ``ops`` (in their order), with and
        without leave to pass a gradient."""
        handles = self._handles(gradient)
        anyhow = {*gradient.source_tensors, *handles}
        free = set(anyhow)
        stops: list[Op] = []
        used = False
        for op in ops:
            taken = anyhow.intersection(op.inputs)
            if op.kind == "backward" or not taken:
                continue
            if taken <= handles and _STATE.match(op.type):
                continue  # the source itself is given a value
            used = used or op.type != "ReadVariableOp"
            anyhow.update(op.outputs)
            if free.intersection(op.inputs):
                if self._passes(op):
                    free.update(op.outputs)
                else:
                    stops.append(op)
        return _Reach(anyhow, free, tuple(stops), used)

    def _passes(self, op: Op) -> bool:
        if op.type in self._blocked or _STATE.match(op.type):
            return False
        outputs = [self._recording.tensors[t] for t in op.outputs]
        return any(t.dtype.startswith((*_FLOATS, "variant")) for t in outputs)

    def _ancestors(self, call: GradientCall) -> tuple[Op, ...]:
        """The ops that the targets depend on, in order; once for all sources of a call."""
        targets = call.target_tensors
        if targets not in self._needed:
            found: set[int] = set()
            todo = list(targets)
            while todo:
                op = self._recording.tensors[todo.pop()].op
                if op is not None and op not in found:
                    found.add(op)
                    todo.extend(self._recording.ops[op].inputs)
            self._needed[targets] = tuple(self._recording.ops[i] for i in sorted(found))
        return self._needed[targets]

    def _way(self, call: GradientCall, gradient: Gradient) -> tuple[Op, ...]:
        """The forward ops from the source to the target, in order."""
        needed = self._ancestors(call)
        moving = self._reach(gradient, needed).any
        return tuple(op for op in needed if op.kind == "forward" and moving.intersection(op.inputs))


@dataclass(frozen=True, slots=True)
class _Source:
    is_variable: bool
    trainable: bool
    dtype: str
    label: str
    op: int | None
    line: int | None


@dataclass(frozen=True, slots=True)
class _Reach:
    """``any``: tensors the source has influence on; ``free``: those a gradient comes back
    from; ``stops``: ops at which it ends; ``used``: whether any op takes the source."""

    any: set[int]
    free: set[int]
    stops: tuple[Op, ...]
    used: bool


def _all_zero(stats: Stats | None) -> bool:
    return stats is not None and bool(stats.count) and stats.zeros == stats.seen


def _some(stats: Sequence[Stats]) -> bool:
    return any(s.zeros < s.seen for s in stats)
