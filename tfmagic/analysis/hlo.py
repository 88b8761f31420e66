"""XLA's listing of what it runs (HLO), instruction by instruction, with how often each runs.

A listing is made of computations that call each other: a fusion its parts once, a loop its body
as often as it turns.  Most instructions name the op of TensorFlow's that they come from; what
XLA does once for twenty ops has the name of one of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Instruction", "instructions"]

_HEAD = re.compile(r"(ENTRY )?%?([\w.\-]+) .*\{\s*$")
_LINE = re.compile(r"\s+(?P<root>ROOT )?%?(?P<name>[\w.\-]+) =(?P<rest> .*)$")
_OPERAND = re.compile(r"%([\w.\-]+)")
_OPCODE = re.compile(r" ([a-z][a-z0-9\-]*)\(")
_NAMED = re.compile(r"\b(op_type|op_name|custom_call_target)=\"([^\"]*)\"")
_TURNS = re.compile(r"\"known_trip_count\":\{\"n\":\"(\d+)\"")
_CALLED = re.compile(
    r"\b(?:calls|to_apply|body|true_computation|false_computation|branch_computations)="
    r"(?:\{([^}]*)\}|%?([\w.\-]+))"
)
#: Instructions that hand a few numbers to what they call: nothing that a statement is about.
_BY_ELEMENT = frozenset(
    "reduce reduce-window sort scatter map select-and-scatter all-reduce reduce-scatter".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, and how often it runs in one run of the whole.

    ``kind`` and ``name`` are the type and the name of the op of TensorFlow's that it comes
    from, empty where the listing does not tell; ``target`` is what a custom call calls.
    ``turns`` is 1 outside of loops, and None inside one whose turns are not known; ``looped``
    says whether it stands in a loop, ``taken`` whether anything makes use of what it gives.
    Of a loop, ``trips`` are its own turns.
    """

    opcode: str
    kind: str = ""
    name: str = ""
    target: str = ""
    turns: int | None = 1
    looped: bool = False
    taken: bool = True
    trips: int | None = None


def instructions(listing: str) -> tuple[Instruction, ...]:
    """Every instruction that runs, once for each place that calls its computation."""
    entry, computations = _computations(listing)
    return tuple(_running(entry, computations, 1, False, frozenset()))


def _computations(listing: str) -> tuple[str, dict[str, list[str]]]:
    """The name of the first computation to run, and the lines of each."""
    entry, found, lines = "", dict[str, list[str]](), list[str]()
    for line in listing.splitlines():
        head = None if line[:1].isspace() else _HEAD.match(line)
        if head is not None:
            lines = found.setdefault(head[2], [])
            entry = head[2] if head[1] else entry
        elif line[:1].isspace():
            lines.append(line)
    return entry, found


def _running(
    name: str,
    computations: Mapping[str, Sequence[str]],
    turns: int | None,
    looped: bool,
    callers: frozenset[str],
) -> Iterator[Instruction]:
    if name in callers:  # no listing has circles; a text that is none might
        return
    lines = computations.get(name, ())
    operands = {word for line in lines for word in _OPERAND.findall(line.partition(" = ")[2])}
    for line in lines:
        found = _LINE.match(line)
        opcode = _OPCODE.search(found["rest"]) if found else None
        if found is None or opcode is None:
            continue
        rest, code = found["rest"], opcode[1]
        trips = _trips(rest) if code == "while" else None
        named, taken = dict(_NAMED.findall(rest)), bool(found["root"]) or found["name"] in operands
        yield Instruction(
            code, named.get("op_type", ""), named.get("op_name", ""),
            named.get("custom_call_target", ""), turns, looped, taken, trips,
        )  # fmt: skip
        inner, inside = turns, looped
        if code == "while":
            inside, inner = True, None if turns is None or trips is None else turns * trips
        for called in [] if code in _BY_ELEMENT else _called(rest):
            yield from _running(called, computations, inner, inside, callers | {name})


def _trips(line: str) -> int | None:
    told = _TURNS.search(line.replace(" ", ""))
    return int(told[1]) if told else None


def _called(line: str) -> Iterator[str]:
    for several, one in _CALLED.findall(line):
        for name in several.split(",") if several else [one]:
            yield name.strip().lstrip("%")
