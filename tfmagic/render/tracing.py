"""Tracing in words: how often, why, and what mends it."""

from __future__ import annotations

from collections.abc import Iterator

from tfmagic.analysis.notation import duration
from tfmagic.language import say
from tfmagic.model import Recording, Verdict
from tfmagic.render.escape import clipped, visible

__all__ = ["remarks"]

_LONGEST, _VALUES = 60, 4


def remarks(recording: Recording) -> Iterator[str]:
    """One line for each remark: what is wrong, and what mends it.

    A gradient that a function asked for itself is told once for all sources that one line hits.
    """
    told = dict[tuple[str, int, int], None]()
    for remark in recording.remarks:
        key = (remark.code, remark.cell, remark.line_number)
        if remark.values:
            yield _sentence(remark)
        elif key not in told:
            told[key] = None
            mended = clipped(visible(remark.repair), 4 * _LONGEST)
            yield f"{visible(remark.message)} {mended}".strip()


def _sentence(remark: Verdict) -> str:
    told = dict(remark.values)
    shown = [clipped(visible(value), _LONGEST) for value in remark.path]
    more = ", …" if len(shown) > _VALUES else ""
    frozen = remark.code == "frozen_at_trace"
    key = f"tracing.{'frozen' if frozen else 'retraced'}_{told['kind' if frozen else 'reason']}"
    values = {
        "name": clipped(visible(remark.target), _LONGEST),
        "source": clipped(visible(remark.source), _LONGEST),
        "argument": clipped(visible(remark.source), _LONGEST),
        "line": remark.line_number,
        "code": clipped(visible(remark.repair), 2 * _LONGEST),
        "values": ", ".join(shown[:_VALUES]) + more,
        "before": shown[0] if shown else "",
        "now": shown[-1] if shown else "",
        "n": told.get("times", ""),
        "time": duration(float(told.get("seconds", 0.0))),
    }
    end = say(f"{key}_{'repair' if remark.repair else 'advice'}", **values)
    return f"{say(key, **values)} {end}"
