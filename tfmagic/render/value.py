"""One tensor, variable or array on a card: what it is, its colours, its figures."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from tfmagic.analysis.notation import bars, device, number, percent, shape, size, value_lines
from tfmagic.language import say
from tfmagic.model import Stats
from tfmagic.model.inventory import Holding, Inventory
from tfmagic.render import heat, html, text
from tfmagic.render.escape import clipped, visible
from tfmagic.render.inventory import InventoryView, change_of, remarks
from tfmagic.render.tables import Column, Row, Table

__all__ = ["ValueView", "view_of"]


def view_of(inventory: Inventory, notes: tuple[str, ...] = ()) -> InventoryView:
    """A card where one value was looked at, else the table."""
    held = inventory.holdings
    single = inventory.alone and len(held) == 1 and held[0].value.stats is not None
    return (ValueView if single else InventoryView)(inventory, notes)


class ValueView(InventoryView):
    """An :class:`Inventory` of one value."""

    @property
    def held(self) -> Holding:
        """The one that is shown."""
        return self.inventory.holdings[0]

    def __repr__(self) -> str:
        return text.render(self._head(), [self.table()], self._notes())

    def mimebundle(self) -> dict[str, str]:
        """The card as ``text/plain`` and ``text/html``."""
        return {"text/plain": repr(self), "text/html": html.report(self._parts())}

    def _parts(self) -> Iterator[Markup]:
        yield html.head(self._head())
        if self.held.heat is not None:
            yield heat.picture(self.held.heat)
        yield html.table(self.table(coloured=self.held.heat is not None))
        yield html.notes(self._notes())

    def _head(self) -> str:
        held = self.held
        words = [
            clipped(visible(held.name), 80),
            say(f"vars.kind_{held.kind}"),
            shape(held.shape),
            held.dtype,
            device(held.device),
            "" if held.bytes is None else size(held.bytes),
            _trained(held.trainable),
        ]
        return " · ".join(word for word in words if word)

    def table(self, *, coloured: bool = False) -> Table:
        """The figures, in one row; the value too, unless it stands in coloured squares."""
        stats = self.held.value.stats
        assert stats is not None
        about = "≈ " if stats.sampled else ""
        lines = () if coloured else value_lines(self.held.value)
        cells = [("report.value", visible("\n".join(lines), lines=True))] if lines else []
        if stats.count > 1:
            cells += self._figures(stats, about)
        columns = [Column(say(key), code=True) for key, _ in cells]
        texts = [cell for _, cell in cells]
        if self.inventory.since:
            columns.append(Column(say("vars.change", cell=self.inventory.since), code=True))
            texts.append(change_of(self.held.change))
        return Table(say("heat.figures"), tuple(columns), (Row(tuple(texts)),))

    def _figures(self, stats: Stats, about: str) -> list[tuple[str, str]]:
        cells = [
            ("report.min", number(stats.min)),
            ("report.max", number(stats.max)),
            ("heat.mean", about + number(stats.mean)),
            ("report.norm", about + number(stats.norm)),
            ("report.zeros", about + percent(stats.zeros, stats.seen)),
        ]
        if self.held.bins:
            cells.append(("vars.histogram", bars(self.held.bins)))
        return cells

    def _notes(self) -> list[str]:
        return [*remarks(self.held), *self.notes]


def _trained(answer: bool | None) -> str:
    if answer is None:
        return ""
    return say("heat.trained") if answer else say("heat.not_trained")
