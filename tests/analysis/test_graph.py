"""A recording becomes boxes and arrows: all of them, folded where they are many."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tfmagic.analysis.graph import build
from tfmagic.model import Gradient, Graph, Node, Recording


def boxes(graph: Graph) -> dict[str, Node]:
    return {node.id: node for node in graph.nodes}


def arrows(graph: Graph, kind: str = "forward") -> set[tuple[str, str]]:
    """The arrows of one kind, from title to title."""
    title = {node.id: node.title for node in graph.nodes}
    return {(title[e.tail], title[e.head]) for e in graph.edges if e.kind == kind}


def of_kind(graph: Graph, kind: str) -> list[Node]:
    return [node for node in graph.nodes if node.kind == kind]


# --- the lesson --------------------------------------------------------------------------


def test_every_box_of_the_lesson_is_there(lesson: Recording) -> None:
    graph = build(lesson)
    assert [(n.kind, n.title) for n in graph.nodes] == [
        ("variable", "W_1"),
        ("input", "X"),
        ("op", "MatMul"),
        ("variable", "W_2"),
        ("op", "MatMul"),
        ("input", "Y"),
        ("op", "Sub"),
        ("op", "Square"),
        ("stub", "2"),
        ("target", "RealDiv"),
    ]
    assert arrows(graph) == {
        ("W_1", "MatMul"),
        ("X", "MatMul"),
        ("W_2", "MatMul"),
        ("MatMul", "MatMul"),
        ("MatMul", "Sub"),
        ("Y", "Sub"),
        ("Sub", "Square"),
        ("Square", "RealDiv"),
        ("2", "RealDiv"),
    }
    assert graph.notes == () and graph.clusters == ()


def test_a_box_tells_name_value_shape_and_gradient(lesson: Recording) -> None:
    hidden = boxes(build(lesson))["o0"]
    assert hidden.detail == ("H_1 = [[0.85],", "       [0.48]]", "(2, 1)")
    assert hidden.gradient == "∇ = [[-0.11326],\n     [-0.12135]]"
    weight = boxes(build(lesson))["v0"]
    assert weight.detail == ("[[0.11, 0.21],", " [0.12, 0.08]]", "(2, 2)")
    assert weight.gradient == "∇ = [[-0.22652, -0.33978],\n     [ -0.2427, -0.36405]]"


def test_the_same_recording_gives_the_same_graph(lesson: Recording) -> None:
    assert build(lesson) == build(lesson)
    assert build(lesson, backward=True) == build(lesson, backward=True)


def test_backward_ops_are_drawn_when_asked_for(lesson: Recording) -> None:
    graph = build(lesson, backward=True)
    assert len(of_kind(graph, "backward")) == 5
    assert ("Sub", "Mul") in arrows(graph, "backward")
    names = [line for node in of_kind(graph, "backward") for line in node.detail]
    assert any(line.startswith("∇W_1 = ") for line in names)


def test_a_marked_path_is_marked_from_the_variable_on(lesson: Recording) -> None:
    graph = build(lesson, marked=(0, 1, "W_1"))
    assert {n.id for n in graph.nodes if n.marked} == {"v0", "o0", "o1"}
    assert {(e.tail, e.head) for e in graph.edges if e.marked} == {("v0", "o0"), ("o0", "o1")}


def test_every_arrow_joins_two_boxes(lesson: Recording) -> None:
    for options in ({}, {"backward": True}, {"limit": 3}, {"focus": [1]}, {"flat": True}):
        graph = build(lesson, **options)
        ids = [node.id for node in graph.nodes]
        assert len(set(ids)) == len(ids)
        assert {e.tail for e in graph.edges} | {e.head for e in graph.edges} <= set(ids)


# --- variables ---------------------------------------------------------------------------


def test_a_variable_is_one_box_however_often_it_is_read(make: Any) -> None:
    m = make()
    w = m.variable("w", 2.0)
    m.op("Mul", [m.read(w), m.read(w)])
    m.op("Neg", [m.op("ReadVariableOp", [m.handle(w)])])
    m.tensors[-2] = replace(m.tensors[-2], variable=w)
    graph = build(m.done())
    assert len(of_kind(graph, "variable")) == 1
    assert arrows(graph) == {("w", "Mul"), ("w", "Neg")}


def test_an_assignment_points_at_its_variable(make: Any) -> None:
    m = make()
    w = m.variable("w", 2.0)
    step = m.op("Mul", [m.read(w), m.tensor(0.1)])
    m.change("AssignSubVariableOp", w, step)
    graph = build(m.done())
    assert arrows(graph, "control") == {("AssignSubVariableOp", "w")}
    assert ("w", "AssignSubVariableOp") not in arrows(graph)


def test_an_update_takes_the_gradient_from_one_box(lesson: Recording, make: Any) -> None:
    m = make()
    w = m.variable("w", 2.0)
    read = m.read(w)
    loss = m.op("Square", [read], 4.0, name="loss")
    slope = m.op("Mul", [read, m.tensor(2.0)], 4.0, kind="backward", differentiates=0, call=0)
    m.gradient(loss, Gradient("loss", "w", tensor=slope, variable=w, source_tensors=(read,)))
    step = m.op("Mul", [slope, m.tensor(0.1)], 0.4)
    m.change("AssignSubVariableOp", w, step)
    graph = build(m.done())
    assert arrows(graph, "backward") == {
        ("Square", "gradient of loss"),
        ("gradient of loss", "Mul"),
    }
    assert [e.label for e in graph.edges if e.tail == "b0"] == ["∇w"]


def test_a_variable_that_nothing_takes_is_drawn_if_its_gradient_was_asked(make: Any) -> None:
    m = make()
    used, unused = m.variable("used"), m.variable("unused")
    read = m.read(used)
    loss = m.op("Square", [read], name="loss")
    m.gradient(loss, Gradient("loss", "unused", variable=unused))
    (box,) = [n for n in build(m.done()).nodes if n.title == "unused"]
    assert box.gradient == "∇ = None"


def test_a_frozen_variable_says_so(make: Any) -> None:
    m = make()
    m.op("Neg", [m.read(m.variable("w", trainable=False))])
    assert "not trainable" in build(m.done()).nodes[0].detail


def test_the_making_of_variables_is_left_out_and_said(make: Any) -> None:
    m = make()
    w = m.variable("w", 2.0)
    made = m.op("VarHandleOp", [], 0.0)
    m.tensors[made] = replace(m.tensors[made], variable=w, role="handle")
    m.op("AssignVariableOp", [made, m.tensor(2.0)], None)
    m.op("Square", [m.read(w)])
    graph = build(m.done())
    assert [n.title for n in graph.nodes] == ["w", "Square"]
    assert graph.notes == ("1 op that only handles a shape or an initial value is not drawn.",)


# --- inputs ------------------------------------------------------------------------------


def test_a_much_used_scalar_stands_beside_each_taker(make: Any) -> None:
    m = make()
    lr, x = m.tensor(0.05, name="lr"), m.tensor([1.0] * 20, name="x")
    for _ in range(3):
        m.op("Mul", [lr, x])
    graph = build(m.done())
    assert [n.title for n in of_kind(graph, "stub")] == ["lr = 0.05"] * 3
    assert [n.title for n in of_kind(graph, "input")] == ["x"]


def test_a_large_tensor_is_told_by_shape_and_norm(make: Any) -> None:
    m = make()
    m.op("Neg", [m.tensor([[3.0] * 16] * 100, name="x")])
    assert build(m.done()).nodes[0].detail == ("(100, 16)", "‖·‖ = 120")


def test_the_gradient_of_a_constant_without_a_name_is_not_told(make: Any) -> None:
    m = make()
    two, x, slope = m.tensor(2.0), m.tensor([3.0], name="x"), m.tensor(5.0)
    m.op("Mul", [two, x])
    m.pairs = [(two, slope), (x, slope)]
    assert [n.gradient for n in build(m.done()).nodes] == ["", "∇ = 5", ""]


def test_nan_is_told(make: Any) -> None:
    m = make()
    m.op("Neg", [m.tensor([float("nan"), *[1.0] * 30], name="x")])
    assert build(m.done()).nodes[0].detail[-1] == "NaN 1"


# --- folding -----------------------------------------------------------------------------


def network(make: Any, layers: int, width: int, turns: int = 1) -> Recording:
    """Dense layers in scopes, the loss outside of them, as often as said."""
    m = make(["out = model(x)", "loss = tf.reduce_mean(out)"])
    weights = [m.variable(f"w{i}") for i in range(layers)]
    for _ in range(turns):
        value = m.tensor([1.0] * 20, name="x")
        for i, weight in enumerate(weights):
            scope = f"net/dense_{i}/"
            value = m.op("MatMul", [value, m.read(weight)], scope=scope, line=0)
            for _ in range(width):
                value = m.op("Relu", [value], scope=scope, line=0)
        m.op("Mean", [value], name="loss", line=1)
    return m.done()


def test_a_small_network_is_not_folded_but_framed(make: Any) -> None:
    graph = build(network(make, layers=2, width=1))
    assert not of_kind(graph, "fold")
    assert [c.title for c in graph.clusters] == ["net", "dense_0", "dense_1"]
    net, _, last = (c.id for c in graph.clusters)
    assert [c.parent for c in graph.clusters] == ["", net, net]
    (weight,) = [n for n in graph.nodes if n.title == "w1"]
    assert weight.cluster == last


def test_a_large_network_is_folded_by_layer(make: Any) -> None:
    graph = build(network(make, layers=10, width=20), limit=30)
    folds = of_kind(graph, "fold")
    assert [n.title for n in folds] == [f"dense_{i}" for i in range(10)]
    assert folds[0].detail[0] == "21 ops"
    assert len(graph.nodes) <= 30
    assert graph.notes[0].startswith("211 ops are folded by layer")
    assert sum(len(n.ops) for n in graph.nodes) == 211


def test_layers_of_one_block_go_together_where_layers_are_too_many(make: Any) -> None:
    m = make()
    value = m.tensor([1.0] * 20, name="x")
    for block in range(12):
        for part in ("expand", "expand_relu", "project", "project_relu", "add"):
            for _ in range(2):
                scope = f"net/block_{block}_{part}"
                value = m.op("Relu", [value], scope=scope)
    graph = build(m.done(), limit=20)
    assert [n.title for n in of_kind(graph, "fold")] == [f"block_{i}_…" for i in range(12)]


def test_a_training_loop_shows_its_first_and_its_last_turn(make: Any) -> None:
    graph = build(network(make, layers=3, width=0, turns=200))
    assert [n.title for n in of_kind(graph, "fold")] == ["turns 2–199"]
    frames = {c.id: c.title for c in graph.clusters}
    assert next(iter(frames.values())) == "lines 1–2 × 200 · the same weights each time"
    assert [frames[n.cluster] for n in of_kind(graph, "op") if n.title == "Mean"] == [
        "turn 1 of 200",
        "turn 200 of 200",
    ]
    assert sum(len(n.ops) for n in graph.nodes) == 800


def test_a_fold_of_many_turns_tells_the_first_and_the_last_loss(make: Any) -> None:
    m = make(["loss = w * w"])
    w = m.variable("w")
    for i in range(100):
        loss = m.op("Mul", [m.read(w), m.read(w)], float(100 - i), name="loss", line=0)
        m.gradient(loss, Gradient("loss", "w", variable=w))
    (fold,) = of_kind(build(m.done()), "fold_target")
    assert fold.title == "Mul × 100"
    assert "loss = 100 → 1" in fold.detail


def test_a_fold_calls_a_function_by_the_name_that_its_author_gave_it(make: Any) -> None:
    m = make(["state = step(state)"])
    state = m.tensor(1.0, name="state")
    for i in range(100):
        state = m.op("__inference_step_17", [state], float(i), function="step", line=0)
    texts = [text for n in build(m.done(), limit=10).nodes for text in (n.title, *n.detail)]
    assert "step()" in texts and not any("__inference" in text for text in texts)


def test_without_scope_and_line_stretches_are_folded(make: Any) -> None:
    m = make()
    value = m.tensor([1.0] * 20, name="x")
    for _ in range(500):
        value = m.op("Relu", [value])
    graph = build(m.done(), limit=10)
    assert 1 < len(graph.nodes) <= 10


@pytest.mark.parametrize("limit", [1, 2, 5, 20, 60])
def test_no_more_boxes_than_the_limit(make: Any, limit: int) -> None:
    assert len(build(network(make, layers=30, width=3), limit=limit).nodes) <= limit


def test_flat_draws_every_op(make: Any) -> None:
    graph = build(network(make, layers=10, width=20), flat=True)
    assert sum(len(n.ops) == 1 for n in graph.nodes) == 211


def test_depth_cuts_the_scopes(make: Any) -> None:
    recording = network(make, layers=3, width=2)
    one, two = build(recording, depth=1), build(recording, depth=2)
    assert [n.title for n in of_kind(one, "fold")] == ["net"]
    assert [n.title for n in of_kind(two, "fold")] == ["dense_0", "dense_1", "dense_2"]


def test_a_fold_holds_its_own_variables(make: Any) -> None:
    (fold,) = of_kind(build(network(make, layers=3, width=2), depth=1), "fold")
    assert fold.detail[0] == "9 ops · 3 variables"


def test_a_focus_draws_a_fold_and_what_touches_it(make: Any) -> None:
    recording = network(make, layers=3, width=2)
    middle = of_kind(build(recording, depth=2), "fold")[1]
    graph = build(recording, focus=middle.ops)
    assert [n.title for n in of_kind(graph, "op")] == ["MatMul", "Relu", "Relu"]
    assert [n.title for n in of_kind(graph, "outside")] == ["Relu", "MatMul"]
    assert "Only a part is drawn: 3 ops." in graph.notes


def test_ten_thousand_ops_in_a_row_are_folded_without_recursion(make: Any) -> None:
    m = make(["y = f(x)"])
    value = m.tensor([1.0] * 20, name="x")
    for i in range(10_000):
        value = m.op("Relu", [value], scope=f"a/b_{i // 100}/c_{i}", line=0)
    graph = build(m.done())
    assert 1 < len(graph.nodes) <= 60
    assert sum(len(n.ops) for n in graph.nodes) == 10_000


def test_an_empty_recording_is_an_empty_graph() -> None:
    assert build(Recording()) == Graph()


def test_a_type_that_is_not_float32_is_told(make: Any) -> None:
    m = make()
    m.op("Neg", [m.tensor([1.0], name="x")], name="y")
    m.tensors[0] = replace(m.tensors[0], dtype="int64")
    assert [n.detail[-1] for n in build(m.done()).nodes] == ["(1,) int64", "y = 1"]
