"""The functions behind the magics, for scripts, tests and other notebooks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfmagic.errors import LoadError
from tfmagic.model import Recording, from_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tfmagic.model import Verdict
    from tfmagic.model.inventory import Conversion
    from tfmagic.render.inventory import InventoryView
    from tfmagic.render.report import GraphView
    from tfmagic.runtime.tape import Tape


def load(source: str | Path) -> Any:
    """Read a recording, or an inventory, from the JSON text, or the file, that ``to_json`` made.

    TensorFlow need not be installed.  Raises :class:`~tfmagic.errors.LoadError`, one
    line, for anything else.
    """
    if isinstance(source, str) and source.lstrip().startswith("{"):
        return from_json(source)
    try:
        return from_json(Path(source).expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise LoadError("load.not_json", detail="not text") from None
        raise LoadError("load.no_file", path=source, detail=str(error)[:200]) from None


def explain(record: Tape, target: Any, source: Any) -> Verdict:
    """Why the gradient of ``target`` with respect to ``source`` is None, zero, NaN or fine.

    ``record`` is what ``tfmagic.record()`` or ``%%tape NAME`` gave.  Where the run itself
    asked a tape for this gradient, that answer is explained; else the gradient is worked
    out now, and explained.
    """
    found = record.asked_before(target, source)
    if found is None:
        record.gradient(target, source)
        found = (len(record.recording.gradients) - 1, 0)
    call, place = found
    verdict = record.recording.gradients[call].gradients[place].verdict
    assert verdict is not None  # every gradient of a finished recording has one
    return verdict


def graph(subject: Any, title: str = "", **options: Any) -> GraphView:
    """The graph of a recording, a tape, a function or a Keras model.

    A function is called once, without arguments; a model on a batch of zeros.
    ``options`` are those of :class:`~tfmagic.render.report.GraphView`: ``depth``,
    ``flat``, ``backward``, ``limit``, ``budget`` (seconds), ``engine``.
    """
    from tfmagic.render.report import GraphView

    if not isinstance(subject, Recording):
        from tfmagic.runtime.subject import drawable

        name = getattr(subject, "__name__", "") or getattr(subject, "name", "") or "graph"
        subject, title = drawable(subject, str(name)), title or str(name)
    return GraphView(subject, title, **options)


def variables(subject: Any, sort: str = "", filter: str = "", title: str = "") -> InventoryView:
    """What ``subject`` holds: a mapping such as ``globals()``, a module or model as a tree, or
    one tensor, variable or array, with its colours.

    ``sort`` is ``"name"``, ``"kind"``, ``"dtype"``, ``"bytes"`` or ``"change"``; ``filter`` a
    word in the name, kind or dtype.  The result's ``inventory`` is plain data.
    """
    from tfmagic.analysis.inventory import arranged
    from tfmagic.render.value import view_of
    from tfmagic.runtime.inventory import inventory

    return view_of(arranged(inventory(subject, title), sort, filter))


def conversion(value: Any, expression: str, namespace: Mapping[str, Any]) -> Conversion:
    """How ``value``, which came of ``expression``, becomes a tensor, and why so."""
    from tfmagic.runtime.conversion import conversion as tried

    return tried(value, expression, namespace)
