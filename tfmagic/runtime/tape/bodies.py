"""What ran inside the call of a ``tf.function``, as a part of the recording."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tfmagic.model import Body, Frame, Op, TensorInfo
from tfmagic.runtime.capture.snapshot import Snapshot
from tfmagic.runtime.compiled.interpreter import FunctionTrace, InnerOp


def body(position: int, inside: FunctionTrace, line_at: Callable[[str, int], int]) -> Body:
    """The inside of the call that is the entry at ``position``.

    ``line_at`` answers the index of the line with a number in a file.
    """
    maker = {t: (i, n) for i, op in enumerate(inside.ops) for n, t in enumerate(op.outputs)}
    tensors = [_tensor(number, inside, maker.get(number)) for number in range(len(inside.tensors))]
    pairs = []
    for number, snapshot in inside.gradients.items():
        pairs.append((number, len(tensors)))
        tensors.append(_of_snapshot(len(tensors), snapshot))
    return Body(
        op=position,
        ops=tuple(_op(index, op, line_at) for index, op in enumerate(inside.ops)),
        tensors=tuple(tensors),
        inputs=tuple(inside.inputs),
        outputs=tuple(inside.outputs),
        gradients=tuple(pairs),
    )


def _tensor(number: int, inside: FunctionTrace, made: tuple[int, int] | None) -> TensorInfo:
    told, snapshot = inside.tensors[number], inside.values.get(number)
    info = TensorInfo(number, told.shape, told.dtype, "", "input", name=told.name)
    if snapshot is not None:
        info = replace(_of_snapshot(number, snapshot), name=told.name)
    op, output = made if made is not None else (None, 0)
    return replace(info, op=op, output=output, role="input" if made is None else "op")


def _of_snapshot(number: int, snapshot: Snapshot) -> TensorInfo:
    return TensorInfo(
        number,
        snapshot.shape,
        snapshot.dtype,
        snapshot.device,
        "input",
        value=snapshot.value(),
        bytes=snapshot.bytes,
    )


def _op(index: int, op: InnerOp, line_at: Callable[[str, int], int]) -> Op:
    frames = tuple(
        Frame(name, line_at(filename, number)) for filename, number, name in reversed(op.frames)
    )
    return Op(
        index=index,
        type=op.type,
        inputs=op.inputs,
        outputs=op.outputs,
        line=frames[-1].line if frames else None,
        stack=frames,
        own_gradient=op.own_gradient,
        turn=op.turn,
    )
