"""How TensorFlow turns one value into a tensor: tried on the value itself."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tfmagic.model.inventory import Conversion
from tfmagic.runtime.values.kinds import kind_of, unseen

#: Elements up to which a value is really multiplied, to see what TensorFlow says.
TRIED = 10_000
INT32 = 2**31


def conversion(value: Any, expression: str, namespace: Mapping[str, Any]) -> Conversion:
    """What ``tf.convert_to_tensor(value)`` gives, why that dtype, and where numpy took over.

    ``expression`` is what the value came from; the tensors that it names in ``namespace``
    are those that a numpy result has left behind.
    """
    with unseen():
        return _tried(value, expression, tuple(_left(value, expression, namespace)))


def _tried(value: Any, expression: str, left: tuple[str, ...]) -> Conversion:
    from tfmagic.runtime import private

    tf = private.tf  # type: ignore[attr-defined]
    rule = _rule(value)
    try:
        tensor = tf.convert_to_tensor(value)
    except Exception as error:
        kind = kind_of(value)
        if kind in ("ragged", "sparse", "dataset"):  # no one tensor, and meant to be none
            return Conversion(expression, _type(value), kind, left=left)
        refused = "uneven" if _is_uneven(value) else "refused"
        return Conversion(expression, _type(value), refused, error=_first_line(error), left=left)
    meets, refusal = ("", "") if rule == "text" else _product(value, tensor)
    return Conversion(
        expression,
        _type(value),
        rule,
        tensor.dtype.name,
        tuple(tensor.shape),
        _lost(value, tensor),
        meets,
        refusal,
        left,
    )


def _type(value: Any) -> str:
    name = type(value).__name__
    if isinstance(value, np.generic):
        return name  # it is the dtype
    try:
        dtype = getattr(value, "dtype", None)
    except Exception:  # a property of the user's may raise whatever it likes
        dtype = None
    return name if dtype is None else f"{name} ({getattr(dtype, 'name', dtype)})"


def _rule(value: Any) -> str:
    """Which sentence of the lesson fits."""
    kind = kind_of(value)
    if kind in ("tensor", "variable"):
        return kind
    if kind == "array":
        return "text" if value.dtype.kind in "SU" else "array"
    if isinstance(value, np.ndarray):  # of objects: TensorFlow takes none but texts
        return "text"
    leaves = list(_leaves(value))
    if not leaves:
        return "empty"
    if any(kind_of(leaf) in ("tensor", "variable") for leaf in leaves):
        return "packed"
    if any(kind_of(leaf) == "array" for leaf in leaves):
        return "array"
    if hasattr(type(value), "__array__"):
        return "like_array"
    return _of_python({type(leaf) for leaf in leaves}, leaves)


def _of_python(types: set[type], leaves: list[Any]) -> str:
    if types == {bool}:
        return "bool"
    if types == {int}:
        return "int" if all(-INT32 <= leaf < INT32 for leaf in leaves) else "long"
    if types == {int, bool}:
        return "counted"
    if types == {int, float}:
        return "mixed"
    single = {float: "float", complex: "complex", str: "text", bytes: "text"}
    return single.get(next(iter(types)), "other") if len(types) == 1 else "other"


def _is_uneven(value: Any) -> bool:
    """Whether it is rows of different lengths."""
    if not isinstance(value, (list, tuple)):
        return False
    rows = [row for row in value if isinstance(row, (list, tuple))]
    return bool(rows) and (len(rows) < len(value) or len(set(map(len, rows))) > 1)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple, range)):
        for member in value[:TRIED]:
            yield from _leaves(member)
    else:
        yield value


def _left(value: Any, expression: str, namespace: Mapping[str, Any]) -> Iterator[str]:
    """The tensors that the expression names, where what came of them is none."""
    if kind_of(value) not in ("array", "") or isinstance(value, (list, tuple, dict, str)):
        return
    try:
        names = [n.id for n in ast.walk(ast.parse(expression)) if isinstance(n, ast.Name)]
    except SyntaxError:
        return
    for name in dict.fromkeys(names):
        if kind_of(namespace.get(name)) in ("tensor", "variable"):
            yield name


def _lost(value: Any, tensor: Any) -> float | None:
    """The largest difference between what was given and what the tensor holds."""
    if kind_of(value) or not tensor.dtype.is_floating:
        return None
    try:
        given = np.asarray(value, dtype=np.float64)
        with np.errstate(invalid="ignore"):  # of two infinities: that is no difference
            moved = np.abs(given - tensor.numpy().astype(np.float64))
        return float(np.max(moved[~np.isnan(moved)], initial=0.0))
    except (TypeError, ValueError):
        return None


def _product(value: Any, tensor: Any) -> tuple[str, str]:
    import tensorflow as tf

    if (tensor.shape.num_elements() or 0) > TRIED or kind_of(value) == "variable":
        value = tensor[:0] if tensor.shape.rank else tensor
    try:
        with warnings.catch_warnings(action="ignore"):  # numpy's, of an imaginary part that goes
            return (tf.constant(1.0) * value).dtype.name, ""
    except Exception as error:
        return "", _first_line(error)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
