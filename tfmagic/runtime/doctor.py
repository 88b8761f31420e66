"""What stands of TensorFlow here: its release, its devices, what it lacks."""

from __future__ import annotations

import importlib

from tfmagic.language import Message


def tensorflow() -> tuple[str, tuple[str, ...], tuple[Message, ...]]:
    """Release, physical devices and the features that this release lacks.

    Raises ImportError where TensorFlow cannot be imported.
    """
    tf = importlib.import_module("tensorflow")
    from tfmagic.runtime import private

    devices = (d.name.rpartition("device:")[2] for d in tf.config.list_physical_devices())
    return str(tf.__version__), tuple(devices), private.missing_features()
