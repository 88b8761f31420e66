"""Cells made up at random do the same with ``%%tape`` above them as without.

``TFMAGIC_NOTEBOOKS=2000 python -m pytest tests/trust/test_generated.py`` makes the run
as long as one likes; every notebook has up to eight cells.
"""

from __future__ import annotations

import os
import textwrap
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

NOTEBOOKS = int(os.environ.get("TFMAGIC_NOTEBOOKS", "20"))
WRAPS = ("quiet", "shown", "second", "first", "named", "story")

START = """import tensorflow as tf
import numpy as np
import random
a, b, c = 1.5, [1.0, 2.0], "text"
kept_0 = kept_1 = None
x = tf.constant([[1.0, 2.0], [3.0, 4.0]])
w = tf.Variable([[0.5, -0.5], [0.25, 1.0]], name="w")
v = tf.Variable(2.0)
n = tf.Variable(3, trainable=False)
gen = tf.random.Generator.from_seed(5)
@tf.function
def plain(t):
    return tf.reduce_sum(t * t)
@tf.function
def drawing(t):
    return t * tf.random.normal([]) + gen.normal([])
@tf.function
def counting(t):
    n.assign_add(1)
    tf.print("counted", n)
    return t * tf.cast(n, tf.float32)
@tf.custom_gradient
def own(t):
    def grad(up):
        print("own gradient")
        return up * 2.0
    return t * 1.0, grad
@tf.function
def inner(t):
    return own(t) * v
"""

NAME = st.sampled_from(["a", "b", "c", "x", "y", "z", "w", "v", "k"])
NUMBER = st.sampled_from(["0", "1", "2.0", "-1.5", "3", "1e-3", "True", "None"])
TENSOR = st.sampled_from(
    [
        "x",
        "w",
        "v",
        "y",
        "z",
        "tf.constant(2.0)",
        "tf.ones((2, 2))",
        "tf.random.normal((2, 2))",
        "tf.random.uniform([])",
        "np.ones((2, 2), np.float32)",
        "w[0]",
        "gen.normal((2,))",
        "tf.constant([1, 2, 3])",
        "plain(x)",
        "plain(w)",
        "drawing(v)",
        "counting(v)",
        "own(v)",
        "own(w)",
        "inner(v)",
        "_",
    ]
)
OP = st.sampled_from(
    [
        "{0} * {1}",
        "{0} + {1}",
        "{0} @ {1}",
        "{0} - a",
        "tf.matmul({0}, {1})",
        "tf.tanh({0})",
        "tf.reduce_sum({0} * {1})",
        "tf.reduce_mean(tf.square({0}))",
        "tf.nn.relu({0})",
        "tf.nn.dropout({0}, 0.5)",
        "tf.nn.softmax({0})",
        "tf.nn.silu({0})",
        "tf.concat([{0}, {1}], 0)",
        "tf.stop_gradient({0})",
        "tf.where({0} > 0, {0}, {1})",
        "tf.cast({0}, tf.int32)",
        "tf.unique(tf.reshape({0}, [-1])).y",
        "tf.numpy_function(np.sin, [{0}], tf.float32)",
        "tf.py_function(lambda t: t * 2.0, [{0}], tf.float32)",
        "tf.linalg.inv({0})",
        "tf.gather({0}, [0, 1])",
        "tf.map_fn(lambda t: t * 2.0, {0})",
        "tf.while_loop(lambda i, t: i < 3, lambda i, t: (i + 1, t * 1.1), (0, {0}))[1]",
        "tf.strings.as_string({0})",
        "{0}.numpy()",
        "float({0})",
        "len({0})",
        "[t * 2 for t in {0}]",
        "{{i: t for i, t in enumerate({0})}}",
        "sum(tf.reduce_sum(t) for t in ({0}, {1}))",
        "max({0}, {1}, key=lambda t: float(tf.reduce_sum(t)))",
        "tf.shape({0})",
        "tf.ragged.constant([[1.0], [2.0, 3.0]]) * {0}",
        "tf.sparse.from_dense({0})",
    ]
)


@st.composite
def expressions(draw: Any) -> str:
    """A value, most of them of TensorFlow."""
    found = draw(st.one_of(TENSOR, TENSOR, NUMBER))
    for _ in range(draw(st.integers(0, 2))):
        found = draw(OP).format(found, draw(TENSOR))
    return str(found)


SIMPLE = st.sampled_from(
    [
        "{n} = {e}",
        "{n} = {m} = {e}",
        "{n}, {m} = {e}, {f}",
        "{n} = {e};",
        "{n} += {e}",
        "{e}",
        "{e};",
        "print({e})",
        "print({n!r}, end='')",
        "tf.print({e})",
        "display({e})",
        "v.assign({e})",
        "v.assign_add(0.5)",
        "w.assign_sub(0.1 * w)",
        "n.assign_add(1)",
        "del {n}",
        "assert {e} is None, 'no'",
        "raise ValueError({n!r})",
        "if {e} is not None: {n} = 1",
        "{n} = lambda q: q * {e}",
        "{n}(2.0)",
        "tf.random.set_seed(4)",
        "np.random.seed(3); {n} = np.random.rand(2)",
        "{n} = random.random()",
        "{n} = tf.random.normal((2,), seed=1)",
        "{n} = tf.Variable({e})",
        "import warnings; warnings.warn('careful')",
        "import sys; print('oops', file=sys.stderr)",
        "from math import *",
        "{n} = pi",
        "global {n}; {n} = {e}",
        "%timeit -n1 -r1 pass",
        "!echo shell",
        "{n} = !echo lines",
        "%who_ls",
        "%pwd",
        "{n}?",
        "_",
        "__",
        "Out",
        "In[-1]",
        "_i",
        "{n} = _ih[-1]",
        "exit_code = 3",
        "{n}: float = {e}",
        "({n} := {e})",
        "{n} = f'{{{e}}}'",
        "x[0, 0] = 1",
        "1 / 0",
        "{n} = = 2",
        "return 1",
        "await 3",
        "tf.config.run_functions_eagerly(False)",
        "{n} = [t.name for t in (w, v)]",
        "tf.debugging.assert_equal({e}, {f})",
        "{n} = tf.data.Dataset.range(3).map(lambda t: t * 2)",
        "{n} = [int(t) for t in tf.data.Dataset.range(3)]",
        "{n} = sorted(k for k in globals() if not k.startswith('_'))",
        "{n} = tf.executing_eagerly(), tf.inside_function()",
        "tape.gradient({e}, [w, v])",
        "{n} = t.gradient({m}, w)",
        "{n} = t.gradient({m}, [w, v], unconnected_gradients='zero')",
        "pass",
        "# a remark",
        "",
    ]
)

BLOCKS = st.sampled_from(
    [
        "for i in range(2):\n{0}",
        "while True:\n{0}\n    break",
        "if tf.reduce_sum(x) > 0:\n{0}\nelse:\n{1}",
        "try:\n{0}\nexcept Exception as error:\n{1}\nfinally:\n    done = 1",
        "try:\n{0}\nexcept ZeroDivisionError:\n    raise KeyError('k') from None",
        "with tf.GradientTape() as t:\n{0}",
        "with tf.GradientTape(persistent=True) as t:\n{0}\n    with t.stop_recording():\n    {1}",
        "with tf.GradientTape() as t, tf.GradientTape() as u:\n{0}\n{1}",
        "with tf.name_scope('mine'), tf.device('CPU:0'):\n{0}",
        "def function(q=1):\n{0}\n    return q\nk = function()",
        "@tf.function\ndef graph(q):\n{0}\n    return q * 2\nk = graph(tf.constant(1.0))",
        "def outer():\n    k = 1\n    def nested():\n        nonlocal k\n        k = 2\n    nested()\n    return k\ny = outer()",
        "class Thing(tf.Module):\n    size = 3\n    def __init__(self):\n        super().__init__()\n        self.kernel = tf.Variable(1.0)\n    def __call__(self, q):\n    {0}\n        return q * self.kernel\nthing = Thing()\nz = thing(v)",
        "class Base:\n{0}\n\nclass Child(Base):\n    pass",
        "def generate():\n{0}\n    yield x\n{1}\n    yield w\nz = list(generate())",
        "def generate():\n    yield 1\n{0}\nk = generate()\nnext(k)",
        "import asyncio\nasync def slow():\n{0}\n    await asyncio.sleep(0)\n    return 7\nz = await slow()",
        "import functools\ndef twice(f):\n    @functools.wraps(f)\n    def inside(*args):\n        f(*args)\n        return f(*args)\n    return inside\n@twice\ndef decorated():\n{0}\n    return a\ndecorated()",
        "import contextlib\n@contextlib.contextmanager\ndef around():\n{0}\n    yield 1\n{1}\nwith around() as k:\n    y = k",
        "def deep(q):\n    return 1 / q if q < 1 else deep(q - 1)\ndeep(3)",
        "%%time\n{2}",
        "%%capture taken\n{2}",
    ]
)


@st.composite
def statements(draw: Any) -> str:
    """One line of a cell."""
    return str(
        draw(SIMPLE).format(
            n=draw(NAME), m=draw(NAME), e=draw(expressions()), f=draw(expressions())
        )
    )


@st.composite
def cells(draw: Any) -> str:
    """One cell: some lines, perhaps a block, perhaps more lines."""
    lines = st.lists(statements(), min_size=1, max_size=3).map("\n".join)
    kind = draw(st.integers(0, 9))
    if kind < 4:
        return str(draw(lines))
    inside = [textwrap.indent(draw(lines) + "\npass", "    ") for _ in range(2)]
    block = draw(BLOCKS).format(*inside, draw(lines))
    if block.startswith("%%"):
        return str(block)
    before, after = (draw(lines) if draw(st.booleans()) else "" for _ in range(2))
    return "\n".join(part for part in (before, block, after) if part)


@settings(
    max_examples=NOTEBOOKS,
    deadline=None,
    derandomize="TFMAGIC_NOTEBOOKS" not in os.environ,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
    database=None,
)
@given(notebook=st.lists(cells(), min_size=3, max_size=8), wrap=st.sampled_from(WRAPS))
def test_a_made_up_notebook_is_the_same(player: Any, notebook: list[str], wrap: str) -> None:
    found = player.differences([START, *notebook], wrap, seconds=30)
    assert not found, "\n".join(found)
