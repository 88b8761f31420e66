"""Ops that do more than compute: which of them a replay can follow, and which it must not run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from tfmagic.model.op_traits import PYTHON, READS
from tfmagic.runtime import private

#: Those whose new value a replay can work out itself.
FOLLOWED = frozenset(
    {
        "AssignVariableOp",
        "AssignAddVariableOp",
        "AssignSubVariableOp",
        "ResourceApplyGradientDescent",
    }
)
_RANDOM = re.compile(r"Random|Multinomial|Shuffle|SampleDistorted|CandidateSampler")
#: Stateful by registration, yet they only read: running them again changes nothing.
_READ_ONLY = frozenset(
    {
        *READS,
        *("VarHandleOp", "VariableShape"),
        *("StatefulPartitionedCall", "PartitionedCall", "While", "If", "Case"),
        *("Placeholder", "_Arg", "_Retval", "NoOp", "Assert", "CheckNumerics"),
        *("TensorListPushBack", "TensorListPopBack", "Reshape"),
    }
)


def reason(op_type: str) -> str:
    """Why an op of this type must not run again; empty where it may."""
    if op_type in PYTHON:
        return "python"
    if op_type in _READ_ONLY:
        return ""
    if not private.may_do_more(op_type):
        return ""
    return "random" if _RANDOM.search(op_type) else "state"


def reason_inside(function: Any) -> str:
    """Why a ``tf.function`` must not run again: the worst of what is inside it.

    Raises :class:`~tfmagic.errors.TensorFlowMissing` where TensorFlow does not tell."""
    private.demand("op_defs")
    found = {reason(op_type) for op_type in types_inside(function)}
    return next((r for r in ("python", "random", "state") if r in found), "")


def types_inside(function: Any) -> Iterator[str]:
    """The types of every op in a function's graph and in those that it calls."""
    graph = function.graph.as_graph_def()
    for nodes in (graph.node, *(inner.node_def for inner in graph.library.function)):
        for node in nodes:
            yield node.op


def assigned(op_type: str, before: Any, given: Sequence[Any]) -> Any:
    """What a variable holds after a :data:`FOLLOWED` op with these inputs."""
    import tensorflow as tf

    if op_type == "AssignVariableOp":
        return given[0]
    change = given[0]
    if op_type == "ResourceApplyGradientDescent":
        change = tf.cast(given[0], given[1].dtype) * given[1]
    before = tf.cast(before, change.dtype)
    return before + change if op_type == "AssignAddVariableOp" else before - change


def gathered(op_type: str, table: Any, indices: Any) -> Any:
    """The rows of ``table`` that ``ResourceGather`` or ``ResourceGatherNd`` reads."""
    import tensorflow as tf

    return (
        tf.gather_nd(table, indices) if op_type == "ResourceGatherNd" else tf.gather(table, indices)
    )


def stand_in(value: Any, dtype: str) -> Any:
    """A variable of its own that holds ``value``, for a function that reads through a handle."""
    import tensorflow as tf

    return tf.Variable(tf.cast(value, dtype), trainable=False)
