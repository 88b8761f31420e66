"""The calls of traced functions through which a gradient is in trouble, opened.

Each is run once more, op by op, on the very inputs of the call: so every op inside has its
value, and the gradient that came back to it.  Random numbers are then drawn anew, from
kernels that nobody else draws from.  A function with ops that must not run again is only
read.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tfmagic.runtime import private
from tfmagic.runtime.autodiff.differentiate import ancestors, apart
from tfmagic.runtime.capture.log import Call, Entry, Log, Traced
from tfmagic.runtime.capture.snapshot import Snapshot, take
from tfmagic.runtime.capture.structure import leaves
from tfmagic.runtime.compiled.interpreter import FunctionTrace, read, run

__all__ = ["open_calls"]

#: Calls that are opened in one recording.
MOST = 8
_BACKWARD = re.compile(r"__(?:inference___)?backward_(.+?)_\d+(?:_\d+)*$")
_FORWARD = re.compile(r"__(?:inference|forward)_(.+?)_\d+$")


def open_calls(log: Log, call: Call, whole: int) -> None:
    """Note what is inside the functions on the way of ``call``, where its answer is None,
    zero or not finite; each call of a function once."""
    if not log.functions or len(log.insides) >= MOST or not _in_trouble(call.result):
        return
    targets = [t._id for _, t in leaves(call.target) if hasattr(t, "_id")]
    for position in reversed(ancestors(log, targets)):
        function, entry = log.functions.get(position), log.entries[position]
        known = position in log.insides or len(log.insides) >= MOST
        if function is None or entry.call >= 0 or entry.settled or known:
            continue
        traced, others = log.traced.get(position), log.foreign
        upstream = _upstream(log, call, position)
        inside = None
        with contextlib.suppress(Exception):  # what cannot be run is only read
            inside = apart(partial(_opened, function, entry, traced, upstream, whole))
        log.foreign = others  # the tensors of our own thread are no gap
        inside = inside or read(function.graph, traced)
        if inside is not None:
            inside.results = private.result_count(function)
            log.insides[position] = inside


def _in_trouble(answer: Any) -> bool:
    for _, value in leaves(answer):
        dense = getattr(value, "values", value)
        if dense is None:
            return True
        if dense.__class__ is private.EagerTensor:
            array = private.view(dense)
            if array.dtype.kind in "fc" and not (array.any() and np.isfinite(array).all()):
                return True
    return False


def _upstream(log: Log, call: Call, position: int) -> Sequence[Any] | None:
    """The gradients that came to the outputs of a call of a function, if they were heard."""
    name = _python_name(_FORWARD, log.entries[position])
    same = [
        p
        for p, e in log.live()
        if p >= position and e.call < 0 and _python_name(_FORWARD, e) == name
    ]
    turns = [
        log.entries[p]
        for p in range(call.start, call.end)
        if not log.entries[p].settled and _python_name(_BACKWARD, log.entries[p]) == name
    ]
    place = len(same) - 1  # the last call of the function is differentiated first
    return turns[place].inputs if name and place < len(turns) else None


def _python_name(pattern: re.Pattern[str], entry: Entry) -> str:
    found = pattern.match(entry.type)
    return found[1] if found else ""


def _opened(
    function: Any, entry: Entry, traced: Traced | None, upstream: Sequence[Any] | None, whole: int
) -> FunctionTrace:
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        for tensor in entry.inputs:
            if tensor.dtype.is_floating or tensor.dtype.is_complex or tensor.dtype == tf.resource:
                tape.watch(tensor)
        inside, values = run(function.graph, entry.inputs, traced)
    _note(inside.values, values.items(), whole)
    if upstream is not None:
        results = private.result_count(function)
        floats = {n: t for n, t in values.items() if t.dtype.is_floating or t.dtype.is_complex}
        outputs = [values[n] for n in inside.outputs[:results]]
        found = tape.gradient(outputs, floats, output_gradients=list(upstream[:results]))
        dense = {n: getattr(g, "values", g) for n, g in found.items() if g is not None}
        _note(inside.gradients, dense.items(), whole)
    return inside


def _note(known: dict[int, Snapshot], tensors: Any, whole: int) -> None:
    for number, tensor in tensors:
        known[number] = Snapshot(*take(tensor, whole))
