"""The recorder: it listens while a cell runs, and changes nothing.

An op callback hears every eager op of this thread.  It notes the live tensors, the
user's line, the name scope and the time; everything that can wait is worked out
afterwards.  Three further ears are put on for the time of the recording: one on the
function by which TensorFlow differentiates an op (which backward ops belong to which
forward op), one on ``GradientTape.gradient`` (what the cell itself asked), one on
``record_operation`` (ops that bring their own backward function).
"""

from __future__ import annotations

import contextlib
import functools
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from threading import get_ident
from time import perf_counter
from types import CodeType, FrameType
from typing import Any

from tfmagic.model.reduction import replica_name
from tfmagic.runtime import private
from tfmagic.runtime.capture.gc_throttle import calm
from tfmagic.runtime.capture.hook import Hook, hooked
from tfmagic.runtime.capture.host_transfers import heard_exits, user_frame
from tfmagic.runtime.capture.implicit_reads import find_handle_owner, match_reads
from tfmagic.runtime.capture.interrupts import Carried, Interrupts, by_handler, interrupts_put_off
from tfmagic.runtime.capture.log import (
    Call,
    CustomGradient,
    HostTransfer,
    InnerCall,
    Log,
    Reduced,
    SourceStack,
    VariableRecord,
    handle_of,
    new_entry,
    new_turn,
)
from tfmagic.runtime.capture.mentions import Mentions
from tfmagic.runtime.capture.replicas import heard_reductions, local_parts, parts_of
from tfmagic.runtime.capture.source import Assignments, UserFiles, source_of, words_of
from tfmagic.runtime.capture.structure import leaves
from tfmagic.runtime.capture.tape_events import (
    FORGETS,
    TOLD,
    Event,
    TapeEvents,
    heard_tapes,
    keys_in,
)
from tfmagic.runtime.capture.threads import COUNT, other_threads

#: Bytes of tensors that are held while a cell runs, unless the settings say otherwise.
BUDGET = 2 * 2**30
#: The same where no variable was met and no tape began, so that no gradient can be asked for.
UNASKED = 64 * 2**20
#: Gradients that functions ask for, as far as they are looked at.
_MOST_INNER = 32
#: The file in which TensorFlow's tapes stand.
_TAPES = private.tape_file()
#: Frames of AutoGraph's between a call and the code that it stands in.
_NEAR = 8
_CELL_FRAMES = ("<module>", "<cell line")
_FUNCTION_OP = re.compile(r"__(?:inference|forward|backward)_")
_RESOURCE = 20
_EAGER = private.EagerTensor
_CARRIED = Carried()
#: A block around a recording that notes something into its log.
Listener = Callable[[Log], contextlib.AbstractContextManager[None]]
#: A cell's frame, the instruction in it, and the place that this is: none yet.
_NOWHERE: tuple[CodeType | None, int, SourceStack] = (None, 0, ())


class _ItemSizes(dict[int, int]):
    """Bytes of one element, by dtype enum; each is looked up once."""

    def __missing__(self, enum: int) -> int:
        import tensorflow as tf

        self[enum] = size = tf.dtypes.as_dtype(enum).size or 0
        return size


_ITEM_SIZE = _ItemSizes()


class Recorder:
    """Listens to one thread between :meth:`start` and :meth:`stop`.

    It may be started and stopped many times; everything lands in one :attr:`log`.
    ``boundary`` is the code object where the way to an op ends (the function that
    entered ``tfmagic.record()``); a cell's own frame always ends it.  With ``eager`` a
    ``tf.function`` runs its Python, so that what is inside is heard.  ``listeners`` are blocks
    that note something into the log for as long as it listens; ``answered`` is told of every
    gradient call once it has its answer; ``default_device`` says where the session sends ops.
    """

    def __init__(
        self,
        *,
        budget: int = BUDGET,
        boundary: CodeType | None = None,
        whole: int = 64,
        everything: bool = False,
        keep: bool = True,
        eager: bool = False,
        listeners: Sequence[Listener] = (),
        answered: Callable[[Log, Call, int], None] = lambda log, call, whole: None,
        default_device: Callable[[], str] = lambda: "",
    ) -> None:
        self.log = Log()
        self._listeners = listeners
        self.answered = answered
        self._default_device = default_device
        self.budget = budget
        self._most = budget if keep else min(budget, UNASKED)
        self.whole = whole
        self.boundary = boundary
        self.cell = 0
        self.seconds = 0.0
        self.everything = everything
        self.keep = keep
        self.eager = eager
        self._files = UserFiles()
        self._assigned = Assignments()
        self._mentions = Mentions(self._files)
        self._tapes = TapeEvents()
        self._known: set[int] = set()
        self._lines: dict[int | str, tuple[CodeType | None, int]] = {}
        self._call: Call | None = None
        self._last_place: SourceStack = ()
        self._again = _NOWHERE
        self._undo = contextlib.ExitStack()
        self._interrupts: Interrupts
        self._taped = False
        self._thread = 0
        self._scope: Any = None
        self._started = 0.0

    # -- on and off -------------------------------------------------------------

    @property
    def listening(self) -> bool:
        """Whether ops are being noted now."""
        return bool(self._thread)

    def start(self) -> None:
        """Listen to this thread from now on."""
        if self.listening:
            return
        private.require()
        undo = self._undo
        self._interrupts = undo.enter_context(interrupts_put_off(_UNDISTURBED))
        self._thread = get_ident()
        self._scope = private.thread_data()
        self.log.default = self._default_device()
        undo.callback(self._forget_thread)
        undo.callback(private.remove_callback, self._on_op)
        private.add_callback(self._on_op)
        undo.enter_context(other_threads(self.log, lambda: private.is_heard(self._on_op)))
        self._listen_to_gradients()
        for listener in self._listeners:
            undo.enter_context(listener(self.log))
        if self.eager:
            undo.callback(_functions_eagerly())
        undo.enter_context(calm())
        self._started = perf_counter()

    def stop(self) -> None:
        """Listen no more, and leave nothing behind; the log stays."""
        if self.listening:
            self.seconds += perf_counter() - self._started
            self._lines.clear()
            self._again = _NOWHERE
            self.log.default = self.log.default or self._default_device()
        self._undo.close()

    def _forget_thread(self) -> None:
        self._thread = 0

    def _listen_to_gradients(self) -> None:
        import tensorflow as tf

        undo, tape = self._undo, tf.GradientTape
        me = undo.enter_context(hooked(self))
        undo.enter_context(private.replaced(tape, "gradient", _heard_gradient(tape.gradient, me)))
        undo.enter_context(private.replaced(tape, "jacobian", _heard_jacobian(tape.jacobian, me)))
        original = private.gradient_function()
        if original is not None:
            undo.callback(private.register_gradient_function, original)
            private.register_gradient_function(self._heard_turn(original))
        module = private.record_module()
        if module is not None:
            heard = self._heard_custom(module.record_operation)
            undo.enter_context(private.replaced(module, "record_operation", heard))
        undo.enter_context(heard_tapes(self._note_tape))
        undo.enter_context(heard_exits(self._note_exit))
        undo.enter_context(heard_reductions(self._note_reduction))

    # -- ops --------------------------------------------------------------------

    def _on_op(
        self,
        op_type: Any,
        inputs: Any,
        attrs: Any,
        outputs: Any,
        op_name: Any = None,
        graph: Any = None,
    ) -> Any:
        if graph is None:  # else traced into a graph, not run
            when = perf_counter()
            try:
                self._note(op_type, inputs, attrs, outputs, when)
            except Exception as error:  # ours to carry: the user's cell must not feel it
                self._fault(error)
        if self._interrupts.waiting:
            self._interrupts.hand_on(sys._getframe(1))
        return None if graph is None else private.handed_on(outputs)

    def _note(self, op_type: Any, inputs: Any, attrs: Any, outputs: Any, when: float) -> None:
        """One op.  Every microsecond here is added to every op of the user's."""
        caller = sys._getframe(2)
        asked = self._call
        call, place = (-1, self.place(caller)) if asked is None else (asked.index, asked.place)
        if not place and asked is None and not self.everything:
            return  # nobody's line: a display hook, another extension
        if op_type.__class__ is bytes:
            op_type = op_type.decode()
        known, log = self._known, self.log
        # a list of theirs would be the user's or py_function's, who may change it
        inputs, outputs = tuple(inputs), tuple(outputs)
        for tensor in inputs:
            if tensor._id not in known:
                self._resolve(op_type, inputs, attrs, caller)
                break
        held = 0
        for tensor in outputs:
            if op_type != "VarHandleOp":  # whose handle it is shows when it is first used
                known.add(tensor._id)
            held += tensor._num_elements() * _ITEM_SIZE[tensor._datatype_enum()]
        if op_type[0] == "_" and _FUNCTION_OP.match(op_type):
            self._note_function(len(log.entries), caller)
        mine = get_ident() == self._thread
        here = self._scope if mine else private.thread_data()  # a replica has its own
        scope, sent = here.scope_name, here.device_name or ""
        entry = new_entry(
            (op_type, inputs, attrs, outputs, place, scope, sent, when, call, self.cell, False)
        )
        if call >= 0 and not self.keep:
            log.entries.append(log.settled_entry(entry, self.whole))
            return
        log.entries.append(entry)
        log.held += held
        if log.held > self._most:
            self._drop_oldest()

    def place(self, frame: FrameType | None) -> SourceStack:
        """The user's lines that led here, innermost first; names seen on the way are noted."""
        files = self._files
        while frame is not None and not files[frame.f_code.co_filename]:
            frame = frame.f_back
        again = self._again
        if frame is None:
            place: SourceStack = ()
        elif frame.f_code is again[0] and frame.f_lasti == again[1]:
            return again[2]  # the cell's own frame, where it was at the last op
        else:
            place = self._lines_from(frame)
        if place != self._last_place:  # most ops share their line with the one before
            self._last_place = place
        return self._last_place

    def _lines_from(self, frame: FrameType) -> SourceStack:
        """The user's lines from a frame of the user's on."""
        files, lines = self._files, self._lines
        found = []
        here: FrameType | None = frame
        while here is not None:
            code = here.f_code
            if files[code.co_filename]:
                line = here.f_lineno
                found.append((code, line))
                cell = code.co_name.startswith(_CELL_FRAMES)
                # IPython gives every statement of a cell a frame of its own
                key = code.co_filename if cell else id(here)
                last = lines.get(key)
                if last is None or last[1] != line:
                    lines[key] = (None if cell else code, line)
                    self._observe(here, code, last)
                if cell or code is self.boundary:
                    break
            here = here.f_back
        place = tuple(found)
        self._again = (frame.f_code, frame.f_lasti, place) if here is frame else _NOWHERE
        return place

    def _observe(
        self, frame: FrameType, code: CodeType, last: tuple[CodeType | None, int] | None
    ) -> None:
        """Give the results of the line before this one the names that the user gave them.

        Only a name that really holds the very tensor is believed.
        """
        if last is None or last[0] not in (None, code):
            return
        names = self._assigned[code.co_filename].get(last[1])
        if names:
            local = frame.f_locals
            for name in names:
                self.observe(name, local.get(name))

    def observe(self, name: str, value: Any) -> None:
        """``name`` was seen to hold ``value``: tensors and variables take it as their own."""
        if type(value) is private.EagerTensor:
            self.log.names.setdefault(value._id, name)
        elif len(parts := parts_of(value)) > 1:
            for replica, part in enumerate(parts):
                self.observe(replica_name(name, replica), part)
        else:
            value = parts[0] if parts else value
            handle = handle_of(value)
            if handle is not None:
                self.log.names.setdefault(handle._id, name)
                if handle._id in self.log.variables:
                    self._meet(value, handle)

    def _resolve(self, op_type: str, inputs: Any, attrs: Any, caller: FrameType) -> None:
        """Say of each input that no op made where it came from: a variable, or before."""
        known, log = self._known, self.log
        unknown = [t for t in inputs if t._id not in known]
        function, handles = op_type[:2] == "__", 0
        for tensor in unknown:
            if tensor._datatype_enum() == _RESOURCE:
                owner = find_handle_owner(tensor, caller)
                self._meet(owner, tensor)
                if owner is not None:
                    known.add(tensor._id)
                handles += 1
            else:
                if not function:  # a variable handed to one is known by the op that reads it
                    known.add(tensor._id)
                log.held += tensor._num_elements() * _ITEM_SIZE[tensor._datatype_enum()]
        if handles == len(unknown):
            return  # a handle is no value that was read
        for tensor, variable in match_reads(inputs, unknown, attrs, caller):
            handle = handle_of(variable)
            if handle is not None:
                record = self._meet(variable, handle)
                log.implicit_reads[tensor._id] = record

    def _meet(self, variable: Any, handle: Any) -> VariableRecord:
        known = self.log.variables.get(handle._id)
        if known is None:
            known = VariableRecord(len(self.log.variables), handle, variable)
            self.log.variables[handle._id] = known
        elif variable is not None and known.ref() is None:
            known.meet(variable)
        return known

    def _note_function(self, position: int, frame: FrameType | None) -> None:
        for _ in range(12):
            if frame is None:
                return
            function = frame.f_locals.get("self") if frame.f_code.co_name == "_call_flat" else None
            if function is not None and hasattr(function, "captured_inputs"):
                self.log.functions[position] = function
                traced = self._mentions.around(frame)
                if traced is not None:
                    self.log.traced[position] = traced
                for variable in function.variables:
                    handle = handle_of(variable)
                    if handle is not None:
                        self._meet(variable, handle)
                return
            frame = frame.f_back

    def _let_go(self) -> None:
        """The run has its gradients: nothing before them will be differentiated again."""
        log = self.log
        log.settle(len(log.entries), self.whole)
        log.settle_calls(self.whole)
        log.custom.clear()
        log.held = 0

    def _drop_oldest(self) -> None:
        """Over the budget: settle the older half of what is held.

        Where nobody can ask for a gradient yet (no variable was met, no tape began, the cell's
        tape is not kept) little is held, and what goes is missed by no one.
        """
        log = self.log
        if self._most < self.budget and (log.variables or self._taped):
            self._most = self.budget
            if log.held <= self.budget:
                return
        middle = (log.settled + len(log.entries) + 1) // 2
        log.dropped += middle - log.settled if self._most == self.budget else 0
        log.settle(middle, self.whole)
        for position in [p for p in log.functions if p < middle]:
            del log.functions[position]
        log.held = sum(
            t._num_elements() * _ITEM_SIZE[t._datatype_enum()]
            for _, e in log.live()
            for t in e.outputs
        )

    def _fault(self, error: Exception) -> None:
        """Keep an error of ours for the report; one of an alarm's is the cell's own."""
        if by_handler(error):
            raise error
        if len(self.log.faults) < 20:
            self.log.faults.append(f"{type(error).__name__}: {error}"[:300])

    # -- what is not an op --------------------------------------------------------

    def _note_exit(self, tensor: Any, how: str, frame: FrameType) -> None:
        if not self._mine() or self._call is not None:
            return
        with _CARRIED:
            mine = user_frame(frame, self._files.__getitem__)
            if mine is not None:
                log = self.log
                log.exits.append(HostTransfer(tensor._id, how, self.place(mine), len(log.entries)))

    def _note_tape(self, tape: Any, kind: str, watched: Any, frame: FrameType) -> None:
        if not self._mine():
            return
        self._taped = True
        with _CARRIED:
            keys = keys_in(watched) if kind == "watch" else ()
            self._tapes.add(tape, Event(kind, len(self.log.entries), self.place(frame), keys))

    def _note_reduction(
        self, how: str, parts: tuple[Any, ...], result: Any, frame: FrameType
    ) -> None:
        """A strategy made one value of those of its replicas."""
        tensors = (*parts, result)
        if self._mine() and all(t.__class__ is private.EagerTensor for t in tensors):
            keys = [self.log.note(tensor, self.whole, exact=True) for tensor in tensors]
            place = self.place(frame)
            self.log.reductions.append(Reduced(how, tuple(keys[:-1]), keys[-1], place))

    # -- gradients --------------------------------------------------------------

    def _mine(self) -> bool:
        if get_ident() == self._thread:
            eager: bool | None = getattr(self._scope, "is_eager", None)
            return private.executing_eagerly() if eager is None else eager
        heard = self.listening and private.is_heard(self._on_op)
        return heard and private.executing_eagerly()

    def _name_as_there(self, frame: FrameType, target: Any) -> None:
        """A target without a name of the user's is called as in the code that differentiates
        it: Keras's own training step calls it ``loss``."""
        if target.__class__ is private.EagerTensor and target._id not in self.log.names:
            for name, value in frame.f_locals.items():
                if value is target and not name.startswith("_"):
                    self.log.names[target._id] = name
                    return

    @contextlib.contextmanager
    def calling(self, origin: str, target: Any, sources: Any, place: SourceStack = ()) -> Any:
        """Ops inside the block are the backward ops of this gradient call."""
        log = self.log
        call = Call(len(log.calls), origin, target, sources, place, len(log.entries), self.cell)
        log.calls.append(call)
        self._call = call
        try:
            yield call
        except BaseException as error:
            call.error = f"{type(error).__name__}: {error}"
            raise
        finally:
            call.end = len(log.entries)
            self._call = None

    def _tell_of(self, tape: Any, call: Call) -> None:
        """What stands on the tape that a call asks."""
        call.watches = private.watches_variables(tape)
        call.events = self._tapes.of(tape)

    def _heard_turn(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """TensorFlow's "differentiate this op" that notes whose turn it is."""

        @functools.wraps(original)
        def turn(*asked: Any) -> Any:
            call = self._call
            if call is None or not self._mine():
                return original(*asked)
            start = len(self.log.entries)
            outgoing = original(*asked)
            try:
                name, _, _, inputs, outputs, incoming = asked[:6]
                ids = _ids(inputs), _ids(outputs), _ids(incoming) or (), _ids(outgoing) or ()
                call.turns.append(new_turn((name, *ids, start, len(self.log.entries))))
            except Exception as error:
                self._fault(error)
            return outgoing

        return turn

    def _heard_custom(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """``record_operation`` that notes ops which bring their own backward function."""

        @functools.wraps(original)
        def record_operation(
            op_type: Any,
            output_tensors: Any,
            input_tensors: Any,
            backward_function: Any,
            *rest: Any,
            **named: Any,
        ) -> Any:
            if op_type != "ReadVariableOp" and self._mine():
                with _CARRIED:
                    self._note_custom(op_type, output_tensors, input_tensors, backward_function)
            return original(
                op_type, output_tensors, input_tensors, backward_function, *rest, **named
            )

        return record_operation

    def _note_inner(self, caller: FrameType, target: Any, sources: Any, answer: Any) -> None:
        """A gradient that a function asks for while it is traced."""
        if get_ident() != self._thread or len(self.log.inner_calls) >= _MOST_INNER:
            return
        if hasattr(target, "graph") and not isinstance(target, _EAGER):
            if caller.f_code.co_filename == _TAPES:
                return  # a jacobian's own
            around = [caller]
            while around[-1].f_back is not None and len(around) < _NEAR:
                around.append(around[-1].f_back)
            known = (n for frame in around for n, v in frame.f_locals.items() if v is target)
            name = next((n for n in known if n not in ("target", "self")), "")
            self.log.inner_calls.append(InnerCall(name, target, sources, answer))

    def _note_custom(self, op_type: Any, outputs: Any, inputs: Any, backward: Any) -> None:
        note = CustomGradient(
            str(op_type), tuple(outputs), tuple(inputs), backward, len(self.log.entries) - 1
        )
        named = not _FUNCTION_OP.match(note.type)
        for tensor in outputs:
            self.log.custom[tensor._id] = note
            if named:
                self.log.own_gradients[tensor._id] = note.type

    def words(self) -> frozenset[str]:
        """The names that the recorded lines speak of; see :func:`words_of`."""
        mine = (name for name, users in self._files.items() if users)
        return frozenset().union(*(words_of(source_of(name)) for name in mine))

    def names_in(self, namespace: Mapping[str, Any]) -> None:
        """Take names from the top level of a namespace, as they stand now."""
        for name, value in list(namespace.items()):
            if not name.startswith("_"):
                self.observe(name, value)


def _heard_gradient(original: Callable[..., Any], whom: Hook[Recorder]) -> Callable[..., Any]:
    """``GradientTape.gradient`` by which a recorder notes what was asked and what was answered."""

    @functools.wraps(original)
    def gradient(tape: Any, target: Any, sources: Any, *args: Any, **kwargs: Any) -> Any:
        recorder = _asked(whom)
        if recorder is None:
            answer = original(tape, target, sources, *args, **kwargs)
            if (listener := whom.listener) is not None:
                listener._note_inner(sys._getframe(1), target, sources, answer)
            return answer
        caller = sys._getframe(1)
        recorder._name_as_there(caller, target)
        told = (target, sources)
        if get_ident() != recorder._thread:
            told = local_parts(told)
        with recorder.calling("cell", *told, recorder.place(caller)) as call:
            recorder._tell_of(tape, call)
            call.weights = args[0] if args else kwargs.get("output_gradients")
            call.zeros = _wants_zeros(args, kwargs)
            answer = call.result = original(tape, target, sources, *args, **kwargs)
        with _CARRIED:
            recorder.answered(recorder.log, call, recorder.whole)
        if recorder.log.progress is not None:
            recorder.log.progress()
        if not recorder.keep:
            recorder._let_go()
        return answer

    return gradient


def _heard_jacobian(original: Callable[..., Any], whom: Hook[Recorder]) -> Callable[..., Any]:
    """``GradientTape.jacobian`` by which a recorder notes an answer with None in it, after it was
    given: what was computed on the way is no gradient of the target."""

    @functools.wraps(original)
    def jacobian(tape: Any, target: Any, sources: Any, *args: Any, **kwargs: Any) -> Any:
        answer = original(tape, target, sources, *args, **kwargs)
        recorder = _asked(whom)
        if recorder is not None and any(value is None for _, value in leaves(answer)):
            caller = sys._getframe(1)
            recorder._name_as_there(caller, target)
            with recorder.calling("cell", target, sources, recorder.place(caller)) as call:
                recorder._tell_of(tape, call)
                call.result = answer
            with _CARRIED:
                recorder.answered(recorder.log, call, recorder.whole)
        return answer

    return jacobian


def _asked(whom: Hook[Recorder]) -> Recorder | None:
    """Who is to note what a tape is asked now: none inside a call that is being noted."""
    recorder = whom.listener
    heard = recorder is not None and recorder._mine() and recorder._call is None
    return recorder if heard else None


def _wants_zeros(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call of ``gradient`` asks for zero in place of None."""
    given = args[1] if len(args) > 1 else kwargs.get("unconnected_gradients")
    return getattr(given, "value", given) == "zero"


#: An interrupt that falls into these would leave half of something behind, or be lost.
_UNDISTURBED = frozenset(
    function.__code__
    for function in (Recorder.start, Recorder.stop, Recorder._on_op, Recorder._let_go)
) | {COUNT, FORGETS, TOLD}


def _ids(tensors: Any) -> tuple[int | None, ...] | None:
    if tensors is None:
        return None
    if not isinstance(tensors, (list, tuple)):
        tensors = (tensors,)
    found = []
    for tensor in tensors:  # a loop: a comprehension has a frame of its own before Python 3.12
        found.append(tensor._id if tensor.__class__ is _EAGER else _id(tensor))
    return tuple(found)


def _id(tensor: Any) -> int | None:
    if tensor is None:
        return None
    values = getattr(tensor, "values", None)  # IndexedSlices are known by their values
    found: int | None = getattr(values if values is not None else tensor, "_id", None)
    return found


def _functions_eagerly() -> Callable[[], None]:
    """Have every ``tf.function`` run its Python op by op; answers the way back."""
    import tensorflow as tf

    if tf.config.functions_run_eagerly():
        return lambda: None
    tf.config.run_functions_eagerly(True)

    def back() -> None:
        tf.config.run_functions_eagerly(False)

    return back
