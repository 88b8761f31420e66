"""What a value of the user's is to TensorFlow, and the numbers in it.

Nothing here imports TensorFlow: what it has not met yet cannot be one of its kinds.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["CONTAINERS", "kind_of", "numbers", "parts", "shown_types", "unseen"]

#: Kinds that hold variables.
CONTAINERS = ("module", "layer", "model", "optimizer", "metric")
#: Members of a list or dictionary that are looked at.
MEMBERS = 100


def kind_of(value: Any) -> str:
    """``"tensor"``, ``"variable"``, ``"array"``, ``"model"`` …; empty for anything else."""
    if isinstance(value, (np.ndarray, np.generic)):
        return "array" if value.dtype.kind in "fiubcSU" else ""
    if isinstance(value, type):
        return ""
    return next((kind for kind, types in _types() if isinstance(value, types)), "")


def _types() -> Iterator[tuple[str, Any]]:
    tf, keras = sys.modules.get("tensorflow"), sys.modules.get("keras")
    if tf is None or not hasattr(tf, "Module"):  # not there, or not yet
        return
    yield "variable", tf.Variable
    yield "tensor", tf.Tensor
    yield "ragged", tf.RaggedTensor
    yield "sparse", tf.SparseTensor
    yield "slices", tf.IndexedSlices
    yield "list", tf.TensorArray
    yield "dataset", tf.data.Dataset
    if keras is not None and hasattr(keras, "KerasTensor"):
        yield "symbolic", keras.KerasTensor
        yield "variable", _root(keras.Variable)
        yield "model", keras.Model
        yield "layer", keras.layers.Layer
        yield "optimizer", keras.optimizers.Optimizer
        yield "metric", keras.metrics.Metric
    yield "module", tf.Module


def _root(keras_type: type) -> type:
    """Keras's oldest ancestor: in 3.3, a layer's variables are no ``keras.Variable``."""
    return [each for each in keras_type.__mro__ if each.__module__.startswith("keras.")][-1]


def shown_types() -> list[type]:
    """The types of values with numbers in them that there are by now, numpy's aside."""
    wanted = ("variable", "tensor", "ragged", "sparse", "slices")
    return [types for kind, types in _types() if kind in wanted]


def parts(value: Any) -> Iterator[tuple[str, Any]]:
    """The members of a list, tuple or dictionary, each with how it is written: ``[0]``."""
    if isinstance(value, dict):
        for key in list(value)[:MEMBERS]:
            if isinstance(key, (str, int)):
                yield f"[{key!r}]", value[key]
    elif isinstance(value, (list, tuple)):
        for i, member in enumerate(value[:MEMBERS]):
            yield f"[{i}]", member


def numbers(value: Any, kind: str) -> tuple[Any, tuple[int | None, ...] | None]:
    """The eager tensor or array with the numbers of ``value``, and its shape if another.

    None in the place of the numbers where there are none: a symbolic tensor.
    """
    if kind == "array":
        return np.asarray(value), None
    if kind == "ragged":
        return value.flat_values, tuple(value.shape)
    if kind == "sparse":
        return value.values, tuple(value.shape)
    if kind == "slices":
        return value.values, _dense_shape(value)
    if kind == "variable":
        inner = getattr(value, "value", value)
        inner = inner() if callable(inner) else inner
        return getattr(inner, "read_value", lambda: inner)(), None
    if not hasattr(value, "_datatype_enum") or not hasattr(value, "numpy"):
        return None, None
    return value, None


def _dense_shape(slices: Any) -> tuple[int | None, ...] | None:
    if slices.dense_shape is None:
        return None
    return tuple(int(size) for size in slices.dense_shape.numpy())


def unseen() -> contextlib.AbstractContextManager[None]:
    """A block whose ops no op callback of this thread hears, and no tape notes."""
    if "tensorflow" not in sys.modules:
        return contextlib.nullcontext()
    from tfmagic.runtime import private

    return private.unseen()
