"""Steps of a training run made again, on copies: as they were, or op by op."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tfmagic.model import BadValue
from tfmagic.model.op_traits import ASSIGNS
from tfmagic.runtime import private
from tfmagic.runtime.autodiff.differentiate import aside
from tfmagic.runtime.capture.log import KeptStep, KeptSteps, Log
from tfmagic.runtime.capture.source import source_of
from tfmagic.runtime.compiled.interpreter import FunctionTrace, InnerOp, Stopped, run
from tfmagic.runtime.compiled.reader import Function
from tfmagic.runtime.op_traits import reason

__all__ = ["StepReplay", "first_bad_op"]

#: Ops of a step that is looked at one by one.
_LARGEST = 30_000


class StepReplay:
    """The steps of a run once more, from what the variables held before them.

    The user's variables are not touched, and none of their Python runs: a step with an op that
    does more than compute, draw and assign raises
    :class:`~tfmagic.runtime.compiled.interpreter.Stopped`.
    """

    def __init__(self, kept: KeptSteps) -> None:
        import tensorflow as tf

        for function in Function(kept.function, kept.graph).every():
            types = {node.op for node in function.nodes.values()}
            if any(reason(t) in ("python", "state") and not ASSIGNS.match(t) for t in types):
                raise Stopped
        self._kept = kept
        self.variables = {
            key: tf.Variable(value, trainable=False) for key, value in kept.variables.items()
        }

    def inputs(self, step: KeptStep) -> list[Any]:
        """What a step takes, with the copies in place of the user's variables."""
        found = []
        for tensor in step.inputs:
            copy = self.variables.get(tensor._id)
            found.append(tensor if copy is None else copy.handle)
        return found

    def advance(self, step: KeptStep, count: int) -> Sequence[Any]:
        """Make a step; answers the ``count`` outputs of its function."""
        made, _ = private.call_unheard(self._kept.function, self.inputs(step), count)
        return list(made)

    def look(self, step: KeptStep) -> tuple[FunctionTrace, dict[int, Any]]:
        """Make a step op by op; answers its ops, and the tensor behind each number."""
        return run(self._kept.graph, self.inputs(step), most=_LARGEST)


def first_bad_op(
    log: Log, function: str, number: int, name_of: Callable[[int], str]
) -> BadValue | None:
    """The op that made the first value that was not finite in call ``number`` (from 0) of a
    function; None where all in it was finite.

    ``name_of`` a handle's id is the variable's name.  Raises
    :class:`~tfmagic.runtime.compiled.interpreter.Stopped` where that step was not kept, or
    cannot be made again.
    """
    told = log.compiled[function]
    stretches = [s for s in (told.suspect, told.latest, told.first) if s is not None]
    kept = next((s for s in stretches if any(k.number == number for k in s.steps)), None)
    if kept is None:
        raise Stopped
    try:
        return aside(lambda: _found(kept, number, name_of))
    except Exception as error:
        raise Stopped from error


def _found(kept: KeptSteps, number: int, name_of: Callable[[int], str]) -> BadValue | None:
    replay, reader = StepReplay(kept), Function(kept.function, kept.graph)
    outputs = len(reader.definition.signature.output_arg)
    for step in kept.steps:
        if step.number == number:
            inside, values = replay.look(step)
            handles = zip(inside.inputs, step.inputs, strict=False)
            names = {taken: name_of(tensor._id) for taken, tensor in handles}
            return _first(inside, values, reader, number, names)
        replay.advance(step, outputs)
    raise Stopped


def _first(
    inside: FunctionTrace,
    values: dict[int, Any],
    reader: Function,
    number: int,
    names: dict[int, str],
) -> BadValue | None:
    for place, taken in enumerate(inside.inputs):
        if _bad(values.get(taken)):
            name = inside.tensors[taken].name or f"#{place + 1}"
            return BadValue(number + 1, layer=name, direction="data", figure=_figure(values[taken]))
    for op in inside.ops:
        made = next((values[n] for n in op.outputs if _bad(values.get(n))), None)
        if made is None:
            continue
        if op.type == "ReadVariableOp":
            name = names.get(op.inputs[0], "")
            return BadValue(number + 1, layer=name, direction="update", figure=_figure(made))
        if any(_bad(values.get(n)) for n in op.inputs):
            continue  # an op that ran beside: what it took tells more
        return _blamed(op, values, made, reader, number)
    return None


def _blamed(
    op: InnerOp, values: dict[int, Any], made: Any, reader: Function, number: int
) -> BadValue:
    backward = op.name in reader.backward
    forward = reader.forward_of(op.name) if backward else op.name
    frames = op.frames if not backward else reader.place(forward)
    filename, line, _ = frames[0] if frames else ("", 0, "")
    text = source_of(filename).split("\n")[line - 1 : line] if line else []
    return BadValue(
        number + 1,
        op=op.type,
        line_number=line,
        line=text[0].strip() if text else "",
        layer=reader.layer(forward) if forward else "",
        direction="backward" if backward else "forward",
        figure=_figure(made),
        before=tuple(_taken(op, values)),
        turn=op.turn,
    )


def _taken(op: InnerOp, values: dict[int, Any]) -> Iterator[tuple[str, float, float]]:
    """What the op was given: dtype, least and greatest value."""
    for number in op.inputs:
        tensor = values.get(number)
        if tensor is not None and tensor.dtype.is_floating and tensor.shape.num_elements():
            array = np.asarray(tensor, float)
            yield str(tensor.dtype.name), float(array.min()), float(array.max())


def _bad(tensor: Any) -> bool:
    floats = tensor is not None and (tensor.dtype.is_floating or tensor.dtype.is_complex)
    return bool(floats and not np.isfinite(private.view(tensor)).all())


def _figure(tensor: Any) -> str:
    return "NaN" if np.isnan(private.view(tensor)).any() else "inf"
