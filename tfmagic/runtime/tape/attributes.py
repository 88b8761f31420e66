"""The attributes of an op as plain data."""

from __future__ import annotations

from typing import Any

from tfmagic.runtime import private
from tfmagic.runtime.capture.log import Entry

_LONGEST = 200


class Attributes:
    """Those of many ops, each distinct one put into plain data once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], Any] = {}
        self._whole: dict[tuple[str, Any], tuple[tuple[str, Any], ...]] = {}

    def of(self, entry: Entry) -> tuple[tuple[str, Any], ...]:
        """Names and values, in the order TensorFlow gave them."""
        try:
            return self._whole[entry.type, entry.attrs]
        except KeyError:
            found = self._whole[entry.type, entry.attrs] = self._found(entry)
            return found
        except TypeError:  # a list is among them
            return self._found(entry)

    def _found(self, entry: Entry) -> tuple[tuple[str, Any], ...]:
        attrs = entry.attrs or ()
        found: dict[str, Any] = {}
        for name, value in zip(attrs[::2], attrs[1::2], strict=False):
            name = name.decode() if isinstance(name, bytes) else str(name)
            key = (entry.type, name, type(value).__name__, str(value)[:_LONGEST])
            if key not in self._known:
                self._known[key] = _plain(entry.type, name, value)
            found[name] = self._known[key]
        return tuple(found.items())


def _plain(op_type: str, name: str, value: Any) -> Any:
    """An op attribute as plain data: dtypes by name, long values shortened."""
    import tensorflow as tf

    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, tf.DType):
        return value.name
    if isinstance(value, (bool, float)) or value is None:
        return value
    if isinstance(value, int):
        return _dtype_name(op_type, name, value)
    if isinstance(value, (list, tuple)) and len(value) <= 64:
        return tuple(_plain(op_type, name, v) for v in value)
    return str(value)[:_LONGEST]


def _dtype_name(op_type: str, name: str, value: int) -> Any:
    """Dtype attributes come as enum numbers: the OpDef says which they are."""
    import tensorflow as tf

    definition = private.op_definition(op_type)
    attributes = definition.attr if definition is not None else ()
    if any(a.name == name and "type" in a.type for a in attributes):
        try:
            return tf.dtypes.as_dtype(value).name
        except (TypeError, KeyError):
            return value
    return value
