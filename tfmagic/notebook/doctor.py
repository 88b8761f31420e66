"""``tfmagic doctor``: what is installed, what works, what is missing and how to get it."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import tfmagic
from tfmagic.errors import TfmagicError
from tfmagic.language import current, say

__all__ = ["report"]

PARTS = ("ipython", "ipykernel", "jupyterlab", "notebook", "ipywidgets", "anywidget", "keras")
NEEDED = ("ipython", "ipywidgets", "anywidget")


def report() -> tuple[list[str], bool]:
    """Every finding as a line, and whether tfmagic can do its work here."""
    findings = [*_machine(), *_tensorflow(), *_engines(), *_parts()]
    marks = {True: "✓", False: "✗", None: "–"}
    lines = [f"{marks[fine]} {text}" for fine, text in findings]
    return lines, all(fine is not False for fine, _ in findings)


Finding = tuple[bool | None, str]


def _machine() -> Iterator[Finding]:
    yield True, f"tfmagic {tfmagic.__version__}, Python {platform.python_version()}"
    yield True, say("doctor.language", language=current())


def _tensorflow() -> Iterator[Finding]:
    from tfmagic.runtime.doctor import tensorflow

    try:
        release, devices, lacking = tensorflow()
    except Exception as error:  # a build for another machine fails in many ways
        detail = str(error).partition("\n")[0][:200]
        yield False, say("doctor.no_tensorflow", detail=detail)
        return
    yield True, say("doctor.tensorflow", release=release, devices=", ".join(devices))
    if lacking:
        yield False, say("doctor.lacking", features=", ".join(map(str, lacking)))


def _engines() -> Iterator[Finding]:
    from tfmagic.render.layout import svg

    try:
        svg("digraph { a -> b }", engine="embedded", budget=10.0)
        yield True, say("doctor.embedded")
    except TfmagicError as error:
        yield False, say("doctor.no_embedded", detail=str(error))
    dot = shutil.which("dot")
    yield (True, f"dot: {dot}") if dot else (None, say("doctor.no_dot"))


def _parts() -> Iterator[Finding]:
    for name in PARTS:
        try:
            yield True, f"{name} {version(name)}"
        except PackageNotFoundError:
            fine = False if name in NEEDED else None
            yield fine, say("doctor.no_part", name=name)
