"""A statement as something that can be run a thousand times."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from tfmagic.errors import OptionError
from tfmagic.runtime.timer.statement import VALUE, Statement


def ran(source: str, times: int = 3, **space: Any) -> dict[str, Any]:
    return Statement(source).loop({"__builtins__": __builtins__, **space})(times)


def test_each_run_begins_with_the_same_input() -> None:
    x = 1
    assert ran("x = x + 1\nx", x=x)[VALUE] == 2
    assert ran("x += 1", x=x)["x"] == 2


def test_names_are_local_and_the_last_value_is_kept() -> None:
    space: dict[str, Any] = {"seen": []}
    outcome = ran("y = 3\nseen.append(y)\ny * 2", **space)
    assert outcome["y"] == 3 and outcome[VALUE] == 6 and space["seen"] == [3, 3, 3]


def test_functions_inside_see_what_the_statement_holds() -> None:
    assert ran("k = 2\nf = lambda v: v * k\nf(a)", a=5)[VALUE] == 10


def test_what_others_hang_on_the_marks_of_all_trees_is_not_copied() -> None:
    """As IPython does where it shows a traceback: the parent of each node of a whole file."""

    class File:
        def __deepcopy__(self, _: Any) -> Any:
            raise AssertionError("copied")

    mark = ast.parse("x").body[0].value.ctx  # type: ignore[attr-defined]
    mark.parent = File()
    try:
        assert ran("y = [i * x for i in range(3)]\nsum(y)", x=2)[VALUE] == 6
    finally:
        del mark.parent


@pytest.mark.parametrize("source", ["", "  ", "1 +", "return 3", "await f()", "# nothing"])
def test_what_is_no_statement_is_refused(source: str) -> None:
    with pytest.raises(OptionError) as caught:
        Statement(source)
    assert "\n" not in str(caught.value)


def test_reads_and_assigns() -> None:
    found = Statement("import os\nfor i in r:\n  y = [x for x in a]\ndef f(): return g + y")
    assert {"r", "a", "g"} <= found.reads and not {"x"} & found.reads
    assert set(found.assigns) == {"os", "i", "y", "f"}


@pytest.mark.parametrize(
    ("source", "reads", "assigns"),
    [
        ("[u * b for row in rows for u in row]", {"b", "rows"}, ()),
        ("{k: [v for v in vs] for k, vs in p}", {"p"}, ()),
        ("{s for s in {t for t in q}}", {"q"}, ()),
        ("[x for x in x]", {"x"}, ()),
        ("x = [x for x in a]", {"a"}, ("x",)),
        ("f = lambda: [i * n for i in m]", {"n", "m"}, ("f",)),
        ("[lambda: h + i for i in m]", {"h", "m"}, ()),
        ("y = f'{[i for i in a]!r:>{w}}\\n'", {"a", "w"}, ("y",)),
        ("[t := t + i for i in a]", {"a", "t"}, ("t",)),
        ("y = {(s := k) for k in a if (n := k)}", {"a"}, ("y", "s", "n")),
        ("f = lambda: [(inner := i) for i in a]", {"a"}, ("f",)),
    ],
)
def test_a_comprehensions_names_are_its_own(
    source: str, reads: set[str], assigns: tuple[str, ...]
) -> None:
    found = Statement(source)
    assert (found.reads, found.assigns) == (reads, assigns)


def test_a_walrus_in_a_comprehension_begins_anew_in_each_run() -> None:
    assert ran("[t := t + i for i in a]", a=(1, 2), t=10)["t"] == 13
    loop = Statement("[(last := i) for i in a]").loop({"a": ()}, fetch=[].append)
    assert "last" not in loop(1)


def test_what_a_comprehension_made_is_fetched_without_its_names() -> None:
    fetched: list[Any] = []
    loop = Statement("y = [i for i in a]\n[i for i in y]").loop({"a": (1, 2)}, fetch=fetched.append)
    assert loop(1)["y"] == [1, 2] and fetched == [[[1, 2], [1, 2]]]
