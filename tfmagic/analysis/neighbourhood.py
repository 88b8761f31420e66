"""What is seen of the rest from inside a fold: the boxes beside it, and beside those around it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tfmagic.analysis.tree import Fold, Part

__all__ = ["Neighbourhood", "parents"]

Parents = Mapping[object, Fold]


def parents(folds: Iterable[Fold]) -> dict[object, Fold]:
    """The fold around each op, by its index, and around each fold, by its id."""
    return {
        (part if isinstance(part, int) else part.id): fold for fold in folds for part in fold.parts
    }


class Neighbourhood(Mapping[int, Part]):
    """For each op outside ``fold`` the box in which it is seen from there.

    Looked up op by op: a fold has few neighbours, and a recording any number of ops.
    """

    def __init__(self, fold: Fold, above: Parents, ops: int) -> None:
        self._fold = fold
        self._above = above
        self._count = ops - len(fold.ops)
        self._open = {fold.id}
        while (outer := above.get(fold.id)) is not None:
            self._open.add(outer.id)
            fold = outer

    def __getitem__(self, op: int) -> Part:
        part: Part = op
        outer = self._above[op]
        while outer.id not in self._open:
            part, outer = outer, self._above[outer.id]
        if outer.id == self._fold.id:
            raise KeyError(op)
        return part

    def __iter__(self) -> Iterator[int]:
        return (op for op in self._above if isinstance(op, int) and op in self)

    def __len__(self) -> int:
        return self._count
