"""The tree of folds: by function and scope, by forward op, by what repeats, by what fits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfmagic.analysis.graph import Sketch
from tfmagic.analysis.neighbourhood import Neighbourhood, parents
from tfmagic.analysis.reach import carrying, stream
from tfmagic.analysis.repeat import repeats
from tfmagic.analysis.tree import MOST, Fold, folds
from tfmagic.errors import OptionError
from tfmagic.model import Frame, Recording


def kinds(root: Fold, kind: str) -> list[Fold]:
    return [fold for fold in folds(root) if fold.kind == kind]


def encoder(make: Any, blocks: int, shared: bool) -> Recording:
    """Blocks of two layers each, with weights of their own or the same ones."""
    m = make(["y = encoder(x)"])
    weights = [m.variable(f"w{i}") for i in range(1 if shared else blocks)]
    value = m.tensor([1.0] * 20, name="x")
    for i in range(blocks):
        for part in ("attention", "dense"):
            scope = f"encoder/block_{i}_{part}"
            value = m.op("MatMul", [value, m.read(weights[0 if shared else i])], scope=scope)
            value = m.op("Relu", [value], scope=scope)
    return m.done()


@pytest.mark.parametrize("shared", [False, True])
def test_blocks_built_alike_are_one_fold_that_tells_of_their_weights(
    make: Any, shared: bool
) -> None:
    (repeat,) = kinds(Sketch(encoder(make, 12, shared)).root, "repeat")
    assert (repeat.title, repeat.turns) == ("block × 12", 12)
    assert repeat.weights == ("shared" if shared else "own")
    assert [turn.title for turn in repeat.parts] == [f"block_{i}_…" for i in range(12)]
    (box,) = [n for n in Sketch(encoder(make, 12, shared)).graph(limit=3).nodes if n.ops]
    assert ("the same weights each time" if shared else "own weights each time") in box.detail


def test_turns_of_a_long_loop_are_the_first_the_last_and_those_between(make: Any) -> None:
    m = make(["for x in data:", "    y = f(x)", "    z = g(y)"])
    value = m.tensor([1.0] * 20)
    for _ in range(50):
        value = m.op("Relu", [m.op("Tanh", [value], line=1)], line=2)
    (loop, between) = kinds(Sketch(m.done()).root, "repeat")
    assert loop.title == "lines 2–3 × 50"
    assert [p.title for p in loop.parts] == ["turn 1 of 50", "turns 2–49", "turn 50 of 50"]
    assert len(between.ops) == 96


def test_calls_of_a_function_stand_together(make: Any) -> None:
    m = make(["def step(x):", "    y = x * x", "    return y + x", "step(x)", "step(z)"])
    x = m.tensor([1.0] * 20)
    for caller in (3, 4):
        y = m.op("Mul", [x, x], line=1, stack=(Frame("", caller), Frame("step", 1)))
        m.op("AddV2", [y, x], line=2, stack=(Frame("", caller), Frame("step", 2)))
    root = Sketch(m.done()).root
    assert [(f.title, f.ops) for f in kinds(root, "function")] == [
        ("step()", (0, 1)),
        ("step()", (2, 3)),
    ]
    assert not kinds(Sketch(m.done(), by="scope").root, "function")


def test_backward_ops_stand_with_the_forward_op_they_differentiate(lesson: Recording) -> None:
    root = Sketch(lesson, backward=True).root
    (call,) = kinds(root, "call")
    assert call.title == "gradient of Loss"
    together = [fold for fold in kinds(root, "op") if len(fold.ops) > 1]
    assert [(f.title, {lesson.ops[op].differentiates for op in f.ops}) for f in together] == [
        ("∇ MatMul", {1})
    ]


def test_by_line_folds_each_line(lesson: Recording) -> None:
    root = Sketch(lesson, by="line").root
    assert [f.title for f in kinds(root, "line")] == ["Loss = tf.square(Y_hat - Y) / 2"]


def test_no_fold_holds_more_than_fits_and_none_is_lost(make: Any) -> None:
    m = make()
    value = m.tensor([1.0] * 20)
    for i in range(5_000):
        value = m.op(f"Op{i % 97}{i % 89}", [value])
    root = Sketch(m.done()).root
    assert all(len(fold.parts) <= MOST for fold in folds(root))
    bare = [part for fold in folds(root) for part in fold.parts if isinstance(part, int)]
    assert sorted(bare) == list(range(5_000))


def test_opening_a_fold_leaves_all_other_boxes_in_their_order(make: Any) -> None:
    sketch = Sketch(encoder(make, 12, shared=False))
    (repeat,) = kinds(sketch.root, "repeat")
    around = {sketch.root.id, *(f.id for f in folds(sketch.root) if repeat in f.parts)}
    before = sketch.graph(opened={*around, repeat.id})
    inner = repeat.parts[5]
    assert isinstance(inner, Fold)
    after = sketch.graph(opened={*around, repeat.id, inner.id})
    kept = [node.id for node in after.nodes if node.id in {n.id for n in before.nodes}]
    assert kept == [node.id for node in before.nodes if node.id in kept]
    assert {n.id for n in before.nodes} - set(kept) == {inner.id}


def test_inside_a_fold_one_sees_what_surrounds_it(make: Any) -> None:
    sketch = Sketch(encoder(make, 3, shared=False))
    (repeat,) = kinds(sketch.root, "repeat")
    middle = repeat.parts[1]
    assert isinstance(middle, Fold)
    level = sketch.level(middle.id)
    outside = [n.title for n in level.nodes if n.kind == "outside"]
    assert outside == ["block_0_…", "block_2_…"]
    ids = {n.id for n in level.nodes}
    assert {e.tail for e in level.edges} | {e.head for e in level.edges} <= ids


# --- what repeats ------------------------------------------------------------------------


def test_the_longest_repetition_is_found() -> None:
    assert list(repeats("xabcabcabcy")) == [(1, 3, 3)]
    assert list(repeats("aabaabaab")) == [(0, 3, 3)]
    assert list(repeats("abcdefg")) == []


@given(st.lists(st.integers(0, 3), max_size=60))
def test_what_repeats_really_does(labels: list[int]) -> None:
    end = 0
    for begin, period, count in repeats(labels):
        assert begin >= end and count >= 3
        end = begin + period * count
        assert labels[begin:end] == labels[begin : begin + period] * count


# --- parts -------------------------------------------------------------------------------


def test_a_focus_is_what_leads_there_and_what_it_leads_to(make: Any) -> None:
    m = make()
    x = m.tensor([1.0], name="x")
    middle = m.op("Relu", [m.op("Neg", [x])], name="h")
    m.op("Exp", [x], name="side")
    m.op("Sum", [middle], name="loss")
    assert stream(m.done(), "h") == {0, 1, 3}
    assert stream(m.done(), "x") == {0, 1, 2, 3}
    assert stream(m.done(), "Exp") == {2}
    with pytest.raises(OptionError, match="Nothing here is called los; there is loss"):
        stream(m.done(), "los")


def test_only_what_carries_a_gradient(lesson: Recording, make: Any) -> None:
    assert carrying(lesson) == {0, 2, 4, *range(5, 10)}
    with pytest.raises(OptionError, match="no gradients"):
        carrying(replace(lesson, tensor_gradients=()))


def test_from_inside_a_fold_every_op_outside_is_seen_in_the_box_beside_it(make: Any) -> None:
    recording = encoder(make, 12, False)
    root = Sketch(recording).root
    every = {fold.id: fold for fold in folds(root)}
    above = parents(every.values())
    for fold in every.values():
        around = Neighbourhood(fold, above, len(root.ops))
        assert set(around) == set(root.ops) - set(fold.ops) and len(around) == len(set(around))
        assert not any(op in around for op in fold.ops)
        for op, part in around.items():
            beside = above[part if isinstance(part, int) else part.id]
            assert set(fold.ops) <= set(beside.ops) and beside.id != fold.id
            inside = (part,) if isinstance(part, int) else part.ops
            assert op in inside and set(fold.ops).isdisjoint(inside)


def test_neighbours_that_ran_on_one_line_say_which_they_are(make: Any) -> None:
    m = make(["for x in data: total += f(x)"])
    batches = [m.op("IteratorGetNext", [], line=0) for _ in range(100)]
    (loop,) = kinds(Sketch(m.done()).root, "repeat")
    assert loop.title == "IteratorGetNext × 100"
    assert [part.title for part in loop.parts][:2] == ["turns 1–4", "turns 5–8"]
    for i, batch in enumerate(batches):
        m.op(f"Op{i % 7}{i % 11}", [batch], line=0)
    for fold in folds(Sketch(m.done()).root):
        titles = [p.title for p in fold.parts if isinstance(p, Fold) and p.kind == "stretch"]
        assert len(set(titles)) == len(titles)
