"""What ``%tfstep`` starts from: the lesson, sizes, the user's own numbers or a Keras model."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfmagic.errors import OptionError
from tfmagic.runtime.twolayer import dense
from tfmagic.runtime.twolayer.twolayer import TwoLayer

__all__ = ["two_layer"]

LESSON: dict[str, Any] = {
    "X": [[2.0], [3.0]],
    "Y": [[1.0]],
    "W_1": [[0.11, 0.21], [0.12, 0.08]],
    "W_2": [[0.14, 0.15]],
}
MOST = 1_000_000  # weights of a network that is made up


def two_layer(
    model: Any = None,
    *,
    X: Any = None,
    Y: Any = None,
    W_1: Any = None,
    W_2: Any = None,
    b_1: Any = None,
    b_2: Any = None,
    sizes: str = "",
    batch: int = 1,
    bias: bool = False,
    activation: str | None = None,
    lr: float = 0.05,
    seed: int = 0,
    train_bias: bool = True,
) -> TwoLayer:
    """The network of these numbers; without any, the lesson's.

    ``sizes`` (inputs, hidden, outputs: ``"3,4,2"``), ``batch``, ``bias`` and ``seed`` make a
    random one.  With a Keras ``model``, ``X`` and ``Y`` have a sample in each row; where
    they are missing they are ones.
    """
    given = {"X": X, "Y": Y, "W_1": W_1, "W_2": W_2, "b_1": b_1, "b_2": b_2}
    told = {name: value for name, value in given.items() if value is not None}
    if model is not None:
        values = _of_model(model, told)
        chosen = values.pop("activation") if activation is None else activation
        return TwoLayer(**values, activation=chosen, lr=lr, train_bias=train_bias)
    if told:
        missing = [name for name in LESSON if name not in told]
        if missing:
            raise OptionError("step.missing", names=", ".join(missing))
    elif sizes or batch != 1 or bias:
        told = _made(sizes, batch, bias=bias, seed=seed)
    else:
        told = dict(LESSON)
    return TwoLayer(**told, activation=activation or "linear", lr=lr, train_bias=train_bias)


def _of_model(model: Any, told: dict[str, Any]) -> dict[str, Any]:
    values = dense.numbers(model)
    inputs, outputs = values["W_1"].shape[1], values["W_2"].shape[0]
    X = np.asarray(told["X"]) if "X" in told else np.ones((1, inputs))
    X = X.reshape(1, -1) if X.ndim == 1 else X
    Y = np.asarray(told["Y"]) if "Y" in told else np.ones((len(X), outputs))
    Y = Y.reshape(-1, outputs) if Y.ndim == 1 and Y.size % outputs == 0 else Y
    precision = values["W_1"].dtype  # the model's: its weights are what is learned
    return {**values, "X": X.T.astype(precision), "Y": Y.T.astype(precision)}


def _made(sizes: str, batch: int, *, bias: bool, seed: int) -> dict[str, Any]:
    """Random weights of a size at which signals neither grow nor fade (Glorot, Bengio 2010)."""
    try:
        counts = [int(part) for part in (sizes or "2,2,1").split(",")]
    except ValueError:
        counts = []
    if len(counts) != 3 or min(counts) < 1 or batch < 1:
        raise OptionError("step.sizes", given=sizes if batch > 0 else batch)
    inputs, hidden, outputs = counts
    if hidden * (inputs + outputs) > MOST or batch * max(counts) > MOST:
        raise OptionError("step.too_large", given=sizes, most=MOST)
    draw = np.random.default_rng(seed)
    made: dict[str, Any] = {}
    for name, rows, columns in (("W_1", hidden, inputs), ("W_2", outputs, hidden)):
        span = (6 / (rows + columns)) ** 0.5
        made[name] = draw.uniform(-span, span, (rows, columns)).round(3).astype(np.float32)
    made["X"] = draw.normal(size=(inputs, batch)).round(2).astype(np.float32)
    made["Y"] = draw.uniform(0, 1, (outputs, batch)).round(2).astype(np.float32)
    if bias:
        made |= {"b_1": np.zeros(hidden, np.float32), "b_2": np.zeros(outputs, np.float32)}
    return made
