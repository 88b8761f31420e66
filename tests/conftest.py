"""What every test can rely on: nothing is left behind, and English is spoken.

The tests of ``model``, ``analysis`` and ``render`` never import TensorFlow, so its
state is looked at only where something else has imported it already.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tfmagic import language

REQUIRE_ALL = os.environ.get("TFMAGIC_REQUIRE_ALL") == "1"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium() -> str | None:
    """The path of a Chromium or Chrome, or None; ``TFMAGIC_CHROMIUM`` comes first."""
    found = (shutil.which(name) for name in CHROMIUM_NAMES)
    return os.environ.get("TFMAGIC_CHROMIUM") or next(filter(None, found), None)


@pytest.fixture(autouse=True, scope="module")
def unhurried() -> Iterator[None]:
    """Experiments have the time that they need: no test hangs on a machine's speed."""
    with pytest.MonkeyPatch.context() as patch:
        if "tensorflow" in sys.modules:
            from tfmagic.runtime.experiments import probes, repairs

            patch.setattr(probes, "_SECONDS", 60.0)
            patch.setattr(repairs, "_SHORTEST", 60.0)
            patch.setattr(repairs, "_LONGEST", 60.0)
        yield


# --- nothing is left behind --------------------------------------------------------------


def tensorflow_traces() -> list[str]:
    """What tfmagic could have left in this thread's TensorFlow, in words."""
    if "tensorflow" not in sys.modules:
        return []
    import tensorflow as tf
    from tensorflow.python import pywrap_tfe
    from tensorflow.python.eager import context, record

    here = context.context()
    suspects = {
        f"op callbacks: {here.op_callbacks}": here.op_callbacks,
        f"a device scope: {here.device_name}": here.device_name,
        "an active tape": not pywrap_tfe.TFE_Py_TapeSetIsEmpty(),
        "a patched GradientTape.gradient": _foreign(tf.GradientTape.gradient),
        "a patched GradientTape.jacobian": _foreign(tf.GradientTape.jacobian),
        "a patched record_operation": _foreign(record.record_operation),
    }
    return [trace for trace, there in suspects.items() if there]


def _foreign(function: Any) -> bool:
    return not function.__module__.startswith("tensorflow.")


def shell_hooks() -> set[str]:
    """The IPython event hooks, input transformers and magics that come from tfmagic."""
    if "IPython" not in sys.modules:
        return set()
    from IPython.core.interactiveshell import InteractiveShell

    if not InteractiveShell.initialized():
        return set()
    shell = InteractiveShell.instance()
    hooks = [hook for each in shell.events.callbacks.values() for hook in each]
    hooks += shell.input_transformers_cleanup + shell.input_transformers_post
    hooks += shell.ast_transformers
    return {repr(hook) for hook in hooks if _ours(hook)}


def _ours(hook: Any) -> bool:
    module = getattr(hook, "__module__", None) or type(hook).__module__
    return module.split(".")[0] == "tfmagic"


def lasting_threads() -> set[threading.Thread]:
    """The threads that would keep the process alive; an event loop ends its own helpers."""
    return {
        thread
        for thread in threading.enumerate()
        if not thread.daemon and not thread.name.startswith("asyncio_")
    }


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Prove around every test that TensorFlow, IPython and the process are as before."""
    assert not tensorflow_traces(), "left behind by an earlier test or fixture"
    hooks, threads = shell_hooks(), lasting_threads()
    yield
    assert not tensorflow_traces(), "left behind by this test"
    assert shell_hooks() <= hooks, "IPython hooks left behind by this test"
    assert lasting_threads() <= threads, "threads left behind by this test"


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    """Speak English in every test that does not choose otherwise."""
    language.use("en")
    yield
    language.use(None)


# --- parts that a machine may lack -------------------------------------------------------


def lacking(mark: str) -> str:
    """Why a test with this mark cannot run here, and what to do; empty if it can."""
    if mark == "browser" and not chromium():
        return "no Chromium here: run `make browser`, or name one with TFMAGIC_CHROMIUM"
    if mark == "dot" and not shutil.which("dot"):
        return "Graphviz has no `dot` here: install the system package graphviz"
    if mark == "gpu" and not _has_gpu():
        return "TensorFlow sees no GPU here"
    return ""


@pytest.fixture(scope="session")
def chromium_path() -> str | None:
    """The browser of the tests that are marked so."""
    return chromium()


def _has_gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


SLOW_ROOMS = ("trust", "browser", "notebook")  # kernels, browsers, whole notebooks: slowest first


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files that take minutes first, so that no worker is alone with one at the end."""
    order = {room: number for number, room in enumerate(SLOW_ROOMS)}
    items.sort(key=lambda item: order.get(item.path.parent.name, len(order)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine has no part for, with the way to get it."""
    for mark in ("browser", "dot", "gpu"):
        if item.get_closest_marker(mark) and (reason := lacking(mark)):
            pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    """With TFMAGIC_REQUIRE_ALL=1 a skipped test has failed, unless it wants a GPU."""
    report = yield
    if not item.get_closest_marker("gpu") and not hasattr(report, "wasxfail"):
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[Any]:
    """The same for a file that skips itself as a whole."""
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: Any) -> None:
    if REQUIRE_ALL and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, but here nothing may be: {report.longrepr[2]}"
