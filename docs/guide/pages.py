"""``make guide``: the guide and the gallery, run and written to build/guide/ as HTML pages.

python -m docs.guide.pages [WORD …]     only the notebooks with a WORD in their name
"""

from __future__ import annotations

import base64
import re
import sys
from pathlib import Path

from nbformat import NotebookNode

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
            carry_pictures(notebook, path.parent)
            page.write_text(to_html(notebook, path), encoding="utf-8")
            print(page.relative_to(ROOT))


def carry_pictures(notebook: NotebookNode, folder: Path) -> None:
    """Have each text cell carry its pictures, named from ``folder``, as attachments."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for name in re.findall(r"\]\((\S+\.png)\)", cell.source):
                path = folder / name
                data = base64.b64encode(path.read_bytes()).decode("ascii")
                cell.setdefault("attachments", {})[path.name] = {"image/png": data}
                cell.source = cell.source.replace(f"]({name})", f"](attachment:{path.name})")


if __name__ == "__main__":
    main(sys.argv[1:])
