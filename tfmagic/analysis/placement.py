"""What decided where each op ran, and what was copied between devices for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tfmagic.analysis.notation import device as short
from tfmagic.model import Op, Recording

__all__ = ["Copies", "Placement", "copies", "placements"]

_HANDLES = ("resource", "variant")


@dataclass(frozen=True, slots=True)
class Placement:
    """Why one op ran where it did.

    ``why`` is ``"scope"`` (a ``tf.device`` around it), ``"default"`` (the session's),
    ``"home"`` (what it reads or changes lives there: ``home`` is its name), ``"missing"`` (it
    was sent to a device that is not there), ``"no_kernel"`` (it was sent to one that cannot run
    it), ``"moved"`` (sent elsewhere, for a reason that TensorFlow does not tell), ``"only"``
    (there is no other), ``"chosen"`` (TensorFlow's own choice), ``"chosen_no_kernel"`` (its
    choice would be another device, which cannot run it), ``"chosen_host"`` (its choice, though
    another device could run it: small integers stay with the processor) or ``"unknown"``.
    """

    op: int
    device: str
    why: str
    sent: str = ""
    home: str = ""

    @property
    def astray(self) -> bool:
        """Whether it ran elsewhere than where it was sent, other than at its variable's home."""
        return self.why in ("missing", "no_kernel", "moved")


@dataclass(frozen=True, slots=True)
class Copies:
    """The tensors that were copied from one device to another for the ops there.

    TensorFlow keeps a copy as long as the tensor lives, so each counts once for each device
    that it went to.  ``size`` is in bytes.
    """

    source: str
    target: str
    count: int
    size: int
    lines: tuple[int, ...] = ()


def placements(recording: Recording) -> tuple[Placement, ...]:
    """The reason for every op, in the order they ran."""
    return tuple(_placement(recording, op) for op in recording.ops)


def _placement(recording: Recording, op: Op) -> Placement:
    sent = op.sent.removesuffix(":*")
    if sent and _same(sent, op.device):
        default = sent == recording.places.default
        return Placement(op.index, op.device, "default" if default else "scope", sent)
    home = _home(recording, op)
    if home is not None:
        return Placement(op.index, op.device, "home", sent, home)
    why = _astray(recording, op, sent) if sent else _chosen(recording, op)
    return Placement(op.index, op.device, why, sent)


def _same(sent: str, ran: str) -> bool:
    return ran == sent or ran.startswith(sent + ":")


def _home(recording: Recording, op: Op) -> str | None:
    """What an op reads or changes in place, and must go to; empty where it has no name."""
    for tensor in op.inputs:
        info = recording.tensors[tensor]
        if info.dtype in _HANDLES:
            known = recording.variables[info.variable] if info.variable is not None else None
            return (known.name or known.label) if known is not None else info.name
    return None


def _astray(recording: Recording, op: Op, sent: str) -> str:
    known = recording.places.devices
    if known and not any(_same(sent, name) for name in known):
        return "missing"
    if (op.type, _kind(sent)) in recording.places.no_kernel:
        return "no_kernel"
    return "moved"


def _chosen(recording: Recording, op: Op) -> str:
    known = recording.places.devices
    if not known or not op.device:
        return "unknown"
    if len(known) == 1:
        return "only"
    faster = {_kind(name) for name in known if name.startswith("/job:localhost/")} - {"CPU"}
    if _kind(op.device) != "CPU" or not faster:
        return "chosen"
    lacking = all((op.type, kind) in recording.places.no_kernel for kind in faster)
    return "chosen_no_kernel" if lacking else "chosen_host"


def _kind(name: str) -> str:
    return short(name).rpartition("/")[2].partition(":")[0]


def copies(recording: Recording) -> tuple[Copies, ...]:
    """What went from device to device, for each pair of them, in the order it began."""
    seen: set[tuple[int, str]] = set()
    found: dict[tuple[str, str], list[tuple[int, int | None]]] = {}
    for op in recording.ops:
        for tensor, source in _arriving(recording, op):
            if (tensor, op.device) not in seen:
                seen.add((tensor, op.device))
                size = recording.tensors[tensor].bytes
                found.setdefault((source, op.device), []).append((size, op.line))
    return tuple(
        Copies(
            source,
            target,
            len(moved),
            sum(size for size, _ in moved),
            tuple(dict.fromkeys(recording.lines[at].number for _, at in moved if at is not None)),
        )
        for (source, target), moved in found.items()
    )


def _arriving(recording: Recording, op: Op) -> Iterator[tuple[int, str]]:
    """The inputs of an op that lie on another device than it runs on, and where."""
    for tensor in op.inputs:
        info = recording.tensors[tensor]
        if op.device and info.device and info.device != op.device and info.dtype not in _HANDLES:
            yield tensor, info.device
