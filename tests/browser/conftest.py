"""A real JupyterLab, and a real Chromium that looks at it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import nbformat
import pytest

PATIENCE = 120  # seconds, for a server or a cell that never answers
DRAWING = 15  # seconds, for the page to show what has run

NO_NEWS = '{"fetchNews": "false", "checkForUpdates": false}'

# "Run all" right after loading silently runs nothing: wait for every part to be there.
RUN_ALL = """async () => {
    const app = window.jupyterapp;
    await app.restored;
    const panel = app.shell.currentWidget;
    await panel.context.ready;
    await panel.sessionContext.ready;
    await panel.sessionContext.session.kernel.info;
    await app.commands.execute('notebook:run-all-cells');
}"""


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab: where it answers, and the folder that it serves."""

    url: str
    folder: Path


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab of its own on a free port of this machine, in a fresh home."""
    home = tmp_path_factory.mktemp("home")
    settings = home / ".jupyter/lab/user-settings/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(NO_NEWS)
    folder = tmp_path_factory.mktemp("notebooks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = lab_command(port, folder)
    server = subprocess.Popen(command, env=environment(home), stderr=subprocess.PIPE, text=True)
    try:
        wait_until_up(server)
        yield Lab(f"http://127.0.0.1:{port}", folder)
    finally:
        server.terminate()
        server.wait(PATIENCE)


def lab_command(port: int, folder: Path) -> list[str]:
    """JupyterLab without a browser, a token or news; only this machine can reach it."""
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.open_browser": False,
        "ServerApp.allow_root": True,
        "ServerApp.root_dir": folder,
        "IdentityProvider.token": "",
        "LabApp.expose_app_in_browser": True,
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "jupyterlab", *flags]


def environment(home: Path) -> dict[str, str]:
    """This process's environment with another home, and no Jupyter folders named."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "IPYTHON"))}
    return kept | {"HOME": str(home), "TF_CPP_MIN_LOG_LEVEL": "3"}


def wait_until_up(server: subprocess.Popen[str]) -> None:
    """Read the server's log until it says that it runs; go on reading in a thread."""
    assert server.stderr
    too_late = threading.Timer(PATIENCE, server.kill)
    too_late.daemon = True
    too_late.start()
    log = []
    for line in server.stderr:
        log.append(line)
        if "is running at" in line:
            break
    else:
        pytest.fail("JupyterLab did not start:\n" + "".join(log[-20:]))
    too_late.cancel()
    threading.Thread(target=drain, args=(server.stderr,), daemon=True).start()


def drain(stream: IO[str]) -> None:
    """Read to the end, so that the writer never waits."""
    for _ in stream:
        pass


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Any]:
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(
            executable_path=chromium_path,
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"],
        )
        yield chrome
        chrome.close()


@pytest.fixture
def run_in_lab(
    lab: Lab, browser: Any, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Any]]:
    """A function that opens cells as a notebook, runs them all and gives the page."""
    contexts = []

    def run(cells: list[str], dark: bool = False) -> Any:
        name = f"{request.node.name.translate(NO_BRACKETS)}.ipynb"
        nbformat.write(notebook_of(cells), lab.folder / name)
        context = browser.new_context(viewport={"width": 1200, "height": 1400})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.goto(f"{lab.url}/lab/workspaces/{name.removesuffix('.ipynb')}/tree/{name}")
        page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.sessionContext")
        use_theme(page, dark)
        page.evaluate(RUN_ALL)  # answers when the last cell has run
        page.set_default_timeout(DRAWING * 1000)
        return page

    yield run
    for context in contexts:
        context.close()


def use_theme(page: Any, dark: bool) -> None:
    """Lab's own light or dark theme; the server remembers the one chosen before."""
    name = "JupyterLab Dark" if dark else "JupyterLab Light"
    page.evaluate(
        "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", name
    )
    page.wait_for_selector(f"body[data-jp-theme-name='{name}']", state="attached")


NO_BRACKETS = str.maketrans("[]", "--")


def notebook_of(cells: list[str]) -> nbformat.NotebookNode:
    """A notebook of these code cells, for this Python's kernel."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata={"kernelspec": kernel}
    )
