"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from tfmagic.errors import OptionError

__all__ = ["save"]


def save(path: str | Path, makers: Mapping[str, Callable[[], str]]) -> Path:
    """Write what the maker for the path's ending makes; the path, ``~`` resolved.

    Raises :class:`~tfmagic.errors.OptionError` for another ending, naming those that
    there are, and for a place that cannot be written.
    """
    path = Path(path).expanduser()
    make = makers.get(path.suffix.lower())
    if make is None:
        raise OptionError("report.save_unknown", path=str(path), known=", ".join(makers))
    if not path.parent.is_dir():
        raise OptionError("report.save_no_folder", path=str(path), folder=str(path.parent))
    content = make()
    try:
        _replace(path, content)
    except OSError as error:
        detail = error.strerror or str(error)
        raise OptionError("report.save_failed", path=str(path), detail=detail) from None
    return path


def _replace(path: Path, content: str) -> None:
    """Fill a file beside it first, so that no reader ever meets half of one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".tfmagic-", suffix=path.suffix)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(content)
        os.chmod(name, _mode(path))
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _mode(path: Path) -> int:
    """The rights that the file has, or that a new one would get."""
    try:
        return path.stat().st_mode & 0o777
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
