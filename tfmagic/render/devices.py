"""``%tfdevice``: the table of devices, and their memory as a plot."""

from __future__ import annotations

from collections.abc import Iterator

from tfmagic.analysis.notation import UNKNOWN_SIGN, duration, size
from tfmagic.analysis.notation import device as short
from tfmagic.language import say
from tfmagic.model.device import Device, Devices, Policy
from tfmagic.render import html, plots, text
from tfmagic.render.escape import clipped, visible
from tfmagic.render.palette import INK
from tfmagic.render.tables import Column, Row, Table

__all__ = ["DevicesView", "restart_cell"]

_CODES = ("not_started", "remote", "dead")
_SHARED = {"CPU": "cores"}
_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))
_USED, _PEAK = "#2b6cb0", "#9cc3e8"


class DevicesView:
    """A :class:`Devices` as text and HTML; ``devices`` is the data behind it.

    With ``plot`` the HTML has the memory of each device as bars, too.
    """

    def __init__(self, devices: Devices, *, plot: bool = False) -> None:
        self.devices = devices
        self.plot = plot

    def __repr__(self) -> str:
        return text.render(self._head(), [self.table()], self._notes())

    def mimebundle(self) -> dict[str, str]:
        """The table as ``text/plain`` and ``text/html``."""
        parts = [html.head(self._head()), html.table(self.table())]
        if self.plot and self._measured():
            what = "; ".join(_told(device) for device in self._measured())
            parts.append(html.image(self.svg(), say("device.plot_alt", what=what), 640))
        parts.append(html.notes(self._notes()))
        return {"text/plain": repr(self), "text/html": html.report(parts)}

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return self.mimebundle()

    def table(self) -> Table:
        """One row for each device."""
        columns = (
            Column(say("device.device"), code=True),
            Column(say("device.hardware")),
            Column(say("device.used"), "right"),
            Column(say("device.peak"), "right", spare=1),
            Column(say("device.limit"), "right", spare=2),
            Column(say("device.variables"), "right"),
        )
        rows = tuple(_row(device) for device in self.devices.devices)
        return Table(say("device.caption"), columns, rows)

    def svg(self) -> str:
        """Used and peak memory of each device that tells it, as bars."""
        shown = self._measured()
        most = max(device.peak or 0 for device in shown)
        unit, scale = next((u for u in _UNITS if most >= u[1]), _UNITS[-1])
        drawn = plots.figure(6.4, 0.9 + 0.35 * len(shown))
        axes = drawn.add_subplot()
        plots.calm(axes)
        names = [_name(device) for device in shown]
        peaks = [(device.peak or 0) / scale for device in shown]
        used = [(device.used or 0) / scale for device in shown]
        axes.barh(names, peaks, color=_PEAK, label=say("device.peak"))
        axes.barh(names, used, color=_USED, label=say("device.used"), height=0.45)
        axes.invert_yaxis()
        axes.set_xlim(0, max(1.0, 1.05 * max(peaks + used)))
        axes.set_xlabel(say("device.plot_axis", unit=unit), color=INK)
        axes.legend(frameon=False, labelcolor=INK, loc="upper left", bbox_to_anchor=(1, 1))
        return plots.svg(drawn)

    def _measured(self) -> list[Device]:
        return [device for device in self.devices.devices if device.used is not None]

    def _head(self) -> str:
        count = say("device.found", n=len(self.devices.devices))
        default = self.devices.default
        if not default:
            return f"{count} · {say('device.default_auto')}"
        return f"{count} · {say('device.default_is', device=visible(short(default)))}"

    def _notes(self) -> list[str]:
        return [visible(note) for note in _notes(self.devices, self.plot and not self._measured())]


def restart_cell(options: str) -> dict[str, str]:
    """The first cell after a restart: the settings, while there is still time for them."""
    cell = f"%load_ext tfmagic\n%tfdevice {visible(options)}"
    parts = [html.notes([say("device.restart")]), html.code(cell)]
    return {
        "text/plain": f"{say('device.restart')}\n\n{cell}\n",
        "text/html": html.report(parts),
    }


def _row(device: Device) -> Row:
    name = _name(device)
    if device.default:
        name += f" ◀ {say('device.is_default')}"
    holds = say("device.holds", n=device.variables, size=size(device.variable_bytes))
    return Row(
        (
            name,
            clipped(visible(_hardware(device)), 80) or UNKNOWN_SIGN,
            _memory(device, device.used),
            UNKNOWN_SIGN if device.peak is None else size(device.peak),
            UNKNOWN_SIGN if device.limit is None else size(device.limit),
            holds if device.variables else "0",
        ),
        tone="bad" if device.alive is False else "",
    )


def _name(device: Device) -> str:
    """The name as ``tf.device`` takes it."""
    name = short(device.name)
    return visible(device.name if "/" in name else name)


def _hardware(device: Device) -> str:
    parts = [device.hardware, device.address]
    if device.round_trip is not None:
        parts.append(say("device.round_trip", time=duration(device.round_trip)))
    if device.capability:
        parts.append(say("device.compute", capability=device.capability))
    if device.cores:
        key = "device.cores_shared" if device.sharing > 1 else "device.cores"
        parts.append(say(key, n=device.cores))
    return " · ".join(part for part in parts if part)


def _memory(device: Device, amount: int | None) -> str:
    if amount is not None:
        return size(amount)
    return say(f"device.memory_{device.unknown}") if device.unknown in _CODES else UNKNOWN_SIGN


def _sharing(devices: Devices) -> Iterator[str]:
    """Which devices are the same hardware under several names."""
    for kind in dict.fromkeys(device.kind for device in devices.devices):
        names = [short(d.name) for d in devices.devices if d.kind == kind and d.sharing > 1]
        if names:
            yield say(f"device.sharing_{_SHARED.get(kind, 'memory')}", names=", ".join(names))


def _notes(devices: Devices, nothing_to_plot: bool) -> Iterator[str]:
    policy = devices.policy
    yield " · ".join(_policy(policy))
    if not policy.started:
        yield say("device.not_started")
    elif any(device.kind == "CPU" and device.used is not None for device in devices.devices):
        yield say("device.cpu_limit")
    for device in devices.devices:
        if device.used is None and device.unknown not in _CODES and device.unknown:
            yield say("device.memory_failed", device=_name(device), detail=device.unknown)
    yield from _sharing(devices)
    if devices.elsewhere:
        yield say("device.elsewhere", n=devices.elsewhere)
    if nothing_to_plot:
        yield say("device.plot_nothing")


def _policy(policy: Policy) -> Iterator[str]:
    yield say("device.soft_on" if policy.soft else "device.soft_off")
    if policy.growth:
        yield say("device.growth", devices=", ".join(policy.growth))
    if policy.jit:
        yield say("device.jit")
    if policy.intra_threads or policy.inter_threads:
        counts = (n or "auto" for n in (policy.intra_threads, policy.inter_threads))
        intra, inter = counts
        yield say("device.threads", intra=intra, inter=inter)


def _told(device: Device) -> str:
    return (
        f"{_name(device)}: {size(device.used or 0)} ({say('device.peak')} {size(device.peak or 0)})"
    )
