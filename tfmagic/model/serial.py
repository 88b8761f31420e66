"""Recordings and the other things of the model as JSON: versioned, complete, only data.

Every model class is written as an object of the fields that differ from their
defaults, and read back through its type hints, so a file can only ever become
model objects; anything else in it is refused with one line.  JSON has no word for
NaN, infinities and complex numbers: they are written as ``{"$": "nan"}``,
``{"$": "inf"}``, ``{"$": "-inf"}`` and ``{"$": [re, im]}``.
"""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Container
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from importlib import import_module
from typing import Any, cast

from tfmagic.errors import LoadError
from tfmagic.language import Message

FORMAT_VERSION = 2
LARGEST_FILE = 512 * 2**20

#: What can be written: its word in the file (``"format": "tfmagic-WORD"``), its module, class.
DOCUMENTS = {
    "recording": ("tfmagic.model.recording", "Recording"),
    "bench": ("tfmagic.model.bench", "Bench"),
    "selftest": ("tfmagic.model.bench", "SelfTest"),
    "inventory": ("tfmagic.model.inventory", "Inventory"),
    "conversion": ("tfmagic.model.inventory", "Conversion"),
}


def _class_of(word: str) -> type:
    module, name = DOCUMENTS[word]
    return cast(type, getattr(import_module(module), name))


def to_json(thing: Any) -> str:
    """Write a :class:`~tfmagic.model.Recording`, or another of :data:`DOCUMENTS`, as text."""
    where = (type(thing).__module__, type(thing).__name__)
    word = next(word for word, place in DOCUMENTS.items() if place == where)
    document = {"format": f"tfmagic-{word}", "version": FORMAT_VERSION, word: _encode(thing)}
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def from_json(text: str) -> Any:
    """Read what :func:`to_json` wrote.

    Raises :class:`~tfmagic.errors.LoadError`, one line, for text that is none of it, that
    a newer version wrote, or whose parts do not fit together.
    """
    document = _parse(text)
    word = document["format"].removeprefix("tfmagic-")
    try:
        if document["version"] == 1 and word == "recording":
            _renew(document[word])
        thing = _decode(document[word], _class_of(word))
        if word == "recording":
            _check_references(thing)
        elif word == "bench":
            _check_bench(thing)
    except RecursionError:
        raise LoadError("load.damaged", detail="nested too deeply") from None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise LoadError("load.damaged", detail=str(error)[:200]) from None
    return thing


def _parse(text: str) -> dict[str, Any]:
    if len(text) > LARGEST_FILE:
        raise LoadError("load.too_large", size=len(text), limit=LARGEST_FILE)
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise LoadError("load.damaged", detail="nested too deeply") from None
    except ValueError as error:
        raise LoadError("load.not_json", detail=str(error)[:200]) from None
    known = [f"tfmagic-{word}" for word in DOCUMENTS]
    if not isinstance(document, dict) or document.get("format") not in known:
        raise LoadError("load.not_recording")
    version = document.get("version")
    if version not in (1, FORMAT_VERSION):
        raise LoadError("load.version", version=str(version)[:20], known=FORMAT_VERSION)
    return document


def _renew(recording: dict[str, Any]) -> None:
    """Have a recording of version 1, which kept sentences, say them as they were worded then."""

    def say(thing: dict[str, Any], was: str) -> None:
        if text := thing.pop(was, ""):
            thing["said"] = _encode(Message.plain(text))

    for gap in recording.get("complete", ()):
        say(gap, "message")
    for call in recording.get("gradients", ()):
        for gradient in call["gradients"]:
            say(gradient.get("check") or {}, "why")
            verdict = gradient.get("verdict") or {}
            say(verdict, "message")
            repair = verdict.pop("repair", "")
            if any(verdict.get("replaces", ())):
                verdict["mended"] = repair
            elif repair:
                verdict["advice"] = _encode(Message.plain(repair))
    for found in (*recording.get("jacobians", ()), *recording.get("hessians", ())):
        say(found, "error")
    if notes := recording.pop("notes", None):
        recording["said"] = [_encode(Message.plain(text)) for text in notes]


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def _encode(value: Any) -> Any:
    if is_dataclass(value):
        return {
            f.name: _encode(member)
            for f in fields(value)
            if not _is_default(f, member := getattr(value, f.name))
        }
    if isinstance(value, (tuple, list)):
        return [_encode(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"$": "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")}
    if isinstance(value, complex):
        return {"$": [_encode(value.real), _encode(value.imag)]}
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"a {type(value).__name__} has no place in a recording")


def _is_default(f: Field[Any], value: Any) -> bool:
    if f.default is MISSING:
        return False
    return type(value) is type(f.default) and bool(value == f.default)


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _decode(value: Any, hint: Any) -> Any:
    if hint is Any:
        return _decode_any(value)
    if is_dataclass(hint):
        return _decode_object(value, typing.cast(type, hint))
    origin = typing.get_origin(hint)
    if origin is tuple:
        return _decode_tuple(value, typing.get_args(hint))
    if origin in (types.UnionType, typing.Union):
        return _decode_optional(value, typing.get_args(hint))
    return _decode_scalar(value, hint)


def _decode_object(value: Any, cls: type) -> Any:
    if not isinstance(value, dict):
        raise TypeError(f"{cls.__name__}: an object was expected")
    hints = _hints(cls)
    for name in value:
        if name not in hints:
            raise ValueError(f"{cls.__name__} has no field {name[:40]!r}")
    made = cls(**{name: _decode(member, hints[name]) for name, member in value.items()})
    if cls is Message:
        str(made)  # raises for what is no sentence of ours
    return made


def _decode_tuple(value: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise TypeError("a list was expected")
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_decode(v, args[0]) for v in value)
    if len(value) != len(args):
        raise ValueError(f"{len(args)} members were expected, not {len(value)}")
    return tuple(_decode(v, hint) for v, hint in zip(value, args, strict=True))


def _decode_optional(value: Any, args: tuple[Any, ...]) -> Any:
    if value is None and type(None) in args:
        return None
    (hint,) = (a for a in args if a is not type(None))
    return _decode(value, hint)


def _decode_scalar(value: Any, hint: Any) -> Any:
    if hint is float:
        number = _decode_any(value)
        if isinstance(number, (int, float)) and not isinstance(number, bool):
            return float(number)
    elif type(value) is hint:
        return value
    raise TypeError(f"{hint.__name__} was expected, not {type(value).__name__}")


def _decode_any(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decode_any(v) for v in value)
    if isinstance(value, dict) and "key" in value:
        return _decode_object(value, Message)
    if isinstance(value, dict):
        (mark,) = value.values()
        if list(value) != ["$"]:
            raise ValueError("an unknown kind of value")
        if isinstance(mark, list):
            return complex(*(_decode_scalar(v, float) for v in mark))
        return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[mark]
    return value


def _check_bench(bench: Any) -> None:
    """Refuse a measurement whose raw times do not fit together."""
    for timing in bench.timings:
        if len(timing.rounds) != len(timing.times):
            raise ValueError(f"{timing.name} has {len(timing.times)} times in other rounds")
        _within(range(len(timing.times)), "block", *(index for index, _ in timing.spoilt))


def _check_references(recording: Any) -> None:
    """Refuse a recording whose parts point at parts that are not there."""
    _check_order(recording)
    tensors, ops = _numbers(recording.tensors), _numbers(recording.ops)
    lines, cells = _numbers(recording.lines), _numbers(recording.cells)
    variables, calls = _numbers(recording.variables), _numbers(recording.gradients)
    for op in recording.ops:
        _within(tensors, "tensor", *op.inputs, *op.outputs)
        _within(ops, "op", op.differentiates)
        _within(lines, "line", op.line, *(frame.line for frame in op.stack))
        _within(calls, "gradient call", op.call)
    for tensor in recording.tensors:
        _within(ops, "op", tensor.op)
        _within(variables, "variable", tensor.variable)
    for variable in recording.variables:
        _within(tensors, "tensor", *variable.reads)
        _within(ops, "op", *variable.assigned_by)
    for line in recording.lines:
        _within(cells, "cell", line.cell)
    for exit_ in recording.exits:
        _within(tensors, "tensor", exit_.tensor)
        _within(lines, "line", exit_.line)
    for function in recording.functions:
        _within(ops, "op", *function.ops)
        _within(lines, "line", function.line)
    _within(lines, "line", *(line for _, line in recording.rebound))
    for body in recording.bodies:
        _within(ops, "op", body.op)
        _check_body(body, lines)
    _check_gradients(recording)


def _check_body(body: Any, lines: Container[int]) -> None:
    tensors = range(len(body.tensors))
    _within(tensors, "tensor", *body.inputs, *body.outputs)
    for op in body.ops:
        _within(tensors, "tensor", *op.inputs, *op.outputs)
        _within(lines, "line", op.line, *(frame.line for frame in op.stack))
    for pair in body.gradients:
        _within(tensors, "tensor", *pair)


def _check_gradients(recording: Any) -> None:
    tensors, variables = _numbers(recording.tensors), _numbers(recording.variables)
    lines = _numbers(recording.lines)
    for call in recording.gradients:
        _within(tensors, "tensor", *call.target_tensors)
        _within(lines, "line", call.line)
        for event in call.events:
            _within(tensors, "tensor", *event.tensors)
            _within(variables, "variable", *event.variables)
            _within(lines, "line", event.line)
        for gradient in call.gradients:
            _within(tensors, "tensor", gradient.tensor, *gradient.source_tensors)
            _within(variables, "variable", gradient.variable)
    for reduction in recording.reductions:
        _within(tensors, "tensor", *reduction.parts, reduction.result)
        _within(lines, "line", reduction.line)
    for pair in recording.tensor_gradients:
        _within(tensors, "tensor", *pair)
    _within(_numbers(recording.ops), "op", *(op for op, _ in recording.op_seconds))


def _check_order(recording: Any) -> None:
    """Refuse what does not bear its own number; in a part of a story numbers may be left out."""
    for name in ("ops", "lines", "cells", "gradients", "tensors", "variables"):
        least, whole = 0, not recording.story or name in ("lines", "cells")
        for position, member in enumerate(getattr(recording, name)):
            number = _number(member)
            if number != position if whole else number < least:
                raise ValueError(f"{name}[{position}] calls itself number {number}")
            least = number + 1


def _number(member: Any) -> int:
    found = getattr(member, "index", None)
    return int(member.id if found is None else found)


def _numbers(members: Any) -> Container[int]:
    """The numbers that a recording's members bear, once it is known that they are in order."""
    if not members or _number(members[-1]) == len(members) - 1:
        return range(len(members))
    return {_number(member) for member in members}


def _within(known: Container[int], what: str, *indices: int | None) -> None:
    for index in indices:
        if index is not None and index not in known:
            raise ValueError(f"there is no {what} {index}")
