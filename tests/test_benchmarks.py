"""The benchmarks' page says of every figure whether it was reached, and draws it."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import plots, report
from benchmarks.rows import FILE, Row, note, noted

ROWS = [
    Row("a median", 24.4, "ms", most=50),
    Row("found", 0.8, "", least=0.9),
    Row("ours | quiet", 1.2, "×", most=1.1, group="a step"),
    Row("theirs", 12.0, "×", group="a step"),
    Row("first picture", 0.1, "s", most=1, group="drawing", at=100),
    Row("first picture", 0.7, "s", most=1, group="drawing", at=10_000),
    Row("callbacks left", 0, "", most=0),
]


def test_a_figure_comes_to_the_page_only_where_one_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FILE, raising=False)
    note("nobody asked", 1.0)
    monkeypatch.setenv(FILE, str(tmp_path / "rows"))
    for row in ROWS[:3]:
        note(row.what, row.found, row.unit, most=row.most, least=row.least, group=row.group)
    assert noted(tmp_path / "rows") == ROWS[:3]
    assert noted(tmp_path / "none") == []


def test_the_table_says_what_was_reached_and_what_was_missed() -> None:
    lines = report.table(ROWS).splitlines()[2:]
    assert [line.split("|")[-2].strip() for line in lines] == [
        "reached",
        "**missed**",
        "**missed**",
        "reached",
        "reached",
        "reached",
    ]
    assert "| a median | 24.4 ms | at most 50 ms | reached |" in lines
    assert r"a step: ours \| quiet" in lines[2]


def test_the_plots_are_whole_and_say_every_figure(tmp_path: Path) -> None:
    assert plots.reach(ROWS, tmp_path / "reach.svg")
    made = plots.groups(ROWS, tmp_path)
    assert made == [("a step", "a-step.svg"), ("drawing", "drawing.svg")]
    for name in ("reach.svg", "a-step.svg", "drawing.svg"):
        assert ElementTree.parse(tmp_path / name).getroot().tag.endswith("svg")
    assert not plots.reach(ROWS[3:4], tmp_path / "nothing.svg")
    assert not (tmp_path / "nothing.svg").exists()


def test_the_same_figures_give_the_same_file(tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        plots.reach(ROWS, tmp_path / name)
    assert (tmp_path / "one.svg").read_text() == (tmp_path / "two.svg").read_text()


def section(name: str, rows: list[Row], machine: str = "- 2 cores") -> report.Section:
    return report.Section(name, f"python -m benchmarks.{name}", "today", [machine], "told", rows)


def test_a_benchmark_run_anew_leaves_the_others_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, place in {"HERE": ".", "PLOTS": "plots", "FOUND": "found.json"}.items():
        monkeypatch.setattr(report, name, tmp_path / place)
    turns = {"slider": ROWS[:1], "load_time": ROWS[1:2]}
    monkeypatch.setattr(report, "run", lambda each, quick: section(each.name, turns[each.name]))
    for name in turns:
        monkeypatch.setattr("sys.argv", ["report", "--only", name])
        report.main()
    page = (tmp_path / "README.md").read_text()
    assert page.index("## load_time") < page.index("## slider")
    assert "| a median | 24.4 ms |" in page and "| found | 0.8 |" in page
    assert report.kept()["slider"] == section("slider", ROWS[:1])


def test_another_machine_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "PLOTS", tmp_path)
    here, there = section("load_time", ROWS[:1]), section("slider", ROWS[1:2], "- 64 cores")
    assert report.page([here, there]).count("On another machine:\n\n- 64 cores") == 1
    assert "On another machine" not in report.page([here, here])
