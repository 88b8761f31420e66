"""The hand calculation as one reads it: each formula in symbols, then with its numbers.

Indices are Python's: ``W_1[0,1]`` is the weight from the second input to the first hidden
node.  With several samples a value is named with its sample, ``H_1[0,2]``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, product

from tfmagic.analysis.hand import by_hand, slope
from tfmagic.analysis.notation import number
from tfmagic.model.step import Array, Factor, Formula, Network, Pass

__all__ = ["forward", "gradient", "label", "loss", "place", "signed", "symbol", "update"]

MOST_TERMS = 6

_ACTIVATION = {"sigmoid": "σ", "tanh": "tanh", "relu": "relu"}
_LATEX = {"σ": r"\sigma", "tanh": r"\tanh", "relu": r"\operatorname{relu}"}


def symbol(name: str) -> str:
    """How a part is written: ``Y_hat`` is Ŷ."""
    return name.replace("Y_hat", "Ŷ")


def place(name: str, *index: int) -> str:
    """``W_1[0,1]``."""
    return f"{name}[{','.join(map(str, index))}]"


def forward(network: Network, name: str, row: int, sample: int = 0) -> tuple[Formula, ...]:
    """How one hidden node (``H_1``) or output (``Y_hat``) comes about: the sum, then the
    activation where there is one."""
    layer = 0 if name == "H_1" else 1
    hand = by_hand(network)
    weights, below, bias = ("W_1", "X", network.b_1) if layer == 0 else ("W_2", "H_1", network.b_2)
    W, values = getattr(network, weights), network.X if layer == 0 else hand.H_1
    active = network.activation[layer]
    raw = name if active == "linear" else f"Z_{layer + 1}"
    many = network.samples > 1
    pairs = [
        (f"{place(weights, row, i)}·{_node(below, i, sample, many)}", W[row, i], values[i, sample])
        for i in range(W.shape[1])
    ]
    symbols = [text for text, _, _ in pairs[:MOST_TERMS]]
    figures = [f"{signed(w)}·{signed(v)}" for _, w, v in pairs[:MOST_TERMS]]
    if len(pairs) > MOST_TERMS:
        symbols.append("…")
        figures.append("…")
    if bias is not None:
        symbols.append(place(f"b_{layer + 1}", row))
        figures.append(signed(bias[row, 0]))
    total = float((hand.Z_1 if layer == 0 else hand.Z_2)[row, sample])
    steps = (" + ".join(symbols), " + ".join(figures), number(total))
    made = [_formula(_node(raw, row, sample, many), steps, total)]
    if active != "linear":
        sign = _ACTIVATION[active]
        out = float((hand.H_1 if layer == 0 else hand.Y_hat)[row, sample])
        inner = symbol(_node(raw, row, sample, many))
        texts = (f"{sign}({inner})", f"{sign}({number(total)})", number(out))
        made.append(_formula(_node(name, row, sample, many), texts, out))
    return tuple(made)


def loss(network: Network) -> Formula:
    """½(Ŷ − Y)², summed over outputs and samples."""
    hand = by_hand(network)
    many = network.samples > 1
    count = network.Y.size
    pairs = [
        (_node("Y_hat", k, n, many), _node("Y", k, n, many), hand.Y_hat[k, n], network.Y[k, n])
        for k, n in islice(product(*map(range, network.Y.shape)), MOST_TERMS)
    ]
    symbols = [f"½({symbol(a)} − {b})²" for a, b, _, _ in pairs]
    figures = [f"½({number(a)} − {signed(b)})²" for _, _, a, b in pairs]
    if count > MOST_TERMS:
        symbols.append("…")
        figures.append("…")
    steps = (" + ".join(symbols), " + ".join(figures), number(hand.loss))
    return _formula("Loss", steps, hand.loss)


def gradient(network: Network, name: str, index: tuple[int, int]) -> Formula:
    """The chain rule for one weight, bias, input or target: a product for each way to the loss."""
    hand = by_hand(network)
    shown = tuple(islice(_ways(network, hand, name, index), MOST_TERMS))
    total, ways = _total(network, hand, name, index), _count(network, name)
    what = label(name, index, network.samples > 1)
    rest = " + …" if ways > len(shown) else ""
    chain = " + ".join(" · ".join(f"∂{f.over}/∂{f.under}" for f in way) for way in shown) + rest
    symbols = " + ".join(" · ".join(f.symbol for f in way) for way in shown) + rest
    figures = " + ".join(" · ".join(signed(f.value) for f in way) for way in shown) + rest
    steps = (chain, symbols, figures, number(total))
    made = _formula(f"∂Loss/∂{symbol(what)}", steps, total)
    return replace(made, terms=shown, more=ways - len(shown))


def update(name: str, index: tuple[int, int], before: float, lr: float, slope_: float) -> Formula:
    """``W − lr · ∂Loss/∂W`` for one weight, from the value ``before`` the step."""
    what = label(name, index, many=False)
    after = before - lr * slope_
    steps = (
        f"{what} − lr · ∂Loss/∂{what}",
        f"{number(before)} − {signed(lr)} · {signed(slope_)}",
        number(after),
    )
    return _formula(f"{what}′", steps, after)


def _total(network: Network, hand: Pass, name: str, index: tuple[int, int]) -> float:
    if name == "X":
        return float(network.W_1[:, index[0]] @ hand.dZ_1[:, index[1]])
    if name == "Y":
        return float(-hand.dY_hat[index])
    return float(getattr(hand, f"d{name}")[index])


def _count(network: Network, name: str) -> int:
    """In how many ways a number reaches the loss."""
    _, hidden, outputs = network.sizes
    if name == "Y":
        return 1
    if name == "X":
        return hidden * outputs
    return network.samples * (outputs if name in ("W_1", "b_1") else 1)


# --- the ways from a number to the loss ------------------------------------------------------


def _ways(
    network: Network, hand: Pass, name: str, index: tuple[int, int]
) -> Iterator[tuple[Factor, ...]]:
    row, column = index
    many = network.samples > 1
    if name == "Y":
        error = float(hand.Y_hat[row, column] - network.Y[row, column])
        what = _node("Y", row, column, many)
        yield (Factor("Loss", what, f"(−({_error(row, column, many)}))", -error, what, "error"),)
        return
    outputs = range(network.sizes[2]) if name in ("W_1", "b_1", "X") else (row,)
    samples = (column,) if name == "X" else range(network.samples)
    hidden = range(network.sizes[1]) if name == "X" else (row,)
    for n, k in product(samples, outputs):
        head = tuple(_head(network, hand, k, n))
        if name == "W_2":
            yield *head, _last(network, "Y_hat", "W_2", k, column, n, "H_1", hand.H_1)
        elif name == "b_2":
            yield *head, _bias(network, "Y_hat", "b_2", k, n)
        else:
            for i in hidden:
                yield *head, *_tail(network, hand, name, (i, column), k, n, row)


def _head(network: Network, hand: Pass, k: int, n: int) -> Iterator[Factor]:
    """∂Loss/∂Ŷ, and ∂Ŷ/∂Z₂ where there is an activation."""
    many = network.samples > 1
    out = _node("Y_hat", k, n, many)
    error = float(hand.Y_hat[k, n] - network.Y[k, n])
    yield Factor("Loss", symbol(out), f"({_error(k, n, many)})", error, out, "error")
    yield from _slope_factor(network, 1, "Y_hat", k, n, hand.Z_2)


def _tail(
    network: Network, hand: Pass, name: str, at: tuple[int, int], k: int, n: int, row: int
) -> Iterator[Factor]:
    """From the output's sum back through hidden node ``at[0]`` to a number of the first layer."""
    i, column = at
    many = network.samples > 1
    raw = symbol(_node("Y_hat" if network.activation[1] == "linear" else "Z_2", k, n, many))
    weight = place("W_2", k, i)
    value = float(network.W_2[k, i])
    yield Factor(raw, _node("H_1", i, n, many), weight, value, weight, "weight")
    yield from _slope_factor(network, 0, "H_1", i, n, hand.Z_1)
    if name == "b_1":
        yield _bias(network, "H_1", "b_1", i, n)
    elif name == "W_1":
        yield _last(network, "H_1", "W_1", i, column, n, "X", network.X)
    else:
        weight, value = place("W_1", i, row), float(network.W_1[i, row])
        inner = _node(_raw(network, "H_1"), i, n, many)
        yield Factor(inner, _node("X", row, n, many), weight, value, weight, "weight")


def _slope_factor(
    network: Network, layer: int, name: str, i: int, n: int, z: Array
) -> Iterator[Factor]:
    active = network.activation[layer]
    if active == "linear":
        return
    many = network.samples > 1
    out, inner = symbol(_node(name, i, n, many)), _node(f"Z_{layer + 1}", i, n, many)
    made_of = {
        "sigmoid": f"{out}(1 − {out})",
        "tanh": f"(1 − {out}²)",
        "relu": f"relu′({inner})",
    }[active]
    figure = float(slope(active, z[i, n]))
    yield Factor(out, inner, made_of, figure, _node(name, i, n, many), "slope")


def _last(
    network: Network,
    over: str,
    weights: str,
    row: int,
    column: int,
    n: int,
    below: str,
    values: Array,
) -> Factor:
    many = network.samples > 1
    node = _node(below, column, n, many)
    return Factor(
        symbol(_node(_raw(network, over), row, n, many)),
        place(weights, row, column),
        node,
        float(values[column, n]),
        node,
        "input",
    )


def _bias(network: Network, over: str, bias: str, row: int, n: int) -> Factor:
    many = network.samples > 1
    what = place(bias, row)
    return Factor(symbol(_node(_raw(network, over), row, n, many)), what, "1", 1.0, what, "input")


def _raw(network: Network, name: str) -> str:
    layer = 0 if name == "H_1" else 1
    return name if network.activation[layer] == "linear" else f"Z_{layer + 1}"


def _error(k: int, n: int, many: bool) -> str:
    return f"{symbol(_node('Y_hat', k, n, many))} − {_node('Y', k, n, many)}"


# --- how it is written -----------------------------------------------------------------------


def label(name: str, index: tuple[int, int], many: bool) -> str:
    """How one number is written: a bias with one index, an input without its only sample."""
    if name.startswith("b_"):
        return place(name, index[0])
    return _node(name, *index, many) if name in ("X", "Y") else place(name, *index)


def _node(name: str, row: int, sample: int, many: bool) -> str:
    return place(name, row, sample) if many else place(name, row)


def signed(value: float) -> str:
    """A number as it stands in a product: a negative one in brackets."""
    text = number(value)
    return f"({text})" if text.startswith("-") else text


def _formula(name: str, steps: tuple[str, ...], value: float) -> Formula:
    name = symbol(name)
    return Formula(name, tuple(map(symbol, steps)), value, latex(" = ".join((name, *steps))))


def latex(text: str) -> str:
    """The LaTeX of a formula of this module."""
    text = re.sub(r"∂([^/∂]+)/∂((?:[^\s·+=\[]|\[[^\]]*\])+)", _fraction, symbol(text))
    for sign, command in _LATEX.items():
        text = text.replace(f"{sign}(", f"{command}(").replace(f"{sign}′(", f"{command}'(")
    text = text.replace("·", r"\cdot ").replace("½", r"\tfrac{1}{2}").replace("²", "^2")
    text = text.replace("Ŷ", r"\hat{Y}").replace("−", "-").replace("…", r"\dots")
    text = text.replace("Loss", r"\mathrm{Loss}").replace("lr", r"\mathrm{lr}").replace("′", "'")
    return re.sub(r"\[([^\]]*)\]", r"[\1]", text)


def _fraction(found: re.Match[str]) -> str:
    return rf"\frac{{\partial {found[1]}}}{{\partial {found[2]}}}"
