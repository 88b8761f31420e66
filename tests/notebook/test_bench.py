"""``%tfbench`` in a real shell: the options of ``%timeit``, wherever they stand."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from IPython.utils.capture import capture_output

from tfmagic.language import use
from tfmagic.notebook.magics.bench import RETURNED, bench_options, split

SPACE = {"tf": 1, "x": 2, "a": 3, "n": 4}


@pytest.mark.parametrize(
    ("line", "statement", "given"),
    [
        ("tf.matmul(x, x)", "tf.matmul(x, x)", {}),
        ("-n 10 -r5 tf.matmul(x, x)", "tf.matmul(x, x)", {"loops": 10, "repeat": 5}),
        ("-n10 -r 5 x", "x", {"loops": 10, "repeat": 5}),
        ("tf.matmul(x, x) -d all", "tf.matmul(x, x)", {"devices": ["all"]}),
        ("-d CPU:0 x @ x -v", "x @ x", {"devices": ["CPU:0"], "verbose": True}),
        ("a -n", "a -n", {"loops": None}),
        ("a -q", "a", {"quiet": True}),
        ("a --budget 3", "a", {"budget": 3.0}),
        ("-x", "-x", {}),
        ("-t -n 5 x", "x", {"wall_time": True, "loops": 5}),
        ("-o x", "x", {"output": RETURNED}),
        ("-o r x + a", "x + a", {"output": "r"}),
        ("x + a -o", "x + a", {"output": RETURNED}),
        ("x + a -o r", "x + a", {"output": "r"}),
        ("f('a -d b')", "f('a -d b')", {"devices": None}),
        ('--setup "y = 3" y', "y", {"setup": "y = 3"}),
    ],
)
def test_options_before_and_after(line: str, statement: str, given: dict[str, Any]) -> None:
    options, rest = split(line, bench_options(), SPACE)
    assert rest == statement
    assert {name: getattr(options, name) for name in given} == given


@pytest.fixture
def ready(shell: Any) -> Any:
    shell.run_cell("import tensorflow as tf; x = tf.ones([2, 2]); w = tf.Variable(1.0)")
    return shell


def test_the_result_is_returned_or_kept(ready: Any) -> None:
    with capture_output():
        result = ready.run_line_magic("tfbench", "-o -q --budget 0.02 tf.matmul(x, x)")
        ready.run_line_magic("tfbench", "-o kept -q --budget 0.02 tf.matmul(x, x)")
    assert result.timings[0].median > 0 and ready.user_ns["kept"].timings[0].median > 0


def test_a_cell_with_its_setup(ready: Any) -> None:
    before = set(ready.user_ns)
    result = ready.run_cell_magic(
        "tfbench", "-o -q --budget 0.02 z = x + 1", "total = 0\nfor _ in range(3):\n    total += z"
    )
    assert result.bench.statement.startswith("total = 0") and result.timings[0].median > 0
    assert set(ready.user_ns) == before


def test_variables_of_the_cell_are_kept_only_where_that_is_asked(ready: Any) -> None:
    ready.run_cell_magic("tfbench", "-q --budget 0.02", "made = x + 1")
    assert "made" not in ready.user_ns
    ready.run_cell_magic("tfbench", "-q --keep --budget 0.02", "made = x + 1")
    assert ready.user_ns["made"].shape == (2, 2)


@pytest.mark.parametrize(
    ("language", "words"), [("en", ("one run", "naive loop")), ("ko", ("1회 시간", "단순 반복문"))]
)
def test_what_is_shown(ready: Any, language: str, words: tuple[str, ...]) -> None:
    use(language)
    with capture_output() as out:
        ready.run_cell("%tfbench -v --budget 0.02 tf.matmul(x, x)")
    (shown,) = out.outputs
    for form in ("text/plain", "text/html"):
        said = shown.data[form].replace("\N{NO-BREAK SPACE}", " ")
        assert all(word in said for word in words) and "CPU:0" in said


def test_a_statement_of_the_users_is_escaped(ready: Any) -> None:
    with capture_output() as out:
        ready.run_cell("%tfbench --budget 0.01 '<script>'")
    assert "<script>" not in out.outputs[0].data["text/html"]


def test_the_traceback_is_the_statements_own(ready: Any) -> None:
    with capture_output() as out:
        result = ready.run_cell("%tfbench tf.matmul(x, nowhere)")
    assert isinstance(result.error_in_exec, NameError)
    assert "runtime/timer" not in out.stdout


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "needs a statement"),
        ("--bugdet 3 x", "--budget"),
        ("x -d GPU:0", "no device 'GPU:0'"),
        ("--budget -1 x", "0 or more"),
        ("-s n=a:b x", "NAME=START:STOP"),
        ("--vs nowhere x", "--vs nowhere: there is no such name"),
        ("--vs x x", "--vs x: this is not a result"),
        ("-d , x", "-d is empty"),
        ("-m , x", "-m is empty: possible are eager, function, xla"),
        ("-m jit x", "-m jit: possible are"),
        ("-s n=1:999:+1 x", "more than the 200 points"),
        ("-s for=1,2 x", "NAME=START:STOP"),
        ("-s n=1,2 x", "nothing in the statement or its setup reads n"),
        ("-o for x + 1", "for"),
        ("--bad", "no option --bad"),
        ("-n many x", "-n many: a whole number"),
        ("-n 0 x", "at least 1"),
        ("-c x", "real time"),
        ("--budget nan x", "0 or more"),
        ("--save nowhere/r.json 1/0", "nowhere"),
        ("--save r.txt 1/0", ".json, .html"),
        ("1 +", "cannot be timed"),
        ("x --foo", "no option --foo"),
        ("x --mode xla", "Did you mean --modes?"),
        ("--setup 'y =' x", "--setup y =: this is not Python"),
        ("-o 1x x + 1", "1x"),
    ],
)
def test_a_wrong_use_is_answered_in_one_line(ready: Any, line: str, said: str) -> None:
    with capture_output() as out:
        ready.run_cell(f"%tfbench {line}")
    told = out.stdout + out.stderr
    assert said in told and "Traceback" not in told


def test_a_difference_that_begins_with_a_minus_is_a_statement(ready: Any) -> None:
    with capture_output() as out:
        ready.run_cell("%tfbench --budget 0 -(x + x) - x")
    assert not out.stderr and "one run" in out.outputs[0].data["text/plain"]


def test_a_result_is_shown_and_kept_where_it_cannot_be_written(ready: Any, tmp_path: Any) -> None:
    with capture_output() as out:
        (tmp_path / "x.json").mkdir()
        ready.run_cell(f"%tfbench --budget 0 --save {tmp_path}/x.json -o kept x + x")
    assert "x.json" in out.stdout + out.stderr
    assert out.outputs and "kept" in ready.user_ns


def test_the_bar_of_a_terminal_leaves_no_thread_behind(ready: Any) -> None:
    with capture_output():
        ready.run_cell("%tfbench --budget 0.05 x + x")
    assert "tqdm_monitor" not in {thread.name for thread in threading.enumerate()}


def test_above_a_cell_the_result_may_be_named_last(ready: Any) -> None:
    ready.run_cell_magic("tfbench", "-q --budget 0.02 -o named", "y = x + x")
    assert ready.user_ns["named"].bench.setup == ""
    ready.run_cell_magic("tfbench", "-q --budget 0.02 -o named z = x", "y = z + x")
    assert ready.user_ns["named"].bench.setup == "z = x"
