"""A state of the two layers as the TensorFlow cell that comes to it."""

from __future__ import annotations

from collections.abc import Iterator

from tfmagic.model.step import Array, Network, StepState

__all__ = ["code"]

_CALL = {"sigmoid": "tf.sigmoid", "tanh": "tf.tanh", "relu": "tf.nn.relu"}


def code(state: StepState, updated: tuple[str, ...]) -> str:
    """The cell: the numbers as they were last set by hand, the updates since then, and as
    much of the present pass as was asked for.  ``updated`` are the parameters of an update.
    """
    network = state.origin
    names = [name for name, _ in network.parameters()]
    lines = ["import tensorflow as tf", "", *_numbers(network), f"lr = {state.lr!r}", ""]
    lines += ["", "def forward():", *_forward(network)]
    step = [f"{name}.assign_sub(lr * d{name})" for name in updated]
    taped = ["with tf.GradientTape() as tape:", "    H_1, Y_hat, Loss = forward()"]
    slopes = ", ".join(f"d{name}" for name in names)
    asked = f"{slopes} = tape.gradient(Loss, [{', '.join(names)}])"
    lines += ["", ""]
    if state.since:
        lines.append(f"for _ in range({state.since}):")
        lines += [f"    {line}" for line in (*taped, asked, *step)]
        lines.append("")
    if state.backward or state.updated:
        lines += [*taped, asked, *step[: state.updated]]
    else:
        lines.append("H_1, Y_hat, Loss = forward()")
    return "\n".join(lines) + "\n"


def _numbers(network: Network) -> Iterator[str]:
    for name in ("X", "Y"):
        yield f"{name} = tf.constant({_literal(getattr(network, name))})"
    for name, value in network.parameters():
        yield f"{name} = tf.Variable({_literal(value)})"


def _literal(value: Array) -> str:
    """Nested lists of the shortest numbers that read back as the same."""
    rows = ("[" + ", ".join(str(element) for element in row) + "]" for row in value)
    double = ", dtype=tf.float64" if value.dtype.name == "float64" else ""
    return f"[{', '.join(rows)}]{double}"


def _forward(network: Network) -> Iterator[str]:
    for layer, (name, below) in enumerate((("H_1", "X"), ("Y_hat", "H_1")), 1):
        bias = "" if getattr(network, f"b_{layer}") is None else f" + b_{layer}"
        line = f"tf.matmul(W_{layer}, {below}){bias}"
        call = _CALL.get(network.activation[layer - 1])
        yield f"    {name} = {call}({line})" if call else f"    {name} = {line}"
    yield "    return H_1, Y_hat, tf.reduce_sum(tf.square(Y_hat - Y)) / 2"
