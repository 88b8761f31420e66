"""A training run that goes on: its courses so far, light enough to be drawn four times a second."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from tfmagic.analysis.notation import number, spark
from tfmagic.language import say
from tfmagic.render import html
from tfmagic.render.curves import loss_curve

__all__ = ["courses", "line"]

#: Courses that are shown side by side, and points of one in a line of text.
_MOST, _WIDEST = 3, 24

_BESIDE = Markup('<div style="display: inline-block; margin: 0 1em 0 0">{}{}</div>')


def line(followed: Mapping[str, Any], seconds: float) -> str:
    """One line for a terminal: step, rate, and each loss with a small curve."""
    parts = [_told(followed, seconds)]
    for course in list(followed.values())[:_MOST]:
        shown = course.loss[-_WIDEST:]
        if any(math.isfinite(v) for v in shown):
            parts.append(f"{spark(shown)} {number(course.loss[-1], 4)}")
    return "  ".join(parts)


def _told(followed: Mapping[str, Any], seconds: float) -> str:
    step = max((course.steps[-1] for course in followed.values() if course.steps), default=0)
    rate = number(step / seconds, 3) if seconds > 0 else "?"
    return say("live.step", n=step, rate=rate)


def courses(followed: Mapping[str, Any], seconds: float) -> str:
    """The loss and the norm of the gradients of every run, as HTML."""
    parts = [html.head(_told(followed, seconds))]
    for course in list(followed.values())[:_MOST]:
        for what, values in (("loss", course.loss), ("norm", course.norm)):
            if any(math.isfinite(v) for v in values):
                told = say(f"live.{what}", value=number(values[-1], 4))
                svg = loss_curve(course.steps, values, len(values) - 1, say(f"live.{what}_axis"))
                image, caption = html.image(svg, told, 320), html.notes([told])
                parts.append(_BESIDE.format(image, caption))
    return html.report(parts)
