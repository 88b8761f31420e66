"""What a gradient that is worked out afterwards may run, and what it must not.

Working out a gradient from a recording runs nothing of the cell again, but for two
things.  A ``tf.function`` that no tape watched is run once more: where it draws, prints or
changes a variable, that would be another run, and the user would feel it.  And a gradient
that the user wrote themselves is their Python: it runs where they ask for it, not where
we do.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tfmagic.errors import NotRepeatable
from tfmagic.runtime import private
from tfmagic.runtime.capture.log import Entry, Log
from tfmagic.runtime.capture.source import is_user_file
from tfmagic.runtime.op_traits import reason_inside

#: Functions looked at in the closures of one backward function.
_MOST = 200
#: How far a second run may be from the first before it counts as another one.
_RTOL = 1e-5


def require_repeatable(log: Log, positions: Sequence[int], *, asked: bool) -> None:
    """Raise :class:`~tfmagic.errors.NotRepeatable` where the entries at ``positions``
    cannot be differentiated without the user noticing.

    ``asked`` is whether it was the user who asked for this gradient.
    """
    for position in positions:
        entry = log.entries[position]
        custom = log.custom.get(entry.outputs[0]._id) if entry.outputs else None
        function = log.functions.get(position)
        if not asked and custom is not None and _is_users(custom.backward):
            raise NotRepeatable("tape.own_gradient", name=custom.type)
        if function is not None:
            _require_function(entry, function, taped=custom is not None, asked=asked)


def _require_function(entry: Entry, function: Any, *, taped: bool, asked: bool) -> None:
    name = str(getattr(function.graph, "name", "") or entry.type)
    reason = "" if taped else reason_inside(function)
    if reason:
        raise NotRepeatable(f"tape.function_{reason}", name=name)
    if not asked and any(_is_users(g) for g in private.gradients_inside(function)):
        raise NotRepeatable("tape.own_gradient", name=name)


def require_same(function: Any, first: Sequence[Any], again: Sequence[Any]) -> None:
    """Raise where a second run gave other outputs: what it read has changed since."""
    for one, other in zip(first, again, strict=False):
        if one.dtype.is_floating and not np.allclose(
            one.numpy(), other.numpy(), rtol=_RTOL, equal_nan=True
        ):
            raise NotRepeatable("tape.function_changed", name=str(function.graph.name))


def _is_users(backward: Any) -> bool:
    """Whether calling ``backward`` runs Python that the user wrote."""
    return any(
        is_user_file(code.co_filename) or "__autograph_gen" in code.co_filename
        for code in _codes(backward)
    )


def _codes(function: Any) -> Iterator[types.CodeType]:
    """The code of a function and of every function that its closure holds."""
    todo: list[Any] = [function]
    seen: set[int] = set()
    while todo and len(seen) < _MOST:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, functools.partial):
            todo += [one.func, *one.args]
        elif isinstance(one, types.MethodType):
            todo.append(one.__func__)
        elif isinstance(one, types.FunctionType):
            yield one.__code__
            todo += [cell.cell_contents for cell in one.__closure__ or () if _is_filled(cell)]


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
