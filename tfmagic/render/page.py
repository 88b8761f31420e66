"""The live picture as one file: opens without a kernel, a server or a network.

A content security policy with the hash of our own script lets nothing else in the page run,
whatever the names in the recording are.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from time import perf_counter
from typing import Any

from markupsafe import Markup

from tfmagic.analysis.notation import size
from tfmagic.language import current, say
from tfmagic.render.scene import Scene

__all__ = ["page", "script", "style"]

#: The most bytes of levels that a page holds, and the seconds that laying them out may take.
LARGEST = 12 * 2**20
SECONDS = 30.0

_PAGE_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 1em; }
h1 { font-size: 1.15em; overflow-wrap: anywhere; }
"""


@cache
def _static(name: str) -> str:
    return files("tfmagic.render").joinpath("static", name).read_text(encoding="utf-8")


def script() -> str:
    """The live picture's script, which the panel uses too."""
    return _static("graph.js")


def style() -> str:
    """Its style sheet."""
    return _static("graph.css")


def page(scene: Scene, title: str, below: str) -> str:
    """The whole file; ``below`` is the HTML of the static report."""
    data, left = _data(scene)
    code = f"{script()}\n{_static('page.js')}"
    digest = base64.b64encode(hashlib.sha256(code.encode("utf-8")).digest()).decode("ascii")
    note = say("scene.left_out", n=left, size=size(LARGEST)) if left else ""
    return str(
        Markup(
            '<!DOCTYPE html>\n<html lang="{lang}"><head><meta charset="utf-8">\n'
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            "script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
            "base-uri 'none'; form-action 'none'\">\n"
            '<meta name="viewport" content="width=device-width">\n'
            '<meta name="color-scheme" content="light dark"><title>{title}</title>\n'
            "<style>{style}</style></head>\n<body>\n<h1>{title}</h1>\n"
            "<noscript><p>{no_script}</p></noscript>\n"
            '<div id="tfmagic-graph"></div>\n<p>{note}</p>\n'
            "<details><summary>{static}</summary>{below}</details>\n"
            '<script type="application/json" id="tfmagic-data">{data}</script>\n'
            "<script>{code}</script>\n</body></html>\n"
        ).format(
            lang=current(),
            digest=digest,
            title=title,
            style=Markup(style() + _PAGE_STYLE),
            no_script=say("scene.no_script"),
            note=note,
            static=say("scene.static"),
            below=Markup(below),
            data=Markup(_in_script(data)),
            code=Markup(code),
        )
    )


def _in_script(data: Any) -> str:
    """JSON that can stand in a script element: nothing in it can end the element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _data(scene: Scene) -> tuple[dict[str, Any], int]:
    """What ``page.js`` answers from, and how many folds had to be left out of it."""
    levels, left = _levels(scene)
    for level in levels.values():
        for node in level["nodes"]:
            if node.get("fold") and node["id"] not in levels:
                del node["fold"]
    first = scene.first([name for name in scene.opened() if name in levels])
    first["levels"] = {name: levels[name] for name in first["open"]}
    variables = [f"v{v.id}" for v in scene.recording.variables]
    asked = [*variables, *(f"o{op.index}" for op in scene.sketch.selection.ops)]
    return {
        "first": first,
        "levels": levels,
        "parents": scene.parents,
        "titles": list(scene.titles()),
        "homes": {name: scene.home(name) for name in variables},
        "next": scene.next_steps,
        "starts": {name: [f"o{op}" for op in scene.ops(name)] for name in variables},
        "verdicts": {name: text for name in asked if (text := scene.verdict(name))},
    }, left


def _levels(scene: Scene) -> tuple[dict[str, dict[str, Any]], int]:
    """The levels from the outside inwards, as many as there is room and time for."""
    found: dict[str, dict[str, Any]] = {}
    room, end = LARGEST, perf_counter() + SECONDS
    names = _outside_in(scene)
    for name in names:
        if room <= 0 or perf_counter() > end:
            break
        level = json.loads(json.dumps(scene.level(name)))
        found[name] = level
        room -= len(json.dumps(level, separators=(",", ":")))
    return found, len(names) - len(found)


def _outside_in(scene: Scene) -> list[str]:
    def depth(name: str) -> int:
        return len(scene.around(name))

    return sorted(scene.sketch.folds, key=depth)
