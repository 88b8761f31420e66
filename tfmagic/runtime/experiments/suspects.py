"""What in a step's graph may keep a run from learning: signs, each with the change that tries it.

A sign accuses nobody.  It is read from the graph and from what was kept of the first steps,
and costs no step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfmagic.model.op_traits import READS
from tfmagic.runtime.capture.log import KeptSteps
from tfmagic.runtime.compiled.reader import Function, data, maker
from tfmagic.runtime.experiments.rebuild import Change, Values, created

__all__ = ["Suspect", "suspects"]

Start = Callable[[dict[str, Any]], dict[str, Any]]
#: Ops that multiply by weights, and those that hand on what they take in a linear way.
_AFFINE = ("MatMul", "BatchMatMulV2", "Conv1D", "Conv2D", "Conv3D", "Einsum")
_LINEAR = ("Reshape", "Transpose", "Identity", "Squeeze", "ExpandDims", "Cast", "AvgPool", "Mean")
_BIAS = ("BiasAdd", "AddV2", "Add")
_SQUASHES = ("Sigmoid", "Tanh")
#: Squashing layers in a row that are worth a trial.
_DEEP = 3
#: Weights whose spread differs by more from Glorot's, and biases beyond, are drawn anew.
_WIDE, _NARROW, _BIASED = 4.0, 0.05, 2.0
#: The share of the first loss that penalties must have.
_PENALTY = 0.5


@dataclass(frozen=True, slots=True)
class Suspect:
    """A change to be tried: what it is called, the layers or variables that it concerns, the
    change of the graph, what the weights start from, and a node that shows where it is."""

    kind: str
    names: tuple[str, ...]
    change: Change
    start: Start | None = None
    node: str = ""


def suspects(function: Function, kept: KeptSteps, stalled: bool) -> Iterator[Suspect]:
    """The changes that the signs call for; fewer where the loss fell well."""
    graph = _Reading(function, kept)
    yield from graph.wrong_mode()
    yield from graph.penalties()
    yield from graph.unlearned()
    if stalled:
        yield from graph.linear_pairs()
        yield from graph.squashed()
        yield from graph.odd_weights()
        yield from graph.clips()


class _Reading:
    """A step's graph with the values that its variables start from."""

    def __init__(self, function: Function, kept: KeptSteps) -> None:
        self.function, self.kept = function, kept
        self.nodes = function.nodes
        handles = dict(zip(function.arguments, kept.steps[0].inputs, strict=False))
        self.held = {
            a: kept.variables[h._id] for a, h in handles.items() if h._id in kept.variables
        }
        loss = function.trained[0].loss
        self.behind = function.ancestors([maker(loss)]) - function.backward
        self.learned = {t.resource for t in function.trained}

    def _users(self, name: str) -> list[str]:
        return [u for u in self.function.users.get(name, ()) if u in self.behind]

    def _read(self, ref: str) -> str:
        """The argument of the variable that a value was read from, handed on or not; or empty."""
        node = self.nodes.get(maker(ref))
        while node is not None and node.op in _LINEAR and node.op != "Mean":
            node = self.nodes.get(maker(data(node)[0]))
        return self.function.resource(node) if node is not None and node.op in READS else ""

    def _kernel(self, name: str) -> str:
        """The argument of the weights that a node multiplies by, or empty."""
        node = self.nodes[name]
        if node.op not in _AFFINE or name not in self.behind:
            return ""
        return next((a for ref in data(node) if (a := self._read(ref))), "")

    def _affine(self) -> dict[str, str]:
        """Each node that multiplies by weights, and the last node of its layer before an
        activation."""
        found = {}
        for name in self.nodes:
            if self._kernel(name):
                end, last = name, name
                while (after := self._users(last)) and len(set(after)) == 1:
                    node = self.nodes[after[0]]
                    others = [r for r in data(node) if maker(r) != last]
                    if node.op in _BIAS and any(self._read(r) for r in others):
                        end = last = node.name
                    elif node.op in ("Reshape", "Squeeze", "Identity"):
                        last = node.name
                    else:
                        break
                found[name] = end
        return found

    def _reaches(self, start: str, ops: Sequence[str] = ()) -> bool:
        """Whether a value comes to weights again, with nothing but linear ops between."""
        todo, seen = [start], set[str]()
        while todo:
            for user in self._users(todo.pop()):
                if user in seen:
                    continue
                seen.add(user)
                if self._kernel(user):
                    return True
                if self.nodes[user].op in (*_LINEAR, *ops):
                    todo.append(user)
        return False

    def _layers(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.function.layer(name) for name in names))

    # -- the forward pass -------------------------------------------------------------------

    def linear_pairs(self) -> Iterator[Suspect]:
        """Layers without an activation between them: one linear map, however many they are."""
        ends = [end for end in self._affine().values() if self._reaches(end)]
        if ends:
            yield Suspect(
                "activation", self._layers(ends), Change(_after(ends, _relu)), None, ends[0]
            )

    def squashed(self) -> Iterator[Suspect]:
        """Several sigmoids or hyperbolic tangents one after the other."""
        affine = self._affine()
        ends = {end: name for name, end in affine.items()}
        hidden, kernels = list[str](), set[str]()
        for name, node in self.nodes.items():
            squashes = node.op in _SQUASHES and maker(data(node)[0]) in ends
            if squashes and self._reaches(name):
                hidden.append(name)
                kernels.add(self._kernel(ends[maker(data(node)[0])]))
        if len(hidden) >= _DEEP:

            def hook(node: Any, values: Values) -> Any:
                return [_relu(values[data(node)[0]])] if node.name in hidden else None

            start = _redrawn(kernels, set(), 2.0)
            yield Suspect("relu", self._layers(hidden), Change(hook), start, hidden[0])

    def wrong_mode(self) -> Iterator[Suspect]:
        """Normalisation by averages that nothing in the step moves."""
        found: dict[str, tuple[str, str]] = {}
        layers = list[str]()
        for name, node in self.nodes.items():
            if name not in self.behind or node.op != "Rsqrt":
                continue
            spread = self._still(name)
            given = self._normalised(name)
            if spread and given:
                value, centre = given
                found[spread] = (value, "spread")
                found[centre] = (value, "mean")
                layers.append(name)
        if found:
            change = Change(self._batch_hook(found))
            yield Suspect("batch_mode", self._layers(layers), change, None, layers[0])

    def _still(self, rsqrt: str) -> str:
        """The read of the average that a square root stands on, where nothing changes it."""
        added = self.nodes.get(maker(data(self.nodes[rsqrt])[0]))
        for ref in data(added) if added is not None and added.op in _BIAS else ():
            argument = self._read(ref)
            node = self.nodes.get(maker(ref))
            while node is not None and node.op not in READS:
                node = self.nodes.get(maker(data(node)[0]))
            moves = argument in self.learned or argument in self.function.changes
            if argument and node is not None and not moves:
                return str(node.name)
        return ""

    def _normalised(self, rsqrt: str) -> tuple[str, str] | None:
        """What is multiplied by one over a spread, and the read of its mean."""
        scaled, value, centre = [rsqrt], "", ""
        while scaled:
            for user in self._users(scaled.pop()):
                node = self.nodes[user]
                if node.op != "Mul":
                    continue
                for ref in data(node):
                    argument = self._read(ref)
                    made = self.nodes.get(maker(ref))
                    while argument and made is not None and made.op not in READS:
                        made = self.nodes.get(maker(data(made)[0]))
                    if argument in self.learned:
                        scaled.append(user)
                    elif argument and made is not None:
                        centre = made.name
                    elif self._has_data(ref):
                        value = ref
        return (value, centre) if value and centre else None

    def _has_data(self, ref: str) -> bool:
        """Whether a value comes from what is no variable."""
        behind = self.function.ancestors([maker(ref)])
        return any(a not in self.held for a in behind & self.function.arguments.keys())

    @staticmethod
    def _batch_hook(found: Mapping[str, tuple[str, str]]) -> Callable[[Any, Values], Any]:
        def hook(node: Any, values: Values) -> Any:
            import tensorflow as tf

            if node.name not in found:
                return None
            ref, kind = found[node.name]
            value = values[ref]
            mean, spread = tf.nn.moments(value, list(range(value.shape.rank - 1)))
            return [mean if kind == "mean" else spread]

        return hook

    # -- the loss, and what learns ----------------------------------------------------------

    def penalties(self) -> Iterator[Suspect]:
        """Terms of the loss that come from variables alone, and decay of the weights."""
        terms, layers = list[str](), list[str]()
        todo, seen = [self.function.trained[0].loss], set[str]()
        while todo:
            ref = todo.pop()
            node = self.nodes.get(maker(ref))
            if node is None or ref in seen:
                continue
            seen.add(ref)
            behind = self.function.ancestors([node.name])
            if behind & self.learned and not self._has_data(ref):
                terms.append(ref)
                layers += sorted(behind & self.learned)
            elif node.op in ("Sum", "AddV2", "Add", "AddN", "Pack", "Identity", "Reshape", "Mul"):
                todo += data(node)[:1] if node.op in ("Sum", "Reshape") else data(node)
        decays = self._decays()
        if (terms or decays) and self._has_data(self.function.trained[0].loss):
            refs = tuple(terms)

            def hook(node: Any, values: Values) -> Any:
                if not any(maker(ref) == node.name for ref in refs):
                    return None
                made = created(node, [values[ref] for ref in data(node)])
                return [0.0 * tensor for tensor in made]

            change = Change(hook if refs else None, refs, skipped=frozenset(decays))
            node = maker(terms[0]) if terms else decays[0]
            yield Suspect("no_penalty", tuple(dict.fromkeys(layers)), change, None, node)

    def _decays(self) -> list[str]:
        """The updates of trained variables that take a share of them off, whatever the gradient."""
        found, updates = [], {t.assign for t in self.function.trained}
        for resource in self.learned:
            for node in self.function.assignments.get(resource, ()):
                behind = self.function.ancestors([maker(ref) for ref in data(node)[1:]])
                taken = behind & self.function.arguments.keys()
                own = resource in taken and not behind & self.function.backward
                if own and node.name not in updates and not any(
                    a in self.function.changes for a in taken - {resource}
                ):  # fmt: skip
                    found.append(node.name)
        return found

    def unlearned(self) -> Iterator[Suspect]:
        """Variables that the loss comes from and that nothing in the step changes."""
        still = []
        for argument, value in self.held.items():
            reads = [n for n in self.function.reads.get(argument, ()) if n in self.behind]
            usable = value.dtype.is_floating and len(value.shape) and argument not in self.learned
            if reads and usable and argument not in self.function.changes:
                still.append(argument)
        kernels = {self._kernel(name) for name in self.nodes}
        if any(argument in kernels for argument in still):
            node = maker(self.function.trained[0].gradient)
            yield Suspect("learning", tuple(still), Change(learning=tuple(still)), None, node)

    def odd_weights(self) -> Iterator[Suspect]:
        """Weights that start far from what keeps signals as large as they are."""
        kernels = {k for name in self.nodes if (k := self._kernel(name)) in self.learned}
        odd = {k for k in kernels if _is_odd(np.asarray(self.held[k], float))}
        biases = {
            a for a in self.learned - kernels
            if len(self.held[a].shape) == 1 and self._adds(a)
            and abs(float(np.mean(self.held[a]))) > _BIASED
        }  # fmt: skip
        if odd or biases:
            start = _redrawn(odd, biases, 1.0)
            yield Suspect("redrawn", tuple(sorted(odd | biases)), Change(), start)

    def _adds(self, argument: str) -> bool:
        """Whether a variable is a bias."""
        users = [u for r in self.function.reads.get(argument, ()) for u in self._users(r)]
        return bool(users) and all(self.nodes[u].op in _BIAS for u in users)

    def clips(self) -> Iterator[Suspect]:
        """Clipping of gradients, and an epsilon that outweighs what it stands beside."""
        after = self.function.ancestors([t.assign for t in self.function.trained])
        found: dict[str, tuple[str, bool]] = {}
        for name in after - self.function.backward - self.behind:
            node = self.nodes.get(name)
            if node is None or node.op not in ("Minimum", "Maximum"):
                continue
            refs = data(node)
            moving = [r for r in refs if self.function.ancestors([maker(r)])
                      & self.function.backward]  # fmt: skip
            if len(moving) == 1:
                scalar = self._rank(moving[0]) == 0
                kept = next(r for r in refs if (r in moving) != scalar)
                found[name] = (kept, scalar)
        if found:

            def hook(node: Any, values: Values) -> Any:
                return [values[found[node.name][0]]] if node.name in found else None

            yield Suspect("no_clip", (), Change(hook))

    def _rank(self, ref: str) -> int | None:
        try:
            operation = self.function.graph.get_operation_by_name(maker(ref))
            return operation.outputs[0].shape.rank  # type: ignore[no-any-return]
        except (AttributeError, KeyError, ValueError):
            return None


def _relu(value: Any) -> Any:
    import tensorflow as tf

    return tf.nn.relu(value)


def _after(names: Sequence[str], work: Callable[[Any], Any]) -> Callable[[Any, Values], Any]:
    """A hook that has something done to what these nodes give."""

    def hook(node: Any, values: Values) -> Any:
        if node.name not in names:
            return None
        first, *rest = created(node, [values[ref] for ref in data(node)])
        return [work(first), *rest]

    return hook


def _fans(shape: Sequence[int]) -> tuple[float, float]:
    field = float(np.prod(shape[:-2])) if len(shape) > 2 else 1.0
    return shape[-2] * field, shape[-1] * field


def _is_odd(weights: Any) -> bool:
    if weights.ndim < 2 or not np.isfinite(weights).all():
        return False
    usual = (2.0 / sum(_fans(weights.shape))) ** 0.5
    spread = float(np.sqrt(np.mean(np.square(weights))))
    same = weights.shape[-1] > 1 and float(np.ptp(weights, axis=-1).max()) <= 1e-6 * spread
    return bool(same or spread > _WIDE * usual or spread < _NARROW * usual)


def _redrawn(kernels: set[str], biases: set[str], gain: float) -> Start:
    def start(values: dict[str, Any]) -> dict[str, Any]:
        draw, found = np.random.RandomState(0), {}
        for argument in sorted(kernels):
            shape = values[argument].shape
            taken, given = _fans(shape)
            spread = (gain / taken) ** 0.5 if gain > 1 else (2.0 / (taken + given)) ** 0.5
            found[argument] = draw.normal(0.0, spread, shape)
        return found | {argument: np.zeros(values[argument].shape) for argument in biases}

    return start
