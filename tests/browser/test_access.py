"""What axe-core finds wrong for a keyboard or a screen reader, in each report and panel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser import lab as jupyter
from tests.browser import showcase

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(lab: jupyter.Server, browser: Any) -> Iterator[Any]:
    """Everything that tfmagic shows, in Korean, live in JupyterLab."""
    cells = showcase.cells("ko", *showcase.REPORTS, *showcase.PANELS)
    nbformat.write(jupyter.notebook_of(cells), lab.folder / "showcase.ipynb")
    context = browser.new_context(viewport={"width": 1200, "height": 12_000})
    shown = jupyter.run(jupyter.opened(lab, context, "showcase.ipynb"))
    for number in range(len(showcase.PANELS)):
        shown.locator(".tfm-panel").nth(number).wait_for()
    yield shown
    context.close()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_serious(page: Any, dark: bool, tmp_path: Path) -> None:
    jupyter.use_theme(page, dark)
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert page.locator(".tfmagic").count() >= len(showcase.REPORTS)
    assert page.locator("[data-mime-type$='error']").count() == 0
    found = Axe().run(page, context={"include": [[".tfmagic"], [".tfm-panel"]]}).response
    serious = {
        violation["id"]: [node["html"][:200] for node in violation["nodes"]]
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
    }
    assert serious == {}
