"""What is wrong beside the gradients that were asked for.

A variable that the target is made of, and that nobody updates though its model is trained; a
label that the loss has no class for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tfmagic.analysis.dependence import FLOATS, DependenceGraph, Finding
from tfmagic.analysis.repair import FixContext
from tfmagic.language import Message
from tfmagic.model import GradientCall, Recording, VariableInfo, Verdict

__all__ = ["beside"]

#: What a model gives as its variables: whoever asks for these means all that it trains.
_ALL = re.compile(r"^(?P<model>[\w.]+)\.trainable_(?:variables|weights)$")
#: What TensorFlow's cross entropy says of a label without a class.
_LABEL = re.compile(r"label value of (-?\d+) which is outside the valid range of \[0, (\d+)\)")
_SELDOM = 4


def beside(recording: Recording) -> Iterator[Verdict]:
    """The verdicts, each with what it is about in ``source``."""
    yield from _forgotten(recording)
    yield from _unknown_label(recording)


def _forgotten(recording: Recording) -> Iterator[Verdict]:
    """Trainable variables of a model that lead to the target, and that stand neither among its
    ``trainable_variables`` nor among what any other call asks for or any op changes."""
    calls = [c for c in recording.gradients if c.origin == "cell" and c.gradients]
    asked = {g.variable for call in calls for g in call.gradients}
    told: set[tuple[int | None, str]] = set()
    for call in calls:
        ways = DependenceGraph(recording)
        scene = FixContext(ways, call, call.gradients[0], Finding("ok"), None)
        written = scene.sources()
        found = _ALL.match(scene.asked[1].one_line(written)) if written and scene.asked else None
        if found is None or (call.line, found["model"]) in told:
            continue
        told.add((call.line, found["model"]))
        read = {
            recording.tensors[t].variable for op in ways.ancestors(call) for t in op.inputs
        } - asked
        names = [
            v.name
            for v in recording.variables
            if v.id in read and v.trainable and v.dtype.startswith(FLOATS) and not _is_set(v)
            if v.name.startswith(found["model"] + ".")
        ]
        if names:
            yield _not_updated(recording, call, found["model"], names)


def _is_set(variable: VariableInfo) -> bool:
    """Whether it gets another value than that which it began with."""
    return len(variable.assigned_by) > 1


def _not_updated(recording: Recording, call: GradientCall, model: str, names: list[str]) -> Verdict:
    line = recording.lines[call.line] if call.line is not None else None
    shown = ", ".join(names[:_SELDOM]) + (", …" if len(names) > _SELDOM else "")
    values = {"names": shown, "target": ", ".join(call.targets), "model": model}
    return Verdict(
        code="not_updated",
        target=", ".join(call.targets),
        source=shown,
        line=line.text if line is not None else "",
        line_number=line.number if line is not None else 0,
        said=Message.of("verdict.not_updated", **values),
        advice=Message.of("verdict.not_updated_repair", **values),
    )


def _unknown_label(recording: Recording) -> Iterator[Verdict]:
    failure = recording.failure
    found = _LABEL.search(failure.message) if failure is not None else None
    if failure is None or found is None:
        return
    line = recording.lines[failure.line] if failure.line is not None else None
    label, classes = int(found[1]), int(found[2])
    said = Message.of("verdict.label_encoding", label=label, classes=classes, last=classes - 1)
    words = "from_one" if label == classes else "outside"
    yield Verdict(
        code="label_encoding",
        target="loss",
        source=str(label),
        line=line.text if line is not None else "",
        line_number=line.number if line is not None else 0,
        said=said,
        advice=Message.of(f"verdict.label_{words}_repair", classes=classes, last=classes - 1),
    )
