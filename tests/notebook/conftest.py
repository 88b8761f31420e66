"""A real IPython shell with tfmagic loaded, and what a cell left in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell


@pytest.fixture
def shell() -> Iterator[Any]:
    """The shell of this process, with an empty namespace and the extension loaded."""
    here = InteractiveShell.instance()
    here.reset(new_session=True)
    here.colors = "nocolor"
    here.run_line_magic("load_ext", "tfmagic")
    yield here
    here.run_line_magic("unload_ext", "tfmagic")
    here.reset(new_session=True)
