"""The system's own ``dot`` program, through the ``graphviz`` package."""

from __future__ import annotations

import shutil
import subprocess

from tfmagic.errors import RenderError

__all__ = ["SYSTEM", "System"]


class System:
    """The engine ``"dot"``."""

    name = "dot"

    def available(self) -> bool:
        """Whether a ``dot`` stands on the PATH."""
        return shutil.which("dot") is not None

    def svg(self, dot: str, budget: float) -> str:
        """Lay out ``dot`` in another process, which is ended after ``budget`` seconds."""
        from graphviz.backend import dot_command, execute

        try:
            done = execute.run_check(
                dot_command.command("dot", "svg"),
                input=dot.encode("utf-8", "replace"),
                capture_output=True,
                quiet=True,
                timeout=budget,
            )
        except subprocess.TimeoutExpired:
            raise RenderError("report.too_slow", seconds=budget) from None
        except (execute.ExecutableNotFound, execute.CalledProcessError, OSError) as error:
            raise RenderError("report.layout_failed", detail=str(error)[:200]) from None
        return bytes(done.stdout).decode("utf-8")


SYSTEM = System()
