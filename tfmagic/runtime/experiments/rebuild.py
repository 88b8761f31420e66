"""A step's function built anew from its graph, on copies of the variables, with a change in it.

The forward ops are made as they stand in the graph, each through the hook of the change;
gradients are TensorFlow's own of what came out; the ops of the optimiser follow as they
were.  None of the user's Python runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tfmagic.model.op_traits import READS
from tfmagic.runtime import private
from tfmagic.runtime.capture.log import KeptStep, KeptSteps
from tfmagic.runtime.compiled.reader import Function, data

__all__ = ["Change", "Rebuilt"]

#: Attributes that belong to the graph that a node was read from.
_OWN = ("_output_shapes", "_class", "_gradient_op_type", "_XlaHasReferenceVars")
#: The rate at which is learned what did not.
_RATE = 0.01
#: A value by its ref, and what a node is about to give: its outputs, or None to make it as it is.
Values = dict[str, Any]
Hook = Callable[[Any, Values], Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a step.

    ``hook`` takes a node and all values so far, and answers what the node gives in place of its
    own outputs, or None.  ``terms`` are refs that the loss is measured without, ``learning`` the
    resource arguments that are to be learned besides, ``skipped`` nodes that are left out.
    """

    hook: Hook | None = None
    terms: tuple[str, ...] = ()
    learning: tuple[str, ...] = ()
    skipped: frozenset[str] = field(default_factory=frozenset)


class Rebuilt:
    """Steps of one function with a change; raises what TensorFlow raises where a graph cannot be
    built anew."""

    def __init__(self, function: Function, kept: KeptSteps, change: Change) -> None:
        import tensorflow as tf

        self._function, self._change = function, change
        handles = dict(zip(function.arguments, kept.steps[0].inputs, strict=False))
        self.variables = {
            argument: tf.Variable(kept.variables[handle._id], trainable=False)
            for argument, handle in handles.items()
            if handle._id in kept.variables
        }
        self._slots = {
            a: [tf.Variable(tf.zeros_like(self.variables[a]), trainable=False) for _ in "mv"]
            for a in change.learning
        }
        self._places = [
            place for place, name in enumerate(function.arguments) if name not in self.variables
        ]
        specs = [tf.TensorSpec(t.shape, t.dtype) for t in self._given(function.graph.inputs)]
        self._run = tf.function(self._built, autograph=False).get_concrete_function(*specs)

    def _given(self, inputs: Sequence[Any]) -> list[Any]:
        return [inputs[place] for place in self._places]

    def step(self, step: KeptStep) -> float:
        """Make a step; answers its loss before it, without the terms that do not count."""
        return float(self._run(*self._given(step.inputs)))

    # -- the graph ------------------------------------------------------------------------

    def _built(self, *given: Any) -> Any:
        import tensorflow as tf

        function, names = self._function, list(self._function.arguments)
        values: Values = {name: v.handle for name, v in self.variables.items()}
        values |= dict(zip(self._given(names), given, strict=True))
        self._reads: dict[str, list[Any]] = {}
        self._made = set[str]()
        gradients = {t.gradient for t in function.trained}
        for node in function.definition.node_def:
            if node.name in function.backward or node.name in self._change.skipped:
                continue
            taken = data(node)
            if not gradients.isdisjoint(taken) and not gradients <= values.keys():
                values |= self._differentiated(values)
            if all(ref in values for ref in taken):
                self._make(node, values)
        if not {t.assign for t in function.trained} <= self._made:
            raise ValueError("an update could not be built")
        loss = tf.reduce_mean(values[function.trained[0].loss])
        return loss - sum(tf.reduce_mean(values[term]) for term in self._change.terms)

    def _make(self, node: Any, values: Values) -> None:
        hook = self._change.hook
        self._made.add(node.name)
        made = hook(node, values) if hook is not None else None
        if made is None:
            made = created(node, [values[ref] for ref in data(node)])
        refs = private.output_refs(node)
        for (name, _), tensor in zip(refs, made, strict=False):
            values[f"{node.name}:{name}"] = tensor
        if node.op in READS and (argument := self._function.resource(node)):
            self._reads.setdefault(argument, []).append(made[0])

    def _differentiated(self, values: Values) -> Values:
        """The gradient of every trained variable's reads, by the refs that the step takes."""
        import tensorflow as tf

        found: Values = {}
        for loss in dict.fromkeys(t.loss for t in self._function.trained):
            mine = [t for t in self._function.trained if t.loss == loss]
            target = tf.reduce_mean(values[loss])
            for each, gradient in zip(
                mine, self._of(target, [t.resource for t in mine]), strict=True
            ):
                found[each.gradient] = gradient
            if loss == self._function.trained[0].loss and self._change.learning:
                self._learn(self._of(target, self._change.learning))
        return found

    def _of(self, target: Any, arguments: Sequence[str]) -> list[Any]:
        import tensorflow as tf

        reads = [(a, read) for a in arguments for read in self._reads[a]]
        flat = tf.gradients(target, [read for _, read in reads], unconnected_gradients="zero")
        sums: dict[str, Any] = {}
        for (argument, _), gradient in zip(reads, flat, strict=True):
            dense = tf.convert_to_tensor(gradient)
            sums[argument] = dense if argument not in sums else sums[argument] + dense
        return [sums[argument] for argument in arguments]

    def _learn(self, gradients: Sequence[Any]) -> None:
        """Move what did not learn by its gradient: Adam's step at a usual rate."""
        import tensorflow as tf

        for argument, gradient in zip(self._change.learning, gradients, strict=True):
            mean, square = self._slots[argument]
            mean.assign(0.9 * mean + 0.1 * gradient)
            square.assign(0.99 * square + 0.01 * gradient * gradient)
            self.variables[argument].assign_sub(_RATE * mean / (tf.sqrt(square) + 1e-8))


def created(node: Any, inputs: Sequence[Any], **changed: Any) -> Sequence[Any]:
    """The outputs of a node made again in the graph that is being built."""
    import tensorflow as tf

    attrs = {key: value for key, value in node.attr.items() if key not in _OWN} | changed
    graph = tf.compat.v1.get_default_graph()
    return graph.create_op(node.op, list(inputs), attrs=attrs).outputs  # type: ignore[no-any-return]
