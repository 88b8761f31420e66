"""What ``%tfgraph EXPR`` is given, run once and recorded: a function, a model, a call, a file."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tfmagic.errors import OptionError
from tfmagic.model import Recording
from tfmagic.runtime.autodiff.op_times import op_seconds
from tfmagic.runtime.compiled import saved_model as saved
from tfmagic.runtime.compiled.autograph import (
    Subject,
    concrete,
    is_concrete,
    is_function,
    of_function,
)
from tfmagic.runtime.tape.expression import evaluate
from tfmagic.runtime.tape.tape import Namespace, Tape


@dataclass(frozen=True, slots=True)
class Way:
    """How a subject is run: the user's names, what a cell is called, whether ops are timed."""

    namespace: Namespace = dict
    label: Callable[[str], str] = str
    cost: bool = False


def subject_of(
    expression: str,
    namespace: Namespace,
    label: Callable[[str], str] = str,
    *,
    cost: bool = False,
) -> Subject:
    """The recording that ``expression`` is, or that comes of running it.

    A recording or a tape is taken as it is, a call ``f(x)`` is run, a function is called
    without arguments, a Keras model on a batch of zeros of its own input shape.  A
    ``tf.function`` is traced as well.  A SavedModel folder, ``.keras``, ``.pb`` or
    ``.pbtxt`` file is read.  Raises :class:`OptionError` or
    :class:`~tfmagic.errors.LoadError`, one line, for anything else.  With ``cost`` each op is
    timed by itself afterwards.
    """
    way = Way(namespace, label, cost)
    place = expression.strip("\"'")
    if saved.is_saved(place) and place not in namespace():
        return of_value(saved.read(place), expression, way)
    call = _call(expression)
    if call is None:
        value = evaluate(expression, namespace(), "%tfgraph")
        return of_value(value, expression, way)
    function = _function(call, namespace)
    if function is None:
        run = partial(evaluate, expression, namespace(), "%tfgraph")
        return Subject(_recorded(run, expression, way))
    args, kwargs = _arguments(call, namespace)
    return _traced(function, args, kwargs, expression, way)


def drawable(subject: Any, name: str = "graph", way: Way = Way()) -> Recording:
    """The recording that ``subject`` is, or that comes of running it once."""
    if isinstance(subject, Recording):
        return subject
    if isinstance(subject, Tape):
        return timed(subject) if way.cost else subject.recording
    if is_concrete(subject):
        return concrete(subject, way.namespace())
    inputs = _model_inputs(subject, name)
    if inputs is not None:
        return _recorded(lambda: subject(inputs), name, way)
    if (signature := _signature(subject)) is not None:
        return concrete(signature, way.namespace())
    if not callable(subject):
        raise OptionError("cells.not_drawable", given=name, type=type(subject).__name__)
    _check_arguments(subject, name)
    return _recorded(subject, name, way)


def of_value(value: Any, name: str = "graph", way: Way = Way()) -> Subject:
    """The same for a value that is there already; a text is the name of a file."""
    if isinstance(value, str):
        return of_value(saved.read(value), name, way)
    if is_function(value):
        if getattr(value, "input_signature", None) is not None:
            return Subject(None, concrete(value.get_concrete_function(), way.namespace()))
        _check_arguments(value, name)
        return _traced(value, (), {}, name, way)
    if is_concrete(value):
        return Subject(None, concrete(value, way.namespace()))
    return Subject(drawable(value, name, way))


def _traced(
    function: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    name: str,
    way: Way,
) -> Subject:
    def run(python: Callable[[], Any]) -> Recording:
        return _recorded(python, name, way)

    return of_function(function, args, kwargs, run, way.namespace(), name)


def _call(expression: str) -> ast.Call | None:
    try:
        body = ast.parse(expression, mode="eval").body
    except SyntaxError:
        return None
    return body if isinstance(body, ast.Call) else None


def _function(call: ast.Call, namespace: Namespace) -> Any:
    """The ``tf.function`` that a call calls; None for any other.

    Only names and attributes are looked up: nothing is run twice.
    """
    if not isinstance(call.func, (ast.Name, ast.Attribute)):
        return None
    inner: ast.expr = call.func
    while isinstance(inner, ast.Attribute):
        inner = inner.value
    if not isinstance(inner, ast.Name) or inner.id not in namespace():
        return None
    value = evaluate(ast.unparse(call.func), namespace(), "%tfgraph")
    return value if is_function(value) else None


def _arguments(call: ast.Call, namespace: Namespace) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The values of a call's arguments."""
    collect = ast.Call(ast.Name("_tfmagic_arguments", ast.Load()), call.args, call.keywords)
    names = {**namespace(), "_tfmagic_arguments": lambda *args, **kwargs: (args, kwargs)}
    args, kwargs = evaluate(ast.unparse(collect), names, "%tfgraph")
    return args, kwargs


def _signature(subject: Any) -> Any:
    """The signature of a SavedModel that was loaded; None for anything else."""
    signatures = getattr(subject, "signatures", None)
    if not signatures or not hasattr(signatures, "values"):
        return None
    found = list(signatures.values())
    return signatures.get("serving_default", found[0]) if is_concrete(found[0]) else None


def timed(tape: Tape) -> Recording:
    """The recording of a tape, with the time that each op takes by itself.

    Raises :class:`OptionError` where the tape's tensors have been let go.
    """
    if not any(True for _ in tape.log.live()):
        raise OptionError("graph.not_timed")
    seconds = op_seconds(tape.log)
    return replace(tape.recording, op_seconds=tuple(sorted(seconds.items())))


def _recorded(run: Callable[[], Any], name: str, way: Way) -> Recording:
    names: dict[str, Any] = {}

    def known() -> Mapping[str, Any]:
        return {**way.namespace(), **names}

    tape = Tape(known, label=way.label, everything=True)
    with tape:
        names["result"] = run()
    recording = timed(tape) if way.cost and tape.ran else tape.release().recording
    tape.release()
    if isinstance(names["result"], Recording):
        return names["result"]
    if not recording.ops:
        result = names["result"]
        if isinstance(result, (Recording, Tape)) or _is_model(result):
            return drawable(result, name, way)
        raise OptionError("cells.ran_no_op", given=name)
    return recording


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
