"""Training runs: found in an eager loop, told in a sentence, a table and a plot."""

from __future__ import annotations

import math
import warnings
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from tfmagic import language
from tfmagic.analysis.notation import spark
from tfmagic.analysis.runs import eager_runs, first_bad, layer_names
from tfmagic.model import (
    Cell,
    Gradient,
    GradientCall,
    Line,
    Recording,
    Run,
    Series,
    Stats,
    TensorInfo,
    Value,
)
from tfmagic.render import run
from tfmagic.render.report import Report


def figure(value: float) -> Value:
    nan, inf = int(math.isnan(value)), int(math.isinf(value))
    fine = None if nan or inf else value
    return Value(stats=Stats(1, 1, fine, fine, fine, fine and abs(fine), 0, nan, inf))


def loop(losses: list[float], norms: list[float | None], name: str = "w") -> Recording:
    tensors = tuple(
        TensorInfo(i, (), "float32", "CPU:0", name="Loss", value=figure(value))
        for i, value in enumerate(losses)
    )
    calls = tuple(
        GradientCall(
            i,
            "cell",
            ("Loss",),
            (i,),
            (Gradient("Loss", name, value=None if norm is None else figure(norm)),),
            line=0,
        )
        for i, norm in enumerate(norms)
    )
    made = Recording(
        tensors=tensors,
        lines=(Line(0, 0, 4, "g = t.gradient(Loss, w)"),),
        cells=(Cell(0, "In [1]"),),
        gradients=calls,
    )
    return replace(made, runs=eager_runs(made))


def test_an_eager_loop_is_a_run() -> None:
    (found,) = loop([3.0, 2.0, 1.0], [6.0, 4.0, 2.0]).runs
    assert found.loss.tolist() == [3.0, 2.0, 1.0]
    assert {n: v.tolist() for n, v in found.gradient_norm.items()} == {"w": [6.0, 4.0, 2.0]}
    assert (found.steps, found.line_number, found.first_bad) == (3, 4, None)
    assert run.sentence(found) == "Trained on line 4: 3 steps, Loss 3 → 1."


def test_two_calls_are_no_run() -> None:
    assert loop([2.0, 1.0], [2.0, 1.0]).runs == ()


def test_nan_and_infinity_are_told_with_their_step() -> None:
    (found,) = loop([3.0, math.nan, 1.0, 1.0], [6.0, math.nan, math.inf, 1.0]).runs
    (table,) = run.tables(found)
    assert [row.tone for row in table.rows] == ["bad", "bad"]
    assert table.rows[1].note == "NaN for the first time at step 2."
    assert table.rows[1].cells[1] == "█××▁"
    assert found.first_bad is not None
    assert (found.first_bad.step, found.first_bad.direction) == (2, "forward")
    assert run.sentence(found).startswith("NaN at step 2, first in the loss.")
    assert "<svg" in run.plot(found)


def test_a_long_course_keeps_its_trouble() -> None:
    values: list[float | None] = [float(i) for i in range(1000)]
    values[501] = math.nan
    thin = run.thinned(values)
    assert len(thin) == run.WIDEST
    assert sum(v is not None and math.isnan(v) for v in thin) == 1


# --- a run of layers ----------------------------------------------------------------------


def layered(bad: tuple[str, str] | None = None) -> Run:
    series = []
    for kind, names in {
        "loss": ["loss"], "gradient": ["k", "b"], "weight": ["k", "b"], "update": ["k", "b"],
        "mean": ["dense", "out"], "std": ["dense", "out"], "zeros": ["dense", "out"],
    }.items():  # fmt: skip
        for name in names:
            last = math.nan if bad == (kind, name) else 2.0
            series.append(Series(kind, name, (4.0, 3.0, last)))
    layers = (("dense", ("k", "b")), ("out", ()))
    told = Run("fit", 0, 7, 0, 3, 0.1, (1, 2, 3), tuple(series), layers=layers, epochs=(1, 3))
    return first_bad(told)


def test_a_row_a_layer_and_its_variables_on_request() -> None:
    (table,) = run.tables(layered())
    assert [row.cells[0] for row in table.rows] == ["loss", "dense", "out"]
    assert table.rows[1].cells[2:4] == ("5.657", "2.828")  # the norm over both variables
    assert "The data began anew 2 times: at steps 1, 3." in table.notes
    every = run.variables(layered())
    assert every is not None and [r.cells[0] for r in every.rows] == ["‖∇ k‖", "‖∇ b‖"]


@pytest.mark.parametrize(
    "bad, direction, layer",
    [
        (("weight", "k"), "update", "dense"),
        (("mean", "out"), "forward", "out"),
        (("loss", "loss"), "forward", ""),
        (("gradient", "b"), "backward", "dense"),
    ],
)
def test_where_the_first_bad_figure_stands(
    bad: tuple[str, str], direction: str, layer: str
) -> None:
    found = layered(bad).first_bad
    assert found is not None
    assert (found.step, found.direction, found.layer) == (3, direction, layer)


@pytest.mark.parametrize("spoken", ["en", "ko"])
@pytest.mark.parametrize("bad", [None, ("weight", "k"), ("mean", "out"), ("gradient", "b")])
def test_every_sentence_can_be_said(spoken: str, bad: tuple[str, str] | None) -> None:
    language.use(spoken)
    said = run.sentence(layered(bad))
    assert "7" in said and ("NaN" in said) is (bad is not None)


def test_layers_are_called_by_their_own_names() -> None:
    scopes = ["model_1/dense_1", "model_1/dense_1_1", "model_1/relu_1"]
    assert list(layer_names(scopes).values()) == ["dense", "dense_1", "relu"]
    assert layer_names(["a/x", "b/x"]) == {"a/x": "a/x", "b/x": "b/x"}


# --- drawn --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values, text",
    [([1, 2, 3], "▁▅█"), ([2, 2], "▄▄"), ([None, 1.0], "×▄"), ([], ""), ([math.inf], "×")],
)
def test_a_line_of_figures(values: list[float | None], text: str) -> None:
    assert spark(values) == text


@pytest.mark.parametrize("name", ["$x^2$", "_hidden", "<script>alert(1)</script>", "한글", "a\nb"])
def test_any_name_is_only_text_in_the_plot(name: str) -> None:
    (found,) = loop([3.0, 2.0, 1.0], [6.0, 4.0, 2.0], name).runs
    svg = run.plot(found)
    text = "".join(ElementTree.fromstring(svg).itertext())
    assert name.split("\n")[0][:8] in text
    assert "<script>" not in svg


@pytest.mark.parametrize("spoken", ["en", "ko"])
def test_the_report_has_table_and_plot_and_says_the_plot_in_words(spoken: str) -> None:
    language.use(spoken)
    report = Report(loop([3.0, 2.0, 1.0], [6.0, 4.0, 2.0]), graph=False)
    html = report.html()
    assert html.count("data:image/svg+xml") == 1
    assert "▁" in html
    assert "▁" in report.text()
    (found,) = report._recording.runs
    assert run.plot_description(found) in html
    assert ("3" in html) and ("Loss" in run.plot_description(found))


def test_a_plot_that_cannot_be_drawn_leaves_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> str:
        raise RuntimeError("no <fonts>")

    monkeypatch.setattr(run, "plot", fails)
    html = Report(loop([3.0, 2.0, 1.0], [6.0, 4.0, 2.0]), graph=False).html()
    assert "no &lt;fonts&gt;" in html
    assert "▁" in html


def test_a_plot_does_not_have_old_warnings_shown_again() -> None:
    def warned() -> None:
        warnings.warn_explicit("once", UserWarning, "cell", 1, registry=registry)

    registry: dict[object, object] = {}
    (found,) = loop([3.0, 2.0, 1.0], [6.0, 4.0, 2.0]).runs
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        warned()
        filters = list(warnings.filters)
        run.plot(found)
        warned()
        assert warnings.filters == filters
    assert len(shown) == 1
