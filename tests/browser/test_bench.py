"""The stopwatch in JupyterLab: a bar while it measures, and the result in its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

SWEEP = """x = tf.ones([4, 4])
%tfbench -s n=8,64,256 -m eager,function --budget 1 tf.reduce_sum(tf.ones([n, n]))"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_result_stands_where_the_bar_was(
    run_in_lab: Callable[..., Any], tmp_path: Path, language: str, dark: bool
) -> None:
    load = f'%load_ext tfmagic\n%config TFMagic.lang = "{language}"\nimport tensorflow as tf'
    page = run_in_lab([load, SWEEP], dark=dark)
    result = page.locator(".tfmagic table").first
    result.wait_for()
    page.locator(".tfmagic img").first.wait_for()
    page.screenshot(path=tmp_path / "page.png")
    cell = page.locator(".jp-CodeCell").nth(1)
    assert cell.locator(".jp-OutputArea-output").count() == 1
    assert "▰" not in cell.inner_text() and "%|" not in cell.inner_text()
    assert result.locator("tbody tr.tfmagic-row").count() == 6
