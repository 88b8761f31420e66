"""A recording for other viewers: a GraphDef, a TensorBoard log, JSON for Model Explorer.

Every op is a node in the scope in which it ran, with its shapes, its line of code and what is
known of its value; a variable is a node of its own, and so is a tensor that was there before.
"""

from __future__ import annotations

import json
import re
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfmagic.analysis.details import Details
from tfmagic.analysis.graph import Sketch
from tfmagic.model import Node, Recording, TensorInfo
from tfmagic.render.escape import clipped, visible
from tfmagic.render.wire import Message, record

__all__ = ["event_file", "explorer_json", "graph_def"]

#: The numbers of dtypes in TensorFlow's ``types.proto``.
_DTYPES = {
    "float32": 1,
    "float64": 2,
    "int32": 3,
    "uint8": 4,
    "int16": 5,
    "int8": 6,
    "string": 7,
    "complex64": 8,
    "int64": 9,
    "bool": 10,
    "qint8": 11,
    "quint8": 12,
    "qint32": 13,
    "bfloat16": 14,
    "qint16": 15,
    "quint16": 16,
    "uint16": 17,
    "complex128": 18,
    "float16": 19,
    "resource": 20,
    "variant": 21,
    "uint32": 22,
    "uint64": 23,
    "float8_e5m2": 24,
    "float8_e4m3fn": 25,
    "int4": 29,
    "uint4": 30,
}
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.\\-]+")
_LONGEST = 120
_LONGEST_TEXT = 400


@dataclass(frozen=True, slots=True)
class _Place:
    """A node of the exchanged graph: its unique name with scopes, its type, what it takes."""

    name: str
    type: str
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[TensorInfo, ...]
    device: str
    notes: tuple[tuple[str, str], ...]
    attrs: tuple[tuple[str, Any], ...] = ()


def graph_def(recording: Recording, sketch: Sketch | None = None) -> bytes:
    """The bytes of a GraphDef, as Netron and TensorFlow read it."""
    graph = Message()
    for place in _places(recording, sketch or Sketch(recording)):
        graph.message(1, _node_def(place))
    return bytes(graph.message(4, Message().number(1, 1)))


def event_file(recording: Recording, sketch: Sketch | None = None) -> bytes:
    """The bytes of an event file, as TensorBoard reads it: the graph, every series of the training
    runs, and the small weights and gradients of the last step as histograms."""
    first = Message().double(1, time.time()).text(3, "brain.Event:2")
    graph = Message().double(1, time.time()).text(4, graph_def(recording, sketch))
    events = [first, graph, *_scalars(recording), *_histograms(recording)]
    return b"".join(record(bytes(event)) for event in events)


def _scalars(recording: Recording) -> Iterator[Message]:
    """An event for each step of each run; the tags are ``kind/name``."""
    for place, run in enumerate(recording.runs):
        names = _Names()
        before = (f"run_{place + 1}",) if len(recording.runs) > 1 else ()
        tags = [names.unique((*before, s.kind, s.name)) for s in run.series]
        for row, step in enumerate(run.numbers):
            summary = Message()
            for tag, series in zip(tags, run.series, strict=True):
                value = Message().text(1, tag).single(2, _single(series.values[row]))
                summary.message(1, value)
            yield Message().double(1, time.time()).number(2, step).message(5, summary)


def _single(value: float) -> float:
    """As far as single precision reaches."""
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def _histograms(recording: Recording) -> Iterator[Message]:
    last = max((run.steps for run in recording.runs), default=0)
    if not last:
        return
    names, told = _Names(), Message()
    held = [("weight", v.name or v.label, v.value) for v in recording.variables]
    asked = recording.gradients[-1].gradients if recording.gradients else ()
    held += [("gradient", g.source, g.value) for g in asked if g.value is not None]
    for kind, name, value in held:
        numbers = np.ravel(value.data) if value.data is not None else np.zeros(0)
        if numbers.size > 1 and numbers.dtype.kind in "fiu" and np.isfinite(numbers).all():
            tag = names.unique(("last_step", kind, name))
            told.message(1, Message().text(1, tag).message(5, _histogram(numbers)))
    yield Message().double(1, time.time()).number(2, last).message(5, told)


def _histogram(numbers: Any) -> Message:
    """A HistogramProto: the number of values up to each limit."""
    counts, edges = np.histogram(numbers.astype(float), bins=min(30, numbers.size))
    made = Message().double(1, edges[0]).double(2, edges[-1]).double(3, numbers.size)
    made = made.double(4, float(numbers.sum())).double(5, float(np.square(numbers).sum()))
    made = made.text(6, struct.pack(f"<{len(counts)}d", *edges[1:]))
    return made.text(7, struct.pack(f"<{len(counts)}d", *counts.astype(float)))


def explorer_json(recording: Recording, title: str, sketch: Sketch | None = None) -> str:
    """JSON as Model Explorer reads it."""
    nodes = []
    for place in _places(recording, sketch or Sketch(recording)):
        scope, _, label = place.name.rpartition("/")
        nodes.append(
            {
                "id": place.name,
                "label": place.type if place.type not in ("Variable", "Placeholder") else label,
                "namespace": scope,
                "incomingEdges": [
                    {
                        "sourceNodeId": name,
                        "sourceNodeOutputId": str(i),
                        "targetNodeInputId": str(n),
                    }
                    for n, (name, i) in enumerate(place.inputs)
                ],
                "attrs": [{"key": key, "value": text} for key, text in place.notes],
                "outputsMetadata": [
                    {"id": str(i), "attrs": [{"key": "tensor_shape", "value": _told(tensor)}]}
                    for i, tensor in enumerate(place.outputs)
                ],
            }
        )
    graph = {"id": clipped(visible(title), _LONGEST) or "graph", "nodes": nodes}
    return json.dumps({"label": graph["id"], "graphs": [graph]}, ensure_ascii=False)


def _told(tensor: TensorInfo) -> str:
    shape = (
        "" if tensor.shape is None else "x".join("?" if n is None else str(n) for n in tensor.shape)
    )
    return f"{tensor.dtype}[{shape}]"


# --- nodes -------------------------------------------------------------------------------


def _places(recording: Recording, sketch: Sketch) -> Iterator[_Place]:
    """The nodes in the order the ops ran, each variable and input before its first taker."""
    names = _Names()
    details = Details(recording)
    made: dict[tuple[str, int], str] = {}
    for op in sketch.selection.ops:
        name = names.unique((*op.scope.split("/"), op.function or op.type))
        inputs: list[tuple[str, int]] = []
        for (way, key), tensor in sketch.flows.inputs[op.index]:
            info = recording.tensors[tensor]
            if way in ("op", "outside") and ("op", key) in made:
                inputs.append((made["op", key], info.output))
                continue
            source = ("variable", key) if way == "variable" else ("input", tensor)
            if source not in made:
                place = _source(recording, details, names, source, op.scope)
                made[source] = place.name
                yield place
            inputs.append((made[source], 0))
        made["op", op.index] = name
        node = Node(name, "op", op.type, ops=(op.index,), tensor=next(iter(op.outputs), None))
        outputs = tuple(recording.tensors[t] for t in op.outputs)
        yield _Place(
            name, op.type, tuple(inputs), outputs, op.device, _notes(details, node), op.attrs
        )


def _source(
    recording: Recording, details: Details, names: _Names, source: tuple[str, int], scope: str
) -> _Place:
    """A variable, or a tensor that was there before, in the scope of its first taker."""
    way, key = source
    if way == "variable":
        info = recording.variables[key]
        tensor = TensorInfo(0, info.shape, info.dtype, info.device, value=info.value)
        name = names.unique((*scope.split("/"), info.name or info.label or "variable"))
        notes = _notes(details, Node(name, "variable", name, variable=key))
        return _Place(name, "Variable", (), (tensor,), info.device, notes)
    tensor = recording.tensors[key]
    name = names.unique((*scope.split("/"), tensor.name or "constant"))
    notes = _notes(details, Node(name, "input", name, tensor=key))
    return _Place(name, "Placeholder", (), (tensor,), tensor.device, notes)


def _notes(details: Details, node: Node) -> tuple[tuple[str, str], ...]:
    rows = details.rows(node)
    return tuple((label, clipped(visible(text), _LONGEST_TEXT)) for label, text in rows)


class _Names:
    """Names as TensorFlow allows them, each given once."""

    def __init__(self) -> None:
        self._given: dict[str, int] = {}

    def unique(self, parts: Sequence[str]) -> str:
        """``parts`` joined by slashes, with a number where they were there before."""
        words = [_NOT_IN_A_NAME.sub("_", part)[:_LONGEST] for part in parts if part]
        words = [word if word[:1].isalnum() or word[:1] == "." else f"n{word}" for word in words]
        name = "/".join(words) or "node"
        count = self._given.get(name, 0)
        self._given[name] = count + 1
        return name if not count else self.unique((*words[:-1], f"{words[-1]}_{count}"))


# --- messages ----------------------------------------------------------------------------


def _node_def(place: _Place) -> Message:
    node = Message().text(1, place.name).text(2, place.type)
    for name, output in place.inputs:
        node.text(3, f"{name}:{output}" if output else name)
    node.text(4, place.device)
    shapes = Message()
    for tensor in place.outputs:
        shapes.message(7, _shape(tensor.shape))
    _attr(node, "_output_shapes", Message().message(1, shapes))
    if place.type in ("Variable", "Placeholder"):
        (tensor,) = place.outputs
        _attr(node, "dtype", Message().number(6, _DTYPES.get(tensor.dtype, 0)))
        _attr(node, "shape", Message().message(7, _shape(tensor.shape)))
    for name, value in place.attrs:
        if (message := _value(value)) is not None:
            _attr(node, name, message)
    for label, text in place.notes:
        _attr(node, f"_{label.replace(' ', '_')}", Message().text(2, text))
    return node


def _attr(node: Message, name: str, value: Message) -> None:
    node.message(5, Message().text(1, name).message(2, value))


def _value(value: Any) -> Message | None:
    """An AttrValue; None for what has no place in one."""
    message = Message()
    if isinstance(value, bool):
        return message.number(5, value)
    if isinstance(value, int):
        return message.number(3, value)
    if isinstance(value, float):
        return message.single(4, value)
    if isinstance(value, str):
        dtype = _DTYPES.get(value)
        return message.text(2, value) if dtype is None else message.number(6, dtype)
    if isinstance(value, tuple) and all(type(v) is int for v in value):
        numbers = Message()
        for each in value:
            numbers.number(3, each)
        return message.message(1, numbers)
    return None


def _shape(shape: tuple[int | None, ...] | None) -> Message:
    message = Message()
    if shape is None:
        return message.number(3, 1)
    for size in shape:
        message.message(2, Message().number(1, -1 if size is None else size))
    return message
