"""Tracing: how often TensorFlow read a function's Python, and why."""

from __future__ import annotations

from dataclasses import dataclass

#: Why a function is traced.  ``first``: it never was; ``variables``: it made variables the first
#: time; ``value``: a Python value among the arguments is another one; ``object``: an argument is
#: another object; ``shape``, ``dtype``, ``structure``: those of an argument are others;
#: ``made_anew``: a function of the same code was made again, and knows no trace of the one
#: before; ``context``: the same arguments under another device, strategy or outer function.
REASONS = (
    "first",
    "variables",
    "value",
    "object",
    "shape",
    "dtype",
    "structure",
    "made_anew",
    "context",
)


@dataclass(frozen=True, slots=True)
class Trace:
    """One time that a function was traced while the cell ran.

    ``line_number`` is the user's line that called it (its index is ``line``), ``made`` the
    number of the line on which its code begins.  ``reason`` is one of :data:`REASONS`;
    ``argument`` is the one that changed, from ``before`` to ``now``.  ``own`` says that the
    user wrote the function; ``inside`` that it was traced within the tracing of another one,
    whose ``seconds`` hold its own.
    """

    function: str
    line_number: int
    reason: str
    seconds: float
    argument: str = ""
    before: str = ""
    now: str = ""
    line: int | None = None
    made: int = 0
    own: bool = True
    inside: bool = False


@dataclass(frozen=True, slots=True)
class Frozen:
    """What tracing fixed for good in a function that then was called again.

    ``kind`` is ``"value"`` (a global, enclosed name or attribute that has changed since, from
    ``before`` to ``now``), ``"time"``, ``"random"`` or ``"print"`` (Python that runs only while
    the function is traced).  ``name`` is what the code says, on line ``line_number``.
    """

    function: str
    kind: str
    name: str
    line_number: int = 0
    line: int | None = None
    before: str = ""
    now: str = ""
