"""Saved graphs in the viewers that they are for, in a real browser."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

PATIENCE = 60  # seconds until a server answers


@pytest.fixture(scope="module")
def view() -> Any:
    """The lesson's network, drawn."""
    import tensorflow as tf

    import tfmagic

    w = tf.Variable([[0.14, 0.15]], name="W_2")
    with tfmagic.record() as rec, tf.name_scope("layer_of_ours"):
        loss = tf.square(tf.matmul(w, [[0.85], [0.48]]) - 1.0)
    rec.gradient(loss, w)
    return tfmagic.graph(rec.recording, "lesson")


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    yield context.new_page()
    context.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def serve() -> Iterator[Any]:
    """A function that starts a server and waits until it answers."""
    running = []

    def start(url: str, *command: str) -> None:
        server = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        running.append(server)
        assert server.stdout
        for line in server.stdout:
            if url.rpartition(":")[2] in line:
                break
        urllib.request.urlopen(url, timeout=PATIENCE).close()

    yield start
    for server in running:
        server.terminate()
        server.wait(PATIENCE)


def test_netron_opens_the_graph_def(view: Any, page: Any, tmp_path: Path) -> None:
    netron = pytest.importorskip("netron")
    path = view.save(tmp_path / "g.pb")
    host, port = netron.serve(str(path), None, address=("127.0.0.1", free_port()), browse=False)
    try:
        page.goto(f"http://{host}:{port}")
        page.get_by_text("Accept").click()  # Netron asks whether it may report usage
        page.get_by_text("MatMul", exact=True).first.wait_for(timeout=PATIENCE * 1000)
        page.get_by_text("Square", exact=True).first.wait_for()
    finally:
        netron.stop((host, port))


def test_tensorboard_shows_the_log(view: Any, page: Any, serve: Any, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    folder = view.save(f"{tmp_path / 'log'}/").parent
    port = free_port()
    command = ("-m", "tensorboard.main", "--logdir", str(folder), "--port", str(port))
    serve(f"http://localhost:{port}", *command)
    page.goto(f"http://localhost:{port}/#graphs")
    page.get_by_text("layer_of_ours").first.wait_for(state="attached", timeout=PATIENCE * 1000)


def test_model_explorer_opens_the_json(view: Any, page: Any, serve: Any, tmp_path: Path) -> None:
    pytest.importorskip("model_explorer")
    path = view.save(tmp_path / "g.explorer.json")
    port = free_port()
    command = ("-m", "model_explorer", str(path), f"--port={port}", "--no_open_in_browser")
    serve(f"http://localhost:{port}", *command)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    data = urllib.parse.quote(json.dumps({"models": [{"url": str(path)}]}))
    page.goto(f"http://localhost:{port}/?data={data}")
    page.get_by_text("op node count").wait_for(timeout=PATIENCE * 1000)
    nodes = len(json.loads(path.read_text())["graphs"][0]["nodes"])
    page.get_by_text(f"{nodes} nodes").first.wait_for()
    assert not errors
