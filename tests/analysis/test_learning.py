"""Why a run did not learn, from made-up runs and trials: what is said, and when nothing is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from tfmagic import language
from tfmagic.analysis.learning import explained, stalled
from tfmagic.model import Cell, Recording, Run, Series, Trial
from tfmagic.model.run import BadValue
from tfmagic.render import run as shown


def falling(first: float, last: float, steps: int = 40) -> tuple[float, ...]:
    return tuple(first * (last / first) ** (i / (steps - 1)) for i in range(steps))


def made(losses: Sequence[float], *trials: Trial, bad: bool = False) -> Run:
    return Run(
        "fit", 0, 3, 0, len(losses), 1.0, tuple(range(1, len(losses) + 1)),
        (Series("loss", "loss", tuple(losses)),), trials=trials,
        first_bad=BadValue(2) if bad else None, epochs=(1, 6),
    )  # fmt: skip


def story(*runs: Run) -> Recording:
    source = "opt = keras.optimizers.SGD(1.0)\nmodel.compile(opt, 'mse')\nmodel.fit(x, y)"
    return Recording(cells=(Cell(0, "In [1]", source),), runs=runs)


def code(run: Run) -> str:
    found = explained(story(run), run).verdicts
    return found[0].code if found else ""


FLAT, BROKEN = (2.0,) * 40, (2.0, math.nan)
OWN = Trial("as_it_is", 0.0, FLAT)


@pytest.mark.parametrize(
    "losses, trials, bad, expected",
    [
        (FLAT, [OWN, Trial("rate", 0.1, falling(2.0, 0.2))], False, "lr_too_high"),
        (FLAT, [OWN, Trial("rate", 100.0, falling(2.0, 0.2))], False, "lr_too_low"),
        (FLAT, [OWN, Trial("rate", -1.0, falling(2.0, 0.2))], False, "lr_sign"),
        (FLAT, [OWN, Trial("standardised", 0.0, falling(2.0, 0.2))], False, "input_scale"),
        (FLAT, [OWN, Trial("rate", 0.1, falling(2.0, 1.9))], False, "not_known"),
        (falling(2.0, 1.5), [OWN, Trial("rate", 0.1, falling(2.0, 1.4))], False, ""),
        (falling(2.0, 0.1), [OWN, Trial("rate", 0.1, falling(2.0, 0.0001))], False, ""),
        (BROKEN * 5, [Trial("as_it_is", 0.0, BROKEN), Trial("rate", 0.01, falling(2.0, 0.3))], True,
         "lr_too_high"),
        (falling(2.0, 1.9, 10), [Trial("as_it_is", 0.0, falling(2.0, 0.4))], False, "too_few_steps"),
        # a run that falls, or is short, may be but slow
        (falling(2.0, 1.6, 10), [Trial("as_it_is", 0.0, falling(2.0, 0.4))], False, ""),
        (falling(2.0, 1.5), [OWN, Trial("rate", 10.0, falling(2.0, 0.1))], False, ""),
        (FLAT[:10], [OWN, Trial("rate", 10.0, falling(2.0, 0.1))], False, ""),
        # with another graph
        (FLAT, [OWN, Trial("activation", 0.0, falling(2.0, 0.2), ("dense",), FLAT)], False,
         "missing_activation"),
        (falling(9.0, 1.8), [Trial("no_penalty", 0.0, falling(2.0, 0.2), ("w",), FLAT)], False,
         "regularisation"),
        (FLAT, [Trial("relu", 0.0, falling(2.0, 1.8), ("dense",), FLAT)], False, ""),
        (falling(2.0, 0.1), [Trial("learning", 0.0, falling(2.0, 0.01), ("w",), falling(2.0, 0.1))],
         False, ""),
        (FLAT, [Trial("learning", 0.0, falling(2.0, 0.01), ("w",), FLAT)], False, "not_updated"),
        (FLAT, [Trial("rate", 0.1, falling(2.0, 0.9)), OWN,
                Trial("redrawn", 0.0, falling(2.0, 0.8), ("w",), FLAT)], False,
         "bad_initialisation"),
    ],
)  # fmt: skip
def test_a_cause_is_named_where_its_trial_wins_by_far(
    losses: Sequence[float], trials: list[Trial], bad: bool, expected: str
) -> None:
    assert code(made(losses, *trials, bad=bad)) == expected


def test_of_rates_that_do_as_well_the_nearest_is_named() -> None:
    trials = [OWN, Trial("rate", 0.01, falling(2.0, 0.11)), Trial("rate", 0.1, falling(2.0, 0.1))]
    (verdict,) = explained(story(), made(FLAT, *trials)).verdicts
    assert dict(verdict.values)["times"] == "0.1"
    assert verdict.line_number == 1 and "SGD(1.0)" in verdict.line


def test_of_two_runs_that_pull_against_each_other_none_is_accused() -> None:
    run = made(FLAT, OWN, Trial("rate", 0.1, FLAT))
    assert explained(story(run, run), run).verdicts == ()


def test_a_run_that_learned_is_not_tried() -> None:
    assert not stalled(made(falling(2.0, 0.5)))
    assert stalled(made(FLAT)) and stalled(made(BROKEN, bad=True))
    assert not stalled(made(FLAT[:4]))


@pytest.mark.parametrize("spoken", ["en", "ko"])
@pytest.mark.parametrize("rate", [0.1, 10.0, -1.0])
def test_what_the_trial_gave_is_said(spoken: str, rate: float) -> None:
    language.use(spoken)
    run = made(FLAT, OWN, Trial("rate", rate, falling(2.0, 0.25)))
    said = shown.why(explained(story(), run))
    assert "0.25" in said and "2" in said and "40" in said
