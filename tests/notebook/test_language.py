"""Which language is spoken: what ``%config`` says, else the notebook, else the locale."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tfmagic
from tfmagic import language


@pytest.fixture
def locale(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Nothing chosen, and an English locale."""
    for name in ("LC_ALL", "LC_MESSAGES", "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "en_US.UTF-8")
    language.use(None)
    yield monkeypatch
    language.hint(None)


def loaded(shell: Any) -> str:
    """The language after the extension was loaded anew."""
    shell.run_line_magic("unload_ext", "tfmagic")
    shell.run_line_magic("load_ext", "tfmagic")
    return language.current()


def written(folder: Path, metadata: Any) -> str:
    path = folder / "n.ipynb"
    path.write_text(json.dumps({"cells": [], "metadata": metadata}), encoding="utf-8")
    return str(path)


def test_the_locale_decides_where_nothing_else_does(locale: Any, shell: Any) -> None:
    assert loaded(shell) == "en"
    locale.setenv("LANG", "ko_KR.UTF-8")
    assert loaded(shell) == "ko"


def test_the_notebook_goes_before_the_locale(locale: Any, shell: Any, tmp_path: Path) -> None:
    locale.setenv("JPY_SESSION_NAME", written(tmp_path, {"tfmagic": {"lang": "ko"}}))
    assert loaded(shell) == "ko"
    shell.run_line_magic("unload_ext", "tfmagic")
    assert language.current() == "en"
    shell.run_line_magic("load_ext", "tfmagic")


def test_vs_code_names_its_notebook_too(locale: Any, shell: Any, tmp_path: Path) -> None:
    shell.user_ns["__vsc_ipynb_file__"] = written(tmp_path, {"tfmagic": {"lang": "ko"}})
    assert loaded(shell) == "ko"


def test_config_goes_before_both(locale: Any, shell: Any, tmp_path: Path) -> None:
    locale.setenv("JPY_SESSION_NAME", written(tmp_path, {"tfmagic": {"lang": "ko"}}))
    loaded(shell)
    shell.run_line_magic("config", 'TFMagic.lang = "en"')
    assert language.current() == "en"
    shell.run_line_magic("config", 'TFMagic.lang = "auto"')
    assert language.current() == "ko"


@pytest.mark.parametrize("metadata", [{}, {"tfmagic": 3}, {"tfmagic": {"lang": "eo"}}, []])
def test_other_metadata_is_passed_over(
    locale: Any, shell: Any, tmp_path: Path, metadata: Any
) -> None:
    locale.setenv("JPY_SESSION_NAME", written(tmp_path, metadata))
    assert loaded(shell) == "en"


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_file_that_is_no_notebook_is_passed_over(
    locale: Any, shell: Any, tmp_path: Path, content: str
) -> None:
    (tmp_path / "n.ipynb").write_text(content)
    locale.setenv("JPY_SESSION_NAME", str(tmp_path / "n.ipynb"))
    assert loaded(shell) == "en"
    locale.setenv("JPY_SESSION_NAME", str(tmp_path / "gone.ipynb"))
    assert loaded(shell) == "en"


def test_a_recording_kept_under_korean_reads_in_english_under_english(shell: Any) -> None:
    code = (
        "import tensorflow as tf\nw, u = tf.Variable([1.0, 2.0]), tf.Variable(1.0)\n"
        "with tf.GradientTape() as t:\n    y = tf.py_function(tf.identity, [w * w], tf.float32)\n"
        "_ = t.gradient(y, [w, u])"
    )
    language.use("ko")
    try:
        shell.run_cell("%%tape -q --check --order 2\n" + code)
        text = tfmagic.last.to_json()
        korean = tfmagic.load(text).verdicts[1].message
    finally:
        language.use("en")
    assert not any("가" <= letter <= "힣" for letter in text)
    english = tfmagic.load(text)
    told = [*english.notes, *(v.message + v.repair for v in english.verdicts)]
    told += [gap.message for gap in english.complete] + [h.error for h in english.hessians]
    told += [g.check.why for g in english.gradients[0].gradients if g.check]
    assert len([words for words in told if words]) > 4
    assert not any("가" <= letter <= "힣" for words in told for letter in words)
    assert any("가" <= letter <= "힣" for letter in korean)
