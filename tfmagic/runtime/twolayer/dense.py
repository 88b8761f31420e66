"""A Keras model of two dense layers, as the numbers of a :class:`~tfmagic.TwoLayer`.

Keras keeps a sample in a row; here a column is one, so its matrices are turned over.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from tfmagic.errors import OptionError
from tfmagic.model.step import ACTIVATIONS

__all__ = ["is_model", "layers", "numbers", "weight"]


def is_model(value: Any) -> bool:
    """Whether ``value`` is a Keras model; Keras is not imported for the question."""
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(value, keras.Model)


def layers(model: Any) -> tuple[Any, Any]:
    """Its two dense layers, or an :class:`OptionError` that names what it is made of."""
    import keras

    found = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    kinds = [type(layer).__name__ for layer in found]
    if kinds != ["Dense", "Dense"]:
        made_of = ", ".join(kinds[:8]) + (", …" if len(kinds) > 8 else "")
        raise OptionError("step.not_two_dense", given=model.name, layers=made_of or "—")
    if not model.built:
        raise OptionError("step.not_built", given=model.name)
    for layer in found:
        if activation(layer) not in ACTIVATIONS:
            values = {"activation": activation(layer), "known": ", ".join(ACTIVATIONS)}
            raise OptionError("step.layer_activation", given=model.name, **values)
    return found[0], found[1]


def activation(layer: Any) -> str:
    """The name of a layer's activation."""
    return str(getattr(layer.activation, "__name__", layer.activation))


def numbers(model: Any) -> dict[str, Any]:
    """``W_1`` … ``b_2`` and ``activation`` of the model."""
    pair = layers(model)
    found: dict[str, Any] = {"activation": tuple(map(activation, pair))}
    for i, layer in enumerate(pair, 1):
        found[f"W_{i}"] = np.asarray(layer.kernel).T
        if layer.use_bias:
            found[f"b_{i}"] = np.asarray(layer.bias)
    return found


def weight(model: Any, name: str) -> Any:
    """The variable behind ``W_1`` … ``b_2``."""
    layer = layers(model)[int(name[-1]) - 1]
    return layer.kernel if name.startswith("W") else layer.bias
