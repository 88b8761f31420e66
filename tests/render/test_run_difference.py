"""Two training runs beside each other: where they part, and what made them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tfmagic import language
from tfmagic.analysis.run_difference import pairs, parting
from tfmagic.model import Run, Series
from tfmagic.render import run_difference

KINDS = ("loss", "gradient", "weight", "update", "mean", "std")


def made(**other: tuple[float, ...]) -> Run:
    """A run of three steps with one variable and two layers, some series other than usual."""
    series = [
        Series(kind, name, other.get(f"{kind}_{name}", (1.0, 2.0, 3.0)))
        for kind in KINDS
        for name in (("a", "b") if kind in ("mean", "std") else ("w",))
    ]
    return Run("f", None, 4, 0, 3, 1.0, (1, 2, 3), tuple(series))


@pytest.mark.parametrize(
    ("changed", "cause", "step"),
    [
        ({"weight_w": (1.5, 2.0, 3.0)}, "start", 1),
        ({"mean_a": (1.0, 2.5, 3.0), "mean_b": (1.0, 9.0, 3.0)}, "data", 2),
        ({"mean_b": (1.0, 2.5, 3.0), "loss_w": (1.0, 9.0, 3.0)}, "op", 2),
        ({"loss_w": (1.0, 2.0, 3.5), "gradient_w": (1.0, 2.0, 9.0)}, "loss", 3),
        ({"gradient_w": (1.0, 2.5, 3.0)}, "gradient", 2),
        ({"update_w": (2.0, 4.0, 6.0), "weight_w": (1.0, 9.0, 9.0)}, "rate", 1),
        ({"weight_w": (1.0, 2.0, 3.5)}, "weight", 3),
    ],
)
@pytest.mark.parametrize("lang", ["en", "ko"])
def test_what_differs_first_is_the_cause(
    changed: dict[str, tuple[float, ...]], cause: str, step: int, lang: str
) -> None:
    language.use(lang)
    found = parting(made(**changed), made())
    assert found is not None and (found.cause, found.step) == (cause, step)
    assert str(step) in run_difference.sentence(made(**changed), made()) or cause == "start"


def test_another_rate_is_told_by_how_much() -> None:
    found = parting(made(update_w=(2.0, 4.0, 6.0)), made())
    assert found is not None and found.ratio == pytest.approx(2.0)


def test_runs_that_are_the_same_and_runs_of_other_lengths() -> None:
    nothing = float("nan")
    assert parting(made(), made()) is None
    assert parting(made(loss_w=(nothing,) * 3), made(loss_w=(nothing,) * 3)) is None
    short = replace(
        made(),
        steps=1,
        numbers=(1,),
        series=tuple(replace(s, values=s.values[:1]) for s in made().series),
    )
    assert parting(made(), short) is None


def test_other_variables_are_another_model() -> None:
    more = replace(made(), series=(*made().series, Series("weight", "v", (1.0, 2.0, 3.0))))
    found = parting(more, made())
    assert found is not None and found.cause == "model"
    assert pairs((made(), more), (more, made())) == [(made(), made()), (more, more)]


def test_both_courses_stand_in_one_table_and_one_plot() -> None:
    table = run_difference.table(made(loss_w=(4.0, 2.0, 1.0)), made(), "<before>")
    assert table.rows[0].cells[2] == "1" and table.rows[0].cells[4] == "3"
    svg = run_difference.plot(made(), made(), "<before>")
    assert "&lt;before&gt;" in svg and "<before>" not in svg
