"""Ctrl-C reaches the cell as a KeyboardInterrupt, wherever in the recording it falls."""

from __future__ import annotations

import signal
import time
from types import SimpleNamespace

import pytest
import tensorflow as tf

import tfmagic
from tfmagic.runtime.threads import _Counter, interrupts_put_off


def test_in_the_counter_an_interrupt_is_put_off_and_then_comes() -> None:
    inside = SimpleNamespace(f_code=_Counter.count.__code__)
    with interrupts_put_off(frozenset()):
        handle = signal.getsignal(signal.SIGINT)
        assert callable(handle) and handle is not signal.default_int_handler
        with pytest.raises(KeyboardInterrupt):
            assert handle(signal.SIGINT, inside) is None  # nothing is raised here
            end = time.monotonic() + 30
            while time.monotonic() < end:
                pass  # it comes as soon as the moment is over


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
