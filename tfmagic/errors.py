"""The exceptions of tfmagic, and how they hang together.

::

    TfmagicError                 all of ours; its text is one line in the user's language
    ├── OptionError              an option or a name that was given and does not fit
    │   └── ShapeError           two shapes that do not fit together
    ├── NoTargetError            nothing was found that could be differentiated
    ├── LoadError                a file or text that is no recording
    ├── RenderError              no engine could draw, or it ran out of its time
    ├── DeviceError              a device that does not exist, or a setting that comes too late
    ├── ClusterError             a worker that cannot be reached, or is gone
    ├── TensorFlowMissing        TensorFlow is not installed, or too old
    ├── NotRepeatable            a gradient would run code of the user's once more
    └── ReleasedError            a recording whose tensors were let go is asked for more

An error carries a message *key* and its values; the sentence is made from the
catalogue when it is shown.  The user's own exceptions are never wrapped in these.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from tfmagic.language import Message, say

__all__ = [
    "ClusterError",
    "DeviceError",
    "LoadError",
    "NoTargetError",
    "NotRepeatable",
    "OptionError",
    "ReleasedError",
    "RenderError",
    "ShapeError",
    "TensorFlowMissing",
    "TfmagicError",
]


#: Longest text of somebody else's that a message repeats, and longest path.
_LONGEST = 300
_LONGEST_PATH = 120


class TfmagicError(Exception):
    """The root: ``key`` names a sentence of the catalogue, ``values`` fill it."""

    def __init__(self, key: str, **values: Any) -> None:
        super().__init__(key)
        self.key = key
        self.values = values

    def __str__(self) -> str:
        return say(self.key, **{name: _shown(value) for name, value in self.values.items()})

    @property
    def message(self) -> Message:
        """The same to be kept, and worded when it is shown."""
        shown = {name: _shown(value) for name, value in self.values.items()}
        plain = {n: v if isinstance(v, (str, int, float)) else str(v) for n, v in shown.items()}
        return Message.of(self.key, **plain)


def _shown(value: Any) -> Any:
    """Text that was given, on one line and no longer than one can read; a path keeps its end."""
    if not isinstance(value, (str, PurePath)):
        return value
    text = "".join(c if c.isprintable() else " " for c in str(value))
    if isinstance(value, PurePath) and len(text) > _LONGEST_PATH:
        half = _LONGEST_PATH // 2
        return f"{text[:half]}…{text[-half:]}"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


class OptionError(TfmagicError):
    """An option or a name that was given and does not fit."""


class ShapeError(OptionError):
    """Two shapes that do not fit together; ``values["shapes"]`` are all that were given."""


class NoTargetError(TfmagicError):
    """Nothing was found that could be differentiated."""


class NotRepeatable(TfmagicError):
    """A gradient would run code of the user's once more, and they would feel it."""


class LoadError(TfmagicError):
    """A file or a text that is no recording."""


class RenderError(TfmagicError):
    """No engine could draw, or it ran out of its time."""


class DeviceError(TfmagicError):
    """A device that does not exist, or a setting that comes too late."""


class ClusterError(TfmagicError):
    """A worker that cannot be reached, or is gone."""


class TensorFlowMissing(TfmagicError):
    """TensorFlow is not installed, or too old for a feature."""


class ReleasedError(TfmagicError):
    """A recording whose tensors were let go is asked for a gradient."""
