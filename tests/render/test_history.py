"""A training loop's gradients as one course: figures, table, plot."""

from __future__ import annotations

import math
import warnings
import xml.etree.ElementTree as ElementTree

import pytest

from tfmagic import language
from tfmagic.analysis.history import histories
from tfmagic.analysis.notation import spark
from tfmagic.model import (
    Cell,
    Gradient,
    GradientCall,
    Line,
    Recording,
    Stats,
    TensorInfo,
    Value,
)
from tfmagic.render import history
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
    return Recording(
        tensors=tensors,
        lines=(Line(0, 0, 4, "g = t.gradient(Loss, w)"),),
        cells=(Cell(0, "In [1]"),),
        gradients=calls,
    )


def test_the_course_of_target_and_gradients() -> None:
    (found,) = histories(loop([3.0, 2.0, 1.0], [6.0, 4.0, 2.0]))
    assert found.target is not None
    assert found.target.values == (3.0, 2.0, 1.0)
    assert [(c.name, c.values) for c in found.gradients] == [("w", (6.0, 4.0, 2.0))]
    assert found.steps == 3
    assert found.gradients[0].first_trouble is None


def test_two_calls_are_no_history() -> None:
    assert histories(loop([2.0, 1.0], [2.0, 1.0])) == ()


def test_none_nan_and_infinity_are_told_with_their_step() -> None:
    recording = loop([3.0, math.nan, 1.0, 1.0], [6.0, math.nan, math.inf, None])
    (found,) = histories(recording)
    assert found.gradients[0].values[0] == 6.0
    assert math.isnan(found.gradients[0].values[1] or 0)
    assert found.gradients[0].values[2:] == (math.inf, None)
    rows = history.table(recording, found).rows
    assert [row.tone for row in rows] == ["bad", "bad"]
    assert rows[1].note == "NaN for the first time at step 2."
    assert rows[1].cells[1] == "▄×××"
    assert "<svg" in history.plot(found)


def test_a_long_course_keeps_its_trouble() -> None:
    values: list[float | None] = [float(i) for i in range(1000)]
    values[501] = math.nan
    thin = history.thinned(values)
    assert len(thin) == history.WIDEST
    assert sum(v is not None and math.isnan(v) for v in thin) == 1


@pytest.mark.parametrize(
    "values, text",
    [([1, 2, 3], "▁▅█"), ([2, 2], "▄▄"), ([None, 1.0], "×▄"), ([], ""), ([math.inf], "×")],
)
def test_a_line_of_figures(values: list[float | None], text: str) -> None:
    assert spark(values) == text


@pytest.mark.parametrize("name", ["$x^2$", "_hidden", "<script>alert(1)</script>", "한글", "a\nb"])
def test_any_name_is_only_text_in_the_plot(name: str) -> None:
    (found,) = histories(loop([3.0, 2.0, 1.0], [6.0, 4.0, 2.0], name))
    svg = history.plot(found)
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
    (found,) = histories(report._recording)
    assert history.plot_description(found) in html
    assert ("3" in html) and ("Loss" in history.plot_description(found))


def test_a_plot_that_cannot_be_drawn_leaves_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> str:
        raise RuntimeError("no <fonts>")

    monkeypatch.setattr(history, "plot", fails)
    html = Report(loop([3.0, 2.0, 1.0], [6.0, 4.0, 2.0]), graph=False).html()
    assert "no &lt;fonts&gt;" in html
    assert "▁" in html


def test_a_plot_does_not_have_old_warnings_shown_again() -> None:
    def warned() -> None:
        warnings.warn_explicit("once", UserWarning, "cell", 1, registry=registry)

    registry: dict[object, object] = {}
    (found,) = histories(loop([3.0, 2.0, 1.0], [6.0, 4.0, 2.0]))
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        warned()
        filters = list(warnings.filters)
        history.plot(found)
        warned()
        assert warnings.filters == filters
    assert len(shown) == 1
