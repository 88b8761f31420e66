"""The lesson, run by a real kernel through the magics, gives the lesson's figures."""

from __future__ import annotations

import base64
import importlib.util
import re
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def load_demo() -> ModuleType:
    """``examples/demo.py``, which is a script and no part of the package."""
    spec = importlib.util.spec_from_file_location("demo", EXAMPLES / "demo.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


demo = load_demo()


@pytest.fixture(scope="module", params=["en", "ko"])
def lesson(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One lesson, executed; its language is in the metadata."""
    log = tmp_path_factory.mktemp("kernel") / "kernel.log"
    notebook = demo.execute(EXAMPLES / f"lesson.{request.param}.ipynb", log)
    notebook.metadata["language_of_lesson"] = request.param
    return notebook


def test_the_figures_are_the_lessons(lesson: Any) -> None:
    found = demo.figures(lesson)
    assert found["square"]["d(x²)/dx at 3"] == (6.0,)
    assert found["forward"]["hidden nodes"] == pytest.approx((0.85, 0.48))
    assert found["forward"]["Y_hat"] == pytest.approx((0.191,))
    assert found["forward"]["Loss"] == pytest.approx((0.32724053,))
    assert found["backward"]["dLoss/dW_1"] == pytest.approx(
        (-0.22652, -0.33978, -0.2427, -0.36405), rel=1e-5
    )
    assert found["backward"]["dLoss/dW_2"] == pytest.approx((-0.68765, -0.38832))
    assert found["update"]["hidden nodes"] == pytest.approx((0.923619, 0.55887747))
    assert found["update"]["Y_hat"] == pytest.approx((0.25574577,))
    assert found["update"]["Loss"] == pytest.approx((0.27695718,))
    assert demo.differences(found) == []


def test_keras_gives_the_same_output(lesson: Any) -> None:
    assert demo.printed(lesson, "keras") == pytest.approx([0.25574577])


@pytest.mark.parametrize("cell_id", ["square", "lists", "named", "constant", "rebound", "update"])
def test_a_recorded_cell_shows_a_picture_and_has_words_for_it(lesson: Any, cell_id: str) -> None:
    (bundle,) = shown(lesson, cell_id)
    assert bundle["text/plain"].strip()
    assert "<svg" in picture(bundle["text/html"])


def test_the_cells_of_the_story_are_drawn_as_one(lesson: Any) -> None:
    (bundle,) = shown(lesson, "update")
    words = re.findall(r"\w+", picture(bundle["text/html"]))
    assert words.count("Y_hat") == 2  # before the update and after it
    assert "AssignSubVariableOp" in words


def test_the_silent_fallback_is_explained(lesson: Any) -> None:
    (bundle,) = shown(lesson, "why")
    assert "GPU:7" in bundle["text/plain"] and "CPU:0" in bundle["text/plain"]


def test_a_worker_is_joined_used_and_left(lesson: Any) -> None:
    (table,) = shown(lesson, "connect")
    assert "/job:worker/replica:0/task:0/device:CPU:0" in table["text/plain"]
    (recorded,) = shown(lesson, "remote")
    assert "worker:0/CPU:0" in recorded["text/plain"] and "∇ = 4" in recorded["text/plain"]
    assert not shown(lesson, "leave")


def test_the_model_is_drawn(lesson: Any) -> None:
    (bundle,) = shown(lesson, "graph")
    assert "hidden" in picture(bundle["text/html"])


def test_the_panels_leave_the_lessons_figures(lesson: Any) -> None:
    *_, step = shown(lesson, "step")
    assert "= -0.22652" in step["text/plain"] and "0.32724" in picture(step["text/html"])
    *_, tweak = shown(lesson, "tweak")
    assert "-0.10575" in tweak["text/plain"]  # (ŷ − 1) · ŷ(1 − ŷ) · x with ŷ = σ(1)
    assert "sigmoid" in picture(tweak["text/html"]).lower()


@pytest.mark.parametrize("cell_id, code", [("constant", "not_watched"), ("rebound", "rebound")])
def test_a_missing_gradient_is_explained(lesson: Any, cell_id: str, code: str) -> None:
    (bundle,) = shown(lesson, cell_id)
    assert "None" in bundle["text/plain"]
    assert code in bundle["text/html"]


@pytest.mark.parametrize(
    ("cell_id", "said"),
    [
        ("dtype-why", ["[1, 2.5]", "float32"]),
        ("numpy-why", ["tensor", "float64"]),
        ("tree", ["v0", "vs[0]", "vs[1]"]),
        ("names", ["my_variable", "(2, 3)", "ndarray"]),
        ("tfdevice", ["CPU:0"]),
    ],
)
def test_every_topic_is_shown_by_a_magic(lesson: Any, cell_id: str, said: list[str]) -> None:
    text = "".join(bundle["text/plain"] for bundle in shown(lesson, cell_id))
    assert not [word for word in said if word not in text]


def test_a_named_tape_answers_in_a_later_cell(lesson: Any) -> None:
    (bundle,) = shown(lesson, "named-later")
    assert "'w'" in bundle["text/plain"] and "'y'" in bundle["text/plain"]
    assert "None" not in bundle["text/plain"]


def shown(lesson: Any, cell_id: str) -> list[Any]:
    """The mimebundles that one cell left, its prints aside."""
    (cell,) = (cell for cell in lesson.cells if cell.id == cell_id)
    return [output.data for output in cell.outputs if "data" in output]


def picture(html: str) -> str:
    """The SVG of the first picture in ``html``."""
    encoded = re.search(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", html)
    assert encoded, "no picture"
    return base64.b64decode(encoded[1]).decode()


# --- the page that the demo writes -------------------------------------------------------


class Loads(HTMLParser):
    """Collects what a page would fetch; a link that has to be clicked is none."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            fetches = name in ("src", "srcset", "data", "poster") or (
                tag == "link" and name == "href"
            )
            if fetches and value and not value.startswith("data:"):
                self.found.append(f"{tag} {value}")


def as_page(lesson: Any) -> str:
    return demo.to_html(lesson, EXAMPLES / f"lesson.{lesson.metadata['language_of_lesson']}.ipynb")


def test_the_page_fetches_nothing(lesson: Any) -> None:
    page = as_page(lesson)
    loads = Loads()
    loads.feed(page)
    assert loads.found == []
    assert not re.search(r"@import|url\([\"']?https?:|import\([\"']https?:", page)


def test_the_page_still_has_the_pictures(lesson: Any) -> None:
    page = as_page(lesson)
    pictures = sum("image/svg+xml;base64" in b.get("text/html", "") for b in all_shown(lesson))
    assert pictures >= 7
    assert page.count('src="data:image/svg+xml;base64') >= pictures


def all_shown(lesson: Any) -> list[Any]:
    return [o.data for c in lesson.cells for o in c.get("outputs", ()) if "data" in o]


# --- what the demo says when something is wrong ------------------------------------------


def test_a_wrong_figure_is_named() -> None:
    found = {cell: dict(values) for cell, values in demo.LESSON.items()}
    found["forward"]["Loss"] = (0.3,)
    (line,) = demo.differences(found)
    assert line == "forward: Loss is (0.3,), the lesson's is (0.32724053,)"


def test_a_lesson_that_stops_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import nbformat

    broken = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    nbformat.write(broken, tmp_path / "lesson.en.ipynb")
    monkeypatch.setattr(demo, "HERE", tmp_path)
    monkeypatch.setattr(demo, "BUILD", tmp_path / "build")
    assert demo.main("en") == 1
    said = capsys.readouterr().err
    assert said == "lesson.en.ipynb did not run through: ZeroDivisionError: division by zero\n"
