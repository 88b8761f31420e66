"""``%tfvars``: what is held, what changed, and how a value becomes a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from IPython.utils.capture import capture_output

import tfmagic
from tfmagic.language import use
from tfmagic.model.inventory import Holding

SETUP = """
import tensorflow as tf, numpy as np, keras
W_1 = tf.Variable([[0.11, 0.21], [0.12, 0.08]])
x = tf.reshape(tf.range(100.0), [50, 2])
a = np.ones((3, 4)); b = a[1:]
bad = tf.constant([1.0, float("nan"), float("inf")])
r, sp = tf.ragged.constant([[1, 2], [3]]), tf.sparse.from_dense([[0, 1.0]])
ds = tf.data.Dataset.from_tensor_slices(x)
gs = [tf.constant(1), {"k": tf.constant("<b>")}]
class M(tf.Module):
    def __init__(self):
        self.w, self.l = W_1, [tf.Variable(1.0, trainable=False)]
m = M()
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="d")])
"""


def held(shell: Any, line: str = "") -> dict[str, Holding]:
    """What ``%tfvars line`` found, by name."""
    shell.run_line_magic("tfvars", f"-q -o view_ {line}")
    found = shell.user_ns["view_"].inventory.holdings
    return {h.name: h for h in found}


@pytest.fixture
def filled(shell: Any) -> Any:
    assert shell.run_cell(SETUP).success
    return shell


def test_the_namespace_shows_each_kind(filled: Any) -> None:
    rows = held(filled)
    kinds = {name: row.kind for name, row in rows.items()}
    assert kinds == {
        "W_1": "variable", "x": "tensor", "a": "array", "b": "array", "bad": "tensor",
        "r": "ragged", "sp": "sparse", "ds": "dataset", "gs[0]": "tensor", "gs[1]['k']": "tensor",
        "m": "module", "model": "model",
    }  # fmt: skip
    assert rows["r"].shape == (2, None) and rows["x"].bytes == 400
    assert (
        rows["bad"].value.stats and rows["bad"].value.stats.nan == rows["bad"].value.stats.inf == 1
    )
    assert sum(rows["x"].bins) == 100 and len(rows["x"].bins) == 8


def test_other_holders_and_shared_memory_are_named(filled: Any) -> None:
    rows = held(filled)
    assert rows["W_1"].same == ("m.w",)
    assert rows["a"].shares == ("b",) and rows["b"].shares == ("a",)
    assert rows["x"].shares == ()


def test_a_module_is_a_tree_that_counts_each_variable_once(filled: Any) -> None:
    filled.run_cell("m.again = m.w")
    rows = held(filled, "m")
    assert list(rows) == ["m", "m.w", "m.l[0]"]
    assert rows["m"].parameters == 4 and rows["m"].bytes == 20
    assert not rows["m.l[0]"].trainable


def test_a_keras_model_is_a_tree(filled: Any) -> None:
    rows = held(filled, "model")
    assert rows["model.d.kernel"].shape == (3, 4) and rows["model"].parameters == 16


def test_changes_since_the_last_look(filled: Any) -> None:
    held(filled)
    filled.run_cell("W_1.assign_add([[0.03, 0.0], [0.0, 0.0]]); del bad; new = tf.constant(1);")
    rows = held(filled)
    assert rows["W_1"].change == pytest.approx(0.03, abs=1e-6)
    assert rows["x"].change == 0.0 and rows["new"].new and not rows["x"].new
    assert filled.user_ns["view_"].inventory.gone == ("bad",)


def test_sort_and_filter(filled: Any) -> None:
    sizes = [row.bytes or 0 for row in held(filled, "--sort bytes").values()]
    assert sizes == sorted(sizes, reverse=True)
    assert set(held(filled, "--filter ragged")) == {"r"}


def test_the_function_gives_the_same(filled: Any) -> None:
    view = tfmagic.variables({"x": filled.user_ns["x"]}, sort="name")
    assert [h.name for h in view.inventory.holdings] == ["x"]


def test_what_the_user_wrote_is_escaped(filled: Any) -> None:
    bundle = tfmagic.variables({"<script>": filled.user_ns["x"]}).mimebundle()
    assert "<script>" not in bundle["text/html"] and "<script>" in bundle["text/plain"]


@pytest.mark.parametrize("language", ["en", "ko"])
def test_every_row_can_be_said(filled: Any, language: str) -> None:
    use(language)
    filled.run_line_magic("tfvars", "-q")
    filled.run_cell("del bad")
    with capture_output() as out:
        filled.run_line_magic("tfvars", "")
    (shown,) = out.outputs
    word = {"en": "No longer there", "ko": "없어진 이름"}[language]
    assert all(word in shown.data[form] for form in ("text/plain", "text/html"))


def test_looking_changes_nothing(filled: Any) -> None:
    filled.run_cell("tf.random.set_seed(1); expected = tf.random.normal([2])")
    filled.run_cell("tf.random.set_seed(1)")
    before = set(filled.user_ns)
    with capture_output():
        filled.run_line_magic("tfvars", "")
    assert set(filled.user_ns) == before
    filled.run_cell("seen = tf.random.normal([2])")
    assert np.array_equal(filled.user_ns["seen"], filled.user_ns["expected"])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--sort foo", "--sort foo: possible are name, kind, dtype, bytes, change."),
        ("--srot name", "--sort"),
        ("--why", "needs an expression"),
        ("-o 1x", "1x"),
        ("nowhere", "nowhere"),
    ],
)
def test_a_wrong_use_is_answered_in_one_line(filled: Any, line: str, said: str) -> None:
    with capture_output() as out:
        filled.run_cell(f"%tfvars {line}")
    assert said in out.stdout + out.stderr and "Traceback" not in out.stdout + out.stderr


@pytest.mark.parametrize(
    ("expression", "rule", "dtype"),
    [
        ("3", "int", "int32"),
        ("2**40", "long", "int64"),
        ("0.1", "float", "float32"),
        ("[1, 2.5]", "mixed", "float32"),
        ("[True]", "bool", "bool"),
        ("1j", "complex", "complex128"),
        ("np.ones(3)", "array", "float64"),
        ("np.int64(3)", "array", "int64"),
        ("W_1", "variable", "float32"),
        ("x", "tensor", "float32"),
        ("[W_1, W_1]", "packed", "float32"),
        ("[[1], [2, 3]]", "refused", ""),
        ("object()", "refused", ""),
    ],
)
def test_how_a_value_becomes_a_tensor(filled: Any, expression: str, rule: str, dtype: str) -> None:
    filled.run_line_magic("tfvars", f"-q -o why_ --why {expression}")
    view = filled.user_ns["why_"]
    assert (view.conversion.rule, view.conversion.dtype) == (rule, dtype)
    assert view.mimebundle()["text/plain"]


def test_where_numpy_takes_over(filled: Any) -> None:
    filled.run_line_magic("tfvars", "-q -o why_ --why np.sin(W_1)")
    assert filled.user_ns["why_"].conversion.left == ("W_1",)
    assert "W_1 left TensorFlow" in repr(filled.user_ns["why_"])
    filled.run_line_magic("tfvars", "-q -o why_ --why tf.sin(W_1)")
    assert filled.user_ns["why_"].conversion.left == ()


def test_a_double_tensor_is_refused_beside_a_float(filled: Any) -> None:
    filled.run_line_magic("tfvars", "-q -o why_ --why tf.constant(1.0, tf.float64)")
    found = filled.user_ns["why_"].conversion
    assert not found.meets and found.refusal
