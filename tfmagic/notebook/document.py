"""The notebook's own file, where the kernel is told which it is, and the language it names.

A notebook says ``"tfmagic": {"lang": "ko"}`` in its metadata.  Jupyter servers name the
file in the environment, VS Code in the namespace; ``nbclient`` and papermill name none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfmagic.language import LANGUAGES

__all__ = ["language_of", "path_of"]

#: Bytes above which a file is not read only to learn a language.
LARGEST = 16 * 2**20


def path_of(namespace: Mapping[str, Any]) -> Path | None:
    """The notebook that this kernel runs, or None where nobody says."""
    named = namespace.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME")
    return Path(named) if isinstance(named, str) and named.endswith(".ipynb") else None


def language_of(namespace: Mapping[str, Any]) -> str | None:
    """The language that the notebook's metadata names, if it is one of ours."""
    path = path_of(namespace)
    try:
        if path is None or not path.is_file() or path.stat().st_size > LARGEST:
            return None
        named = json.loads(path.read_text(encoding="utf-8"))["metadata"]["tfmagic"]["lang"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return named if named in LANGUAGES else None
