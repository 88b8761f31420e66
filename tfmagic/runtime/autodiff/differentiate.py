"""Differentiate afterwards: a tape built from what was recorded, with nothing run again.

The recorded ops are put on a fresh tape in their order, with the very tensors of the
run, and the tape is asked.  An op that brought its own backward function keeps it; a
``tf.function`` that ran while no tape watched is differentiated by running it again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tfmagic.analysis.dependence import FLOATS
from tfmagic.runtime import private
from tfmagic.runtime.autodiff.recompute import require_repeatable, require_same
from tfmagic.runtime.capture.log import Entry, Log, handle_of
from tfmagic.runtime.capture.structure import leaves
from tfmagic.runtime.capture.threads import ASIDE

_T = TypeVar("_T")


def gradient(
    log: Log, target: Any, sources: Any, *, output_gradients: Any = None, unconnected: str = "none"
) -> Any:
    """The gradient of ``target`` with respect to ``sources``, in the sources' structure.

    ``target`` is a recorded tensor or a structure of them; ``sources`` a structure of
    recorded tensors (intermediates too) and variables.  As with ``GradientTape`` the
    answer holds None where there is no way from a source to the target.
    """
    tape = tape_for(log, target, sources)
    import tensorflow as tf

    return tape.gradient(
        target,
        sources,
        output_gradients=output_gradients,
        unconnected_gradients=tf.UnconnectedGradients(unconnected),
    )


def tape_for(log: Log, target: Any, sources: Any, *, persistent: bool = False) -> Any:
    """A tape on which stands what led from ``sources`` to ``target``."""
    import tensorflow as tf

    tape = tf.GradientTape(persistent=persistent, watch_accessed_variables=False)
    with tape:
        for _, source in leaves(sources):
            tensor = _tensor_of(source)
            if _can_change(tensor):
                tape.watch(tensor)
        write(log, [_flat(t) for _, t in leaves(target)])
    return tape


def _can_change(tensor: Any) -> bool:
    """Whether a tape can watch it: TensorFlow prints a warning for a whole number."""
    dtype = getattr(getattr(tensor, "dtype", None), "name", "")
    return dtype.startswith((*FLOATS, "resource", "variant"))


def require_differentiable(log: Log, target: Any, *, asked: bool) -> None:
    """Raise :class:`~tfmagic.errors.NotRepeatable` where ``target`` cannot be differentiated
    without running again what the user would feel: :mod:`tfmagic.runtime.autodiff.recompute`."""
    keys = [flat._id for _, t in leaves(target) if hasattr(flat := _flat(t), "_id")]
    require_repeatable(log, ancestors(log, keys), asked=asked)


def _flat(value: Any) -> Any:
    return getattr(value, "flat_values", value)


def _tensor_of(source: Any) -> Any:
    """A variable stands for its handle: every read of it leads there."""
    handle = handle_of(source)
    return source if handle is None else handle


def write(log: Log, targets: Sequence[Any]) -> None:
    """Put on the open tapes every recorded op that the ``targets`` depend on, in order."""
    done: set[int] = set()
    for position in ancestors(log, [t._id for t in targets if hasattr(t, "_id")]):
        entry = log.entries[position]
        for tensor in entry.inputs:
            record = log.implicit_reads.get(tensor._id)
            if record is not None and tensor._id not in done:
                done.add(tensor._id)
                _write_read(record.live, tensor)
        _write_entry(log, position, entry, done)


def _write_read(handle: Any, tensor: Any) -> None:
    if handle is not None:
        attrs = ("dtype", tensor.dtype)
        private.record_gradient("ReadVariableOp", [handle], attrs, [tensor])


def _write_entry(log: Log, position: int, entry: Entry, done: set[int]) -> None:
    custom = log.custom.get(entry.outputs[0]._id) if entry.outputs else None
    if custom is not None:
        if id(custom) not in done:
            done.add(id(custom))
            private.record_operation(custom.type, custom.outputs, custom.inputs, custom.backward)
    elif log.functions.get(position) is not None:
        function = log.functions[position]
        private.record_operation(
            entry.type,
            entry.outputs,
            entry.inputs,
            _run_again(function, entry.inputs, entry.outputs),
        )
    else:
        private.record_gradient(entry.type, entry.inputs, entry.attrs, entry.outputs)


def _run_again(function: Any, inputs: Sequence[Any], first: Sequence[Any]) -> Callable[..., Any]:
    """The backward function of a ``tf.function`` call that ran untaped and gave ``first``."""
    private.demand("call_flat")
    captured = list(function.captured_inputs)
    own = len(inputs) - len(captured)

    def backward(*incoming: Any) -> list[Any]:
        import tensorflow as tf

        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for tensor in filter(_can_change, inputs):
                tape.watch(tensor)
            outputs = function._call_flat(list(inputs[:own]), captured)
        flat = [_flat(t) for t in tf.nest.flatten(outputs, expand_composites=True)]
        require_same(function, first, flat)
        found: list[Any] = tape.gradient(flat, list(inputs), output_gradients=list(incoming))
        return found

    return backward


def ancestors(log: Log, wanted: Sequence[int]) -> list[int]:
    """Positions of the live entries that the tensors ``wanted`` (ids) depend on, in order."""
    makers, entries = log.makers(), log.entries
    found: set[int] = set()
    todo = list(wanted)
    while todo:
        key = todo.pop()
        position = makers.get(key)
        if position is None or position in found or entries[position].settled:
            continue
        found.add(position)
        todo.extend(t._id for t in entries[position].inputs)
        custom = log.custom.get(key)
        todo.extend(t._id for t in (custom.inputs if custom is not None else ()))
    return sorted(found, key=lambda position: _moment(log, position))


def _moment(log: Log, position: int) -> tuple[int, bool]:
    """When an entry goes onto the tape: an op with its own backward function waits for
    its inputs, which TensorFlow may read only after its outputs are made."""
    outputs = log.entries[position].outputs
    custom = log.custom.get(outputs[0]._id) if outputs else None
    return (position, False) if custom is None else (max(position, custom.at), True)


def aside(work: Callable[[], _T]) -> _T:
    """Run ``work`` where no tape of the user's listens, and nobody else to its ops.

    Tapes belong to a thread: while one of the user's is open here, another thread does
    the work, so that nothing of it gets onto their tape.
    """
    with private.unheard():
        return apart(work) if private.tape_is_open() else work()


def apart(work: Callable[[], _T]) -> _T:
    """Run ``work`` in a thread of its own: neither tapes nor recorders of this one hear it."""
    box: dict[str, Any] = {}

    def carry() -> None:
        try:
            box["result"] = work()
        except BaseException as error:
            box["error"] = error

    thread = threading.Thread(target=carry, name=ASIDE)
    thread.start()
    thread.join()
    if "error" in box:
        raise box["error"]
    result: _T = box["result"]
    return result
