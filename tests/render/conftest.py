"""The recordings made by hand for ``tests/analysis`` serve here as well."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_FILE = Path(__file__).resolve().parents[1] / "analysis" / "conftest.py"
_spec = importlib.util.spec_from_file_location("recordings_made_by_hand", _FILE)
assert _spec and _spec.loader
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)

make = _module.make
lesson = _module.lesson
