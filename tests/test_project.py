"""What holds for the project as a whole: its sentences, its imports, its lesson files."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any

import pytest

import tfmagic
from tfmagic import errors
from tfmagic.language import LANGUAGES, catalogue

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "tfmagic").rglob("*.py"))


# --- the catalogues ----------------------------------------------------------------------


def forms(sentence: Any) -> list[str]:
    return [sentence] if isinstance(sentence, str) else list(sentence.values())


def placeholders(sentence: Any) -> set[str]:
    """The names of the values that a sentence wants, over all its number forms."""
    return {
        re.split(r"[.\[]", name)[0]
        for form in forms(sentence)
        for _, name, _, _ in Formatter().parse(form)
        if name is not None
    }


def test_both_languages_have_the_same_sentences() -> None:
    english, korean = catalogue("en"), catalogue("ko")
    assert english.keys() == korean.keys()


def test_both_languages_want_the_same_values() -> None:
    english, korean = catalogue("en"), catalogue("ko")
    differing = {k for k in english if placeholders(english[k]) != placeholders(korean[k])}
    assert not differing


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_sentence_is_empty_and_each_has_the_form_for_many(language: str) -> None:
    for key, sentence in catalogue(language).items():
        assert all(form.strip() for form in forms(sentence)), key
        assert isinstance(sentence, str) or "other" in sentence, key


def test_korean_is_korean() -> None:
    """A sentence with words in it has Hangul in it; bare codes and symbols need none."""
    untranslated = [
        key
        for key, sentence in catalogue("ko").items()
        for form in forms(sentence)
        if form in forms(catalogue("en")[key]) and re.search(r"[A-Za-z]{3,} [a-z]{2,} ", form)
    ]
    assert not untranslated


@dataclass(frozen=True)
class Use:
    """A place in the code that asks for a sentence."""

    where: str
    key: str
    values: frozenset[str] | None  # None: they come from a ** or are not known here


@cache
def uses() -> tuple[Use, ...]:
    """Every ``say("…")`` and every error of ours that is made with a key in the code."""
    return tuple(use for path in SOURCES for use in _uses_in(path))


def _uses_in(path: Path) -> Iterator[Use]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and node.args and _asks(node.func)):
            continue
        names = [keyword.arg for keyword in node.keywords]
        values = None if None in names else frozenset(name for name in names if name)
        for key in _literals(node.args[0]):
            yield Use(f"{path.relative_to(ROOT)}:{node.lineno}", key, values)


def _asks(function: ast.expr) -> bool:
    name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
    whose = getattr(getattr(function, "value", None), "id", "")
    return name == "say" or (whose, name) == ("Message", "of") or name in errors.__all__


def _literals(argument: ast.expr) -> list[str]:
    """The key, or both keys of ``"a" if … else "b"``; an f-string is looked at elsewhere."""
    if isinstance(argument, ast.IfExp):
        return _literals(argument.body) + _literals(argument.orelse)
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return [argument.value]
    return []


@cache
def patterns() -> tuple[re.Pattern[str], ...]:
    """Every string in the code that is a key, or an f-string that can become one."""
    subjects = {key.split(".")[0] for key in catalogue("en")}
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(re.escape(node.value))
            elif isinstance(node, ast.JoinedStr):
                parts = [
                    re.escape(part.value) if isinstance(part, ast.Constant) else r"\w+"
                    for part in node.values
                ]
                found.add("".join(parts))
    dotted = (text for text in found if text.split(r"\.")[0] in subjects)
    return tuple(re.compile(text) for text in sorted(dotted))


def test_every_sentence_that_is_asked_for_exists() -> None:
    missing = [f"{use.where}: {use.key}" for use in uses() if use.key not in catalogue("en")]
    assert not missing


def test_every_sentence_gets_the_values_that_it_wants() -> None:
    starved = [
        f"{use.where}: {use.key} wants {placeholders(catalogue('en')[use.key]) - use.values}"
        for use in uses()
        if use.values is not None
        and use.key in catalogue("en")
        and placeholders(catalogue("en")[use.key]) - use.values
    ]
    assert not starved


def test_every_sentence_is_used() -> None:
    unused = [k for k in catalogue("en") if not any(p.fullmatch(k) for p in patterns())]
    assert not unused


@pytest.mark.parametrize("room", ["runtime"])
def test_a_sentence_is_made_where_it_is_shown(room: str) -> None:
    """What is worked out says so by keys and values; see ``Message``."""
    made = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / "tfmagic" / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "say"
    ]
    assert not made


def test_the_files_that_the_architecture_names_are_there() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+/[\w/]+\.(?:py|js))`", text))
    assert len(named) > 30
    assert not [name for name in sorted(named) if not (ROOT / "tfmagic" / name).exists()
                and not (ROOT / name).exists()]  # fmt: skip


# --- the package -------------------------------------------------------------------------


def python(code: str) -> str:
    """What a fresh Python prints for ``code``."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


HEAVY = (
    "[m for m in ('tensorflow', 'keras', 'matplotlib', 'pandas', 'numpy', 'wasmtime', 'anywidget')"
    " if m in sys.modules]"
)


def test_importing_tfmagic_imports_nothing_heavy() -> None:
    assert python(f"import tfmagic, sys; print({HEAVY})") == "[]"


def test_loading_the_extension_imports_nothing_heavy() -> None:
    shell = "from IPython.core.interactiveshell import InteractiveShell as S; s = S.instance()"
    loading = "s.extension_manager.load_extension('tfmagic')"
    assert python(f"import sys; {shell}; assert {loading} is None; print({HEAVY})") == "[]"


def test_loading_the_extension_builds_no_model_and_draws_nothing() -> None:
    shell = "from IPython.core.interactiveshell import InteractiveShell as S; s = S.instance()"
    rooms = "[m for m in sys.modules if m.startswith(('tfmagic.model', 'tfmagic.render'))]"
    loading = "s.extension_manager.load_extension('tfmagic')"
    assert python(f"import sys; {shell}; assert {loading} is None; print({rooms})") == "[]"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_the_public_names_are_the_documented_ones() -> None:
    mentioned = set(re.findall(r"\btfmagic\.([A-Za-z_]+)", (ROOT / "README.md").read_text()))
    modules = {path.stem for path in (ROOT / "tfmagic").iterdir()}
    assert mentioned - modules == set(tfmagic.__all__) - {"__version__"}


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_every_file_that_a_readme_points_to_exists(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    pictures = re.findall(r"(?:src|srcset)=\"([^\"]+)\"", text)
    assert links and pictures
    links += pictures
    assert not [link for link in links if not (ROOT / link).exists()]


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_a_readme_has_one_row_for_each_magic(name: str) -> None:
    rows = re.findall(r"^\| (`%[^|]*) \|", (ROOT / name).read_text(encoding="utf-8"), re.M)
    assert rows and len(rows) == len(set(rows))


# --- the guards around the tests ---------------------------------------------------------


GUARDED = """
import pytest

def test_skips():
    pytest.skip("no such part")

def test_leaves_a_callback():
    from tensorflow.python.framework import op_callbacks
    op_callbacks.add_op_callback(print)
"""


@pytest.mark.parametrize("required", ["0", "1"])
def test_a_skip_fails_only_where_all_is_required(tmp_path: Path, required: str) -> None:
    report = guarded(tmp_path, "test_skips", TFMAGIC_REQUIRE_ALL=required)
    assert ("1 failed" if required == "1" else "1 skipped") in report
    assert "no such part" in report


def test_what_a_test_leaves_behind_is_found(tmp_path: Path) -> None:
    report = guarded(tmp_path, "test_leaves_a_callback")
    assert "1 passed" in report and "1 error" in report
    assert "left behind by this test" in report


def guarded(folder: Path, test: str, **environment: str) -> str:
    """The report of one of the tests above, run under this project's guards."""
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    (folder / "test_guarded.py").write_text(GUARDED)
    command = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", "-k", test, "."]
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,  # its report is what is looked at
    )
    return done.stdout


# --- the lesson's files ------------------------------------------------------------------


def test_both_lessons_run_the_same_code() -> None:
    """Their cells differ in words only: in comments, in what is printed, in strings."""
    assert lesson_code("en") == lesson_code("ko")


def lesson_code(language: str) -> dict[str, list[str]]:
    """Cell id → the code without comments, strings and line ends."""
    import nbformat

    notebook = nbformat.read(ROOT / "examples" / f"lesson.{language}.ipynb", as_version=4)
    words = re.compile(r"#.*|(?<=print\()f?\"[^\"]*\"|\"(en|ko)\"")
    return {
        cell.id: words.sub("", cell.source).split()
        for cell in notebook.cells
        if cell.cell_type == "code"
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_lesson_is_stored_without_what_it_printed(language: str) -> None:
    import nbformat

    notebook = nbformat.read(ROOT / "examples" / f"lesson.{language}.ipynb", as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None, cell.id
