"""What ``%tfgraph EXPR`` is given, run once and recorded: a function, a model, a call."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from tfmagic.errors import OptionError
from tfmagic.model import Recording
from tfmagic.runtime.expression import evaluate
from tfmagic.runtime.tape import Namespace, Tape


def recording_of(
    expression: str, namespace: Namespace, label: Callable[[str], str] = str
) -> Recording:
    """The recording that ``expression`` is, or that comes of running it.

    A recording or a tape is taken as it is, a call ``f(x)`` is run, a function is called
    without arguments, a Keras model on a batch of zeros of its own input shape.  Raises
    :class:`OptionError`, one line, for anything else.
    """
    if _is_call(expression):
        return _recorded(
            lambda: evaluate(expression, namespace(), "%tfgraph"), expression, namespace, label
        )
    return drawable(evaluate(expression, namespace(), "%tfgraph"), expression, namespace, label)


def drawable(
    subject: Any,
    name: str = "graph",
    namespace: Namespace = dict,
    label: Callable[[str], str] = str,
) -> Recording:
    """The recording that ``subject`` is, or that comes of running it once."""
    if isinstance(subject, Recording):
        return subject
    if isinstance(subject, Tape):
        return subject.recording
    inputs = _model_inputs(subject, name)
    if inputs is not None:
        return _recorded(lambda: subject(inputs), name, namespace, label)
    if not callable(subject):
        raise OptionError("cells.not_drawable", given=name, type=type(subject).__name__)
    _check_arguments(subject, name)
    return _recorded(subject, name, namespace, label)


def _is_call(expression: str) -> bool:
    try:
        return isinstance(ast.parse(expression, mode="eval").body, ast.Call)
    except SyntaxError:
        return False


def _recorded(
    run: Callable[[], Any], name: str, namespace: Namespace, label: Callable[[str], str]
) -> Recording:
    names: dict[str, Any] = {}

    def known() -> Mapping[str, Any]:
        return {**namespace(), **names}

    tape = Tape(known, label=label, everything=True)
    with tape:
        names["result"] = run()
    recording = tape.release().recording
    if isinstance(names["result"], Recording):
        return names["result"]
    if not recording.ops:
        if _is_drawable(names["result"]):
            return drawable(names["result"], name, namespace, label)
        raise OptionError("cells.ran_no_op", given=name)
    return recording


def _is_drawable(value: Any) -> bool:
    return isinstance(value, (Recording, Tape)) or _is_model(value)


def _is_model(value: Any) -> bool:
    import sys

    keras = sys.modules.get("keras")
    return keras is not None and isinstance(value, keras.Model)


def _model_inputs(subject: Any, name: str) -> Any:
    """A batch of one, all zeros, in the shape the Keras model asks for; None for others."""
    if not _is_model(subject):
        return None
    import tensorflow as tf

    shapes = getattr(subject, "input_shape", None) if subject.built else None
    if shapes is None:
        raise OptionError("cells.needs_arguments", given=name, arguments="inputs")
    dtypes = tf.nest.map_structure(lambda t: t.dtype, subject.inputs)
    flat = tf.nest.flatten(dtypes)
    shapes = [shapes] if isinstance(shapes, tuple) and not _nested(shapes) else list(_flat(shapes))
    made = [
        tf.zeros([1 if n is None else n for n in shape], dtype)
        for shape, dtype in zip(shapes, flat, strict=True)
    ]
    return made[0] if len(made) == 1 else made


def _nested(shapes: Any) -> bool:
    return any(isinstance(part, (tuple, list, dict)) for part in shapes)


def _flat(shapes: Any) -> Any:
    values = shapes.values() if isinstance(shapes, dict) else shapes
    return [tuple(shape) for shape in values]


def _check_arguments(subject: Any, name: str) -> None:
    """A function that needs arguments cannot be drawn by its name alone."""
    function = getattr(subject, "python_function", subject)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return
    needed = [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if needed:
        raise OptionError("cells.needs_arguments", given=name, arguments=", ".join(needed))
