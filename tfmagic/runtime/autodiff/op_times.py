"""How long each op takes by itself: run again on the very tensors of the run, and waited for.

An op is run once to warm up, then in blocks of a few runs; each block ends when the device
has finished, and the median over the blocks counts.  TensorFlow's own cost of starting an op
(about ten microseconds) is in the figure, Python code of the user's is not.  Ops of the same
type, attributes, shapes and dtypes on the same device are timed once.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable
from typing import Any

from tfmagic.runtime import private
from tfmagic.runtime.autodiff.kernels import run_op
from tfmagic.runtime.capture.log import FUNCTION, Entry, Log
from tfmagic.runtime.op_traits import reason

__all__ = ["op_seconds"]

#: Seconds that all of it may take, and runs in each of the blocks.
BUDGET, BLOCKS, RUNS = 5.0, 3, 4


def op_seconds(
    log: Log, *, budget: float = BUDGET, clock: Callable[[], float] = time.perf_counter
) -> dict[int, float]:
    """Seconds by the ops' indices.

    Left out are ops that must not run again (random, stateful, the user's Python), calls of a
    ``tf.function``, ops whose tensors were let go, and what did not fit into ``budget``.
    """
    from tfmagic.runtime.autodiff.differentiate import aside

    return aside(lambda: _timed(log, budget, clock))


def _timed(log: Log, budget: float, clock: Callable[[], float]) -> dict[int, float]:
    end = clock() + budget
    known: dict[Hashable, float | None] = {}
    found: dict[int, float] = {}
    for position, entry in log.live():
        if FUNCTION.match(entry.type) or reason(entry.type) or not entry.outputs:
            continue
        key = _signature(entry)
        if key not in known and clock() < end:
            known[key] = _seconds(entry, clock)
        if (seconds := known.get(key)) is not None:
            found[position] = seconds
    return found


def _seconds(entry: Entry, clock: Callable[[], float]) -> float | None:
    """Median seconds of one run; None where it does not run again."""
    import tensorflow as tf

    try:
        with tf.device(entry.outputs[0].device):
            run_op(entry, entry.inputs)
            private.async_wait()
            blocks = []
            for _ in range(BLOCKS):
                begun = clock()
                for _ in range(RUNS):
                    run_op(entry, entry.inputs)
                private.async_wait()
                blocks.append((clock() - begun) / RUNS)
    except Exception:  # a kernel that minds being alone: its time is not known
        return None
    return statistics.median(blocks)


def _signature(entry: Entry) -> Hashable:
    def told(tensor: Any) -> Hashable:
        return tuple(tensor.shape) if tensor.shape.rank is not None else None, tensor.dtype.name

    attrs = tuple(str(attr)[:200] for attr in entry.attrs or ())
    return entry.type, attrs, tuple(map(told, entry.inputs)), entry.outputs[0].device
