"""One step of a training run as boxes and arrows: a box a layer, with how it learned."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from tfmagic.analysis.notation import number
from tfmagic.model import Edge, Graph, Node, Run

__all__ = ["run_graph"]

#: Boxes of a picture that fits the screen; longer networks show stretches of layers as one.
MOST = 20


def run_graph(run: Run, most: int = MOST) -> Graph:
    """The layers of a run, each with the norm of its gradient, first and last, and what it gave
    in the last step; the layer where the first bad value arose is marked."""
    if not run.flow:
        return Graph()
    names = _in_order(run)
    size = math.ceil(len(names) / most)
    stretches = [names[i : i + size] for i in range(0, len(names), size)]
    home = {name: f"l{i}" for i, stretch in enumerate(stretches) for name in stretch}
    edges = dict.fromkeys(
        (home[a], home[b]) for a, b in run.flow if a in home and b in home and home[a] != home[b]
    )
    nodes = tuple(_box(run, f"l{i}", stretch) for i, stretch in enumerate(stretches))
    return Graph(nodes, tuple(Edge(a, b) for a, b in edges))


def _in_order(run: Run) -> list[str]:
    """The layers, each after those that it takes from, else as they stand."""
    takes: dict[str, list[str]] = {}
    for giver, taker in run.flow:
        takes.setdefault(taker, []).append(giver)
    known = [name for name, _ in run.layers if name in run.mean]
    found: dict[str, None] = {}
    for name in known:
        todo = [name]
        while todo:
            missing = [g for g in takes.get(todo[-1], ()) if g not in found and g not in todo]
            if missing:
                todo.append(missing[0])
            else:
                found[todo.pop()] = None
    return [name for name in found if name in set(known)]


def _box(run: Run, name: str, layers: Sequence[str]) -> Node:
    title = layers[0] if len(layers) == 1 else f"{layers[0]} … {layers[-1]}"
    bad = run.first_bad
    return Node(
        name,
        "op" if len(layers) == 1 else "fold",
        title,
        detail=tuple(_output(run, layers[-1])),
        gradient="\n".join(_gradient(run, layers)),
        marked=bad is not None and bad.layer in layers,
    )


def _output(run: Run, layer: str) -> Iterator[str]:
    mean, std, zeros = (run.of(kind).get(layer) for kind in ("mean", "std", "zeros"))
    if mean is None or std is None or zeros is None or not len(mean):
        return
    yield f"{number(float(mean[-1]), 2)} ± {number(float(std[-1]), 2)}"
    if zeros[-1] > 0.005:
        yield f"0: {zeros[-1]:.0%}"


def _gradient(run: Run, layers: Sequence[str]) -> Iterator[str]:
    mine = {name for layer, names in run.layers if layer in layers for name in names}
    norms = [values for name, values in run.gradient_norm.items() if name in mine]
    if norms:
        norm = np.sqrt(np.sum(np.square(norms), axis=0))
        yield f"‖∇‖ = {number(float(norm[0]), 3)} → {number(float(norm[-1]), 3)}"
