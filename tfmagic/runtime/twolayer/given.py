"""What a user gives for the network of two layers, as checked arrays that fit together."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfmagic.analysis.notation import shape
from tfmagic.errors import OptionError, ShapeError
from tfmagic.model.step import ACTIVATIONS, Array, Network

__all__ = ["activations", "array", "frozen", "network", "rate"]

COLUMNS = ("X", "Y", "b_1", "b_2")


def network(given: dict[str, Any], activation: Any) -> Network:
    """The network of these numbers; a bias that is None is not there.

    It computes in float64 where an array or a tensor of that precision was given, else in
    float32, as TensorFlow does.  Raises :class:`ShapeError` or :class:`OptionError`.
    """
    arrays = {name: array(name, value) for name, value in given.items() if value is not None}
    precision = np.float64 if any(_is_double(v) for v in given.values()) else np.float32
    shapes = {name: value.shape for name, value in arrays.items()}
    for name in ("W_1", "W_2"):
        if arrays[name].ndim != 2:
            raise ShapeError("step.not_matrix", name=name, shape=shapes[name], shapes=shapes)
    hidden, outputs = len(arrays["W_1"]), len(arrays["W_2"])
    _chain("W_1", arrays["W_1"].shape[1], "X", len(np.atleast_1d(arrays["X"])), shapes)
    _chain("W_2", arrays["W_2"].shape[1], "W_1", hidden, shapes)
    arrays["X"] = _matrix(arrays["X"])
    arrays["Y"] = _target(arrays["Y"], outputs, arrays["X"].shape[1], shapes)
    for name, nodes, weights in (("b_1", hidden, "W_1"), ("b_2", outputs, "W_2")):
        if name in arrays:
            arrays[name] = _bias(name, arrays[name], nodes, weights, shapes)
    made = {name: frozen(value, precision) for name, value in arrays.items()}
    return Network(**made, activation=activations(activation))


def array(name: str, value: Any) -> Array:
    """``value`` as an array of finite numbers, or an :class:`OptionError` that says why not."""
    try:
        found = np.asarray(value.numpy() if hasattr(value, "numpy") else value)
        if found.dtype.kind not in "biuf" and not str(found.dtype).startswith("bfloat"):
            raise TypeError(f"dtype {found.dtype}")
        numbers = found.astype(np.float64)
    except Exception as error:
        detail = str(error).partition("\n")[0][:200]
        raise OptionError("step.not_numbers", name=name, detail=detail) from None
    if numbers.size == 0:
        raise OptionError("step.empty", name=name, shape=shape(numbers.shape))
    if not np.isfinite(numbers).all():
        raise OptionError("step.not_finite", name=name)
    return numbers


def frozen(value: Any, precision: Any) -> Array:
    """A read-only copy."""
    made = np.array(value, precision)
    made.flags.writeable = False
    return made


def rate(value: Any) -> float:
    """A learning rate: any finite number; negative and huge ones are allowed, and shown."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise OptionError("step.not_numbers", name="lr", detail=str(value)[:80]) from None
    if not np.isfinite(found):
        raise OptionError("step.not_finite", name="lr")
    return found


def activations(given: Any) -> tuple[str, str]:
    """One name for both layers, or one for each: ``"relu,linear"`` or ``("relu", "linear")``."""
    names = given.split(",") if isinstance(given, str) else list(given)
    names = [str(name).strip() for name in names]
    pair = names * 2 if len(names) == 1 else names
    wrong = [name for name in pair if name not in ACTIVATIONS]
    if wrong or len(pair) != 2:
        raise OptionError(
            "step.activation", given=wrong[0] if wrong else given, known=", ".join(ACTIVATIONS)
        )
    return pair[0], pair[1]


def _is_double(value: Any) -> bool:
    return getattr(getattr(value, "dtype", None), "name", str(getattr(value, "dtype", ""))) == (
        "float64"
    )


def _chain(
    name: str, takes: int, below: str, gives: int, shapes: dict[str, tuple[int, ...]]
) -> None:
    if takes != gives:
        raise ShapeError(
            "step.chain",
            name=name,
            shape=shape(shapes[name]),
            takes=takes,
            below=below,
            below_shape=shape(shapes[below]),
            gives=gives,
            shapes=shapes,
        )


def _matrix(value: Array) -> Array:
    """A column for a single number or a plain list."""
    if value.ndim > 2:
        raise ShapeError(
            "step.not_matrix", name="X", shape=shape(value.shape), shapes={"X": value.shape}
        )
    return value.reshape(-1, 1) if value.ndim < 2 else value


def _target(value: Array, outputs: int, samples: int, shapes: dict[str, tuple[int, ...]]) -> Array:
    """Targets in the shape of the outputs; ``[1]`` may stand for one of either."""
    wanted = (outputs, samples)
    if value.shape == wanted:
        return value
    if value.ndim < 2 and value.size == outputs * samples and 1 in wanted:
        return value.reshape(wanted)
    raise ShapeError("step.target", shape=shape(value.shape), wanted=shape(wanted), shapes=shapes)


def _bias(
    name: str, value: Array, nodes: int, weights: str, shapes: dict[str, tuple[int, ...]]
) -> Array:
    """A column; a single number stands in every node."""
    if value.ndim == 0:
        return np.full((nodes, 1), value)
    if value.shape in ((nodes,), (nodes, 1)):
        return value.reshape(nodes, 1)
    raise ShapeError(
        "step.bias",
        name=name,
        shape=shape(value.shape),
        nodes=nodes,
        below=weights,
        below_shape=shape(shapes[weights]),
        shapes=shapes,
    )
