"""The inside of each fold as a drawing of its own: boxes with places, for the live picture.

Every fold is laid out once, by itself, and never again: to open it, its box is stretched and
what is around it makes room (``static/graph.js``).  So nothing changes its order, however
many folds are open, and no layout ever has more than a few dozen boxes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from typing import Any

from tfmagic.analysis.details import Details, steps_to_target, verdict_text
from tfmagic.analysis.graph import Sketch
from tfmagic.analysis.tree import Fold
from tfmagic.errors import RenderError
from tfmagic.language import say
from tfmagic.model import Edge, Graph, Node, Recording
from tfmagic.render.dot import node_lines, plain, shown, source
from tfmagic.render.escape import clipped, visible
from tfmagic.render.layout import places
from tfmagic.render.palette import LOOKS

__all__ = ["Scene", "words"]

_WORDS = (
    *("title", "search", "search_hint", "nothing_found", "found", "colour", "kind"),
    *(
        "device",
        "time",
        "flops",
        "gradient",
        "dtype",
        "bytes",
        "unknown",
        "zoom_in",
        "zoom_out",
        "fit",
    ),
    *("open", "close", "closed", "opened", "way", "no_way", "on_way", "rough", "keys", "help"),
    "nothing_chosen",
)
_COUNTS = ("found", "on_way")

_NUMBER = re.compile(r"-?[0-9.]+(?:e[+-]?[0-9]+)?")
_LONGEST_DETAIL = 400
_LONGEST_TITLE = 160
_MOST_FOUND = 50


class Scene:
    """The levels of one recording, each as plain JSON data.

    ``budget`` is the seconds that the layout of one level may take; a level that takes
    longer is set in rows.
    """

    def __init__(
        self,
        recording: Recording,
        sketch: Sketch | None = None,
        *,
        budget: float = 1.0,
        engine: str = "auto",
        direction: str = "TB",
    ) -> None:
        self.recording = recording
        self.sketch = sketch or Sketch(recording)
        self.details = Details(recording)
        self.details.tallies.learn(self.sketch.folds.values())
        self._budget = budget
        self._engine = engine
        self._direction = "LR" if direction == "LR" else "TB"
        self._levels: dict[str, dict[str, Any]] = {}

    def level(self, name: str) -> dict[str, Any]:
        """Boxes and arrows inside the fold ``name``, with their places."""
        if name not in self._levels:
            self._levels[name] = self._laid_out(plain(self.sketch.level(name)))
        return self._levels[name]

    def first(self, opened: Collection[str] | None = None) -> dict[str, Any]:
        """All that a picture starts from: open folds with their levels, words and looks."""
        names = list(self.opened() if opened is None else opened)
        _ = self.recording.consumers  # worked out now, so that the first fold opens at once
        return {
            "root": self.root,
            "open": names,
            "levels": {name: self.level(name) for name in names},
            "words": words(),
            "looks": {
                kind: {
                    "shape": look.shape,
                    "fill": look.fill,
                    "line": look.line,
                    "border": look.border,
                    "word": say(f"report.kind_{kind}"),
                }
                for kind, look in LOOKS.items()
            },
            "ranges": self.ranges,
        }

    def reveal(self, name: str) -> dict[str, Any]:
        """The folds to open so that a box is seen, with their levels, and its own."""
        home = self.home(name)
        around = (*self.around(home), home)
        return {
            "around": around,
            "home": home,
            "levels": {each: self.level(each) for each in around},
        }

    @property
    def root(self) -> str:
        """The outermost fold."""
        return self.sketch.root.id

    @cached_property
    def parents(self) -> dict[str, str]:
        """The fold around each fold and each op, by the ids of their boxes."""
        return {
            (part.id if isinstance(part, Fold) else f"o{part}"): fold.id
            for fold in self.sketch.folds.values()
            for part in fold.parts
        }

    def opened(self, limit: int = 60) -> tuple[str, ...]:
        """The folds that are open at first: so many that the whole still reads."""
        cut = self.sketch.cut(limit=limit)
        return tuple(name for name in self.sketch.folds if name in cut.opened)

    def around(self, name: str) -> tuple[str, ...]:
        """The folds that must be open for a box to be seen, outermost first."""
        found: list[str] = []
        while name in self.parents:
            name = self.parents[name]
            found.append(name)
        return tuple(reversed(found))

    def search(self, text: str) -> list[dict[str, Any]]:
        """Boxes whose name, type, scope or title has ``text`` in it, folds before ops."""
        wanted = text.casefold().strip()
        if not wanted:
            return []
        found = []
        for name, title in self.titles():
            if wanted in title.casefold():
                found.append({"id": name, "title": title})
                if len(found) == _MOST_FOUND:
                    break
        return found

    def way(self, name: str) -> dict[str, Any]:
        """The boxes on the way from one box to what is differentiated, and the verdict."""
        steps = steps_to_target(self.recording)
        op = next((op for op in self.ops(name) if op in steps), None)
        marked = {} if op is None else {name: None}
        while op is not None:
            marked[f"o{op}"] = None
            marked.update(dict.fromkeys(self.around(f"o{op}")))
            op = steps[op]
        return {"ids": list(marked), "verdict": self.verdict(name)}

    @property
    def next_steps(self) -> dict[str, str]:
        """For each op that leads to what is differentiated the op after it; none after the last."""
        steps = steps_to_target(self.recording)
        return {f"o{op}": "" if after is None else f"o{after}" for op, after in steps.items()}

    @cached_property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """The least and the greatest figure of each measure, over single ops."""
        ops = self.sketch.selection.ops
        nodes = (Node(f"o{op.index}", "op", "", ops=(op.index,)) for op in ops)
        found: dict[str, tuple[float, float]] = {}
        for node in nodes:
            for key, value in self.details.measures(node).items():
                if isinstance(value, (int, float)) and value > 0:
                    low, high = found.get(key, (value, value))
                    found[key] = min(low, value), max(high, value)
        return found

    # -- lookups --------------------------------------------------------------------------

    def titles(self) -> Iterator[tuple[str, str]]:
        """Every box that can be searched for, and the words that it is found by."""
        for name, title in self._titles():
            yield name, clipped(visible(title[:_LONGEST_DETAIL]), _LONGEST_TITLE)

    def _titles(self) -> Iterator[tuple[str, str]]:
        for fold in self.sketch.folds.values():
            if fold.id != self.root:
                yield fold.id, fold.title
        for variable in self.recording.variables:
            yield f"v{variable.id}", variable.name or variable.label
        for op in self.sketch.selection.ops:
            names = " ".join(self.recording.tensors[t].name for t in op.outputs)
            yield f"o{op.index}", " ".join(filter(None, (op.function or op.type, names, op.scope)))

    def home(self, name: str) -> str:
        """The fold in whose level a box is drawn; that of its first taker for a variable."""
        if name.startswith("v"):
            takers = [op for op in self.ops(name) if f"o{op}" in self.parents]
            return self.parents[f"o{takers[0]}"] if takers else self.root
        return self.parents.get(name, self.root)

    def ops(self, name: str) -> Collection[int]:
        """The ops behind a box; for a variable or an input those that take it."""
        kind, rest = name[:1], name[1:].partition("_")[0]
        if kind == "o":
            return (int(rest),)
        if name in self.sketch.folds:
            return self.sketch.folds[name].ops
        if kind == "t":
            return self.recording.consumers.get(int(rest), ())
        if kind == "v":
            reads = (t.id for t in self.recording.tensors if t.variable == int(rest))
            return [op for t in reads for op in self.recording.consumers.get(t, ())]
        return ()

    def verdict(self, name: str) -> str:
        """The last verdict on what a box holds, empty where none was asked for."""
        for call in reversed(self.recording.gradients):
            for gradient in call.gradients:
                if gradient.verdict is None:
                    continue
                same = name == f"v{gradient.variable}"
                own = {f"o{self.recording.tensors[t].op}" for t in gradient.source_tensors}
                if (
                    same
                    or name in own
                    or name.partition("_")[0] in {f"t{t}" for t in gradient.source_tensors}
                ):
                    return visible(verdict_text(gradient.verdict)[:_LONGEST_DETAIL])
        return ""

    # -- layout ---------------------------------------------------------------------------

    def _laid_out(self, graph: Graph) -> dict[str, Any]:
        try:
            text = source(graph, direction=self._direction)
            found = places(text, budget=self._budget, engine=self._engine)
            return self._placed(graph, found)
        except RenderError as error:
            if error.key != "layout.over_budget":
                raise
            return self._in_rows(graph)

    def _placed(self, graph: Graph, found: Mapping[str, Any]) -> dict[str, Any]:
        _, _, width, height = map(float, str(found["bb"]).split(","))
        at: dict[str, tuple[float, ...]] = {}
        names: dict[int, str] = {}
        for thing in found.get("objects", ()):
            x, y = map(float, thing["pos"].split(","))
            names[thing["_gvid"]] = thing["name"]
            size = (float(thing["width"]) * 72, float(thing["height"]) * 72)
            at[thing["name"]] = (x, height - y, *size)
        lines: dict[tuple[tuple[str, str], int], list[float]] = {}
        for thing in found.get("edges", ()):
            pair = names[thing["tail"]], names[thing["head"]]
            lines[pair, sum(known == pair for known, _ in lines)] = _spline(thing, height)
        seen: dict[tuple[str, str], int] = {}
        edges = []
        for edge in graph.edges:
            pair = edge.tail, edge.head
            seen[pair] = seen.get(pair, -1) + 1
            if (spline := lines.get((pair, seen[pair]))) is not None:
                edges.append(_edge(edge, spline))
        nodes = [self._node(node, at[node.id]) for node in graph.nodes if node.id in at]
        return {"w": round(width, 1), "h": round(height, 1), "nodes": nodes, "edges": edges}

    def _in_rows(self, graph: Graph) -> dict[str, Any]:
        """Boxes in rows, where no layout was found in time; arrows are straight."""
        width, height, columns = 170.0, 70.0, max(1, round(len(graph.nodes) ** 0.5))
        at = {
            node.id: ((i % columns + 0.5) * (width + 30), (i // columns + 0.5) * (height + 40))
            for i, node in enumerate(graph.nodes)
        }
        nodes = [self._node(node, (*at[node.id], width, height)) for node in graph.nodes]
        edges = [
            _edge(edge, [*at[edge.tail], *at[edge.tail], *at[edge.head], *at[edge.head]])
            for edge in graph.edges
        ]
        rows = -(-len(graph.nodes) // columns)
        size = {"w": columns * (width + 30), "h": rows * (height + 40)}
        return {**size, "nodes": nodes, "edges": edges, "rough": True}

    def _node(self, node: Node, at: tuple[float, ...]) -> dict[str, Any]:
        made: dict[str, Any] = {
            "id": node.id,
            "kind": node.kind,
            "at": [round(v, 1) for v in at],
            "lines": [[part, text] for part, text in node_lines(node)],
            "rows": [
                [label, clipped(visible(text), _LONGEST_DETAIL)]
                for label, text in self.details.rows(node)
            ],
            "by": self.details.measures(node),
        }
        if node.id in self.sketch.folds:
            made["fold"] = True
        if node.marked:
            made["marked"] = True
        return made


def words() -> dict[str, str]:
    """The sentences of the live picture; ``{n}`` is filled in there."""
    counted = {name: {"n": "{n}"} for name in _COUNTS}
    return {name: say(f"scene.{name}", **counted.get(name, {})) for name in _WORDS}


def _spline(thing: Mapping[str, Any], height: float) -> list[float]:
    """The points of an arrow, from its tail to its tip, y growing downwards."""
    start: list[float] = []
    tip: list[float] = []
    points: list[float] = []
    for part in str(thing.get("pos", "")).split(" "):
        x, y = (float(n) for n in _NUMBER.findall(part.lstrip("es,"))[:2])
        point = [round(x, 1), round(height - y, 1)]
        if part.startswith("e,"):
            tip = point
        elif part.startswith("s,"):
            start = point
        else:
            points += point
    return [*start, *points, *tip] if not start else [*start, *points[2:], *tip]


def _edge(edge: Edge, points: list[float]) -> dict[str, Any]:
    made: dict[str, Any] = {"t": edge.tail, "h": edge.head, "k": edge.kind, "p": points}
    if edge.label:
        made["label"] = shown(edge.label)
    if edge.marked:
        made["marked"] = True
    return made
