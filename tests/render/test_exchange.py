"""A recording for other viewers, each file read by the viewer's own reader."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tfmagic.errors import OptionError, RenderError
from tfmagic.model import Recording, Run, Series
from tfmagic.render import files
from tfmagic.render.report import GraphView


@pytest.fixture
def hostile(make: Any) -> Recording:
    """Names that no GraphDef allows, one of them twice."""
    m = make(["y = f(x)"])
    value = m.tensor([1.0], name="x/../<y>\0")
    for scope in ("a b/ü", "a_b/한글", "<script>", "<script>"):
        value = m.op("Neg", [value, value], scope=scope, attrs=(("T", "float32"), ("n", (1, 2))))
    return m.done()


@pytest.mark.parametrize("language", ["en", "ko"])
def test_tensorflow_reads_the_graph_def(
    lesson: Recording, hostile: Recording, tmp_path: Path, language: str
) -> None:
    tf = pytest.importorskip("tensorflow")
    from tfmagic import language as languages

    languages.use(language)
    for recording in (lesson, hostile):
        data = GraphView(recording).save(tmp_path / "g.pb").read_bytes()
        graph = tf.compat.v1.GraphDef.FromString(data)
        names = [node.name for node in graph.node]
        assert len(set(names)) == len(names)
        for node in graph.node:
            assert {name.partition(":")[0] for name in node.input} <= set(names)
    node = next(n for n in graph.node if n.op == "Neg")
    assert node.attr["T"].type == 1 and list(node.attr["n"].list.i) == [1, 2]
    assert len(node.attr["_output_shapes"].list.shape) == 1


def test_our_own_reader_opens_it_again(lesson: Recording, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    from tfmagic.runtime.tape.graph_subject import subject_of

    path = GraphView(lesson).save(tmp_path / "g.pb")
    again = subject_of(str(path), dict).recording
    assert again is not None
    assert [op.type for op in again.ops] == [op.type for op in lesson.forward]
    assert {v.name for v in again.variables} == {"W_1", "W_2"}


def test_tensorboard_reads_the_log(lesson: Recording, tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    path = GraphView(lesson).save(f"{tmp_path / 'log'}/")
    assert "tfevents" in path.name and path.parent == tmp_path / "log"
    log = reader.EventAccumulator(str(path.parent))
    log.Reload()
    assert {"MatMul", "W_1", "X"} <= {node.name for node in log.Graph().node}


def test_model_explorers_schema_fits(hostile: Recording, tmp_path: Path) -> None:
    builder = pytest.importorskip("model_explorer.graph_builder")
    path = GraphView(hostile, "<b>").save(tmp_path / "g.explorer.json")
    (graph,) = json.loads(path.read_text(encoding="utf-8"))["graphs"]
    assert set(graph) <= {f.name for f in builder.dataclasses.fields(builder.Graph)}
    ids = {node["id"] for node in graph["nodes"]}
    for node in graph["nodes"]:
        builder.GraphNode(**node)
        for edge in node["incomingEdges"]:
            builder.IncomingEdge(**edge)
            assert edge["sourceNodeId"] in ids


def test_the_longest_ending_counts(lesson: Recording, tmp_path: Path) -> None:
    recording = GraphView(lesson).save(tmp_path / "g.json").read_text(encoding="utf-8")
    explorer = GraphView(lesson).save(tmp_path / "g.explorer.json").read_text(encoding="utf-8")
    assert "tfmagic-recording" in recording and "namespace" in explorer


@pytest.mark.dot
@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_graphviz_prints(lesson: Recording, tmp_path: Path, ending: str, start: bytes) -> None:
    path = GraphView(lesson).save(tmp_path / f"g.{ending}")
    assert path.read_bytes().startswith(start) and path.stat().st_size > 5_000


def test_without_dot_it_is_said_how_to_get_it(
    lesson: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RenderError, match="apt-get install graphviz"):
        GraphView(lesson).save(tmp_path / "g.png")
    assert not (tmp_path / "g.png").exists()


def test_a_folder_that_cannot_be_made_is_one_line(lesson: Recording, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="there is no folder"):
        GraphView(lesson).save(f"{tmp_path / 'no' / 'log'}/")
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match="could not be written"):
        files.folder(tmp_path / "file")


def test_tensorboard_reads_the_curves_of_a_run_and_the_last_weights(
    lesson: Recording, tmp_path: Path
) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    series = (
        Series("loss", "loss", (2.0, 1e200, 0.5)),
        Series("gradient", "<W 1>", (1.0, float("nan"), 3.0)),
    )
    run = Run("", None, 3, 0, 9, 1.0, (1, 5, 9), series)
    path = GraphView(replace(lesson, runs=(run,))).save(f"{tmp_path / 'log'}/")
    log = reader.EventAccumulator(str(path.parent))
    log.Reload()
    loss = log.Scalars("loss/loss")
    assert [(e.step, e.value) for e in loss] == [(1, 2.0), (5, float("inf")), (9, 0.5)]
    (tag,) = [t for t in log.Tags()["scalars"] if t.startswith("gradient/")]
    assert [e.value for e in log.Scalars(tag)][::2] == [1.0, 3.0]
    (weights,) = log.Histograms("last_step/weight/W_1")
    whole = next(v for v in lesson.variables if v.name == "W_1").value.stats
    assert whole is not None and weights.step == 9
    assert weights.histogram_value.num == whole.count
    assert weights.histogram_value.min == pytest.approx(whole.min)
