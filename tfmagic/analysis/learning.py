"""Why a model does not learn: what trials show of a run.

A sign alone accuses nobody: a cause is named where the run did not learn, and the same steps
with that one thing changed did, by far.
"""

from __future__ import annotations

import ast
from dataclasses import replace

import numpy as np

from tfmagic.analysis.certain import certain, data_line
from tfmagic.model import Recording, Run, Trial, Verdict

__all__ = ["explained", "stalled"]

#: A run whose loss fell to less than this share of the first needs no trial.
_FELL = 0.6
#: A trial must fall to this share of its own first loss, to this share of what the same steps
#: came to as they were, and of what the whole run came to.
_LEARNT, _BEATS = 0.8, 0.7
#: A loss that keeps this share of its first value has not fallen at all.
_STAYED = 0.97
#: As many steps must there be before it is asked why nothing was learned.
_FEWEST = 8


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
    own = next((t for t in run.trials if t.change == "as_it_is"), None)
    if own is None or not stalled(run):
        return run
    whole, same = _ends(run.loss)[1], _ends(own.losses)[1]
    if len(own.losses) > run.steps and same < _LEARNT * min(whole, _ends(own.losses)[0]):
        # the same steps go on where the run ended: no rate is to blame
        return replace(run, verdicts=(*run.verdicts, _told(recording, run, own, own)))
    good = []
    for trial in run.trials:
        first, last = _ends(trial.losses)
        if trial is not own and last < _LEARNT * first and last < _BEATS * min(whole, same):
            good.append((last, trial))
    if not good:
        first = _ends(run.loss)[0]
        alone = len(recording.runs) == 1 and run.first_bad is None  # of two, one may well rise
        if not alone or not whole >= _STAYED * first > 0:
            return run
        values = (("n", str(len(run.trials) - 1)),)
        unknown = Verdict("not_known", run.target or "loss", "", values=values)
        return replace(run, verdicts=(*run.verdicts, unknown))
    best = min(last for last, _ in good)
    # of those that do about as well the one that changes least
    near = [trial for last, trial in good if last <= 2.0 * best]
    told = _told(recording, run, own, min(near, key=_size))
    return replace(run, verdicts=(*run.verdicts, told))


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


def _rate_line(recording: Recording, run: Run) -> tuple[int, str]:
    """The line that sets the rate, where the recorded cells show it; else that of the run."""
    for cell in reversed(recording.cells):
        try:
            tree = ast.parse(cell.source)
        except SyntaxError:
            continue
        found = [
            node.lineno
            for node in ast.walk(tree)
            if (isinstance(node, ast.keyword) and node.arg in ("learning_rate", "lr", "optimizer"))
            or (isinstance(node, ast.Attribute) and node.attr == "optimizers")
        ]
        if found:
            return found[0], cell.source.split("\n")[found[0] - 1].strip()
    return run.line_number, ""
