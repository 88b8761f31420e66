"""Be told when a module is first imported, without importing it oneself.

A cell may set environment variables and import TensorFlow in its next line; a recorder
that imported it beforehand would change what the cell does.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from types import ModuleType


def when_imported(name: str, then: Callable[[], None]) -> Callable[[], None]:
    """Call ``then()`` right after module ``name`` has been imported; answers a way to cancel."""
    finder = _Waiting(name, then)
    sys.meta_path.insert(0, finder)
    return finder.cancel


class _Waiting(importlib.abc.MetaPathFinder):
    """Stands first in line for one name, once, and hands the real finder's answer on."""

    def __init__(self, name: str, then: Callable[[], None]) -> None:
        self._name = name
        self._then = then

    def cancel(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        self.cancel()
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Announcing(spec.loader, self._then)
        return spec


class _Announcing(importlib.abc.Loader):
    """A loader that says when its module is there, and leaves the real loader behind."""

    def __init__(self, real: importlib.abc.Loader, then: Callable[[], None]) -> None:
        self._real = real
        self._then = then

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        if spec is not None:
            spec.loader = self._real
        module.__loader__ = self._real
        self._real.exec_module(module)
        self._then()
