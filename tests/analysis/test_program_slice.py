"""The newest cell of a story: of what it tells, and that it stays as small as the cell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tfmagic.analysis.graph import build
from tfmagic.analysis.program_slice import MOST, chapter
from tfmagic.model import Exit, Gradient, Recording, Verdict, from_json


def story(make: Any, cells: int, **fields: Any) -> Recording:
    """Cells that each square the same variable and ask for the slope."""
    m = make(["y = w * w", "t.gradient(y, w)"])
    w = m.variable("w", 2.0)
    for cell in range(cells):
        read = m.read(w)
        y = m.op("Mul", [read, read], 4.0, name="y", line=0, cell=cell)
        square = len(m.ops) - 1
        back = {"kind": "backward", "line": 1, "call": cell, "cell": cell}
        slope = m.op("Mul", [m.tensor(2.0), read], 4.0, differentiates=square, **back)
        m.pairs.append((read, slope))
        told = Verdict("ok", "y", "w", op=square, ops=(square,))
        value = m.tensors[slope].value
        m.gradient(
            y,
            Gradient("y", "w", "", (), "float32", value, slope, w, (read,), verdict=told),
            line=1,
            cell=cell,
        )
    reads = tuple(t.id for t in m.tensors if t.role == "read")
    m.variables[w] = replace(m.variables[w], reads=reads)
    return m.done(**fields)


def test_a_chapter_is_as_large_as_its_cell(make: Any) -> None:
    part = chapter(story(make, 50), 49)
    forward, backward = part.ops
    assert (forward.index, backward.differentiates, backward.call) == (98, 98, 49)
    assert part.ops[98] is forward and part.ops[-1] is backward
    assert part.call(49) is part.gradients[-1] and part.call(48) is None
    (call,) = part.gradients
    (gradient,) = call.gradients
    assert part.tensors[call.target_tensors[0]].name == "y"
    assert part.gradient_of[gradient.source_tensors[0]] == gradient.tensor
    assert gradient.verdict is not None and (gradient.verdict.op, gradient.verdict.ops) == (
        98,
        (98,),
    )
    assert [v.reads for v in part.variables] == [gradient.source_tensors]
    assert "2 of the story's 100 ops" in part.notes[0]
    assert from_json(part.to_json()) == part


def test_a_chapter_is_drawn_with_the_gradient_that_changes_its_variable(make: Any) -> None:
    m = make(["y = v * v", "g = t.gradient(y, v)", "v.assign_sub(g)"])
    for cell in range(2):
        v = m.variable(f"v{cell}", 2.0)
        read = m.read(v)
        y = m.op("Mul", [read, read], 4.0, name="y", line=0, cell=cell)
        back = {"kind": "backward", "line": 1, "call": cell, "cell": cell}
        slope = m.op("Mul", [m.tensor(2.0), read], 4.0, differentiates=len(m.ops) - 1, **back)
        m.gradient(y, line=1, cell=cell)
        m.op("AssignSubVariableOp", [m.handle(v), slope], line=2, cell=cell)
    graph = build(chapter(m.done(), 1))
    (backward,) = (node for node in graph.nodes if node.kind == "fold_backward")
    (target,) = (node for node in graph.nodes if node.kind == "target")
    assert "gradient of y" in backward.title
    assert (target.id, backward.id) in {(edge.tail, edge.head) for edge in graph.edges}


def test_what_has_left_tensorflow_is_counted_by_the_chapters_ops(make: Any) -> None:
    whole = story(make, 3)
    exits = tuple(Exit(whole.ops[i].outputs[0], "numpy", 0, i + 1) for i in (0, 4))
    (left,) = chapter(story(make, 3, exits=exits), 2).exits
    assert (left.op, left.tensor) == (5, whole.ops[4].outputs[0])


def test_forward_backward_and_update_in_three_cells_are_one_chapter(make: Any) -> None:
    m = make(["y = w * w", "g = t.gradient(y, w)", "w.assign_sub(g)", "z = 2.0 + 1.0"])
    w = m.variable("w", 2.0)
    read = m.read(w)
    y = m.op("Exp", [m.op("Mul", [read, read], line=0)], name="y", line=0)
    back = {"kind": "backward", "line": 1, "call": 0, "cell": 1}
    slope = m.op("Mul", [m.tensor(2.0), read], differentiates=0, **back)
    m.gradient(y, line=1, cell=1)
    m.change("AssignSubVariableOp", w, slope)
    m.ops[-1] = m.ops[-1].__class__(3, "AssignSubVariableOp", inputs=m.ops[-1].inputs, cell=2)
    whole = m.done()
    assert chapter(whole, 2) is whole
    m.op("AddV2", [m.tensor(2.0), m.tensor(1.0)], line=3, cell=3)
    assert [op.type for op in chapter(m.done(), 3).ops] == ["AddV2"]


def test_a_long_way_to_a_cell_is_cut_where_it_is_farthest(make: Any) -> None:
    m = make()
    value = m.tensor(1.0)
    for i in range(MOST + 50):
        value = m.op("Exp", [value], scope=str(i))
    m.op("Sum", [value], cell=1)
    part = chapter(m.done(), 1)
    assert len(part.ops) == MOST + 1
    assert next(iter(part.ops)).scope == "50" and part.ops[-1].type == "Sum"
    assert part.tensors[part.ops[50].inputs[0]].role == "input"


def test_a_cell_that_asked_for_what_is_none_tells_why(make: Any) -> None:
    m = make(["y = x * 2.0", "t.gradient(y, x)"])
    m.op("Neg", [m.tensor(1.0)])
    m.op("Mul", [m.tensor(1.0, name="x"), m.tensor(2.0)], name="y", cell=1)
    told = Verdict("not_watched", "y", "x", op=1, ops=(1,))
    m.gradient(m.ops[1].outputs[0], Gradient("y", "x", verdict=told), line=1, cell=2)
    part = chapter(m.done(), 2)
    assert [op.type for op in part.ops] == ["Mul"]
    (verdict,) = part.verdicts
    assert (verdict.op, verdict.ops) == (1, (1,))
