"""All that a cell ran, as plain data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from tfmagic.language import Message
from tfmagic.model.derivative import Hessian, Jacobian
from tfmagic.model.gradient import GradientCall
from tfmagic.model.reduction import Reduction
from tfmagic.model.run import Run
from tfmagic.model.trace import Frozen, Trace
from tfmagic.model.value import UNKNOWN, Value
from tfmagic.model.verdict import Verdict

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of the user's source: a notebook cell, or the file of a script."""

    index: int
    label: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the user's code; ``number`` counts from 1 within its cell."""

    index: int
    cell: int
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Frame:
    """A step of the way from the cell to an op: the function, and the line in it."""

    function: str
    line: int


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor that was seen.

    ``id`` is its index in :attr:`Recording.tensors`.  ``role`` is ``"op"`` (an
    output of a recorded op), ``"read"`` (a variable's value as an op read it),
    ``"input"`` (it was there before: a constant, or made by an earlier cell) or
    ``"handle"`` (a variable's resource handle).  ``op`` and ``output`` say which
    output of which op it is.  ``variable`` is the variable it is a read of, be it by
    an explicit op or an implicit one.  ``name`` is the user's own name, or empty.
    """

    id: int
    shape: tuple[int | None, ...] | None
    dtype: str
    device: str
    role: str = "op"
    op: int | None = None
    output: int = 0
    variable: int | None = None
    name: str = ""
    value: Value = UNKNOWN
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class VariableInfo:
    """One variable that was read or assigned; ``reads`` are the tensors read from it."""

    id: int
    name: str
    shape: tuple[int | None, ...] | None
    dtype: str
    device: str
    trainable: bool
    label: str = ""
    value: Value = UNKNOWN
    reads: tuple[int, ...] = ()
    assigned_by: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Op:
    """One executed TensorFlow operation.

    ``inputs`` and ``outputs`` index :attr:`Recording.tensors`.  ``kind`` is
    ``"forward"`` or ``"backward"``; ``differentiates`` is the forward op that a
    backward op belongs to and ``call`` the gradient call that ran it.  ``scope`` is
    TensorFlow's name scope (``sequential/dense``).  ``line`` is the innermost line of
    the user's code, ``stack`` the way to it, outermost first.  It ran on ``device``; ``sent`` is
    the one that a ``tf.device`` around it named, or empty.  ``duration`` is the time in seconds
    from the op recorded before it to the end of this one: an upper bound, Python included.
    ``function`` is the name of the ``tf.function`` where the op is a call of one,
    ``own_gradient`` the name of the ``tf.custom_gradient`` whose result it gives, ``turn`` the
    turn (from 1) of the compiled loop that it stands in.
    """

    index: int
    type: str
    kind: str = "forward"
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    attrs: tuple[tuple[str, Any], ...] = ()
    scope: str = ""
    line: int | None = None
    stack: tuple[Frame, ...] = ()
    device: str = ""
    sent: str = ""
    duration: float = 0.0
    differentiates: int | None = None
    call: int | None = None
    cell: int = 0
    function: str = ""
    own_gradient: str = ""
    turn: int = 0

    @property
    def title(self) -> str:
        """What it is called: ``step()`` for a call of a ``tf.function``, else its type."""
        return f"{self.function}()" if self.function else self.type


@dataclass(frozen=True, slots=True)
class Exit:
    """A place where a tensor's value went to Python: the tape cannot follow it there.

    ``how`` is ``"numpy"``, ``"float"``, ``"int"``, ``"bool"`` …; ``op`` is the number of
    ops that had run by then.
    """

    tensor: int
    how: str
    line: int
    op: int


@dataclass(frozen=True, slots=True)
class TracedFunction:
    """The Python behind calls of one ``tf.function``.

    ``ops`` are the calls; ``mentions`` the global, enclosed and attribute names in its code
    and in the user's functions that it calls; ``line`` is where its code begins.
    """

    name: str
    ops: tuple[int, ...]
    mentions: tuple[str, ...] = ()
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Places:
    """The devices when a recording was made, by their full names.

    ``devices`` are those that there were, ``default`` the one that the session was told to
    use (empty: TensorFlow chose), ``soft`` whether an op that could not run where it was sent
    ran elsewhere.  ``no_kernel`` are pairs of an op's type and a kind of device on which
    TensorFlow cannot run it, for the ops that did not run on that kind.
    """

    devices: tuple[str, ...] = ()
    default: str = ""
    soft: bool = True
    no_kernel: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Body:
    """What ran inside one call of a ``tf.function``, op by op.

    ``op`` is the call.  ``ops`` and ``tensors`` are numbered from 0 within the body;
    ``inputs`` and ``outputs`` are the tensors that stand for those of the call.
    ``gradients`` pairs a tensor with the one that holds its gradient.  Values are unknown
    where the function could not be run once more.
    """

    op: int
    ops: tuple[Op, ...] = ()
    tensors: tuple[TensorInfo, ...] = ()
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    gradients: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that was not seen: ``code`` for programs, ``message`` for people."""

    code: str
    said: Message
    count: int = 1

    @property
    def message(self) -> str:
        """What was not seen, in the language that is spoken now."""
        return str(self.said)

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class Failure:
    """The exception that ended the cell."""

    type: str
    message: str
    line: int | None = None


class Numbered(tuple[T, ...]):
    """A part of something whose members keep their numbers: ``ops[17]`` is the op number 17.

    It is gone through in its own order; negative numbers and slices count in that.
    """

    _by_number: dict[int, T]

    @classmethod
    def of(cls, members: tuple[T, ...], number: str) -> tuple[T, ...]:
        """The members by the attribute ``number``: as they are where that is their place."""
        if not members or getattr(members[-1], number) == len(members) - 1:
            return members
        made = cls(members)
        made._by_number = {getattr(member, number): member for member in members}
        return made

    def __getitem__(self, which: Any) -> Any:
        if isinstance(which, int) and which >= 0:
            return self._by_number[which]
        return super().__getitem__(which)

    def __reversed__(self) -> Iterator[T]:
        return iter(self[::-1])


@dataclass(frozen=True)
class Recording:
    """All that a cell (or a ``with tfmagic.record()`` block) ran.

    ``complete`` lists what was *not* seen, and why; it is empty when all was.
    ``tensor_gradients`` maps a forward tensor's id to the tensor that holds its
    gradient, for the last gradient call that reached it.  ``no_gradient`` are the types
    of op in it that TensorFlow knows to have no gradient at all.  ``exits`` are the places
    where a value left TensorFlow; what numpy takes through a tensor's memory is not among
    them.  ``functions`` say what the ``tf.function`` calls are made of, ``bodies`` what ran
    inside those through which a gradient was in trouble.  ``rebound`` pairs a source that had
    been a Variable before the recording with the line that made it a tensor.
    ``jacobians`` and ``hessians`` are there where they were asked for.  ``runs`` are the training
    runs in it, ``traces`` the times that a function was traced, ``frozen`` what tracing fixed in
    one that was then called again, ``remarks`` what is wrong beside gradients.

    ``ops``, ``tensors``, ``variables`` and ``gradients`` are looked up by their numbers.  In a
    part of a story of ``story`` ops (0: this is all of it) they keep those that they have there.
    """

    ops: tuple[Op, ...] = ()
    tensors: tuple[TensorInfo, ...] = ()
    variables: tuple[VariableInfo, ...] = ()
    lines: tuple[Line, ...] = ()
    cells: tuple[Cell, ...] = ()
    gradients: tuple[GradientCall, ...] = ()
    complete: tuple[Gap, ...] = ()
    failure: Failure | None = None
    tensor_gradients: tuple[tuple[int, int], ...] = ()
    no_gradient: tuple[str, ...] = ()
    seconds: float = 0.0
    versions: tuple[tuple[str, str], ...] = ()
    said: tuple[Message, ...] = ()
    places: Places = Places()
    op_seconds: tuple[tuple[int, float], ...] = ()
    reductions: tuple[Reduction, ...] = ()
    exits: tuple[Exit, ...] = ()
    functions: tuple[TracedFunction, ...] = ()
    bodies: tuple[Body, ...] = ()
    rebound: tuple[tuple[str, int], ...] = ()
    jacobians: tuple[Jacobian, ...] = ()
    hessians: tuple[Hessian, ...] = ()
    runs: tuple[Run, ...] = ()
    story: int = 0

    def __post_init__(self) -> None:
        for name in ("ops", "tensors", "variables", "gradients"):
            number = "index" if name in ("ops", "gradients") else "id"
            object.__setattr__(self, name, Numbered.of(getattr(self, name), number))

    traces: tuple[Trace, ...] = ()
    frozen: tuple[Frozen, ...] = ()
    remarks: tuple[Verdict, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What else there is to say of it (``said``), in the language that is spoken now."""
        return tuple(map(str, self.said))

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdict of every gradient, in the order they were asked, then the remarks."""
        every = (g.verdict for call in self.gradients for g in call.gradients if g.verdict)
        return (*every, *self.remarks)

    def call(self, index: int) -> GradientCall | None:
        """The gradient call with this number, where it was recorded."""
        return self._calls.get(index)

    @cached_property
    def _calls(self) -> dict[int, GradientCall]:
        return {call.index: call for call in self.gradients}

    @cached_property
    def forward(self) -> tuple[Op, ...]:
        """The forward ops, in the order they ran."""
        return tuple(op for op in self.ops if op.kind == "forward")

    @cached_property
    def backward(self) -> tuple[Op, ...]:
        """The backward ops, in the order they ran."""
        return tuple(op for op in self.ops if op.kind == "backward")

    @cached_property
    def differentiating(self) -> dict[int, list[Op]]:
        """For each forward op's index the backward ops that differentiate it, in their order."""
        found: dict[int, list[Op]] = {}
        for op in self.backward:
            if op.differentiates is not None:
                found.setdefault(op.differentiates, []).append(op)
        return found

    @cached_property
    def consumers(self) -> dict[int, tuple[int, ...]]:
        """For each tensor id the ops that take it, each once, in order."""
        found: dict[int, dict[int, None]] = {}
        for op in self.ops:
            for tensor in op.inputs:
                found.setdefault(tensor, {})[op.index] = None
        return {tensor: tuple(ops) for tensor, ops in found.items()}

    @cached_property
    def gradient_of(self) -> dict[int, int]:
        """Forward tensor id → id of the tensor that holds its gradient."""
        return dict(self.tensor_gradients)

    def variable_edges(self) -> tuple[tuple[str, int], ...]:
        """Every edge from a variable: ``(variable name, index of the op that uses it)``.

        The op that merely reads the variable is stepped over: the edge leads to the
        forward ops that take the value that was read.  Assignments are no such edge.
        """
        return tuple(
            (variable.name, op) for variable in self.variables for op in self._users(variable)
        )

    def _users(self, variable: VariableInfo) -> Iterator[int]:
        for op in self.forward:
            if op.type == "ReadVariableOp" or op.index in variable.assigned_by:
                continue
            if any(self.tensors[t].variable == variable.id for t in op.inputs):
                yield op.index

    def find(self, name: str) -> TensorInfo | None:
        """The last tensor that bears the user's ``name``, or None."""
        for tensor in reversed(self.tensors):
            if tensor.name == name:
                return tensor
        return None

    def to_json(self) -> str:
        """The recording as versioned JSON; :func:`tfmagic.load` reads it back."""
        from tfmagic.model.serial import to_json

        return to_json(self)
