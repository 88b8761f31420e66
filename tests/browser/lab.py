"""Real Jupyter servers, and notebooks that are run in a real Chromium."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import nbformat

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

#: What each kind of server is started by, its own option, and where it opens a notebook.
KINDS = {
    "lab": ("jupyterlab", "LabApp", "lab/workspaces/{stem}/tree/{name}"),
    "notebook": ("notebook", "JupyterNotebookApp", "notebooks/{name}"),
}


@dataclass(frozen=True)
class Server:
    """A running JupyterLab or Notebook: where it answers, and the folder that it serves."""

    url: str
    folder: Path
    kind: str = "lab"

    def address(self, name: str) -> str:
        """Where a notebook of the folder opens."""
        place = KINDS[self.kind][2].format(name=name, stem=name.removesuffix(".ipynb"))
        return f"{self.url}/{place}"


@contextlib.contextmanager
def serving(folder: Path, home: Path, kind: str = "lab", **variables: str) -> Iterator[Server]:
    """A server of its own on a free port of this machine, in a fresh home."""
    settings = home / ".jupyter/lab/user-settings/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "notification.jupyterlab-settings").write_text(NO_NEWS)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        _command(kind, port, folder),
        env=environment(home) | variables,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _wait_until_up(server)
        yield Server(f"http://127.0.0.1:{port}", folder, kind)
    finally:
        server.terminate()
        server.wait(PATIENCE)


def _command(kind: str, port: int, folder: Path) -> list[str]:
    """Jupyter without a browser, a token or news; only this machine can reach it."""
    module, application, _ = KINDS[kind]
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.open_browser": False,
        "ServerApp.allow_root": True,
        "ServerApp.root_dir": folder,
        "IdentityProvider.token": "",
        f"{application}.expose_app_in_browser": True,
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", module, *flags]


def environment(home: Path) -> dict[str, str]:
    """This process's environment with another home, and no Jupyter folders named."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "IPYTHON"))}
    return kept | {"HOME": str(home), "TF_CPP_MIN_LOG_LEVEL": "3"}


def _wait_until_up(server: subprocess.Popen[str]) -> None:
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
        raise RuntimeError("Jupyter did not start:\n" + "".join(log[-20:]))
    too_late.cancel()
    threading.Thread(target=_drain, args=(server.stderr,), daemon=True).start()


def _drain(stream: IO[str]) -> None:
    """Read to the end, so that the writer never waits."""
    for _ in stream:
        pass


@contextlib.contextmanager
def chromium(path: str | None) -> Iterator[Any]:
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"],
        )
        yield chrome
        chrome.close()


def opened(server: Server, context: Any, name: str, *, dark: bool = False) -> Any:
    """The page of a notebook in the server's folder, with nothing run yet."""
    page = context.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    page.goto(server.address(name))
    page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.sessionContext")
    use_theme(page, dark)
    return page


def run(page: Any) -> Any:
    """Run every cell of an opened notebook; answers when the last one has run."""
    page.evaluate(RUN_ALL)
    page.set_default_timeout(DRAWING * 1000)
    return page


def use_theme(page: Any, dark: bool) -> None:
    """Jupyter's own light or dark theme; the server remembers the one chosen before."""
    name = "JupyterLab Dark" if dark else "JupyterLab Light"
    page.evaluate(
        "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", name
    )
    page.wait_for_selector(f"body[data-jp-theme-name='{name}']", state="attached")


def notebook_of(cells: Sequence[str], **metadata: Any) -> nbformat.NotebookNode:
    """A notebook of these code cells, for this Python's kernel."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": kernel, **metadata},
    )
