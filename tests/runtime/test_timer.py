"""The stopwatch: what it runs, how often, and that it leaves everything as it was."""

from __future__ import annotations

import ast
import itertools
import random
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfmagic
from tfmagic.analysis.bench import (
    against_earlier,
    allowing_for_drift,
    differences,
    pays_after,
    resolved,
)
from tfmagic.api import kept_selftest
from tfmagic.errors import DeviceError, OptionError, RenderError
from tfmagic.model.bench import Bench, SelfTest, Timing
from tfmagic.model.serial import from_json
from tfmagic.render.bench import BenchResult, SelfTestView
from tfmagic.render.bench_plot import as_text
from tfmagic.runtime.timer import measure
from tfmagic.runtime.timer.memory import will_fit
from tfmagic.runtime.timer.schedule import Course, Plan, take_turns
from tfmagic.runtime.timer.selftest import selftest
from tfmagic.runtime.timer.statement import VALUE, Statement
from tfmagic.runtime.timer.variant import one_line


class Clock:
    """A clock that only what is run moves forward."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: float) -> Callable[[int], None]:
        """A statement of so many seconds."""

        def run(loops: int) -> None:
            self.now += seconds * loops

        return run


class Quiet:
    """Nothing spoils a block, unless it is told so."""

    def __init__(self, *causes: str) -> None:
        self.causes: Iterator[str] = iter(causes)

    def begin(self) -> None:
        pass

    def end(self) -> str:
        return next(self.causes, "")


def measured(*seconds: float, plan: Plan | None = None, spoilers: Any = None) -> list[Course]:
    clock = Clock()
    courses = [Course(clock.work(s)) for s in seconds]
    take_turns(courses, plan or Plan(), clock, spoilers or Quiet(), random.Random(0))
    return courses


# --- the schedule ------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [1e-7, 3e-5, 2e-4, 0.005])
def test_a_block_takes_about_half_a_millisecond(seconds: float) -> None:
    (course,) = measured(seconds)
    assert course.loops == pytest.approx(max(1, 5e-4 / seconds), abs=0.6, rel=0.01)
    assert course.interval and course.interval.median == pytest.approx(seconds)
    assert course.stopped == "precise"


def test_variants_take_turns_in_changing_order() -> None:
    ran: list[str] = []
    clock = Clock()

    def runner(name: str) -> Callable[[int], None]:
        def run(loops: int) -> None:
            ran.append(name)
            clock.now += 1e-3

        return run

    courses = [Course(runner(name)) for name in "abc"]
    take_turns(courses, Plan(budget=1.0, repeat=50), clock, Quiet(), random.Random(0))
    turns = ["".join(ran[-150:][i : i + 3]) for i in range(0, 150, 3)]
    assert {"".join(sorted(turn)) for turn in turns} == {"abc"}
    assert len(set(turns)) > 3
    assert all(course.rounds == list(range(50)) for course in courses)


def test_it_stops_when_the_time_is_up() -> None:
    clock, rng = Clock(), random.Random(0)

    def noisy(loops: int) -> None:
        clock.now += loops * 1e-3 * rng.choice([1, 50])

    course = Course(noisy)
    take_turns([course], Plan(budget=0.5), clock, Quiet(), random.Random(0))
    assert course.stopped == "time" and course.spent == pytest.approx(0.5, abs=0.06)


def test_it_goes_on_until_the_ratio_of_two_is_known_too() -> None:
    """Each figure is known to 1 % in a fifth of the time, but not yet the ratio of the two."""
    rng, clock = np.random.default_rng(0), Clock()

    def noisy(loops: int) -> None:
        clock.now += loops * 1e-3 * rng.normal(1, 0.03)

    alone, courses = Course(noisy), [Course(noisy), Course(noisy)]
    take_turns([alone], Plan(budget=0.6), clock, Quiet(), random.Random(0))
    take_turns(courses, Plan(budget=0.6), clock, Quiet(), random.Random(0))
    assert len(courses[0].times) > 1.5 * len(alone.times)
    assert resolved(*courses, 0.01) and {course.stopped for course in courses} == {"precise"}


def test_a_large_ratio_need_not_be_known_closely() -> None:
    rng = np.random.default_rng(0)

    def course(factor: float) -> Course:
        times = factor * rng.normal(1, 0.1, 100)
        return Course(print, rounds=list(range(100)), times=times.tolist())

    assert resolved(course(1), course(2), 0.01)
    assert not resolved(course(1), course(1), 0.01)
    assert not resolved(course(1), course(1.05), 0.01)


def test_what_is_asked_for_is_run() -> None:
    (course,) = measured(1e-3, plan=Plan(loops=7, repeat=11))
    assert (course.loops, len(course.times), course.stopped) == (7, 11, "asked")


def test_no_time_at_all_makes_one_block() -> None:
    (course,) = measured(1e-3, plan=Plan(budget=0.0))
    assert len(course.times) == 1 and course.interval and course.interval.low is None


def test_a_slow_block_is_left_out_only_for_a_cause() -> None:
    clock = Clock()
    lengths = iter([1e-3] * 200 + [1.0] * 20)

    def run(loops: int) -> None:
        clock.now += next(lengths, 1e-3)

    course = Course(run)
    take_turns([course], Plan(budget=0.1, loops=1, repeat=215), clock, Quiet(), random.Random(0))
    assert max(course.times) == 1.0 and course.spoilt == []


def test_a_spoilt_block_is_marked_with_its_cause() -> None:
    settle = [""] * 3
    (course,) = measured(
        1e-3, plan=Plan(loops=1, repeat=30), spoilers=Quiet(*settle, *[""] * 40, "gc")
    )
    assert len(course.times) == 30
    (course,) = measured(1e-3, plan=Plan(budget=0.05), spoilers=Quiet(*["gc", ""] * 500))
    assert course.spoilt and {cause for _, cause in course.spoilt} == {"gc"}


def test_an_error_ends_its_course_alone() -> None:
    clock = Clock()
    lasts = iter(range(20))

    def used_up(loops: int) -> None:
        clock.now += 1e-3
        next(lasts)

    courses = [Course(used_up), Course(clock.work(1e-3))]
    take_turns(courses, Plan(budget=0.2), clock, Quiet(), random.Random(0))
    assert isinstance(courses[0].error, StopIteration) and courses[0].stopped == "raised"
    assert courses[0].interval is not None
    assert courses[1].error is None and courses[1].stopped in ("precise", "time")


def test_an_interrupt_keeps_what_there_is() -> None:
    clock = Clock()
    left = iter(range(30))

    def run(loops: int) -> None:
        clock.now += 1e-3
        if next(left, None) is None:
            raise KeyboardInterrupt

    course = Course(run)
    assert take_turns([course], Plan(budget=9.0), clock, Quiet(), random.Random(0))
    assert course.stopped == "interrupted" and course.times and course.interval


# --- the statement -----------------------------------------------------------------------


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


# --- with TensorFlow ---------------------------------------------------------------------


def quick(statement: Any, **options: Any) -> Any:
    return tfmagic.bench(statement, **{"budget": 0.02, **options})


def test_a_function_is_timed() -> None:
    calls = itertools.count()

    def step() -> None:
        next(calls)

    (timing,) = quick(step).timings
    assert timing.median and timing.first and timing.naive
    assert timing.device == "CPU:0" and next(calls) > len(timing.times) * timing.loops
    assert quick(step).bench.statement == "step()"


def test_the_setup_is_run_once_and_bound_nowhere() -> None:
    made: list[str] = []
    space = {"tf": tf, "note": made.append}
    quick("note(x)", setup="x = tf.ones([2])\nnote('once')", namespace=space)
    assert sum(isinstance(what, str) for what in made) == 1 and "x" not in space


def test_random_state_is_as_if_nothing_had_been_run() -> None:
    def drawn() -> list[Any]:
        return [
            tf.random.normal([2]).numpy().tolist(), random.random(), np.random.rand(),
            tf.random.get_global_generator().normal([1]).numpy().tolist(),
        ]  # fmt: skip

    def seeded() -> None:
        tf.random.set_seed(5)
        random.seed(5)
        np.random.seed(5)
        tf.random.set_global_generator(tf.random.Generator.from_seed(5))

    seeded()
    expected = drawn()
    seeded()
    quick(drawn)
    assert drawn() == expected


def test_variables_get_their_values_back_and_it_is_said() -> None:
    w = tf.Variable(1.0, name="w")

    def step() -> None:
        w.assign_add(1.0)

    result = quick("step()", namespace={"step": step})
    assert w.numpy() == 1.0
    assert [remark.code for remark in result.bench.remarks] == ["variables_restored"]
    named = quick("mine.assign_add(1.0)", namespace={"mine": tf.Variable(1.0)})
    assert "The statement changes mine:" in repr(named)


def test_what_is_in_arrays_and_lists_is_put_back_too() -> None:
    array, seen, names, left = np.zeros(3), {1}, {"a": 1}, np.ones(2)
    source = "array += 1; seen.add(9); names.clear() if names is left else None; left.sum()"
    result = quick(source, namespace={"array": array, "seen": seen, "names": names, "left": left})
    assert array.tolist() == [0, 0, 0] and seen == {1} and left.tolist() == [1, 1]
    (remark,) = result.bench.remarks
    assert dict(remark.values)["names"] == "array, seen"


class Counting:
    """An object of a user's, with something to change."""

    all_of_them = 0

    def __init__(self) -> None:
        self.n, self.seen, self.optimizer = 0, [1], tf.keras.optimizers.SGD(0.1, momentum=0.9)

    def step(self) -> None:
        self._changed(tf.ones(2))

    def _changed(self, gradient: Any) -> None:
        self.n += 1
        self.seen.append(self.n)
        self.optimizer.apply_gradients([(gradient, weight)])


weight = tf.Variable([1.0, 2.0])
bumped = 0


def bump(seen: list[int] = []) -> None:  # noqa: B006
    """Changes a global name, an attribute of its class, and its default."""
    global bumped
    bumped += 1
    Counting.all_of_them += 1
    seen.append(bumped)


def test_what_functions_and_objects_change_is_put_back() -> None:
    mine, nested, seen = Counting(), {"a": [1]}, deque([1])
    space = {"bump": bump, "mine": mine, "nested": nested, "seen": seen}
    result = quick("bump(); mine.step(); nested['a'].append(1); seen.append(1)", namespace=space)
    assert (bumped, mine.n, mine.seen, nested, seen) == (0, 0, [1], {"a": [1]}, deque([1]))
    assert Counting.all_of_them == 0 and bump.__defaults__ == ([],)
    assert weight.numpy().tolist() == [1.0, 2.0] and mine.optimizer.iterations.numpy() == 0
    assert all(not np.any(v.numpy()) for v in mine.optimizer.variables[2:])  # the slots it made
    (remark,) = result.bench.remarks
    assert remark.code == "variables_restored" and "mine" in dict(remark.values)["names"]


def test_a_step_of_a_model_leaves_its_optimizer_and_metrics_as_they_were() -> None:
    model = tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    quick("m.train_on_batch(x, x[:, :1])", namespace={"m": model, "x": np.ones((4, 2))})
    assert all(not np.any(v.numpy()) for v in model.optimizer.variables if v.shape.rank)
    metrics = [v for metric in model.metrics for v in metric.variables]
    assert metrics and all(v.numpy() == 0 for v in [model.optimizer.iterations, *metrics])


def test_a_variable_that_is_kept_is_as_the_first_run_left_it() -> None:
    kept: dict[str, Any] = {}
    quick("new = tf.Variable(0.0); new.assign_add(1.0)", namespace={"tf": tf}, keep=kept)
    assert kept["new"].numpy() == 1.0


def test_a_function_sees_the_very_container_that_the_statement_changes() -> None:
    cache: dict[str, int] = {}
    missed = itertools.count()

    def look() -> int:
        if "a" not in cache:
            cache["a"] = next(missed)
        return cache["a"]

    quick("cache.clear(); look()", namespace={"cache": cache, "look": look}, loops=5, repeat=3)
    assert next(missed) >= 15 and cache == {}


def test_generators_of_the_users_go_on_where_they_were() -> None:
    def made() -> list[Any]:
        return [random.Random(1), np.random.default_rng(1), tf.random.Generator.from_seed(1)]

    own, same = made(), made()
    source = "[r.random() for r in own[:2]], own[2].normal([2])"
    assert "The statement changes own:" in repr(quick(source, namespace={"own": own}))
    assert [own[0].random(), own[1].random()] == [same[0].random(), same[1].random()]
    assert own[2].normal([2]).numpy().tolist() == same[2].normal([2]).numpy().tolist()


def test_what_is_printed_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    result = quick("print('hello')")
    assert capsys.readouterr().out == "hello\n"
    assert result.bench.remarks[0].code == "printed"


def test_what_is_printed_to_the_process_itself_is_shown_once(tmp_path: Any) -> None:
    """``tf.print`` of a script writes past ``sys.stderr``; our own words are still heard."""
    code = (
        "import sys, tensorflow as tf, tfmagic\n"
        "told = lambda share: print('so far', file=sys.stderr, flush=True)\n"
        "tfmagic.bench(\"tf.print('hello'); print('there', file=sys.stderr)\", budget=0.02,\n"
        "              namespace={'tf': tf, 'sys': sys}, progress=told)\n"
        "print('end', file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert lines.count("hello") == lines.count("there") == lines.count("end") == 1
    assert "so far" in lines


def test_an_error_of_the_first_run_passes() -> None:
    with pytest.raises(ZeroDivisionError):
        quick("1 / 0")


def test_the_traceback_shows_the_statement_and_its_setup() -> None:
    for given in ({"statement": "a = 1\na / 0"}, {"statement": "a", "setup": "a = 1\na / 0"}):
        with pytest.raises(ZeroDivisionError) as caught:
            quick(**given)
        assert "    a / 0" in "".join(traceback.format_exception(caught.value))


def test_autograph_finds_the_functions_that_a_cell_makes() -> None:
    cell = "@tf.function\ndef sign(a):\n    if a > 0:\n        return a\n    return -a\ny = sign(x)"
    kept: dict[str, Any] = {}
    space = {"tf": tf, "x": tf.constant(-2.0)}
    quick(cell, namespace=space, keep=kept, modes=["eager", "function"])
    quick(
        "n", setup="n = 3\n" + cell, namespace=space
    )  # another statement does not take the place of its source
    assert kept["sign"](tf.constant([3])).numpy() == [3]
    assert kept["y"].numpy() == 2.0


def test_an_input_that_is_used_up_leaves_what_was_measured() -> None:
    result = quick("next(lines)", namespace={"lines": iter(range(3000))}, budget=0.5, loops=5)
    (timing,) = result.timings
    assert timing.problem == "used_up" and "StopIteration" in timing.detail
    assert timing.times and "An input was used up" in repr(result)


def test_an_iterator_that_may_be_drawn_from_is_named() -> None:
    result = quick("next(lines)", namespace={"lines": itertools.count()})
    assert "may have used up part of lines" in repr(result)
    result = quick("len(lines)", namespace={"lines": [1]})
    assert result.bench.remarks == ()


def test_an_input_that_is_enough_for_one_run_only_is_no_error_of_the_users() -> None:
    result = quick("next(lines)", namespace={"lines": iter(range(2))}, modes=["function"])
    (timing,) = result.timings
    assert (timing.mode, timing.problem, timing.times) == ("function", "used_up", ())
    assert "An input was used up (StopIteration)" in repr(result)


def test_a_device_that_is_not_there_is_refused() -> None:
    for given in ("GPU:0", "CPU:7", "/job:worker/task:0/device:CPU:0"):
        with pytest.raises(DeviceError, match=r"There is no device .* CPU:0"):
            quick("1", devices=[given])


@pytest.mark.parametrize("given", ["cpu", "CPU:0", "/CPU:0", "/device:CPU:0", "all"])
def test_a_device_has_many_names(given: str) -> None:
    assert [t.device for t in quick("1", devices=[given]).timings] == ["CPU:0"]


def test_it_becomes_json_and_back(tmp_path: Any) -> None:
    result = quick("x + x", namespace={"x": tf.ones([2])})
    assert tfmagic.load(result.to_json()).bench == result.bench
    back = tfmagic.load(result.save(tmp_path / "r.json"))
    assert back.bench == result.bench and repr(back) == repr(result)


def test_asynchronous_work_is_waited_for() -> None:
    """On a CPU that queues its ops, as a graphics card does."""
    x = tf.random.normal([400, 400])
    tf.config.experimental.set_synchronous_execution(False)
    try:
        (timing,) = quick("tf.matmul(x, x)", namespace={"tf": tf, "x": x}, budget=0.2).timings
    finally:
        tf.config.experimental.set_synchronous_execution(True)
    assert timing.asynchronous and timing.sync and timing.latency
    assert timing.median and timing.naive and timing.naive < timing.median


# --- modes -------------------------------------------------------------------------------

X = tf.random.normal([64, 64])
EVERY_MODE = ["eager", "function", "xla"]


def by_mode(statement: str, **namespace: Any) -> dict[str, Any]:
    space = {"tf": tf, "x": X, "np": np, **namespace}
    found = quick(statement, namespace=space, modes=EVERY_MODE).timings
    assert [t.mode for t in found] == EVERY_MODE
    return {t.mode: t for t in found}


def left_out(timing: Any) -> tuple[Any, ...]:
    return tuple((c.type, c.eager, c.ran) for c in timing.ops)


def test_every_mode_does_the_work_and_is_timed_in_parts() -> None:
    found = by_mode("y = x\nfor _ in range(20): y = tf.matmul(y, x)")
    for timing in found.values():
        assert timing.problem == "" and timing.ops == () and timing.median and timing.first
    assert found["eager"].trace is None and found["function"].trace and found["xla"].trace


def test_what_a_graph_does_once_is_no_time_of_twenty() -> None:
    found = by_mode("for _ in range(20): y = tf.matmul(x, x)")
    assert left_out(found["eager"]) == ()
    assert left_out(found["function"]) == left_out(found["xla"]) == (("MatMul", 20, 1),)


def test_what_nobody_reads_is_left_out_and_said() -> None:
    found = by_mode("for _ in range(20): tf.matmul(x, x)")
    assert left_out(found["function"]) == left_out(found["xla"]) == (("MatMul", 20, 0),)


def test_work_that_a_function_of_the_users_leaves_out_is_noticed() -> None:
    @tf.function
    def unused(x: Any) -> Any:
        for _ in range(20):
            tf.matmul(x, x)
        return x

    found = by_mode("unused(x)", unused=unused)
    assert all(left_out(t) == (("MatMul", 20, 0),) for t in found.values())


def test_it_is_noticed_too_where_the_function_ran_before() -> None:
    first = tf.function(lambda x: [tf.matmul(x, x) for _ in range(5)][-1])
    first(X)
    (timing,) = quick("first(x)", namespace={"first": first, "x": X}).timings
    assert left_out(timing) == (("MatMul", 5, 1),)


def test_what_xla_compiles_inside_a_function_is_counted_too() -> None:
    once = tf.function(lambda x: x @ x, jit_compile=True)
    twenty = tf.function(lambda x: [x @ x for _ in range(20)][-1], jit_compile=True)
    assert all(t.ops == () for t in by_mode("once(x)", once=once).values())
    found = by_mode("twenty(x)", twenty=twenty)
    assert all(left_out(t) == (("MatMul", 20, 1),) for t in found.values())


def test_an_elementwise_op_that_xla_does_once_is_noticed() -> None:
    assert left_out(by_mode("for _ in range(9): y = tf.tanh(x)")["xla"]) == (("Tanh", 9, 1),)
    found = by_mode("y = x\nfor _ in range(9): y = tf.exp(tf.tanh(y))")
    assert all(t.ops == () for t in found.values())


@pytest.mark.parametrize(
    "source",
    [
        "tf.exp(tf.tanh(tf.exp(tf.tanh(x))))",
        "tf.tanh(tf.matmul(x, x) + x[0])",
        "x ** 2 + tf.sqrt(tf.abs(x)) + (x - 1) ** 3",
        "tf.math.log(1 + tf.exp(x)) + (tf.exp(2 * x) - 1)",
        "tf.nn.relu(norm(x, training=True))",
        "tf.nn.gelu(tf.matmul(x, x) + x[0])",
        "(draws.normal([2]), draws.normal([3]))",
    ],
)
def test_ops_that_a_graph_merges_or_rewrites_are_no_work_left_out(source: str) -> None:
    layer, draws = tf.keras.layers.BatchNormalization(), tf.random.Generator.from_seed(1)
    found = by_mode(source, norm=layer, draws=draws)
    assert all(t.problem == "" and left_out(t) == () for t in found.values())


def test_every_value_of_the_statement_is_returned() -> None:
    found = by_mode("tf.matmul(x, x)\na = tf.tanh(x)\nb = [tf.exp(x)]\nc = 3")
    assert all(t.ops == () and t.problem == "" for t in found.values())


@dataclass
class Both:
    """A result of a user's own kind."""

    product: Any
    more: list[Any]


def test_tensors_in_objects_and_beside_other_things_are_returned_too() -> None:
    found = by_mode(
        "Both(tf.matmul(x, x), [tf.tanh(x), 'label', {'n': (3, tf.exp(x))}])", Both=Both
    )
    assert all(t.problem == "" and left_out(t) == () for t in found.values())


@pytest.mark.parametrize("small", [tf.ones([8, 8]), np.ones((8, 8), np.float32)])
def test_what_is_captured_is_computed_every_time(small: Any) -> None:
    """A small tensor or an array would be a constant, and its product computed once."""
    found = by_mode("tf.matmul(small, small)", small=small)
    assert all(t.ops == () for t in found.values())


def test_a_tensor_that_a_function_captures_is_no_constant() -> None:
    small = tf.ones([8, 8])

    def product() -> Any:
        return tf.matmul(small, small)

    assert all(t.ops == () for t in by_mode("product()", product=product).values())


def test_loops_in_a_graph_hide_no_work() -> None:
    @tf.function
    def powers(x: Any) -> Any:
        for _ in tf.range(5):
            x = tf.matmul(x, x)
        return x

    assert all(t.ops == () for t in by_mode("powers(x)", powers=powers).values())


def test_a_mode_that_fails_says_so_and_the_others_go_on() -> None:
    found = by_mode("tf.strings.length(tf.strings.as_string(x))")
    assert found["eager"].median and found["function"].median
    assert found["xla"].problem == "unsupported" and found["xla"].detail == "AsString"
    text = repr(quick("np.sum(x)", namespace={"np": np, "x": X}, modes=["eager", "function"]))
    assert "CPU:0 function: It does not run as a tf.function:" in text
    assert "could not be measured" not in text


def test_whole_numbers_that_xla_must_know_stay_constants() -> None:
    found = by_mode("tf.reshape(x, shape)", shape=tf.constant([32, 128]))
    assert found["xla"].problem == "" and found["xla"].median


def test_tracing_again_is_noticed() -> None:
    @tf.function
    def scaled(n: int) -> Any:
        return X * n

    counter = iter(range(10**6))
    result = quick(
        "scaled(next(counter))", namespace={"scaled": scaled, "counter": counter}, repeat=5
    )
    assert "retraced" in {r.code for r in result.timings[0].remarks}
    assert "traced again" in repr(result)


def test_tracing_again_is_noticed_inside_a_function_of_the_users() -> None:
    traced = tf.function(lambda n: tf.constant(1.0) * n)
    turns = itertools.count()
    result = quick("step()", namespace={"step": lambda: traced(next(turns))}, loops=1, repeat=3)
    assert "retraced" in [remark.code for remark in result.timings[0].remarks]


def test_shapes_that_change_are_noticed() -> None:
    signature = [tf.TensorSpec([None], tf.float32)]
    double = tf.function(lambda v: v * 2, input_signature=signature, jit_compile=True)
    sizes = iter(range(1, 10**6))
    result = quick(
        "double(tf.ones([next(sizes)]))",
        namespace={"tf": tf, "double": double, "sizes": sizes},
        repeat=3,
    )
    assert "shapes_vary" in {r.code for r in result.timings[0].remarks}


def test_a_mode_may_be_written_in_capitals() -> None:
    assert [timing.mode for timing in quick("1", modes=["Eager"]).timings] == ["eager"]


def test_nobody_knows_another_mode() -> None:
    with pytest.raises(OptionError, match="eager, function, xla"):
        quick("1", modes=["jit"])
    with pytest.raises(OptionError, match=r"Did you mean function\?"):
        quick("1", modes=["functoin"])


def test_the_first_mode_that_is_named_is_what_others_are_set_against() -> None:
    result = quick("x + 1", namespace={"x": tf.ones(2)}, modes=["function", "eager"])
    assert [timing.mode for timing in result.timings] == ["function", "eager"]


@pytest.mark.parametrize("given", [-1.0, float("nan"), float("inf")])
def test_a_budget_without_end_is_refused(given: float) -> None:
    with pytest.raises(OptionError, match="--budget"):
        quick("1", budget=given)


@pytest.mark.parametrize("values", [[], 3, [1, "a"], "12", [float("nan")]])
def test_a_sweep_without_numbers_is_refused(values: Any) -> None:
    with pytest.raises(OptionError, match="-s n="):
        quick("n", sweep={"n": values})


def test_too_deep_a_statement_is_refused_in_one_line() -> None:
    with pytest.raises(OptionError, match=r"cannot be timed: 1\+1.*…"):
        quick("+".join(["1"] * 100_000))


def test_of_a_cell_the_heading_has_the_first_line() -> None:
    assert repr(quick("a = 1\nb = 2")).startswith("a = 1 …: ")


def test_ops_are_those_of_the_eager_run() -> None:
    result = quick("x + 1", namespace={"x": tf.ones(2)}, modes=["function"], ops=True)
    assert "-m eager,function" in repr(result)


def test_where_functions_run_eagerly_there_is_no_graph_to_time() -> None:
    tf.config.run_functions_eagerly(True)
    try:
        found = by_mode("tf.tanh(x)")
    finally:
        tf.config.run_functions_eagerly(False)
    assert [t.problem for t in found.values()] == ["", "run_eagerly", "run_eagerly"]


def test_a_recorded_measurement_says_so() -> None:
    with tfmagic.record():
        result = quick("x + 1", namespace={"x": tf.ones(2)})
    assert "listens to every op" in repr(result) and "listens" not in repr(quick("1"))


def test_a_text_that_xla_cannot_give_is_called_one() -> None:
    found = by_mode("tf.strings.upper('abc')")
    assert found["xla"].detail == "tf.string"


def test_texts_and_records_are_put_back_too() -> None:
    text, made = tf.Variable("abc"), np.zeros(2, dtype=[("a", int)])
    quick("text.assign(text + 'd'); made['a'] += 1", namespace={"text": text, "made": made})
    assert text.numpy() == b"abc" and made["a"].tolist() == [0, 0]


def test_what_is_no_source_is_refused_and_one_name_is_a_list_of_one() -> None:
    with pytest.raises(OptionError, match="cannot be timed: 3"):
        quick(3)
    (timing,) = quick("1", devices="CPU:0", modes="eager").timings
    assert timing.name == "CPU:0 eager"


def test_an_error_of_tensorflow_is_one_short_line() -> None:
    node = "{{function_node __wrapped__Fill_device_/job:localhost/device:CPU:0}} "
    error = tf.errors.ResourceExhaustedError(None, None, node + "OOM [Op:Fill] name: \nmore")
    assert one_line(error) == "ResourceExhaustedError: OOM"
    traced = NotImplementedError(
        "in user code:\n\n    File x\n\n    NotImplementedError: no numpy\n"
    )
    assert one_line(traced) == "NotImplementedError: no numpy"


def test_no_time_is_told_more_closely_than_a_float_can_be() -> None:
    result = quick("1")
    assert len(repr(BenchResult(result.bench, 400))) < 2 * len(repr(BenchResult(result.bench, 17)))


@pytest.mark.parametrize(
    ("trace", "first", "plain", "faster", "run"),
    [(0.06, 0.04, 1e-3, 0.5e-3, 199), (0.0, 1e-3, 1e-3, 1e-3, None), (0.0, 5e-4, 1e-3, 5e-4, 1)],
)
def test_when_compiling_pays(
    trace: float, first: float, plain: float, faster: float, run: int | None
) -> None:
    eager = Timing("CPU:0", median=plain)
    compiled = Timing("CPU:0", "xla", median=faster, trace=trace, first=first)
    assert pays_after(eager, compiled) == run


# --- sweeps, copies, memory, earlier results ---------------------------------------------


def test_a_sweep_measures_every_combination_and_binds_the_names_nowhere() -> None:
    space = {"tf": tf}
    result = quick(
        "x * k", namespace=space, setup="x = tf.ones([n])", sweep={"n": [2, 8], "k": [1, 3]}
    )
    points = [dict(t.point) for t in result.timings]
    assert points == [{"n": n, "k": k} for n in (2, 8) for k in (1, 3)]
    assert all(t.median for t in result.timings) and set(space) == {"tf"}


def test_a_point_that_does_not_fit_is_marked_and_the_rest_is_kept() -> None:
    result = quick("tf.zeros([n, n]) + 1", namespace={"tf": tf}, sweep={"n": [4, 10**6, 8]})
    assert [t.problem for t in result.timings] == ["", "memory", ""]
    assert result.timings[2].median and "does not fit" in repr(result)


def test_what_would_end_the_kernel_is_not_tried() -> None:
    done = [
        Timing("CPU:0", point=(("n", n),), memory=int(8 * n * n), median=1.0) for n in (1e3, 2e3)
    ]
    assert will_fit(done, {"n": 4e3})
    assert not will_fit(done, {"n": 1e7})


def test_a_point_that_raises_is_marked() -> None:
    result = quick("1 / (n - 2)", sweep={"n": [1, 2, 3]})
    assert [t.problem for t in result.timings] == ["", "raised", ""]
    with pytest.raises(ZeroDivisionError):
        quick("1 / (n - 2)", sweep={"n": [2, 3]})


def test_an_interrupt_keeps_the_points_that_were_measured() -> None:
    def stop(n: int) -> None:
        if n > 1:
            raise KeyboardInterrupt

    result = quick("stop(n)", namespace={"stop": stop}, sweep={"n": [0, 1, 2, 3]})
    assert [dict(t.point)["n"] for t in result.timings] == [0, 1]
    assert result.bench.remarks[-1].code == "interrupted"


def test_a_point_that_is_cut_short_counts_as_one_of_those_that_are_told() -> None:
    calls = itertools.count()

    def stop(n: int) -> None:
        if next(calls) > 20:
            raise KeyboardInterrupt

    result = quick("stop(n)", namespace={"stop": stop}, sweep={"n": [0, 1]}, loops=1, repeat=50)
    assert len(result.timings) == 1 and "Interrupted after 1 of 2 points" in repr(result)


@pytest.mark.parametrize("mode", EVERY_MODE)
def test_with_copies_each_run_gets_fresh_inputs(mode: str) -> None:
    array = np.ones((16, 16), np.float32)
    result = quick(
        "y = tf.matmul(x, array)",
        namespace={"tf": tf, "x": X[:16, :16], "array": array},
        modes=[mode],
        transfer=True,
    )
    (timing,) = result.timings
    assert timing.problem == "" and timing.median and result.bench.transfer


def test_cold_runs_are_single_and_slower() -> None:
    (timing,) = quick("tf.reduce_sum(x)", namespace={"tf": tf, "x": X}, cold=True).timings
    assert timing.loops == 1 and timing.median


def test_the_peak_of_memory_is_what_a_run_holds() -> None:
    (timing,) = quick("tf.zeros([1000, 1000]) + 1.0", namespace={"tf": tf}).timings
    if timing.memory is None:
        pytest.skip("this TensorFlow does not tell what a CPU holds")
    assert 4_000_000 <= timing.memory <= 12_100_000


def test_an_earlier_result_is_set_against_a_later_one(tmp_path: Any) -> None:
    space = {"tf": tf, "x": X}
    one = quick("tf.matmul(x, x)", namespace=space, repeat=40)
    path = one.save(tmp_path / "one.json")
    ten = quick("for _ in range(10): tf.matmul(x, x)", namespace=space, repeat=40, vs=path)
    (verdict,) = against_earlier(ten.bench, ten.earlier)
    assert verdict and verdict.verdict == "slower" and verdict.ratio and verdict.ratio > 4
    assert "against the earlier one" in repr(ten)
    assert one.compare(ten).earlier == ten.bench


def test_another_machine_gives_no_verdict() -> None:
    bench = quick("1").bench
    other = replace(bench, machine=replace(bench.machine, processor="other"))
    (verdict,) = against_earlier(bench, other)
    assert verdict and verdict.verdict == "unclear"
    assert verdict.reason in ("reason_other_machine", "reason_few")


def test_a_result_as_a_table_and_as_a_picture() -> None:
    result = quick("x * n", namespace={"x": X}, sweep={"n": [1, 2]}, modes=["eager", "function"])
    frame = result.to_pandas()
    assert list(frame["mode"]) == ["eager", "function"] * 2 and (frame["median"] > 0).all()
    assert len(result.plot().axes) == 1
    assert "data:image/svg+xml" in result.mimebundle()["text/html"]
    assert "a = CPU:0 eager" in repr(result)
    assert len(quick("1", repeat=5).plot().axes) == 1


def test_blocks_are_not_said_to_be_left_out_where_none_was() -> None:
    times, spoilt = (1e-5,) * 10, tuple((i, "preempted") for i in range(8))
    busy = Timing(
        "CPU:0", loops=1, rounds=tuple(range(10)), times=times, median=1e-5, spoilt=spoilt
    )
    text = repr(BenchResult(Bench("s", timings=(busy,)), verbose=True))
    assert "so none was left out" in text and "blocks left out" not in text
    assert "Median of 10 blocks of one run each" in text
    few = replace(busy, spoilt=spoilt[:1], loops=20)
    text = repr(BenchResult(Bench("s", timings=(few,)), verbose=True))
    assert "1 block left out" in text and "10 blocks of 20 runs each" in text


def test_it_is_said_which_verdict_is_unclear() -> None:
    short = Timing("CPU:0", rounds=(0, 1), times=(1e-5, 2e-5), median=1.5e-5)
    bench = Bench("s", timings=(short, replace(short, mode="function")))
    text = repr(BenchResult(bench, earlier=bench))
    assert text.count("against the earlier one: Unclear: too few") == 2
    assert text.count("Unclear: too few") == 3


def test_nothing_measured_is_no_picture() -> None:
    with pytest.raises(RenderError):
        quick("1", repeat=1).plot()


# --- the self-test -----------------------------------------------------------------------


@pytest.fixture
def own_folder(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def test_the_self_test_counts_what_it_claims_and_finds() -> None:
    found = selftest(pairs=4, tries=1, budget=0.02)
    assert found.pairs == 4 and 0 <= found.claimed <= 4
    assert [extra for extra, _ in found.found] == sorted(extra for extra, _ in found.found)
    assert found.within is not None and found.between is not None and found.drift is not None
    assert from_json(found.to_json()) == found
    assert "against itself" in repr(SelfTestView(found))


def test_a_kept_self_test_is_cited_on_the_same_machine_only(own_folder: Any) -> None:
    here = quick("1").bench.machine
    assert quick("1").bench.selftest is None
    known = SelfTest(machine=here, when="2026-01-02T03:04:05", within=0.03, resolvable=0.05)
    path = kept_selftest()
    path.parent.mkdir()
    path.write_text(known.to_json())
    result = quick("1", verbose=True)
    assert result.bench.selftest == known and "5 %" in repr(result)
    path.write_text(replace(known, machine=replace(here, processor="other")).to_json())
    assert quick("1").bench.selftest is None
    path.write_text("{")
    assert quick("1").bench.selftest is None


def test_an_interval_allows_for_the_drift_that_the_self_test_found(own_folder: Any) -> None:
    plain = quick("1")
    assert "drifts" not in repr(plain) and "--selftest finds out" in repr(quick("1", verbose=True))
    known = SelfTest(machine=plain.bench.machine, when="2026-01-02T03:04:05", drift=0.5)
    kept_selftest().parent.mkdir()
    kept_selftest().write_text(known.to_json())
    assert quick("1").bench.selftest == known  # a later result knows of it
    timing = Timing(
        "CPU:0", rounds=(0, 1, 2), times=(1.0, 1.0, 1.0), median=1.0, low=0.99, high=1.01
    )
    wide = allowing_for_drift(Bench("s", timings=(timing,), selftest=known))
    (timing,) = wide.timings
    assert timing.low <= 0.5 * timing.median and timing.high >= 1.5 * timing.median
    assert "±50 %, by which this machine drifts" in repr(BenchResult(wide))


def test_what_the_self_test_could_not_resolve_is_not_claimed() -> None:
    rng = np.random.default_rng(0)
    times = [tuple(f * rng.normal(1, 0.01, 200)) for f in (1.0, 1.04)]
    timings = [
        Timing(
            name, rounds=tuple(range(200)), times=t, median=float(np.median(t)), low=0.9, high=1.2
        )
        for name, t in zip(("CPU:0", "GPU:0"), times, strict=True)
    ]
    assert differences(Bench("s", timings=tuple(timings)))[1].verdict == "slower"
    unsure = Bench("s", timings=tuple(timings), selftest=SelfTest(within=0.1))
    assert differences(unsure)[1].verdict == "same"


# --- interrupts and text -----------------------------------------------------------------


def test_an_interrupted_first_run_is_told_in_two_lines() -> None:
    def stops() -> None:
        raise KeyboardInterrupt

    result = quick(stops)
    assert repr(result).split("\n") == [
        "stops(): nothing was measured", "Interrupted in its first run."
    ]  # fmt: skip
    assert "<table" not in result.mimebundle()["text/html"]


def test_an_interrupt_of_the_only_point_is_told_once() -> None:
    left = iter(range(30))

    def stops() -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    result = quick(stops, budget=1.0, loops=1)
    assert result.timings[0].times and repr(result).count("Interrupted") == 1


@pytest.mark.parametrize("figure", ["_naive", "peak_memory", "op_times"])
def test_an_interrupt_of_the_lesser_figures_ends_it_too(
    figure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(measure.__globals__, figure, stops)
    result = quick("n + 1", sweep={"n": [1, 2, 3]}, ops=True)
    assert [dict(t.point)["n"] for t in result.timings] == [1] and result.timings[0].median
    assert result.bench.remarks[-1].code == "interrupted"


def test_a_terminal_shows_the_blocks_as_strips() -> None:
    times = (1e-5,) * 6 + (2e-5,) * 3 + (4e-5,)
    timing = Timing("CPU:0", rounds=tuple(range(10)), times=times, median=1e-5)
    lines = as_text(Bench("s", timings=(timing,)), width=20).split("\n")
    assert lines[0].startswith("CPU:0 eager │█") and lines[0].rstrip()[-1] == "▄"
    assert lines[-1].split() == ["10.0", "µs", "20.0", "µs"]


# --- ops by themselves, names that are kept ----------------------------------------------


def test_each_op_is_timed_by_itself() -> None:
    w = tf.Variable(1.0)
    source = "y = tf.tanh(tf.matmul(x, x))\nz = tf.tanh(y) + tf.random.normal([64, 64])\nw.assign_add(1.0)"
    (timing,) = quick(source, namespace={"tf": tf, "x": X, "w": w}, ops=True).timings
    found = {op.type: op for op in timing.op_times}
    assert found["Tanh"].count == 2 and found["Tanh"].shapes == "(64, 64)"
    assert found["MatMul"].seconds and found["AddV2"].seconds
    assert found["RandomStandardNormal"].reason == "random"
    assert found["AssignAddVariableOp"].reason == "state" and w.numpy() == 1.0
    text = repr(quick("tf.tanh(x)", namespace={"tf": tf, "x": X}, ops=True))
    assert "Each op by itself" in text and "100 %" in text


def test_what_the_first_run_assigned_can_be_kept() -> None:
    kept: dict[str, Any] = {}
    quick("y = x + 1\nfor i in range(3): pass", namespace={"x": 1}, keep=kept)
    assert kept == {"y": 2, "i": 2}
