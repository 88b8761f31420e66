"""Ctrl-C at any moment of a recorded cell: it is a Ctrl-C, and nothing of ours stays behind.

``TFMAGIC_INTERRUPTS=2000`` tries as many as one likes.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from typing import Any

import pytest
import tensorflow as tf
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

import tfmagic
from tfmagic.notebook.variable_history import VariableHistory
from tfmagic.runtime.capture.recorder import Recorder
from tfmagic.runtime.devices.overrides import Overrides

INTERRUPTS = int(os.environ.get("TFMAGIC_INTERRUPTS", "40"))
CELL = """%%tape -q
import tensorflow as tf
w = tf.Variable(tf.ones((8, 8)))
for turn in range(30):
    y = tf.reduce_sum(tf.tanh(w @ w))
    w.assign_sub(0.01 * w)
float(y)
"""


@pytest.fixture
def shell() -> Any:
    here = InteractiveShell.instance()
    here.reset(new_session=True)
    here.run_line_magic("load_ext", "tfmagic")
    yield here
    here.run_line_magic("unload_ext", "tfmagic")


def run(shell: Any, *lines: str, tape: str = "%%tape -q") -> BaseException | None:
    """The error of a recorded cell."""
    with capture_output():
        result = shell.run_cell("\n".join([tape, "import signal, tensorflow as tf", *lines]))
    return result.error_in_exec  # type: ignore[no-any-return]


def test_a_cell_finds_the_handler_that_was_there(shell: Any) -> None:
    there = signal.getsignal(signal.SIGINT)
    asks = "seen = signal.getsignal(signal.SIGINT), signal.signal(signal.SIGINT, signal.SIG_IGN)"
    assert run(shell, asks) is None
    assert shell.user_ns["seen"] == (there, there)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN, "what the cell set stays"
    assert run(shell, "old = signal.signal(signal.SIGINT, seen[0])") is None
    assert shell.user_ns["old"] is signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) is there
    assert "tfmagic" not in signal.signal.__code__.co_filename


def test_a_handler_of_the_cell_is_given_back_in_a_later_one(shell: Any) -> None:
    there = signal.getsignal(signal.SIGINT)
    assert run(shell, "mine = lambda *_: None", "old = signal.signal(signal.SIGINT, mine)") is None
    assert signal.getsignal(signal.SIGINT) is shell.user_ns["mine"]
    assert run(shell, "again = signal.signal(signal.SIGINT, old)") is None
    assert shell.user_ns["again"] is shell.user_ns["mine"]
    assert signal.getsignal(signal.SIGINT) is there


def test_nested_recordings_leave_the_handler_of_the_cell(shell: Any) -> None:
    there = signal.getsignal(signal.SIGINT)
    error = run(
        shell,
        "import tfmagic",
        "mine = lambda *_: None",
        "with tfmagic.record() as inner:",
        "    seen = [signal.signal(signal.SIGINT, mine), signal.getsignal(signal.SIGINT)]",
        "seen.append(signal.getsignal(signal.SIGINT))",
    )
    mine = shell.user_ns["mine"]
    assert error is None and shell.user_ns["seen"] == [there, mine, mine]
    assert signal.getsignal(signal.SIGINT) is mine
    signal.signal(signal.SIGINT, there)


def test_a_handler_of_the_cell_is_called_once_and_never_amid_an_op(
    shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal comes while the recorder writes an op down: the cell's own handler waits too."""
    written = Recorder._note

    def interrupted(recorder: Recorder, kind: Any, *rest: Any) -> None:
        if kind in ("Tanh", b"Tanh"):
            signal.raise_signal(signal.SIGINT)
        written(recorder, kind, *rest)

    monkeypatch.setattr(Recorder, "_note", interrupted)
    error = run(
        shell,
        "class Stop(Exception): pass",
        "calls = []",
        "def stop(number, frame):",
        "    calls.append(frame.f_code.co_filename)",
        "    raise Stop",
        "old = signal.signal(signal.SIGINT, stop)",
        "done = []",
        "for turn in range(3):",
        "    done.append(tf.tanh(float(turn)))",
    )
    signal.signal(signal.SIGINT, shell.user_ns["old"])
    assert type(error).__name__ == "Stop" and shell.user_ns["done"] == []
    (called,) = shell.user_ns["calls"]
    assert "tfmagic" not in called
    assert [op.type for op in tfmagic.last.ops].count("Tanh") == 1


@pytest.mark.parametrize(
    "tape, owner, name",
    [("%%tape -q", VariableHistory, "look"), ("%%tfdevice CPU:0", Overrides, "__enter__")],
)
def test_one_that_comes_before_a_cell_begins_ends_the_cell(
    shell: Any, monkeypatch: pytest.MonkeyPatch, tape: str, owner: Any, name: str
) -> None:
    """The signal falls into what goes before the cell; IPython would print it and go on."""
    calls: list[int] = []

    class Stop(Exception):
        """What the user's own handler raises."""

    def stop(number: int, _: Any) -> None:
        calls.append(number)
        raise Stop

    run(shell, "w = tf.Variable(tf.ones([2]))")
    there = signal.signal(signal.SIGINT, stop)
    begin = getattr(owner, name)

    def interrupted(of: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return begin(of)

    monkeypatch.setattr(owner, name, interrupted)
    with capture_output() as shown:
        result = shell.run_cell(f"{tape}\nfor turn in range(20_000): y = tf.tanh(w)")
    now = signal.signal(signal.SIGINT, there)
    assert type(result.error_in_exec) is Stop and len(calls) == 1 and now is stop
    assert "Error in callback" not in shown.stdout + shown.stderr


def test_asyncio_ends_its_task_as_without_us(shell: Any) -> None:
    """``asyncio.run`` takes Ctrl-C over only where nobody else's handler is."""
    there = signal.signal(signal.SIGINT, signal.default_int_handler)
    error = run(
        shell,
        "import asyncio",
        "told = []",
        "async def work():",
        "    try:",
        "        signal.raise_signal(signal.SIGINT)",
        "        await asyncio.sleep(0)",
        "    except asyncio.CancelledError:",
        "        told.append('cancelled')",
        "        raise",
        "asyncio.run(work())",
    )
    now = signal.signal(signal.SIGINT, there)
    assert type(error).__name__ == "KeyboardInterrupt" and shell.user_ns["told"] == ["cancelled"]
    assert now is signal.default_int_handler


def seconds_of(shell: Any) -> float:
    with capture_output():
        shell.run_cell(CELL)  # the first run imports
        start = time.perf_counter()
        shell.run_cell(CELL)
    return time.perf_counter() - start


def traces() -> list[Any]:
    """What a recorder that was not taken off would leave."""
    from tensorflow.python.eager import context, record
    from tensorflow.python.framework import ops

    changed = [
        name
        for owner in (ops.EagerTensor, *ops.EagerTensor.__mro__, tf.GradientTape)
        for name, method in vars(owner).items()
        if "tfmagic" in getattr(getattr(method, "__code__", None), "co_filename", "")
    ]
    if "tfmagic" in record.record_operation.__code__.co_filename:
        changed.append("record_operation")
    return [*context.context().op_callbacks, *changed]


def settle(thread: threading.Thread, done: threading.Event) -> None:
    """Wait for an interrupt that is under way, or that was put off for a moment."""
    done.set()
    thread.join()
    for other in threading.enumerate():
        if other.name == "tfmagic-interrupt":
            other.join()


def test_an_interrupt_at_any_moment_leaves_nothing(shell: Any) -> None:
    usual, before = seconds_of(shell), signal.getsignal(signal.SIGINT)
    armed: list[bool] = []

    def as_python_does(number: int, frame: Any) -> None:
        if armed:  # one that comes when the cell is over must not end the tests
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, as_python_does)
    try:
        run_many(shell, usual, armed)
    finally:
        signal.signal(signal.SIGINT, before)
    with capture_output():
        assert shell.run_cell(CELL).success


def run_many(shell: Any, usual: float, armed: list[bool]) -> None:
    before = signal.getsignal(signal.SIGINT)
    draw, kinds = random.Random(7), set()
    for turn in range(INTERRUPTS):
        moment = draw.random() * usual
        done = threading.Event()

        def interrupt(moment: float = moment, done: threading.Event = done) -> None:
            if not done.wait(moment):
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        error: BaseException | None = None
        with capture_output() as captured:
            thread.start()
            try:
                armed.append(True)
                error = shell.run_cell(CELL).error_in_exec
                armed.clear()
            except KeyboardInterrupt:  # between two cells: the user's prompt would get it
                armed.clear()
            settle(thread, done)
        text = captured.stdout + captured.stderr
        kinds.add(type(error).__name__)
        assert type(error).__name__ in ("NoneType", "KeyboardInterrupt"), (turn, text[-2000:])
        assert "SystemError" not in text and "Error in callback" not in text, text[-2000:]
        assert not traces(), turn
        assert signal.getsignal(signal.SIGINT) is before, turn
    assert "KeyboardInterrupt" in kinds
