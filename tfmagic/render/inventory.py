"""``%tfvars``: the table of what is held, and the lesson on how a value becomes a tensor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tfmagic.analysis.notation import UNKNOWN_SIGN, bars, device, number, shape, size, value_lines
from tfmagic.language import say
from tfmagic.model.inventory import Change, Conversion, Holding, Inventory
from tfmagic.render import html, text
from tfmagic.render.escape import clipped, visible
from tfmagic.render.tables import Column, Row, Table

__all__ = ["ConversionView", "InventoryView", "change_of", "remarks"]

MOST = 200
_HOLDERS = ("module", "model", "layer", "optimizer", "metric")


class InventoryView:
    """An :class:`Inventory` as text and HTML; ``inventory`` is the data behind it."""

    def __init__(self, inventory: Inventory, notes: tuple[str, ...] = ()) -> None:
        self.inventory = inventory
        self.notes = notes

    def __repr__(self) -> str:
        return text.render(self._head(), self._tables(), self._notes())

    def mimebundle(self) -> dict[str, str]:
        """The table as ``text/plain`` and ``text/html``."""
        tables = map(html.table, self._tables())
        parts = [html.head(self._head()), *tables, html.notes(self._notes())]
        return {"text/plain": repr(self), "text/html": html.report(parts)}

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return self.mimebundle()

    def _tables(self) -> list[Table]:
        return [self.table()] if self.inventory.holdings else []

    def table(self) -> Table:
        """One row for each thing held."""
        held = self.inventory.holdings
        parts = say("vars.histogram_note") if any(h.bins for h in held) else ""
        columns = [
            Column(say("vars.name"), code=True),
            Column(say("vars.kind"), spare=5),
            Column(say("report.shape"), code=True),
            Column(say("report.dtype")),
            Column(say("report.value"), code=True),
            Column(say("vars.histogram"), code=True, spare=1, note=parts),
            Column(say("report.device"), spare=2),
            Column(say("vars.bytes"), "right", spare=4),
            Column(say("report.trainable"), spare=3),
        ]
        if self.inventory.since:
            columns.insert(5, Column(say("vars.change", cell=self.inventory.since), code=True))
        names = short_names(held, self.inventory.title)
        since = bool(self.inventory.since)
        rows = tuple(_row(h, name, since) for h, name in zip(held, names, strict=True))
        return Table(say("vars.caption"), tuple(columns), rows).head(MOST)

    def _head(self) -> str:
        found = self.inventory
        words = [say("vars.found", n=len(found.holdings))]
        if found.variables and not found.only:
            words.append(say("report.variables_read", n=found.variables))
            words.append(say("vars.parameters", n=found.parameters))
            words.append(size(found.bytes))
        return " · ".join([*([visible(found.title)] if found.title else []), *words])

    def _notes(self) -> list[str]:
        found, notes = self.inventory, list(self.notes)
        if not found.holdings:
            notes.insert(0, _nothing(found))
        if found.gone:
            notes.append(say("vars.gone", names=clipped(visible(", ".join(found.gone)), 300)))
        if found.uncompared:
            notes.append(say("vars.uncompared", n=found.uncompared))
        return notes


def _nothing(found: Inventory) -> str:
    name, only = clipped(visible(found.title), 80), clipped(visible(found.only), 80)
    if only:
        return say("vars.filter_nothing", given=only)
    return say("vars.nothing_in", name=name) if name else say("vars.nothing")


def short_names(held: Iterable[Holding], title: str) -> list[str]:
    """Each name without that of the row that it is a part of: a tree says that by itself."""
    above, names = [(-1, title)], []
    for each in held:
        while len(above) > 1 and not (
            each.depth > above[-1][0] and each.name.startswith(above[-1][1])
        ):
            above.pop()
        parent = above[-1][1]
        within = parent and each.name != parent and each.name.startswith(parent)
        names.append(each.name[len(parent) :].removeprefix(".") if within else each.name)
        above.append((each.depth, each.name))
    return names


def _row(held: Holding, name: str, compared: bool) -> Row:
    stats = held.value.stats
    broken = stats is not None and not stats.finite
    lost = held.change is not None and held.change.kind == "variable"
    cells = [
        "  " * held.depth + clipped(visible(name), 80),
        f"{say(f'vars.kind_{held.kind}')} ({visible(held.type)})"
        if held.kind in _HOLDERS
        else say(f"vars.kind_{held.kind}"),
        shape(held.shape),
        held.dtype or UNKNOWN_SIGN,
        _value(held),
        bars(held.bins) or UNKNOWN_SIGN,
        device(held.device) or UNKNOWN_SIGN,
        UNKNOWN_SIGN if held.bytes is None else size(held.bytes),
        UNKNOWN_SIGN
        if held.trainable is None
        else say("report.yes" if held.trainable else "report.no"),
    ]
    if compared:
        cells.insert(5, change_of(held.change))
    tone = "bad" if broken else "warn" if lost else ""
    note, called = " ".join(remarks(held)), clipped(visible(held.name), 80)
    return Row(tuple(cells), tone, note, name=called)


def _value(held: Holding) -> str:
    if held.kind in ("optimizer", "metric"):
        return UNKNOWN_SIGN
    if held.kind in _HOLDERS:
        return say("vars.parameters", n=held.parameters)
    lines = value_lines(held.value)
    if lines and held.kind not in ("ragged", "sparse", "slices"):
        return visible("\n".join(lines), lines=True)
    stats = held.value.stats
    if stats is None or stats.min is None:
        return UNKNOWN_SIGN
    if stats.min == stats.max and stats.finite and not stats.sampled:
        return say("vars.all", value=number(stats.min, 4))
    about = "≈ " if stats.sampled else ""
    span = f"{number(stats.min, 4)} … {number(stats.max, 4)}"
    return f"{about}{span}, μ = {number(stats.mean, 4)}"


def change_of(change: Change | None) -> str:
    """What became of a value, in one cell of a table."""
    if change is None:
        return UNKNOWN_SIGN
    if change.new:
        return say("vars.new")
    if change.kind:
        return say("vars.was", what=say(f"vars.kind_{change.kind}"))
    if change.shape is not None:
        return say("vars.was", what=shape(change.shape))
    if change.norm is None:
        return UNKNOWN_SIGN
    if not change.norm:
        return say("vars.unchanged")
    return f"‖Δ‖ {'≈' if change.sampled else '='} {number(change.norm, 3)}"


def remarks(held: Holding) -> Iterator[str]:
    """What else there is to say of one thing, each in one sentence."""
    stats = held.value.stats
    if stats is not None and stats.nan:
        yield say("vars.nan", n=stats.nan)
    if stats is not None and stats.inf:
        yield say("vars.inf", n=stats.inf)
    if held.same:
        yield say("vars.same", names=clipped(visible(", ".join(held.same)), 200))
    if held.shares:
        yield say("vars.shares", names=clipped(visible(", ".join(held.shares)), 200))
    if held.kind == "symbolic":
        yield say("vars.symbolic")
    if held.change is not None and held.change.sampled:
        yield say("vars.change_sampled")
    if held.note in ("sampled", "not_built"):
        yield say(f"vars.{held.note}")
    elif held.note:
        yield clipped(visible(held.note), 300)


class ConversionView:
    """A :class:`Conversion` as text and HTML."""

    def __init__(self, conversion: Conversion) -> None:
        self.conversion = conversion

    def __repr__(self) -> str:
        return text.render(self._head(), [], self._lines())

    def mimebundle(self) -> dict[str, str]:
        """The lesson as ``text/plain`` and ``text/html``."""
        parts = [html.head(self._head()), html.notes(self._lines())]
        return {"text/plain": repr(self), "text/html": html.report(parts)}

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return self.mimebundle()

    def _head(self) -> str:
        how = self.conversion
        given = f"{clipped(visible(how.expression), 80)}: {visible(how.type)}"
        return f"{given} → {how.dtype} {shape(how.shape)}" if how.dtype else given

    def _lines(self) -> list[str]:
        how = self.conversion
        lines = [say(f"vars.why_{how.rule}", dtype=how.dtype)]
        if how.error:
            lines.append(clipped(visible(how.error), 300))
        if how.lost:
            lines.append(say("vars.why_lost", lost=number(how.lost, 3)))
        if how.left:
            lines.append(say("vars.why_left", names=", ".join(map(visible, how.left))))
        if how.meets:
            lines.append(say("vars.why_meets", dtype=how.meets))
        elif how.refusal:
            detail = clipped(visible(how.refusal), 200)
            lines.append(say("vars.why_refused_product", detail=detail))
        if how.rule in ("tensor", "variable"):
            lines.append(say("vars.why_numpy"))
        elif how.dtype and how.rule != "packed":
            lines.append(say("vars.why_tape"))
        return lines
