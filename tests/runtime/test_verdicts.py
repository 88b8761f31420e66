"""Short cells, each with one thing wrong (or nothing), and the verdict it must get.

The cells stand in ``cells/wrong.txt`` and ``cells/fine.txt``, after a line ``#: code | name``;
``raises`` says that the cell ends with an exception, ``advice`` that no code can repair it,
``below 2.22`` that TensorFlow itself has mended it since, ``# <-`` marks the guilty line.
"""

from __future__ import annotations

import linecache
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfmagic
import tfmagic.language
from tfmagic.analysis.repair import host_transfer_fixes
from tfmagic.model import Recording, Tried, Verdict
from tfmagic.model.verdict import BESIDE, CODES, TRACING, TRAINING, ZERO
from tfmagic.runtime.experiments import rerun

HERE = Path(__file__).parent / "cells"
HEAD = re.compile(r"^#: ", re.MULTILINE)
_number = count()


@dataclass(frozen=True)
class Case:
    """One cell of the tables."""

    code: str
    name: str
    raises: bool
    advice: bool
    source: str

    @property
    def guilty(self) -> int:
        """The number of the marked line, 0 where none is marked."""
        lines = enumerate(self.source.split("\n"), 1)
        return next((number for number, line in lines if line.endswith("# <-")), 0)


def table(name: str) -> Iterator[Case]:
    for block in HEAD.split((HERE / name).read_text(encoding="utf-8"))[1:]:
        head, _, source = block.partition("\n")
        code, title, *marks = (part.strip() for part in head.split("|"))
        if not any(map(is_mended, marks)):
            yield Case(code, title, "raises" in marks, "advice" in marks, source.rstrip("\n"))


def is_mended(mark: str) -> bool:
    """Whether a mark such as ``below 2.22`` says that what is wrong works in this TensorFlow."""
    word, _, release = mark.partition(" ")
    return word == "below" and numbers(tf.__version__) >= numbers(release)


def numbers(release: str) -> tuple[int, ...]:
    return tuple(map(int, release.split(".")[:2]))


WRONG, FINE = tuple(table("wrong.txt")), tuple(table("fine.txt"))


def run(source: str) -> tuple[tfmagic.Tape, dict[str, Any], Exception | None]:
    """The cell, run and recorded; its names; the exception that it ended with."""
    filename = f"<cell {next(_number)}>"
    lines = source.splitlines(keepends=True)
    linecache.cache[filename] = (len(source), None, lines, filename)
    space: dict[str, Any] = {"tf": tf, "np": np, "__name__": "__main__"}
    tf.keras.utils.set_random_seed(1)  # a layer's first weights, and what a dropout leaves
    tape = tfmagic.Tape(lambda: space)
    try:
        with tape:
            exec(compile(source, filename, "exec"), space)
    except Exception as error:
        return tape, space, error
    return tape, space, None


def told(recording: Recording) -> Verdict:
    """The verdict that a reader looks at: the last one that is not fine."""
    troubled = [verdict for verdict in recording.verdicts if not verdict.fine]
    return (troubled or list(recording.verdicts))[-1]


def named(case: Case) -> str:
    return f"{case.code}: {case.name}"


@pytest.fixture(scope="module")
def judged() -> dict[Case, tuple[Recording, Exception | None]]:
    """Every wrong cell once; its recording is what the tests look at."""
    return {
        case: (tape.recording, error) for case in WRONG for tape, _, error in [run(case.source)]
    }


@pytest.mark.parametrize("case", WRONG, ids=named)
def test_the_cause_is_named(case: Case, judged: Any) -> None:
    recording, error = judged[case]
    assert (error is not None) == case.raises, error
    verdict = told(recording)
    assert verdict.code == case.code, verdict.message
    assert not case.guilty or verdict.line_number == case.guilty, verdict.message
    assert not [gap for gap in recording.complete if gap.code == "fault"]
    assert verdict.source and verdict.message and verdict.repair and "{" not in verdict.message


@pytest.mark.parametrize("case", WRONG, ids=named)
def test_the_repair_repairs(case: Case, judged: Any) -> None:
    """Pasted over the lines that it names, the gradient is there: not None, not all zero
    where it was, finite."""
    verdict = told(judged[case][0])
    if case.advice:
        assert verdict.replaces == (0, 0) and verdict.repaired(case.source) == case.source
        return
    mended = verdict.repaired(case.source)
    assert mended != case.source and verdict.tried is not None and not verdict.candidates
    assert math.isfinite(verdict.tried.value_after)
    recording = run(mended)[0].recording
    last = judged[case][0].gradients[-1]
    assert len(recording.gradients[-1].gradients) == len(last.gradients)
    assert recording.gradients[-1].error == "", mended
    for gradient in recording.gradients[-1].gradients:
        assert gradient.value is not None, (mended, gradient.source)
        stats = gradient.value.stats
        assert stats is not None and stats.finite, (mended, gradient)
        if verdict.code in ZERO and gradient.source == verdict.source:
            assert stats.zeros < stats.seen, (mended, gradient)


@pytest.mark.parametrize("case", FINE, ids=named)
def test_no_false_alarm(case: Case) -> None:
    tape, _, error = run(case.source)
    codes = {verdict.code for verdict in tape.recording.verdicts}
    assert error is None
    assert case.code in codes and codes <= {"ok", "expected"}, tape.recording.verdicts


def test_the_tables_are_large_and_know_every_code(judged: Any) -> None:
    hits = Counter(case.code for case in WRONG if told(judged[case][0]).code == case.code)
    misses = [named(case) for case in WRONG if told(judged[case][0]).code != case.code]
    print(f"{sum(hits.values())} of {len(WRONG)} causes named; misses: {misses}")
    assert len(WRONG) >= 150 and len(FINE) >= 60
    of_gradients = set(CODES) - {*TRACING, *TRAINING} | {*BESIDE}  # the others have their own tests
    assert {*hits, *(case.code for case in FINE)} == of_gradients


@pytest.mark.parametrize(
    "table", [host_transfer_fixes._FUNCTIONS.values(), host_transfer_fixes._SAME]
)
def test_what_a_repair_calls_is_there(table: Any) -> None:
    assert all(callable(attrgetter(name)(tf)) for name in table)


@pytest.mark.parametrize("language", ["en", "ko"])
def test_every_code_has_words(language: str) -> None:
    tfmagic.language.use(language)
    seen = set()
    for case in {case.code: case for case in WRONG}.values():
        verdict = told(run(case.source)[0].recording)
        assert verdict.message and verdict.repair and "{" not in verdict.message
        assert bool(re.search("[가-힣]", verdict.message)) == (language == "ko")
        seen.add(verdict.code)
    assert len(seen) >= 30


def test_a_recording_with_verdicts_goes_through_json(judged: Any) -> None:
    for recording, _ in judged.values():
        text = recording.to_json()
        assert tfmagic.load(text).to_json() == text


# --- asked in other ways -------------------------------------------------------------------


def test_explain_tells_what_the_cell_was_told() -> None:
    cell = "v = tf.Variable([3.0, 4.0])\nwith tf.GradientTape() as t:\n    x = v[0]\n    y = v[0] * 2.0\nt.gradient(y, x)"
    tape, space, _ = run(cell)
    verdict = tfmagic.explain(tape, space["y"], space["x"])
    assert verdict == tape.recording.verdicts[-1]
    assert verdict.code == "wrong_object"


def test_explain_works_out_what_nobody_asked() -> None:
    tape, space, _ = run("x = tf.Variable(3.7)\ny = tf.round(x * 1.0) * 2.0\nz = x ** 2")
    assert tfmagic.explain(tape, space["y"], space["x"]).code == "no_gradient_op"
    assert tfmagic.explain(tape, space["z"], space["x"]).code == "ok"


def test_values_that_left_are_recorded() -> None:
    tape, _, _ = run(
        "x = tf.Variable(3.0)\na = x * 2.0\nif a > 1.0:\n    b = float(a) + a.numpy()\n"
    )
    exits = [(exit_.how, tape.recording.lines[exit_.line].number) for exit_ in tape.recording.exits]
    assert exits == [("bool", 3), ("float", 4), ("numpy", 4)]


def test_nobody_hears_that_a_function_is_looked_into() -> None:
    cell = (
        "drawn = []\n@tf.function\ndef f(v):\n    drawn.append(1)\n"
        "    return tf.nn.relu(v - 10.0) + tf.random.uniform(())\n"
        "tf.random.set_seed(3)\nx = tf.Variable([1.0, 2.0])\n"
        "with tf.GradientTape(persistent=True) as tape:\n    y = f(x)\n"
        "g = tape.gradient(y, x)\nafter = tf.random.uniform(())\nagain = f(x)\n"
    )
    tape, space, _ = run(cell)
    verdict = told(tape.recording)
    assert (verdict.code, verdict.line_number) == ("dead_relu", 5)
    assert not [gap for gap in tape.recording.complete if gap.code == "threads"]
    assert len(tape.recording.gradients) == 1 and len(space["drawn"]) <= 2
    plain: dict[str, Any] = {"tf": tf}
    exec(cell, plain)
    assert space["after"] == plain["after"] and all(space["again"] == plain["again"])


def test_a_function_that_changes_state_is_read_but_not_run() -> None:
    cell = (
        "count = tf.Variable(0.0)\n@tf.function\ndef f(v):\n    count.assign_add(1.0)\n"
        "    return tf.round(v)\nx = tf.Variable(1.3)\n"
        "with tf.GradientTape() as tape:\n    y = f(x)\ng = tape.gradient(y, x)\n"
    )
    tape, space, _ = run(cell)
    assert (told(tape.recording).code, told(tape.recording).line_number) == ("no_gradient_op", 5)
    assert space["count"].numpy() == 1.0


def test_the_lessons_last_line_run_twice() -> None:
    cell = (
        "x = tf.Variable([[0.11]])\nlr = 0.05\nfor _ in range(2):\n"
        "    with tf.GradientTape() as t:\n        y = x * x\n    g = t.gradient(y, x)\n"
        "    if g is not None:\n        x = x - lr * g"
    )
    tape, _, _ = run(cell)
    first, second = tape.recording.verdicts
    assert first.code == "ok"
    assert second.code == "rebound" and second.line == "x = x - lr * g"
    assert "x.assign_sub" in second.repair


def test_a_variable_that_no_tape_watches_is_called_a_variable() -> None:
    w = tf.Variable(1.0)
    with tfmagic.record() as rec:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            y = w * 2.0
        tape.gradient(y, w)
    (verdict,) = rec.recording.verdicts
    assert verdict.code == "not_watched"
    assert "watch_accessed_variables=False" in verdict.message


def test_a_target_that_never_was_a_tensor_is_said_to_be_none() -> None:
    cell = "v = tf.Variable(2.0)\nwith tf.GradientTape() as t:\n    y = v * 3.0\nt.gradient(3, v)"
    verdict = told(run(cell)[0].recording)
    assert (verdict.code, verdict.line_number) == ("left_tensorflow", 4)
    assert "3 on line 4 is no tensor" in verdict.message and verdict.replaces == (0, 0)


JACOBIANS = {
    "not_watched": "x = tf.constant([1.0, 2.0])\nwith tf.GradientTape() as t:\n    y = x ** 2\nJ = t.jacobian(y, x)",
    "no_gradient_op": "x = tf.Variable([1.2, 2.6])\nwith tf.GradientTape() as t:\n    y = tf.round(x)\nJ = t.jacobian(y, x)",
    "stop_gradient": "x = tf.Variable([1.2, 2.6])\nwith tf.GradientTape() as t:\n    y = tf.stop_gradient(x) ** 2\nJ = t.jacobian(y, x)",
}


@pytest.mark.parametrize("code", JACOBIANS)
def test_a_jacobian_that_is_none_is_explained(code: str) -> None:
    cell = JACOBIANS[code]
    tape, space, _ = run(cell)
    verdict = told(tape.recording)
    assert space["J"] is None
    assert (verdict.code, verdict.target, verdict.source) == (code, "y", "x")
    again, space, _ = run(verdict.repaired(cell))
    assert space["J"].shape == (2, 2) and not again.recording.gradients


# --- repairs are tried -------------------------------------------------------------------


def test_a_trial_tells_gradient_and_value_before_and_after() -> None:
    cell = "x = tf.Variable(1.3)\nwith tf.GradientTape() as t:\n    y = 2.0 * tf.round(x)\nt.gradient(y, x)"
    tried = told(run(cell)[0].recording).tried
    assert tried == Tried(None, 2.0, 2.0, 2.0) and tried.same_value
    cell = "x = tf.Variable(-3.0)\nwith tf.GradientTape() as t:\n    y = tf.nn.relu(x)\nt.gradient(y, x)"
    tried = told(run(cell)[0].recording).tried
    assert tried is not None and tried.before == 0.0 and not tried.same_value


LASTING = """
import tensorflow as tf, numpy as np
class Counter:
    def __init__(self):
        self.calls, self.seen = 0, []
    def __call__(self, v):
        self.calls += 1
        self.seen.append(1)
        return tf.round(v)
counter, log, w = Counter(), [], tf.Variable(1.3)
np.random.seed(3); tf.random.set_seed(3)
with tf.GradientTape() as tape:
    y = counter(w) + tf.random.uniform(())
    log.append(float(y))
print("once")
w.assign_add(0.1)
g = tape.gradient(y, w)
layer = tf.keras.layers.Dense(1)
"""


def test_a_trial_leaves_nothing_behind(capsys: pytest.CaptureFixture[str]) -> None:
    """Counters, lists, variables, random numbers, names of layers: as if it had not been made."""
    tape, space, _ = run(LASTING)
    verdict = told(tape.recording)
    assert verdict.code == "no_gradient_op" and verdict.tried is not None
    assert space["counter"].calls == 1 and space["counter"].seen == [1] and len(space["log"]) == 1
    assert float(space["w"]) == pytest.approx(1.4) and capsys.readouterr().out == "once\n"
    after = space["tf"].random.uniform(()), np.random.rand(), tf.keras.layers.Dense(1).name
    plain, space, _ = run(LASTING)
    assert plain.recording is not None
    tf.random.set_seed(3)
    np.random.seed(3)
    tf.random.uniform(())
    assert (tf.random.uniform(()), np.random.rand()) == after[:2]
    assert int(after[2].split("_")[1]) == int(space["layer"].name.split("_")[1]) - 1


@pytest.mark.parametrize(
    "line",
    [
        "open('made_by_trial', 'a').close()",
        "import shutil",
        "x = w.numpy().tofile('made_by_trial')",
    ],
)
def test_lines_that_reach_outside_are_not_run_again(
    line: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    source = f"w = tf.Variable(1.3)\nkeep = [1]\n{line}\nwith tf.GradientTape() as t:\n    y = tf.round(w)\nt.gradient(y, w)"
    asked = []
    real = rerun.harmless
    monkeypatch.setattr(rerun, "harmless", lambda *given: asked.append(1) or real(*given))
    verdict = told(run(source)[0].recording)
    assert verdict.code == "no_gradient_op" and asked
    for made in tmp_path.iterdir():
        assert made.stat().st_size <= 4  # the cell's own, once
