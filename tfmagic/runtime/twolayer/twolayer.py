"""``tfmagic.TwoLayer``: two layers that are stepped through, forward, backward and update.

Values and gradients come from a real tape; the same numbers are worked out by hand each
time, and compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np

from tfmagic.analysis import formulas
from tfmagic.analysis.hand import Agreement, compare
from tfmagic.analysis.notation import compact, number, shape
from tfmagic.analysis.stepcode import code
from tfmagic.errors import OptionError
from tfmagic.language import Message
from tfmagic.model.step import FORWARD, Array, Formula, Network, Pass, StepState
from tfmagic.runtime import private
from tfmagic.runtime.twolayer import given

__all__ = ["TwoLayer"]

tf: Any = private.tf  # type: ignore[attr-defined]  # said in one sentence where it is missing

#: Bytes of states that the history keeps; a longer run keeps every second, fourth, … state.
KEPT = 2**26
_COMPILED_FROM = 16  # updates in one run from which tracing the step pays

_LIKE_TENSORFLOW: dict[str, Callable[[Any], Any]] = {
    "linear": lambda z: z,
    "sigmoid": tf.sigmoid,
    "tanh": tf.tanh,
    "relu": tf.nn.relu,
}


class TwoLayer:
    """A network of two layers: H₁ = f(W₁X + b₁), Ŷ = g(W₂H₁ + b₂), Loss = Σ ½(Ŷ − Y)².

    ``X`` is (inputs, samples) and ``Y`` (outputs, samples): a column is a sample, and a plain
    list is one column.  ``W_1`` is (hidden, inputs), ``W_2`` (outputs, hidden), a bias has
    one number for each node, or a single one for all.  ``activation`` is ``"linear"``,
    ``"sigmoid"``, ``"tanh"`` or ``"relu"``, for both layers or as a pair.  With
    ``train_bias=False`` an update leaves the biases as they are.

    Everything that was given is copied.  Numbers are float32, or float64 where an array of
    that precision is given.  Raises :class:`~tfmagic.errors.ShapeError` where two shapes do
    not fit, and :class:`~tfmagic.errors.OptionError` for anything that is no number.
    """

    def __init__(
        self,
        X: Any,
        Y: Any,
        W_1: Any,
        W_2: Any,
        b_1: Any = None,
        b_2: Any = None,
        activation: Any = "linear",
        lr: float = 0.05,
        train_bias: bool = True,
    ) -> None:
        values = {"X": X, "Y": Y, "W_1": W_1, "W_2": W_2, "b_1": b_1, "b_2": b_2}
        start = given.network(values, activation)
        self.train_bias = bool(train_bias)
        # The shapes in which a user gave them, and gets them back.
        self._shapes = {
            name: np.shape(values[name]) for name in ("b_1", "b_2") if np.ndim(values[name]) == 1
        }
        self._variables = {name: tf.Variable(value) for name, value in start.parameters()}
        self._compiled: dict[Any, Any] = {}
        self._held: Network | None = None
        rate = given.rate(lr)
        self._history = [StepState(start, self._taped(start), rate, base=start, origin=start)]
        self._at = 0
        self._past: list[tuple[int, int, list[StepState], str]] = []

    # -- what is there -------------------------------------------------------------------

    @property
    def state(self) -> StepState:
        """Where the training stands, as frozen data."""
        return self._history[self._at]

    @property
    def history(self) -> tuple[StepState, ...]:
        """A state for each update, from the start on; ``history[0]`` is the start."""
        return tuple(self._history)

    @property
    def at(self) -> int:
        """Which state of the history is looked at; after :meth:`goto` not the last."""
        return self._at

    @property
    def weights(self) -> dict[str, Array]:
        """Weights and biases by name, as they are now."""
        return {name: self._as_given(name, v) for name, v in self.state.network.parameters()}

    @property
    def gradients(self) -> dict[str, Array]:
        """The gradients that :meth:`backward` has reached; after an update those it used."""
        state = self.state
        if not state.backward and self._at:
            state = self._history[self._at - 1]
        done = state.network.backward_pieces[: state.backward]
        return {
            name: self._as_given(name, getattr(state.passed, f"d{name}"))
            for name, _ in state.network.parameters()
            if f"d{name}" in done
        }

    @property
    def loss(self) -> float:
        """The loss at the weights as they are."""
        return self.state.passed.loss

    @property
    def Y_hat(self) -> Array:
        """The outputs at the weights as they are, (outputs, samples)."""
        return self.state.passed.Y_hat

    @property
    def hidden(self) -> Array:
        """The hidden nodes at the weights as they are, (hidden, samples)."""
        return self.state.passed.H_1

    @property
    def X(self) -> Array:
        """The inputs, (inputs, samples)."""
        return self.state.network.X

    @property
    def Y(self) -> Array:
        """The targets, (outputs, samples)."""
        return self.state.network.Y

    @property
    def lr(self) -> float:
        """The learning rate."""
        return self.state.lr

    @property
    def agreement(self) -> Agreement:
        """How the tape's numbers compare with those worked out by hand."""
        return compare(self.state.base, self.state.passed)

    @property
    def updated_pieces(self) -> tuple[str, ...]:
        """The parameters that an update changes, in its order."""
        return tuple(
            name for name in self._variables if self.train_bias or not name.startswith("b_")
        )

    def by_hand(self, name: str, *index: int) -> Formula:
        """The hand calculation of ``∂Loss/∂`` one number: ``by_hand("W_1", 0, 1)``.

        Its ``text`` and ``latex`` have each factor of the chain rule with its number.
        """
        value = getattr(self.state.network, name, None)
        if name not in (*self._variables, "X", "Y") or value is None:
            known = ", ".join((*self._variables, "X", "Y"))
            raise OptionError("step.no_such_part", given=name, known=known)
        row, column = (*index, 0, 0)[:2]
        if not (0 <= row < value.shape[0] and 0 <= column < value.shape[1]):
            raise OptionError("step.no_such_place", given=f"{name}{list(index)}", shape=value.shape)
        return formulas.gradient(self.state.base, name, (row, column))

    # -- the steps -----------------------------------------------------------------------

    def forward(self, pieces: int | None = None) -> Self:
        """The way forward; ``pieces=1`` only the next layer, and after the second the loss.

        A pass that is complete begins anew.
        """
        state = _settled(self.state)
        done = state.forward if state.forward < len(FORWARD) else 0
        done = len(FORWARD) if pieces is None else min(len(FORWARD), done + max(1, pieces))
        return self._now(replace(state, forward=done, backward=0))

    def backward(self, pieces: int | None = None) -> Self:
        """The way back; ``pieces=1`` only the next factor of the chain rule.

        What is missing of the way forward is done first.
        """
        state = _settled(self.state)
        most = len(state.network.backward_pieces)
        done = state.backward if state.backward < most else 0
        done = most if pieces is None else min(most, done + max(1, pieces))
        return self._now(replace(state, forward=len(FORWARD), backward=done))

    def update(self, pieces: int | None = None) -> Self:
        """The step against the gradients; ``pieces=1`` only the next weight or bias.

        What is missing of the passes is done first.  The new loss is there at once, and
        ``forward()`` shows how it comes about.
        """
        state = _whole(self.state)
        names = self.updated_pieces
        done = len(names) if pieces is None else min(len(names), state.updated + max(1, pieces))
        moved = self._moved(state, names[state.updated : done])
        if done < len(names):
            return self._now(replace(state, network=moved, updated=done))
        return self._change(self._at, [_settled(state), _after(state, moved, self._taped(moved))])

    def step(self) -> Self:
        """Forward, backward and update, once."""
        return self.update()

    def run(self, n: int) -> Self:
        """``n`` whole steps, fewer where a number is no longer finite.

        One :meth:`undo` takes all of it back.
        """
        count = int(n)
        if count < 1:
            raise OptionError("step.run", given=n)
        stride = self._stride(count)
        state = _whole(self.state)
        made = [_settled(state)]
        network = self._moved(state, self.updated_pieces[state.updated :])
        for i in range(1, count + 1):
            passed, moved = self._stepped(network, state.lr, compiled=count >= _COMPILED_FROM)
            state = _after(state, network, passed)
            last = i == count or not passed.finite
            if last or i % stride == 0:
                made.append(state if last else _whole(state))
            if last:
                break
            network = moved
        return self._change(self._at, made)

    def show_whole(self) -> Self:
        """Count both passes of this state as asked for; nothing to undo."""
        self._history[self._at] = _whole(self.state)
        return self

    @property
    def diverged(self) -> bool:
        """Whether a number is no longer finite."""
        return not self.state.passed.finite

    def undo(self) -> Self:
        """Take the last thing back that was done; at the start nothing happens."""
        if self._past:
            self._at, first, tail, _ = self._past.pop()
            self._history[first:] = tail
        return self

    @property
    def undone(self) -> bool:
        """Whether there is nothing left to take back."""
        return not self._past

    def reset(self) -> Self:
        """Back to the start, with the numbers that were given; this can be undone."""
        first = self._history[0]
        return self._change(0, [replace(first, forward=0, backward=0, updated=0)])

    def goto(self, step: int) -> Self:
        """Look at an earlier or later state of the history, by its step.

        What lies after it stays until something is done from there.
        """
        kept = [i for i, state in enumerate(self._history) if state.step <= step]
        found = max(kept, default=0)
        self._remember(len(self._history), f"goto {self._at}")
        self._at = found
        return self

    def set(self, *, gesture: str = "", **values: Any) -> Self:
        """Change ``X``, ``Y``, a weight, a bias or ``lr``; what was computed is computed anew.

        Changes of one ``gesture`` (a slider that is dragged) are taken back together.
        """
        state = self.state
        rate = given.rate(values.pop("lr")) if "lr" in values else state.lr
        network = self._changed(values) if values else state.network
        passed = self._taped(network) if values or state.updated else state.passed
        fresh: Any = {"network": network, "base": network, "origin": network}
        new = replace(state, **fresh, passed=passed, lr=rate, since=0, updated=0)
        return self._now(new, gesture and f"set {gesture}")

    def as_code(self) -> str:
        """A cell of TensorFlow that comes to this state."""
        return code(self.state, self.updated_pieces)

    def __repr__(self) -> str:
        state = self.state
        figures = {"step": state.step, "loss": number(state.loss), "lr": number(state.lr)}
        lines = [str(Message.of("step.head", **figures))]
        lines += [f"{name} = {_text(value)}" for name, value in self.weights.items()]
        lines += [f"∂Loss/∂{name} = {_text(value)}" for name, value in self.gradients.items()]
        return "\n".join(lines)

    # -- how -----------------------------------------------------------------------------

    def _taped(self, network: Network) -> Pass:
        """The pass through ``network``, with what a tape answers."""
        self._assign(network)
        return _as_pass(_run(self._variables, network.activation, network.X, network.Y))

    def _stepped(self, network: Network, lr: float, *, compiled: bool) -> tuple[Pass, Network]:
        """The pass through ``network``, and the network one update later."""
        if not compiled:
            passed = self._taped(network)
            state = StepState(network, passed, lr, network, network)
            return passed, self._moved(state, self.updated_pieces)
        self._assign(network)
        found = self._compiled_for(network)(
            tf.constant(network.X), tf.constant(network.Y), tf.constant(lr, network.X.dtype)
        )
        return _as_pass(found), self._read(network)

    def _compiled_for(self, network: Network) -> Any:
        """Pass and update as one traced function, for as long as the shapes stay."""
        shapes = (network.X.shape, self.train_bias)
        if shapes not in self._compiled:
            x, y = (tf.TensorSpec(a.shape, a.dtype) for a in (network.X, network.Y))
            rate = tf.TensorSpec((), network.X.dtype)
            traced = tf.function(self._run_and_move, autograph=False)
            concrete = traced.get_concrete_function(network.activation, x, y, rate)
            self._compiled = {shapes: concrete}
        return self._compiled[shapes]

    def _run_and_move(self, activation: tuple[str, str], x: Any, y: Any, lr: Any) -> dict[str, Any]:
        found: dict[str, Any] = _run(self._variables, activation, x, y)
        with tf.control_dependencies(list(found.values())):
            for name in self.updated_pieces:
                self._variables[name].assign_sub(lr * found[f"d{name}"])
        return found

    def _moved(self, state: StepState, names: tuple[str, ...]) -> Network:
        """``state``'s network after the step of these parameters."""
        self._assign(state.network)
        self._held = None  # until all of it is read again
        for name in names:
            self._variables[name].assign_sub(state.lr * getattr(state.passed, f"d{name}"))
        return self._read(state.network)

    def _assign(self, network: Network) -> None:
        """Put the network's numbers into the variables, where they are not there already."""
        if self._held is not network:
            for name, value in network.parameters():
                self._variables[name].assign(value)
            self._held = network

    def _read(self, network: Network) -> Network:
        values: Any = {name: _sealed(held.numpy()) for name, held in self._variables.items()}
        self._held = replace(network, **values)
        return self._held

    def _changed(self, values: dict[str, Any]) -> Network:
        """The network with some numbers replaced; it must keep its parts."""
        network = self.state.network
        parts: dict[str, Any] = {"X": network.X, "Y": network.Y, **dict(network.parameters())}
        for name in values:
            if name not in parts:
                raise OptionError("step.no_such_part", given=name, known=", ".join((*parts, "lr")))
        made = given.network(parts | values, network.activation)
        precision = network.X.dtype
        for name in values:
            new, old = getattr(made, name), parts[name]
            if name not in COLUMNS_FREE and new.shape != old.shape:
                raise OptionError("step.other_shape", name=name, given=new.shape, shape=old.shape)
        kept: Any = {name: given.frozen(getattr(made, name), precision) for name in parts}
        return replace(made, **kept)

    def _now(self, state: StepState, gesture: str = "") -> Self:
        """``state`` in the place of the one that stands now; what came after it is gone."""
        return self._change(self._at, [state], gesture)

    def _change(self, first: int, states: list[StepState], gesture: str = "") -> Self:
        self._remember(first, gesture)
        self._history[first:] = states
        self._at = len(self._history) - 1
        return self

    def _remember(self, first: int, gesture: str = "") -> None:
        """Keep what is about to change from ``first`` on, unless its gesture goes on."""
        if not (gesture and self._past and self._past[-1][3] == gesture):
            self._past.append((self._at, first, self._history[first:], gesture))

    def _stride(self, count: int) -> int:
        """Of so many states every how many-th is kept, for the memory they take."""
        size = sum(np.asarray(value).nbytes for _, value in self.state.passed.parts())
        size += sum(value.nbytes for _, value in self.state.network.parameters())
        return max(1, -(-count * (size + 4096) // KEPT))

    def _as_given(self, name: str, value: Array) -> Array:
        shape = self._shapes.get(name)
        return value.reshape(shape) if shape else value


#: What may get another shape: the samples are not part of the network.
COLUMNS_FREE = ("X", "Y")
MOST_WRITTEN = 48  # numbers of a matrix that stand in the text; a larger one is told by its norm


def _run(variables: Mapping[str, Any], activation: tuple[str, str], x: Any, y: Any) -> Any:
    """Every value of the pass, and the tape's gradients by them, as tensors by name."""
    first, second = (_LIKE_TENSORFLOW[name] for name in activation)
    found: Any = {}
    with tf.GradientTape() as tape:
        found["Z_1"] = _layer(variables, 1, x)
        found["H_1"] = first(found["Z_1"])
        found["Z_2"] = _layer(variables, 2, found["H_1"])
        found["Y_hat"] = second(found["Z_2"])
        found["loss"] = tf.reduce_sum(tf.square(found["Y_hat"] - y)) / 2
    sources = dict(variables) | {n: found[n] for n in ("Y_hat", "Z_2", "H_1", "Z_1")}
    answers = tape.gradient(found["loss"], sources)
    return found | {f"d{name}": answer for name, answer in answers.items()}


def _layer(variables: Mapping[str, Any], number: int, below: Any) -> Any:
    product = tf.matmul(variables[f"W_{number}"], below)
    bias = variables.get(f"b_{number}")
    return product if bias is None else product + bias


def _as_pass(found: Mapping[str, Any]) -> Pass:
    values: Any = {name: _sealed(tensor.numpy()) for name, tensor in found.items()}
    return Pass(**values | {"loss": float(values["loss"])})


def _sealed(value: Any) -> Array:
    made = np.asarray(value)
    made.flags.writeable = False
    return made


def _whole(state: StepState) -> StepState:
    """Both passes asked for."""
    most = len(state.network.backward_pieces)
    return replace(state, forward=len(FORWARD), backward=most)


def _settled(state: StepState) -> StepState:
    """Without the half of an update that may be under way."""
    return replace(state, network=state.base, updated=0)


def _after(state: StepState, network: Network, passed: Pass) -> StepState:
    """The state one update later, of which nothing was asked yet."""
    return replace(
        state,
        network=network,
        base=network,
        passed=passed,
        step=state.step + 1,
        since=state.since + 1,
        forward=0,
        backward=0,
        updated=0,
    )


def _text(value: Array) -> str:
    if value.size > MOST_WRITTEN:
        return f"{shape(value.shape)}, ‖·‖ = {number(float(np.linalg.norm(value)))}"
    return compact(tuple(map(tuple, value.tolist())) if value.ndim == 2 else tuple(value.tolist()))
