"""Which formula belongs to the piece that was stepped to, and which parts of the network it
speaks of."""

from __future__ import annotations

from dataclasses import dataclass

from tfmagic.analysis import formulas
from tfmagic.model.step import FORWARD, Factor, Formula, Network, StepState

__all__ = ["Focus", "diagram_part", "focus"]

_KIND = {"dY_hat": "error", "dH_1": "weight"}


@dataclass(frozen=True, slots=True)
class Focus:
    """``piece`` is where the step stands; ``lines`` are its formulas.

    ``parts`` of the diagram and the factors numbered ``factors`` in each term are what one
    should look at.
    """

    piece: str
    lines: tuple[Formula, ...]
    parts: frozenset[str] = frozenset()
    factors: tuple[int, ...] = ()


def focus(
    state: StepState, chosen: tuple[str, tuple[int, int]], sample: int = 0, *, whole: bool = False
) -> Focus:
    """What to show for ``chosen``, a number by its name and place.

    With ``whole`` no piece is picked out: both passes stand there complete.
    """
    network = state.base
    name, index = chosen
    if state.updated:
        return _update(state, name, index)
    if state.backward:
        pieces = network.backward_pieces
        return _backward(network, pieces[state.backward - 1], chosen, whole=whole)
    if state.forward and not whole:
        return _forward(network, FORWARD[state.forward - 1], name, index, sample)
    return Focus("", ())


def _forward(network: Network, piece: str, name: str, index: tuple[int, int], sample: int) -> Focus:
    if piece == "Loss":
        nodes = [p for k in range(network.sizes[2]) for p in (f"Y_hat[{k}]", f"Y[{k}]")]
        return Focus(piece, (formulas.loss(network),), frozenset({"Loss", *nodes}))
    row = index[0] if name.endswith("_1" if piece == "H_1" else "_2") else 0
    weights, below = ("W_1", "X") if piece == "H_1" else ("W_2", "H_1")
    columns = range(getattr(network, weights).shape[1])
    parts = {f"{piece}[{row}]"}
    parts |= {f"{weights}[{row},{i}]" for i in columns} | {f"{below}[{i}]" for i in columns}
    return Focus(piece, formulas.forward(network, piece, row, sample), frozenset(parts))


def _backward(
    network: Network, piece: str, chosen: tuple[str, tuple[int, int]], *, whole: bool
) -> Focus:
    name, index = _on_the_way(network, piece, chosen) if not whole else chosen
    formula = formulas.gradient(network, name, index)
    if whole:
        return Focus("", (formula,))
    first = formula.terms[0]
    picked = tuple(i for i, factor in enumerate(first) if _is_piece(factor, piece))
    many = network.samples > 1
    parts = {diagram_part(way[i].part, many) for way in formula.terms for i in picked}
    if piece == "dY_hat":
        parts |= {part.replace("Y_hat", "Y") for part in parts} | {"Loss"}
    if piece[1:] in ("W_1", "W_2", "b_1", "b_2"):
        parts.add(formulas.place(name, *index[: 1 if name.startswith("b") else 2]))
    return Focus(piece, (formula,), frozenset(parts), picked)


def _on_the_way(
    network: Network, piece: str, chosen: tuple[str, tuple[int, int]]
) -> tuple[str, tuple[int, int]]:
    """``chosen`` where the piece is a factor of its gradient, else one of which it is."""
    name, (row, column) = chosen
    first = name in ("W_1", "b_1", "X")
    wanted = piece[1:]
    if wanted in ("dY_hat", "Y_hat", "Z_2"):
        return ("W_2", (0, 0)) if name == "Y" else chosen
    if wanted in ("W_2", "b_2"):
        at = (0, row if first else column) if name != wanted else (row, column)
        at = (min(at[0], network.sizes[2] - 1), min(at[1], network.sizes[1] - 1))
        return wanted, (at[0], 0) if wanted == "b_2" else at
    if first and wanted in ("H_1", "Z_1", name):
        return chosen
    hidden = row if name in ("W_1", "b_1") else column if name == "W_2" else 0
    return (wanted if wanted == "b_1" else "W_1"), (hidden, 0)


def _is_piece(factor: Factor, piece: str) -> bool:
    if piece in ("dZ_1", "dZ_2"):
        layer = "H_1" if piece == "dZ_1" else "Y_hat"
        return factor.kind == "slope" and factor.part.startswith(layer)
    return factor.kind == _KIND.get(piece, "input")


def _update(state: StepState, name: str, index: tuple[int, int]) -> Focus:
    if name not in dict(state.base.parameters()):
        name, index = "W_1", (0, 0)
    before = float(getattr(state.base, name)[index])
    slope = float(getattr(state.passed, f"d{name}")[index])
    line = formulas.update(name, index, before, state.lr, slope)
    part = formulas.place(name, *index[: 1 if name.startswith("b") else 2])
    return Focus(f"new {name}", (line,), frozenset({part}))


def diagram_part(part: str, many: bool) -> str:
    """The part of the diagram: there a node stands for each of its samples."""
    return f"{part.partition(',')[0]}]" if many and part[0] in "XHY" and "," in part else part
