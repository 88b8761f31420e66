"""What a wheel and an sdist of this tree hold: the package whole, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

import tfmagic

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("tfmagic", "tests", "docs", "examples", "benchmarks")
FILES = {
    "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.ko.md",
    "README.md", "pyproject.toml",
}  # fmt: skip
#: What the builder writes, and its own note of what it leaves out.
BUILT = {"PKG-INFO", ".gitignore"}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both, built here without a network."""
    pytest.importorskip("hatchling", reason="hatchling, which builds the package, is not here")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def here(folders: Iterable[str]) -> set[str]:
    """Every file of these folders that is meant to be kept."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file())
    paths = (path.relative_to(ROOT) for path in found)
    return {p.as_posix() for p in paths if not any(re.match(r"\.|__pycache__", x) for x in p.parts)}


def test_a_wheel_holds_the_package_and_nothing_else(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        inside = {name for name in packed.namelist() if ".dist-info/" not in name}
        metadata = {
            name.partition(".dist-info/")[2]: packed.read(name).decode()
            for name in packed.namelist()
            if ".dist-info/" in name
        }
    assert inside == here(["tfmagic"])
    for kind in ("py.typed", ".css", ".js", "/ko/help.toml", "/en/help.toml"):
        assert any(name.endswith(kind) for name in inside), kind
    assert f"\nVersion: {tfmagic.__version__}\n" in metadata["METADATA"]
    assert "tfmagic = tfmagic.__main__:main" in metadata["entry_points.txt"]
    assert "licenses/LICENSE" in metadata


def test_an_sdist_holds_what_a_reader_and_a_tester_need(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as packed:
        members = [m for m in packed.getmembers() if m.isfile()]
    inside = {member.name.partition("/")[2] for member in members}
    assert inside == here(FOLDERS) | FILES | BUILT
