"""What a few untimed runs do: their ops, their devices, the functions that they trace and call."""

from __future__ import annotations

import inspect
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from types import FrameType
from typing import Any

from tfmagic.analysis.flops import operations
from tfmagic.model.bench import Remark
from tfmagic.runtime import private
from tfmagic.runtime.capture.interrupts import interrupts_put_off
from tfmagic.runtime.capture.source import is_user_file

__all__ = [
    "Functions",
    "Heard",
    "calls_watched",
    "hearing",
    "traced_anew",
    "tracing_watched",
]

#: The ops that call a function, as the runtime names them.
FUNCTION = re.compile(r"__(?:inference|forward|backward)_|(?:Stateful)?PartitionedCall")
#: Methods of a Keras model that run a compiled step, and do things of their own around it.
TRAINER = ("fit", "evaluate", "predict", "train_on_batch", "test_on_batch", "predict_on_batch")


@dataclass(slots=True)
class Heard:
    """The eager ops of one or more runs: how often each kind ran, on which devices, with which
    shapes functions were called, and the floating-point operations."""

    counts: Counter[str] = field(default_factory=Counter)
    devices: set[str] = field(default_factory=set)
    shapes: dict[str, set[tuple[Any, ...]]] = field(default_factory=dict)
    flops: int = 0
    flops_whole: bool = True
    half: bool = False

    @property
    def share_of_calls(self) -> float:
        """How many of the ops were calls of functions, of 1."""
        calls = sum(count for kind, count in self.counts.items() if FUNCTION.match(kind))
        return calls / max(1, self.counts.total())

    def add(self, kind: str, inputs: Any, attrs: Any, outputs: Any) -> None:
        """Count one op."""
        self.counts[kind] += 1
        self.devices.update(t.device for t in outputs if isinstance(t, private.EagerTensor))
        if FUNCTION.match(kind):
            shapes = tuple(tuple(getattr(t, "shape", ())) for t in inputs)
            self.shapes.setdefault(kind, set()).add(shapes)
        self._add_operations(kind, inputs, attrs, outputs)

    def _add_operations(self, kind: str, inputs: Any, attrs: Any, outputs: Any) -> None:
        """The op's floating-point operations; whole numbers and text have none."""
        dtypes = {t.dtype for t in outputs if isinstance(t, private.EagerTensor)}
        floating = any(dtype.is_floating or dtype.is_complex for dtype in dtypes)
        if not floating and not FUNCTION.match(kind):
            return
        given, made = ([tuple(getattr(t, "shape", ())) for t in part] for part in (inputs, outputs))
        settings = dict(zip(attrs[::2], attrs[1::2], strict=False)) if attrs else {}
        try:
            count, whole = operations(kind, given, made, settings)
        except (TypeError, ValueError, IndexError):  # shapes that are not known: not counted
            count, whole = 0, False
        self.flops += count
        self.flops_whole = self.flops_whole and whole
        self.half = self.half or any(dtype.is_floating and dtype.size < 4 for dtype in dtypes)


@contextmanager
def hearing() -> Iterator[Heard]:
    """Hear every eager op of this thread while the block runs.

    An interrupt comes after TensorFlow is done with the op that is being heard.
    """
    heard = Heard()

    def note(
        kind: Any, inputs: Any, attrs: Any, outputs: Any, op_name: Any = None, graph: Any = None
    ) -> None:
        if graph is None:  # else traced into a graph, not run
            heard.add(kind.decode() if isinstance(kind, bytes) else kind, inputs, attrs, outputs)
        if interrupts.waiting:
            interrupts.hand_on(sys._getframe(1))

    with interrupts_put_off(frozenset({note.__code__})) as interrupts:
        private.add_callback(note)
        try:
            yield heard
        finally:
            private.remove_callback(note)


@dataclass(frozen=True, slots=True)
class _Traced:
    """One tracing: the function's name, what it is made in, its cache, the arguments' types, and
    whether the user wrote it: what Keras and data sets trace is theirs to answer for."""

    name: str
    maker: str
    cache: Any
    types: dict[str, str]
    own: bool

    @classmethod
    def of(cls, function_type: Any, options: Any) -> _Traced:
        """What TensorFlow is about to trace."""
        function = inspect.unwrap(options.python_function)
        around, _, last = getattr(function, "__qualname__", options.name).rpartition(".<locals>.")
        parameters = getattr(function_type, "parameters", {})
        types = {name: str(p.type_constraint) for name, p in parameters.items()}
        name = "lambda" if last == "<lambda>" else last.rpartition(".")[2]
        code = getattr(function, "__code__", None)
        own = code is None or is_user_file(code.co_filename)
        maker = "" if around.startswith("_tfbench") else around.rpartition(".")[2]
        return cls(name or options.name, maker, options.function_cache, types, own)


@dataclass(slots=True)
class Functions:
    """The functions that a block traced and called; all times are in seconds.

    ``tracing`` is what tracing took, ``calling`` the compiled code; ``called`` are the names of
    the functions, and ``method`` is that of Keras's around them, where there is one.  ``xla``
    says whether XLA compiled one of them, ``share`` how many of the ops were such calls.
    """

    traced: list[_Traced] = field(default_factory=list)
    tracing: float = 0.0
    calling: float = 0.0
    called: dict[str, None] = field(default_factory=dict)
    method: str = ""
    seconds: float = 0.0
    xla: bool = False
    share: float = 0.0

    @property
    def mostly_compiled(self) -> bool:
        """Whether the block mostly calls functions, tracing included, or a method of Keras's."""
        return bool(self.method) or max(self.share, self._time_share) >= 0.5

    @property
    def _time_share(self) -> float:
        return (self.calling + self.tracing) / self.seconds if self.seconds else 0.0

    def own(self) -> list[_Traced]:
        """What was traced of the user's."""
        return [traced for traced in self.traced if traced.own]


@contextmanager
def tracing_watched(found: Functions | None = None) -> Iterator[Functions]:
    """Notice what is traced inside the block, and for how long; what is traced within another
    tracing is a part of it."""
    seen, depth = found or Functions(), 0
    owner, original = private.tracer()
    if original is None:
        yield seen
        return

    def traced(function_type: Any, context: Any, graph: Any, options: Any) -> Any:
        nonlocal depth
        if depth == 0:
            seen.traced.append(_Traced.of(function_type, options))
        depth, start = depth + 1, perf_counter()
        try:
            return original(function_type, context, graph, options)
        finally:
            depth -= 1
            if depth == 0:
                seen.tracing += perf_counter() - start

    with private.replaced(owner, original.__name__, traced):
        yield seen


@contextmanager
def calls_watched() -> Iterator[Functions]:
    """Notice too which functions are called inside the block, and how long these calls take."""
    owner, seen, depth = private.context_class(), Functions(), 0
    original = owner.call_function

    def called(self: Any, name: Any, inputs: Any, count: int) -> Any:
        nonlocal depth
        if depth == 0:
            if _plain(name) not in seen.called:
                seen.xla = seen.xla or _for_xla(name)
            seen.called[_plain(name)] = None
            seen.method = seen.method or _trainer(sys._getframe(1))
        depth, start = depth + 1, perf_counter()
        try:
            return original(self, name, inputs, count)
        finally:
            depth -= 1
            if depth == 0:
                seen.calling += perf_counter() - start

    with private.replaced(owner, "call_function", called), tracing_watched(seen):
        start = perf_counter()
        yield seen
        seen.seconds = perf_counter() - start


def _plain(name: Any) -> str:
    """``frame`` of ``b"__inference_frame_123"``."""
    text = name.decode() if isinstance(name, bytes) else str(name)
    return re.sub(r"^__(?:inference|forward|backward)_(.*?)_\d+$", r"\1", text)


def _for_xla(name: Any) -> bool:
    """Whether a function is one that XLA compiles as a whole."""
    definition = private.context().get_function_def(name)
    return bool(definition.attr["_XlaMustCompile"].b)


def _trainer(frame: FrameType | None) -> str:
    """The method of Keras's that calls, as the user called it; nothing where there is none."""
    found = ""
    while frame is not None:
        code = frame.f_code
        if code.co_name in TRAINER and "keras" in code.co_filename:
            found = code.co_name
        frame = frame.f_back
    return found


def traced_anew(runs: Sequence[Functions]) -> Remark | None:
    """Why a function is traced at every run, where each of the ``runs`` traced one that the one
    before had traced, too."""
    if len(runs) < 2 or not all(run.own() for run in runs):
        return None
    before, last = runs[-2].own()[-1], runs[-1].own()[-1]
    if before.name != last.name:
        return Remark.of("anew", name=last.name)
    if before.cache is not last.cache:
        code = "anew_made_inside" if last.maker else "anew_made"
        return Remark.of(code, name=last.name, maker=last.maker)
    for argument, now in last.types.items():
        if before.types.get(argument) != now:
            code = "anew_number" if now.startswith("Literal") else "anew_argument"
            return Remark.of(code, name=last.name, argument=argument)
    return Remark.of("anew", name=last.name)
