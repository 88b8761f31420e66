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
            armed.append(True)
            try:
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
