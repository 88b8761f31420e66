"""The table of releases: a run that did not come to its end is no success, and a row that is
tried anew leaves the others in the table."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import compat
from tests.compat import Found, Row

NOTHING = "def test_nothing(): pass\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An environment whose Python is the one that runs here."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("more", "begins"),
    [
        ("", "1 passed in "),
        ("def test_wrong(): print('7 passed in 2s'); assert 0", "1 failed, 1 passed (`"),
        ("def test_stop(): raise KeyboardInterrupt", "**did not finish** (KeyboardInterrupt): 1 p"),
        ("import os\ndef test_die(): os.kill(os.getpid(), 9)", "**did not finish** (SIGKILL): no "),
        ("import os\ndef test_end(): os._exit(0)", "**did not finish** (exit code 0): no counts"),
        ("import nothing_of_that_name", "**did not finish** (Interrupted: 1 error during collec"),
    ],
)
def test_only_a_run_that_came_to_its_end_is_good(home: Path, more: str, begins: str) -> None:
    file = home / "test_it.py"
    file.write_text(NOTHING + more)
    said, good = compat.run_tests(home, [str(file)])
    assert said.startswith(begins)
    assert good == (more == "")


def test_the_names_of_what_failed_stay_in_their_cell() -> None:
    report = "".join(f"FAILED tests/t.py::test[a|{n}] - no\n" for n in range(7))
    said, good = compat.outcome(1, report + "7 failed, 2 passed in 3.10s (0:00:03)\n")
    assert not good and said.startswith(r"7 failed, 2 passed (`tests/t.py::test[a\|0]`, ")
    assert said.endswith(r"`tests/t.py::test[a\|4]`, …)")


def test_a_row_that_is_tried_anew_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = iter(
        [Found("9 passed"), Found("8 passed", False, "3.11.7 | 2.16.2"), Found("10 passed")]
    )
    days = iter(["2026-01-01", "2026-01-02", "2026-01-03"])
    asked: list[tuple[str, ...]] = []

    def judge(row: Row, tests: list[str]) -> Found:
        asked.append((row.name, *tests))
        return next(turns)

    monkeypatch.setattr(compat, "TABLE", tmp_path / "COMPAT.md")
    monkeypatch.setattr(compat, "today", lambda: next(days))
    monkeypatch.setattr(compat, "judge", judge)
    ended = []
    for words in (["newest"], ["oldest", "--tests", "tests/runtime"], ["newest"]):
        monkeypatch.setattr("sys.argv", ["compat", *words])
        ended.append(compat.main())
    assert ended == [0, 1, 0]
    assert asked[:2] == [("newest", *compat.TESTS), ("oldest", "tests/runtime")]
    oldest, newest = (tmp_path / "COMPAT.md").read_text().splitlines()[-2:]
    assert oldest == "| oldest | 3.11.7 | 2.16.2 | tests/runtime | 8 passed | 2026-01-02 |"
    assert "10 passed | 2026-01-03" in newest and newest.startswith("| newest | 3.13 |")


def test_each_line_fills_every_column() -> None:
    full = Found("1 passed", True, " | ".join(["3.13.0"] + ["1.0"] * 5))
    for found in (full, Found("not tried: no Python 3.13 here")):
        line = compat.table_line(compat.ROWS[0], compat.TESTS, found)
        assert line.count("|") == len(compat.COLUMNS) + 1, line
