"""``tfmagic run``: a script as Python runs it, and its report however it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tfmagic
from tfmagic.errors import OptionError
from tfmagic.notebook.script import parsed

PLAIN = """
import os, sys
print(__name__, __file__, sys.argv, sys.path[0], __spec__)
def left(): print("atexit", sys.argv[1:])
import atexit; atexit.register(left)
if "raise" in sys.argv: raise ValueError("no")
if "leave" in sys.argv: sys.stdout.flush(); os._exit(7)
sys.exit(3)
"""

TRAINS = """
import os, shutil, sys
import numpy as np
import tensorflow as tf, keras
keras.utils.set_random_seed(1)
model = keras.Sequential([keras.layers.Dense(4, activation="relu"), keras.layers.Dense(1)])
model.compile("sgd", "mse")
x = np.ones((32, 4), "f")
print(model.fit(x, x.sum(1), epochs=2, batch_size=8, verbose=0).history["loss"])
sys.stdout.flush()
if "vanish" in sys.argv: shutil.rmtree("gone")
if "leave" in sys.argv: os._exit(7)
if "raise" in sys.argv: raise ValueError("no")
if "exit" in sys.argv: sys.exit(3)
"""


def _run(folder: Path, *words: str, before: tuple[str, ...] = ()) -> Any:
    command = [sys.executable, *before, *words]
    env = {**os.environ, "LANG": "C.UTF-8", "PYTHONPATH": str(Path(tfmagic.__file__).parents[1])}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=env, timeout=300
    )


@pytest.mark.parametrize("word", ["", "raise", "leave"])
def test_the_script_sees_what_python_shows_it(tmp_path: Path, word: str) -> None:
    (tmp_path / "plain.py").write_text(PLAIN)
    plain = _run(tmp_path, "plain.py", word)
    ours = _run(tmp_path, "plain.py", word, before=("-m", "tfmagic", "run"))
    assert (ours.stdout, ours.returncode) == (plain.stdout, plain.returncode)
    assert ours.stderr.endswith(plain.stderr)  # before it one line of ours


def test_a_module_is_run_as_by_python(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").touch()
    (tmp_path / "pack" / "__main__.py").write_text(
        "import sys; print(__name__, __package__, sys.argv, sys.path[0]); sys.exit(4)"
    )
    plain = _run(tmp_path, "-m", "pack", "a")
    ours = _run(tmp_path, "-m", "pack", "a", before=("-m", "tfmagic", "run"))
    assert (ours.stdout, ours.returncode) == (plain.stdout, plain.returncode)


@pytest.mark.parametrize(("word", "code"), [("", 0), ("leave", 7), ("raise", 1), ("exit", 3)])
def test_the_report_is_written_however_it_ends(tmp_path: Path, word: str, code: int) -> None:
    (tmp_path / "train.py").write_text(TRAINS)
    files = ("--html", "r.html", "--json", "r.json", "--log", "board")
    done = _run(tmp_path, "train.py", word, *files, before=("-m", "tfmagic", "run"))
    assert done.returncode == code, done.stderr
    plain = _run(tmp_path, "train.py", word)
    assert done.stdout == plain.stdout
    (run,) = tfmagic.load(tmp_path / "r.json").runs
    assert run.steps == 8 and run.line_number == 9
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Trained on line 9: 8 steps" in page.partition("<details")[0]
    assert ("The cell stopped" in page) == (word == "raise")
    assert ("with exit status: 3" in page or "with exit status: 7" in page) == (code in (3, 7))
    assert list((tmp_path / "board").iterdir())


def test_a_report_that_cannot_be_written_is_told_in_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAINS)
    (tmp_path / "gone").mkdir()
    done = _run(
        tmp_path, "train.py", "vanish", "--html", "gone/r.html", before=("-m", "tfmagic", "run")
    )
    assert done.returncode == 0
    assert "gone" in done.stderr and "Trained on line 9: 8 steps" in done.stderr


def test_whose_an_option_is(tmp_path: Path) -> None:
    place = str(tmp_path / "r.html")
    behind = parsed(["a.py", "-x", "--html", place])
    assert (behind.words, behind.files) == (["-x"], {"--html": place})
    before = parsed([f"--html={place}", "a.py", "--html", "theirs"])
    assert (before.words, before.files) == (["--html", "theirs"], {"--html": place})
    cut = parsed(["a.py", "-x", "--", "--html", "theirs"])
    assert (cut.words, cut.files) == (["-x", "--html", "theirs"], {})


@pytest.mark.parametrize(
    "words", [[], ["--html"], ["--unknown", "a.py"], ["--html", "/nowhere/r.html", "a.py"]]
)
def test_what_cannot_be_run_is_refused(words: list[str]) -> None:
    with pytest.raises(OptionError):
        parsed(words)
