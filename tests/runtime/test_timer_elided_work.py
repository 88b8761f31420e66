"""Work that a graph leaves out: counted where that can be seen, and said where it cannot."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import tensorflow as tf

import tfmagic
from tfmagic.runtime.timer.compiled import Compiled
from tfmagic.runtime.timer.elided_work import in_graph, in_hlo, not_told
from tfmagic.runtime.timer.op_census import Collected

X = tf.random.normal([64, 64])


def by_mode(statement: str, **namespace: Any) -> dict[str, Any]:
    space = {"tf": tf, "x": X, **namespace}
    found = tfmagic.bench(
        statement, namespace=space, modes=["eager", "function", "xla"], budget=0.02
    ).timings
    assert all(timing.problem == "" for timing in found)
    return {timing.mode: timing for timing in found}


def left_out(timing: Any) -> tuple[Any, ...]:
    return tuple((count.type, count.eager, count.ran) for count in timing.ops)


def unsure(timing: Any) -> list[str]:
    return [remark.code for remark in timing.remarks if remark.code.startswith("not_told")]


# --- with TensorFlow ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("draw", "kind"),
    [
        ("tf.random.normal([50, 50])", "RandomStandardNormal"),
        ("tf.random.uniform([50, 50])", "RandomUniform"),
        ("tf.random.stateless_normal([50, 50], [1, 2])", "StatelessRandomNormal"),
    ],
)
def test_a_draw_that_xla_leaves_out_is_noticed(draw: str, kind: str) -> None:
    once = by_mode(f"for _ in range(9): y = {draw}")["xla"]
    assert left_out(once)[0][:2] == (kind, 9) and left_out(once)[0][2] < 9
    every = by_mode(f"y = 0.0\nfor _ in range(9): y += {draw}")["xla"]
    assert left_out(every) == () or "stateless" in draw


@pytest.mark.parametrize("size", [4, 400])
def test_a_product_that_no_turn_changes_is_noticed(size: int) -> None:
    found = by_mode("for _ in range(20): y = tf.matmul(a, a)", a=tf.ones([size, size]))
    assert left_out(found["xla"]) == (("MatMul", 20, 1),)


@pytest.mark.parametrize(
    "product",
    ["tf.matmul(v, x)", "tf.matmul(x, v, transpose_b=True)", "tf.matmul(v, v, transpose_a=True)"],
)
def test_a_product_that_xla_writes_as_a_sum_is_no_work_left_out(product: str) -> None:
    found = by_mode(f"y = {product}\nz = tf.matmul(x, x)", v=tf.ones([1, 64]))
    assert left_out(found["xla"]) == () and unsure(found["xla"]) == []


def test_an_op_that_has_no_word_of_xlas_own_is_found_by_its_name() -> None:
    kept = by_mode("y = x\nfor _ in range(5): y = tf.nn.softmax(y)")
    assert left_out(kept["xla"]) == () and unsure(kept["xla"]) == []
    assert left_out(by_mode("for _ in range(5): y = tf.nn.softmax(x)")["xla"]) == (
        ("Softmax", 5, 1),
    )


def test_a_loop_of_the_statement_that_xla_works_once_is_noticed() -> None:
    """AutoGraph makes it a loop of the graph, whose product XLA takes out of it."""
    found = by_mode("for _ in tf.range(20): y = tf.matmul(x, x)")
    assert left_out(found["function"]) == () and unsure(found["function"]) == []
    assert left_out(found["xla"]) == (("MatMul", 20, 1),)


def test_a_loop_inside_a_function_is_counted_or_said_to_be_unknown() -> None:
    @tf.function
    def same(x: Any) -> Any:
        y = x
        for _ in tf.range(20):
            y = tf.matmul(x, x)
        return y

    @tf.function
    def powers(x: Any) -> Any:
        for _ in tf.range(20):
            x = tf.matmul(x, x)
        return x

    xla = by_mode("same(x)", same=same)["xla"]
    assert left_out(xla) == (("MatMul", 20, 1),) or unsure(xla) == ["not_told_loop"]
    for timing in by_mode("powers(x)", powers=powers).values():
        assert left_out(timing) == () and unsure(timing) == []


def test_where_xla_gives_no_listing_nothing_is_said_to_have_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nothing(self: Compiled) -> str:
        raise NotImplementedError

    monkeypatch.setattr(Compiled, "listing", nothing)
    result = tfmagic.bench(
        "for _ in range(20): y = tf.matmul(x, x)", namespace={"tf": tf, "x": X}, modes=["xla"],
        budget=0.02,
    )  # fmt: skip
    (timing,) = result.timings
    assert timing.median and timing.problem == "" and unsure(timing) == ["not_told"]
    assert "Not known: whether the graph ran all 20 MatMul" in repr(result)


# --- the rules, on listings that are made up ---------------------------------------------


def line(opcode: str, kind: str, name: str, more: str = "") -> str:
    return f'  ROOT %v = f32[2]{{0}} {opcode}(%a), metadata={{op_type="{kind}" op_name="{name}"}}{more}\n'


def listing(main: str, body: str = "") -> str:
    return (
        f"%body (a: f32[]) -> f32[] {{\n{body}}}\n\nENTRY %main (a: f32[]) -> f32[] {{\n{main}}}\n"
    )


def loop(turns: str = "") -> str:
    told = f', backend_config={{"known_trip_count":{{"n":"{turns}"}}}}' if turns else ""
    return line("while", "While", "while", f", body=%body{told}")


def found(text: str, asked: dict[str, int], *, heard: bool = True, **inside: Any) -> Any:
    return in_hlo(text, asked, Collected(**inside), heard=heard)


def test_of_what_is_not_in_the_listing_by_any_name_nothing_is_known() -> None:
    left = found(listing(line("fft", "", "")), {"Roll": 3, "Cumsum": 1, "MatMul": 2})
    assert left.unknown == (("Roll", 3),)
    assert [(c.type, c.ran) for c in left.counts] == [("MatMul", 0)]


def test_what_is_only_moved_is_not_done() -> None:
    text = listing(line("copy", "MatMul", "m_1") + line("dot", "MatMul", "m_2"))
    assert [(c.eager, c.ran) for c in found(text, {"MatMul": 2}).counts] == [(2, 1)]


def test_a_loop_of_unknown_turns_leaves_what_is_in_it_unknown() -> None:
    text = listing(loop(), line("dot", "MatMul", "m"))
    assert found(text, {"MatMul": 20}).unknown == (("MatMul", 20),)
    told = listing(loop("20"), line("dot", "MatMul", "m"))
    assert found(told, {"MatMul": 20}) == found(told, {})


def test_what_was_taken_out_of_a_loop_inside_a_function_is_counted_by_its_turns() -> None:
    text = listing(loop("20") + line("dot", "MatMul", "m"))
    inside = {"turning": Counter(MatMul=1), "traced": Counter(MatMul=1, While=1)}
    (count,) = found(text, {"MatMul": 1}, heard=False, **inside).counts
    assert (count.eager, count.ran) == (20, 1)
    unknown = found(listing(line("dot", "MatMul", "m")), {"MatMul": 1}, heard=False, **inside)
    assert unknown.unknown == (("MatMul", 0),)
    assert [r.code for r in unknown.remarks()] == ["not_told_loop"]


def test_what_may_stand_in_a_branch_is_not_said_to_be_left_out() -> None:
    left = found(listing(line("dot", "MatMul", "m")), {"MatMul": 2}, perhaps=Counter(MatMul=1))
    assert left.counts == () and left.unknown == (("MatMul", 2),)


def test_a_graph_with_loops_is_set_against_itself() -> None:
    inside = Collected(
        traced=Counter(MatMul=1, Tanh=2, While=1), ran=Counter(MatMul=1, Tanh=1),
        turning=Counter(MatMul=1),
    )  # fmt: skip
    assert [c.type for c in in_graph({"MatMul": 20}, inside).counts] == ["Tanh"]
    inside.ran.clear()
    assert in_graph({"MatMul": 20}, inside).unknown == (("MatMul", 0),)


def test_only_what_was_asked_for_more_than_once_can_be_too_much() -> None:
    assert not_told({"MatMul": 20, "Tanh": 1, "Reshape": 9}).unknown == (("MatMul", 20),)
