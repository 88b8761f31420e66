"""A line of the user's is told as the user typed it."""

from __future__ import annotations

import pytest
from IPython.core.inputtransformer2 import TransformerManager

from tfmagic.runtime.capture.source import as_typed


@pytest.mark.parametrize(
    "line",
    [
        "%time loss = step(x)",
        "%tfgraph -i model",
        "found = %timeit -o -q f('a', \"b\")",
        "!ls -l",
        "names = !ls",
        "%pwd",
        "y = tf.square(x)  # get_ipython()",
    ],
)
def test_a_magic_is_told_as_it_was_typed(line: str) -> None:
    assert as_typed(TransformerManager().transform_cell(line).strip()) == line


@pytest.mark.parametrize(
    "line", ["get_ipython().run_line_magic(name, 'x')", "get_ipython().system("]
)
def test_a_call_that_was_typed_stays_as_it_is(line: str) -> None:
    assert as_typed(line) == line
