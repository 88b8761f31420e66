"""Ctrl-C reaches the cell as a KeyboardInterrupt, wherever in the recording it falls."""

from __future__ import annotations

import functools
import signal
import subprocess
import sys
import threading
from types import FrameType, SimpleNamespace

import pytest
import tensorflow as tf

import tfmagic
from tfmagic.runtime.capture import interrupts as interrupt
from tfmagic.runtime.capture.interrupts import interrupts_put_off
from tfmagic.runtime.capture.recorder import Recorder
from tfmagic.runtime.devices.overrides import Overrides

NO_ROOM = """
import contextlib, sys
import tensorflow as tf, tfmagic
x, y = tf.constant([1.0, 2.0]), None
def down(turns):
    return down(turns - 1) if turns else tf.tanh(x * 2.0)
def for_ever(x):
    return for_ever(x * 2.0)
sys.setrecursionlimit(200)
with tfmagic.record() as rec:
    for turns in range(100, 200):
        with contextlib.suppress(RecursionError):
            y = down(turns)
    with contextlib.suppress(RecursionError):
        for_ever(x)
sys.setrecursionlimit(1000)
print("went on" if y is not None else "no op ran")
"""
NO_ROOM_IN_A_THREAD = """
import contextlib, sys, threading
import tensorflow as tf, tfmagic
def down(turns):
    return down(turns - 1) if turns else tf.tanh(2.0)
def for_ever(x):
    return for_ever(x * 2.0)
def work():
    made.append(tf.constant(1.0))
    for turns in range(60, 200):
        with contextlib.suppress(RecursionError):
            made.append(down(turns))
    with contextlib.suppress(RecursionError):
        for_ever(made[0])
made = []
sys.setrecursionlimit(200)
with tfmagic.record() as rec:
    thread = threading.Thread(target=work)
    thread.start()
    while not made:
        pass
    work()
    thread.join()
sys.setrecursionlimit(1000)
(gap,) = rec.recording.complete
print("went on", gap.code, gap.count)
"""


def test_in_the_recorder_an_interrupt_is_put_off_and_then_comes() -> None:
    inside = SimpleNamespace(f_code=Recorder.stop.__code__)
    put_off = interrupts_put_off(frozenset({Recorder.stop.__code__}))
    with put_off as interrupts, pytest.raises(KeyboardInterrupt):
        assert interrupts.handle(signal.SIGINT, inside) is None  # nothing is raised here
        # Not an empty loop: Python 3.13 does not guard the jump back in it.
        threading.Event().wait(30)  # it comes as soon as the moment is over


def test_an_interrupt_while_an_op_is_written_down_ends_the_cell_at_that_op(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    note, reached, x = Recorder._note, [], tf.constant([1.0, 2.0])

    def interrupted(self: Recorder, *of_the_op: object) -> None:
        signal.raise_signal(signal.SIGINT)
        note(self, *of_the_op)

    monkeypatch.setattr(Recorder, "_note", interrupted)
    with pytest.raises(KeyboardInterrupt), tfmagic.record() as rec:
        tf.tanh(x)
        reached.append("the next line")
    assert not reached
    assert [op.type for op in rec.recording.ops] == ["Tanh"]  # it is written down whole
    threading.Event().wait(0.01)  # and no second one comes after it


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGALRM])
def test_a_signal_while_a_place_is_looked_at_ends_the_cell_at_that_op(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    class Late(Exception):
        """What the user's own handler raises."""

    def late(*_: object) -> None:
        raise Late

    monkeypatch.setattr(Overrides, "_note", lambda *_: signal.raise_signal(number))
    x, reached, before = tf.constant([1.0, 2.0]), [], signal.signal(number, late)
    try:
        with pytest.raises(Late), Overrides("no such place"):
            tf.tanh(x)
            reached.append("the next line")
    finally:
        signal.signal(number, before)
    assert not reached


def test_one_that_falls_into_the_forgetting_of_a_tape_is_not_lost() -> None:
    """Python would print that it ignored it, and the cell would run on."""
    x, forgotten = tf.constant([1.0, 2.0]), []

    def interrupts(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_qualname.startswith("WeakKeyDictionary."):
            sys.setprofile(None)
            forgotten.append(frame.f_code.co_name)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), tfmagic.record():
        with tf.GradientTape() as tape:
            tf.tanh(x)
        sys.setprofile(interrupts)
        del tape
        sys.setprofile(None)
        tf.tanh(x)
    assert forgotten == ["remove"]


def test_one_that_was_put_off_is_handed_on_once(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []
    over = threading.Event()
    monkeypatch.setattr(interrupt, "time", SimpleNamespace(sleep=lambda _: over.wait(30)))
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        with interrupts_put_off(frozenset({Recorder.stop.__code__})) as interrupts:
            interrupts.handle(signal.SIGINT, SimpleNamespace(f_code=Recorder.stop.__code__))
            assert interrupts.waiting and not heard
            interrupts.hand_on(sys._getframe())
            over.set()
            for thread in threading.enumerate():
                if thread.name == "tfmagic-interrupt":
                    thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [signal.SIGINT]


def test_elsewhere_it_comes_at_once_and_the_handler_is_given_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), tfmagic.record() as rec:
        tf.ones(2) * 2.0
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    assert rec.recording.failure.type == "KeyboardInterrupt"


def test_a_handler_that_the_cell_sets_stays() -> None:
    before = signal.getsignal(signal.SIGINT)

    def mine(*_: object) -> None:
        """The cell's own."""

    try:
        with tfmagic.record():
            signal.signal(signal.SIGINT, mine)
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, before)


class Late(Exception):
    """What an alarm of the user's raises."""


@pytest.mark.parametrize("kind", ["function", "method", "partial", "object"])
def test_what_a_signal_handler_raises_inside_of_us_reaches_the_cell(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    class Alarm:
        def __call__(self, *_: object) -> None:
            raise Late

        def ring(self, *_: object) -> None:
            raise Late

    handlers = {
        "function": lambda *_: Alarm()(),
        "method": Alarm().ring,
        "partial": functools.partial(Alarm.ring, None),
        "object": Alarm(),
    }
    noted = Recorder._note

    def note(self: Recorder, *args: object) -> None:
        noted(self, *args)  # type: ignore[arg-type]
        signal.raise_signal(signal.SIGALRM)

    monkeypatch.setattr(Recorder, "_note", note)
    before = signal.signal(signal.SIGALRM, handlers[kind])
    try:
        with pytest.raises(Late), tfmagic.record() as rec:
            tf.ones(2) * 2.0
    finally:
        signal.signal(signal.SIGALRM, before)
    assert rec.recording.failure.type == "Late" and len(rec.recording.ops) == 1


def test_an_error_of_ours_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def note(self: Recorder, *args: object) -> None:
        raise Late

    monkeypatch.setattr(Recorder, "_note", note)
    with tfmagic.record() as rec:
        tf.ones(2) * 2.0
    assert [gap.code for gap in rec.recording.complete] == ["fault"]


@pytest.mark.parametrize(
    "code, said", [(NO_ROOM, "went on"), (NO_ROOM_IN_A_THREAD, "went on threads 1")]
)
def test_an_op_where_python_has_no_more_room_ends_with_an_error_of_pythons(
    code: str, said: str
) -> None:
    """TensorFlow ends the process where its profiler of tensors raises an exception."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.endswith(f"{said}\n"), (done.returncode, done.stderr[-2000:])


def test_what_the_cell_puts_in_place_of_tensorflows_stays() -> None:
    def mine(*_: object) -> None:
        """The cell's own."""

    original = tf.GradientTape.gradient
    try:
        with tfmagic.record():
            tf.GradientTape.gradient = mine
        assert tf.GradientTape.gradient is mine
    finally:
        tf.GradientTape.gradient = original
