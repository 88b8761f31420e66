"""One recorded op run again: on other inputs, and in float64 where that was asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfmagic.runtime import private
from tfmagic.runtime.capture.log import Entry

_WIDER = {
    "float16": "float64",
    "bfloat16": "float64",
    "float32": "float64",
    "complex64": "complex128",
}


def run_op(entry: Entry, inputs: Sequence[Any], widener: Widener | None = None) -> Sequence[Any]:
    """What the op of ``entry`` gives on ``inputs``, in its own attributes and precision."""
    if widener is not None:
        return widener.run(entry, inputs)
    return private.execute(entry.type, len(entry.outputs), inputs, _given(entry.attrs))


def _given(attrs: Sequence[Any] | None) -> tuple[Any, ...]:
    """The attributes that have a value: None stands for an op's own default."""
    attrs = attrs or ()
    pairs = zip(attrs[::2], attrs[1::2], strict=True)
    return tuple(part for pair in pairs if pair[1] is not None for part in pair)


class Widener:
    """Runs ops in float64; ``narrow`` collects the types of op that have no such kernel."""

    def __init__(self) -> None:
        self.narrow: set[str] = set()

    def wide(self, tensor: Any) -> Any:
        """``tensor`` in double precision, where it is a floating or complex one."""
        import tensorflow as tf

        to = _WIDER.get(tensor.dtype.name)
        return tensor if to is None else tf.cast(tensor, to)

    def run(self, entry: Entry, inputs: Sequence[Any]) -> Sequence[Any]:
        """The op in double precision, or in its own with its results widened."""
        if entry.type not in self.narrow and private.op_definition(entry.type) is not None:
            wide, attrs = [self.wide(t) for t in inputs], wide_attrs(entry)
            try:
                return self._all_wide(
                    entry, private.execute(entry.type, len(entry.outputs), wide, attrs)
                )
            except Exception:  # no such kernel: the attribute or the device does not take it
                self.narrow.add(entry.type)
        elif private.op_definition(entry.type) is None:
            self.narrow.add("tf.function")
        found = private.execute(
            entry.type, len(entry.outputs), self._as_recorded(entry, inputs), _given(entry.attrs)
        )
        return [self.wide(t) for t in found]

    def _all_wide(self, entry: Entry, outputs: Sequence[Any]) -> Sequence[Any]:
        """Some kernels take float64 and answer in float32 all the same."""
        if any(t.dtype.name in _WIDER for t in outputs):
            self.narrow.add(entry.type)
        return [self.wide(t) for t in outputs]

    def _as_recorded(self, entry: Entry, inputs: Sequence[Any]) -> list[Any]:
        import tensorflow as tf

        pairs = zip(inputs, entry.inputs, strict=True)
        return [new if new.dtype == old.dtype else tf.cast(new, old.dtype) for new, old in pairs]


def wide_attrs(entry: Entry) -> tuple[Any, ...]:
    """The op's attributes with every floating dtype among them in double precision."""
    import tensorflow as tf

    definition = private.op_definition(entry.type)
    kinds = {a.name: a.type for a in definition.attr} if definition is not None else {}

    def wider(value: Any) -> Any:
        name = _WIDER.get(tf.dtypes.as_dtype(value).name)
        return value if name is None else tf.dtypes.as_dtype(name).as_datatype_enum

    found = []
    attrs = _given(entry.attrs)
    for name, value in zip(attrs[::2], attrs[1::2], strict=True):
        text = name.decode() if isinstance(name, bytes) else name
        if kinds.get(text) == "type":
            value = wider(value)
        elif kinds.get(text) == "list(type)":
            value = [wider(v) for v in value]
        found += [name, value]
    return tuple(found)
