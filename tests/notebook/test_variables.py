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
    filled.run_cell("p, q = tf.constant(3.0), tf.constant(9.0)")
    assert all(held(filled)[name].shares == () for name in "pq")


def test_a_module_is_a_tree_that_counts_each_variable_once(filled: Any) -> None:
    filled.run_cell("m.again = m.w")
    rows = held(filled, "m")
    assert list(rows) == ["m", "m.w", "m.l[0]"]
    assert rows["m"].parameters == 4 and rows["m"].bytes == 20
    assert rows["m.w"].same == ("m.again",)
    assert not rows["m.l[0]"].trainable


def test_a_keras_model_is_a_tree(filled: Any) -> None:
    rows = held(filled, "model")
    assert rows["model.d.kernel"].shape == (3, 4) and rows["model"].parameters == 16


MOVE = "W_1.assign_add([[0.03, 0.0], [0.0, 0.0]]);"


def test_what_the_last_cell_changed(filled: Any) -> None:
    assert held(filled)["W_1"].change is None
    filled.run_cell(f"{MOVE} del bad; new = tf.constant(1);")
    for _ in range(2):  # a look alone is no change: the second tells the same
        filled.run_cell("%tfvars -q -o view_")
        rows = {h.name: h for h in filled.user_ns["view_"].inventory.holdings}
        assert rows["W_1"].change.norm == pytest.approx(0.03, abs=1e-6)
        assert rows["x"].change.norm == 0.0 and rows["new"].change.new
        assert filled.user_ns["view_"].inventory.gone == ("bad",)
    assert "changed by" in repr(filled.user_ns["view_"])


def test_the_cell_is_called_as_its_prompt_says(filled: Any) -> None:
    held(filled)
    cell = filled.run_cell(MOVE, store_history=True)
    filled.run_cell("%tfvars -q -o view_", store_history=True)
    assert filled.user_ns["view_"].inventory.since == f"In [{cell.execution_count}]"
    filled.run_cell(f"{MOVE}\n%tfvars -q -o view_", store_history=True)
    assert filled.user_ns["view_"].inventory.since == "this cell"


def test_an_older_change_is_none_of_the_last_cells(filled: Any) -> None:
    held(filled)
    filled.run_cell(MOVE)
    filled.run_cell("pass")
    assert held(filled)["W_1"].change.norm == 0.0


def test_a_cell_that_changes_and_looks_tells_its_own_change(filled: Any) -> None:
    held(filled)
    filled.run_cell(f"{MOVE}\n%tfvars -q -o view_")
    rows = {h.name: h for h in filled.user_ns["view_"].inventory.holdings}
    assert rows["W_1"].change.norm == pytest.approx(0.03, abs=1e-6)


def test_a_variable_that_became_a_tensor_is_told(filled: Any) -> None:
    held(filled)
    filled.run_cell("W_1 = W_1 - 0.1; x = x[:2];")
    rows = held(filled)
    assert rows["W_1"].change.kind == "variable" and rows["x"].change.shape == (50, 2)
    assert "was variable" in repr(filled.user_ns["view_"])


def test_what_changed_in_a_model_is_summed_and_told_for_each_variable(filled: Any) -> None:
    held(filled)
    filled.run_cell("model.layers[0].kernel.assign_add(tf.ones((3, 4)));")
    assert held(filled)["model"].change.norm == pytest.approx(12**0.5)
    rows = held(filled, "model")
    assert rows["model.d.kernel"].change.norm == pytest.approx(12**0.5)
    assert rows["model.d.bias"].change.norm == 0.0


def test_a_large_value_is_compared_on_a_sample_and_says_so(filled: Any) -> None:
    filled.run_cell("big = np.zeros(2_000_000, np.float32)")
    held(filled)
    filled.run_cell("big += 1.0")
    change = held(filled, "--filter big")["big"].change
    assert change.sampled and change.norm == pytest.approx(2_000_000**0.5)
    said = repr(filled.user_ns["view_"])
    assert "‖Δ‖ ≈ 1414" in said and "evenly spaced" in said


def test_nothing_is_watched_before_the_first_look_or_long_after(filled: Any) -> None:
    before = {event: list(hooks) for event, hooks in filled.events.callbacks.items()}
    held(filled)
    assert len(filled.events.callbacks["pre_run_cell"]) == len(before["pre_run_cell"]) + 1
    for _ in range(25):
        filled.run_cell("pass")
    assert filled.events.callbacks == before


def test_a_look_is_not_heard_by_a_recording_nor_by_a_tape(filled: Any) -> None:
    filled.run_line_magic("tape", "on")
    with capture_output():
        filled.run_cell("y = W_1 * 2.0")
        ops = len(tfmagic.last.ops)
        filled.run_cell("%tfvars -q")
        filled.run_cell("%tfvars -q --why tf.sin(W_1)")
        filled.run_cell("with tf.GradientTape() as t_:\n    %tfvars -q\n    z = 1.0")
    filled.run_line_magic("tape", "off")
    assert len(tfmagic.last.ops) == ops > 0
    assert filled.user_ns["t_"].watched_variables() == ()


def test_symbolic_and_text_values_have_rows(filled: Any) -> None:
    filled.run_cell("s = tf.constant('word'); k = keras.Input((3,)); i = tf.IndexedSlices(x, [0])")
    rows = held(filled)
    assert rows["s"].value.data == "word"
    assert (rows["k"].kind, rows["k"].shape, rows["k"].dtype) == ("symbolic", (None, 3), "float32")
    assert rows["i"].kind == "slices"
    assert "Symbolic" in repr(filled.user_ns["view_"])


NESTED = """
class Block(keras.layers.Layer):
    def __init__(self):
        super().__init__(name="block")
        self.parts = [keras.layers.Dense(2, name="one"), keras.layers.Dense(2, name="two")]
    def build(self, shape):
        self.own = self.add_weight(shape=(5,), name="own")
        for part in self.parts: part.build((None, 2))
    def call(self, x): return x
nested = keras.Sequential([keras.Input((2,)), Block()])
class Outer(tf.Module):
    def __init__(self):
        self.inner, self.again = M(), None
        self.again = self.inner
outer = Outer()
"""


def test_parts_of_a_tree_have_totals_of_their_own(filled: Any) -> None:
    filled.run_cell(NESTED)
    rows = held(filled, "nested")
    assert list(rows) == [
        "nested", "nested.block", "nested.block.one", "nested.block.one.kernel",
        "nested.block.one.bias", "nested.block.two", "nested.block.two.kernel",
        "nested.block.two.bias", "nested.block.own",
    ]  # fmt: skip
    assert [rows[n].parameters for n in list(rows)[:3]] == [17, 17, 6]
    assert [rows[n].depth for n in list(rows)[:4]] == [0, 1, 2, 3]
    inner = held(filled, "outer")
    assert list(inner) == ["outer", "outer.inner", "outer.inner.w", "outer.inner.l[0]"]
    assert inner["outer.inner"].bytes == 20 and inner["outer.inner"].same == ("outer.again",)


def test_a_tree_says_each_name_once_and_its_notes_say_all_of_it(filled: Any) -> None:
    filled.run_cell(f"{NESTED}\nouter.inner.w.assign(W_1 * float('nan'))")
    held(filled, "outer")
    lines = repr(filled.user_ns["view_"]).split("\n")
    starts = [line[:9].rstrip() for line in lines if line.startswith(" ")]
    assert starts[2:6] == [" outer", "   inner", "     w", ""] and "     l[0]" in starts
    assert "  outer.inner.w: Holds 4 NaN." in lines


def test_a_dictionary_of_an_expression_is_compared_with_itself(filled: Any) -> None:
    filled.run_cell("mine = {'W_1': tf.constant(1), 'x': W_1}")
    held(filled)
    filled.run_cell("mine['W_1'] += 2")
    rows = held(filled, "mine")
    assert rows["W_1"].change.norm == 2.0 and rows["x"].change.norm == 0.0
    assert filled.user_ns["view_"].inventory.gone == ()


def test_quotes_in_an_expression_stay(filled: Any) -> None:
    filled.run_line_magic("tfvars", '-q -o why_ --why "a b"')
    assert filled.user_ns["why_"].conversion.rule == "text"
    assert set(held(filled, "{'k': x, 'a b': x}")) == {"k", "a b"}
    assert filled.user_ns["view_"].inventory.title == "{'k': x, 'a b': x}"


def test_an_infinity_is_one(filled: Any) -> None:
    held(filled, "--filter bad")
    assert "Holds 1 NaN. Holds 1 infinity." in repr(filled.user_ns["view_"])


def test_arrays_are_listed_without_importing_tensorflow() -> None:
    import subprocess
    import sys

    code = """
import sys, numpy as np
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "tfmagic")
shell.user_ns["a"] = np.arange(3.0)
shell.run_line_magic("tfvars", "-q -o view")
(row,) = shell.user_ns["view"].inventory.holdings
print(row.name, row.dtype, row.value.stats.max, "tensorflow" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["a", "float64", "2.0", "False"]


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
        ("--sort nmae", "Did you mean name?"),
        ("--filter", "--filter needs a value: --filter WORD"),
        ("X Y", "SyntaxError"),
    ],
)
def test_a_wrong_use_is_answered_in_one_line(filled: Any, line: str, said: str) -> None:
    with capture_output() as out:
        filled.run_cell(f"%tfvars {line}")
    assert said in out.stdout + out.stderr and "Traceback" not in out.stdout + out.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("3", "in 3. How a value becomes a tensor: %tfvars --why 3"),
        ("--filter zzz", "--filter zzz: nothing here has that"),
        ("{}", "no tensor, variable"),
    ],
)
def test_where_nothing_is_held_there_is_a_sentence_and_no_table(
    filled: Any, line: str, said: str
) -> None:
    with capture_output() as out:
        filled.run_line_magic("tfvars", line)
    (shown,) = out.outputs
    assert said in shown.data["text/plain"] and "<table" not in shown.data["text/html"]


ODD = """
grown = tf.Variable(1, shape=tf.TensorShape(None))
pile = tf.TensorArray(tf.float32, 3, element_shape=[2])
mixed = {"w": tf.constant(1.0), 3: tf.constant(2.0)}
class Touchy:
    def __getattr__(self, name):
        raise RuntimeError(name)
touchy = Touchy()
jagged = tf.ragged.constant([[1.0], []])
thin = tf.sparse.from_dense([[0.0, 1.0]])
turning = np.array([1j])
"""


def test_odd_values_are_shown_and_hide_no_other(filled: Any) -> None:
    filled.run_cell(ODD)
    for _ in range(2):  # the second time with what was kept of the first
        rows = held(filled)
        filled.run_cell("0")
    assert {"grown", "pile", "mixed['w']", "mixed[3]", "jagged", "thin", "W_1"} <= rows.keys()
    assert rows["pile"].shape == (3, 2) and rows["pile"].dtype == "float32"
    assert rows["grown"].value.data == 1
    assert held(filled, "mixed").keys() == {"w", "[3]"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("jagged", "x.to_tensor()"),
        ("thin", "tf.sparse.to_dense(x)"),
        ("touchy", "cannot make a tensor"),
        ("turning", "complex128"),
    ],
)
def test_why_an_odd_value_is_no_tensor(filled: Any, name: str, said: str) -> None:
    filled.run_cell(ODD)
    with capture_output() as out:
        filled.run_line_magic("tfvars", f"--why {name}")
    assert said in out.outputs[0].data["text/plain"] and not out.stderr


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
        ("[[1], [2, 3]]", "uneven", ""),
        ("[]", "empty", "float32"),
        ("(1, True)", "counted", "int32"),
        ("range(3)", "int", "int32"),
        ("np.array(['a'], object)", "text", "string"),
        ("np.array(['a'])", "text", "string"),
        ("tf.data.Dataset.range(3)", "dataset", ""),
        ("object()", "refused", ""),
    ],
)
def test_how_a_value_becomes_a_tensor(filled: Any, expression: str, rule: str, dtype: str) -> None:
    filled.run_line_magic("tfvars", f"-q -o why_ --why {expression}")
    view = filled.user_ns["why_"]
    assert (view.conversion.rule, view.conversion.dtype) == (rule, dtype)
    assert view.mimebundle()["text/plain"]


def test_a_missing_number_is_not_told_of_as_rounded(filled: Any) -> None:
    filled.run_line_magic("tfvars", "-q -o why_ --why [float('nan'), float('inf'), 0.5]")
    assert filled.user_ns["why_"].conversion.lost == 0.0


def test_text_is_not_multiplied(filled: Any) -> None:
    filled.run_line_magic("tfvars", "-q -o why_ --why 'word'")
    assert "Multiplied" not in repr(filled.user_ns["why_"])


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
