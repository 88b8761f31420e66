"""A real JupyterLab, and a real Chromium that looks at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import nbformat
import pytest

from tests.browser import lab as jupyter


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[jupyter.Server]:
    """A JupyterLab of its own."""
    folder, home = tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("home")
    with jupyter.serving(folder, home) as server:
        yield server


@pytest.fixture(scope="module")
def notebook_7(tmp_path_factory: pytest.TempPathFactory) -> Iterator[jupyter.Server]:
    """A Notebook 7 of its own."""
    folder, home = tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("home")
    with jupyter.serving(folder, home, "notebook", LANG="en_US.UTF-8") as server:
        yield server


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Any]:
    """A headless Chromium."""
    with jupyter.chromium(chromium_path) as chrome:
        yield chrome


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    """A window of its own."""
    opened = browser.new_context(viewport={"width": 1200, "height": 1400})
    yield opened
    opened.close()


@pytest.fixture
def run_in_lab(
    lab: jupyter.Server, context: Any, request: pytest.FixtureRequest
) -> Callable[..., Any]:
    """A function that opens cells as a notebook, runs them all and gives the page."""

    def run(cells: list[str], dark: bool = False) -> Any:
        name = f"{request.node.name.translate(NO_BRACKETS)}.ipynb"
        nbformat.write(jupyter.notebook_of(cells), lab.folder / name)
        return jupyter.run(jupyter.opened(lab, context, name, dark=dark))

    return run


NO_BRACKETS = str.maketrans("[]", "--")
