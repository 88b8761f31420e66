"""What the recorder writes down while the cell runs: the raw, live side of a recording.

Entries hold the very tensors of the run, so that gradients can be worked out
afterwards.  :meth:`Log.settle` takes what a model object needs from each tensor and
lets the tensor go; after it nothing here is alive.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import CodeType
from typing import Any, ClassVar, NamedTuple

from tfmagic.analysis.dependence import FLOATS
from tfmagic.model.derivative import Check, Hessian, Histogram, Jacobian
from tfmagic.model.verdict import Probe
from tfmagic.runtime import private
from tfmagic.runtime.capture.snapshot import Snapshot, Taken, take
from tfmagic.runtime.capture.structure import leaves

#: The type of op that a call of a ``tf.function`` is; its second group is the function's name.
FUNCTION = re.compile(r"__(inference|forward|backward)_(.+)_\d+$")
#: A place in the user's code: innermost first, up to the cell itself.
SourceStack = tuple[tuple[CodeType, int], ...]


class Entry(NamedTuple):
    """One op as the callback saw it, with its name scope and the device it was sent to.

    ``inputs`` and ``outputs`` are live tensors, or their ids once the entry is ``settled``.
    """

    type: str
    inputs: Sequence[Any]
    attrs: tuple[Any, ...]
    outputs: Sequence[Any]
    place: SourceStack
    scope: str
    sent: str
    when: float
    call: int
    cell: int
    settled: bool = False


#: An entry from a tuple of its fields: on the way of every op, so without a detour.
new_entry: Callable[[tuple[Any, ...]], Entry] = partial(tuple.__new__, Entry)


class VariableRecord:
    """What is known of one variable.

    The variable itself is only held weakly; ``live`` is its handle, held until the log
    is settled.
    """

    __slots__ = ("dtype", "index", "key", "label", "live", "ref", "shape", "trainable")

    def __init__(self, index: int, handle: Any, variable: Any) -> None:
        self.index = index
        self.key: int = handle._id
        self.live: Any = handle
        self.meet(variable)

    def meet(self, variable: Any) -> None:
        """Take down the variable, once it is known whose handle this is."""
        self.ref: Callable[[], Any] = weakref.ref(variable) if variable is not None else _gone
        self.label = str(getattr(variable, "name", "") or "")
        self.shape = _shape_of(variable)
        kept = held_variable(variable)  # the dtype of Keras's own changes by scope
        self.dtype = getattr(getattr(kept, "dtype", None), "name", "")
        self.trainable = bool(getattr(variable, "trainable", False))

    @property
    def counts(self) -> bool:
        """Whether it is known to hold what has no gradient: whole numbers, text."""
        return bool(self.dtype) and not self.dtype.startswith(FLOATS)


def _rows(indices: Any) -> tuple[int, ...] | None:
    """The distinct rows that IndexedSlices touch."""
    if indices is None or getattr(indices.shape, "rank", None) != 1:
        return None
    return tuple(sorted({int(i) for i in indices.numpy()}))


def _gone() -> None:
    return None


def _shape_of(variable: Any) -> tuple[int | None, ...] | None:
    shape = getattr(variable, "shape", None)
    rank = getattr(shape, "rank", None)
    return None if shape is None or rank is None else tuple(shape.as_list())


class Differentiated(NamedTuple):
    """One op's turn in a backward pass: what came in and what went out.

    ``inputs`` and ``outputs`` are the ids of the forward op's tensors where TensorFlow
    kept them (None where its gradient needs none); ``incoming`` and ``outgoing`` are
    the ids of the gradients (None where there was none); ``start`` and ``end`` bound
    the entries that it ran.
    """

    type: str
    inputs: tuple[int | None, ...] | None
    outputs: tuple[int | None, ...] | None
    incoming: tuple[int | None, ...]
    outgoing: tuple[int | None, ...]
    start: int
    end: int


#: As :data:`new_entry`, for a turn.
new_turn: Callable[[tuple[Any, ...]], Differentiated] = partial(tuple.__new__, Differentiated)


class Leaf(NamedTuple):
    """One target or source of a gradient call, once its tensor is gone.

    ``key`` is the id it was recorded under (a variable's is its handle's), ``kind``
    ``"variable"``, ``"tensor"`` or the name of the Python type of anything else.
    ``frozen`` is a Keras weight that is not trained.
    """

    place: str
    key: int | None
    kind: str
    dtype: str = ""
    frozen: bool = False


class Answer(NamedTuple):
    """What a gradient call answered for one source; ``key`` None where it was None."""

    key: int | None
    shape: tuple[int | None, ...] | None = None
    rows: tuple[int, ...] | None = None


@dataclass(slots=True)
class Call:
    """One ``gradient(target, sources)`` as it was made, and what it answered.

    ``target``, ``sources`` and ``result`` are the user's live structures, and become
    tuples of :class:`Leaf` and :class:`Answer` when the log is settled.  ``weights`` are its
    ``output_gradients``, ``zeros`` says that zero was wanted in place of None; ``checks`` and
    ``histograms``, one for each source, are there where they were asked for.
    """

    index: int
    origin: str
    target: Any
    sources: Any
    place: SourceStack
    start: int
    cell: int
    end: int = 0
    result: Any = None
    error: str = ""
    turns: list[Differentiated] = field(default_factory=list)
    watches: bool = True
    events: tuple[Any, ...] = ()
    settled: bool = False
    weights: Any = None
    zeros: bool = False
    checks: tuple[Check, ...] = ()
    histograms: tuple[Histogram | None, ...] = ()

    def copy(self) -> Call:
        """The same call, to be settled on its own."""
        return replace(self)


class HostTransfer(NamedTuple):
    """A tensor, by its id, whose value went to Python after ``at`` entries."""

    key: int
    how: str
    place: SourceStack
    at: int


class Traced(NamedTuple):
    """What the Python code behind a ``tf.function`` mentions, and where it begins."""

    code: CodeType
    mentions: tuple[str, ...]


@dataclass(slots=True)
class CustomGradient:
    """An op sequence with its own backward function: a custom gradient or a function."""

    type: str
    outputs: Sequence[Any]
    inputs: Sequence[Any]
    backward: Callable[..., Any]
    at: int


class Reduced(NamedTuple):
    """A strategy's reduction: how, the ids of the replicas' parts and of the result, the place."""

    how: str
    parts: tuple[int, ...]
    result: int
    place: SourceStack


class TraceNote(NamedTuple):
    """One tracing: of what, for how long, the user's lines that led to it, and why."""

    function: str
    code: CodeType
    seconds: float
    place: SourceStack
    own: bool
    inside: bool
    reason: str
    argument: str
    before: str
    now: str


class FrozenName(NamedTuple):
    """What tracing had fixed in a function that was called again from ``place``."""

    function: str
    kind: str
    name: str
    code: CodeType
    line: int
    before: str
    now: str
    place: SourceStack


class InnerCall(NamedTuple):
    """A ``gradient(target, sources)`` that was made while a function was traced; all live."""

    name: str
    target: Any
    sources: Any
    result: Any


class Tap(NamedTuple):
    """Some columns of the figures that a traced function told of its inside.

    ``kind`` is ``"loss"`` (its mean), ``"metric"``, ``"gradient"``, ``"weight"`` and
    ``"update"`` (half the sum of squares; of a large weight by a sample) or ``"layer"`` (half
    the sum of squares, and of an evenly spread sample mean, half the sum of squares, share of
    zeros, number of elements).  ``key`` is the loss's ref, the metric's name, the id of the
    variable's handle (with the loss's ref for a gradient, with its layer for a weight) or the
    layer's scope.  ``node`` stands in the function that ``path``, the nodes of the calls from
    the outermost function inwards, leads to; ``width`` are its columns.
    """

    kind: str
    key: Any
    node: str
    path: tuple[str, ...]
    width: int


class CompiledStep(NamedTuple):
    """One call of a traced function: the how-manieth of it, the entry that it is, when it began
    and ended, and for each of the function's ``taps`` a matrix, a row for each turn."""

    number: int
    entry: int
    start: float
    end: float
    figures: tuple[Any, ...]


class KeptStep(NamedTuple):
    """What one call of a step function was given: the how-manieth call, and its inputs."""

    number: int
    inputs: tuple[Any, ...]


@dataclass(slots=True)
class KeptSteps:
    """Some steps that can be run again: ``function`` is the traced function that makes one,
    ``graph`` its graph, ``variables`` (by the ids of their handles) are what variables held
    before the first of the ``steps``, whose other inputs take so many ``bytes``."""

    function: str
    graph: Any
    variables: dict[int, Any] = field(default_factory=dict)
    steps: list[KeptStep] = field(default_factory=list)
    bytes: int = 0


@dataclass(slots=True)
class CompiledFunction:
    """The calls of one traced function, and what it told of its inside in each.

    Of a long run every ``stride``-th call is kept, the first and the last among them.
    ``flow`` are pairs of layers of which the second takes what the first gives.  ``first`` are
    the first steps of a function that trains, ``latest`` the last ones, or those up to the first
    with a NaN among its figures, ``suspect`` those with the first infinity.  ``tried`` are the
    trials that were made when it had been called so often, ``thrown_away`` where gradients are
    asked for of which nothing comes: file, line, function.
    """

    name: str
    taps: tuple[tuple[Tap, ...], ...]
    flow: tuple[tuple[str, str], ...] = ()
    steps: list[CompiledStep] = field(default_factory=list)
    count: int = 0
    stride: int = 1
    first: KeptSteps | None = None
    latest: KeptSteps | None = None
    suspect: KeptSteps | None = None
    tried: tuple[int, tuple[Any, ...]] = (0, ())
    thrown_away: tuple[tuple[str, int, str], ...] = ()
    MOST: ClassVar[int] = 4096

    @property
    def trains(self) -> bool:
        """Whether it changes variables by gradients."""
        return any(tap.kind == "gradient" for group in self.taps for tap in group)

    def add(self, step: CompiledStep) -> None:
        """Note a call; where they become many every other one is let go."""
        if self.steps and self.steps[-1].number % self.stride:
            self.steps.pop()  # it was only there as the last
        self.steps.append(step)
        self.count += 1
        if len(self.steps) > self.MOST:
            self.stride *= 2
            last = self.steps[-1]
            self.steps = [s for s in self.steps if s.number % self.stride == 0 or s is last]


@dataclass(slots=True)
class Log:
    """All that was heard; grows while the recorder listens.

    ``jacobians`` and ``hessians`` stand with their call, and the places of the target and
    of the sources in it.  ``metrics`` are variables that a name of the user's finds in a Keras
    metric.  ``compiled`` are the traced functions that told of their inside, ``untapped`` those
    that ran as they are, with the reason.  ``traces`` are the tracings, ``frozen`` what they fixed
    for good.  ``progress`` is told of every step of a training.
    ``probes`` stand with their call and the place of the source in it.  ``made`` is
    for :meth:`makers`, which has met so many entries.
    """

    entries: list[Entry] = field(default_factory=list)
    variables: dict[int, VariableRecord] = field(default_factory=dict)
    implicit_reads: dict[int, VariableRecord] = field(default_factory=dict)
    functions: dict[int, Any] = field(default_factory=dict)
    custom: dict[int, CustomGradient] = field(default_factory=dict)
    own_gradients: dict[int, str] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    snapshots: dict[int, Snapshot | Taken] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    metrics: set[int] = field(default_factory=set)
    settled: int = 0
    held: int = 0
    dropped: int = 0
    foreign: int = 0
    faults: list[str] = field(default_factory=list)
    default: str = ""
    reductions: list[Reduced] = field(default_factory=list)
    keep_handles: bool = False
    exits: list[HostTransfer] = field(default_factory=list)
    traced: dict[int, Traced] = field(default_factory=dict)
    insides: dict[int, Any] = field(default_factory=dict)
    rebound: dict[str, tuple[str, int]] = field(default_factory=dict)
    jacobians: list[tuple[int, tuple[int, ...], Jacobian]] = field(default_factory=list)
    hessians: list[tuple[int, tuple[int, ...], Hessian]] = field(default_factory=list)
    probes: dict[tuple[int, int], Probe] = field(default_factory=dict)
    compiled: dict[str, CompiledFunction] = field(default_factory=dict)
    untapped: dict[str, str] = field(default_factory=dict)
    traces: list[TraceNote] = field(default_factory=list)
    frozen: list[FrozenName] = field(default_factory=list)
    progress: Callable[[], None] | None = None
    inner_calls: list[InnerCall] = field(default_factory=list)
    inner: list[Any] = field(default_factory=list)
    made: dict[int, int] = field(default_factory=dict)
    met: int = 0

    def settle(self, upto: int | None = None, whole: int = 64) -> None:
        """Let go of the tensors of the entries before ``upto`` (all, by default).

        ``whole`` is the largest number of elements of which every one is kept.
        """
        end = len(self.entries) if upto is None else upto
        for position in range(self.settled, end):
            entry = self.entries[position]
            if not entry.settled:
                self.entries[position] = self.settled_entry(entry, whole)
        self.settled = max(self.settled, end)
        if upto is None:
            self.settle_calls(whole)
            self.functions = dict.fromkeys(self.functions)
            self.custom.clear()
            for record in () if self.keep_handles else self.variables.values():
                record.live = None

    def settled_entry(self, entry: Entry, whole: int) -> Entry:
        """The entry without its tensors."""
        op_type, inputs, attrs, outputs, place, scope, sent, when, call, cell, _ = entry
        mine, theirs = self._keys(inputs, whole), self._keys(outputs, whole)
        return new_entry((op_type, mine, attrs, theirs, place, scope, sent, when, call, cell, True))

    def _keys(self, tensors: Sequence[Any], whole: int) -> list[int]:
        """The ids of these tensors, of each of which what is kept has been taken."""
        snapshots, keys = self.snapshots, []
        for tensor in tensors:
            key = tensor._id
            if key not in snapshots:
                snapshots[key] = take(tensor, whole)
            keys.append(key)
        return keys

    def snapshot(self, key: int) -> Snapshot:
        """What was taken of the tensor with this id."""
        taken = self.snapshots[key]
        if isinstance(taken, tuple):
            taken = self.snapshots[key] = Snapshot(*taken)
        return taken

    def note(self, tensor: Any, whole: int = 64, *, exact: bool = False) -> int:
        """Take down what a recording keeps of ``tensor``; answers its id."""
        key: int = tensor._id
        if key not in self.snapshots or exact:
            self.snapshots[key] = take(tensor, whole, exact=exact)
        return key

    def makers(self) -> dict[int, int]:
        """Tensor id → position of the entry that made it; only what is new is looked at."""
        for position in range(self.met, len(self.entries)):
            entry = self.entries[position]
            for tensor in entry.outputs:
                self.made[tensor if entry.settled else tensor._id] = position
        self.met = len(self.entries)
        return self.made

    def live(self) -> Iterator[tuple[int, Entry]]:
        """Positions and entries whose tensors are still held, in order."""
        for position in range(self.settled, len(self.entries)):
            entry = self.entries[position]
            if not entry.settled:
                yield position, entry

    def settle_calls(self, whole: int) -> None:
        """Let go of what the gradient calls hold."""
        for call in reversed(self.calls):  # they are settled in their order
            if call.settled:
                break
            self._settle_call(call, whole)

    def _settle_call(self, call: Call, whole: int) -> None:
        answers = [self._answer(value, whole) for _, value in leaves(call.result)]
        call.target = self.leaves_of(call.target)
        call.sources = self.leaves_of(call.sources)
        call.result = tuple(answers) if len(answers) == len(call.sources) else ()
        call.weights = None
        call.settled = True

    def leaves_of(self, structure: Any) -> tuple[Leaf, ...]:
        """The targets or sources of a call, be they live or settled already."""
        if isinstance(structure, tuple) and all(isinstance(part, Leaf) for part in structure):
            return structure
        found = []
        for place, value in leaves(structure):
            if value.__class__ is private.EagerTensor:
                found.append(Leaf(place, self.note(value), "tensor", value.dtype.name))
                continue
            handle = handle_of(value)
            key = None if handle is None else handle._id
            kind = "variable" if key is not None else type(value).__name__
            dtype = getattr(value, "dtype", "")
            own = value is not None and not isinstance(value, private.Variable)
            frozen = own and key is not None and not getattr(value, "trainable", True)
            found.append(Leaf(place, key, kind, str(getattr(dtype, "name", dtype)), frozen))
        return tuple(found)

    def _answer(self, value: Any, whole: int) -> Answer:
        if value is None:
            return Answer(None)
        if value.__class__ is private.EagerTensor:
            return Answer(self.note(value, whole, exact=True))
        dense = getattr(value, "values", getattr(value, "flat_values", None))
        if dense is None:
            return Answer(None)
        shape = value.shape
        full = None if shape.rank is None else tuple(shape.as_list())
        return Answer(
            self.note(dense, whole, exact=True), full, _rows(getattr(value, "indices", None))
        )


def handle_of(variable: Any) -> Any:
    """The resource handle of a variable, of TensorFlow's or of Keras's, or None."""
    variable = held_variable(variable)
    if not issubclass(type(variable), private.Variable):
        return None
    handle = getattr(variable, "handle", None)
    return handle if isinstance(handle, private.EagerTensor) else None


def held_variable(variable: Any) -> Any:
    """TensorFlow's variable where ``variable`` is Keras's own around it, else itself."""
    inner = getattr(variable, "_value", None)
    return inner if issubclass(type(inner), private.Variable) else variable
