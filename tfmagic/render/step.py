"""The two layers as text and HTML: the neurons, the hand calculation, the loss over the steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from markupsafe import Markup

from tfmagic.analysis import formulas
from tfmagic.analysis.hand import Agreement, by_hand, compare
from tfmagic.analysis.notation import number, shape
from tfmagic.errors import RenderError
from tfmagic.language import say
from tfmagic.model.step import Formula, StepState
from tfmagic.render import html, text
from tfmagic.render.curves import loss_curve
from tfmagic.render.neurons import filled, legend, marks, skeleton
from tfmagic.render.tables import Column, Row, Table

__all__ = ["StepView", "agreement_line", "head_line"]

MOST_NODES, MOST_WEIGHTS = 12, 24


class StepView:
    """A state of the training, with the history that it belongs to."""

    def __init__(self, history: Sequence[StepState], at: int = -1, sample: int = 0) -> None:
        self.history = tuple(history)
        self.at = at % len(self.history)
        self.sample = sample
        self.state = self.history[self.at]
        self.hand = by_hand(self.state.base)

    def __repr__(self) -> str:
        return text.render(head_line(self.state), self.tables(), self._notes())

    def mimebundle(self) -> dict[str, str]:
        """The view as ``text/plain`` and ``text/html``."""
        parts = [html.head(head_line(self.state)), *self._pictures()]
        forward, *backward = self.tables()
        parts += [html.table(table) for table in backward]
        if len(self.history) > 1:
            steps = [state.step for state in self.history]
            curve = loss_curve(steps, [state.loss for state in self.history], self.at)
            parts.append(html.image(curve, say("step.curve_alt"), 420))
        parts.append(html.details(say("step.forward_caption"), html.table(forward)))
        parts.append(html.notes(self._notes()))
        return {"text/plain": repr(self), "text/html": html.report(parts)}

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return self.mimebundle()

    def tables(self) -> list[Table]:
        """The way forward and, as far as it was stepped to, the way back."""
        made = [self._forward()]
        if self.state.backward or self.state.updated:
            made.append(self._backward())
        return made

    def _pictures(self) -> Iterator[Markup]:
        try:
            picture = skeleton(self.state.network)
        except RenderError as error:
            yield html.alert(say("report.no_picture", detail=str(error)))
            return
        sizes = self.state.network.sizes
        alt = say("step.picture_alt", sizes=" → ".join(map(str, sizes)))
        drawn = filled(picture, marks(self.state, self.sample), alt)
        yield html.image(drawn, alt, _width(drawn))
        yield html.legend(legend(), [])

    def _forward(self) -> Table:
        network, state = self.state.base, self.state
        rows = []
        for layer, name in enumerate(("H_1", "Y_hat")):
            values = state.passed.H_1 if name == "H_1" else state.passed.Y_hat
            for i in range(min(len(values), MOST_NODES)):
                for line in formulas.forward(network, name, i, self.sample):
                    there = state.forward > layer
                    found = number(values[i, self.sample]) if line.name[0] != "Z" else ""
                    rows.append(_row(line, found if there else "?", there=there))
        there = state.forward > 2
        loss = number(state.passed.loss)
        rows.append(_row(formulas.loss(network), loss if there else "?", there=there))
        columns = (
            Column(say("step.node"), code=True),
            Column(say("step.by_hand"), code=True),
            Column(say("step.by_tensorflow"), "right"),
        )
        more = sum(max(0, count - MOST_NODES) for count in network.sizes[1:])
        return Table(say("step.forward_caption"), columns, tuple(rows), more=more)

    def _backward(self) -> Table:
        state, network = self.state, self.state.base
        done = state.network.backward_pieces[: state.backward]
        known = [(name, values) for name, values in network.parameters() if f"d{name}" in done]
        places = ((name, index) for name, values in known for index in np.ndindex(values.shape))
        rows = [self._weight(name, index) for name, index in islice(places, MOST_WEIGHTS)]
        more = sum(values.size for _, values in known) - len(rows)
        columns = (
            Column(say("step.weight"), code=True),
            Column(say("report.value"), "right"),
            Column(say("step.gradient_by_hand"), code=True),
            Column(say("step.by_tape"), "right"),
            Column(say("step.after", lr=number(state.lr)), "right", spare=1),
        )
        return Table(say("step.backward_caption"), columns, tuple(rows), more=more)

    def _weight(self, name: str, index: tuple[int, ...]) -> Row:
        """Value, gradient by hand and by the tape, and where a step would take it."""
        network, passed = self.state.base, self.state.passed
        line = formulas.gradient(network, name, (index[0], index[1]))
        value, slope = getattr(network, name)[index], getattr(passed, f"d{name}")[index]
        after = float(value) - self.state.lr * float(slope)
        what = line.name.partition("/∂")[2]
        return Row((what, number(value), _written(line), number(slope), number(after)))

    def _notes(self) -> list[str]:
        notes = [agreement_line(compare(self.state.base, self.state.passed, self.hand))]
        network = self.state.network
        if network.samples > 1:
            count = network.samples
            notes.append(say("step.sample_note", sample=self.sample, n=count, last=count - 1))
        if network.activation != ("linear", "linear"):
            notes.append(say("step.activations", first=network.activation[0],
                             second=network.activation[1]))  # fmt: skip
        return notes


def head_line(state: StepState) -> str:
    """Sizes, step, loss and rate on one line."""
    known = state.forward > 2 or state.updated
    line = say("step.head", step=state.step, loss=number(state.loss) if known else "?",
               lr=number(state.lr))  # fmt: skip
    shapes = " · ".join(f"{name} {shape(value.shape)}" for name, value in
                        state.network.parameters())  # fmt: skip
    return f"{line} · {shapes}"


def agreement_line(found: Agreement) -> str:
    """Whether tape and hand calculation agree, and how far they are apart."""
    if not found.finite:
        return say("step.not_comparable")
    key = "step.agree" if found.holds else "step.disagree"
    return say(key, difference=number(found.difference, 2), where=found.where)


def _row(line: Formula, found: str, *, there: bool) -> Row:
    steps = line.steps[:2] if not there else line.steps
    return Row((line.name, " = ".join(steps[:1]) if not there else " = ".join(steps), found))


def _written(line: Formula) -> str:
    """Symbols, then numbers; each way to the loss on a line of its own."""
    if len(line.terms) < 2:
        return f"{line.steps[-3]}\n= {line.steps[-2]} = {line.steps[-1]}"
    symbols = [" · ".join(factor.symbol for factor in way) for way in line.terms]
    figures = [" · ".join(formulas.signed(factor.value) for factor in way) for way in line.terms]
    rest = f" + … ({say('step.more_nodes', n=line.more)})" if line.more else ""
    written = ("\n+ ".join(symbols), "= " + "\n+ ".join(figures))
    return "\n".join((*(part + rest for part in written), f"= {line.steps[-1]}"))


def _width(svg: str) -> int:
    import re

    found = re.search(r'<svg[^>]*? width="([0-9.]+)pt', svg)
    return round(float(found[1]) * 96 / 72) if found else 600
