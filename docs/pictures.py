"""``make pictures``: the documents' pictures, taken of real outputs in JupyterLab.

    python -m docs.pictures [NAME …]

Each cell below runs in both languages; the cell with its output is photographed in the
light and in the dark theme, as ``docs/pictures/NAME.LANGUAGE.THEME.png``.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from PIL import Image

from tests.browser import lab as jupyter
from tests.conftest import chromium

HERE = Path(__file__).resolve().parent / "pictures"
LANGUAGES = ("en", "ko")
WIDTH, SCALE, COLOURS = 1160, 1.5, 256


@dataclass(frozen=True)
class Picture:
    """One cell to photograph; ``before`` are cells that run unseen before it.

    ``press`` are selectors in its output, each clicked once, in their order.
    """

    name: str
    cell: str
    before: tuple[str, ...] = ()
    press: tuple[str, ...] = ()


NETWORK = """X, Y = tf.constant([[2.0], [3.0]]), tf.constant([1.0])
W_1 = tf.Variable([[0.11, 0.21], [0.12, 0.08]])
W_2 = tf.Variable([[0.14, 0.15]])

H_1 = tf.matmul(W_1, X)
Y_hat = tf.matmul(W_2, H_1)
Loss = tf.square(Y_hat - Y) / 2"""

PICTURES = (
    Picture("tape", f"%%tape\n{NETWORK}"),
    Picture(
        "none",
        """%%tape
w = tf.Variable(2.0)
w = w - 0.05 * 4.0

with tf.GradientTape() as tape:
    y = w**2

print(tape.gradient(y, w))""",
    ),
    Picture(
        "graph",
        "%tfgraph model",
        (
            """model = tf.keras.Sequential([
    tf.keras.Input((2,)),
    tf.keras.layers.Dense(2, name="hidden"),
    tf.keras.layers.Dense(1, name="output"),
])""",
        ),
    ),
    Picture("explore", "%tfgraph -i model", press=('.tfg-box[aria-label^="MatMul"]',)),
    Picture(
        "vars",
        "%tfvars",
        (
            "%reset -f",
            "import numpy as np, tensorflow as tf",
            """W_1 = tf.Variable([[0.11, 0.21], [0.12, 0.08]])
X = tf.constant([[2.0], [3.0]])
scores = tf.random.stateless_normal([200, 50], seed=(1, 2))
broken = tf.constant([1.0, float("nan"), 3.0])
pixels = np.zeros((28, 28), np.uint8)""",
            "%tfvars -q",
            "W_1.assign_sub([[0.01, 0.02], [0.0, 0.02]]); X = X[:1]",
        ),
    ),
    Picture("why", "%tfvars --why np.sin(W_1)"),
    Picture(
        "display",
        "W = tf.Variable([[0.8, -0.3, 0.1], [-0.6, 0.0, 0.4]])\nW",
        ("%config TFMagic.display = True",),
    ),
    Picture("heat", "tf.linalg.band_part(scores, 20, 10)"),
    Picture(
        "bench",
        "%tfbench -m eager,function tf.reduce_sum(tower(x))",
        (
            "%config TFMagic.display = False",
            """x = tf.ones([32])

def tower(x):
    for _ in range(20):
        x = tf.tanh(x) + 0.1
    return x""",
        ),
    ),
    Picture("device", "%tfdevice"),
    Picture("step", "%tfstep", press=3 * ('[data-act="step"]',) + (".tfm-step-landscape summary",)),
)


def chosen(names: list[str]) -> tuple[Picture, ...]:
    """The pictures up to the last of ``names``; all of them without names."""
    places = [i for i, picture in enumerate(PICTURES) if picture.name in names]
    return PICTURES[: max(places) + 1] if names else PICTURES


def cells_of(pictures: tuple[Picture, ...], language: str) -> Iterator[tuple[str, str]]:
    """Each cell, with the name of its picture or none."""
    yield "", f'%load_ext tfmagic\n%config TFMagic.lang = "{language}"'
    yield "", "import tensorflow as tf"
    for picture in pictures:
        for cell in picture.before:
            yield "", cell
        yield picture.name, picture.cell
    yield from (("", ""), ("", "# the last cell is the one that is selected"))


def press(page: Any, place: int, selectors: tuple[str, ...]) -> None:
    """Click what the selectors find in the cell at ``place``."""
    cell = page.locator(".jp-Notebook .jp-Cell").nth(place)
    for selector in selectors:
        cell.locator(selector).first.dispatch_event("click")
        page.wait_for_timeout(1000)  # it asks the kernel, and moves


def photograph(page: Any, place: int) -> Image.Image:
    """The cell at ``place``, its code and its output."""
    cell = page.locator(".jp-Notebook .jp-Cell").nth(place)
    cell.scroll_into_view_if_needed()
    page.wait_for_timeout(300)  # the images inside are decoded
    return Image.open(io.BytesIO(cell.screenshot(animations="disabled")))


def main(names: list[str]) -> None:
    """Run the cells, and write their pictures."""
    HERE.mkdir(exist_ok=True)
    pictures = chosen(names)
    with tempfile.TemporaryDirectory() as folder, jupyter.chromium(chromium()) as browser:
        home, notebooks = Path(folder, "home"), Path(folder, "notebooks")
        notebooks.mkdir()
        with jupyter.serving(notebooks, home) as server:
            for language in LANGUAGES:
                take(server, browser, pictures, language, set(names))


def take(
    server: Any, browser: Any, pictures: tuple[Picture, ...], language: str, names: set[str]
) -> None:
    """One notebook with all cells, photographed in both themes."""
    cells = list(cells_of(pictures, language))
    name = f"pictures-{language}.ipynb"
    nbformat.write(jupyter.notebook_of([cell for _, cell in cells]), server.folder / name)
    context = browser.new_context(
        viewport={"width": WIDTH, "height": 30_000}, device_scale_factor=SCALE
    )
    page = jupyter.opened(server, context, name)
    page.evaluate("jupyterapp.commands.execute('application:toggle-left-area')")
    jupyter.run(page)
    for place, (picture, _) in enumerate(cells):
        press(page, place, next((p.press for p in pictures if p.name == picture), ()))
    page.locator(".jp-Notebook .jp-Cell").last.click()  # none of ours is selected
    for theme in ("light", "dark"):
        jupyter.use_theme(page, theme == "dark")
        for place, (picture, _) in enumerate(cells):
            if picture and (not names or picture in names):
                file = HERE / f"{picture}.{language}.{theme}.png"
                image = photograph(page, place).convert("RGB")
                image.quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)
                print(file.relative_to(HERE.parent.parent), image.size)
    context.close()


if __name__ == "__main__":
    main(sys.argv[1:])
