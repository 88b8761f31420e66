"""Which forward op a backward op belongs to, and which tensor is whose gradient.

TensorFlow differentiates op by op, last op first, and each turn was heard.  A turn
names its op by the tensors it still holds; where it holds none, the gradients tell:
what comes into a turn is the gradient of an output of the op whose turn it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from tfmagic.runtime.capture.log import Call, Differentiated, Entry


class Linker:
    """Works through the gradient calls of a settled log, in their order.

    ``entries`` may grow from call to call; each is met before a call that has to do with it.
    ``forward`` pairs the position of a backward entry with that of its forward entry.
    """

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = entries
        self._maker: dict[int, int] = {}
        self._by_input: dict[tuple[str, int], list[int]] = defaultdict(list)
        self.forward: dict[int, int] = {}
        self._gradients: dict[int, int] = {}

    def meet(self, position: int, entry: Entry) -> None:
        """Note who made and who took the tensors of an entry."""
        for key in entry.outputs:
            self._maker[key] = position
        for key in entry.inputs:
            self._by_input[entry.type, key].append(position)

    def take_gradients(self) -> dict[int, int]:
        """Id of a forward tensor → id of its gradient, by the calls that were followed since."""
        found, self._gradients = self._gradients, {}
        return found

    def follow(self, call: Call) -> None:
        """Link the backward ops of one call."""
        self._meaning: dict[int, set[int]] = defaultdict(set)
        self._done: set[int] = set()
        self._tensor_of: dict[int, int] = {}
        self._targets = [leaf.key for leaf in call.target if leaf.key is not None]
        own: set[int] = set()
        sums = self._sums(call)
        for turn in call.turns:
            while sums and sums[0] < turn.start:
                self._add(sums.pop(0))
            self._turn(turn)
            own.update(range(turn.start, turn.end))
        for position in sums:
            self._add(position)
        self._rest(call, own)

    def _sums(self, call: Call) -> list[int]:
        """Positions of the additions of gradients that reach a tensor by several ways."""
        inside: set[int] = set()
        for turn in call.turns:
            inside.update(range(turn.start, turn.end))
        return [
            position
            for position in range(call.start, call.end)
            if position not in inside and self._entries[position].type in ("AddN", "AddV2")
        ]

    def _add(self, position: int) -> None:
        entry = self._entries[position]
        meanings = [self._meaning[key] for key in entry.inputs if key in self._meaning]
        if not meanings:
            return
        common = set.intersection(*meanings) or set.union(*meanings)
        common -= {t for t in common if self._maker.get(t) in self._done}  # those are final
        for key in entry.outputs:
            self._meaning[key] |= common
            for tensor in common:
                self._is_gradient(key, tensor)

    def _turn(self, turn: Differentiated) -> None:
        position = self._find(turn)
        if position is None:
            return
        self._done.add(position)
        entry = self._entries[position]
        for backward in range(turn.start, turn.end):
            self.forward[backward] = position
        for tensor, key in zip(entry.outputs, turn.incoming, strict=False):
            if key is not None:
                self._is_gradient(key, tensor)
        for tensor, key in zip(entry.inputs, turn.outgoing, strict=False):
            if key is not None:
                self._meaning[key].add(tensor)
                self._is_gradient(key, tensor)

    def _is_gradient(self, key: int, tensor: int) -> None:
        self._gradients[tensor] = key
        self._tensor_of[key] = tensor

    def _find(self, turn: Differentiated) -> int | None:
        made = {self._maker[k] for k in turn.outputs or () if k in self._maker}
        if made:
            return self._best(made, turn)
        found = self._best(self._by_gradient(turn), turn)
        if found is None:
            found = self._best(self._by_inputs(turn), turn)
        if found is None:
            found = self._best({self._maker[k] for k in self._targets if k in self._maker}, turn)
        return found

    def _by_gradient(self, turn: Differentiated) -> set[int]:
        return {
            self._maker[tensor]
            for key in turn.incoming
            if key is not None
            for tensor in self._meaning.get(key, ())
            if tensor in self._maker
        }

    def _by_inputs(self, turn: Differentiated) -> Iterable[int]:
        """Ops of the type that took these inputs; a constant is taken by many, so the
        input with the fewest takers is asked."""
        takers = (
            self._by_input.get((turn.type, key), []) for key in turn.inputs or () if key is not None
        )
        return min(takers, key=len, default=[])

    def _best(self, candidates: Iterable[int], turn: Differentiated) -> int | None:
        fitting = [p for p in candidates if self._fits(self._entries[p], turn)]
        fresh = [p for p in fitting if p not in self._done]
        return max(fresh or fitting, default=None)

    @staticmethod
    def _fits(entry: Entry, turn: Differentiated) -> bool:
        if entry.type != turn.type:
            return False
        pairs = (
            *zip(entry.inputs, turn.inputs or (), strict=False),
            *zip(entry.outputs, turn.outputs or (), strict=False),
        )
        return all(told is None or own == told for own, told in pairs)

    def _rest(self, call: Call, own: set[int]) -> None:
        """Backward entries outside every turn: seeds, sums and whole functions.

        They belong to the forward op whose output's gradient they make.
        """
        for position in range(call.start, call.end):
            if position in own or position in self.forward:
                continue
            for key in self._entries[position].outputs:
                tensor = self._tensor_of.get(key)
                if tensor is not None and tensor in self._maker:
                    self.forward[position] = self._maker[tensor]
                    break
