"""Which value a cell most likely meant to differentiate, where it did not say.

That is the last float of size 1 that it named, metrics aside.  What a Keras metric has counted
comes of its state, and no gradient goes through that; an accuracy comes of truth values, and
other counts beside a loss of whole numbers; a constant or a first draw comes of nothing.
Nobody means to differentiate these, and they often stand last.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from tfmagic.analysis.dependence import FLOATS
from tfmagic.model.op_traits import ASSIGNS
from tfmagic.runtime.autodiff.differentiate import ancestors
from tfmagic.runtime.capture.log import FUNCTION, Entry, Log, VariableRecord

__all__ = ["last_float"]

#: What went into a tensor: a source, by floats alone; a source that was counted on the way; the
#: state of a metric; another variable that the cell changed; a value that already had a name;
#: whether a guess is right; a variable that stayed as it was and is not trained.
_MOVED, _COUNTED, _TALLY, _OTHER, _NAMED, _HIT, _STILL = 1, 2, 4, 8, 16, 32, 64
_HITS = {"Equal", "NotEqual", "InTopK", "InTopKV2"}
#: What TensorFlow calls a variable without a name; Keras calls none so.
_NAMELESS = re.compile(r"/Variable(_\d+)?(:\d+)?$")


def last_float(
    log: Log,
    cell: int,
    named: Collection[object],
    sources: Collection[object],
    *,
    any_size: bool = False,
) -> Any:
    """The last float (of size 1, or of ``any_size``) among the tensors ``named`` that ``cell``
    made, or None.

    A metric's result and an accuracy are passed over, what nothing went into where there are
    sources, and another count where there is a loss beside it; never what one of ``sources``
    went into by floats (ids, as ``named``; every trainable variable is one).
    """
    went = _Influence(log, cell, sources)
    floats = _floats(log, cell, named, any_size)
    found = (c for c in floats if not went.is_metric(c[1]) and not went.is_constant(*c))
    last = next(found, None)
    if last is None:
        return None
    if not went.is_counted(last[1]) and not went.is_still(last[1]):
        return last[1]
    before = set(ancestors(log, [last[1]._id]))
    beside = (t for position, t in found if position not in before and went.is_moved(t))
    return next(beside, last[1])


def _floats(
    log: Log, cell: int, named: Collection[object], any_size: bool
) -> Iterator[tuple[int, Any]]:
    """The floats in question and the entries that made them, the last one first."""
    for position, entry in _of_cell(log, cell):
        if entry.call >= 0:
            continue
        for tensor in entry.outputs:
            if tensor._id not in named or not tensor.dtype.is_floating:
                continue
            if any_size or tensor._num_elements() == 1:
                yield position, tensor


def _of_cell(log: Log, cell: int) -> Iterator[tuple[int, Entry]]:
    """The entries of the last cell and their positions, the last one first."""
    for position in range(len(log.entries) - 1, log.settled - 1, -1):
        entry = log.entries[position]
        if entry.cell != cell:
            return
        if not entry.settled:
            yield position, entry


class _Influence:
    """What went into a tensor of a run; worked out on the way that led to it, and once."""

    def __init__(self, log: Log, cell: int, sources: Collection[object]) -> None:
        self._log = log
        self._sources = sources
        self._changed = _changed(log, cell)
        self._updated = self._changed - _only_made(log, cell)
        self._trains = any(record.trainable for record in log.variables.values())
        self._of: dict[int, int] = {}
        self._done: set[int] = set()

    def _went(self, tensor: Any) -> int:
        """What went into ``tensor``."""
        for position in sorted(self._untold(tensor._id)):
            entry, went = self._log.entries[position], 0
            for given in entry.inputs:
                went |= self._into(given._id)
            for made in entry.outputs if went else ():
                carries = made.dtype.name.startswith((*FLOATS, "variant", "resource"))
                self._of[made._id] = went if carries else _counted(went, entry.type)
        return self._of.get(tensor._id, 0)

    def _untold(self, key: int) -> set[int]:
        """Positions of the entries on the way to a tensor that were not met before."""
        makers, entries = self._log.makers(), self._log.entries
        todo, found = [key], set[int]()
        while todo:
            position = makers.get(todo.pop())
            known = position is None or position in self._done or entries[position].settled
            if position is not None and not known:
                self._done.add(position)
                found.add(position)
                todo.extend(tensor._id for tensor in entries[position].inputs)
        return found

    def _into(self, key: int) -> int:
        if key in self._sources:
            return _MOVED
        record = self._log.variables.get(key) or self._log.implicit_reads.get(key)
        if record is None:
            return self._of.get(key) or (_NAMED if self._was_there(key) else 0)
        if record.key in self._sources or record.trainable:
            return _COUNTED if record.counts else _MOVED
        if self._is_metrics(record):
            return _TALLY
        return _OTHER if record.key in self._updated else _STILL

    def _was_there(self, key: int) -> bool:
        """Whether it is a value with a name that these ops did not make."""
        position = self._log.makers().get(key)
        earlier = position is None or self._log.entries[position].settled
        return earlier and key in self._log.names

    def _is_metrics(self, record: VariableRecord) -> bool:
        """Whether it is state of Keras's that this cell changed: such a variable bears the name
        of its owner, and none that the user gave it."""
        name = self._log.names.get(record.key, "")
        own = _NAMELESS.search(record.label) or (name and record.key not in self._log.metrics)
        return "/" in record.label and record.key in self._changed and not own

    def is_metric(self, tensor: Any) -> bool:
        """Whether nothing but the state of metrics went into it, or what was guessed right."""
        went = self._went(tensor)
        return went & ~_NAMED == _TALLY or bool(went & _HIT and not went & _MOVED)

    def is_constant(self, position: int, tensor: Any) -> bool:
        """Whether nothing went into what this entry made, though there are sources: no variable,
        no value with a name, none that had left TensorFlow before."""
        exits = self._log.exits
        left = bool(exits) and exits[0].at <= position
        return self._trains and not left and not self._went(tensor)

    def is_counted(self, tensor: Any) -> bool:
        """Whether a source went into it, and always by way of whole numbers."""
        return self._went(tensor) & (_MOVED | _COUNTED) == _COUNTED

    def is_still(self, tensor: Any) -> bool:
        """Whether nothing but variables went into it that are not trained, and did not change."""
        return self._went(tensor) & ~_NAMED == _STILL

    def is_moved(self, tensor: Any) -> bool:
        """Whether a source went into it by floats alone."""
        return bool(self._went(tensor) & _MOVED)


def _counted(went: int, op_type: str) -> int:
    if not went & (_MOVED | _COUNTED):
        return went
    return went & ~_MOVED | _COUNTED | (_HIT if op_type in _HITS else 0)


def _changed(log: Log, cell: int) -> set[int]:
    """The handles of the variables that the cell changed, or handed to a ``tf.function``."""
    found: set[int] = set()
    for _, entry in _of_cell(log, cell):
        if ASSIGNS.match(entry.type):
            found.add(entry.inputs[0]._id)
        elif FUNCTION.match(entry.type):
            found.update(tensor._id for tensor in entry.inputs)
    return found


def _only_made(log: Log, cell: int) -> set[int]:
    """The handles of the variables that the cell made, and gave no other value afterwards."""
    made: set[int] = set()
    given: list[int] = []
    for _, entry in _of_cell(log, cell):
        if entry.type == "VarHandleOp":
            made.update(tensor._id for tensor in entry.outputs)
        elif ASSIGNS.match(entry.type) or FUNCTION.match(entry.type):
            given.extend(tensor._id for tensor in entry.inputs)
    return {key for key in made if given.count(key) < 2}
