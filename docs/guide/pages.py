"""``make guide``: the guide and the gallery, run and written to build/guide/ as HTML pages.

python -m docs.guide.pages [WORD …]     only the notebooks with a WORD in their name
"""

from __future__ import annotations

import sys
from pathlib import Path

from examples.demo import execute, to_html

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "guide"


def main(words: list[str]) -> None:
    """Run each notebook, and write its page."""
    BUILD.mkdir(parents=True, exist_ok=True)
    for folder in ("docs/guide", "examples"):
        for path in sorted((ROOT / folder).glob("*.ipynb")):
            if words and not any(word in path.name for word in words):
                continue
            name, language, _ = path.name.split(".")
            notebook = execute(path, BUILD / "kernel.log")
            page = BUILD / f"{name}.{language}.html"
            page.write_text(to_html(notebook, path), encoding="utf-8")
            print(page.relative_to(ROOT))


if __name__ == "__main__":
    main(sys.argv[1:])
