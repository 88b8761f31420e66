"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tfmagic.errors import OptionError

__all__ = ["checked", "folder", "is_folder", "save"]


def save(path: str | Path, makers: Mapping[str, Callable[[], str | bytes]]) -> Path:
    """Write what the maker for the path's ending makes; the path, ``~`` resolved.

    The longest ending that fits counts: ``.explorer.json`` before ``.json``.

    Raises :class:`~tfmagic.errors.OptionError` for another ending, naming those that
    there are, and for a place that cannot be written.
    """
    path, ending = checked(path, makers)
    content = makers[ending]()
    try:
        _replace(path, content)
    except OSError as error:
        detail = error.strerror or str(error)
        raise OptionError("report.save_failed", path=path, detail=detail) from None
    return path


def checked(path: str | Path, endings: Iterable[str]) -> tuple[Path, str]:
    """The path, ``~`` resolved, and its ending; raises what :func:`save` would raise."""
    path, known = _place(path), list(endings)
    fitting = [ending for ending in known if path.name.lower().endswith(ending)]
    if not fitting:
        raise OptionError("report.save_unknown", path=path, known=", ".join(known))
    if not path.parent.is_dir():
        raise OptionError("report.save_no_folder", path=path, folder=path.parent)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OptionError("report.save_no_file", path=path)
    return path, max(fitting, key=len)


def folder(path: str | Path) -> Path:
    """The folder ``path``, made where only the last part of it is missing.

    Raises :class:`~tfmagic.errors.OptionError` where it cannot be made.
    """
    path = _place(path)
    if not path.parent.is_dir():
        raise OptionError("report.save_no_folder", path=path, folder=path.parent)
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        detail = error.strerror or str(error)
        raise OptionError("report.save_failed", path=path, detail=detail) from None
    return path


def is_folder(path: str | Path) -> bool:
    """Whether ``path`` is a folder, or is written as one."""
    return str(path).endswith(("/", os.sep)) or _place(path).is_dir()


def _place(path: str | Path) -> Path:
    """The path, ``~`` resolved.

    Raises :class:`~tfmagic.errors.OptionError` for one that no file can have: none at all,
    too long a name, a zero byte, the home of nobody.
    """
    if not str(path).strip():
        raise OptionError("report.save_nowhere")
    try:
        found = Path(path).expanduser()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found.stat()
    except (OSError, ValueError, RuntimeError) as error:
        detail = getattr(error, "strerror", None) or str(error)
        raise OptionError("report.save_failed", path=Path(path), detail=detail) from None
    return found


def _replace(path: Path, content: str | bytes) -> None:
    """Fill a file beside it first, so that no reader ever meets half of one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".tfmagic-", suffix=path.suffix)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(
                content if isinstance(content, bytes) else content.encode("utf-8", "replace")
            )
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
