"""Ctrl-C that comes at a bad moment: put off, never lost."""

from __future__ import annotations

import _thread
import threading
import time

#: Seconds by which an interrupt is put off; what it must wait for takes microseconds.
MOMENT = 0.001


def interrupt_later() -> None:
    """Have the main thread interrupted again in a moment."""
    # a name of its own: the next thread of the user's is still called Thread-1
    threading.Thread(target=_interrupt, name="tfmagic-interrupt", daemon=True).start()


def _interrupt() -> None:
    time.sleep(MOMENT)
    _thread.interrupt_main()
