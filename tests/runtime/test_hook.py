"""What the user keeps of a recorded cell (``g = tape.gradient``) is TensorFlow's own afterwards."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import tensorflow as tf

import tfmagic
from tfmagic.runtime import private


def recorded() -> tuple[dict[str, Any], Callable[[], Any]]:
    """Methods that were bound while a cell was recorded, and whether the recorder still lives."""
    v, w = tf.Variable(3.0), tf.constant(2.0)
    with tfmagic.record() as rec:
        with tf.GradientTape(persistent=True) as tape:
            y = v * v * w
        kept = {
            "gradient": tape.gradient,
            "watch": tape.watch,
            "numpy": y.numpy,
            "start": threading.Thread(target=lambda: tf.ones(3)).start,
            "all_reduce": tf.distribute.get_replica_context().all_reduce,
        }
    kept |= {"y": y, "v": v, "tape": tape}
    return kept, weakref.ref(rec._recorder)


def test_it_gives_what_tensorflow_gives() -> None:
    kept, _ = recorded()
    assert kept["gradient"](kept["y"], kept["v"]).numpy() == 12.0
    assert kept["gradient"](target=kept["y"], sources=[kept["v"]])[0].numpy() == 12.0
    assert kept["numpy"]() == 18.0
    with pytest.raises(TypeError, match=r"GradientTape\.gradient\(\) missing 1 required"):
        kept["gradient"](kept["y"])
    x = tf.constant(2.0)
    with kept["tape"]:
        kept["watch"](x)
        square = x * x
    assert kept["gradient"](square, x).numpy() == 4.0


def test_it_keeps_nothing_of_the_recording_alive() -> None:
    kept, recorder = recorded()
    gc.collect()
    assert recorder() is None
    assert kept


def test_a_thread_that_starts_later_is_not_listened_to(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, _ = recorded()
    told: list[object] = []
    monkeypatch.setattr(private, "set_tensor_profiler", told.append)
    kept["start"]()
    kept["start"].__self__.join()
    assert not told
