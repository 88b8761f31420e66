"""``tfmagic.tweak``: a recorded run again on other values of its sources.

The recorded ops run on the new values, those of recorded gradients too, and their results
take the place of the old ones in a new :class:`~tfmagic.model.Recording`: every view of a
recording is then a view of the tweaked run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from tfmagic.analysis.notation import shape
from tfmagic.analysis.tweaking import turns
from tfmagic.analysis.verdicts import judged
from tfmagic.errors import OptionError, ReleasedError
from tfmagic.language import Message
from tfmagic.model import Recording
from tfmagic.model.op_traits import ASSIGNS
from tfmagic.runtime import private
from tfmagic.runtime.autodiff.replay import Replay
from tfmagic.runtime.capture.log import Log
from tfmagic.runtime.capture.names import key_of
from tfmagic.runtime.capture.snapshot import take
from tfmagic.runtime.capture.structure import leaves
from tfmagic.runtime.tape.incremental_builder import copied
from tfmagic.runtime.tape.tape import GradientRequest, Tape, tape_of

__all__ = ["Tweak"]

WHOLE = 64  # elements of a tensor that are all kept
MOST_KEPT = 6  # ops that are named


class Tweak:
    """A recorded run whose sources can be moved.

    ``record`` is a tape (``tfmagic.record()``, ``%%tape NAME``), or its recording while the
    tape lives.  ``sources`` are tensors or variables of the run; by default those that it
    asked gradients for, else every trainable variable that it read.  Raises
    :class:`~tfmagic.errors.ReleasedError` once the tensors have been let go, and
    :class:`~tfmagic.errors.OptionError` for what cannot be moved.
    """

    def __init__(self, record: Tape | Recording, sources: Any = None, title: str = "") -> None:
        tape = record if isinstance(record, Tape) else tape_of(record)
        if tape is None or tape.released or any(entry.settled for entry in tape.log.entries):
            raise ReleasedError("tweak.released")
        self.title = title
        if not tape.log.calls:
            with contextlib.suppress(Exception):  # then there are values, and no gradients
                tape.infer(GradientRequest(sources=None if sources is None else _listed(sources)))
        self._tape = tape
        self._log: Log = tape.log
        self._keys = dict(self._named(sources))
        if not self._keys:
            raise OptionError("tweak.no_sources")
        met = {name: self._first(key) for name, key in self._keys.items()}
        self._met = {name: position for name, (position, _) in met.items()}
        self._recorded = {name: tensor for name, (_, tensor) in met.items()}
        for name, value in self._recorded.items():
            if not value.dtype.is_floating:
                raise OptionError("tweak.not_float", name=name, dtype=value.dtype.name)
        self._replay = Replay(self._log, self._keys.values())
        self._replay.steps = tuple(p for p in self._replay.steps if not self._makes(p))
        self._refuse_idle()
        self._values = {name: np.array(tensor.numpy()) for name, tensor in self._recorded.items()}
        self._new: dict[int, Any] = {}
        self._behind = False
        self._recording: Recording | None = None

    # -- the sources ---------------------------------------------------------------------

    @property
    def values(self) -> dict[str, Any]:
        """The sources by name, as they are now."""
        return dict(self._values)

    def set(self, values: Mapping[str, Any] | None = None, **more: Any) -> Tweak:
        """Move sources, by their names, and run the recorded ops again."""
        self._move({**(values or {}), **more})
        self._run()
        return self

    def glimpse(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Move sources, and work out no more than the targets: those of one number, by name.

        In a large run that takes a part of the time.  All else follows when it is asked for.
        """
        self._move(values)
        self._behind = True
        with private.unseen():
            found = self._to_targets.run(self._given())
        return {name: found.get(t._id, t).numpy().item() for name, t in self._targets.items()}

    def _move(self, values: Mapping[str, Any]) -> None:
        for name, given in values.items():
            if name not in self._keys:
                raise OptionError("tweak.no_source", given=name, known=", ".join(self._keys))
            recorded = self._recorded[name]
            try:
                value = np.array(given, recorded.dtype.as_numpy_dtype)
            except (TypeError, ValueError) as error:
                detail = str(error).partition("\n")[0][:200]
                raise OptionError("step.not_numbers", name=name, detail=detail) from None
            if value.shape != recorded.shape:
                wanted = shape(tuple(recorded.shape))
                raise OptionError("tweak.shape", name=name, given=value.shape, shape=wanted)
            self._values[name] = value

    def reset(self) -> Tweak:
        """Back to the values of the recorded run."""
        return self.set({name: tensor.numpy() for name, tensor in self._recorded.items()})

    # -- what came of it -----------------------------------------------------------------

    @cached_property
    def before(self) -> Recording:
        """The run as it was recorded, its tensors numbered as in what comes of a move."""
        return judged(self._tape.finished(self._settled))

    @cached_property
    def _settled(self) -> Log:
        """What was recorded, as numbers: a moved run replaces those that differ."""
        log = copied(self._log)
        log.settle()
        return log

    @property
    def recording(self) -> Recording:
        """The run on these values, as plain data: every view can be drawn of it."""
        self._catch_up()
        if not self._new:
            return self.before
        if self._recording is None:
            taken: Any = {key: take(tensor, WHOLE) for key, tensor in self._new.items()}
            log = replace(self._settled, snapshots={**self._settled.snapshots, **taken})
            self._recording = judged(self._tape.finished(log))
        return self._recording

    def value(self, tensor: Any) -> Any:
        """What a tensor of the recorded run is now."""
        self._catch_up()
        key = key_of(tensor)
        found = self._new.get(key, tensor) if key is not None else tensor
        return found.numpy()

    @property
    def gradients(self) -> dict[str, Any]:
        """The answers of the run's gradient calls on these values, by the sources' names."""
        found = {}
        for call, told in zip(self._log.calls, self.before.gradients, strict=False):
            answers = [answer for _, answer in leaves(call.result)]
            for answer, gradient in zip(answers, told.gradients, strict=False):
                key = key_of(answer)
                found[gradient.source] = None if key is None else self.value(answer)
        return found

    @property
    def count(self) -> int:
        """How many of the recorded ops run again at a move."""
        return len(self._replay.steps)

    @property
    def notes(self) -> tuple[str, ...]:
        """What these values do not show: ops whose recorded result stands, and places where
        the cell's Python would have gone another way."""
        found = [Message.of(f"tweak.turn_{turn.how}", line=turn.line, text=turn.text)
                 for turn in turns(self.before, self.recording)]  # fmt: skip
        for kept in self._replay.kept[:MOST_KEPT]:
            line = self.before.ops[kept.position].line
            number = "?" if line is None else self.before.lines[line].number
            found.append(Message.of(f"tweak.kept_{kept.reason}", op=kept.type, line=number))
        more = len(self._replay.kept) - MOST_KEPT
        said = (*found, *([Message.of("tweak.kept_more", n=more)] if more > 0 else []))
        return tuple(map(str, said))

    def close(self) -> None:
        """Let go of the results; the tape is its owner's."""
        self._new = {}
        self._behind = False

    def __repr__(self) -> str:
        moved = ", ".join(f"{name} {shape(v.shape)}" for name, v in self._values.items())
        return "\n".join([str(Message.of("tweak.summary", sources=moved)), *self.notes])

    # -- how -----------------------------------------------------------------------------

    def _run(self) -> None:
        given = self._given()
        with private.unseen():
            self._new = {**given, **self._replay.run(given)}
        self._recording = None
        self._behind = False

    def _catch_up(self) -> None:
        """After glimpses: the whole run on the values that were reached."""
        if self._behind:
            self._run()

    def _given(self) -> dict[int, Any]:
        tf = private.tf  # type: ignore[attr-defined]
        return {self._keys[name]: tf.constant(value) for name, value in self._values.items()}

    @cached_property
    def _targets(self) -> dict[str, Any]:
        """The numbers that gradients were asked of, by their names in the recording."""
        found = {}
        for call, told in zip(self._log.calls, self.before.gradients, strict=False):
            tensors = [tensor for _, tensor in leaves(call.target) if key_of(tensor)]
            if len(tensors) == 1 and told.gradients and tensors[0].shape.num_elements() == 1:
                found[told.gradients[0].target] = tensors[0]
        return found

    @cached_property
    def _to_targets(self) -> Replay:
        """The same ops, without those that no target needs."""
        keys = [tensor._id for tensor in self._targets.values()]
        replay = Replay(self._log, self._keys.values(), keys)
        replay.steps = tuple(p for p in replay.steps if not self._makes(p))
        return replay

    def _named(self, sources: Any) -> Any:
        """Names and ids of the sources, each once."""
        names = self._log.names
        for place, source in leaves(self._wanted() if sources is None else _listed(sources)):
            key = key_of(source)
            if key is None:
                raise OptionError(
                    "tape.source_no_tensor",
                    option="tweak",
                    given=f"sources{place}",
                    type=type(source).__name__,
                )
            record = self._log.variables.get(key)
            yield names.get(key) or (record.label if record else "") or f"source{place}", key

    def _wanted(self) -> Any:
        asked = [s for call in self._log.calls for _, s in leaves(call.sources) if key_of(s)]
        return asked or list(self._tape.watched_variables)

    def _first(self, key: int) -> tuple[int, Any]:
        """Where the run met this source first, and the value that it met."""
        log, record = self._log, self._log.variables.get(key)
        for position, entry in log.live():
            if record is not None and entry.type == "ReadVariableOp":
                if entry.inputs[0]._id == key:
                    return position, entry.outputs[0]
                continue
            for tensor in (*entry.inputs, *entry.outputs):
                read = log.implicit_reads.get(tensor._id)
                if (record is None and tensor._id == key) or (read and read.key == key):
                    return position, tensor
        if record is None or record.live is None:
            raise OptionError("tweak.not_here", known=", ".join(log.names.values())[:200])
        return len(log.entries), private.read_variable(record.live, record.dtype)

    def _makes(self, position: int) -> bool:
        """Whether this op gives a source the value that it begins with: a move replaces it."""
        entry = self._log.entries[position]
        if not ASSIGNS.match(entry.type):
            return False
        name = next((n for n, key in self._keys.items() if key == entry.inputs[0]._id), "")
        return bool(name) and position < self._met[name]

    def _refuse_idle(self) -> None:
        """A source that nothing depends on, and tensors that were let go to save memory."""
        if any(kept.reason == "budget" for kept in self._replay.kept):
            raise ReleasedError("tweak.budget")
        if not self._replay.steps:
            raise OptionError("tweak.idle", names=", ".join(self._keys))


def _listed(sources: Any) -> Any:
    """A model or module stands for its trainable variables."""
    if isinstance(sources, (list, tuple, dict)) or hasattr(sources, "dtype"):
        return sources
    return getattr(sources, "trainable_variables", sources)
