"""An inventory in another order, or a part of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tfmagic.errors import OptionError

if TYPE_CHECKING:  # the orders are named by an option of a magic: loading that builds no model
    from tfmagic.model.inventory import Holding, Inventory

ORDERS: dict[str, Callable[[Holding], Any]] = {
    "name": lambda held: held.name,
    "kind": lambda held: (held.kind, held.name),
    "dtype": lambda held: (held.dtype, held.name),
    "bytes": lambda held: -(held.bytes or 0),
    "change": lambda held: -_moved(held),
}


def _moved(held: Holding) -> float:
    """How far it moved; what is new or of another kind or shape comes before all others."""
    change = held.change
    if change is None:
        return 0.0
    if change.new or change.kind or change.shape is not None:
        return math.inf
    return change.norm or 0.0


def arranged(inventory: Inventory, sort: str = "", only: str = "") -> Inventory:
    """The holdings sorted by ``sort`` and with ``only`` in their name, kind or dtype.

    Raises :class:`OptionError` for an order that is none.  The totals stay those of all.
    """
    if sort and sort not in ORDERS:
        raise OptionError("vars.sort_unknown", given=sort, known=", ".join(ORDERS))
    word = only.lower()
    held = [
        h
        for h in inventory.holdings
        if any(word in part.lower() for part in (h.name, h.kind, h.type, h.dtype))
    ]
    if sort:
        held = sorted((replace(h, depth=0) for h in held), key=ORDERS[sort])
    return replace(inventory, holdings=tuple(held), only=only)
