"""What is differentiated where the cell did not say: its loss, not what it measures beside it."""

from __future__ import annotations

import linecache
from itertools import count
from typing import Any

import pytest

import tfmagic
from tfmagic.errors import NoTargetError
from tfmagic.model import GradientCall
from tfmagic.runtime.tape.tape import GradientRequest

_number = count()

BEGIN = """
import keras
import tensorflow as tf
keras.utils.set_random_seed(7)
X, Y = tf.random.normal([12, 3]), tf.constant([0, 1, 2] * 4)
W, b = tf.Variable(tf.random.normal([3, 3])), tf.Variable(tf.zeros([3]))
acc = keras.metrics.SparseCategoricalAccuracy()
mean = keras.metrics.Mean()
def forward(x):
    return x @ W + b
def loss_of(logits, y):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
"""


def asked(cell: str, wish: GradientRequest | None = None, ended: str = "None") -> GradientCall:
    """What was asked for ``cell``, after the beginning; ``ended`` is its last line's value."""
    space: dict[str, Any] = {"__name__": "__main__"}
    filename = f"<target {next(_number)}>"
    linecache.cache[filename] = (len(cell), None, cell.splitlines(keepends=True), filename)
    exec(BEGIN, space)
    tape = tfmagic.Tape(lambda: space)
    with tape:
        exec(compile(cell, filename, "exec"), space)
        result = eval(ended, space)
    tape.infer(GradientRequest() if wish is None else wish, result)
    (call,) = tape.recording.gradients
    return call


LOOP = """
for i in range(3):
    x, y = X[i * 4:i * 4 + 4], Y[i * 4:i * 4 + 4]
    logits = forward(x)
    loss = loss_of(logits, y)
    acc.update_state(y, logits)
    mean.update_state(loss)
    so_far = mean.result()
"""
WITH_LOSS = {
    "a result with a name": "loss = loss_of(forward(X), Y)\nacc.update_state(Y, forward(X))\nr = acc.result()",
    "called": "loss = loss_of(forward(X), Y)\nseen = mean(loss)",
    "two of them": "loss = loss_of(forward(X), Y)\na = acc(Y, forward(X))\nm = mean(loss)\nboth = a + m",
    "scaled": "loss = loss_of(forward(X), Y)\nmean.update_state(loss)\npercent = mean.result() * 100.0",
    "a loop over batches": LOOP,
    "a sum, whose result is the state itself": (
        "s = keras.metrics.Sum()\nloss = loss_of(forward(X), Y)\ns.update_state(loss)\nr = s.result()"
    ),
    "one with many thresholds": (
        "auc = keras.metrics.AUC(num_thresholds=5)\nloss = loss_of(forward(X), Y)\n"
        "auc.update_state(tf.cast(Y > 0, tf.float32), tf.sigmoid(forward(X)[:, 0]))\nr = auc.result()"
    ),
    "one of the user's own": (
        "class Hits(keras.metrics.Metric):\n"
        "    def __init__(self):\n"
        "        super().__init__(name='hits')\n"
        "        self.n = self.add_weight(shape=(), initializer='zeros', name='n')\n"
        "    def update_state(self, y, logits):\n"
        "        right = tf.equal(tf.argmax(logits, 1, tf.int32), y)\n"
        "        self.n.assign_add(tf.reduce_sum(tf.cast(right, tf.float32)))\n"
        "    def result(self):\n"
        "        return self.n * 1.0\n"
        "hits = Hits()\nloss = loss_of(forward(X), Y)\nhits.update_state(Y, forward(X))\nr = hits.result()"
    ),
    "an accuracy by hand": (
        "logits = forward(X)\nloss = loss_of(logits, Y)\n"
        "right = tf.equal(tf.argmax(logits, 1, tf.int32), Y)\n"
        "accuracy = tf.reduce_mean(tf.cast(right, tf.float32))"
    ),
}


@pytest.mark.parametrize("cell", WITH_LOSS.values(), ids=WITH_LOSS)
def test_a_metric_beside_a_loss_is_not_what_is_meant(cell: str) -> None:
    call = asked(cell)
    assert call.targets == ("loss",)
    assert [(g.source, g.verdict.code) for g in call.gradients if g.verdict] == [
        ("W", "ok"),
        ("b", "ok"),
    ]


def test_a_cell_may_end_with_a_metric() -> None:
    cell = "loss = loss_of(forward(X), Y)\nmean.update_state(loss)"
    assert asked(cell, ended="mean.result()").targets == ("loss",)


def test_a_metric_that_a_function_updates() -> None:
    cell = (
        "@tf.function\ndef count(x, y):\n    acc.update_state(y, forward(x))\n"
        "loss = loss_of(forward(X), Y)\ncount(X, Y)\nr = acc.result()"
    )
    assert asked(cell).targets == ("loss",)


METRIC_ALONE = {
    "an accuracy by hand": (
        "right = tf.equal(tf.argmax(forward(X), 1, tf.int32), Y)\n"
        "r = tf.reduce_mean(tf.cast(right, tf.float32))",
        "None",
    ),
    "an accuracy of Keras's": (
        "r = tf.reduce_mean(keras.metrics.sparse_categorical_accuracy(Y, forward(X)))",
        "None",
    ),
    "an accuracy": ("acc.update_state(Y, forward(X))\nr = acc.result()", "None"),
    "ended with": ("mean.update_state(forward(X))", "mean.result()"),
    "in a loop": (
        "for i in range(3):\n    mean.update_state(forward(X))\n    r = mean.result()",
        "None",
    ),
}


@pytest.mark.parametrize("cell, ended", METRIC_ALONE.values(), ids=METRIC_ALONE)
def test_nothing_is_claimed_of_a_metric_alone(cell: str, ended: str) -> None:
    with pytest.raises(NoTargetError, match="metrics aside"):
        asked(cell, ended=ended)


def test_a_metric_that_is_asked_for_is_explained() -> None:
    """The user has named it: that its state lets nothing through is what they want to know."""
    space: dict[str, Any] = {}
    exec(BEGIN, space)
    tape = tfmagic.Tape(lambda: space)
    with tape:
        exec("mean.update_state(forward(X))\nr = mean.result()", space)
    assert tfmagic.explain(tape, space["r"], space["W"]).code == "state"


CONSTANTS = {
    "a rate that a step gives": (
        "step = tf.Variable(3.0, trainable=False)\nloss = loss_of(forward(X), Y)\nrate = 0.9 ** step"
    ),
    "a constant after the loss": "loss = loss_of(forward(X), Y)\ntwo_pi = tf.math.log(6.28)",
    "a first draw": "loss = loss_of(forward(X), Y)\nfirst = tf.random.normal([])\nv = tf.Variable(first)",
}


@pytest.mark.parametrize("cell", CONSTANTS.values(), ids=CONSTANTS)
def test_what_nothing_went_into_is_not_what_is_meant(cell: str) -> None:
    assert asked(cell).targets == ("loss",)


def test_nothing_is_claimed_of_a_constant_beside_variables() -> None:
    with pytest.raises(NoTargetError):
        asked("logits = forward(X)\ntwo_pi = tf.math.log(6.28)")


def test_a_value_that_left_tensorflow_is_no_constant() -> None:
    call = asked("h = (W * 2.0).numpy().mean()\ny = tf.reduce_mean(h) * 2.0")
    assert call.targets == ("y",)
    assert [g.verdict.code for g in call.gradients if g.verdict] == ["left_tensorflow"]


def test_a_value_from_before_is_no_constant() -> None:
    assert asked("h = tf.reduce_sum(W)\ny = tf.reduce_mean(X)").targets == ("y",)


OWN = {
    "not trained": ("kept = tf.Variable(0.0, trainable=False)", {"W": "state", "b": "state"}),
    "trained": ("kept = tf.Variable(0.0)", {"kept": "ok"}),
    "in a scope": (
        "with tf.name_scope('mine'):\n    kept = tf.Variable(0.0, trainable=False)",
        {"W": "state", "b": "state"},
    ),
}


MODULE = (
    "class Counter(tf.Module):\n    def __init__(self):\n        super().__init__()\n"
    "        with self.name_scope:\n            self.total = tf.Variable(0.0, trainable=False{name})\n"
    "    def __call__(self, v):\n        self.total.assign_add(v)\n        return self.total * 1.0\n"
    "{made}loss_of(forward(X), Y))"
)


@pytest.mark.parametrize(
    "made, name",
    [
        ("counter = Counter()\ny = counter(", ""),
        ("counter = Counter()\ny = counter(", ", name='total'"),
        ("y = Counter()(", ""),
    ],
)
def test_the_state_of_a_module_is_no_metrics(made: str, name: str) -> None:
    call = asked(MODULE.format(made=made, name=name))
    assert call.targets == ("y",)
    assert {g.verdict.code for g in call.gradients if g.verdict} == {"state"}


@pytest.mark.parametrize("made, codes", OWN.values(), ids=OWN)
def test_a_variable_of_the_users_own_stays_what_is_meant(made: str, codes: dict[str, str]) -> None:
    cell = f"{made}\ncost = loss_of(forward(X), Y)\nkept.assign(cost)\ny = kept * 2.0"
    call = asked(cell)
    assert call.targets == ("y",)
    assert {g.source: g.verdict.code for g in call.gradients if g.verdict} == codes


def test_weights_that_are_not_trained_are_no_metric() -> None:
    cell = (
        "layer = keras.layers.Dense(1, trainable=False)\nlayer.build((None, 3))\n"
        "layer.kernel.assign(layer.kernel * 2.0)\ny = tf.reduce_sum(layer(X) ** 2)"
    )
    space: dict[str, Any] = {}
    exec(BEGIN, space)
    tape = tfmagic.Tape(lambda: space)
    with tape:
        exec(cell, space)
    tape.infer(GradientRequest(sources=space["X"], source_names=("X",)))
    (call,) = tape.recording.gradients
    assert call.targets == ("y",) and call.gradients[0].value is not None


def test_a_count_that_the_loss_is_made_of_is_the_users_mistake() -> None:
    """What stands before the count is on its way, not beside it."""
    cell = "s = tf.reduce_sum(W * 3.0)\nn = tf.cast(s, tf.int32)\ny = tf.cast(n, tf.float32) * 2.0"
    call = asked(cell)
    assert call.targets == ("y",)
    assert [g.verdict.code for g in call.gradients if g.verdict] == ["through_integer"]


# --- by what -------------------------------------------------------------------------------


def test_whole_numbers_among_floats_are_no_sources() -> None:
    call = asked("step = tf.Variable(3)\nloss = loss_of(forward(X), Y) / tf.cast(step, tf.float32)")
    assert [g.source for g in call.gradients] == ["W", "b"]


def test_a_variable_of_keras_is_a_source() -> None:
    made = "k = keras.Variable([1.0, 2.0])\nn = keras.Variable([1, 2], dtype='int32')\n"
    call = asked(made + "loss = tf.reduce_sum(k ** 2 * tf.cast(n.value, tf.float32))")
    assert [(g.source, g.verdict.code) for g in call.gradients if g.verdict] == [("k", "ok")]


def test_whole_numbers_alone_are_the_cause() -> None:
    call = asked("n = tf.Variable(3)\ny = tf.cast(n, tf.float32) ** 2\nz = W * 2.0")
    assert [(g.source, g.verdict.code) for g in call.gradients if g.verdict] == [("n", "not_float")]


def test_whole_numbers_that_are_asked_for_are_told() -> None:
    space: dict[str, Any] = {}
    exec(BEGIN, space)
    tape = tfmagic.Tape(lambda: space)
    with tape:
        exec("n = tf.Variable(3)\ny = tf.cast(n, tf.float32) * tf.reduce_sum(W)", space)
    tape.infer(GradientRequest(sources=[space["W"], space["n"]], source_names=("W", "n")))
    (call,) = tape.recording.gradients
    assert [g.verdict.code for g in call.gradients if g.verdict] == ["ok", "not_float"]
