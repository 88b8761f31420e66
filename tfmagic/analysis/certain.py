"""Causes of bad training that need no trial: what a run shows could not be so in a sound one."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

import numpy as np

from tfmagic.model import Recording, Run, Verdict

__all__ = ["certain"]

#: Steps in which something must be so before it counts.
_FEWEST = 8
#: Figures of single precision that differ by less than this are the same.
_SAME = 1e-3
#: Numbers from 0 to 1 spread by no more than a half around their mean.
_WIDEST = 0.5


def certain(recording: Recording, run: Run) -> Verdict | None:
    """The first cause that the run's own figures prove; None where they prove none."""
    return next(_proved(recording, run), None)


def _proved(recording: Recording, run: Run) -> Iterator[Verdict]:
    target = run.target or "loss"
    if run.first_bad is not None:
        if run.first_bad.direction == "data":
            values = (("step", str(run.first_bad.step)),)
            yield Verdict("nan_input", target, "", "", run.line_number, values=values)
        return
    yield from _unpaired(recording, run, target)
    if run.steps < _FEWEST:
        return
    pair = run.pairing
    if pair is not None and pair.kind == "unapplied":
        form = (("form", "unapplied"),)
        yield Verdict("not_updated", target, "", pair.line, pair.line_number, values=form)
    if pair is not None and pair.batches == "same" and len(run.epochs) == run.steps:
        told = (("form", "same"), ("steps", str(run.steps)))
        for node, name, text in _calls(recording):
            began = [a.func for a in node.args if isinstance(a, ast.Call)]
            if name == "next" and any(getattr(f, "id", "") == "iter" for f in began):
                yield Verdict("data_order", target, "", text, node.lineno, values=told)
    for layer in _silent(run):
        code = "bad_initialisation" if _starts_at_zero(run, layer) else "dead_relu"
        number, text = layer_line(recording, run, layer)
        yield Verdict(code, target, "", text, number, values=(("layer", layer),))
    last = _last_layer(run)
    if last and _constant(run, last):
        number, text = layer_line(recording, run, last)
        level = f"{run.mean[last][-1]:.4g}"
        told = (("layer", last), ("value", level))
        yield Verdict("wrong_last_activation", target, "", text, number, values=told)


def _unpaired(recording: Recording, run: Run, target: str) -> Iterator[Verdict]:
    """A loss that does not fit what it is given."""
    pair = run.pairing
    if pair is None:
        return
    number, text = loss_line(recording, run)
    if pair.torn:
        values = (("first", pair.torn[0]), ("second", pair.torn[1]))
        line, code = (pair.line_number, pair.line) if pair.line_number else (number, text)
        yield Verdict("broadcast", target, "", code, line, values=values)
    if pair.kind == "softmax_of_one" and (last := _last_layer(run)):
        number, text = layer_line(recording, run, last)
        told = (("layer", last), ("value", "1"))
        yield Verdict("wrong_last_activation", target, "", text, number, values=told)
    binary = pair.kind in ("sigmoid", "probability")
    if binary and pair.targets and (min(pair.targets) < 0 or max(pair.targets) > 1):
        values = (("low", f"{min(pair.targets):g}"), ("high", f"{max(pair.targets):g}"))
        if len(pair.targets) == 2:
            number, text = data_line(recording, run, 1)
            yield Verdict("label_encoding", target, "", text, number, values=values)
        else:
            yield Verdict("wrong_loss", target, "", text, number, values=values)
    elif pair.kind in ("softmax_of_softmax", "sigmoid_of_sigmoid"):
        yield Verdict("logits_mismatch", target, "twice", text, number)
    elif pair.kind == "probability" and (outside := _outside(run)):
        yield Verdict("logits_mismatch", target, "", text, number, values=(("value", outside),))


def _outside(run: Run) -> str:
    """What shows that the last layer's numbers lie outside 0 and 1, or empty."""
    last = _last_layer(run)
    for mean, std in zip(run.mean.get(last, ()), run.std.get(last, ()), strict=False):
        if mean < 0 or mean > 1 or std > _WIDEST + _SAME:
            return f"{mean:.3g} ± {std:.3g}"
    return ""


def _last_layer(run: Run) -> str:
    """The only layer with an output that no other takes; empty where there are several."""
    taken = {giver for giver, _ in run.flow}
    ends = [name for name in run.mean if name not in taken]
    return ends[0] if len(ends) == 1 and run.flow else ""


def _silent(run: Run) -> Iterator[str]:
    """Layers whose output is zero everywhere in every step, and whose weights get no gradient
    in any, though they are trained."""
    norms = run.gradient_norm
    for layer, names in run.layers:
        zeros = run.zeros.get(layer)
        mine = [norms[name] for name in names if name in norms]
        if zeros is None or not mine or not np.all(zeros == 1.0):
            continue
        if all(np.all(norm == 0.0) for norm in mine):
            yield layer


def _starts_at_zero(run: Run, layer: str) -> bool:
    names = dict(run.layers)[layer]
    weights = run.weight_norm
    return all(weights[name][0] == 0.0 for name in names if name in weights)


def _constant(run: Run, layer: str) -> bool:
    """Whether a layer gave the same number everywhere in every step, while what it takes
    differed and its weights moved."""
    mean, std = run.mean[layer], run.std[layer]
    level = abs(float(mean[0]))
    same = level > 0 and np.all(std <= _SAME * level) and np.ptp(mean) <= 1e-6 * level
    givers = [giver for giver, taker in run.flow if taker == layer]
    varied = any(np.all(run.std[giver] > _SAME) for giver in givers if giver in run.std)
    names = dict(run.layers).get(layer, ())
    weights = run.weight_norm
    moved = any(np.ptp(weights[name]) > 0 for name in names if name in weights)
    return bool(same and varied and moved)


# --- lines ---------------------------------------------------------------------------------


def _calls(recording: Recording) -> Iterator[tuple[ast.Call, str, str]]:
    """Every call that the recorded cells write, in order: its name, and its line's text."""
    for cell in recording.cells:
        try:
            tree = ast.parse(cell.source)
        except SyntaxError:
            continue
        lines = cell.source.split("\n")
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        for node in sorted(calls, key=lambda n: (n.lineno, n.col_offset)):
            name = getattr(node.func, "attr", "") or getattr(node.func, "id", "")
            yield node, name, lines[node.lineno - 1].strip()


def line_of(recording: Recording, wanted: Callable[[ast.AST], bool]) -> tuple[int, str] | None:
    """The first line of the latest recorded cell that writes what is wanted."""
    for cell in reversed(recording.cells):
        try:
            tree = ast.parse(cell.source)
        except SyntaxError:
            continue
        found = [node.lineno for node in ast.walk(tree) if wanted(node)]  # type: ignore[attr-defined]
        if found:
            return min(found), cell.source.split("\n")[min(found) - 1].strip()
    return None


def made_at(recording: Recording, variable: str) -> tuple[int, str] | None:
    """The line on which a variable got its first value."""
    for each in recording.variables:
        if each.name == variable and each.assigned_by:
            line = recording.ops[each.assigned_by[0]].line
            if line is not None:
                return recording.lines[line].number, recording.lines[line].text
    return None


def layer_line(recording: Recording, run: Run, layer: str) -> tuple[int, str]:
    """The line that makes a layer: the call of its class that is as manieth in the code as the
    layer is among its like; that of the run where there is none."""

    def stem(name: str) -> str:
        return re.sub(r"(_\d+)+$", "", name.rpartition("/")[2])

    def numbers(name: str) -> list[int]:
        return [int(number) for number in re.findall(r"_(\d+)", name.rpartition("/")[2])]

    # Keras counts layers of a class as they are made; a graph has them in any order
    alike = sorted((name for name in run.mean if stem(name) == stem(layer)), key=numbers)
    called = [
        (node.lineno, text)
        for node, name, text in _calls(recording)
        if re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower() == stem(layer)
    ]
    if layer not in alike:
        return run.line_number, ""
    if len(called) == len(alike):
        return called[alike.index(layer)]
    mine = dict(run.layers).get(layer, ())
    made = made_at(recording, mine[0]) if mine else None
    if made in called:  # as in a loop that adds layers
        return made
    return called[-1] if called and layer == alike[-1] else (run.line_number, "")


def loss_line(recording: Recording, run: Run) -> tuple[int, str]:
    """The line that chooses the loss: where a model is compiled; for an own loop that of the op
    in it; else that of the run."""
    if run.pairing is not None and run.pairing.line_number not in (0, run.line_number):
        return run.pairing.line_number, run.pairing.line
    found = [(node.lineno, text) for node, name, text in _calls(recording) if name == "compile"]
    return found[-1] if found else (run.line_number, "")


def data_line(recording: Recording, run: Run, place: int) -> tuple[int, str]:
    """The line that last gave a value to what the run's call takes in this place (inputs 0,
    targets 1); that of the run where it takes no name there."""
    cell = recording.cells[run.cell] if run.cell < len(recording.cells) else None
    try:
        tree = ast.parse(cell.source) if cell is not None else ast.Module([], [])
    except SyntaxError:
        return run.line_number, ""
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and n.lineno == run.line_number]
    named = [_names(node, place) for node in calls]
    name = next((n for n in named if n), "")
    made = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AugAssign) and node.lineno < run.line_number
        if name and any(_base(each) == name for each in _given(node))
    ]
    if not made or cell is None:
        return run.line_number, ""
    return max(made), cell.source.split("\n")[max(made) - 1].strip()


def _names(call: ast.Call, place: int) -> str:
    keyword = next((k.value for k in call.keywords if k.arg == "xy"[place]), None)
    value = call.args[place] if len(call.args) > place else keyword
    return _base(value) if value is not None and len(call.args) + len(call.keywords) > 1 else ""


def _given(node: ast.Assign | ast.AugAssign) -> list[ast.expr]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [e for t in targets for e in (t.elts if isinstance(t, ast.Tuple) else [t])]


def _base(node: ast.expr) -> str:
    """The name that an expression is a part of, as ``y`` of ``y[k:n]``; empty where it is none."""
    while isinstance(node, ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
