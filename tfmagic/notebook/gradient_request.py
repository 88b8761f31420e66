"""``--target``, ``--wrt`` and ``--watch``: the user's expressions, looked up in their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfmagic.notebook.options import expression_names
from tfmagic.runtime.tape.derivatives import Depth
from tfmagic.runtime.tape.expression import evaluate
from tfmagic.runtime.tape.tape import GradientRequest


def wish(options: Any, namespace: Mapping[str, Any]) -> GradientRequest:
    """What the options ask to be differentiated.

    Raises :class:`~tfmagic.errors.OptionError` for an expression that stands for nothing.
    """
    target = _value(options, "target", namespace)
    sources = _value(options, "wrt", namespace)
    return GradientRequest(
        target=target,
        sources=_weights(sources),
        target_name=getattr(options, "target", None) or "",
        source_names=expression_names(getattr(options, "wrt", None) or ""),
        extra=_weights(_value(options, "watch", namespace)),
        extra_names=expression_names(getattr(options, "watch", None) or ""),
        willing=bool(depth(options)),
        any_size=getattr(options, "jacobian", False),
    )


def depth(options: Any) -> Depth:
    """What the options ask of each gradient beyond its value."""
    return Depth(
        check=getattr(options, "check", False),
        hist=getattr(options, "hist", False),
        jacobian=getattr(options, "jacobian", False),
        order=getattr(options, "order", 1),
    )


def _value(options: Any, option: str, namespace: Mapping[str, Any]) -> Any:
    expression = getattr(options, option, None)
    return None if expression is None else value_of(f"--{option}", expression, namespace)


def value_of(option: str, expression: str, namespace: Mapping[str, Any]) -> Any:
    """What the user's ``expression`` stands for."""
    return evaluate(expression, namespace, option)


def _weights(value: Any) -> Any:
    """A model or module stands for its trainable variables."""
    if isinstance(value, (list, tuple, dict)) or hasattr(value, "dtype"):
        return value
    return getattr(value, "trainable_variables", value)
