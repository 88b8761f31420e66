"""A real IPython shell with tfmagic loaded, in this process or as a kernel of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell


@pytest.fixture
def shell() -> Iterator[Any]:
    """The shell of this process, with an empty namespace and the extension loaded."""
    here = InteractiveShell.instance()
    here.reset(new_session=True)
    here.colors = "nocolor"
    here.run_line_magic("load_ext", "tfmagic")
    yield here
    here.run_line_magic("unload_ext", "tfmagic")
    here.reset(new_session=True)


# --- a kernel in a process of its own, for what a process can do only once ------------------

SHOWN = ("display_data", "update_display_data", "execute_result")
PATIENCE = 120  # seconds, for a cell that never ends


@dataclass
class Ran:
    """What one cell left: prints, displays (its result among them), the error's name and text."""

    printed: str = ""
    shown: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""

    @property
    def text(self) -> str:
        """Everything that a terminal would have shown."""
        return "\n".join([self.printed, *(data["text/plain"] for data in self.shown), self.error])

    @property
    def html(self) -> str:
        """The HTML of everything that was displayed."""
        return "\n".join(data.get("text/html", "") for data in self.shown)


class Kernel:
    """Runs cells one after the other."""

    def __init__(self, client: Any, manager: Any) -> None:
        self.client = client
        self.manager = manager

    def run(self, code: str, timeout: float = PATIENCE) -> Ran:
        """Run one cell to its end."""
        ran = Ran()

        def hear(message: Any) -> None:
            content = message["content"]
            if message["msg_type"] == "stream":
                ran.printed += content["text"]
            elif message["msg_type"] in SHOWN:
                ran.shown.append(content["data"])
            elif message["msg_type"] == "error":
                ran.error = f"{content['ename']}: {content['evalue']}"

        self.client.execute_interactive(code, timeout=timeout, output_hook=hear)
        return ran


@contextmanager
def kernel(log: Path, language: str = "en", **environment: str) -> Iterator[Kernel]:
    """A kernel with tfmagic loaded; what it logs goes into the file ``log``."""
    from jupyter_client.manager import start_new_kernel

    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "IPYTHON", "TF_"))}
    with log.open("w") as out:
        manager, client = start_new_kernel(
            kernel_name="python3",
            env=kept | {"TF_CPP_MIN_LOG_LEVEL": "3"} | environment,
            stderr=out,
            stdout=out,
        )
        try:
            here = Kernel(client, manager)
            here.run(f'%load_ext tfmagic\n%config TFMagic.lang = "{language}"')
            yield here
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


@pytest.fixture(scope="session")
def new_kernel() -> Callable[..., Any]:
    """``with new_kernel(log) as kernel:``, as :func:`kernel` says."""
    return kernel


# --- TensorFlow workers in processes of their own, on this machine's loopback ----------------


class Workers:
    """Starts workers with the command ``tfmagic worker``, and ends them all."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[str]] = []

    def start(self, count: int = 1, port: int = 0) -> list[Worker]:
        """So many workers, each up and listening."""
        command = [sys.executable, "-m", "tfmagic", "worker", "--port", str(port)]
        started = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            for _ in range(count)
        ]
        self._started += started
        return [Worker(process) for process in started]

    def end(self) -> None:
        for process in self._started:
            process.kill()
            process.wait()
            assert process.stdout
            process.stdout.close()


class Worker:
    """One worker process; ``address`` is where it listens, told by what it printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout
        self.printed = "".join(process.stdout.readline() for _ in range(3))
        found = re.search(r"grpc://([\w.]+:\d+)", self.printed)
        assert found, self.printed
        self.address = found[1]

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[..., list[Any]]]:
    """``start(2)`` gives two running workers; all are ended after the module."""
    workers = Workers()
    yield workers.start
    workers.end()
