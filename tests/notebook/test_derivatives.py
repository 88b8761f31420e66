"""``%%tape --check --hist --jacobian --order 2 --eager`` as a user sees them."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf
from IPython.utils.capture import capture_output

SETUP = """
import tensorflow as tf
W_1 = tf.Variable([[0.11, 0.21], [0.12, 0.08]])
W_2 = tf.Variable([[0.14, 0.15]])
X, Y = tf.constant([[2.0], [3.0]]), tf.constant([1.0])
"""
FORWARD = "H = W_1 @ X\nY_hat = W_2 @ H\nLoss = tf.square(Y_hat - Y) / 2\n"


@pytest.fixture
def filled(shell: Any) -> Any:
    assert shell.run_cell(SETUP).success
    return shell


def shown(shell: Any, cell: str) -> str:
    with capture_output() as captured:
        shell.run_cell(cell)
    texts = [output.data["text/plain"] for output in captured.outputs]
    return "\n".join([captured.stdout, captured.stderr, *texts])


def test_a_check_and_a_histogram_stand_in_the_table(filled: Any) -> None:
    text = shown(filled, "%%tape --check --hist --no-graph\n" + FORWARD)
    assert "(4 of 4)" in text
    assert "(2 of 2)" in text
    assert text.count("✓") == 2
    assert "central differences (float64)" in text
    assert "█" in text


def test_a_wrong_gradient_is_told_with_both_figures(filled: Any) -> None:
    cell = """%%tape --check --no-graph
@tf.custom_gradient
def double(x):
    return 2.0 * x, lambda up: 3.0 * up
w = tf.Variable(1.0)
y = double(w)
"""
    assert "At w the tape says 3, numerical differences of the recorded run say 2." in shown(
        filled, cell
    )


def test_the_cells_own_call_is_checked(filled: Any) -> None:
    cell = "%%tape --check --no-graph\nwith tf.GradientTape() as t:\n    y = W_1 * W_1\n"
    text = shown(filled, cell + "g = t.gradient(y, W_1);")
    assert "✓" in text


def test_the_hessian_is_written_out_and_read(filled: Any) -> None:
    text = shown(filled, "%%tape --order 2 --no-graph\n" + FORWARD)
    assert "Hessian of Loss by W_1, W_2, 6 × 6" in text
    assert text.count("W_1[1, 1]") > 1  # it heads a column and a row
    assert "Eigenvalues: -2.917, -1.498, 0, 0, 2.917, 2.998." in text
    assert "shaped like a saddle" in text
    assert "lr < 2/λ = 0.667" in text


def test_a_hessian_that_is_too_large_says_its_size_and_offers_products(filled: Any) -> None:
    text = shown(
        filled,
        "%%tape --order 2 --no-graph\nw = tf.Variable(tf.ones(300))\nL = tf.reduce_sum(w**3)",
    )
    assert "300 × 300 = 90,000 elements are not written out" in text
    assert "NAME.hvp(L, [w], vectors)" in text
    assert "Eigenvalue of largest magnitude: 6" in text


def test_the_jacobian_takes_a_target_of_any_size(filled: Any) -> None:
    text = shown(filled, "%%tape --jacobian --wrt W_1 --no-graph\nH = W_1 @ X")
    assert "Jacobian ∂H/∂W_1, shape (2, 1) × (2, 2)" in text
    assert "W_1[1, 1]" in text
    assert "Rank 2: full." in text


def test_the_html_has_the_same_tables(filled: Any) -> None:
    with capture_output() as captured:
        filled.run_cell("%%tape --jacobian --order 2 --check --target Loss --no-graph\n" + FORWARD)
    html = captured.outputs[-1].data["text/html"]
    assert "<caption>Hessian of Loss by W_1, W_2, 6 × 6</caption>" in html
    assert "<caption>Jacobian ∂Loss/∂W_2, shape (1, 1) × (1, 2)</caption>" in html


EAGER = """%%tape --eager --no-graph -o seen
calls = []
@tf.function
def step(x):
    calls.append(1)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum((W_1 * x) ** 2)
    g = tape.gradient(loss, W_1)
    W_1.assign_sub(0.1 * g)
    return loss
for _ in range(3):
    last = step(tf.constant(2.0))
"""


def test_eager_shows_what_is_inside_a_function_and_is_undone(filled: Any) -> None:
    text = shown(filled, EAGER)
    assert "Their Python (print, append …) ran at every call" in text
    seen = filled.user_ns["seen"]
    assert len(seen.gradients) == 3
    assert [g.source for g in seen.gradients[0].gradients] == ["W_1"]
    assert not any(op.function for op in seen.ops)
    assert len(filled.user_ns["calls"]) == 3
    assert not tf.config.functions_run_eagerly()


def test_eager_is_undone_after_an_exception_and_kept_where_the_user_set_it(filled: Any) -> None:
    shown(filled, "%%tape --eager\nx = W_1 * 2\n1/0")
    assert not tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        shown(filled, "%%tape --eager\nx = W_1 * 2")
        assert tf.config.functions_run_eagerly()
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize("option", ["--order 3", "--order x"])
def test_an_order_that_there_is_not(filled: Any, option: str) -> None:
    assert "--order" in shown(filled, f"%%tape {option}\nx = W_1 * 2")


def test_nothing_is_left_behind_by_the_question(filled: Any) -> None:
    before = set(filled.user_ns)
    shown(filled, "%%tape --check --order 2 --hist\nL = tf.reduce_sum(W_1 ** 2)")
    assert {name for name in set(filled.user_ns) - before if name[0] != "_"} == {"L"}


BAD = {
    "--target k": "--target k is of type int, not a tensor.",
    "--target s": "--target s is of type str",
    "--target n": "--target n is of type ndarray",
    "--target [k,y]": "is of type int",
    "--target W_2": "--target W_2 was not computed in this cell.",
    "--target lost": "there is no name 'lost'.",
    "--target 1+": "--target 1+: SyntaxError",
    "--wrt k": "--wrt k is of type int",
    "--wrt W_1,n": "--wrt n is of type ndarray",
    "--wrt W1": "there is no name 'W1'. Did you mean 'W_1'?",
    "--watch n": "--watch n is of type ndarray",
    "--order 2 --target z": "a Hessian needs a target of size 1, and this one has 4 elements.",
}


@pytest.mark.parametrize("options", BAD)
def test_what_cannot_be_differentiated_gets_one_line(filled: Any, options: str) -> None:
    filled.run_cell("k, s, n = 3, 'abc', __import__('numpy').ones(3)")
    cell = f"%%tape --no-graph {options}\ny = tf.reduce_sum(W_1 ** 2)\nz = W_1 * 2"
    text = shown(filled, cell)
    assert BAD[options] in text
    assert "Traceback" not in text
    assert filled.user_ns["y"].shape == ()


def test_a_list_of_targets_is_differentiated_as_their_sum(filled: Any) -> None:
    cell = "%%tape --no-graph --target [y,z] --check\ny = tf.reduce_sum(W_1 ** 2)\nz = W_1 * 2"
    text = shown(filled, cell)
    assert "y + z" in text
    assert "✓" in text
