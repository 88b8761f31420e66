"""Reads of variables that TensorFlow keeps to itself.

``x * w`` fires no ReadVariableOp: the op's input is a tensor that no recorded op made.
But the frame that called the op still holds the arguments as the user gave them, the
Variable among them, in the order of the op's inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

from tfmagic.runtime import private

_NOT_INPUTS = {"name", "ctx", "_ctx"}
#: How far up the frames a variable is looked for that owns a handle.
_FAR = 12


def match_reads(
    inputs: Sequence[Any], unknown: Sequence[Any], attrs: Sequence[Any], caller: FrameType
) -> Iterator[tuple[Any, Any]]:
    """Pairs ``(input tensor, variable)`` for the inputs that are a variable's value.

    ``unknown`` are the inputs nobody is known to have made.
    """
    given = _arguments(caller, attrs)
    if not any(isinstance(value, private.Variable) for value in given):
        return
    if len(given) == len(inputs):
        pairs = list(zip(inputs, given, strict=True))
        if all(_fits(tensor, value) for tensor, value in pairs):
            for tensor, value in pairs:
                if isinstance(value, private.Variable) and not _is_handle(tensor):
                    yield tensor, value
            return
    yield from _in_order(unknown, [v for v in given if isinstance(v, private.Variable)])


def _arguments(caller: FrameType, attrs: Sequence[Any]) -> list[Any]:
    """The caller's parameters that can be inputs of its op, lists opened, in order."""
    code, local = caller.f_code, caller.f_locals
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    skip = _NOT_INPUTS.union(attrs[::2]) if attrs else _NOT_INPUTS
    found: list[Any] = []
    for name in names:
        if name in skip:
            continue
        value = local.get(name)
        if isinstance(value, (list, tuple)) and any(
            isinstance(v, (private.Variable, private.EagerTensor)) for v in value
        ):
            found.extend(value)
        else:
            found.append(value)
    return found


def _fits(tensor: Any, value: Any) -> bool:
    """Whether ``tensor`` can be what TensorFlow made of ``value``."""
    if isinstance(value, private.EagerTensor):
        return bool(tensor._id == value._id)
    if isinstance(value, private.Variable):
        return _is_handle(tensor) or bool(tensor.dtype == value.dtype)
    return value is not None


def _is_handle(tensor: Any) -> bool:
    return bool(tensor.dtype.name == "resource")


def _in_order(unknown: Sequence[Any], variables: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Where arguments and inputs do not match one to one: first fit, in order."""
    left = [t for t in unknown if not _is_handle(t)]
    for variable in variables:
        for tensor in left:
            if tensor.dtype == variable.dtype and tensor.shape == variable.shape:
                left.remove(tensor)
                yield tensor, variable
                break


def find_handle_owner(handle: Any, frame: FrameType | None) -> Any:
    """The variable whose resource ``handle`` is, looked for in the callers' locals."""
    key = handle._id
    for _ in range(_FAR):
        if frame is None:
            return None
        for value in list(frame.f_locals.values()):
            if isinstance(value, private.Variable):
                own = getattr(value, "_handle", None)
                if own is not None and getattr(own, "_id", None) == key:
                    return value
        frame = frame.f_back
    return None
