"""What a ``tf.function`` becomes when it is traced, beside what it does without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tfmagic.errors import OptionError
from tfmagic.language import Message
from tfmagic.model import Recording
from tfmagic.runtime.compiled import graphdef
from tfmagic.runtime.compiled.graphdef import Weight

__all__ = ["Subject", "concrete", "is_concrete", "is_function", "of_function"]

_LONGEST = 20_000


@dataclass(frozen=True, slots=True)
class Subject:
    """What is drawn: a recording, and for a function the graph that came of tracing it.

    ``code`` is what AutoGraph made of the function's Python, ``note`` says what is missing.
    """

    recording: Recording | None
    traced: Recording | None = None
    code: str = ""
    note: Message | str = ""


def is_function(value: Any) -> bool:
    """Whether it is what ``tf.function`` gives."""
    return hasattr(value, "get_concrete_function") and hasattr(value, "python_function")


def is_concrete(value: Any) -> bool:
    """Whether it is one trace of a function."""
    return hasattr(value, "captured_inputs") and hasattr(value, "graph")


def of_function(
    function: Any,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    run: Callable[[Callable[[], Any]], Recording],
    namespace: Mapping[str, Any],
    name: str,
) -> Subject:
    """Trace a function for these arguments, and run its Python eagerly, once.

    ``run`` records what a callable does.  What fails on one side is said on the other; an
    error of the function's own on both sides is the user's.
    """
    try:
        trace = function.get_concrete_function(*args, **kwargs)
    except (TypeError, ValueError) as error:
        raise OptionError("graph.not_traced", given=name, detail=_line(error)) from None
    traced = concrete(trace, namespace)
    code = _autograph(function)
    try:
        return Subject(run(lambda: function.python_function(*args, **kwargs)), traced, code)
    except Exception as error:
        note = Message.of("graph.not_eager", detail=_line(error))
        return Subject(None, traced, code, note)


def concrete(trace: Any, namespace: Mapping[str, Any]) -> Recording:
    """The graph of one trace, its variables called as the user calls them."""
    captured = list(trace.captured_inputs)
    placeholders = trace.inputs[len(trace.inputs) - len(captured) :]
    handles = {id(v.handle): v for v in trace.variables if hasattr(v, "handle")}
    names = {id(value): name for name, value in namespace.items() if not name.startswith("_")}
    weights = {}
    for placeholder, tensor in zip(placeholders, captured, strict=False):
        variable = handles.get(id(tensor))
        if variable is not None:
            weights[placeholder.op.name] = Weight(
                names.get(id(variable), variable.name.partition(":")[0]),
                tuple(variable.shape),
                variable.dtype.name,
                bool(variable.trainable),
            )
    ends = [tensor.op.name for tensor in trace.outputs]
    ends += [op.name for op in getattr(trace.graph, "control_outputs", ())]
    graph_def = trace.graph.as_graph_def(add_shapes=True)
    return graphdef.read(graph_def, outputs=ends, weights=weights)


def _autograph(function: Any) -> str:
    import tensorflow as tf

    try:
        return str(tf.autograph.to_code(function.python_function))[:_LONGEST].rstrip()
    except Exception:  # no source (made by exec), or Python that AutoGraph leaves alone
        return ""


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
