"""What %%tape shows of thirty everyday cells: does it fit a screen, and is each cause told once?

Every cell runs in a shell of its own, as a user would run it.  Noted are the picture's size in
pixels and its boxes, the bytes of the report's HTML, the lines that a terminal of 80 columns
shows and the widest of them, and how often the words of one cause stand in what is read first
(the terminal's text).  No figure is a time: the table is the same on any machine.

    python -m benchmarks.screens [--only NAME ...] [--save FOLDER]

``--save`` writes each report as a page, to be looked at.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.rows import note

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

#: What is to be reached: pixels, boxes, bytes, lines and columns of a terminal, times told.
WIDE, HIGH, BOXES, BYTES, LINES, COLUMNS, TOLD = 1000, 700, 25, 150_000, 40, 80, 1

SET_UP = """
import keras, numpy as np, tensorflow as tf
L = keras.layers
keras.utils.set_random_seed(0)
def stack(*layers, shape=(8,)):
    return keras.Sequential([keras.Input(shape), *layers])
def data(*shape, classes=0):
    r = np.random.RandomState(0)
    x = r.randn(*shape).astype("float32")
    y = r.randint(0, classes, shape[0]) if classes else r.randn(shape[0], 1).astype("float32")
    return x, y
"""
LESSON = """
X, Y = tf.constant([[2.0], [3.0]]), tf.constant([[1.0]])
W_1, W_2 = tf.Variable([[0.11, 0.21], [0.12, 0.08]]), tf.Variable([[0.14, 0.15]])
"""
MODEL = """
model = stack(L.Dense(16, "relu"), L.Dense(16, "relu"), L.Dense(1))
x, y = data(32, 8)
optimizer = keras.optimizers.Adam(0.01)
"""
CNN = """
model = stack(L.Conv2D(8, 3), L.BatchNormalization(), L.ReLU(), L.MaxPooling2D(),
    L.Conv2D(16, 3), L.BatchNormalization(), L.ReLU(), L.GlobalAveragePooling2D(), L.Dense(10),
    shape=(28, 28, 1))
x, y = data(16, 28, 28, 1, classes=10)
loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = keras.optimizers.SGD(0.01)
"""
BLOCKS = """
def block(h):
    h = L.LayerNormalization()(h + L.MultiHeadAttention(2, 8)(h, h))
    return L.LayerNormalization()(h + L.Dense(16)(L.Dense(32, "gelu")(h)))
i = keras.Input((12,), dtype="int32")
h = L.Embedding(50, 16)(i)
for _ in range(2):
    h = block(h)
model = keras.Model(i, L.Dense(5)(L.GlobalAveragePooling1D()(h)))
r = np.random.RandomState(0)
x, y = r.randint(0, 50, (16, 12)), r.randint(0, 5, 16)
loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = keras.optimizers.Adam()
"""
LSTM = """
model = stack(L.LSTM(8), L.Dense(1), shape=(10, 3))
x, y = data(16, 10, 3)
"""
GAN = """
g, d = stack(L.Dense(16, "relu"), L.Dense(2), shape=(4,)), stack(L.Dense(16, "relu"), L.Dense(1),
    shape=(2,))
z, real = data(16, 4)[0], data(16, 2)[0]
bce = keras.losses.BinaryCrossentropy(from_logits=True)
"""
VAE = """
encoder, decoder = stack(L.Dense(16, "tanh"), L.Dense(4)), stack(L.Dense(16, "tanh"), L.Dense(8),
    shape=(2,))
x, noise = data(16, 8)[0], data(16, 2)[0]
"""
STEP = """
with tf.GradientTape() as tape:
    loss = {loss}
grads = tape.gradient(loss, model.trainable_variables)
"""
CLASSES = STEP.format(loss="loss_of(y, model(x, training=True))")
SQUARES = STEP.format(loss="tf.reduce_mean((model(x) - y) ** 2)")


def _fit(loss: str = "'mse'", epochs: int = 4, compiled: str = "") -> str:
    compile_it = f'model.compile("adam", {loss}{compiled})\n'
    return compile_it + f"model.fit(x, y, epochs={epochs}, batch_size=8, verbose=0);"


#: Name → what stands before the cell, and the cell.
CELLS = {
    "lesson": (
        LESSON,
        "with tf.GradientTape() as tape:\n    Hidden = W_1 @ X\n    Y_hat = W_2 @ Hidden\n"
        "    Loss = 0.5 * (Y_hat - Y) ** 2\ntape.gradient(Loss, [W_1, W_2])",
    ),
    "lesson_none": (
        LESSON,
        "with tf.GradientTape() as tape:\n    Hidden = tf.round(W_1 @ X)\n"
        "    Y_hat = W_2 @ Hidden.numpy()\n    Loss = 0.5 * (Y_hat - Y) ** 2\n"
        "tape.gradient(Loss, [W_1, W_2])",
    ),
    "lesson_nan": (
        LESSON,
        "with tf.GradientTape() as tape:\n    Hidden = W_1 @ X\n"
        "    Loss = tf.reduce_sum(tf.sqrt(W_2 @ Hidden - W_2 @ Hidden))\n"
        "tape.gradient(Loss, [W_1, W_2])",
    ),
    "mlp_step": (
        MODEL,
        SQUARES + "optimizer.apply_gradients(zip(grads, model.trainable_variables))",
    ),
    "mlp_none": (MODEL, STEP.format(loss="tf.reduce_mean(tf.cast(model(x) > 0, tf.float32) - y)")),
    "mlp_numpy": (MODEL, STEP.format(loss="tf.reduce_mean((model(x).numpy() - y) ** 2)")),
    "cnn_step": (CNN, CLASSES + "optimizer.apply_gradients(zip(grads, model.trainable_variables))"),
    "cnn_argmax": (
        CNN,
        STEP.format(loss="tf.reduce_mean(tf.cast(tf.argmax(model(x), 1), 'float32'))"),
    ),
    "cnn_fit": (CNN, _fit("loss_of", compiled=', metrics=["accuracy"]')),
    "transformer_step": (BLOCKS, CLASSES),
    "transformer_fit": (BLOCKS, _fit("loss_of")),
    "transformer_nan": (BLOCKS, STEP.format(loss="tf.reduce_mean(tf.math.log(model(x)))")),
    "lstm_step": (LSTM, SQUARES),
    "lstm_fit": (LSTM, _fit()),
    "rnn_by_hand": (
        "W, U = tf.Variable(tf.eye(4) * 0.5), tf.Variable(tf.ones([3, 4]) * 0.1)\n"
        "xs = data(2, 20, 3)[0]",
        "with tf.GradientTape() as tape:\n    h = tf.zeros([2, 4])\n    for t in range(20):\n"
        "        h = tf.tanh(h @ W + xs[:, t] @ U)\n    loss = tf.reduce_sum(h ** 2)\n"
        "tape.gradient(loss, [W, U])",
    ),
    "gan_step": (
        GAN,
        "with tf.GradientTape() as one, tf.GradientTape() as two:\n    fake = g(z)\n"
        "    yes, no = d(real), d(fake)\n"
        "    d_loss = bce(tf.ones_like(yes), yes) + bce(tf.zeros_like(no), no)\n"
        "    g_loss = bce(tf.ones_like(no), no)\n"
        "a = one.gradient(d_loss, d.trainable_variables)\n"
        "b = two.gradient(g_loss, g.trainable_variables)",
    ),
    "gan_none": (
        GAN,
        "with tf.GradientTape() as tape:\n    no = d(g.predict(z, verbose=0))\n"
        "    g_loss = bce(tf.ones_like(no), no)\ntape.gradient(g_loss, g.trainable_variables);",
    ),
    "vae_step": (
        VAE,
        "with tf.GradientTape() as tape:\n    m, s = tf.split(encoder(x), 2, 1)\n"
        "    out = decoder(m + tf.exp(s / 2) * noise)\n"
        "    loss = tf.reduce_mean((out - x) ** 2)\n"
        "    loss += -0.5 * tf.reduce_mean(1 + s - m ** 2 - tf.exp(s))\n"
        "both = encoder.trainable_variables + decoder.trainable_variables\n"
        "grads = tape.gradient(loss, both)",
    ),
    "vae_nan": (
        VAE,
        "with tf.GradientTape() as tape:\n    m, s = tf.split(encoder(x), 2, 1)\n"
        "    out = decoder(m + tf.math.log(s) * noise)\n    loss = tf.reduce_mean((out - x) ** 2)\n"
        "both = encoder.trainable_variables + decoder.trainable_variables\n"
        "grads = tape.gradient(loss, both)",
    ),
    "pinn_step": (
        "u = stack(L.Dense(16, 'tanh'), L.Dense(16, 'tanh'), L.Dense(1), shape=(1,))\n"
        "t = tf.reshape(tf.linspace(0.0, 1.0, 16), [16, 1])",
        "with tf.GradientTape() as outer:\n    with tf.GradientTape() as second:\n"
        "        second.watch(t)\n        with tf.GradientTape() as first:\n"
        "            first.watch(t)\n            v = u(t)\n        v_t = first.gradient(v, t)\n"
        "    v_tt = second.gradient(v_t, t)\n    loss = tf.reduce_mean((v_tt + v) ** 2)\n"
        "grads = outer.gradient(loss, u.trainable_variables)",
    ),
    "pinn_none": (
        "u = stack(L.Dense(16, 'tanh'), L.Dense(1), shape=(1,))\n"
        "t = tf.reshape(tf.linspace(0.0, 1.0, 16), [16, 1])",
        "with tf.GradientTape() as outer:\n    with tf.GradientTape() as first:\n        v = u(t)\n"
        "    v_t = first.gradient(v, t)\n    loss = tf.reduce_mean((v + 1.0) ** 2)\n"
        "grads = outer.gradient(loss, u.trainable_variables)",
    ),
    "loop": (
        MODEL,
        "for _ in range(20):\n    with tf.GradientTape() as tape:\n"
        "        loss = tf.reduce_mean((model(x) - y) ** 2)\n"
        "    grads = tape.gradient(loss, model.trainable_variables)\n"
        "    optimizer.apply_gradients(zip(grads, model.trainable_variables))",
    ),
    "loop_compiled": (
        MODEL + "optimizer.build(model.trainable_variables)\n@tf.function\ndef step():\n"
        "    with tf.GradientTape() as tape:\n        loss = tf.reduce_mean((model(x) - y) ** 2)\n"
        "    grads = tape.gradient(loss, model.trainable_variables)\n"
        "    optimizer.apply_gradients(zip(grads, model.trainable_variables))\n    return loss\n",
        "for _ in range(20):\n    loss = step()",
    ),
    "loop_of_data": (
        MODEL,
        "for a, b in tf.data.Dataset.from_tensor_slices((x, y)).shuffle(32).batch(8):\n"
        "    with tf.GradientTape() as tape:\n        loss = tf.reduce_mean((model(a) - b) ** 2)\n"
        "    grads = tape.gradient(loss, model.trainable_variables)\n"
        "    optimizer.apply_gradients(zip(grads, model.trainable_variables))",
    ),
    "fit": (MODEL, _fit()),
    "fit_nan": (
        MODEL,
        "model.compile(keras.optimizers.SGD(1e6), 'mse')\n"
        "model.fit(x, y, epochs=8, batch_size=8, verbose=0);",
    ),
    "distribute": (
        "strategy = tf.distribute.MirroredStrategy(['CPU:0'])\nx, y = data(32, 8)",
        "with strategy.scope():\n    model = stack(L.Dense(8, 'relu'), L.Dense(1))\n"
        "    model.compile('sgd', 'mse')\nmodel.fit(x, y, batch_size=8, epochs=2, verbose=0);",
    ),
    "wrong_shapes": (MODEL, STEP.format(loss="tf.reduce_mean(tf.matmul(model(x), y))")),
    "many_variables": (
        "model = stack(*[L.Dense(8, 'tanh') for _ in range(200)])\nx, y = data(4, 8)",
        SQUARES.replace("- y", "- 1.0"),
    ),
    "mobilenet_step": (
        "model = keras.applications.MobileNetV2((96, 96, 3), 0.35, weights=None, classes=10)\n"
        "x, y = data(4, 96, 96, 3, classes=10)\n"
        "loss_of = keras.losses.SparseCategoricalCrossentropy()",
        CLASSES,
    ),
}

#: Cells that are meant to raise.
RAISES = {"wrong_shapes"}


@dataclass(frozen=True, slots=True)
class Screen:
    """What one report comes to; ``told`` is 0 where there is no cause to tell of."""

    wide: int
    high: int
    boxes: int
    bytes: int
    lines: int
    columns: int
    causes: int
    told: int

    @property
    def fits(self) -> bool:
        """Whether all of it keeps to what is to be reached."""
        picture = self.wide <= WIDE and self.high <= HIGH and 0 < self.boxes <= BOXES
        text = self.lines <= LINES and self.columns <= COLUMNS
        return picture and text and self.bytes <= BYTES and self.told <= TOLD


def measured(recording: Any) -> tuple[Screen, str]:
    """The figures of a recording's report, and the report as HTML."""
    from wcwidth import wcswidth

    from tfmagic.render.answer import causes
    from tfmagic.render.report import Report
    from tfmagic.render.run import why

    report = Report(recording)
    made, text = report.html(), report.text(width=COLUMNS, colour=False)
    drawn = report._drawing.drawn
    wide, high = drawn.width, int(drawn.size[1] * drawn.width / max(1, drawn.size[0]))
    words = " ".join(text.split())
    told_of = [cause.verdict.message for cause in causes(recording)]
    told_of += filter(None, map(why, recording.runs))
    told = [words.count(" ".join(message.split())[:40]) for message in told_of]
    rows = text.splitlines()
    columns = max(map(wcswidth, rows), default=0)
    boxes = sum(node.kind != "stub" for node in drawn.graph.nodes)
    screen = Screen(
        wide, high, boxes, len(made.encode()), len(rows), columns, len(told), max(told, default=0)
    )
    return screen, made


def screens(names: Sequence[str]) -> Iterator[tuple[str, Screen | str, str]]:
    """Each cell's name, its figures (or why there are none), and its report."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    import tfmagic

    shell = InteractiveShell.instance()
    shell.colors = "nocolor"
    shell.run_line_magic("load_ext", "tfmagic")
    for name in names:
        before, cell = CELLS[name]
        shell.run_cell(SET_UP + before).raise_error()
        with capture_output():
            ran = shell.run_cell(f"%%tape\n{cell}")
        if (ran.error_in_exec is not None) != (name in RAISES):  # else a broken cell would fit
            yield name, f"the cell itself: {ran.error_in_exec!r}", ""
            continue
        try:
            yield name, *measured(tfmagic.last)
        except Exception as error:  # one cell that fails is a row that says so
            yield name, f"{type(error).__name__}: {error}", ""


def main() -> None:
    """Measure and print; note for the page how many cells fit, and the worst of each figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument("--save", type=Path)
    asked = parser.parse_args()
    print(
        f"{'cell':<18}{'picture':>12}{'boxes':>7}{'HTML':>9}{'lines':>7}{'wide':>6}"
        f"{'causes':>8}{'told':>6}  fits"
    )
    found: list[Screen] = []
    for name, screen, made in screens(asked.only):
        if isinstance(screen, str):
            print(f"{name:<18}  {screen[:100]}", flush=True)
            continue
        found.append(screen)
        size = f"{screen.wide}x{screen.high}"
        print(
            f"{name:<18}{size:>12}{screen.boxes:>7}{screen.bytes:>9,}{screen.lines:>7}"
            f"{screen.columns:>6}{screen.causes:>8}{screen.told:>6}  "
            f"{'yes' if screen.fits else 'no'}",
            flush=True,
        )
        if asked.save:
            asked.save.mkdir(parents=True, exist_ok=True)
            (asked.save / f"{name}.html").write_text(
                f'<!doctype html><meta charset="utf-8"><body style="font-family:sans-serif">{made}',
                encoding="utf-8",
            )
    print(f"{sum(screen.fits for screen in found)} of {len(asked.only)} fit")
    if not found:
        return
    note("cells whose report fits", sum(s.fits for s in found), least=len(asked.only))
    note("widest picture", max(s.wide for s in found), "px", most=WIDE)
    note("highest picture", max(s.high for s in found), "px", most=HIGH)
    note("most boxes", max(s.boxes for s in found), most=BOXES)
    note("largest report", max(s.bytes for s in found) / 1000, "KB", most=BYTES / 1000)
    note("longest text", max(s.lines for s in found), "lines", most=LINES)
    note("times a cause is told, at most", max(s.told for s in found), most=TOLD)


if __name__ == "__main__":
    main()
