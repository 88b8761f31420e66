"""What is seen where notebooks are opened: Notebook 7, untrusted, converted, printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter

from tests.browser import lab as jupyter
from tests.browser import showcase

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Every report and panel in Korean, run with no front end at all."""
    cells = showcase.cells("ko", *showcase.REPORTS, *showcase.PANELS)
    notebook = jupyter.notebook_of(cells)
    NotebookClient(notebook, timeout=300).execute(cwd=str(tmp_path_factory.mktemp("run")))
    return notebook


def wait_until_drawn(page: Any, pictures: int) -> None:
    """Wait for at least so many pictures, each really drawn; Jupyter attaches cells one by one."""
    page.wait_for_function(DRAWN, arg=pictures)


DRAWN = """least => { const all = [...document.querySelectorAll('.tfmagic img')];
    return all.length >= least && all.every(i => i.complete && i.naturalWidth > 40); }"""
#: Pictures that the cells of the showcase draw: three graphs, a heat map, and the panels'.
PICTURES = 4


def test_notebook_7_shows_all_in_the_language_of_the_metadata(
    notebook_7: jupyter.Server, context: Any, tmp_path: Path
) -> None:
    cells = [showcase.LOAD, showcase.SETUP, showcase.REPORTS["tape"], showcase.REPORTS["vars"]]
    cells.append(showcase.PANELS["step"])
    content = jupyter.notebook_of(cells, tfmagic={"lang": "ko"})
    nbformat.write(content, notebook_7.folder / "n.ipynb")
    page = jupyter.run(jupyter.opened(notebook_7, context, "n.ipynb", dark=True))
    page.locator(".tfm-step-head").wait_for()
    page.screenshot(path=tmp_path / "page.png")
    wait_until_drawn(page, 1)
    assert "정상" in page.locator(".tfmagic-head").first.inner_text()  # the answer
    assert "순전파 연산" in page.locator(".tfmagic").first.inner_text()  # the small print
    assert "지금 있는 값" in page.locator("caption").all_inner_texts()


def test_an_untrusted_notebook_still_shows_tables_and_pictures(
    lab: jupyter.Server, context: Any, executed: Any, tmp_path: Path
) -> None:
    executed = nbformat.from_dict(executed)
    executed.metadata.pop("widgets", None)
    nbformat.write(executed, lab.folder / "untrusted.ipynb")
    page = jupyter.opened(lab, context, "untrusted.ipynb")
    page.locator(".tfmagic").first.wait_for()
    assert page.evaluate(
        "() => ![...jupyterapp.shell.currentWidget.content.widgets].some(c => c.model.trusted)"
    )
    page.set_viewport_size({"width": 1200, "height": 14_000})
    wait_until_drawn(page, PICTURES)
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert page.locator(".tfmagic table").count() >= len(showcase.REPORTS)
    colours = page.locator(".tfmagic-heat td").evaluate_all(
        "cells => cells.map(c => getComputedStyle(c).backgroundColor)"
    )
    assert len(set(colours)) >= 4


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nbconvert_makes_a_page_that_needs_nothing_else(
    context: Any, executed: Any, tmp_path: Path, theme: str
) -> None:
    html, _ = HTMLExporter(theme=theme).from_notebook_node(executed)
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    context.set_offline(True)
    page = context.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    wait_until_drawn(page, PICTURES)
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert "0단계" in page.locator(".tfmagic-snapshot").first.inner_text()


def test_on_a_sheet_of_paper_nothing_is_cut(context: Any, executed: Any, tmp_path: Path) -> None:
    html, _ = HTMLExporter().from_notebook_node(executed)
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    page = context.new_page()
    page.set_viewport_size({"width": 816, "height": 1056})
    page.emulate_media(media="print")
    page.goto((tmp_path / "page.html").as_uri())
    wait_until_drawn(page, PICTURES)
    cut = "all => all.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.innerText)"
    assert page.locator(".tfmagic-wide").count() > 5
    assert not page.locator(".tfmagic-wide").evaluate_all(cut)


#: Says in its complaint where Playwright looks for a browser that it has not downloaded.
LAUNCH = """from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    playwright.chromium.launch()"""


@pytest.fixture
def for_playwright(chromium_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The browser of this machine, where Playwright looks for its own."""
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "browsers"))
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH], capture_output=True, text=True, check=False
    )
    wanted = re.search(r"Executable doesn't exist at (.+)", done.stderr)
    assert wanted, done.stderr
    place = Path(wanted[1].strip())
    place.parent.mkdir(parents=True)
    place.symlink_to(chromium_path)


@pytest.mark.usefixtures("for_playwright")
def test_it_can_be_printed_as_pdf(executed: Any, tmp_path: Path) -> None:
    """The command itself, with the browser that is there."""
    from pypdf import PdfReader

    nbformat.write(nbformat.from_dict(executed), tmp_path / "n.ipynb")
    convert = [sys.executable, "-m", "nbconvert", "--to", "webpdf", "--disable-chromium-sandbox"]
    done = subprocess.run(
        [*convert, "n.ipynb"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    sheets = PdfReader(tmp_path / "n.pdf").pages
    words = "".join(sheet.extract_text() for sheet in sheets)
    assert "not_watched" in words and "-0.22652" in words and "noise" in words
    assert "순전파" in words
    assert (
        sum(len(sheet.images) for sheet in sheets) >= 1
    )  # the heat map; graphs are drawn as lines
