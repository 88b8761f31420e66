"""A graph as DOT: an iterator of lines, every label escaped and wide enough for its text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from wcwidth import wcswidth

from tfmagic.model import Cluster, Edge, Graph, Node
from tfmagic.render.escape import visible
from tfmagic.render.palette import ARROW, BACK, INK, LOOKS, MARK, MONO, PLACES, QUIET, SANS, Look

__all__ = [
    "columns",
    "directed",
    "lines",
    "look_of",
    "node_lines",
    "plain",
    "shown",
    "source",
    "text_width",
]

WIDEST = 60
MOST_LINES = 12
TITLE_SIZE, TEXT_SIZE = 13, 11
#: Width of one column as a share of the font size, with room: Graphviz's own metrics are
#: too narrow for Hangul, so each cell is given its width.
_COLUMN = 0.62
_DEEP = 9


def source(graph: Graph, *, direction: str = "auto", columns: int = 1) -> str:
    """DOT for ``graph``, as :func:`plain` leaves it.

    ``direction`` is ``"LR"``, ``"TB"`` or ``"auto"`` (by the longest way through it).  A long
    way from top to bottom goes on in the next of several ``columns``, as a text does.
    """
    return "\n".join(lines(graph, directed(graph, direction), columns)) + "\n"


def directed(graph: Graph, direction: str) -> str:
    """``"LR"`` or ``"TB"``, where ``"auto"`` leaves it to the graph."""
    if direction != "auto":
        return direction
    return "LR" if _length(graph) < _DEEP else "TB"


def plain(graph: Graph) -> Graph:
    """The graph without the arrows back to a variable that an op changes.

    Such an arrow would run against all others; the op's box says ``→ W_1`` instead.
    A variable that nothing takes keeps its arrow: there it leads onward.
    """
    titles = {node.id: node.title for node in graph.nodes}
    taken = {edge.tail for edge in graph.edges}
    back = [edge for edge in graph.edges if edge.kind == "control" and edge.head in taken]
    writes: dict[str, tuple[str, ...]] = {}
    for edge in back:
        line = f"→ {titles.get(edge.head, edge.head)}"
        writes[edge.tail] = (*writes.get(edge.tail, ()), line)
    nodes = (replace(n, detail=(*n.detail, *writes.get(n.id, ()))) for n in graph.nodes)
    left = set(back)
    edges = (edge for edge in graph.edges if edge not in left)
    return replace(graph, nodes=tuple(nodes), edges=tuple(edges))


def lines(graph: Graph, direction: str = "LR", columns: int = 1) -> Iterator[str]:
    """The lines of the DOT text, in a stable order."""
    yield "digraph tfmagic {"
    yield f'  graph [rankdir={direction}, bgcolor="transparent", nodesep=0.25, ranksep=0.35,'
    yield f'         pad=0.15, fontname="{SANS}", fontsize=11, fontcolor="{QUIET}"];'
    yield f'  node [fontname="{MONO}", fontsize={TEXT_SIZE}, fontcolor="{INK}",'
    yield '        margin="0.10,0.05", height=0.35];'
    yield f'  edge [fontname="{SANS}", fontsize=10, fontcolor="{QUIET}", color="{ARROW}",'
    yield "        arrowsize=0.7];"
    yield from _clusters(graph)
    column = _columns(graph, columns)
    for edge in graph.edges:
        yield _edge(edge, goes_on=column.get(edge.tail) != column.get(edge.head))
    heads = {at: name for name, at in reversed(column.items())}  # the first box of each column
    for left, right in pairwise(heads[at] for at in sorted(heads)):
        yield f'  "{quoted(left)}" -> "{quoted(right)}" [style=invis, constraint=false];'
    yield "}"


def _clusters(graph: Graph) -> Iterator[str]:
    """Boxes, inside the frames they stand in."""
    children: dict[str, list[Cluster]] = {}
    members: dict[str, list[Node]] = {}
    for cluster in graph.clusters:
        children.setdefault(cluster.parent, []).append(cluster)
    for node in graph.nodes:
        members.setdefault(node.cluster, []).append(node)
    todo: list[Cluster | str] = [*reversed(children.get("", ()))]
    yield from map(_node, members.get("", ()))
    while todo:
        part = todo.pop()
        if isinstance(part, str):
            yield part
            continue
        yield f'  subgraph "cluster_{part.id}" {{'
        yield f'    label="{_escaped(shown(part.title))}"; style="rounded"; color="{ARROW}";'
        yield from map(_node, members.get(part.id, ()))
        todo.append("  }")
        todo.extend(reversed(children.get(part.id, ())))


def _node(node: Node) -> str:
    look = look_of(node)
    colour, width = (MARK, 2) if node.marked else (look.line, 1.2)
    return (
        f'  "{quoted(node.id)}" [id="{quoted(node.id)}", label="{_label(node)}", '
        f'width={_inches(node):.2f}{_room(look)}, shape={look.shape}, style="{look.style}", '
        f'fillcolor="{look.fill}", color="{colour}", penwidth={width}, '
        f"peripheries={look.border}];"
    )


def look_of(node: Node) -> Look:
    """Shape and colours of a box; on another device than the first it has that one's."""
    look = LOOKS.get(node.kind, LOOKS["op"])
    if not node.place:
        return look
    fill, line = PLACES[(node.place - 1) % len(PLACES)]
    return replace(look, fill=fill, line=line)


def _room(look: Look) -> str:
    """A cylinder's lid takes room from its text."""
    return ', margin="0.10,0.08"' if look.shape == "cylinder" else ""


def node_lines(node: Node) -> tuple[tuple[str, str], ...]:
    """The lines that stand in a box, each with its part: title, detail or gradient."""
    gradient = node.gradient.split("\n") if node.gradient else []
    return (
        ("title", shown(node.title)),
        *(("detail", shown(line)) for line in _few(node.detail)),
        *(("gradient", shown(line)) for line in _few(gradient)),
    )


def _label(node: Node) -> str:
    (_, title), *rest = node_lines(node)
    body = "".join(_escaped(text) + "\\l" for _, text in rest)
    return f"{_escaped(title)}\\n{body}" if body else _escaped(title)


def _inches(node: Node) -> float:
    """How wide the box must be for its longest line, at 72 points an inch, margins included."""
    (_, title), *rest = node_lines(node)
    wide = max(columns(title) * TITLE_SIZE * _COLUMN, text_width([text for _, text in rest]))
    round_ = 1.35 if look_of(node).shape == "ellipse" else 1.0
    return (wide + 18) * round_ / 72


def text_width(texts: Sequence[str]) -> float:
    """Points that these lines take in a box; Hangul is given its two columns."""
    return max((columns(text) for text in texts), default=0) * TEXT_SIZE * _COLUMN


def _few(texts: Sequence[str]) -> Sequence[str]:
    return texts if len(texts) <= MOST_LINES else [*texts[: MOST_LINES - 1], "…"]


def _edge(edge: Edge, *, goes_on: bool = False) -> str:
    colour = MARK if edge.marked else BACK if edge.kind == "backward" else ARROW
    style = "solid" if edge.kind == "forward" else "dashed"
    label = f', label=" {_escaped(shown(edge.label))} "' if edge.label else ""
    label += ", constraint=false" if goes_on else ""  # it does not say what stands below what
    width = 2.2 if edge.marked else 1.2
    return (
        f'  "{quoted(edge.tail)}" -> "{quoted(edge.head)}" '
        f'[color="{colour}", style={style}, penwidth={width}{label}];'
    )


def columns(text: str) -> int:
    """Columns of a fixed-width font that ``text`` takes; Hangul takes two."""
    width = wcswidth(text)
    return width if width >= 0 else len(text)


def shown(text: str) -> str:
    """Text that can stand in a box: one line, no control or direction marks, not too long."""
    text = visible(text[: 4 * WIDEST])
    if columns(text) <= WIDEST:
        return text
    while columns(text) >= WIDEST:
        text = text[:-1]
    return text + "…"


def _escaped(text: str) -> str:
    """Text for a label, where nothing of it is an escape or an entity."""
    text = text.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')
    return text.replace(" ", "\u00a0")


def quoted(text: str) -> str:
    """Text for a quoted DOT string, where nothing of it can end the string or be an escape."""
    return shown(text).replace("\\", "\\\\").replace('"', '\\"')


def _length(graph: Graph) -> int:
    """Boxes on the longest way."""
    return max(_ranks(graph).values(), default=0)


def _ranks(graph: Graph) -> dict[str, int]:
    """How many boxes lead to each, itself among them, following arrows in the order the boxes
    were made."""
    order = {node.id: position for position, node in enumerate(graph.nodes)}
    rank = dict.fromkeys(order, 1)
    for edge in sorted(graph.edges, key=lambda e: order.get(e.head, 0)):
        if edge.tail in order and edge.head in order and order[edge.tail] < order[edge.head]:
            rank[edge.head] = max(rank[edge.head], rank[edge.tail] + 1)
    return rank


def _columns(graph: Graph, columns: int) -> dict[str, int]:
    """The column in which each box stands; one that nothing leads to stands by its first taker."""
    if columns < 2:
        return {}
    rank, first = _ranks(graph), dict[str, int]()
    for edge in graph.edges:
        if edge.head in rank:
            first[edge.tail] = min(first.get(edge.tail, rank[edge.head]), rank[edge.head])
    taken = {edge.head for edge in graph.edges}
    height = -(-max(rank.values(), default=1) // columns)
    at = {n: r if n in taken else max(1, first.get(n, 2) - 1) for n, r in rank.items()}
    return {n: (r - 1) // height for n, r in sorted(at.items(), key=lambda pair: pair[1])}
