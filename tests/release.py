"""``make release``: builds the sdist and, from it, the wheel, and tries the wheel where
nothing else is installed.  What passed lies in dist/.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TENSORFLOW = os.environ.get("TENSORFLOW", "tensorflow>=2.16")

FIRST_EXAMPLE = """
import re, sys
from pathlib import Path
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

shell = InteractiveShell.instance()
cells = re.findall(r"```python\\n(.*?)```", Path(sys.argv[1]).read_text("utf-8"), re.S)
first = [next(c for c in cells if c.startswith(how)) for how in ("%load_ext tfmagic", "%%tape\\n")]
for cell in first:
    with capture_output() as out:
        result = shell.run_cell(cell)
    assert result.success, cell
import tfmagic
assert "site-packages" in tfmagic.__file__, tfmagic.__file__
assert {g.source for g in tfmagic.last.gradients[0].gradients} == {"W_1", "W_2"}
assert any("data:image/svg+xml" in shown.data.get("text/html", "") for shown in out.outputs)
with capture_output() as out:
    shell.run_line_magic("tfvars", "")
assert "W_1" in out.outputs[0].data["text/plain"]
"""


def run(*command: object) -> None:
    """Run a command outside the repository, so that only what is installed is seen."""
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run(
        [str(word) for word in command], check=True, cwd=tempfile.gettempdir(), env=clean
    )


def fresh(folder: Path) -> Path:
    """The Python of an empty environment."""
    venv.create(folder, with_pip=True)
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


def built(python: Path, into: Path) -> tuple[Path, Path]:
    """The sdist and the wheel made from it."""
    run(python, "-m", "pip", "-q", "install", "build")
    run(python, "-m", "build", "-o", into, ROOT)
    return next(into.glob("*.tar.gz")), next(into.glob("*.whl"))


def check_contents(sdist: Path, wheel: Path) -> None:
    """Every file of the package is inside, and nothing else."""
    names = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    kept = subprocess.check_output(["git", "ls-files", "tfmagic"], cwd=ROOT, text=True)
    assert names == set(kept.split()), names ^ set(kept.split())
    with tarfile.open(sdist) as packed:
        inside = {name.partition("/")[2] for name in packed.getnames()}
    assert names <= inside, names - inside


def main() -> None:
    """Build, look inside, install, try."""
    dist = ROOT / "dist"
    for old in (*dist.glob("*.whl"), *dist.glob("*.tar.gz")):
        old.unlink()
    with tempfile.TemporaryDirectory() as folder:
        sdist, wheel = built(fresh(Path(folder, "build")), dist)
        check_contents(sdist, wheel)
        python = fresh(Path(folder, "empty"))
        run(python, "-m", "pip", "-q", "install", wheel, TENSORFLOW)
        run(python, "-m", "tfmagic", "doctor")
        run(python, "-c", FIRST_EXAMPLE, ROOT / "README.md")
    print(f"{sdist.name} and {wheel.name} work in an empty environment.")


if __name__ == "__main__":
    sys.exit(main())
