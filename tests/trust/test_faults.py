"""What the machine refuses, a full disk or a closed output, costs a report and never a cell."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

import tfmagic
from tfmagic.errors import LoadError, OptionError, RenderError, TfmagicError
from tfmagic.render import layout
from tfmagic.render.report import GraphView

ENDINGS = [".svg", ".html", ".json", ".dot", ".pb", ".explorer.json"]
NO_ROOM = """
import json, resource, sys
import tfmagic
from tfmagic.errors import TfmagicError
from tfmagic.render.report import GraphView

view = GraphView(tfmagic.load(open(sys.argv[1]).read()), "g")
view.html()
said = {}
for path in sys.argv[2:]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))
    try:
        said[path] = f"saved {view.save(path)}"
    except TfmagicError as error:
        said[path] = f"line {error}"
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
print(json.dumps(said))
"""
NO_OUTPUT = """
import json, os, sys
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "tfmagic")
shell.run_cell("import os, sys, tensorflow as tf; w = tf.Variable([1.0, 2.0])")
kept, left = os.dup(1), {}
for how in sys.argv[1:]:
    error = None
    try:
        error = shell.run_cell(f"%%tape\\n{how}\\ny = float(tf.reduce_sum(w * 2.0))").error_in_exec
        shell.run_cell("%%tape\\nz = y + float(w[0])")
    except BaseException as raised:
        error = raised
    os.dup2(kept, 1)
    sys.stdout = open(os.dup(kept), "w")
    left[how] = [repr(error), shell.user_ns.pop("y", None), shell.user_ns.pop("z", None)]
print(json.dumps(left), file=open(os.dup(kept), "w"), flush=True)
os._exit(0)
"""


@pytest.fixture(scope="module")
def recorded() -> Any:
    w = tf.Variable([[1.0, 2.0]], name="w")
    with tfmagic.record() as rec:
        tf.reduce_sum(tf.tanh(w) * 2.0)
    return rec.recording


@pytest.fixture
def shell() -> Iterator[Any]:
    here = InteractiveShell.instance()
    here.reset(new_session=True)
    here.run_line_magic("load_ext", "tfmagic")
    yield here
    here.run_line_magic("unload_ext", "tfmagic")


def answer(code: str, *arguments: str) -> Any:
    """The last line that a process of its own printed, read as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_full_disk_leaves_the_old_file(recorded: Any, tmp_path: Path) -> None:
    source, folder = tmp_path / "r.json", tmp_path / "saved"
    source.write_text(recorded.to_json(), encoding="utf-8")
    folder.mkdir()
    files = [folder / f"g{ending}" for ending in ENDINGS]
    for file in files:
        file.write_text("old")
    said = answer(NO_ROOM, str(source), *map(str, [*files, folder]))
    assert len(said) == len(ENDINGS) + 1
    for line in said.values():
        assert line.startswith("line ") and line.isprintable() and "File too large" in line
    assert sorted(folder.iterdir()) == sorted(files), "nothing half-written stays"
    assert {file.read_text() for file in files} == {"old"}


@pytest.mark.parametrize(
    "path",
    [
        "/proc/g.svg",
        "/proc/g/",
        "/dev/null/g.svg",
        "/dev/full",
        "{}/none/g.svg",
        "{}/" + "n" * 300 + ".svg",
        "{}/" + "n" * 300 + "/g.svg",
        "{}/a\0b.svg",
        "{}/\ud800.svg",
        "~nobody-of-that-name/g.svg",
    ],
)
def test_a_place_that_takes_no_file_is_one_line(recorded: Any, tmp_path: Path, path: str) -> None:
    with pytest.raises(TfmagicError) as refused:
        GraphView(recorded).save(path.format(tmp_path))
    assert str(refused.value).isprintable()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "trouble",
    [
        AttributeError("'Instance' object has no attribute 'exports'"),
        KeyError("memory"),
        MemoryError(),
        OSError(24, "Too many open files"),
        RuntimeError("can't start new thread"),
        RenderError("layout.no_engine"),
    ],
    ids=lambda trouble: type(trouble).__name__,
)
def test_an_engine_that_breaks_leaves_the_table(
    shell: Any, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    class Broken:
        name = "broken"

        def layout(self, dot: str, budget: float, form: str = "svg") -> str:
            raise trouble

    monkeypatch.setattr(layout, "ENGINES", (Broken(),))
    with capture_output() as shown:
        cell = "import tensorflow as tf\nw = tf.Variable([1.0])\ny = float(tf.tanh(w * 0.0)[0])"
        assert shell.run_cell(f"%%tape\n{cell}").success
    (report,) = (output.data["text/html"] for output in shown.outputs)
    assert "<svg" not in report and "<table" in report and "Tanh" in report
    assert shell.user_ns["y"] == 0.0


def test_without_an_output_the_cells_go_on() -> None:
    ways = [
        "sys.stdout.close()",
        "os.close(1)",
        "os.dup2(os.open('/dev/full', os.O_WRONLY), 1)",
        "read, write = os.pipe(); os.dup2(write, 1); os.close(read); os.close(write)",
    ]
    left = answer(NO_OUTPUT, *ways)
    assert left == {how: ["None", 6.0, 7.0] for how in ways}


def test_an_output_of_the_users_own_needs_only_to_be_written_to(shell: Any) -> None:
    cell = """
    import sys, tensorflow as tf
    class Mute:
        def write(self, text): return len(text)
        def flush(self): pass
    there, sys.stdout = sys.stdout, Mute()
    y = tf.reduce_sum(tf.Variable([1.0, 2.0]) * 2.0)
    """
    with capture_output() as shown:
        shell.run_cell("%%tape\n" + textwrap.dedent(cell))
        shell.run_cell("sys.stdout = there")
    assert "<table" in shown.outputs[0].data["text/html"]


def test_no_name_is_no_place(recorded: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for nothing in ("", " "):
        with pytest.raises(OptionError, match="no name"):
            GraphView(recorded).save(nothing)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("magic", ["%tfgraph tf.exp(1.0)", "%tfbench -r 1 -n 1 1"])
def test_a_magic_refuses_an_empty_name(shell: Any, magic: str) -> None:
    shell.run_cell("import tensorflow as tf")
    with capture_output() as shown:
        shell.run_cell(f"{magic} --save ''")
    assert "no name" in shown.stderr


@pytest.mark.parametrize("name", ["x.pb", "x.pbtxt", "x.keras", "x.json"])
def test_a_pipe_is_neither_read_nor_replaced(recorded: Any, tmp_path: Path, name: str) -> None:
    pipe = tmp_path / name
    os.mkfifo(pipe)
    read = tfmagic.load if name.endswith("json") else tfmagic.graph
    with pytest.raises(LoadError, match="a pipe or a device"):
        read(str(pipe))
    with pytest.raises(TfmagicError):
        GraphView(recorded).save(pipe)
    assert pipe.is_fifo() and list(tmp_path.iterdir()) == [pipe]


@pytest.mark.parametrize("ending", ["x.svg", "x.pb", "none/x.svg", "x.txt", "none/"])
def test_a_long_path_keeps_its_ends(recorded: Any, tmp_path: Path, ending: str) -> None:
    path = f"{tmp_path}/{'/'.join(['folder' * 30] * 5)}/{ending}"
    for refuses in (GraphView(recorded).save, tfmagic.graph, tfmagic.load):
        with pytest.raises(TfmagicError) as refused:
            refuses(path)
        assert len(str(refused.value)) < 400 and str(refused.value).isprintable()
        assert str(tmp_path)[:20] in str(refused.value)


@contextlib.contextmanager
def without_rights() -> Iterator[None]:
    """As somebody who may not write everywhere: root could, whatever a folder says."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_folder_that_is_read_only_keeps_what_it_has(recorded: Any, ending: str) -> None:
    view = GraphView(recorded, "g")
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / f"g{ending}"
        view.save(file)
        before = file.read_bytes()
        os.chmod(name, 0o555)
        for path in (f"{file}", f"{name}/new{ending}", f"{name}/logs/"):
            with pytest.raises(OptionError) as refused, without_rights():
                view.save(path)
            assert "Permission denied" in str(refused.value) and "\n" not in str(refused.value)
        assert [p.name for p in Path(name).iterdir()] == [file.name]
        assert file.read_bytes() == before
        os.chmod(name, 0o755)


def test_a_file_that_may_not_be_read_is_one_line(recorded: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        file = GraphView(recorded).save(Path(name) / "g.json")
        with contextlib.suppress(TfmagicError):  # imports what nobody may read
            tfmagic.graph(str(file))
        for path, rights in ((file, 0o200), (Path(name), 0o000)):
            os.chmod(path, rights)
            for reads in (tfmagic.load, tfmagic.graph):
                with pytest.raises(TfmagicError, match="Permission denied"), without_rights():
                    reads(str(file))
        os.chmod(name, 0o755)
