"""``with tfmagic.record() as rec:`` and the tape that later cells can ask.

A :class:`Tape` keeps the tensors of a recorded run, and works gradients out from them
as often as it is asked, for any target and any sources.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from types import CodeType
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from tfmagic.analysis.program_slice import chapter
from tfmagic.errors import NoTargetError, OptionError, ReleasedError
from tfmagic.language import Message
from tfmagic.model import Recording
from tfmagic.model.op_traits import ASSIGNS
from tfmagic.runtime import private
from tfmagic.runtime.autodiff.differentiate import (
    ancestors,
    aside,
    gradient,
    require_differentiable,
    tape_for,
)
from tfmagic.runtime.autodiff.inner_calls import look_into
from tfmagic.runtime.autodiff.opened_calls import open_calls
from tfmagic.runtime.autodiff.second_order import product
from tfmagic.runtime.capture.gc_throttle import off
from tfmagic.runtime.capture.log import Call, Log
from tfmagic.runtime.capture.names import in_metric, key_of, walk
from tfmagic.runtime.capture.recorder import BUDGET, Recorder
from tfmagic.runtime.capture.structure import leaves
from tfmagic.runtime.compiled.tracing import noticed_tracing
from tfmagic.runtime.compiled.twin import running_twins
from tfmagic.runtime.devices import placing
from tfmagic.runtime.experiments.probes import probe_zeros
from tfmagic.runtime.experiments.repairs import Trials
from tfmagic.runtime.experiments.rerun import Scope, before_cell
from tfmagic.runtime.tape.builder import Failed, RecordingBuilder
from tfmagic.runtime.tape.derivatives import Depth, deepen
from tfmagic.runtime.tape.follow import Course, Follower
from tfmagic.runtime.tape.incremental_builder import IncrementalBuilder
from tfmagic.runtime.tape.target import last_float

Namespace = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class GradientRequest:
    """What the user asked to be differentiated, in their own words (all optional).

    ``willing`` says that they asked for gradients in some way, so that their own gradient
    functions may run; with ``any_size`` a target that is found for them need not be a scalar.
    """

    target: Any = None
    sources: Any = None
    target_name: str = ""
    source_names: tuple[str, ...] = ()
    extra: Any = None
    extra_names: tuple[str, ...] = ()
    any_size: bool = False
    willing: bool = False


class _Began(NamedTuple):
    """How many entries, notes and seconds there were when a cell began."""

    entries: int = 0
    notes: int = 0
    seconds: float = 0.0


class Tape:
    """A run that is recorded, or was; see :func:`record`.

    ``namespace`` gives the user's names when they are needed, ``label`` the name of the
    cell that a file stands for.  With ``everything`` ops count that no line of the
    user's led to.  Without ``keep`` the tensors are let go once the run's own call of
    ``gradient`` has been answered: nothing more is going to be asked.  ``rebound`` are names
    that held a Variable once and do not any more: the file and line that did it.
    """

    def __init__(
        self,
        namespace: Namespace,
        *,
        label: Callable[[str], str] = str,
        budget: int = BUDGET,
        boundary: CodeType | None = None,
        everything: bool = False,
        keep: bool = True,
        eager: bool = False,
        rebound: Mapping[str, tuple[str, int]] | None = None,
    ) -> None:
        self._namespace = namespace
        self._label = label
        self._recorder = Recorder(
            budget=budget,
            boundary=boundary,
            everything=everything,
            keep=keep,
            eager=eager,
            listeners=() if eager else (running_twins, noticed_tracing),
            answered=_looked_into,
            default_device=placing.default,
        )
        self.log.rebound.update(rebound or {})
        self._recording: Recording | None = None
        self._failure: Failed | None = None
        self._released = False
        self._notes = [Message("tape.eager")] if eager else []
        self._account = IncrementalBuilder(label)
        self._began = _Began()
        self._before: dict[str, Any] = {}
        self._scope: Scope | None = None
        self._trials = Trials()

    # -- the run ----------------------------------------------------------------

    def __enter__(self) -> Tape:
        self.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.stop(error)
        self._namespace = dict  # its names are learned; a frame held here would hold tensors

    def start(self) -> None:
        """Record from now on; what was recorded before is kept."""
        self._recording = None
        namespace = self._namespace()
        self._scope, self._before = None, before_cell(namespace)
        self._recorder.names_in(namespace)
        self._recorder.start()

    def next_cell(self) -> None:
        """What follows belongs to the next cell."""
        self._recorder.cell += 1
        self._began = _Began(len(self.log.entries), len(self._notes), self._recorder.seconds)

    def stop(self, error: BaseException | None = None) -> None:
        """Record no more; ``error`` is what ended the run, if anything did."""
        self._recorder.stop()
        look_into(self.log, self._recorder.whole)
        self.log.progress = None
        self._failure = None if error is None else Failed.of(error)
        self._recording = None
        self._scope = self._scope_of_trials() if self.log.calls else None
        self._before = {}
        self._learn_names()

    def _scope_of_trials(self) -> Scope:
        """What a repair needs to be tried: the names that the recorded lines speak of."""
        namespace, words = self._namespace(), self._recorder.words()
        variables = (record.ref() for record in self.log.variables.values())
        held = tuple(v for v in variables if v is not None)
        return Scope({n: namespace[n] for n in words & namespace.keys()}, self._before, held)

    def forget_names(self) -> None:
        """Let go of what was held so that repairs can be tried, once they have been."""
        if self._recording is not None:
            self._scope = None

    def _learn_names(self) -> None:
        """Give each tensor and variable a name, in the words of the recorded lines if they
        speak of it.

        What a loop left its name on (``for v in weights``), be it that of an earlier cell, is
        called by the way that leads there: ``weights[2]``.
        """
        namespace, log = self._namespace(), self.log
        words = self._recorder.words()
        others = {k: n for k in log.variables if (n := log.names.get(k, "")).isidentifier()}
        others = {key: name for key, name in others.items() if name not in words}
        for key in others:
            del log.names[key]
        spoken = {name: namespace[name] for name in words & namespace.keys()}
        for space in (spoken, {n: v for n, v in namespace.items() if n not in spoken}):
            self._recorder.names_in(space)
            wanted = {key for key in log.variables if key not in log.names}
            if wanted:
                log.names.update(walk(space, wanted))
                log.metrics.update(
                    key for key in wanted & log.names.keys() if in_metric(space, key)
                )
        for key, name in others.items():
            log.names.setdefault(key, name)

    def note(self, message: Message) -> None:
        """Have the recording say ``message`` to whoever reads it."""
        self._notes.append(message)
        self._recording = None

    @property
    def log(self) -> Log:
        """What was heard so far, live."""
        return self._recorder.log

    def follow(self, show: Callable[[dict[str, Course], float], None]) -> None:
        """Have ``show`` told of every training while it goes on: the courses, and the seconds."""
        self.log.progress = Follower(self.log, show).step

    @property
    def ran(self) -> bool:
        """Whether any op was recorded."""
        return bool(self.log.entries)

    @property
    def trained(self) -> bool:
        """Whether there is a training run in it; where none can be, nothing is worked out."""
        return bool(self.log.calls or self.log.compiled) and bool(self.recording.runs)

    # -- the recording ----------------------------------------------------------

    @property
    def recording(self) -> Recording:
        """All that was recorded, as plain data; the tensors stay here for more questions."""
        if self._recording is None:
            with off():
                self._recording = self._told()
            _tapes[id(self._recording)] = self
        return self._recording

    @property
    def chapter(self) -> Recording:
        """What the last cell ran and asked, with what it rests on of the cells before it."""
        whole, began = self.recording, self._began
        found = chapter(whole, self._recorder.cell)
        if found is whole:
            return whole
        notes = (*self._notes[began.notes :], *found.said)
        return replace(found, seconds=self._recorder.seconds - began.seconds, said=notes)

    def _told(self) -> Recording:
        """The recording; of one in the middle of a run nothing stands for later."""
        kept, self._account = self._account, IncrementalBuilder(self._label)
        found = (self._account if self._recorder.listening else kept).recording(
            self.log, seconds=self._recorder.seconds, failure=self._failure, notes=self._notes
        )
        if not self._released:
            self._account = kept
        if self._recorder.listening:
            return found
        return self._trials.tried(found, self._scope, self._recorder.seconds)

    def finished(self, log: Log) -> Recording:
        """The recording of a settled ``log`` of this run."""
        return RecordingBuilder(self._label).recording(
            log, seconds=self._recorder.seconds, failure=self._failure, notes=self._notes
        )

    @property
    def released(self) -> bool:
        """Whether the tensors have been let go."""
        return self._released

    def release(self) -> Tape:
        """Let every tensor go; the recording stays, more gradients cannot be asked."""
        if not self._released:
            self._released = True
            self._recording = None
            self.log.settle()
        return self

    # -- gradients --------------------------------------------------------------

    @property
    def watched_variables(self) -> Watched:
        """The trainable variables that were read, in order; also callable, as on a tf tape."""
        return self._read_since(0)

    def _read_since(self, start: int) -> Watched:
        """Those that were read by the entries from ``start`` on."""
        log = self.log
        taken: set[int] = set()
        read: set[int] = set()
        for entry in islice(log.entries, start, None):
            keys = [t if isinstance(t, int) else t._id for t in entry.inputs]
            taken.update(keys)
            if not ASSIGNS.fullmatch(entry.type) and entry.type != "VarHandleOp":
                read.update(keys)
        read.update(record.key for t, record in log.implicit_reads.items() if t in taken)
        return self._trainable(read)

    def _trainable(self, keys: Collection[int]) -> Watched:
        found = (r.ref() for r in self.log.variables.values() if r.trainable and r.key in keys)
        return Watched(v for v in found if v is not None)

    def _likely_sources(self, target: Any) -> list[Any]:
        """The variables that the target was computed from; where none was, all that the cell
        read.

        A counter or a seed among weights has no gradient that anybody misses: whole numbers
        are left out where there are floats.
        """
        log = self.log
        made = ancestors(log, [t._id for _, t in leaves(target) if hasattr(t, "_id")])
        taken = {t._id for position in made for t in log.entries[position].inputs}
        taken |= {r.key for t, r in log.implicit_reads.items() if t in taken}
        likely = list(self._trainable(taken) or self._read_since(self._began.entries))
        counts = {record.key for record in log.variables.values() if record.counts}
        return [v for v in likely if key_of(v) not in counts] or likely

    def gradient(
        self,
        target: Any,
        sources: Any,
        output_gradients: Any = None,
        unconnected_gradients: Any = "none",
    ) -> Any:
        """The gradient of ``target`` with respect to ``sources``, as often as you like.

        Arguments and answer are those of ``tf.GradientTape.gradient``, except that any
        tensor of the run may be a source: nothing need be watched.  Raises
        :class:`~tfmagic.errors.ReleasedError` once the tensors have been let go.
        """
        if self._released:
            raise ReleasedError("tape.released")
        unconnected = getattr(unconnected_gradients, "value", unconnected_gradients)
        return aside(
            lambda: self._recorded_gradient("asked", target, sources, output_gradients, unconnected)
        )

    def jacobian(self, target: Any, sources: Any, **options: Any) -> Any:
        """The Jacobian of ``target``: shape ``target.shape + source.shape`` for each source."""
        if self._released:
            raise ReleasedError("tape.released")

        def work() -> Any:
            require_differentiable(self.log, target, asked=True)
            with tape_for(self.log, target, sources, persistent=True) as tape:
                pass
            return tape.jacobian(target, sources, experimental_use_pfor=False, **options)

        return aside(work)

    def hvp(self, target: Any, sources: Any, vector: Any) -> Any:
        """The Hessian of ``target`` by ``sources``, times ``vector``, at the price of a gradient.

        ``vector`` has the structure and shapes of ``sources``, and so has the answer.
        """
        if self._released:
            raise ReleasedError("tape.released")
        return aside(lambda: product(self.log, target, sources, vector))

    def _recorded_gradient(
        self,
        origin: str,
        target: Any,
        sources: Any,
        output_gradients: Any,
        unconnected: str,
        *,
        asked: bool = True,
    ) -> Any:
        """Differentiate, and let the recorder hear the backward ops."""
        require_differentiable(self.log, target, asked=asked)
        recorder, self._recording = self._recorder, None
        place = recorder.place(sys._getframe(1)) if origin == "asked" else ()
        recorder.start()
        try:
            with recorder.calling(origin, target, sources, place) as call:
                call.weights, call.zeros = output_gradients, unconnected == "zero"
                call.result = gradient(
                    self.log,
                    target,
                    sources,
                    output_gradients=output_gradients,
                    unconnected=unconnected,
                )
        finally:
            recorder.stop()
        _looked_into(self.log, call, recorder.whole)
        return call.result

    def asked_before(self, target: Any, source: Any) -> tuple[int, int] | None:
        """Which call of the run, and which of its sources, asked for this gradient."""
        for call in reversed(self.log.calls):
            targets = {leaf.key for leaf in self.log.leaves_of(call.target)}
            for place, leaf in enumerate(self.log.leaves_of(call.sources)):
                if leaf.key == key_of(source) and key_of(target) in targets:
                    return call.index, place
        return None

    # -- what was not asked by the cell itself ----------------------------------

    def infer(self, wish: GradientRequest = GradientRequest(), result: Any = None) -> None:
        """Work out the gradients that were wished for, or those the cell most likely meant.

        Where nothing was wished for and the cell made calls of ``gradient`` itself,
        those stand.  Otherwise the target is the last float value of size 1 that the
        cell named or ended with (``result``), metrics aside, the sources every trainable
        variable that was read.  Raises :class:`NoTargetError` where nothing can be found, and
        :class:`OptionError` where what was wished for is no tensor of this run.
        """
        asked = wish.target is not None or wish.sources is not None
        if not asked and any(call.cell == self._recorder.cell for call in self.log.calls):
            return
        target = self._target(wish, result)
        sources = wish.sources if wish.sources is not None else self._likely_sources(target)
        self._check_sources(sources, wish.source_names, "--wrt")
        if wish.extra is not None:
            self._check_sources(wish.extra, wish.extra_names, "--watch")
            sources = [v for _, v in (*leaves(sources), *leaves(wish.extra))]
        if not list(leaves(sources)):
            raise NoTargetError("tape.no_sources")
        origin = "asked" if asked else "inferred"
        willing = asked or wish.willing
        aside(lambda: self._recorded_gradient(origin, target, sources, None, "none", asked=willing))

    def deepen(self, wanted: Depth) -> None:
        """Check, spread out and differentiate once more what this cell asked of a tape."""
        if wanted:
            self._recording = None
            aside(lambda: deepen(self.log, self._recorder.cell, wanted))

    def _check_sources(self, sources: Any, names: Sequence[str], option: str) -> None:
        """Refuse what is no tensor; ``names`` are the user's words for the sources."""
        found = list(leaves(sources))
        for position, (place, source) in enumerate(found):
            if key_of(source) is not None:
                continue
            given = names[position] if len(names) == len(found) else ", ".join(names)
            raise OptionError(
                "tape.source_no_tensor",
                option=option,
                given=given or f"sources{place}",
                type=type(source).__name__,
            )

    def _target(self, wish: GradientRequest, result: Any) -> Any:
        if wish.target is not None:
            self._check_target(wish)
            return wish.target
        named = {*self.log.names, key_of(result)}
        sources = {key_of(s) for _, s in (*leaves(wish.sources), *leaves(wish.extra))}
        cell = self._recorder.cell
        found = last_float(self.log, cell, named, sources, any_size=wish.any_size)
        if found is None:
            raise NoTargetError("tape.no_target")
        return found

    def _check_target(self, wish: GradientRequest) -> None:
        made = {t._id for _, entry in self.log.live() for t in entry.outputs}
        for _, leaf in leaves(wish.target):
            key = key_of(leaf)
            if key is None:
                raise OptionError(
                    "tape.target_no_tensor", given=wish.target_name, type=type(leaf).__name__
                )
            if key not in made:
                raise OptionError("tape.target_not_here", given=wish.target_name)


def _looked_into(log: Log, call: Call, whole: int) -> None:
    """What an answer leaves open is looked into while the tensors are there."""
    open_calls(log, call, whole)
    probe_zeros(log, call)


#: The tape that a recording came from, for as long as the tape lives.
_tapes: WeakValueDictionary[int, Tape] = WeakValueDictionary()


def tape_of(recording: Recording) -> Tape | None:
    """The tape whose recording this is, or None where it is gone."""
    tape = _tapes.get(id(recording))
    return tape if tape is not None and tape._recording is recording else None


class Watched(tuple[Any, ...]):
    """A tuple that can also be called, so that both spellings of TensorFlow's work."""

    def __call__(self) -> tuple[Any, ...]:
        return tuple(self)


def record(*, budget: int = BUDGET, eager: bool = False) -> Tape:
    """Record what the ``with`` block runs.

    ::

        with tfmagic.record() as rec:
            loss = tf.reduce_sum(w * x)
        rec.recording.ops            # what ran, as plain data
        rec.gradient(loss, w)        # worked out afterwards, as often as you like

    ``budget`` is the number of bytes of tensors held while the block runs.  With ``eager``
    each ``tf.function`` runs its Python at every call, and what is inside is seen.  Raises
    :class:`~tfmagic.errors.TensorFlowMissing` where TensorFlow cannot be recorded.
    """
    private.require()
    caller = sys._getframe(1)  # our own frame in a local would be a circle
    scopes = _Scopes(caller)
    return Tape(scopes, label=_file_label, budget=budget, boundary=caller.f_code, eager=eager)


class _Scopes:
    """The names that the function which called :func:`record` sees."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame

    def __call__(self) -> Mapping[str, Any]:
        frame = self._frame
        if frame is None:
            return {}
        return {**frame.f_globals, **frame.f_locals}


def _file_label(filename: str) -> str:
    return filename.replace("\\", "/").rpartition("/")[2]
