"""Whether a step's loss, what the model gives and the targets belong together.

Read from the step's own graph and the batches that were kept: no step runs for it, and what it
tells is so whatever the weights are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tfmagic.model import Pairing
from tfmagic.runtime import private
from tfmagic.runtime.capture.log import KeptSteps
from tfmagic.runtime.capture.source import source_of
from tfmagic.runtime.compiled.reader import Function, data, maker

__all__ = ["pairing", "source_place"]

#: Steps, rows of a batch, and the share of the batches, before their order counts.
_FEWEST, _ROWS, _MOSTLY = 8, 4, 0.7
#: Ops that hand on the numbers they take.
_PASSES = ("Identity", "Reshape", "Squeeze", "ExpandDims", "Cast", "StopGradient")
_CLIPS = ("Maximum", "Minimum", "ClipByValue")
_SOFTMAX_LOSSES = ("SparseSoftmaxCrossEntropyWithLogits", "SoftmaxCrossEntropyWithLogits")
#: The name scope in which TensorFlow computes a sigmoid's cross-entropy from logits.
_LOGISTIC = "logistic_loss"
_BINARY = ("Sub", "Mul", "AddV2", "SquaredDifference")


def pairing(kept: KeptSteps) -> Pairing | None:
    """What is known of the loss of these steps; None where their function tells no loss, or is
    gone."""
    try:
        function = Function(kept.function, kept.graph)
        losses = [trained.loss for trained in function.trained if trained.loss]
        return _paired(function, losses[0], kept) if losses else None
    except Exception:  # a function that is no more, a graph of a form that is not known
        return None


def _paired(function: Function, loss: str, kept: KeptSteps) -> Pairing:
    behind = function.ancestors([maker(loss)]) - function.backward
    layers = {maker(output.ref) for output in function.layer_outputs}
    targets = [a for a in function.arguments if _is_target(function, a, behind, layers)]
    values = _values(function, targets, kept)
    after = [n for n in function.nodes if n in behind]
    alone = [("softmax_of_one", name) for name in function.nodes if _of_one(function, name)]
    kinds = [*alone, *_kinds(function, after, targets)]
    kind, node = kinds[0] if kinds else ("", "")
    number, text = source_place(function, node)
    shapes = _torn(function, after)
    if shapes:
        number, text = source_place(function, shapes[0])
    torn = shapes[1:] if shapes else ()
    return Pairing(kind, tuple(values), torn, number, text, _batches(function, targets, kept))


def _batches(function: Function, targets: Sequence[str], kept: KeptSteps) -> str:
    """How the batches that were kept follow each other, where that is odd."""
    given = [
        [np.asarray(t) for t in step.inputs if t._id not in kept.variables and t.dtype.size]
        for step in kept.steps
    ]
    if len(given) < _FEWEST or not given[0]:
        return ""
    first = given[0]
    if all(all(map(np.array_equal, first, each)) for each in given[1:]):
        return "same"
    if len(targets) != 1:
        return ""
    place = list(function.arguments).index(targets[0])
    every = [np.asarray(step.inputs[place]) for step in kept.steps]
    labels = [np.unique(a if a.ndim < 2 or a.shape[-1] == 1 else a.argmax(-1)) for a in every]
    alone = sum(len(each) == 1 for each, a in zip(labels, every, strict=True) if len(a) >= _ROWS)
    all_labels = np.unique(np.concatenate(labels))
    whole = bool(np.all(all_labels == np.round(all_labels)))
    return "sorted" if whole and len(all_labels) > 1 and alone > _MOSTLY * len(every) else ""


def _is_target(function: Function, argument: str, behind: set[str], layers: set[str]) -> bool:
    """Whether an argument comes to the loss, and by no layer."""
    todo, seen = [argument], {argument}
    while todo:
        for user in function.users.get(todo.pop(), ()):
            if user in layers:
                return False
            if user in behind and user not in seen:
                seen.add(user)
                todo.append(user)
    return len(seen) > 1 and function.arguments[argument] != private.RESOURCE


def _values(function: Function, targets: Sequence[str], kept: KeptSteps) -> Iterator[float]:
    """The different values of the targets: at most three, with the least and the greatest."""
    if len(targets) != 1:
        return
    place = list(function.arguments).index(targets[0])
    arrays = [np.ravel(np.asarray(step.inputs[place])) for step in kept.steps]
    every = np.unique(np.concatenate(arrays)) if arrays else np.zeros(0)
    if every.size and every.dtype.kind in "iuf" and np.isfinite(every).all():
        yield from (float(v) for v in {every[0], every[every.size // 2], every[-1]})


def _kinds(
    function: Function, after: Sequence[str], targets: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """The form of the loss, and the node that shows it."""
    for name in after:
        node = function.nodes[name]
        if f"{_LOGISTIC}/" in f"{name}/":
            yield ("sigmoid_of_sigmoid" if _made_by(function, name, "Sigmoid") else "sigmoid", name)
            return
        if node.op in _SOFTMAX_LOSSES:
            before = _origin(function, data(node)[0])
            yield ("softmax_of_softmax" if before == "Softmax" else "softmax", name)
            return
    logs = [n for n in after if function.nodes[n].op == "Log"]
    if any(_origin(function, data(function.nodes[n])[0]) in _CLIPS for n in logs):
        others = [n for n in after if _is_other(function, n, targets)]
        if others:
            yield "probability", logs[0]


def _of_one(function: Function, name: str) -> bool:
    """Whether a node is a softmax over one number, which is always 1, and no attention's."""
    if function.nodes[name].op != "Softmax" or function.graph is None:
        return False
    users = {function.nodes[user].op for user in function.users.get(name, ())}
    try:
        shape = function.graph.get_operation_by_name(name).outputs[0].shape
    except KeyError:
        return False
    return shape.rank == 2 and shape[-1] == 1 and not users & {"Mul", "MatMul", "BatchMatMulV2"}


def _origin(function: Function, ref: str) -> str:
    """The type of the op that made a value, those that hand it on passed over."""
    node = function.nodes.get(maker(ref))
    while node is not None and node.op in _PASSES:
        node = function.nodes.get(maker(data(node)[0]))
    return node.op if node is not None else ""


def _made_by(function: Function, name: str, op_type: str) -> bool:
    return any(_origin(function, ref) == op_type for ref in data(function.nodes[name]))


def _is_other(function: Function, name: str, targets: Sequence[str]) -> bool:
    """Whether a node takes the targets from a constant, as ``1 - y``."""
    node = function.nodes[name]
    if node.op != "Sub":
        return False
    first, second = data(node)
    made = function.nodes.get(maker(first))
    return (
        made is not None
        and made.op == "Const"
        and any(t in function.ancestors([maker(second)]) for t in targets)
    )


def _torn(function: Function, after: Sequence[str]) -> tuple[str, ...]:
    """The node in which a column meets a row by accident, and both shapes: ``(n, 1)``, ``(n,)``."""
    if function.graph is None:
        return ()
    for name in after:
        if function.nodes[name].op not in _BINARY:
            continue
        try:
            op = function.graph.get_operation_by_name(name)
        except KeyError:
            continue
        shapes = [t.shape for t in op.inputs]
        if any(s.rank is None for s in shapes) or len(shapes) != 2:
            continue
        column, row = sorted(shapes, key=lambda s: -s.rank)
        column_and_row = (column.rank, row.rank) == (2, 1) and column[1] == 1
        if column_and_row and column[0] == row[0] != 1:
            return (name, *("(" + _shape(s) + ")" for s in (column, row)))
    return ()


def _shape(shape: object) -> str:
    sizes = ["n" if size is None else str(size) for size in shape]  # type: ignore[attr-defined]
    return ", ".join(sizes) + ("," if len(sizes) == 1 else "")


def source_place(function: Function, node: str) -> tuple[int, str]:
    """The user's line that led to a node: its number and its text; 0 where none is known."""
    places = function.place(node) if node else ()
    if not places:
        return 0, ""
    filename, number, _ = places[0]
    text = source_of(filename).split("\n")[number - 1 : number]
    return number, text[0].strip() if text else ""
