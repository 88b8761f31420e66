"""Twins: a traced function with figures of its inside as further outputs, run in its place.

While a cell is recorded, each traced function that it calls runs as its twin: the same
graph, registered under another name, with some outputs more.  The user's Python is not
traced again, and only tensors are looked at whose being looked at leaves every bit of the
results as it was: gradients, what variables hold and what is added to them, the outputs
of layers, the loss.  Nothing of it stays when the recording ends.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from tfmagic.runtime import private
from tfmagic.runtime.capture.log import CompiledFunction, CompiledStep, Log, Tap
from tfmagic.runtime.compiled.keeper import Keeper, StepFunction, step_function
from tfmagic.runtime.compiled.reader import BRANCHES, CALLS, LOOPS, Function, Trained, data, maker
from tfmagic.runtime.op_traits import reason

__all__ = ["running_twins"]

_MINE = "tfmagic_"
_TWIN = re.compile(r"__tfmagic_twin_\d+")
#: Functions within functions that are looked into.
_DEEPEST = 8
#: Of a larger tensor mean, spread and zeros stand on about so many elements.
_SAMPLE = 8_192
#: Nodes of a function above which it runs as it is.
_LARGEST = 50_000
_F32, _VARIANT, _INT32, _INT64 = 1, 21, 3, 9  # enums of TensorFlow's dtypes


@contextmanager
def running_twins(log: Log) -> Iterator[None]:
    """Inside the block traced functions run as their twins, and ``log`` notes each call."""
    if not private.has("compiled"):
        yield
        return
    made = _Twins(log)
    owner = private.context_class()
    original = owner.call_function

    def call_function(self: Any, name: bytes, tensor_inputs: Any, num_outputs: int) -> Any:
        twin = made.of(name, tensor_inputs, sys._getframe(1))
        if twin is None:
            return original(self, name, tensor_inputs, num_outputs)
        return made.run(twin, name, tensor_inputs, num_outputs)

    with private.replaced(owner, "call_function", call_function):
        try:
            yield
        finally:
            made.remove()


class _Twins:
    """The twins of one recording, by the names of the functions that they stand for."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._known: dict[bytes, _Twin | None] = {}
        self._added: list[str] = []

    def of(self, name: bytes, inputs: Sequence[Any], caller: Any) -> _Twin | None:
        """The twin of a function, made when it is first called; None where it runs plain."""
        if name in self._known:
            return self._known[name]
        self._known[name] = None
        plain, found = name.decode(), None
        try:
            graph = getattr(caller.f_locals.get("self"), "graph", None)
            found = _Writer(self._register).twin(plain, graph, inputs)
        except Exception as error:  # ours to carry: the function runs as it is
            self._log.untapped[plain] = f"{type(error).__name__}: {error}"[:200]
        if found is not None:
            self._log.compiled[plain] = found.told
        self._known[name] = found
        return found

    def run(self, twin: _Twin, name: bytes, inputs: Any, count: int) -> Any:
        """One call: the function's own outputs; the figures go into the log."""
        told, keeper = twin.told, twin.keeper
        if keeper is not None:
            keeper.before(inputs)
        start, extra = perf_counter(), len(told.taps) + twin.batch
        try:
            made, attrs = private.call_unheard(twin.name, inputs, count + extra)
        except Exception as error:
            if isinstance(getattr(error, "_message", None), str):
                error._message = _TWIN.sub("", error._message)  # type: ignore[attr-defined]
            raise
        made = list(made)
        own, figures = made[:count], made[count : count + len(told.taps)]
        end, entry = perf_counter(), len(self._log.entries)
        told.add(CompiledStep(told.count, entry, start, end, tuple(figures)))
        if keeper is not None:
            keeper.after(inputs, made[count + len(told.taps) :], end - start)
        private.tell_callbacks(name.decode(), inputs, attrs, own)
        if self._log.progress is not None and told.trains:
            self._log.progress()
        return own or None

    def _register(self, definition: Any) -> str:
        definition.signature.name += f"__tfmagic_twin_{len(self._added)}"
        private.add_function(definition)
        self._added.append(definition.signature.name)
        return str(definition.signature.name)

    def remove(self) -> None:
        """Have TensorFlow forget every twin."""
        for name in self._added:
            private.remove_function(name)


class _Twin:
    """A registered twin: its name, what the log keeps of the function's calls, and how many
    tensors of the batch it gives besides, for who keeps steps."""

    __slots__ = ("batch", "keeper", "name", "told")

    def __init__(self, name: str, told: CompiledFunction, step: StepFunction | None) -> None:
        self.name, self.told = name, told
        self.batch = len(step.batch) if step is not None else 0
        self.keeper = Keeper(step, told) if step is not None else None


#: An output to be added to a function: its ref, and what stands in its columns.
_Extra = tuple[str, tuple[Tap, ...]]


class _Writer:
    """Writes twins: from the outermost function inwards, each with the figures of its own ops
    and those of the functions that it calls."""

    def __init__(self, register: Any) -> None:
        self._register = register
        self._flow = list[tuple[str, str]]()

    def twin(self, name: str, graph: Any, inputs: Sequence[Any]) -> _Twin | None:
        """The twin of a function that is called with ``inputs``; None with nothing to tell."""
        function = Function(name, graph)
        if len(function.nodes) > _LARGEST:
            raise ValueError(f"{len(function.nodes):,} nodes")
        for each in function.every():
            for node in each.nodes.values():
                if reason(node.op) == "random":  # its state is the function's own, not the twin's
                    raise ValueError(f"{node.op} draws from a state inside the function")
        keys = {
            argument: tensor._id
            for argument, tensor in zip(function.arguments, inputs, strict=False)
            if function.arguments[argument] == private.RESOURCE
        }
        step = step_function(function)
        extras = self._extended(function, keys, (), 0)
        if not extras:
            return None
        told = CompiledFunction(name, tuple(taps for _, taps in extras), flow=tuple(self._flow))
        if thrown := function.thrown_away:
            told.thrown_away = function.place(thrown)[:1]
        trains = any(tap.kind == "gradient" for _, taps in extras for tap in taps)
        step = step if trains else None
        outputs = [(ref, _F32) for ref, _ in extras]
        outputs += [(ref, function.kind(ref)) for ref in step.batch] if step is not None else []
        return _Twin(self._with_outputs(function, outputs), told, step)

    def _with_outputs(self, function: Function, outputs: Sequence[tuple[str, int]]) -> str:
        """Register a function with further outputs: refs, with the enums of their dtypes."""
        signature = function.definition.signature
        for place, (ref, kind) in enumerate(outputs):
            signature.output_arg.add(name=f"{_MINE}{place}", type=kind)
            function.definition.ret[f"{_MINE}{place}"] = ref
        return str(self._register(function.definition))

    def _extended(
        self, function: Function, keys: Mapping[str, int], path: tuple[str, ...], depth: int
    ) -> list[_Extra]:
        """Add to a function's nodes what tells its inside; answers the outputs to be added.

        ``keys`` says which variable comes in by which argument.
        """
        edit, found = _Editor(function), list[_Extra]()
        nodes = list(function.definition.node_def)
        for node in nodes if depth < _DEEPEST else ():
            if node.op in CALLS:
                found += self._call(function, node, keys, path, depth)
            elif function.compiled:
                continue  # XLA's loops and branches stay closed
            elif node.op in LOOPS:
                found += self._loop(function, edit, node, keys, path, depth)
            elif node.op in BRANCHES:
                found += self._branch(function, node, keys, path, depth)
        own = edit.figures(keys, path)
        if function.trained:
            self._flow += function.layer_edges
        return [own, *found] if own is not None else found

    def _inner(
        self, function: Function, name: str, refs: Sequence[str], keys: Mapping[str, int],
        path: tuple[str, ...], depth: int,
    ) -> tuple[Function, list[_Extra]]:  # fmt: skip
        """A function that another one calls with these refs, extended."""
        inner = Function(name, function.called_graph(name))
        given = {a: keys[r] for a, r in zip(inner.arguments, refs, strict=False) if r in keys}
        return inner, self._extended(inner, given, path, depth + 1)

    def _call(
        self, function: Function, node: Any, keys: Mapping[str, int], path: tuple[str, ...],
        depth: int,
    ) -> list[_Extra]:  # fmt: skip
        name = node.attr["f"].func.name
        inner, extras = self._inner(function, name, data(node), keys, (*path, node.name), depth)
        if not extras:
            return []
        before = len(node.attr["Tout"].list.type)
        node.attr["f"].func.name = self._with_outputs(inner, [(ref, _F32) for ref, _ in extras])
        node.attr["Tout"].list.type.extend([_F32] * len(extras))
        node.attr.pop("_output_shapes", None)
        return [(f"{node.name}:output:{before + i}", taps) for i, (_, taps) in enumerate(extras)]

    def _loop(
        self, function: Function, edit: _Editor, node: Any, keys: Mapping[str, int],
        path: tuple[str, ...], depth: int,
    ) -> list[_Extra]:  # fmt: skip
        """Each figure goes round with the loop as a list that grows by a row a turn."""
        refs, name = data(node), node.attr["body"].func.name
        inner, extras = self._inner(function, name, refs, keys, (*path, node.name), depth)
        if not extras:
            return []
        cond = Function(node.attr["cond"].func.name)
        inside, lists, found = _Editor(inner, "loop"), list[str](), list[_Extra]()
        before, handles = len(refs), list[str]()
        for place, (ref, taps) in enumerate(extras):
            argument, width = f"{_MINE}rows_{place}", sum(tap.width for tap in taps)
            for each in (inner, cond):
                each.definition.signature.input_arg.add(name=argument, type=_VARIANT)
            lists.append(
                inside.add(
                    "TensorListPushBack", [argument, ref], "output_handle", element_dtype=_F32
                )
            )
            shape, most = edit.constant([-1, width], _INT32), edit.constant(-1, _INT32)
            handles.append(
                edit.add(
                    "EmptyTensorList",
                    [shape, most],
                    "handle",
                    element_dtype=_F32,
                    shape_type=_INT32,
                )
            )
            given = [f"{node.name}:output:{before + place}", shape, edit.constant([], _INT64)]
            rows = edit.add(
                "TensorListConcatV2", given, "tensor", element_dtype=_F32, shape_type=_INT32
            )
            found.append((rows, taps))
        control = [ref for ref in node.input if ref[0] == "^"]
        del node.input[:]
        node.input.extend([*refs, *handles, *control])
        node.attr["T"].list.type.extend([_VARIANT] * len(extras))
        for _ in extras if node.attr["output_shapes"].list.shape else ():
            node.attr["output_shapes"].list.shape.add()
        node.attr.pop("_output_shapes", None)
        node.attr["body"].func.name = self._with_outputs(inner, [(ref, _VARIANT) for ref in lists])
        node.attr["cond"].func.name = self._register(cond.definition)
        return found

    def _branch(
        self, function: Function, node: Any, keys: Mapping[str, int], path: tuple[str, ...],
        depth: int,
    ) -> list[_Extra]:  # fmt: skip
        """Every branch gives the figures of all: those of the others have no row."""
        made = [
            self._inner(function, name, refs, keys, (*path, f"{node.name}/{i}"), depth)
            for i, (name, refs) in enumerate(function.called(node))
        ]
        every = [taps for _, extras in made for _, taps in extras]
        if not every:
            return []
        at, names = 0, []
        for inner, extras in made:
            edit = _Editor(inner, "branch")
            own = dict(enumerate((ref for ref, _ in extras), at))
            at += len(extras)
            refs = [own.get(place) or edit.no_rows(taps) for place, taps in enumerate(every)]
            names.append(self._with_outputs(inner, [(ref, _F32) for ref in refs]))
        called = (
            list(node.attr["branches"].list.func)
            if "branches" in node.attr
            else [node.attr["then_branch"].func, node.attr["else_branch"].func]
        )
        for target, name in zip(called, names, strict=True):
            target.name = name
        before = len(node.attr["Tout"].list.type)
        node.attr["Tout"].list.type.extend([_F32] * len(every))
        node.attr.pop("_output_shapes", None)
        for _ in every if node.attr["output_shapes"].list.shape else ():
            node.attr["output_shapes"].list.shape.add(unknown_rank=True)
        return [(f"{node.name}:output:{before + i}", taps) for i, taps in enumerate(every)]


class _Editor:
    """Adds nodes to a function."""

    def __init__(self, function: Function, prefix: str = "tap") -> None:
        self._function = function
        self._prefix = f"{_MINE}{prefix}/"
        self._count = 0
        self._constants: dict[str, str] = {}

    def add(
        self, op_type: str, inputs: Sequence[str], output: str, control: str = "", **attrs: Any
    ) -> str:
        """Add a node; answers the ref of its output."""
        self._count += 1
        name = f"{self._prefix}{op_type}_{self._count}"
        node = private.new_node(self._function.definition, name, op_type)
        node.input.extend([*inputs, *([f"^{control}"] if control else [])])
        for key, value in attrs.items():
            if isinstance(value, tuple):
                node.attr[key].i = value[0]
            else:
                node.attr[key].type = value
        return f"{name}:{output}:0"

    def constant(self, value: Any, kind: int) -> str:
        """A constant of the function, each made once."""
        key = f"{value!r} {kind}"
        if key not in self._constants:
            import tensorflow as tf

            ref = self.add("Const", [], "output", dtype=kind)
            proto = tf.make_tensor_proto(value, dtype=tf.dtypes.as_dtype(kind))
            self._function.definition.node_def[-1].attr["value"].tensor.CopyFrom(proto)
            self._constants[key] = ref
        return self._constants[key]

    def no_rows(self, taps: Sequence[Tap]) -> str:
        """Figures of what did not run."""
        import numpy as np

        return self.constant(np.zeros([0, sum(tap.width for tap in taps)], np.float32), _F32)

    # -- what is told ---------------------------------------------------------------------

    def figures(self, keys: Mapping[str, int], path: tuple[str, ...]) -> _Extra | None:
        """All that is told of this function's own ops, in one row; None where there is none."""
        taps, scalars = list[Tap](), list[str]()

        def tell(kind: str, key: Any, ref: str, figures: Sequence[str]) -> None:
            taps.append(Tap(kind, key, maker(ref), path, len(figures)))
            scalars.extend(figures)

        trained = [t for t in self._function.trained if t.resource in keys]
        for loss in dict.fromkeys(t.loss for t in trained if t.loss):
            tell("loss", loss, loss, [self._mean(loss)])
        for each in trained:
            key = keys[each.resource]
            tell("gradient", (key, each.loss), each.gradient, [self._squares(each.gradient)])
            layer = self._function.layer(maker(each.read)) if each.read else ""
            each = each._replace(read=each.read or self._read_before(each))
            tell("weight", (key, layer), each.read, [self._about(each.read)])
            if change := self._change(each):
                tell("update", key, each.assign, [self._squares(change)])
        for name, ref in self._function.metrics if taps or self._function.layer_outputs else ():
            tell("metric", name, ref, [self._mean(ref)])
        for output in self._function.layer_outputs:
            tell("layer", output.layer, output.ref, self._spread(output.ref))
        if not scalars:
            return None
        packed = self.add("Pack", scalars, "output", N=(len(scalars),), T=_F32, axis=(0,))
        first = self.constant(0, _INT32)
        return self.add("ExpandDims", [packed, first], "output", T=_F32, Tdim=_INT32), tuple(taps)

    def _single(self, ref: str) -> str:
        """The same numbers in single precision: in half the squares would overflow."""
        kind = self._function.kind(ref) or _F32  # one of our own
        return ref if kind == _F32 else self.add("Cast", [ref], "y", SrcT=kind, DstT=_F32)

    def _squares(self, ref: str) -> str:
        """Half the sum of the squares: one kernel tells the norm, and whether all is finite."""
        return self.add("L2Loss", [self._single(ref)], "output", T=_F32)

    def _flat(self, ref: str) -> str:
        every = self.constant([-1], _INT32)
        return self.add("Reshape", [self._single(ref), every], "output", T=_F32, Tshape=_INT32)

    def _mean(self, ref: str) -> str:
        first = self.constant([0], _INT32)
        return self.add("Mean", [self._flat(ref), first], "output", T=_F32, Tidx=_INT32)

    def _spread(self, ref: str) -> list[str]:
        """Of the whole half the sum of squares; of an evenly spread sample mean, half the sum of
        squares, share of zeros and number of elements."""
        flat, first = self._flat(ref), self.constant([0], _INT32)
        some, _ = self._sample(flat)
        zero = self.add("Equal", [some, self.constant(0.0, _F32)], "z", T=_F32)
        share = self.add("Cast", [zero], "y", SrcT=10, DstT=_F32)
        count = self.add("Size", [some], "output", T=_F32, out_type=_INT32)
        return [
            self.add("L2Loss", [flat], "output", T=_F32),
            self.add("Mean", [some, first], "output", T=_F32, Tidx=_INT32),
            self.add("L2Loss", [some], "output", T=_F32),
            self.add("Mean", [share, first], "output", T=_F32, Tidx=_INT32),
            self.add("Cast", [count], "y", SrcT=_INT32, DstT=_F32),
        ]

    def _sample(self, flat: str) -> tuple[str, str]:
        """Every so manieth element of a row of numbers, and how manieth (as a whole number)."""
        size = self.add("Size", [flat], "output", T=_F32, out_type=_INT32)
        part = self.add("FloorDiv", [size, self.constant(_SAMPLE, _INT32)], "z", T=_INT32)
        stride = self.add("AddV2", [part, self.constant(1, _INT32)], "z", T=_INT32)
        one = self.constant([1], _INT32)
        first, end, step = (
            self.constant([0], _INT32),
            *(
                self.add("Reshape", [value, one], "output", T=_INT32, Tshape=_INT32)
                for value in (size, stride)
            ),
        )
        some = self.add("StridedSlice", [flat, first, end, step], "output", T=_F32, Index=_INT32)
        return some, stride

    def _about(self, ref: str) -> str:
        """As :meth:`_squares`, of a large tensor by its sample: what a weight is changes slowly,
        and reading all of it at every step would cost as much as using it."""
        some, stride = self._sample(self._flat(ref))
        times = self.add("Cast", [stride], "y", SrcT=_INT32, DstT=_F32)
        return self.add("Mul", [self.add("L2Loss", [some], "output", T=_F32), times], "z", T=_F32)

    def _read_before(self, trained: Trained) -> str:
        """A read of our own, for which the assignment waits."""
        node = self._function.nodes[trained.assign]
        kind = self._function.kind(trained.gradient)
        ref = self.add("ReadVariableOp", [trained.resource], "value", dtype=kind)
        node.input.append(f"^{maker(ref)}")
        return ref

    def _change(self, trained: Trained) -> str:
        """What an assignment adds to or takes from its variable, or empty where that is unknown."""
        node, kind = self._function.nodes[trained.assign], self._function.kind(trained.gradient)
        given = data(node)
        if node.op in ("AssignAddVariableOp", "AssignSubVariableOp"):
            return given[1]
        if node.op == "AssignVariableOp":
            return self.add("Sub", [given[1], trained.read], "z", T=kind)
        if node.op.startswith("ResourceApply") or node.op in BRANCHES:
            held = trained.resource
            after = self.add("ReadVariableOp", [held], "value", control=node.name, dtype=kind)
            return self.add("Sub", [after, trained.read], "z", T=kind)
        return ""
