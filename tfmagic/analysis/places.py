"""Which box of a picture stands for work on which device, where there are several."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tfmagic.analysis.notation import device as short
from tfmagic.model import Node, Recording

__all__ = ["placed"]

_QUIET = ("stub", "outside")


def placed(recording: Recording, nodes: Iterable[Node]) -> tuple[Node, ...]:
    """The boxes with their devices; as they are where all stand on the same one.

    The devices of this machine come first, then in the order in which they were used.
    """
    nodes = tuple(nodes)
    homes = {node.id: _devices(recording, node) for node in nodes if node.kind not in _QUIET}
    every = dict.fromkeys(name for names in homes.values() for name in names)
    if len(every) < 2:
        return nodes
    order = sorted(every, key=lambda name: "/" in short(name))  # this machine's first
    return tuple(_on(node, homes.get(node.id, ()), order) for node in nodes)


def _on(node: Node, names: tuple[str, ...], order: list[str]) -> Node:
    if len(names) != 1:
        return node
    return replace(node, place=order.index(names[0]), device=short(names[0]))


def _devices(recording: Recording, node: Node) -> tuple[str, ...]:
    """The full names of the devices that a box stands on."""
    if node.variable is not None:
        names = [recording.variables[node.variable].device]
    elif node.ops:
        names = [recording.ops[op].device for op in node.ops]
    else:
        names = [recording.tensors[node.tensor].device] if node.tensor is not None else []
    return tuple(dict.fromkeys(name for name in names if name))
