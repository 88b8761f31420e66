"""A name is given where the namespace really leads to the object, found anew or as before."""

from __future__ import annotations

import linecache
from typing import Any

import pytest
import tensorflow as tf

import tfmagic
from tfmagic.runtime.capture import names
from tfmagic.runtime.capture.names import key_of, walk


class Layer(tf.Module):
    """A module with a list inside."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = [tf.Variable(1.0), {"bias": tf.Variable(2.0)}]


def found(namespace: dict[str, Any], *objects: Any) -> list[str | None]:
    keys = [key_of(each) for each in objects]
    answer = walk(namespace, {key for key in keys if key is not None})
    return [answer.get(key) for key in keys if key is not None]


def test_a_way_that_still_leads_there_is_gone_again_without_a_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer = Layer()
    first, second = layer.parts[0], layer.parts[1]["bias"]
    expected = ["layer.parts[0]", "layer.parts[1]['bias']"]
    assert found({"layer": layer}, first, second) == expected
    monkeypatch.setattr(names, "_search", None)
    assert found({"layer": layer}, first, second) == expected


def test_a_keras_model_is_gone_through_again(monkeypatch: pytest.MonkeyPatch) -> None:
    keras = tf.keras
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras.layers.Dense(1)])
    optimizer = keras.optimizers.SGD()
    space = {"model": model, "optimizer": optimizer}
    things = (model.layers[1].kernel, optimizer.variables[0])
    expected = ["model.layers[1].kernel", "optimizer.variables[0]"]
    assert found(space, *things) == expected
    monkeypatch.setattr(names, "_search", None)
    assert found(space, *things) == expected


def test_a_way_that_leads_elsewhere_is_forgotten() -> None:
    layer = Layer()
    old = layer.parts[0]
    assert found({"layer": layer}, old) == ["layer.parts[0]"]
    layer.parts[0] = new = tf.Variable(3.0)
    assert found({"layer": layer}, old, new) == [None, "layer.parts[0]"]
    assert found({"layer": layer, "kept": (old,)}, old) == ["kept[0]"]


@pytest.mark.parametrize("now", [None, 7, [], {"parts": ()}, "layer"])
def test_a_name_that_means_something_else_now_is_not_given(now: object) -> None:
    layer = Layer()
    assert found({"layer": layer}, layer.parts[0]) == ["layer.parts[0]"]
    assert found({"layer": now}, layer.parts[0]) == [None]
    assert found({}, layer.parts[0]) == [None]


def test_not_every_way_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_MOST_WAYS", 2)
    many = [tf.Variable(float(n)) for n in range(5)]
    assert found({"many": many}, *many) == [f"many[{n}]" for n in range(5)]
    assert len(names._ways) == 2


# --- loops ---------------------------------------------------------------------------------

LOOPS = """
ws = {made}
with tf.GradientTape() as tape:
    h = tf.constant(1.0)
    for w in ws:
        h = tf.tanh(h * w)
grads = tape.gradient(h, list(ws))
for v, g in zip(ws, grads):
    v.assign_sub(0.1 * g)
"""


def sources(cell: str, space: dict[str, Any]) -> list[str]:
    """What the sources of the cell's last call are called."""
    filename = f"<loops {cell}>"
    linecache.cache[filename] = (len(cell), None, cell.splitlines(keepends=True), filename)
    tape = tfmagic.Tape(lambda: space)
    with tape:
        exec(compile(cell, filename, "exec"), space)
    return [gradient.source for gradient in tape.recording.gradients[-1].gradients]


def test_what_a_loop_left_its_name_on_has_one_of_its_own() -> None:
    cell = LOOPS.format(made="[tf.Variable(0.5), tf.Variable(0.6), tf.Variable(0.7)]")
    space: dict[str, Any] = {"tf": tf}
    assert sources(cell, space) == ["ws[0]", "ws[1]", "ws[2]"]
    again = cell.partition("\n")[2].partition("\n")[2]
    assert sources(again, space) == ["ws[0]", "ws[1]", "ws[2]"]
    without = "with tf.GradientTape() as tape:\n    y = ws[2] * 2.0\ntape.gradient(y, ws[2:])"
    assert sources(without, space) == ["ws[2]"]


def test_the_name_that_a_loop_gives_is_better_than_none() -> None:
    cell = LOOPS.format(made="lambda: None").replace("in ws", "in [tf.Variable(0.5)]")
    cell = cell.partition("grads =")[0] + "g = tape.gradient(h, [vars()['w']])"
    assert sources(cell, {"tf": tf}) == ["w"]


def test_a_name_that_is_also_assigned_is_no_loops() -> None:
    cell = "w = tf.Variable(2.0)\nkept = [w]\nfor w in kept:\n    pass\nwith tf.GradientTape() as t:\n    y = w * w\nt.gradient(y, w)"
    assert sources(cell, {"tf": tf}) == ["w"]


def test_a_walrus_gives_a_name_as_an_assignment_does() -> None:
    cell = "def f(x):\n  if (h := tf.square(x)) is not None:\n    k = h + 1\n  return k\nf(x)"
    space: dict[str, Any] = {"tf": tf, "x": tf.constant(2.0)}
    filename = "<walrus>"
    linecache.cache[filename] = (len(cell), None, cell.splitlines(keepends=True), filename)
    tape = tfmagic.Tape(lambda: space)
    with tape:
        exec(compile(cell, filename, "exec"), space)
    assert "h" in [tensor.name for tensor in tape.recording.tensors]
