"""``%%tape`` around a cell changes nothing about the cell."""

from __future__ import annotations

import re
import sys
import traceback
from typing import Any

import pytest
from IPython.utils.capture import capture_output

import tfmagic

CELLS = {
    "names": "a = 1\nb = [a, 2]\ndel a",
    "last value": "x = tf.constant([1.0, 2.0])\nx * 2",
    "silenced": "tf.constant(1.0) + 1;",
    "print": "print('seen')\nprint(tf.constant(2) * 3)",
    "stderr": "import sys\nprint('oops', file=sys.stderr)",
    "raises": "k = 1\ntf.constant([1.0, 2.0]) @ tf.constant([3.0])\nk = 2",
    "zero division": "def f(n):\n    return 1 / n\n\nf(0)",
    "syntax error": "a = 1\nb = = 2",
    "late syntax error": "a = 1\nreturn a",
    "magic and shell": "n = 3\n%timeit -n1 -r1 pass\nfiles = !echo {n}\nfiles",
    "class": "class Net(tf.Module):\n    def __init__(self):\n        self.w = tf.Variable(2.0)\nm = Net()\nm.w * 3",
    "function": "@tf.function\ndef f(x):\n    if x > 0:\n        return x * 2\n    return x\nf(tf.constant(3.0))",
    "source": "import inspect\ndef g():\n    return 1\ninspect.getsource(g)",
    "tape": "v = tf.Variable(3.0)\nwith tf.GradientTape() as t:\n    y = v ** 2\nt.gradient(y, v)",
    "used up tape": "v = tf.Variable(3.0)\nwith tf.GradientTape() as t:\n    y = v ** 2\nt.gradient(y, v)\nt.gradient(y, v)",
    "no gradient": "v = tf.Variable([1.0])\nwith tf.GradientTape() as t:\n    y = tf.unique(v).y\nt.gradient(y, v)",
    "random": "tf.random.set_seed(1)\nr = [float(tf.random.normal([])) for _ in range(3)]\nr",
    "random function": "tf.random.set_seed(1)\n@tf.function\ndef r():\n    return tf.random.normal([])\nw = tf.Variable(1.0)\n[float(r() * w) for _ in range(3)]",
    "custom gradient": "@tf.custom_gradient\ndef c(x):\n    def grad(u):\n        print('grad ran')\n        return u\n    return x, grad\n@tf.function\ndef f(x):\n    return c(x)\nf(tf.Variable(2.0))",
    "await": "import asyncio\nawait asyncio.sleep(0)\nz = tf.constant(1.0) + 1\nz",
    "future": "from __future__ import annotations\ndef h(x: Undefined): return 1\nh.__annotations__",
    "comprehension": "[tf.constant(i) * i for i in range(3)]",
    "generator": "def gen():\n    yield tf.constant(1) + 1\nlist(gen())",
    "display": "from IPython.display import display\ndisplay(tf.constant(1) + 2)",
    "loop": "total = tf.constant(0.0)\nfor i in range(3):\n    total += float(i)\ntotal",
    "threshold": "import gc\ngc.isenabled(), gc.get_threshold(), len(gc.callbacks)",
    "underscore": "5\n",
    "exit code": "raise SystemExit(3)",
    "warning": "import warnings\nwarnings.warn('careful')",
}


# `;` silences the outer call's value, and a traceback starts at the outer call's line.
DIFFERS = {"silenced": ("value", "out"), "raises": ("out",)}


def run(shell: Any, cell: str) -> dict[str, Any]:
    """Everything a user could notice of one cell."""
    shell.reset(new_session=True)
    shell.run_cell("import tensorflow as tf")
    import tensorflow as tf

    tf.random.set_seed(7)
    with capture_output() as captured:
        result = shell.run_cell(cell, store_history=True)
    error = result.error_in_exec or result.error_before_exec
    names = {
        name: repr(value).split(" at 0x")[0]
        for name, value in shell.user_ns.items()
        if not name.startswith("_") and name not in ("In", "Out", "exit", "quit", "get_ipython")
    }
    return {
        "names": names,
        "value": repr(result.result).split(" at 0x")[0],
        "out": [line for line in captured.stdout.split("\n") if "loop" not in line],
        "err": captured.stderr,
        "displays": [o.data for o in captured.outputs],
        "error": (type(error).__name__, str(error)),
        "line": last_line(error),
        "Out": {k: repr(v) for k, v in shell.user_ns["Out"].items()},
    }


def last_line(error: BaseException | None) -> list[tuple[str, int]]:
    """The functions and lines of the traceback; none of ours may be among them."""
    trace, found = error.__traceback__ if error else None, []
    while trace is not None:
        assert not str(trace.tb_frame.f_globals.get("__name__")).startswith("tfmagic.")
        found.append((trace.tb_frame.f_code.co_name, trace.tb_lineno))
        trace = trace.tb_next
    return found


@pytest.mark.parametrize("name", CELLS)
def test_the_cell_is_the_plain_cell(shell: Any, name: str) -> None:
    plain = run(shell, CELLS[name])
    taped = run(shell, "%%tape -q\n" + CELLS[name])
    assert taped == plain


@pytest.mark.parametrize(
    "name", ["names", "last value", "silenced", "raises", "magic and shell", "class"]
)
def test_called_as_a_magic_it_binds_and_returns_the_same(shell: Any, name: str) -> None:
    plain = run(shell, CELLS[name])
    inside = run(shell, f"get_ipython().run_cell_magic('tape', '-q', {CELLS[name]!r})")
    for part in ("names", "value", "out", "error"):
        if part in DIFFERS.get(name, ()):
            continue
        assert inside[part] == plain[part], part


def test_under_another_magic(shell: Any) -> None:
    with capture_output():
        shell.run_cell(
            "%%time\n%%tape t -q\nimport tensorflow as tf\nw = tf.Variable(3.0)\ny = w * w"
        )
    assert shell.user_ns["t"].gradient(shell.user_ns["y"], shell.user_ns["w"]).numpy() == 6.0


def test_a_named_tape_answers_in_later_cells(shell: Any) -> None:
    shell.run_cell(
        "%%tape t -q\nimport tensorflow as tf\nv = tf.Variable([1.0, 2.0])\ny = tf.reduce_sum(v * v)"
    )
    result = shell.run_cell(
        "g = t.gradient(y, {'v': v}); j = t.jacobian(y, v); w = t.watched_variables"
    )
    result.raise_error()
    space = shell.user_ns
    assert space["g"]["v"].numpy().tolist() == [2.0, 4.0]
    assert space["j"].numpy().tolist() == [2.0, 4.0]
    assert space["w"][0] is space["v"]


def test_without_a_name_nothing_is_bound_and_the_tensors_go(shell: Any) -> None:
    shell.run_cell("import tensorflow as tf")
    before = set(shell.user_ns)
    shell.run_cell("%%tape -q\ny = tf.ones(3) * 2.0")
    assert set(shell.user_ns) - before == {"y"}
    assert [op.type for op in tfmagic.last.ops][-1] == "Mul"


def test_o_keeps_the_recording(shell: Any) -> None:
    shell.run_cell("%%tape -q -o rec\nimport tensorflow as tf\nw = tf.Variable(2.0)\nw * w")
    (call,) = shell.user_ns["rec"].gradients
    assert call.gradients[0].value.data == 4.0


def test_a_story_shows_beneath_each_cell_the_cells_own_part(shell: Any) -> None:
    shell.run_cell("import tensorflow as tf\nw = tf.Variable(3.0)\n%tape on")
    cell = "with tf.GradientTape() as t:\n    y = w * w\n_ = t.gradient(y, w)"
    told = ["\n".join(b["text/plain"] for b in shown(shell, cell)) for _ in range(8)]
    told = [" ".join(text.split()) for text in told]
    parts = [re.search(r"rests on: (\d+) of the story's (\d+) ops", text) for text in told]
    assert parts[0] is None and len({part[1] for part in parts[1:]}) == 1
    assert [int(part[2]) for part in parts[1:]] == [int(parts[1][1]) * n for n in range(2, 9)]
    assert all(text.count("∇ = 6") == told[0].count("∇ = 6") for text in told)
    assert len(tfmagic.last.gradients) == 8


def test_a_story_of_three_cells(shell: Any) -> None:
    with capture_output():
        shell.run_cell("import tensorflow as tf\nW = tf.Variable(3.0)\n%tape on")
        shell.run_cell("with tf.GradientTape() as tape:\n    Loss = W * W")
        shell.run_cell("g = tape.gradient(Loss, W)")
        shell.run_cell("W.assign_sub(0.1 * g)")
        shell.run_cell("%tape off")
    recording = tfmagic.last
    assert [cell.source.split("\n")[0][:4] for cell in recording.cells] == ["with", "g = ", "W.as"]
    assert {op.cell for op in recording.ops} == {0, 1, 2}
    call = next(c for c in recording.gradients if c.origin == "cell")
    assert (call.targets, call.gradients[0].value.data) == (("Loss",), 6.0)


@pytest.mark.parametrize(
    ("cell", "word"),
    [
        ("%%tape --tagret y\nx = 1", "--target"),
        ("%%tape 3x\nx = 1", "3x"),
        ("%%tape -o 3x\nx = 1", "3x"),
        ("%%tape\n", "%%tape"),
        ("%tape sideways", "sideways"),
        ("%tfgraph", "%%tape"),
        ("%tfgraph nothing_here", "nothing_here"),
        ("%%tape --target\nx = 1", "--target needs a value: --target EXPR"),
        ("%%tape --order 3\nx = 1", "--order 3: possible are 1, 2"),
        ("%%tape --depth no\nx = 1", "--depth no: a whole number is needed"),
        ("%%tape --depth -1\nx = 1", "0 or more"),
        ("%%tape a b\nx = 1", "no place for 'b'"),
        ("%%tape 'a\nx = 1", "quotation mark"),
        ("%tfgraph --by scop", "Did you mean scope?"),
        ("%tfgraph --bad", "no option --bad. See"),
        ("%%tfgraph f(3)\nx = 1", "write %tfgraph f(3)"),
    ],
)
def test_a_wrong_use_is_one_line(shell: Any, cell: str, word: str) -> None:
    with capture_output() as captured:
        result = shell.run_cell(cell)
    error = result.error_in_exec
    assert type(error).__name__ == "UsageError"
    assert word in str(error) and "\n" not in str(error)
    assert "Traceback" not in captured.stdout + captured.stderr
    assert "x" not in shell.user_ns


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ("--target yy", "yy"),
        ("--target n", "int"),
        ("--wrt n", "int"),
        ("--target x", "x"),
        ("--wrt nowhere", "nowhere"),
    ],
)
def test_a_wrong_target_keeps_the_cells_effects(shell: Any, options: str, word: str) -> None:
    shell.run_cell("import tensorflow as tf\nx = tf.constant(1.0)")
    with capture_output():
        result = shell.run_cell(f"%%tape -q {options}\nn = 3\nw = tf.Variable(2.0)\ny = w * x")
    assert result.success and shell.user_ns["n"] == 3
    (note,) = tfmagic.last.notes
    assert word in note and "\n" not in note


def test_completion(shell: Any) -> None:
    shell.run_cell("Loss = 1")

    def offered(text: str) -> set[str]:
        with capture_output():
            return {c.text for c in shell.Completer.completions(text, len(text))}

    assert "--target" in offered("%%tape --ta")
    assert "Loss" in offered("%%tape --target Lo")
    assert "on" in offered("%tape o")


def test_config(shell: Any) -> None:
    shell.run_line_magic("config", "TFMagic.lang = 'ko'")
    with capture_output():
        result = shell.run_cell("%tape sideways")
    shell.run_line_magic("config", "TFMagic.lang = 'auto'")
    assert "씁니다" in str(result.error_in_exec)


def test_loading_twice_and_unloading(shell: Any) -> None:
    before = list(shell.input_transformers_cleanup)
    shell.extension_manager.reload_extension("tfmagic")
    tfmagic.load_ipython_extension(shell)
    assert len(shell.input_transformers_cleanup) == len(before)
    tfmagic.unload_ipython_extension(shell)
    assert shell.find_cell_magic("tape") is None and shell.find_line_magic("tfgraph") is None
    assert not [c for c in shell.configurables if type(c).__name__ == "TFMagic"]
    tfmagic.load_ipython_extension(shell)


def test_the_traceback_is_the_users(shell: Any) -> None:
    with capture_output() as captured:
        shell.run_cell(
            "%%tape -q\nimport tensorflow as tf\nv = tf.Variable([1.0])\n"
            "with tf.GradientTape() as t:\n    y = tf.unique(v).y\nt.gradient(y, v)"
        )
    assert "LookupError" in captured.stdout
    assert "tfmagic" not in captured.stdout
    assert "recorder" not in captured.stdout
    assert "tensorflow" in sys.modules


PRINTED = {
    "a value that is no number": "int(tf.ones([2]))",
    "a tape": "tape.gradient(y, w)\n    tape.gradient(y, w)",
    "Python inside an op": "tf.py_function(lambda t: int(t), [tf.ones([2])], tf.float32)",
}


@pytest.mark.parametrize("failing", PRINTED.values(), ids=PRINTED)
def test_a_traceback_that_the_cell_prints_is_the_plain_one(shell: Any, failing: str) -> None:
    cell = (
        "import traceback\nimport tensorflow as tf\nw = tf.Variable(2.0)\n"
        f"with tf.GradientTape() as tape:\n    y = w * w\ntry:\n    {failing}\n"
        "except Exception:\n    print(traceback.format_exc())\n"
    )
    printed, walker = [], traceback.walk_tb
    for line in ("", "%%tape -q\n"):
        with capture_output() as captured:
            shell.run_cell(line + cell)
        printed.append(re.sub("<ipython-input-[^>]*>", "<cell>", captured.stdout))
    assert "Traceback" in printed[0] and printed[1] == printed[0]
    assert traceback.walk_tb is walker


def shown(shell: Any, cell: str) -> list[dict[str, str]]:
    """The mimebundles that a cell's report left."""
    with capture_output() as captured:
        shell.run_cell(cell)
    return [output.data for output in captured.outputs]


def test_an_op_without_a_gradient_in_a_function_is_looked_for_where_it_is_called(
    shell: Any,
) -> None:
    shell.run_cell("import tensorflow as tf\nv = tf.Variable([1.0, 1.0])")
    shell.run_cell("counted = tf.function(lambda t: tf.unique(t).y)")
    (bundle,) = shown(shell, "%%tape\nonce = counted(v)\ntotal = tf.reduce_sum(once)")
    assert "no_gradient_registered" in bundle["text/plain"]
    assert "(line 1: once = counted(v))" in bundle["text/plain"]


def test_a_cell_that_raises_shows_what_ran_before(shell: Any) -> None:
    (bundle,) = shown(shell, "%%tape\nimport tensorflow as tf\nk = tf.ones(2) * 2.0\n1 / 0")
    assert "ZeroDivisionError" in bundle["text/plain"] and "Mul" in bundle["text/plain"]
    assert "data:image/svg+xml" in bundle["text/html"]


def test_a_cell_without_ops_says_so_and_in_a_story_nothing(shell: Any) -> None:
    shell.run_cell("import tensorflow as tf")
    (bundle,) = shown(shell, "%%tape\nn = 1")
    assert "No TensorFlow op" in bundle["text/plain"]
    shown(shell, "%tape on")
    assert len(shown(shell, "y = tf.ones(1) * 2.0")) == 1
    assert shown(shell, "n = 2") == []
    assert len(shown(shell, "%tape off")) == 1


def test_graph_of_a_call_a_model_and_a_cell(shell: Any, tmp_path: Any) -> None:
    shell.run_cell("import tensorflow as tf\nv = tf.Variable(2.0)\ndef f(a):\n    return a * v")
    file = tmp_path / "f.svg"
    assert len(shown(shell, f"%tfgraph f(tf.constant(1.0)) --save {file}")) == 2
    assert file.read_text().startswith("<svg")
    (bundle,) = shown(shell, "%%tfgraph\nz = tf.sin(v)")
    assert "Sin" in bundle["text/plain"]
    shell.run_cell("import keras\nm = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])")
    (bundle,) = shown(shell, "%tfgraph m")
    assert "MatMul" in bundle["text/plain"]


@pytest.mark.parametrize("given", ["f", "3 + 4", "f(v) --save /nowhere/f.svg", "f(v) --save f.xyz"])
def test_what_cannot_be_drawn_is_one_line(shell: Any, given: str) -> None:
    shell.run_cell("import tensorflow as tf\nv = tf.Variable(2.0)\ndef f(a):\n    return a * v")
    with capture_output() as captured:
        result = shell.run_cell(f"%tfgraph {given}")
    assert type(result.error_in_exec).__name__ == "UsageError"
    assert "\n" not in str(result.error_in_exec) and "Traceback" not in captured.stdout


def test_a_wrong_focus_of_a_cell_is_named_and_nothing_else(shell: Any) -> None:
    (bundle,) = shown(shell, "%%tfgraph --focus zz\nimport tensorflow as tf\ny = tf.ones(1) * 3.0")
    assert bundle["text/plain"].startswith("Nothing here is called zz")


def test_a_cell_is_whole_when_an_empty_line_ends_it(shell: Any) -> None:
    """As a terminal asks at each Enter, and as it is for every other cell magic."""
    whole = shell.input_transformer_manager.check_complete
    for line in ("%%tape", "%%tfgraph --flat", "%%tfdevice CPU:0"):
        assert whole(f"{line}\nx = 1\n")[0] == "incomplete"
        assert whole(f"{line}\nx = 1\n\n")[0] == "complete"


def test_a_view_that_fails_leaves_the_cell_alone(shell: Any, monkeypatch: Any) -> None:
    from tfmagic.render import report

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no paint")

    monkeypatch.setattr(report.Report, "mimebundle", broken)
    (bundle,) = shown(shell, "%%tape\nimport tensorflow as tf\ny = tf.ones(1) * 3.0")
    assert "no paint" in bundle["text/plain"]
    assert float(shell.user_ns["y"][0]) == 3.0


def test_interrupt_inside_a_recorded_cell(shell: Any) -> None:
    with capture_output() as captured:
        result = shell.run_cell(
            "%%tape -q\nimport tensorflow as tf\ny = tf.ones(1) * 3.0\nraise KeyboardInterrupt"
        )
    assert isinstance(result.error_in_exec, KeyboardInterrupt)
    assert tfmagic.last.failure.type == "KeyboardInterrupt"
    assert "tfmagic" not in captured.stdout


@pytest.mark.parametrize(
    "cell",
    [
        "\n\n%%tape -q\ny = v * 7.0",
        "  \n%%tape -q\ny = v * 7.0",
        "    %%tape -q\n    y = v * 7.0",
        ">>> %%tape -q\n... y = v * 7.0",
        "%%tape -q\n# a remark\n\ny = v * 7.0\n",
        "%%tape -q\n%%time\ny = v * 7.0",
        "%%tape  -q \ny = v * 7.0",
    ],
)
def test_however_the_cell_begins(shell: Any, cell: str) -> None:
    with capture_output():
        shell.run_cell("import tensorflow as tf\nv = tf.Variable(2.0)")
        shell.run_cell("%%tape -q\nz = v * 5.0")
        shell.run_cell(cell).raise_error()
    assert float(shell.user_ns["y"]) == 14.0
    assert tfmagic.last.find("y").value.data == 14.0


@pytest.mark.parametrize("end", ["", "\ntape.gradient(z, v)"])
def test_a_cells_own_cost_is_measured_before_its_tensors_are_let_go(shell: Any, end: str) -> None:
    shell.run_cell("import tensorflow as tf\nv = tf.Variable([1.0, 2.0])")
    cell = f"with tf.GradientTape() as tape:\n    z = tf.reduce_sum(tf.sin(v)){end}"
    texts = [bundle["text/plain"] for bundle in shown(shell, "%%tfgraph --cost\n" + cell)]
    assert "µs" in "\n".join(texts) and "let go" not in "\n".join(texts)
    assert shell.user_ns["v"] is not None and tfmagic_tape(shell).released


def tfmagic_tape(shell: Any) -> Any:
    """The tape of the last recorded cell."""
    return shell.magics_manager.registry["GraphMagics"].cells.last_tape


@pytest.mark.parametrize("name", ["tape", "tfgraph", "tfbench", "tfdevice"])
def test_a_cell_magic_without_a_cell_answers_in_our_words(shell: Any, name: str) -> None:
    for line, said in (("--help", "--help"), ("CPU:0" if name == "tfdevice" else "", name)):
        with capture_output() as out:
            shell.run_cell(f"%%{name} {line}".strip())
        answer = out.stdout + out.stderr
        assert said in answer and "cell body is empty" not in answer
