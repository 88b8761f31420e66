"""The system's own Graphviz: its program ``dot``, as a process with a time limit."""

from __future__ import annotations

import shutil
import subprocess
import threading

from tfmagic.errors import RenderError

__all__ = ["Command"]


class Command:
    """The ``dot`` that is found on the PATH."""

    name = "dot"

    def layout(self, dot: str, budget: float, form: str = "svg") -> str:
        """SVG for ``dot``, or a RenderError (see :class:`tfmagic.render.layout.Engine`)."""
        return self.drawn(dot, budget, form).decode("utf-8", "replace")

    def drawn(self, dot: str, budget: float, form: str) -> bytes:
        """The same for every format that this Graphviz writes, such as ``png`` and ``pdf``."""
        program = shutil.which("dot")
        if program is None:
            raise RenderError("layout.no_engine")
        done = _run(program, dot, budget, form)
        if done.returncode == 0:
            return done.stdout
        detail = done.stderr.decode("utf-8", "replace").strip()
        # Everything else is its own trouble: a crash, a plug-in that is missing.
        key = "layout.bad_dot" if "syntax error" in detail else "layout.failed"
        raise RenderError(key, detail=detail or f"dot: {done.returncode}")


def _run(program: str, dot: str, budget: float, form: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            [program, f"-T{form}"],
            input=dot.encode("utf-8", "replace"),
            capture_output=True,
            timeout=min(budget, threading.TIMEOUT_MAX),
            check=False,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # Windows: no console
        )
    except subprocess.TimeoutExpired as error:
        raise RenderError("layout.over_budget", seconds=budget) from error
    except OSError as error:
        raise RenderError("layout.failed", detail=str(error)) from error
