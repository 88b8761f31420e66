"""What is told of one box when it is looked at closely, and what it is coloured by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from tfmagic.analysis.cost import Total
from tfmagic.analysis.notation import (
    compact,
    device,
    duration,
    number,
    shape,
    shorten,
    size,
    value_lines,
)
from tfmagic.analysis.rollup import Rollup, Rollups
from tfmagic.analysis.tree import line_span
from tfmagic.language import say
from tfmagic.model import Gradient, Node, Op, Recording, TensorInfo, Value, Verdict

__all__ = ["MEASURES", "Details", "flops_text", "spent_text", "steps_to_target", "verdict_text"]

#: What boxes can be coloured by.
MEASURES = ("device", "time", "flops", "gradient", "dtype", "bytes")
_LONGEST = 160

Rows = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Details:
    """Looks boxes of one recording up.

    Where ops were run again by themselves, these are the times; else the time is that of the
    recorded run, an upper bound with Python in it.
    """

    recording: Recording

    @cached_property
    def tallies(self) -> Rollups:
        """What ops come to together."""
        return Rollups(self.recording)

    def rows(self, node: Node) -> Rows:
        """Label and text of all that is known."""
        return tuple((say(f"detail.{key}"), text) for key, text in self._rows(node) if text)

    def measures(self, node: Node) -> dict[str, str | float]:
        """What the box is coloured by: words for device and dtype, else figures."""
        found: dict[str, str | float] = {}
        made = self._tally(node)
        for key, words in (("device", made.devices), ("dtype", made.dtypes)):
            if words:
                found[key] = next(iter(words)) if len(words) == 1 else say("detail.several")
        figures = {"time": made.seconds, "flops": made.flops, "bytes": made.bytes}
        found |= {key: figure for key, figure in figures.items() if figure}
        norm = made.norm if node.variable is None else self._asked_norm(node.variable)
        if norm is not None:
            found["gradient"] = norm
        return found

    def _tally(self, node: Node) -> Rollup:
        """The sum over a box's ops; what stands for itself counts as it is."""
        tensor = self._tensor(node)
        if node.ops or tensor is None:
            return self.tallies.of(node.ops)
        return Rollup(
            devices={device(tensor.device): None} if tensor.device else {},
            dtypes={tensor.dtype: None} if tensor.dtype else {},
            bytes=tensor.bytes,
            norm=self.tallies.norm(tensor.id),
        )

    # -- rows -----------------------------------------------------------------------------

    def _rows(self, node: Node) -> Iterator[tuple[str, str]]:
        if len(node.ops) > 1:
            yield from self._of_fold(self.tallies.of(node.ops))
            return
        op = self.recording.ops[node.ops[0]] if node.ops else None
        tensor = self._tensor(node)
        if op is not None:
            yield "op", op.function or op.type
        if node.variable is not None:
            yield from self._of_variable(node.variable)
        elif tensor is not None:
            yield from self._of_tensor(tensor)
        if op is not None:
            yield from self._of_op(op)

    def _of_tensor(self, tensor: TensorInfo) -> Iterator[tuple[str, str]]:
        yield "name", tensor.name
        yield "shape", shape(tensor.shape) if tensor.shape is not None else ""
        yield "dtype", tensor.dtype
        yield "bytes", size(tensor.bytes) if tensor.bytes else ""
        yield "value", _value(tensor.value)
        holder = self.recording.gradient_of.get(tensor.id)
        if holder is not None:
            yield "gradient", _value(self.recording.tensors[holder].value)
        if tensor.op is None:
            yield "device", device(tensor.device)

    def _of_variable(self, key: int) -> Iterator[tuple[str, str]]:
        info = self.recording.variables[key]
        yield "name", info.name or info.label
        yield "shape", shape(info.shape) if info.shape is not None else ""
        yield "dtype", info.dtype
        yield "trainable", say("report.yes" if info.trainable else "report.no")
        yield "device", device(info.device)
        yield "value", _value(info.value)
        for asked in self._asked(key):
            yield "gradient", "None" if asked.value is None else _value(asked.value)
            if asked.verdict is not None:
                yield "verdict", verdict_text(asked.verdict)

    def _of_op(self, op: Op) -> Iterator[tuple[str, str]]:
        yield "device", device(op.device)
        yield from self._timed(self.tallies.of((op.index,)))
        if op.line is not None:
            line = self.recording.lines[op.line]
            yield "line", f"{line.number}: {shorten(line.text, 80)}"
        yield "function", " › ".join(f.function for f in op.stack if f.function)
        yield "scope", op.scope
        if op.differentiates is not None:
            yield "differentiates", self.recording.ops[op.differentiates].title

    def _of_fold(self, made: Rollup) -> Iterator[tuple[str, str]]:
        most = sorted(made.types.items(), key=lambda item: -item[1])
        yield "ops", f"{sum(made.types.values()):,}"
        told = ", ".join(f"{kind} × {count:,}" if count > 1 else kind for kind, count in most[:6])
        yield "kinds", told + (", …" if len(most) > 6 else "")
        yield "device", ", ".join(sorted(made.devices))
        yield from self._timed(made)
        yield "made", size(made.bytes) if made.bytes else ""
        yield "line", line_span(made.numbers) if made.numbers else ""

    def _timed(self, made: Rollup) -> Iterator[tuple[str, str]]:
        if made.seconds:
            yield ("time_replayed" if self.tallies.timed else "time_recorded"), spent_text(made)
        yield "flops", flops_text(made.cost)

    # -- lookups --------------------------------------------------------------------------

    def _tensor(self, node: Node) -> TensorInfo | None:
        return None if node.tensor is None else self.recording.tensors[node.tensor]

    def _asked(self, variable: int) -> Iterator[Gradient]:
        """The last answer of each gradient call about a variable."""
        for call in self.recording.gradients[-1:]:
            yield from (g for g in call.gradients if g.variable == variable)

    def _asked_norm(self, variable: int) -> float | None:
        for asked in self._asked(variable):
            if asked.value is not None and asked.value.stats is not None:
                return asked.value.stats.norm
        return None


def verdict_text(verdict: Verdict) -> str:
    """Its code and its message; the message alone where nothing is wrong."""
    if verdict.code == "ok" and verdict.message:
        return verdict.message
    return f"{verdict.code}: {verdict.message}".rstrip(": ")


def flops_text(counted: Total) -> str:
    """``1.2 M``, with ``≥`` where an op is not counted; nothing where nothing is known."""
    if not counted.count:
        return ""
    value, unit = float(counted.count), ""
    for unit in ("", " k", " M", " G", " T"):
        if value < 1000 or unit == " T":
            break
        value /= 1000
    return f"{'' if counted.whole else '≥ '}{number(value, 3)}{unit}"


def spent_text(made: Rollup) -> str:
    """The time, with ``≥`` where an op could not be timed by itself."""
    return ("≥ " if made.untimed else "") + duration(made.seconds)


def steps_to_target(recording: Recording) -> dict[int, int | None]:
    """For each forward op that leads to what is differentiated the next op on a shortest way.

    None stands for the op whose result it is.
    """
    made = (recording.tensors[t].op for call in recording.gradients for t in call.target_tensors)
    steps: dict[int, int | None] = dict.fromkeys(sorted({op for op in made if op is not None}))
    todo = list(steps)
    for op in todo:
        for tensor in recording.ops[op].inputs:
            maker = recording.tensors[tensor].op
            if maker is None or maker in steps or recording.ops[maker].kind != "forward":
                continue
            steps[maker] = op
            todo.append(maker)
    return steps


def _value(value: Value) -> str:
    lines = value_lines(value)
    if lines:
        return " ".join(line.strip() for line in lines)
    stats = value.stats
    if stats is None:
        return shorten(compact(value.data), _LONGEST) if value.data is not None else ""
    about = "≈ " if stats.sampled else ""
    parts = [f"‖·‖ = {about}{number(stats.norm, 4)}"] if stats.norm is not None else []
    if stats.min is not None:
        parts.append(f"{number(stats.min, 4)} … {number(stats.max, 4)}")
    parts += [f"{word} {n}" for word, n in (("NaN", stats.nan), ("inf", stats.inf)) if n]
    return " · ".join(parts)
