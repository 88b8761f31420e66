"""From a slider's move to new numbers on the screen, and what of it the kernel takes.

A real JupyterLab in Chromium: each move waits until the picture's number has changed and
the frame after it is drawn.  Side by side stands ``ipywidgets.interact`` that computes and
draws the same picture.  The kernel's part is timed apart: the two layers, the recorded lesson
and a recorded training step of MobileNetV2, each run again on other values.

    python -m benchmarks.slider [--moves 100] [--no-browser] [--no-mobilenet]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.rows import note

STEP = "%load_ext tfmagic\n%tfstep"
INTERACT = """import tensorflow as tf
from IPython.display import HTML, display
from ipywidgets import FloatSlider, interact
from tfmagic import TwoLayer
from tfmagic.render.neurons import filled, marks, skeleton
m = TwoLayer([[2], [3]], [1], [[0.11, 0.21], [0.12, 0.08]], [[0.14, 0.15]])

@interact(w=FloatSlider(min=0, max=2, step=0.01, value=0.11))
def draw(w):
    m.set(W_1=[[w, 0.21], [0.12, 0.08]])
    m.show_whole()
    display(HTML(filled(skeleton(m.state.network), marks(m.state), "network")))"""

# Moves one slider many times; each waits for another number in the picture, then for paint.
PANEL = """async moves => {
    const slider = document.querySelector('input[data-part="W_1[0,0]"]');
    const text = () => document.querySelector('.tfm-step-picture [data-part="H_1[0]"]').textContent;
    return await timed(moves, text, i => {
        slider.value = 0.2 + i / 100; slider.dispatchEvent(new Event('input')); });
}"""
WIDGET = """async moves => {
    const handle = document.querySelector('.noUi-handle');
    const text = () => document.querySelector('.jp-OutputArea svg')?.textContent || '';
    return await timed(moves, text, () => handle.dispatchEvent(
        new KeyboardEvent('keydown', {key: 'ArrowRight', keyCode: 39, bubbles: true})));
}"""
TIMED = """window.timed = async (moves, text, move) => {
    const frame = () => new Promise(resolve => requestAnimationFrame(resolve));
    const times = [];
    for (let i = 0; i < moves; i++) {
        const before = text(), start = performance.now();
        move(i);
        while (text() === before || !text()) {
            if (performance.now() - start > 10000) throw new Error('no new number at move ' + i);
            await frame();
        }
        await frame();
        times.push(performance.now() - start);
        await new Promise(resolve => setTimeout(resolve, 30));
    }
    return times;
}"""


def main() -> None:
    """Print the median and the 95th percentile of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moves", type=int, default=100)
    parser.add_argument("--no-browser", action="store_true")
    parser.add_argument("--no-mobilenet", action="store_true")
    options = parser.parse_args()
    if not options.no_browser:
        in_a_browser(options.moves)
    in_the_kernel(options.moves, mobilenet=not options.no_mobilenet)


def tell(name: str, milliseconds: Sequence[float], **row: Any) -> None:
    """One line: median, 95th percentile, number of moves; ``row`` has it on the page as well."""
    ordered = sorted(milliseconds)
    late = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    median = statistics.median(ordered)
    if row:
        note(name, median, "ms", **row)
    print(f"{name:58} median {median:7.2f} ms   95 % {late:7.2f} ms   n = {len(ordered)}")


# --- in a browser ---------------------------------------------------------------------------


def in_a_browser(moves: int) -> None:
    """Both panels in a JupyterLab of their own."""
    import nbformat

    from tests.browser import lab

    path = os.environ.get("TFMAGIC_CHROMIUM") or shutil.which("chromium")
    with (
        tempfile.TemporaryDirectory() as folder,
        lab.serving(Path(folder), Path(folder) / "home") as server,
        lab.chromium(path) as chrome,
    ):
        for name, cell, script, ready in (
            ("%tfstep: slider moved, new numbers painted", STEP, PANEL, ".tfm-panel"),
            ("ipywidgets.interact drawing the same picture", INTERACT, WIDGET, ".noUi-handle"),
        ):
            file = f"{ready.strip('.')}.ipynb"
            nbformat.write(lab.notebook_of([cell]), server.folder / file)
            page = lab.run(lab.opened(server, chrome, file))
            page.wait_for_selector(ready)
            page.wait_for_timeout(1500)
            page.evaluate(f"() => {{ {TIMED} }}")
            page.evaluate(script, 5)
            aim = {"most": 50} if cell == STEP else {}
            tell(name, page.evaluate(script, moves), group="A slider's move, median", **aim)
            page.close()


# --- in the kernel --------------------------------------------------------------------------


def in_the_kernel(moves: int, *, mobilenet: bool) -> None:
    """The time from a new value to new numbers, without a browser."""
    import tensorflow as tf

    import tfmagic

    model = tfmagic.TwoLayer([[2], [3]], [1], [[0.11, 0.21], [0.12, 0.08]], [[0.14, 0.15]])
    tell(
        "two layers: set a weight, tape and all",
        timed(moves, lambda i: model.set(W_1=[[i / 100, 0.21], [0.12, 0.08]], gesture="one")),
        most=3,
    )
    X, Y = tf.constant([[2.0], [3.0]]), tf.constant([1.0])
    W_1 = tf.Variable([[0.11, 0.21], [0.12, 0.08]])
    W_2 = tf.Variable([[0.14, 0.15]])
    with tfmagic.record() as rec:
        with tf.GradientTape() as tape:
            loss = tf.square(W_2 @ (W_1 @ X) - Y) / 2
        tape.gradient(loss, [W_1, W_2])
    tweak = tfmagic.tweak(rec)
    tell(
        f"the recorded lesson: {tweak.count} ops replayed",
        timed(moves, lambda i: tweak.set(W_1=[[i / 100, 0.21], [0.12, 0.08]])),
        most=3,
    )
    tell(
        "  … and the new recording made",
        timed(moves, lambda i: tweak.set(W_1=[[i / 100, 0.21], [0.12, 0.08]]).recording),
    )
    if mobilenet:
        large(max(5, moves // 10))


def large(moves: int) -> None:
    """MobileNetV2, 96 × 96, two pictures: the first and the last of its weights move."""
    import keras
    import tensorflow as tf

    import tfmagic

    net = keras.applications.MobileNetV2((96, 96, 3), weights=None, classes=10)
    pictures = tf.random.uniform([2, 96, 96, 3], seed=1)
    with tfmagic.record() as rec:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(net(pictures, training=False) ** 2)
        tape.gradient(loss, net.trainable_variables)
    for place in (0, -1):
        weight = net.trainable_variables[place]
        begun = time.perf_counter()
        tweak = tfmagic.tweak(rec, weight)
        planned = time.perf_counter() - begun
        (name,) = tweak.values
        start = weight.numpy()
        found = timed(moves, lambda i, t=tweak, n=name, s=start: t.set({n: s * (1 + i / 100)}))
        title = f"MobileNetV2, {'first' if place == 0 else 'last'} weight: {tweak.count:,} ops"
        tell(f"{title} (planned in {planned:.2f} s)", found)


def timed(moves: int, act: Callable[[int], Any]) -> list[float]:
    """Milliseconds of each call, after three that do not count."""
    times = []
    for i in range(-3, moves):
        begun = time.perf_counter()
        act(abs(i))
        if i >= 0:
            times.append(1e3 * (time.perf_counter() - begun))
    return times


if __name__ == "__main__":
    main()
