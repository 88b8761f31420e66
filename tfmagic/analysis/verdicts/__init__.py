"""Why a gradient is None, zero, NaN or fine.

The rules look only at a recording: ``none`` for a gradient that is None, ``zero`` for one
that died on its way, ``notfinite`` for NaN and infinity, ``warning`` for one that is there
but shrank or grew too much.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from tfmagic.analysis.dependence import DependenceGraph, Finding
from tfmagic.analysis.inlined import opened
from tfmagic.analysis.notation import number
from tfmagic.analysis.repair import FixContext, candidates
from tfmagic.analysis.verdicts.none import NoneRules
from tfmagic.analysis.verdicts.notfinite import NotFiniteRules
from tfmagic.analysis.verdicts.warning import warning
from tfmagic.analysis.verdicts.zero import ZeroRules
from tfmagic.language import Message
from tfmagic.model import Gradient, GradientCall, Line, Recording, Repair, Verdict
from tfmagic.model.verdict import ZERO

__all__ = ["judged"]

#: What TensorFlow says where it does not begin to differentiate.
_REFUSED = re.compile(r"no gradient|LookupError|non-persistent", re.IGNORECASE)


def judged(recording: Recording, known: Sequence[GradientCall] = ()) -> Recording:
    """The same recording, each of its gradients with its verdict.

    ``known`` are the first of its gradient calls where they were judged before.
    """
    fresh = recording.gradients[len(known) :]
    if not fresh:
        return replace(recording, gradients=tuple(known)) if known else recording
    judge = _Judge(recording)
    inner = _Inner(recording, judge) if recording.bodies else None
    calls = [*known]
    for call in fresh:
        if judge.broke_off(call):
            calls.append(replace(call, gradients=()))
            continue
        gradients = []
        for place, gradient in enumerate(call.gradients):
            verdict = inner.verdict(call.index, place) if inner is not None else None
            gradients.append(replace(gradient, verdict=verdict or judge.verdict(call, gradient)))
        calls.append(replace(call, gradients=tuple(gradients)))
    return replace(recording, gradients=tuple(calls))


class _Inner:
    """The verdicts on gradients that went through the inside of a ``tf.function``."""

    def __init__(self, recording: Recording, outer: _Judge) -> None:
        self._recording = recording
        self._outer = outer
        self._bodies = {body.op for body in recording.bodies}

    @cached_property
    def _opened(self) -> tuple[Recording, tuple[int, ...], _Judge]:
        """The recording with its functions opened, which op stood where, and who judges it."""
        found, before = opened(self._recording)
        return found, before, _Judge(found, inside=True)

    def verdict(self, call: int, place: int) -> Verdict | None:
        """The verdict of one gradient; None where no function that was looked into is on its
        way, or nothing is the matter."""
        asked = self._recording.gradients[call]
        gradient = asked.gradients[place]
        stats = gradient.value.stats if gradient.value is not None else None
        if stats is not None and stats.finite and stats.zeros < stats.seen:
            return None
        if not self._bodies.intersection(self._outer.way(asked, gradient)):
            return None
        recording, before, judge = self._opened
        again = recording.gradients[call]
        found = judge.verdict(again, again.gradients[place])
        ops = dict.fromkeys(before[i] for i in found.ops)
        op = None if found.op is None else before[found.op]
        return replace(found, op=op, ops=tuple(ops))


#: What is wrong though the target has a stationary point there.
_THOUGH_STATIONARY = ("zero_input", "custom_gradient", "clipped", "underflow")
#: Ops by which a shape is given on purpose, so that two of them broadcast.
_SHAPED = ("ExpandDims", "Reshape", "StridedSlice", "Transpose", "Squeeze")


class _Judge:
    """The rules, over one recording."""

    def __init__(self, recording: Recording, *, inside: bool = False) -> None:
        self._recording = recording
        self._inside = inside
        self._ways = DependenceGraph(recording)
        self._none = NoneRules(self._ways)
        self._zero = ZeroRules(self._ways)
        self._not_finite = NotFiniteRules(self._ways)
        self._repairs: dict[tuple[int | None, str, str, str], tuple[Repair, ...]] = {}
        self._warned: dict[tuple[int | None, str, str], Finding] = {}

    def broke_off(self, call: GradientCall) -> bool:
        """Whether something raised in the middle of it: then there is no answer to explain."""
        if not call.error or _REFUSED.search(call.error):
            return False
        older = all(self._recording.tensors[t].op is None for t in call.target_tensors)
        known = older or all(self._ways.source(g).known for g in call.gradients)
        return known and len(call.target_tensors) == len(call.targets)

    def way(self, call: GradientCall, gradient: Gradient) -> tuple[int, ...]:
        """Indices of the ops from the source to the target."""
        return tuple(op.index for op in self._ways.way(call, gradient))

    def verdict(self, call: GradientCall, gradient: Gradient) -> Verdict:
        """The verdict of one gradient of one call."""
        finding = self._finding(call, gradient)
        worded = finding.code not in ("ok", "expected")
        path = self._path(call, gradient, finding) if worded else ()
        line = self._line_of(finding)
        values = {
            "source": gradient.source,
            "target": gradient.target or "[]",
            "line": line.number if line else 0,
            "text": line.text if line else "",
            "op": self._recording.ops[finding.op].title if finding.op is not None else "",
            **dict(finding.values),
        }
        advice = f"verdict.{finding.words or finding.code}_repair"
        return Verdict(
            code=finding.code,
            target=gradient.target,
            source=gradient.source,
            line=line.text if line and worded else "",
            line_number=line.number if line and worded else 0,
            op=finding.op,
            path=tuple(self._recording.ops[i].type for i in path),
            said=Message.of(f"verdict.{_worded(finding, gradient)}", **values),
            advice=Message.of(advice, **values) if worded else None,
            ops=path,
            evidence=_evidence(gradient) if worded else (),
            candidates=self._candidates(call, gradient, finding, line) if worded else (),
        )

    def _candidates(
        self, call: GradientCall, gradient: Gradient, finding: Finding, line: Line | None
    ) -> tuple[Repair, ...]:
        """The repairs to try, worked out once for each line of a loop."""
        key = (call.line, gradient.source, gradient.place, finding.code)
        if key not in self._repairs:
            scene = FixContext(self._ways, call, gradient, finding, line)
            self._repairs[key] = candidates(scene)
        return self._repairs[key]

    def _path(self, call: GradientCall, gradient: Gradient, finding: Finding) -> tuple[int, ...]:
        """The ops from the source to where it breaks."""
        if finding.way is not None:
            return finding.way
        return tuple(op.index for op in self._ways.way(call, gradient))

    def _finding(self, call: GradientCall, gradient: Gradient) -> Finding:
        if "no gradient" in call.error.lower() or "LookupError" in call.error:
            return self._unregistered(call, gradient)
        if "non-persistent" in call.error.lower():
            return Finding("tape_used_up", line=call.line)
        if gradient.value is None:
            return self._none.finding(call, gradient)
        stats = gradient.value.stats
        if stats is None:
            return Finding("ok")
        if stats.nan or stats.inf:
            return self._not_finite.finding(call, gradient)
        none_touched = not stats.count and gradient.rows is not None
        if none_touched or (stats.count and stats.zeros == stats.seen):
            # a compiled loop or branch says zero where there is no way at all
            says_zero = call.zeros or self._inside
            hidden = self._none.hidden(call, gradient) if says_zero else None
            if hidden is not None:
                return hidden
            found = self._not_finite.before(call, gradient) or self._zero.finding(call, gradient)
            return found if call.zeros else self._as_shown(gradient, found)
        spoilt = self._not_finite.target(call)
        if spoilt is not None:
            return spoilt
        found = self._there(call, gradient)
        return found if found.code != "ok" else self._spread(call) or found

    def _as_shown(self, gradient: Gradient, found: Finding) -> Finding:
        """What was found about a gradient of zero, unless moving the source showed otherwise."""
        probe = gradient.probe
        kind = probe.kind if probe is not None else "unclear"
        if kind == "imaginary":
            return replace(found, code="flat_op", words="imaginary_only")
        flat = kind == "bottom" and found.words == "flat_here"
        if flat or (kind == "stationary" and found.code not in _THOUGH_STATIONARY):
            return Finding("ok")
        wrong = found.code in ("ok", *ZERO) and found.code != "underflow"
        if wrong and kind == "slope":
            return Finding("not_known", op=found.op, words="not_known_slope")
        if found.code == "ok" and probe is not None and kind in ("plateau", "constant"):
            if probe.op is not None:
                return self._zero.stopped_at(self._recording.ops[probe.op], gradient)
            return Finding("not_known", op=found.op, words=f"not_known_{kind}")
        return found

    def _spread(self, call: GradientCall) -> Finding | None:
        """An op on the way to the target that set every element against every other, which
        nobody wrote: shapes (n,) and (n, 1), neither of them made so on purpose."""
        recording = self._recording
        for op in self._ways.ancestors(call):
            pair = op.kind == "forward" and len(op.inputs) == 2 and len(op.outputs) == 1
            if not pair or op.scope:  # one of TensorFlow's own functions means what it does
                continue
            one, other = (recording.tensors[t] for t in op.inputs)
            if not one.dtype.startswith("float"):
                continue
            shapes = sorted((one.shape or (), other.shape or ()), key=len)
            flat, column = shapes
            meant = any(
                t.op is not None and recording.ops[t.op].type in _SHAPED for t in (one, other)
            )
            n = flat[0] if len(flat) == 1 else None
            against = n is not None and n > 1 and column == (n, 1)
            if against and not meant and recording.tensors[op.outputs[0]].shape == (n, n):
                return Finding("broadcast", op=op.index, values=(("n", n),))
        return None

    def _unregistered(self, call: GradientCall, gradient: Gradient) -> Finding:
        """The op that TensorFlow's message names, or the call of a ``tf.function`` that holds it,
        where it stands on the way."""
        words = set(re.findall(r"\w+", call.error))
        backwards = tuple(reversed(self._ways.way(call, gradient)))
        calls = (op for op in backwards if op.function)
        for op in (*(op for op in backwards if op.type in words), *calls):
            way = self._ways.to(gradient, op.outputs)
            return Finding("no_gradient_registered", op=op.index, way=way)
        return Finding("no_gradient_registered", line=call.line)

    def _there(self, call: GradientCall, gradient: Gradient) -> Finding:
        """A gradient that is there; the same line in a loop is warned of once."""
        assert gradient.value is not None and gradient.value.stats is not None
        key = (call.line, gradient.source, gradient.place)
        known = self._warned.get(key)
        if known is None:
            known = warning(self._ways, call, gradient, gradient.value.stats)
            if known.code != "ok":
                self._warned[key] = known
        return known

    def _line_of(self, finding: Finding) -> Line | None:
        line = finding.line
        if line is None and finding.op is not None:
            line = self._recording.ops[finding.op].line
        return self._recording.lines[line] if isinstance(line, int) else line


def _evidence(gradient: Gradient) -> tuple[Message, ...]:
    """The experiments behind a verdict."""
    probe = gradient.probe
    if probe is None or probe.kind == "unclear":
        return ()
    values = {"moved": number(probe.moved, 3), "change": number(probe.change, 3)}
    said = Message.of(
        f"verdict.probe_{probe.kind}", source=gradient.source, target=gradient.target, **values
    )
    return (said,)


def _worded(finding: Finding, gradient: Gradient) -> str:
    """The sentence of a code; a variable that no tape watches is no plain tensor."""
    variable = finding.code == "not_watched" and gradient.variable is not None
    return finding.words or ("not_watched_variable" if variable else finding.code)
