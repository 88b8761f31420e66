"""Signals that fall into a measurement: an interrupt ends it, an alarm of the user's is theirs."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Iterator
from types import FunctionType, MethodType, SimpleNamespace
from typing import Any

import pytest
import tensorflow as tf

import tfmagic
from tfmagic.model.bench import OpTime
from tfmagic.runtime.timer import Request, measure, ops, subject
from tfmagic.runtime.timer.interference import Watch
from tfmagic.runtime.timer.schedule import Plan

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="no alarms here")


class Late(Exception):
    """What an alarm of the user's raises."""


@pytest.fixture
def alarm() -> Iterator[Callable[[Callable[..., None]], None]]:
    before = signal.getsignal(signal.SIGALRM)
    yield lambda handler: signal.signal(signal.SIGALRM, handler)  # type: ignore[misc]
    signal.signal(signal.SIGALRM, before)


def raises(*_: object) -> None:
    raise Late


class Ticking:
    """A statement that has an alarm ring in a certain one of its calls.

    What it counts is in slots, which the stopwatch does not put back.
    """

    __slots__ = ("calls", "rings")

    def __init__(self, rings: int = 0) -> None:
        self.calls, self.rings = 0, rings

    def __call__(self) -> Any:
        self.calls += 1
        if self.calls == self.rings:
            signal.raise_signal(signal.SIGALRM)
        return tf.constant(1.0)


def timed(tick: Ticking) -> Any:
    space = {"tick": tick}
    return tfmagic.bench(
        "tick(); n", namespace=space, modes=["eager", "function"], loops=1, repeat=3, ops=True,
        sweep={"n": [1, 2]},
    )  # fmt: skip


def test_an_alarm_of_the_users_is_raised_wherever_it_falls(alarm: Any) -> None:
    alarm(raises)
    whole = Ticking()
    timed(whole)
    raised = 0
    for rings in range(1, whole.calls + 1, whole.calls // 25):
        tick = Ticking(rings)
        try:
            timed(tick)
        except Late:
            raised += 1
        else:
            assert tick.calls < rings  # fewer runs this time: it did not ring
    assert raised > 20


def test_what_the_handler_of_an_alarm_prints_is_seen(
    alarm: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    alarm(lambda *_: print("time is up"))
    result = timed(Ticking(20))
    assert capsys.readouterr().out == "time is up\n"
    assert [remark.code for remark in result.bench.remarks] == []


def test_no_python_of_ours_runs_inside_the_collector() -> None:
    """What a signal handler raises there is printed and lost."""
    before = list(gc.callbacks)
    with Watch() as watch:
        added = [callback for callback in gc.callbacks if callback not in before]
        assert added and not any(isinstance(c, (FunctionType, MethodType)) for c in added)
        watch.begin()
        gc.collect()
        assert watch.end() in ("gc", "preempted") and watch._collected
        watch.begin()
        assert not watch._collected
    assert gc.callbacks == before


# --- interrupts of the ops' own times ----------------------------------------------------


def test_one_interrupt_ends_the_ops_of_every_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def op_times(variant: Any, *_: Any) -> tuple[tuple[OpTime, ...], bool]:
        asked.append(variant)
        return (OpTime("MatMul", "", 1),), True

    monkeypatch.setitem(measure.__globals__, "op_times", op_times)
    request = Request(subject("1", "", {}), by_op=True, cold=True)
    taken = measure.__globals__["_Measurement"](request, (), ("eager",), print, print, print)
    variants = [SimpleNamespace(mode="eager", op_times=()) for _ in range(2)]
    assert taken._besides(variants)
    assert asked == variants[:1] and variants[0].op_times


def test_ops_that_were_timed_before_an_interrupt_keep_their_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(courses: Any, _: Any, *rest: Any) -> bool:
        """The first op has had all its turns when the interrupt comes; no other had one."""
        assert not whole(courses[:1], Plan(loops=1, repeat=12), *rest)
        return True

    whole = ops.take_turns
    monkeypatch.setattr(ops, "take_turns", interrupted)
    x = tf.ones([8, 8])
    result = tfmagic.bench(
        "y = tf.matmul(x, x)\nz = tf.tanh(y)\nw = tf.exp(z)", namespace={"tf": tf, "x": x},
        ops=True, loops=1, repeat=3,
    )  # fmt: skip
    told = {op.type: (op.reason, op.seconds is None) for op in result.timings[0].op_times}
    assert told == {
        "MatMul": ("", False),
        "Tanh": ("interrupted", True),
        "Exp": ("interrupted", True),
    }
    assert "Interrupted when the blocks had been timed" in repr(result)
    assert "interrupted before it had its turn" in repr(result)
