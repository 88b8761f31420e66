"""Why a model does not learn: what trials show of a run.

A sign alone accuses nobody: a cause is named where the run did not learn, and the same steps
with that one thing changed did, by far.
"""

from __future__ import annotations

import ast
from dataclasses import replace

import numpy as np

from tfmagic.model import Recording, Run, Trial, Verdict

__all__ = ["explained", "stalled"]

#: A loss that keeps more of its first value than this has not fallen; a trial must fall to this
#: share of its own first loss, and to so much less than the run as it was.
_FELL, _LEARNT, _BEATS = 0.9, 0.75, 0.7
#: As many steps must there be before it is asked why nothing was learned.
_FEWEST = 8


def stalled(run: Run) -> bool:
    """Whether a run is worth a trial: its loss did not fall, or is no number."""
    return run.first_bad is not None or (run.steps >= _FEWEST and _kept(run.loss) > _FELL)


def _kept(losses: object) -> float:
    """The share of the first loss that is left at the end: each the median of a few steps."""
    every = np.asarray(losses, float)
    if not every.size or not np.isfinite(every).all():
        return float("inf")
    few = max(1, min(8, every.size // 5))
    first = float(np.median(every[:few]))
    return float(np.median(every[-few:])) / first if first > 0 else float("nan")


def explained(recording: Recording, run: Run) -> Run:
    """The run with the verdict that its trials bear out, or none."""
    as_it_is = next((t for t in run.trials if t.change == "as_it_is"), None)
    if as_it_is is None or not stalled(run):
        return run
    own = _kept(as_it_is.losses)
    tried = [(_kept(trial.losses), trial) for trial in run.trials if trial is not as_it_is]
    good = [(kept, t) for kept, t in tried if kept < _LEARNT and kept < _BEATS * own]
    if not good or own < _FELL:
        return run
    best = min(kept for kept, _ in good)
    # of those that do about as well the one that changes least
    near = [(kept, t) for kept, t in good if kept <= max(2.0 * best, best + 0.02)]
    kept, trial = min(near, key=lambda pair: _size(pair[1]))
    verdict = _verdict(recording, run, as_it_is, trial)
    return replace(run, verdicts=(*run.verdicts, verdict)) if verdict is not None else run


def _size(trial: Trial) -> float:
    if trial.change == "standardised":
        return 0.5
    return abs(float(np.log10(abs(trial.value)))) + (3.0 if trial.value < 0 else 0.0)


def _verdict(recording: Recording, run: Run, own: Trial, trial: Trial) -> Verdict | None:
    if trial.change == "standardised":
        code = "input_scale"
    elif trial.value < 0:
        code = "lr_sign"
    else:
        code = "lr_too_high" if trial.value < 1 else "lr_too_low"
    line, text = _rate_line(recording, run) if trial.change == "rate" else (run.line_number, "")
    told = [
        ("times", f"{trial.value:g}"),
        ("steps", str(len(trial.losses))),
        ("first", f"{trial.losses[0]:.4g}"),
        ("last", f"{trial.losses[-1]:.4g}"),
        ("own", f"{own.losses[-1]:.4g}"),
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
            if isinstance(node, ast.keyword) and node.arg in ("learning_rate", "lr", "optimizer")
            or isinstance(node, ast.Attribute) and node.attr == "optimizers"
        ]
        if found:
            return found[0], cell.source.split("\n")[found[0] - 1].strip()
    return run.line_number, ""
