"""A traced graph as a recording: what would run, with the bodies of its functions inside.

A GraphDef comes of a ``tf.function``, of a SavedModel or of a file; all are read by the same
public protobuf messages, and nothing in them is run.  Calls of functions, and the bodies of
``while`` and ``cond``, are put in their place, each in a scope of its own, so that every view
of a recording can show and fold them.  There are no values but those of constants.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfmagic.language import Message
from tfmagic.model import Op, Recording, TensorInfo, Value, VariableInfo
from tfmagic.model.op_traits import ASSIGNS
from tfmagic.model.value import UNKNOWN
from tfmagic.runtime import private
from tfmagic.runtime.values.figures import as_real, describe, figures

__all__ = ["Weight", "read"]

#: Elements up to which a constant's value is read; a larger one is told by its shape.
_LARGEST = 1 << 20
_WHOLE = 16  # elements of a constant that are all kept
#: Nodes beyond which a call is left as one op: bodies within bodies may multiply.
MOST = 200_000
_DEEPEST = 40  # bodies within bodies, beyond which the same is done: one may call itself
_WIDEST = 10_000  # tensors of one output; only a damaged file says that there are more
_MOST_AXES = 254  # of a tensor of TensorFlow's; the shape of one with more means nothing
_STATES = ("VarHandleOp", "VariableV2", "Variable")
_CALLS = ("PartitionedCall", "StatefulPartitionedCall", "TPUPartitionedCall")
_LOOPS = ("While", "StatelessWhile")
_BRANCHES = ("If", "StatelessIf")
_NUMBERED = re.compile(r"^_*(?:inference|forward|backward)_+|_\d+$")
_READS = "ReadVariableOp"


@dataclass(frozen=True, slots=True)
class Weight:
    """A variable behind a resource that the graph is given: its name, shape, dtype."""

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str
    trainable: bool = True


def read(
    graph_def: Any,
    *,
    outputs: Iterable[str] | None = None,
    weights: Mapping[str, Weight] | None = None,
) -> Recording:
    """The recording of a GraphDef.

    ``outputs`` are the names of the nodes that matter: what does not lead to them is left
    out.  ``weights`` say which placeholders are variables, by their names.
    """
    private.demand("op_defs")
    reader = _Reader({f.signature.name: f for f in graph_def.library.function}, weights or {})
    nodes = _needed(list(graph_def.node), outputs) if outputs else list(graph_def.node)
    reader.body(_ordered(nodes), "", {}, strip="")
    return reader.recording()


@dataclass
class _Reader:
    """Goes through the nodes in the order in which they could run."""

    functions: Mapping[str, Any]
    weights: Mapping[str, Weight]
    ops: list[Op] = field(default_factory=list)
    tensors: list[TensorInfo] = field(default_factory=list)
    variables: list[VariableInfo] = field(default_factory=list)
    assigned: dict[int, list[int]] = field(default_factory=dict)
    reads: dict[int, list[int]] = field(default_factory=dict)
    uncalled: int = 0
    _nodes: int = 0
    _depth: int = 0
    _by_name: dict[str, int] = field(default_factory=dict)
    _starts: dict[tuple[str, str], int] = field(default_factory=dict)

    def recording(self) -> Recording:
        """What was read, as a recording without values."""
        import tensorflow as tf

        variables = tuple(
            VariableInfo(
                v.id, v.name, v.shape, v.dtype, v.device, v.trainable, v.label, v.value,
                tuple(self.reads.get(v.id, ())), tuple(self.assigned.get(v.id, ())),
            )
            for v in self.variables
        )  # fmt: skip
        notes = [Message.of("graph.traced")]
        if self.uncalled:
            notes.append(Message.of("graph.uncalled", n=self.uncalled))
        return Recording(
            ops=tuple(self.ops),
            tensors=tuple(self.tensors),
            variables=variables,
            versions=(("tensorflow", tf.__version__),),
            said=tuple(notes),
        )

    # -- nodes ----------------------------------------------------------------------------

    def body(
        self, nodes: Iterable[Any], scope: str, known: dict[str, list[int]], *, strip: str
    ) -> dict[str, list[int]]:
        """Read the nodes of a graph or of a function; the tensors by the names of their nodes.

        ``known`` are the arguments, ``strip`` what the names in a body begin with needlessly.
        """
        for node in nodes:
            self._nodes += 1
            inputs = [
                tensor
                for name in node.input
                if not name.startswith("^")
                for tensor in self._given(name, known)
            ]
            known[node.name] = self._node(node, inputs, _inside(scope, node.name, strip))
        return known

    def _given(self, name: str, known: Mapping[str, list[int]]) -> Iterator[int]:
        """The tensor that ``node``, ``node:1`` or ``node:output:1`` stands for."""
        maker, *place = name.split(":")
        tensors = known.get(maker, [])
        index = int(place[-1]) if place and place[-1].isdigit() else 0
        if len(place) == 2:
            index += self._starts.get((maker, place[0]), 0)  # of a function's named output
        if index < len(tensors):
            yield tensors[index]

    def _node(self, node: Any, inputs: list[int], scope: str) -> list[int]:
        """What one node gives."""
        self._note_starts(node)
        if node.op == "Const":
            return [self._constant(node)]
        if node.op.startswith("Placeholder") or node.op in ("_Arg", "Arg"):
            return [self._argument(node)]
        if node.op in _STATES:
            return [self._state(node)]
        if node.op == "Identity" and len(inputs) == 1:
            return inputs
        if node.op in _CALLS and (inside := self._function(node.attr["f"].func.name)):
            return self._call(inside, inputs, f"{scope}{_short(inside.signature.name)}()/", node)
        if node.op in _LOOPS:
            return self._loop(node, inputs, scope)
        if node.op in _BRANCHES:
            return self._branches(node, inputs, scope)
        return self._op(node, inputs, scope)

    def _note_starts(self, node: Any) -> None:
        definition = private.op_definition(node.op)
        start = 0
        for output in definition.output_arg if definition is not None else ():
            self._starts[(node.name, output.name)] = start
            start += _width(output, node)

    def _function(self, name: str) -> Any:
        if self._nodes > MOST or self._depth >= _DEEPEST:
            self.uncalled += 1
            return None
        return self.functions.get(name)

    # -- functions ------------------------------------------------------------------------

    def _call(self, function: Any, inputs: Sequence[int], scope: str, node: Any) -> list[int]:
        """The body of a function in the place of its call."""
        known: dict[str, list[int]] = {}
        rest = list(inputs)
        for argument in function.signature.input_arg:
            known[argument.name] = [rest.pop(0)] if rest else []
        starts, self._starts = self._starts, {}
        self._depth += 1
        known = self.body(_ordered(function.node_def), scope, known, strip=node.name)
        self._depth -= 1
        results = [
            tensor
            for output in function.signature.output_arg
            for tensor in self._given(function.ret[output.name], known)
        ]
        self._starts = starts
        return results

    def _loop(self, node: Any, inputs: list[int], scope: str) -> list[int]:
        """The test and the body, each once, and the op that decides between them."""
        within = f"{scope}{_leaf(node)}/"
        taken = list(inputs)
        for attr, word in (("cond", "test"), ("body", "body")):
            if function := self._function(node.attr[attr].func.name):
                taken = [*taken, *self._call(function, inputs, f"{within}{word}/", node)]
        return self._op(node, taken, within)

    def _branches(self, node: Any, inputs: list[int], scope: str) -> list[int]:
        """Both branches, and the op that takes one of them."""
        within = f"{scope}{_leaf(node).replace('cond', 'if')}/"
        taken = inputs[:1]
        for attr, word in (("then_branch", "then"), ("else_branch", "else")):
            if function := self._function(node.attr[attr].func.name):
                taken += self._call(function, inputs[1:], f"{within}{word}/", node)
        return self._op(node, taken, within)

    # -- single things ----------------------------------------------------------------------

    def _op(self, node: Any, inputs: Sequence[int], scope: str) -> list[int]:
        index = len(self.ops)
        shapes, dtypes = _shapes(node), list(_dtypes(node))
        variable = self.tensors[inputs[0]].variable if inputs else None
        handle = bool(inputs) and self.tensors[inputs[0]].role == "handle"
        reads = node.op == _READS and handle
        outputs = []
        for place, dtype in enumerate(dtypes):
            shape = shapes[place] if place < len(shapes) else None
            outputs.append(
                self._tensor(
                    shape,
                    dtype,
                    role="read" if reads else "op",
                    op=index,
                    output=place,
                    variable=variable if reads else None,
                )
            )
        if variable is not None and handle:
            if reads:
                self.reads.setdefault(variable, []).extend(outputs)
            elif ASSIGNS.match(node.op):
                self.assigned.setdefault(variable, []).append(index)
        function = _short(node.attr["f"].func.name) if node.op in _CALLS else ""
        self.ops.append(
            Op(
                index,
                node.op,
                inputs=tuple(inputs),
                outputs=tuple(outputs),
                attrs=tuple(_attrs(node)),
                scope=scope.rstrip("/"),
                device=node.device,
                function=function,
            )
        )
        return outputs

    def _tensor(self, shape: tuple[int | None, ...] | None, dtype: str, **fields: Any) -> int:
        size = 0
        if shape is not None and None not in shape:
            size = int(np.prod([n or 0 for n in shape], dtype=np.int64)) * _item(dtype)
        self.tensors.append(TensorInfo(len(self.tensors), shape, dtype, "", bytes=size, **fields))
        return len(self.tensors) - 1

    def _constant(self, node: Any) -> int:
        import tensorflow as tf

        proto = node.attr["value"].tensor
        shape = _shape(proto.tensor_shape)
        small = shape is not None and math.prod(n or 0 for n in shape) <= _LARGEST
        value = UNKNOWN
        if small:
            try:
                value = _described(tf.make_ndarray(proto))
            except Exception:  # a damaged or exotic constant is told by its shape
                value = UNKNOWN
        name = node.name.split("/")[-1] if value.data is None else ""
        return self._tensor(shape, _dtype(proto.dtype), role="input", value=value, name=name)

    def _argument(self, node: Any) -> int:
        weight = self.weights.get(node.name)
        if weight is not None:
            return self._handle(weight)
        shapes = _shapes(node)
        dtype = _dtype(node.attr["dtype"].type)
        given = node.attr["_user_specified_name"].s.decode("utf-8", "replace")
        return self._tensor(
            shapes[0] if shapes else _shape(node.attr["shape"].shape),
            dtype,
            role="input",
            name=given or node.name,
            value=Value(absent="traced"),
        )

    def _state(self, node: Any) -> int:
        shared = node.attr["shared_name"].s.decode("utf-8", "replace")
        dtype = _dtype(node.attr["dtype"].type)
        return self._handle(Weight(shared or node.name, _shape(node.attr["shape"].shape), dtype))

    def _handle(self, weight: Weight) -> int:
        """A variable, once, and the handle through which it is reached."""
        variable = self._by_name.setdefault(weight.name, len(self.variables))
        if variable == len(self.variables):
            self.variables.append(
                VariableInfo(
                    variable, weight.name, weight.shape, weight.dtype, "", weight.trainable
                )
            )
        return self._tensor(
            (), "resource", role="handle", variable=variable, value=Value(absent="resource")
        )


def _described(array: Any) -> Value:
    """A small value as it is, of a larger one the figures."""
    if array.size <= _WHOLE or array.dtype.kind not in "fiub":
        return describe(array) if array.size <= _WHOLE else Value(absent="string")
    return Value(stats=figures(as_real(array).reshape(-1), array.size))


# --- protobuf messages -------------------------------------------------------------------


def _inside(scope: str, name: str, strip: str) -> str:
    """The scope of a node: that of its body, and what its own name says."""
    if strip and name.startswith(f"{strip}/"):
        name = name[len(strip) + 1 :]
    own, _, _ = name.rpartition("/")
    return f"{scope}{own}/" if own else scope


def _leaf(node: Any) -> str:
    return str(node.name.split("/")[-1])


def _short(name: str) -> str:
    """``__inference_step_42`` → ``step``."""
    while (shorter := _NUMBERED.sub("", name)) != name:
        name = shorter
    return name


def _width(output: Any, node: Any) -> int:
    """How many tensors one output of a node is."""
    if output.number_attr:
        return min(int(node.attr[output.number_attr].i), _WIDEST)
    if output.type_list_attr:
        return len(node.attr[output.type_list_attr].list.type)
    return 1


def _dtypes(node: Any) -> Iterator[str]:
    """The dtypes of all outputs, in order."""
    definition = private.op_definition(node.op)
    for output in definition.output_arg if definition is not None else ():
        if output.type_list_attr:
            yield from map(_dtype, node.attr[output.type_list_attr].list.type)
            continue
        dtype = output.type or node.attr[output.type_attr].type
        yield from [_dtype(dtype)] * _width(output, node)


def _dtype(enum: int) -> str:
    import tensorflow as tf

    try:
        return str(tf.dtypes.as_dtype(enum).name)
    except (TypeError, KeyError):
        return ""


def _item(dtype: str) -> int:
    import tensorflow as tf

    try:
        return tf.dtypes.as_dtype(dtype).size or 0
    except TypeError:
        return 0


def _shapes(node: Any) -> list[tuple[int | None, ...] | None]:
    return [_shape(shape) for shape in node.attr["_output_shapes"].list.shape]


def _shape(proto: Any) -> tuple[int | None, ...] | None:
    if proto.unknown_rank or len(proto.dim) > _MOST_AXES:
        return None
    return tuple(None if dim.size < 0 else dim.size for dim in proto.dim)


def _attrs(node: Any) -> Iterator[tuple[str, Any]]:
    """The attributes that say something, as plain data."""
    for name in sorted(node.attr):
        value = node.attr[name]
        kind = value.WhichOneof("value")
        if name.startswith("_") or kind in (None, "tensor", "func", "list", "shape"):
            continue
        if kind == "type":
            yield name, _dtype(value.type)
        elif kind == "s":
            yield name, value.s[:200].decode("utf-8", "replace")
        else:
            yield name, getattr(value, kind)


# --- order -------------------------------------------------------------------------------


def _makers(node: Any) -> Iterator[str]:
    for name in node.input:
        yield name.lstrip("^").partition(":")[0]


def _needed(nodes: Sequence[Any], outputs: Iterable[str]) -> list[Any]:
    """The nodes that lead to ``outputs``."""
    by_name = {node.name: node for node in nodes}
    todo = [name.lstrip("^").partition(":")[0] for name in outputs]
    found: set[str] = set()
    while todo:
        name = todo.pop()
        if name in by_name and name not in found:
            found.add(name)
            todo.extend(_makers(by_name[name]))
    return [node for node in nodes if node.name in found]


def _ordered(nodes: Iterable[Any]) -> list[Any]:
    """The nodes so that each stands after those it takes from; loops are cut where they close.

    Among those that could come next one of the same scope is taken, so that what belongs
    together stands together, whatever order the file has.
    """
    nodes = list(nodes)
    place = {node.name: i for i, node in enumerate(nodes)}
    waits = [0] * len(nodes)
    takers: dict[int, list[int]] = {}
    for i, node in enumerate(nodes):
        for maker in set(_makers(node)):
            if maker in place and nodes[place[maker]].op != "NextIteration":
                waits[i] += 1
                takers.setdefault(place[maker], []).append(i)
    if all(place.get(m, -1) < i for i, node in enumerate(nodes) for m in _makers(node)):
        return nodes
    return [nodes[i] for i in _walk(nodes, waits, takers)]


def _walk(nodes: Sequence[Any], waits: list[int], takers: dict[int, list[int]]) -> Iterator[int]:
    import heapq

    def scope(place: int) -> str:
        return str(nodes[place].name.rpartition("/")[0])

    ready = [i for i, count in enumerate(waits) if not count]
    heapq.heapify(ready)
    by_scope: dict[str, list[int]] = {}
    for i in ready:
        heapq.heappush(by_scope.setdefault(scope(i), []), i)
    done: set[int] = set()
    last = ""
    while ready:
        same = by_scope.get(last)
        while same and same[0] in done:
            heapq.heappop(same)
        now = heapq.heappop(same) if same else heapq.heappop(ready)
        if now in done:
            continue
        done.add(now)
        last = scope(now)
        yield now
        for taker in takers.get(now, ()):
            waits[taker] -= 1
            if not waits[taker]:
                heapq.heappush(ready, taker)
                heapq.heappush(by_scope.setdefault(scope(taker), []), taker)
    yield from (i for i in range(len(nodes)) if i not in done)
