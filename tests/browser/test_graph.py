"""The live graph as a reader meets it: in JupyterLab, by keyboard alone, reopened, in a file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.browser import lab as jupyter
from tests.browser import showcase
from tfmagic.render.escape import visible

pytestmark = pytest.mark.browser

LOAD = "%load_ext tfmagic\n%config TFMagic.lang = 'en'"
NETWORK = """%%tape -q
import tensorflow as tf, keras
model = keras.Sequential([keras.Input((4,)), *[keras.layers.Dense(4, activation="tanh", name=f"dense_{i}") for i in range(30)]])
x = tf.ones((2, 4))
loss = tf.reduce_mean(model(x))"""

# Thirty names that would do something, were they ever read as anything but text.
HOSTILE = [
    *("<script>window.ran = 1</script>", "</script><script>window.ran = 1</script>"),
    *("</title><svg onload=window.ran=1>", "<img src=x onerror=window.ran=1>", "javascript:window.ran=1"),
    *("'\"><b>bold</b>", "\"; window.ran = 1; \"", "'); window.ran = 1; ('", "${window.ran = 1}", "{{window.ran}}"),
    *("a\\nb\\lc\\rd", "back\\\\slash", "new\nline", "tab\there", "nul\0byte", "\x1b[31mred", "%s %d %n"),
    *("{brace} [bracket] |bar|", "a -> b; c", "-- comment", "/* comment */", "&lt;b&gt; &amp; &#60;", "]]>"),
    *("\u202ertl override", "שלום עולם", "مرحبا", "🧑‍🤝‍🧑 👍🏽 🏳️‍🌈", "한국어 이름", "__proto__", "x" * 10_000),
]  # fmt: skip


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[[Path], Any]]:
    """A function that opens a file offline, and fails where the page raises."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, offline=True)
    errors: list[str] = []

    def show(path: Path) -> Any:
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path.as_uri())
        page.locator(".tfg-box").first.wait_for()
        return page

    yield show
    context.close()
    assert not errors


def test_folds_open_and_close_in_lab(run_in_lab: Callable[..., Any], tmp_path: Path) -> None:
    page = run_in_lab([LOAD, NETWORK, "%tfgraph -i"])
    boxes = page.locator(".tfm-panel .tfg-box")
    boxes.first.wait_for()
    assert not page.locator(".tfmagic-snapshot").is_visible()
    for name in ("dense_3", "dense_4", "dense_5"):
        page.get_by_role("button", name="Show all").click()
        fold = page.locator(f".tfg-box[aria-label^='{name},']")
        fold.click()
        page.locator(f".tfg-box[aria-label^='{name},'][data-open=true]").wait_for()
    assert page.locator(".tfg-box[aria-label^='MatMul']").count() >= 3
    page.get_by_role("button", name="Show all").click()
    page.locator(".tfg-box[aria-label^='MatMul']").first.hover()
    details = page.locator(".tfg-details")
    assert "(2, 4)" in details.inner_text() and "float32" in details.inner_text()
    page.locator(".tfg input").fill("dense_29")
    page.locator(".tfg-results button", has_text="dense_29").first.click()
    page.locator(".tfg-box[aria-label^='dense_29']:focus").wait_for()
    page.locator(".tfg input").focus()  # what is told of stays marked
    told = page.locator(".tfg-box[aria-current]")
    assert told.count() == 1 and str(told.get_attribute("aria-label")).startswith("dense_29")
    page.screenshot(path=tmp_path / "panel.png")
    page.locator(".tfmagic-snapshot img").wait_for(state="attached")


def test_a_saved_notebook_shows_the_picture_without_a_kernel(
    run_in_lab: Callable[..., Any], lab: Any, browser: Any
) -> None:
    page = run_in_lab([LOAD, NETWORK, "%tfgraph -i"])
    page.locator(".tfm-panel .tfg-box").first.wait_for()
    page.evaluate(SAVE)
    saved = lab.folder / "test_a_saved_notebook_shows_the_picture_without_a_kernel.ipynb"
    assert len(saved.read_text()) < 400_000
    command = [sys.executable, "-m", "nbconvert", "--to", "html", str(saved)]
    subprocess.run(command, check=True, capture_output=True)
    context = browser.new_context(offline=True)
    still = context.new_page()
    still.goto(saved.with_suffix(".html").as_uri())
    picture = still.locator(".tfmagic-snapshot img").first
    picture.wait_for()
    assert picture.evaluate("image => image.naturalWidth") > 150
    assert not still.locator(".tfm-panel .tfg-box").count()
    context.close()


# Answers when the notebook is written.
SAVE = "() => jupyterapp.shell.currentWidget.context.save()"


def test_an_executed_notebook_shows_the_picture_without_a_kernel(
    lab: jupyter.Server, context: Any, tmp_path: Path
) -> None:
    """Untrusted and trusted, with the widget's state in the file: all that could revive it."""
    notebook = jupyter.notebook_of([LOAD, NETWORK, "%tfgraph -i"])
    NotebookClient(notebook, timeout=300).execute(cwd=str(tmp_path))
    assert notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    notebook.metadata.kernelspec = {"name": "gone", "display_name": "Gone"}
    del notebook.metadata["language_info"]  # by which another kernel would be found
    nbformat.write(notebook, lab.folder / "executed.ipynb")
    page = opened_without_kernel(lab, context, "executed.ipynb")
    assert not page.evaluate(TRUSTED)
    only_the_picture_is_seen(page)
    page.evaluate("() => { jupyterapp.commands.execute('notebook:trust'); }")
    page.locator(".jp-Dialog button.jp-mod-accept").click()
    page.wait_for_function(TRUSTED)
    only_the_picture_is_seen(page)
    page.screenshot(path=tmp_path / "page.png")


def opened_without_kernel(lab: jupyter.Server, context: Any, name: str) -> Any:
    """A notebook whose kernel is nowhere, and no other is chosen."""
    page = jupyter.opened(lab, context, name)
    page.set_default_timeout(jupyter.DRAWING * 1000)
    page.locator(".jp-Dialog-button.jp-mod-reject").click()
    page.locator(".jp-Dialog").wait_for(state="detached")
    return page


def only_the_picture_is_seen(page: Any) -> None:
    """The static picture, drawn; of the panel not even a line that tells of its absence."""
    page.locator(".tfmagic-snapshot img").wait_for()
    page.wait_for_function("document.querySelector('.tfmagic-snapshot img').naturalWidth > 150")
    assert not page.locator(".tfm-panel:visible").count()
    text = page.locator(".jp-Notebook").inner_text().lower()
    assert "loading widget" not in text and "not found" not in text


TRUSTED = "() => [...jupyterapp.shell.currentWidget.content.widgets].every(c => c.model.trusted)"


@pytest.fixture(scope="module")
def recording() -> Any:
    """A network of thirty layers, recorded."""
    import keras
    import tensorflow as tf

    import tfmagic

    layers = [keras.layers.Dense(4, activation="tanh", name=f"dense_{i}") for i in range(30)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    with tfmagic.record() as rec:
        loss = tf.reduce_mean(model(tf.ones((2, 4))))
    rec.gradient(loss, model.trainable_variables[:2])
    return rec.recording


def test_a_file_is_used_by_keyboard_alone(
    recording: Any, open_page: Callable[[Path], Any], tmp_path: Path
) -> None:
    import tfmagic

    page = open_page(tfmagic.graph(recording, "net").save(tmp_path / "net.html"))
    keys = page.keyboard
    keys.press("Tab")
    for _ in range(12):
        if page.evaluate("document.activeElement.classList.contains('tfg-box')"):
            break
        keys.press("Tab")
    keys.press("/")
    keys.type("dense_17")
    page.locator(".tfg-results button").first.wait_for()
    keys.press("Enter")
    page.locator(".tfg-box[aria-label^='dense_17']:focus").wait_for()
    keys.press("Enter")
    page.locator(".tfg-box[aria-label^='dense_17'][data-open=true]").wait_for()
    keys.press("ArrowDown")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')")
    keys.press("w")
    page.locator(".tfg-verdict", has_text="lead to the target").wait_for()
    assert page.locator(".tfg-edge.tfg-red").count() > 3
    page.locator(".tfg-box[aria-label^='dense_17']").focus()
    keys.press("Enter")
    page.locator(".tfg-box[aria-label^='dense_17'][data-open=false]").wait_for()


def test_opening_a_fold_keeps_the_order_of_the_others(
    recording: Any, open_page: Callable[[Path], Any], tmp_path: Path
) -> None:
    import tfmagic

    page = open_page(tfmagic.graph(recording, "net").save(tmp_path / "net.html"))
    order = """() => [...document.querySelectorAll(".tfg-box")].map(box => [
        box.getAttribute("aria-label").split(",")[0], box.getBoundingClientRect().y]).filter(
        ([name]) => name.startsWith("dense_")).sort((a, b) => a[1] - b[1]).map(([name]) => name)"""
    before = page.evaluate(order)
    for name in before[3:5]:
        page.locator(f".tfg-box[aria-label^='{name},']").first.focus()
        page.keyboard.press("Enter")
        page.locator(f".tfg-box[aria-label^='{name},'][data-open=true]").wait_for()
    after = [name for name in dict.fromkeys(page.evaluate(order)) if name in before]
    assert after == list(dict.fromkeys(before)) and len(before) > 5


def test_colours_have_a_legend(
    recording: Any, open_page: Callable[[Path], Any], tmp_path: Path
) -> None:
    import tfmagic

    page = open_page(tfmagic.graph(recording, "net").save(tmp_path / "net.html"))
    for mode in page.locator(".tfg select option").evaluate_all("all => all.map(o => o.value)"):
        page.locator(".tfg select").select_option(mode)
        assert page.locator(".tfg-key").count()
    page.locator(".tfg select").select_option("time")
    assert "…" in page.locator(".tfg-legend").inner_text()


def hostile_recording() -> Any:
    """Thirty ops in a row, with a hostile name wherever a name is possible."""
    from tfmagic.model import Cell, Line, Op, Recording, TensorInfo

    tensors, ops = [TensorInfo(0, (2,), "float32", "", role="input", name="x")], []
    for i, name in enumerate(HOSTILE):
        ops.append(Op(i, "Neg", inputs=(i,), outputs=(i + 1,), scope=name, line=i, device=name))
        tensors.append(TensorInfo(i + 1, (2,), name, name, op=i, name=name))
    lines = tuple(Line(i, 0, i + 1, name) for i, name in enumerate(HOSTILE))
    return Recording(ops=tuple(ops), tensors=tuple(tensors), lines=lines, cells=(Cell(0, "c", ""),))


def test_names_that_want_to_run_are_shown_as_text(
    open_page: Callable[[Path], Any], tmp_path: Path
) -> None:
    import tfmagic

    assert len(HOSTILE) == 30
    view = tfmagic.graph(hostile_recording(), HOSTILE[1])
    page = open_page(view.save(tmp_path / "evil.html"))
    shown = " ".join(page.locator(".tfg-box").evaluate_all("all => all.map(b => b.ariaLabel)"))
    for name in (
        "<script>window.ran = 1</script>",
        "javascript:window.ran=1",
        "한국어 이름",
        "__proto__",
    ):
        assert name in shown
    for box in page.locator(".tfg-box").all()[:40]:
        box.dispatch_event("mouseenter")
    for mode in ("device", "dtype"):
        page.locator(".tfg select").select_option(mode)
    page.locator(".tfg input").fill("script")
    page.locator(".tfg-results button").first.wait_for()
    assert page.evaluate("window.ran") is None
    assert page.locator("body b, body img[onerror]").count() == 0


def test_names_that_want_to_run_are_text_in_lab_too(
    run_in_lab: Callable[..., Any], lab: Any, context: Any, tmp_path: Path
) -> None:
    (lab.folder / "evil.json").write_text(hostile_recording().to_json(), encoding="utf-8")
    read = "import tfmagic\nevil = tfmagic.load('evil.json')"
    dialogs: list[str] = []
    context.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    korean = LOAD.replace("'en'", "'ko'")
    page = run_in_lab([korean, read, "%tfgraph --flat evil", "%tfgraph -i evil"], dark=True)
    page.locator(".tfm-panel .tfg-box").first.wait_for()
    shown = [visible(name)[:100] for name in HOSTILE]
    pictures, tables = page.evaluate(STILL)
    assert not {"\u202e", "\x1b"} & set(tables)
    for name in shown:
        assert name[:30] in tables
        assert name[:12] in pictures
        found_and_told(page, name)
    page.screenshot(path=tmp_path / "panel.png")
    assert page.evaluate("window.ran") is None
    assert not dialogs and not page.locator(".jp-Dialog").count()
    assert not page.locator(".tfmagic b, .tfm-panel b, .tfmagic img[onerror]").count()


def found_and_told(page: Any, name: str) -> None:
    """A name is found by the panel's search, and told of the box that it leads to."""
    page.locator(".tfg input").fill(name)
    page.locator(".tfg-results button", has_text=name).first.click()
    page.locator(".tfg-details dd", has_text=name).first.wait_for()


# The text of the static picture, and that of its tables.
STILL = """async () => {
    const still = document.querySelector(".jp-OutputArea .tfmagic");
    const source = await (await fetch(still.querySelector("img").src)).text();
    const picture = new DOMParser().parseFromString(source, "image/svg+xml").documentElement;
    return [picture, still].map(part => part.textContent.replaceAll("\\u00a0", " "));
}"""


LESSON = "%%tape\n" + showcase.LESSON


def test_every_picture_opens_as_a_live_graph_and_closes_again(
    run_in_lab: Callable[..., Any], lab: jupyter.Server, tmp_path: Path
) -> None:
    page = run_in_lab([LOAD, LESSON, "%tfgraph --flat"])
    knobs = page.get_by_role("button", name="Open as a live graph")
    pictures = page.locator(".tfmagic-picture img")
    knobs.nth(1).wait_for()
    page.screenshot(path=tmp_path / "closed.png")
    knobs.nth(0).focus()
    page.keyboard.press("Enter")
    page.locator(".tfg-box:focus").wait_for()
    assert not pictures.nth(0).is_visible() and pictures.nth(1).is_visible()
    assert page.locator(".tfmagic table").first.is_visible()  # the gradients stay
    page.screenshot(path=tmp_path / "open.png")
    page.locator(".tfg input").fill("Y_hat")
    page.locator(".tfg-results button", has_text="Y_hat").first.click()
    page.locator(".tfg-box[aria-label*='Y_hat']:focus").wait_for()
    page.evaluate(SAVE)
    page.get_by_role("button", name="Back to the picture").click()
    page.locator(".tfg").wait_for(state="detached")
    assert pictures.nth(0).is_visible() and knobs.count() == 2
    assert len(json.dumps(saved_cells(lab)[1].outputs)) < 60_000
    assert "showGraph" not in json.dumps(saved_cells(lab))


def saved_cells(lab: jupyter.Server) -> Any:
    """The cells of the notebook of the test above."""
    (saved,) = lab.folder.glob("test_every_picture*.ipynb")
    return nbformat.read(saved, 4).cells


def test_a_picture_reopened_without_a_kernel_has_no_dead_button(
    run_in_lab: Callable[..., Any], lab: jupyter.Server, context: Any, tmp_path: Path
) -> None:
    page = run_in_lab([LOAD, LESSON])
    page.get_by_role("button", name="Open as a live graph").wait_for()
    page.evaluate(SAVE_WITH_WIDGETS)
    page.close()
    (saved,) = lab.folder.glob("test_a_picture_reopened*.ipynb")
    shutil.copy(saved, lab.folder / "reopened.ipynb")  # the first still has its kernel
    page = opened_without_kernel(lab, context, "reopened.ipynb")
    assert page.evaluate(TRUSTED)
    page.locator(".tfmagic-picture img").wait_for()
    page.locator(".jp-OutputArea-output", has_text="Loading widget").wait_for(state="hidden")
    assert page.locator(".jp-OutputArea-child").count() == 2
    assert not page.locator(".tfm-panel button:visible").count()
    assert "widget" not in page.locator(".jp-Notebook").inner_text().lower()
    page.screenshot(path=tmp_path / "page.png")


# Saves what a widget would need to come back, and a kernel that is nowhere.
SAVE_WITH_WIDGETS = """async () => {
    const app = window.jupyterapp, { context } = app.shell.currentWidget;
    await app.commands.execute('@jupyter-widgets/jupyterlab-manager:saveWidgetState');
    context.model.setMetadata('kernelspec', { name: 'gone', display_name: 'Gone' });
    context.model.deleteMetadata('language_info'); // by which another would be found
    await context.save();
}"""


def test_a_graph_too_large_to_be_read_whole_begins_readable(
    recording: Any, open_page: Callable[[Path], Any], tmp_path: Path
) -> None:
    import tfmagic

    page = open_page(tfmagic.graph(recording, "net").save(tmp_path / "net.html"))
    page.wait_for_function(SCALED)
    title = page.locator(".tfg-box text").first
    assert title.evaluate("text => text.getScreenCTM().a") >= 0.7
    assert page.evaluate(IN_VIEW) > 3


def test_a_row_too_long_to_be_read_whole_begins_at_its_left_end(
    open_page: Callable[[Path], Any], tmp_path: Path
) -> None:
    import tensorflow as tf

    import tfmagic

    names = ("first", "second", "third")
    layers = [tf.keras.layers.Dense(3, activation="relu", name=name) for name in names]
    model = tf.keras.Sequential([tf.keras.Input((2,)), *layers])
    drawn = tfmagic.graph(model, "row", direction="LR")
    page = open_page(drawn.save(tmp_path / "row.html"))
    page.wait_for_function(SCALED)
    left = "box => box.getBoundingClientRect().left"
    first, third = (page.locator(f".tfg-box[aria-label^='{n},']").first for n in ("first", "third"))
    view = page.locator(".tfg-view").evaluate(left)
    assert view <= first.evaluate(left) < view + 100
    assert third.evaluate(left) > view + 600


def test_an_arrow_touches_the_fold_that_has_grown(
    recording: Any, open_page: Callable[[Path], Any], tmp_path: Path
) -> None:
    import tfmagic

    page = open_page(tfmagic.graph(recording, "net").save(tmp_path / "net.html"))
    page.locator(".tfg-frame").first.wait_for()
    assert max(page.evaluate(GAPS)) < 5


# Once the first view has been chosen.
SCALED = (
    "() => !document.querySelector('.tfg-svg > g').getAttribute('transform').includes('scale(1)')"
)
# How many boxes lie wholly within the view.
IN_VIEW = """() => {
    const view = document.querySelector(".tfg-view").getBoundingClientRect();
    return [...document.querySelectorAll(".tfg-box")].map((box) => box.getBoundingClientRect()).filter(
        (box) => box.left >= view.left && box.right <= view.right && box.top >= view.top && box.bottom <= view.bottom).length;
}"""
# From each open fold, on the plane, how far off the nearest tip of an arrow above it ends.
GAPS = """() => [...document.querySelectorAll(".tfg-frame")].map((frame) => {
    const [x, y, w] = ["x", "y", "width"].map((name) => Number(frame.getAttribute(name)));
    const arrows = frame.parentNode.parentNode.querySelectorAll(":scope > .tfg-edge polygon");
    const tips = [...arrows].map((tip) => tip.getAttribute("points").split(/[ ,]/).map(Number));
    return Math.min(...tips.filter(([tx, ty]) => x <= tx && tx <= x + w && ty < y + 5).map(([, ty]) => Math.abs(y - ty)));
}).filter(Number.isFinite)"""
