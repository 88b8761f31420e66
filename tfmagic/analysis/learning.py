"""Why a model does not learn: what trials show of a run.

A sign alone accuses nobody: a cause is named where the run did not learn, and the same steps
with that one thing changed did, by far.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from tfmagic.analysis.certain import certain, data_line, layer_line, line_of, made_at
from tfmagic.model import Recording, Run, Trial, Verdict

__all__ = ["explained", "stalled"]

#: A run whose loss fell to less than this share of the first needs no trial.
_FELL = 0.6
#: A trial must fall to this share of its own first loss, to this share of what the same steps
#: came to as they were, and of what the whole run came to.
_LEARNT, _BEATS = 0.8, 0.7
#: A loss that keeps this share of its first value has not fallen at all.
_STAYED = 0.97
#: Against the whole run a shorter trial need only be ahead; where that is far less, no run that
#: falls excuses it.
_NEARLY, _FAR = 0.9, 0.3
#: Steps that bring a loss below this share of its first value do well.
_WELL = 0.4
#: A loss that keeps this share of its first value has hardly fallen.
_HARDLY = 0.9
#: A loss that is as many times its first value has risen.
_ROSE = 1.5
#: Weights that moved by less than this share of themselves in all steps have not moved.
_UNMOVED = 0.02
#: As many steps must there be before it is asked why nothing was learned, and before the rate is
#: called too low.
_FEWEST, _LONG = 8, 32
#: Steps before it is said that a loss does not fall and nobody knows why.
_PATIENT = 40
#: Layers or variables that are named.
_NAMES = 3


def stalled(run: Run) -> bool:
    """Whether a run is worth a trial: its loss hardly fell, or is no number."""
    if run.first_bad is not None:
        return True
    first, last = _ends(run.loss)
    return run.steps >= _FEWEST and not last < _FELL * first


def _ends(losses: object) -> tuple[float, float]:
    """The loss at the beginning and at the end: each the median of a few steps."""
    every = np.asarray(losses, float)
    if not every.size:
        return float("nan"), float("nan")
    few = max(1, min(16, every.size // 6))
    last = float(np.median(every[-few:])) if np.isfinite(every[-few:]).all() else float("inf")
    return min(float(every[0]), float(np.median(every[: max(1, min(4, few))]))), last


def explained(recording: Recording, run: Run) -> Run:
    """The run with the verdict that its course or its trials bear out, or none."""
    if (sure := certain(recording, run)) is not None:
        return replace(run, verdicts=(*run.verdicts, sure))
    # of several that are trained by the same steps, as against each other, one may well rise
    alone = sum(each.line == run.line and each.compiled for each in recording.runs) < 2
    if not alone or not run.trials:
        return run
    found = next(_causes(recording, run), None)
    return replace(run, verdicts=(*run.verdicts, found)) if found is not None else run


def _causes(recording: Recording, run: Run) -> Iterator[Verdict]:
    """What the trials have shown, the likeliest first."""
    by_graph = [t for t in run.trials if t.own and _wins(recording, run, t)]
    own = next((t for t in run.trials if t.change == "as_it_is"), None)
    by_steps = list(_other_steps(recording, run, own)) if own is not None else []
    if own is not None and by_steps and by_graph:
        best = min(_ratio(t, t.own) for t in by_graph)
        # of changes that do about as well it is that of the graph, which tells more
        by_steps = [t for t in by_steps if _ratio(t, own.losses) < 0.3 * best]
    if by_steps and own is not None:
        least = min(_ends(t.losses)[1] for t in by_steps)
        near = [t for t in by_steps if _ends(t.losses)[1] <= 2.0 * least]
        yield _told(recording, run, own, min(near, key=_size))
    if by_graph:
        yield _told_of_graph(recording, run, min(by_graph, key=lambda t: _ratio(t, t.own)))
    if own is None or not stalled(run):
        return
    first, last = _ends(run.loss)
    short = run.steps < len(own.losses) and len(run.epochs) > 1 and last > _HARDLY * first
    if short and _ends(own.losses)[1] < _LEARNT * min(last, _ends(own.losses)[0]):
        # the same steps go on where the run ended: no rate is to blame
        yield _told(recording, run, own, own)
    elif by_steps or by_graph or run.first_bad is not None or not _begins(recording, run):
        return
    elif run.steps >= _PATIENT and last >= _STAYED * first > 0:
        values = (("n", str(len(run.trials) - 1)),)
        yield Verdict("not_known", run.target or "loss", "", values=values)


def _begins(recording: Recording, run: Run) -> bool:
    """Whether what a run trains was not trained before it."""
    for each in recording.runs:
        if each is run:
            break
        if run.gradient_norm.keys() & each.gradient_norm.keys():
            return False
    return True


def _ratio(trial: Trial, own: Sequence[float]) -> float:
    last, was = _ends(trial.losses)[1], _ends(own)[1]
    return last / was if was > 0 else 1.0


def _wins(recording: Recording, run: Run, trial: Trial) -> bool:
    """Whether a change of the graph beats the same steps as they were, and where both are measured
    alike the whole run too, by far; not where they did well by themselves."""
    first, last = _ends(trial.losses)
    whole = _ends(run.loss)[1] if trial.change not in ("no_penalty", "shuffled") else np.inf
    begin, own = _ends(trial.own)
    if trial.change == "learning" and _learned_before(recording, run, trial):
        return False
    return bool(
        last < _LEARNT * first
        and last < _BEATS * own
        and last < _NEARLY * whole
        and own > _WELL * begin
    )


def _learned_before(recording: Recording, run: Run, trial: Trial) -> bool:
    """Whether variables that a run leaves as they are were trained or loaded by something else."""
    others = {name for r in recording.runs if r is not run for name in r.gradient_norm}
    made = {v.name: len(v.assigned_by) for v in recording.variables}
    return any(name in others or made.get(name, 1) > 1 for name in trial.names)


def _other_steps(recording: Recording, run: Run, own: Trial) -> Iterator[Trial]:
    """The trials of other rates, signs and scales that learn where the run did not."""
    begin, whole = _ends(run.loss)
    same, flat = _ends(own.losses)[1], whole > _HARDLY * begin and _begins(recording, run)
    unmoved = own.value < _UNMOVED
    for trial in run.trials:
        first, last = _ends(trial.losses)
        turned = trial.change == "rate" and trial.value < 0
        if turned and whole > _ROSE * begin and last < _STAYED * first:
            yield trial  # uphill as it was, downhill with the sign turned
            continue
        if trial.change not in ("rate", "standardised") or last >= _LEARNT * first:
            continue
        if not last < _BEATS * min(whole, same):
            continue
        # a run that falls, or is short, or moves its weights, may be but slow
        faster = trial.change == "rate" and trial.value > 1
        if trial.change == "standardised":
            if last < _FAR * whole or (stalled(run) and run.steps >= _LONG):
                yield trial
        elif stalled(run) and (not faster or (flat and run.steps >= _LONG and unmoved)):
            yield trial


def _size(trial: Trial) -> float:
    if trial.change == "standardised":
        return 0.5
    return abs(float(np.log10(abs(trial.value)))) + (3.0 if trial.value < 0 else 0.0)


def _told(recording: Recording, run: Run, own: Trial, trial: Trial) -> Verdict:
    if trial is own:
        code = "too_few_steps"
    elif trial.change == "standardised":
        code = "input_scale"
    elif trial.value < 0:
        code = "lr_sign"
    else:
        code = "lr_too_high" if trial.value < 1 else "lr_too_low"
    line, text = run.line_number, ""
    if trial.change == "rate":
        line, text = _rate_line(recording, run)
    elif trial.change == "standardised":
        line, text = data_line(recording, run, 0)
    told = [
        ("times", f"{trial.value:g}"),
        ("steps", str(len(trial.losses))),
        ("first", f"{trial.losses[0]:.4g}"),
        ("last", f"{trial.losses[-1]:.4g}"),
        ("own", f"{own.losses[-1]:.4g}"),
        ("made", str(run.steps)),
    ]
    return Verdict(code, run.target or "loss", "", text, line, values=tuple(told))


_CODES = {
    "activation": "missing_activation",
    "relu": "saturated",
    "batch_mode": "batch_statistics",
    "no_penalty": "regularisation",
    "no_clip": "clipped_gradient",
    "learning": "not_updated",
    "redrawn": "bad_initialisation",
    "shuffled": "data_order",
}


def _told_of_graph(recording: Recording, run: Run, trial: Trial) -> Verdict:
    code, number, text = _CODES[trial.change], trial.line_number, trial.line
    if not 0 < number != run.line_number:
        number, text = _graph_line(recording, run, trial)
    frozen = line_of(recording, _freezes) if trial.change == "learning" else None
    if frozen is not None and run.compiled:
        code, (number, text) = "frozen", frozen
    told = [
        ("names", ", ".join(trial.names[:_NAMES])),
        ("steps", str(len(trial.losses))),
        ("first", f"{trial.losses[0]:.4g}"),
        ("last", f"{_ends(trial.losses)[1]:.4g}"),
        ("own", f"{_ends(trial.own)[1]:.4g}"),
    ]
    return Verdict(code, run.target or "loss", "", text, number, values=tuple(told))


def _graph_line(recording: Recording, run: Run, trial: Trial) -> tuple[int, str]:
    """The line that a change of the graph concerns, where the graph itself does not tell it."""
    found = None
    if trial.change in ("activation", "relu", "batch_mode"):
        found = layer_line(recording, run, trial.names[0])
    elif trial.change == "redrawn":
        home = {name: layer for layer, names in run.layers for name in names}
        found = layer_line(recording, run, home.get(trial.names[0], trial.names[0]))
    elif trial.change == "no_penalty":
        found = line_of(recording, _penalises)
    elif trial.change == "no_clip":
        found = line_of(recording, _clips)
    elif trial.change == "learning":
        found = made_at(recording, trial.names[0])
    return found or (run.line_number, "")


def _freezes(node: ast.AST) -> bool:
    """Whether ``trainable`` is set to False."""
    keyword = isinstance(node, ast.keyword) and node.arg == "trainable"
    set_to = isinstance(node, ast.Assign) and any(
        isinstance(t, ast.Attribute) and t.attr == "trainable" for t in node.targets
    )
    value = getattr(node, "value", None)
    return (keyword or set_to) and isinstance(value, ast.Constant) and value.value is False


def _penalises(node: ast.AST) -> bool:
    named = isinstance(node, ast.Attribute) and node.attr.lower() in ("l1", "l2", "l1l2", "l1_l2")
    given = isinstance(node, ast.keyword) and node.arg in ("weight_decay", "kernel_regularizer")
    return named or given


def _clips(node: ast.AST) -> bool:
    given = isinstance(node, ast.keyword) and node.arg in (
        "clipnorm", "clipvalue", "global_clipnorm", "epsilon",
    )  # fmt: skip
    return given or (isinstance(node, ast.Attribute) and node.attr.startswith("clip_by"))


def _rate_line(recording: Recording, run: Run) -> tuple[int, str]:
    """The line that sets the rate, where the recorded cells show it; else that of the run."""

    def sets(node: ast.AST) -> bool:
        given = isinstance(node, ast.keyword) and node.arg in ("learning_rate", "lr", "optimizer")
        return given or (isinstance(node, ast.Attribute) and node.attr == "optimizers")

    return line_of(recording, sets) or (run.line_number, "")
