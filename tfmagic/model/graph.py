"""The graph that is drawn: boxes and arrows, before any picture is made of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Node:
    """One box.

    ``kind`` is ``"variable"``, ``"input"``, ``"op"``, ``"backward"`` (a backward op),
    ``"target"`` (an op whose result is differentiated), ``"stub"`` (a copy of a much
    used input, next to its consumer), ``"outside"`` (what stands around the part that is
    drawn), or several ops as one: ``"fold"``,
    ``"fold_target"``, ``"fold_backward"``.  ``title`` is the box's heading, ``detail``
    its further lines (name, value, shape), ``gradient`` the lines for its gradient.
    ``ops``, ``tensor`` and ``variable`` lead back to the recording; ``cluster`` names
    the frame that the box stands in, ``marked`` says that it lies on a verdict's path.
    Where the ops ran on several devices ``device`` is that of the box, by its short name (empty
    where a fold has several), and ``place`` its number in the order that the devices came.
    """

    id: str
    kind: str
    title: str
    detail: tuple[str, ...] = ()
    ops: tuple[int, ...] = ()
    tensor: int | None = None
    variable: int | None = None
    cluster: str = ""
    gradient: str = ""
    marked: bool = False
    place: int = 0
    device: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow: ``tail`` gives the tensor, ``head`` takes it.

    ``kind`` is ``"forward"``, ``"backward"`` or ``"control"``; ``label`` the shape or name
    of the tensor, ``marked`` whether it stands on the path of a verdict.
    """

    tail: str
    head: str
    kind: str = "forward"
    label: str = ""
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Cluster:
    """A frame around boxes that belong together; ``parent`` is the frame around it."""

    id: str
    title: str
    parent: str = ""


@dataclass(frozen=True, slots=True)
class Graph:
    """What is drawn, in a stable order; ``notes`` tell what was left out."""

    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    notes: tuple[str, ...] = ()
    title: str = ""
