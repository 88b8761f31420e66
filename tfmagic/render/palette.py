"""Colours of the picture: filled boxes with dark text, so that one picture reads on a
light page and on a dark one."""

from __future__ import annotations

from dataclasses import dataclass

INK = "#1f2933"
QUIET = "#6b7785"
GRADIENT = "#a3195b"
MARK = "#d92d20"
ARROW = "#8a94a0"
BACK = "#c2558a"

SANS = "Helvetica,Arial,Noto Sans KR,Noto Sans CJK KR,sans-serif"
MONO = "Courier New,DejaVu Sans Mono,Noto Sans Mono CJK KR,monospace"


@dataclass(frozen=True, slots=True)
class Look:
    """Shape and colours of one kind of box."""

    shape: str
    fill: str
    line: str
    style: str = "filled"
    border: int = 1


#: Fill and line of boxes on the second device of a picture, the third and so on; those on
#: the first one look as ever.
PLACES = (
    ("#d3f4ee", "#0f766e"),
    ("#fde2cf", "#c05621"),
    ("#e9e4b8", "#7a7212"),
    ("#ead9f7", "#7e3fb0"),
    ("#d9e2ec", "#334e68"),
)

LOOKS = {
    "variable": Look("cylinder", "#fdebc0", "#b7791f"),
    "input": Look("note", "#e6eaef", "#718096"),
    "stub": Look("ellipse", "#f2f4f7", "#a0aec0"),
    "outside": Look("ellipse", "#ffffff", "#a0aec0", "filled,dashed"),
    "op": Look("box", "#dcebfb", "#2b6cb0", "filled,rounded"),
    "target": Look("box", "#e6dcfc", "#6b46c1", "filled,rounded", 2),
    "backward": Look("box", "#fbe0ec", "#b83280", "filled,rounded"),
    "fold": Look("folder", "#dff3e6", "#2f855a"),
    "fold_target": Look("folder", "#e6dcfc", "#6b46c1"),
    "fold_backward": Look("folder", "#fbe0ec", "#b83280"),
}
