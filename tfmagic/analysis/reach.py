"""Parts of a recording that are worth a picture of their own."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

from tfmagic.errors import OptionError
from tfmagic.model import Recording

__all__ = ["carrying", "names", "stream"]


def stream(recording: Recording, name: str) -> frozenset[int]:
    """The ops that lead to what bears this name, and those that it leads to.

    ``name`` is the user's name of a tensor or a variable, or the type of an op.  Raises
    :class:`~tfmagic.errors.OptionError` where nothing is called so, naming the nearest.
    """
    tensors = _called(recording, name)
    makers = {recording.tensors[t].op for t in tensors} - {None}
    ops = {op.index for op in recording.ops if op.type == name} if not tensors else set()
    if not tensors and not ops:
        raise _unknown(recording, name)
    up = _closure((*(m for m in makers if m is not None), *ops), _before(recording))
    down = _closure(
        (*_users(recording, tensors), *ops),
        lambda op: _users(recording, recording.ops[op].outputs),
    )
    return frozenset(up | down)


def last_turn(recording: Recording) -> frozenset[int] | None:
    """The ops of the last turn of an eager training loop that lead to what it differentiated;
    None where the recording has no such loop, or several."""
    loops = [run for run in recording.runs if not run.compiled]
    if len(loops) != 1 or loops[0].line is None:
        return None
    calls = [call.index for call in recording.gradients if call.line == loops[0].line]
    before = max((op.index for op in recording.backward if op.call == calls[-2]), default=0)
    makers = (recording.tensors[t].op for t in recording.gradients[calls[-1]].target_tensors)
    found = _closure((op for op in makers if op is not None), _before(recording))
    return frozenset(op for op in found if op > before) or None


def carrying(recording: Recording) -> frozenset[int]:
    """The ops through which a gradient flowed, forward and backward.

    Raises :class:`~tfmagic.errors.OptionError` where no gradient was computed.
    """
    reached = set(recording.gradient_of)
    reached.update(t for call in recording.gradients for t in call.target_tensors)
    ops = {op.index for op in recording.forward if not reached.isdisjoint(op.outputs)}
    if not recording.gradient_of:
        raise OptionError("graph.no_gradient")
    return frozenset(ops | {op.index for op in recording.backward})


def names(recording: Recording) -> tuple[str, ...]:
    """Everything in it that bears a name of the user's."""
    found = dict.fromkeys(v.name or v.label for v in recording.variables)
    found |= dict.fromkeys(t.name for t in recording.tensors)
    return tuple(name for name in found if name)


def _called(recording: Recording, name: str) -> set[int]:
    """The tensors of this name, and every read of a variable of this name."""
    owners = {v.id for v in recording.variables if name in (v.name, v.label)}
    return {t.id for t in recording.tensors if t.name == name or t.variable in owners}


def _users(recording: Recording, tensors: Iterable[int]) -> Iterable[int]:
    return (op for t in tensors for op in recording.consumers.get(t, ()))


def _before(recording: Recording) -> Callable[[int], Iterable[int]]:
    def makers(op: int) -> Iterable[int]:
        found = (recording.tensors[t].op for t in recording.ops[op].inputs)
        return (maker for maker in found if maker is not None)

    return makers


def _closure(starts: Iterable[int], onward: Callable[[int], Iterable[int]]) -> set[int]:
    todo = list(starts)
    found = set(todo)
    while todo:
        for op in onward(todo.pop()):
            if op not in found:
                found.add(op)
                todo.append(op)
    return found


def _unknown(recording: Recording, name: str) -> OptionError:
    known = (*names(recording), *dict.fromkeys(op.type for op in recording.ops))
    near = difflib.get_close_matches(name, known, 3, 0.4) or known[:5]
    return OptionError("graph.no_such_name", given=name, near=", ".join(near))
