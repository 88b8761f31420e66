"""What a cell shows: as text, as HTML, as files, with one set of tables behind all."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from wcwidth import wcswidth

from tfmagic import language
from tfmagic.analysis.graph import build
from tfmagic.errors import OptionError, RenderError
from tfmagic.language import Message
from tfmagic.model import FORMAT_VERSION, Failure, Gap, Gradient, Recording, Verdict
from tfmagic.render import html, layout, tables, text
from tfmagic.render.report import GraphView, Report
from tfmagic.render.summary import summary

VOID = {"br", "img", "meta", "wbr"}
BROKEN = Verdict(
    code="stop_gradient",
    target="Loss",
    source="W_1",
    said=Message.plain("It stops at line 2 <here>."),
    mended="Y_hat = tf.matmul(W_2, H_1)",
    ops=(0, 1),
)


class Page(HTMLParser):
    """Reads HTML and refuses a tag that is not closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def read(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    assert not page.open
    return page


def with_verdict(recording: Recording, verdict: Verdict = BROKEN) -> Recording:
    """The lesson, its first gradient None."""
    (call,) = recording.gradients
    first = Gradient("Loss", "W_1", "[0]", variable=0, verdict=verdict)
    return replace(recording, gradients=(replace(call, gradients=(first, call.gradients[1])),))


# --- the summary -------------------------------------------------------------------------


def test_the_summary(lesson: Recording) -> None:
    line = summary(replace(lesson, ops=tuple(replace(op, device=CPU) for op in lesson.ops)))
    assert line == (
        "5 forward ops, 5 backward · 2 variables · lines 1–4 · took 4 ms (recorder included) · CPU:0"
    )


CPU = "/job:localhost/replica:0/task:0/device:CPU:0"


def test_the_summary_in_korean(lesson: Recording) -> None:
    language.use("ko")
    assert summary(lesson) == (
        "순전파 연산 5개, 역전파 5개 · 변수 2개 · 1–4번째 줄 · 실행 4 ms(기록 시간 포함)"
    )


def test_an_empty_recording_is_shown() -> None:
    bundle = Report(Recording()).mimebundle()
    assert bundle["text/plain"] == "0 forward ops"
    assert not read(bundle["text/html"]).all("img")


# --- the gradient table ------------------------------------------------------------------


def test_a_long_heading_may_go_on_in_the_next_line(lesson: Recording) -> None:
    assert "gradient/<wbr>weight</th>" in Report(lesson).html()


def test_the_gradient_table_holds_the_lessons_figures(lesson: Recording) -> None:
    table = tables.gradients(lesson)
    assert table is not None
    assert [c.title for c in table.columns] == [
        *("of", "with respect to", "shape", "gradient", "norm"),
        *("min", "max", "zeros", "NaN/Inf", "gradient/weight"),
    ]
    assert table.rows[1].cells == (
        *("Loss", "W_2", "(1, 2)", "[[-0.68765, -0.38832]]", "0.78972"),
        *("-0.68765", "-0.38832", "0 %", "0", "—"),
    )


def test_a_none_gradient_says_why_and_how_to_repair_it(lesson: Recording) -> None:
    table = tables.gradients(with_verdict(lesson))
    assert table is not None
    row = table.rows[0]
    assert row.cells[4] == "None" and row.cells[2] == "stop_gradient"
    assert set(row.cells[5:]) == {"—"}
    assert (row.tone, row.note, row.code) == ("bad", BROKEN.message, BROKEN.repair)


def test_a_gradient_of_many_numbers_stands_in_figures(make: Any) -> None:
    m = make()
    big = m.tensor([[0.0, float("nan")]] + [[1.0, 2.0]] * 20)
    gradient = Gradient("loss", "w", shape=(21, 2), value=m.tensors[big].value, weight_norm=2.0)
    m.gradient(m.op("Sum", [big], name="loss"), gradient)
    table = tables.gradients(m.done())
    assert table is not None
    (row,) = table.rows
    assert row.cells == ("loss", "w", "(21, 2)", "10", "0", "2", "2 %", "1/0", "5")
    assert row.tone == "bad"


def test_a_loop_is_one_row_with_its_last_turn(make: Any) -> None:
    m = make(["loss = w * w", "tape.gradient(loss, w)"])
    for i in range(100):
        loss = m.op("Square", [m.tensor(1.0)], name="loss", line=0)
        value = m.tensors[m.tensor(float(i))].value
        m.gradient(loss, Gradient("loss", "w", value=value), line=1)
    table = tables.gradients(m.done())
    assert table is not None
    assert len(table.rows) == 1 and table.rows[0].cells[3] == "99"
    assert table.notes == ("Line 2 computed these 100 times; the last time is shown.",)


def test_what_the_cell_asked_for_is_not_told_twice(lesson: Recording) -> None:
    (call,) = lesson.gradients
    worked_out = replace(call, origin="inferred", index=1, line=None)
    table = tables.gradients(replace(lesson, gradients=(worked_out, call)))
    assert table == tables.gradients(lesson)


def test_gradients_of_several_lines_tell_the_line(lesson: Recording) -> None:
    (call,) = lesson.gradients
    table = tables.gradients(replace(lesson, gradients=(call, replace(call, index=1, line=2))))
    assert table is not None
    assert [row.cells[0] for row in table.rows] == ["line 4"] * 2 + ["line 3"] * 2


def test_a_call_that_raised_has_a_row(make: Any) -> None:
    m = make()
    m.gradient(m.op("Round", [m.tensor(1.0)], name="loss"), error="LookupError: no gradient")
    table = tables.gradients(m.done())
    assert table is not None
    assert table.rows[0].note == "LookupError: no gradient"
    assert len(table.rows[0].cells) == len(table.columns)


def test_a_long_table_keeps_what_is_wrong(make: Any) -> None:
    m = make()
    loss = m.op("Sum", [m.tensor(1.0)], name="loss")
    fine = m.tensors[0].value
    gradients = [Gradient("loss", f"w{i}", value=fine) for i in range(50)]
    gradients[40] = Gradient("loss", "w40")
    m.gradient(loss, *gradients)
    table = tables.gradients(m.done())
    assert table is not None
    short = table.head(10)
    assert len(short.rows) == 10 and short.more == 40
    assert "w40" in [row.cells[1] for row in short.rows]


# --- text --------------------------------------------------------------------------------


def test_text_tells_everything(lesson: Recording) -> None:
    text = Report(with_verdict(lesson)).text()
    for part in ("5 forward ops", "None", "It stops at line 2", "Y_hat = tf.matmul(W_2, H_1)"):
        assert part in text
    assert re.search(r"3 +MatMul \(op\) +1 W_1, 2 X +H_1 = \[\[0.85\],", text)


def test_text_has_colour_only_where_it_is_asked_for(lesson: Recording) -> None:
    report = Report(with_verdict(lesson))
    assert "\x1b" not in report.text()
    assert "\x1b[31m" in report.text(colour=True)


def test_korean_columns_stand_under_each_other(make: Any) -> None:
    language.use("ko")
    m = make()
    value = m.tensors[m.tensor(0.5)].value
    gradients = [Gradient("손실", name, value=value) for name in ("가중치", "w", "편향_2")]
    m.gradient(m.op("Sum", [m.tensor(1.0)], name="손실"), *gradients)
    rows = [line for line in Report(m.done(), graph=False).text().splitlines() if "손실" in line]
    assert len({wcswidth(line) for line in rows}) == 1
    assert len({wcswidth(line[: line.index("0.5")]) for line in rows}) == 1


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
def test_no_line_is_wider_than_the_terminal_and_no_figure_is_cut(
    lesson: Recording, width: int
) -> None:
    text = Report(lesson, graph=False).text(width=width)
    table = text.split("Gradients", 1)[1]
    assert max(map(wcswidth, table.splitlines())) <= width
    if width >= 80:
        assert "0.78972" in table


# --- HTML --------------------------------------------------------------------------------


def test_html_is_whole_and_carries_the_picture(lesson: Recording) -> None:
    page = read(Report(lesson).html())
    (image,) = page.all("img")
    assert image["alt"] and image["alt"].startswith("Graph of 10 boxes")
    kind, _, data = str(image["src"]).partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(data).startswith(b"<svg")
    assert len(page.all("caption")) == 3 and len(page.all("details")) == 2
    assert {attrs["scope"] for attrs in page.all("th")} == {"col", "row"}
    assert "-0.22652" in page.text


def test_html_and_text_tell_the_same(lesson: Recording) -> None:
    report = Report(with_verdict(lesson))
    page = read(report.html()).text.replace("\xa0", " ")
    table = tables.gradients(with_verdict(lesson))
    assert table is not None
    for row in table.rows:
        for cell in row.cells:
            for line in cell.split("\n"):
                assert line in page and line in report.text()


def test_html_fetches_nothing_and_runs_nothing(lesson: Recording) -> None:
    page = read(Report(lesson).html())
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "svg"}
    assert not [a for _, attrs in page.tags for a in attrs if a.startswith("on")]


def test_whatever_the_user_wrote_is_escaped(make: Any) -> None:
    evil = '<script>alert("x")</script>&\x1b[31m'
    m = make([evil])
    w = m.variable(evil)
    loss = m.op(evil, [m.read(w), m.tensor(2.0, name=evil)], name=evil, scope=evil, line=0)
    verdict = Verdict("disconnected", evil, evil, said=Message.plain(evil), mended=evil)
    m.gradient(loss, Gradient(evil, evil, verdict=verdict), line=0)
    recording = m.done(
        complete=(Gap("x", Message.plain(evil)),),
        failure=Failure(evil, evil, 0),
        said=(Message.plain(evil),),
        seconds=1.0,
    )
    html = Report(recording, evil).html()
    page = read(html)
    assert not page.all("script") and "\x1b" not in html
    assert "\x1b" not in Report(recording, evil).text()
    assert '<script>alert("x")' in page.text


def test_what_was_not_seen_and_the_failure_are_told(lesson: Recording) -> None:
    recording = replace(
        lesson,
        complete=(Gap("threads", Message.plain("2 tensors came from another thread.")),),
        failure=Failure("ValueError", "bad shape", 2),
    )
    for shown in Report(recording).mimebundle().values():
        assert "Not seen: 2 tensors came from another thread." in shown
        assert "The cell stopped on line 3 with ValueError: bad shape" in shown


def test_an_exception_without_a_message_ends_the_sentence(lesson: Recording) -> None:
    told = Report(replace(lesson, failure=Failure("StopIteration", "", 2))).text()
    assert "The cell stopped on line 3 with StopIteration\n" in told + "\n"


def test_without_an_engine_the_table_is_left_open(
    lesson: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "ENGINES", ())
    view = Report(lesson)
    page = read(view.html())
    assert not page.all("img")
    assert "No picture: " in page.text
    assert "open" in page.all("details")[0]
    with pytest.raises(RenderError):
        view.svg()


def test_the_path_of_a_verdict_is_marked(lesson: Recording) -> None:
    report = Report(with_verdict(lesson))
    assert [n.title for n in report.graph.nodes if n.marked] == ["W_1", "MatMul", "MatMul"]
    assert "red = where a gradient breaks" in read(report.html()).text


def test_without_the_graph_there_is_only_the_table(lesson: Recording) -> None:
    page = read(Report(lesson, graph=False).html())
    assert not page.all("img") and len(page.all("table")) == 1


@pytest.mark.parametrize("chosen", language.LANGUAGES)
def test_the_language_is_told_to_the_browser(lesson: Recording, chosen: str) -> None:
    language.use(chosen)
    assert f'<div class="tfmagic" lang="{chosen}">' in Report(lesson).html()


# --- a graph by itself -------------------------------------------------------------------


def test_a_graph_is_drawn_as_it_is(lesson: Recording) -> None:
    view = GraphView(build(lesson), "f(x)")
    assert view.dot() == GraphView(lesson).dot()
    assert view.text().startswith("f(x)\n")
    assert read(view.html()).all("img")
    assert view._repr_mimebundle_() == view.mimebundle()


# --- files -------------------------------------------------------------------------------


def test_files(lesson: Recording, tmp_path: Path) -> None:
    view = GraphView(lesson, "<lesson>")
    for ending, start in ((".svg", "<svg"), (".dot", "digraph"), (".html", "<!DOCTYPE html>")):
        path = view.save(tmp_path / f"g{ending}")
        assert path.read_text(encoding="utf-8").startswith(start)
    assert (
        json.loads(view.save(tmp_path / "g.JSON").read_text(encoding="utf-8"))["version"]
        == FORMAT_VERSION
    )
    assert read((tmp_path / "g.html").read_text(encoding="utf-8")).all("title")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["g.JSON", "g.dot", "g.html", "g.svg"]


def test_another_ending_names_those_that_there_are(lesson: Recording, tmp_path: Path) -> None:
    with pytest.raises(OptionError) as caught:
        GraphView(lesson).save(tmp_path / "g.bmp")
    assert "can be saved as .svg, .png, .pdf, .dot, .html, .json" in str(caught.value)
    with pytest.raises(OptionError) as caught:
        GraphView(build(lesson)).save(tmp_path / "g.json")
    assert ".json" not in str(caught.value).split("as", 1)[1]


def test_a_missing_folder_is_named(lesson: Recording, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="there is no folder"):
        GraphView(lesson).save(tmp_path / "no" / "g.svg")


def test_a_file_is_written_whole_or_not_at_all(
    lesson: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "g.svg"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OptionError, match="No space left"):
        GraphView(lesson).save(path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_saved_file_is_readable_as_any_other(lesson: Recording, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("")
    saved = GraphView(lesson).save(tmp_path / "g.dot")
    assert saved.stat().st_mode == plain.stat().st_mode


# --- without TensorFlow ------------------------------------------------------------------


def test_a_recording_is_shown_where_there_is_no_tensorflow(
    lesson: Recording, tmp_path: Path
) -> None:
    file = tmp_path / "r.json"
    file.write_text(lesson.to_json(), encoding="utf-8")
    code = (
        "import sys; sys.modules['tensorflow'] = sys.modules['matplotlib'] = None\n"
        "import tfmagic; from tfmagic.render.report import Report\n"
        f"print(Report(tfmagic.load({str(file)!r})).mimebundle()['text/plain'])"
    )
    run = [sys.executable, "-c", code]
    environment = os.environ | {"PYTHONIOENCODING": "utf-8", "LANG": "C.UTF-8", "LC_ALL": ""}
    done = subprocess.run(run, check=False, capture_output=True, encoding="utf-8", env=environment)
    assert done.returncode == 0, done.stderr
    assert "H_1 = [[0.85]," in done.stdout and not done.stderr


WIDE = tables.Table(
    "Held",
    (
        tables.Column("name", code=True),
        tables.Column("kind"),
        tables.Column("value", code=True),
        tables.Column("memory", "right", spare=1),
    ),
    (tables.Row(("W_1", "variable", "[[0.11, 0.21, 0.31],\n [0.12, 0.08, 0.32]]", "24 B")),),
)


def test_a_column_that_has_no_room_is_named() -> None:
    assert "memory" in text.render("", [WIDE], [], width=100)
    narrow = text.render("", [WIDE], [], width=48)
    assert "Too narrow to show: memory." in narrow and "24 B" not in narrow


def test_what_explains_a_column_stands_where_the_column_does() -> None:
    noted = replace(WIDE, columns=(*WIDE.columns[:3], replace(WIDE.columns[3], note="In bytes.")))
    assert "In bytes." in text.render("", [noted], [], width=100)
    assert "In bytes." not in text.render("", [noted], [], width=48)
    assert "In bytes." in html.table(noted)


def test_a_heading_over_figures_takes_two_lines_where_room_is_short() -> None:
    columns = (*WIDE.columns[:3], tables.Column("memory of it", "right"))
    long = replace(WIDE, columns=columns)
    assert "memory of it" in text.render("", [long], [], width=100)
    lines = text.render("", [long], [], width=52).split("\n")
    assert any(line.endswith(" memory") for line in lines)
    assert any(line.endswith("value                   of it") for line in lines)


def test_a_heading_of_the_page_breaks_between_groups_of_words_only() -> None:
    columns = (tables.Column("changed by In [18]"), tables.Column("gradient/weight"))
    page = html.table(tables.Table("Held", columns, ()))
    assert "changed\N{NO-BREAK SPACE}by In\N{NO-BREAK SPACE}[18]" in page
    assert "gradient/<wbr>weight" in page


def test_where_no_table_fits_each_row_is_a_list_that_breaks_nothing() -> None:
    lines = text.render("", [WIDE], [], width=30).split("\n")
    assert "W_1" in lines and "  memory: 24 B" in lines
    assert "    [[0.11, 0.21, 0.31]," in lines
