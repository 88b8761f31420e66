"""One cell for each thing that a magic shows, for every place where it may be looked at."""

from __future__ import annotations

LOAD = "%load_ext tfmagic"
SETUP = """import numpy as np, tensorflow as tf
X, Y = tf.constant([[2.0], [3.0]]), tf.constant([1.0])
W_1 = tf.Variable([[0.11, 0.21], [0.12, 0.08]])
W_2 = tf.Variable([[0.14, 0.15]])
noise = tf.random.stateless_normal([200, 50], seed=(1, 2))
broken = tf.constant([1.0, float("nan")])
model = tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Dense(2, name="hidden")])"""

#: The lesson's forward pass, from the first import on.
LESSON = """import tensorflow as tf
X, Y = tf.constant([[2.0], [3.0]]), tf.constant([1.0])
W_1 = tf.Variable([[0.11, 0.21], [0.12, 0.08]])
W_2 = tf.Variable([[0.14, 0.15]])
H_1 = tf.matmul(W_1, X)
Y_hat = tf.matmul(W_2, H_1)
Loss = tf.square(Y_hat - Y) / 2"""

#: Reports: a snapshot is all there is of them.
REPORTS = {
    "tape": """%%tape
H_1 = tf.matmul(W_1, X)
Loss = tf.square(tf.matmul(W_2, H_1) - Y) / 2""",
    "none": """%%tape
x = tf.constant(3.0)
with tf.GradientTape() as tape:
    y = x**2
tape.gradient(y, x)""",
    "graph": "%tfgraph model",
    "vars": "%tfvars",
    "tree": "%tfvars model",
    "why": "%tfvars --why np.sin(W_1)",
    "heat": "%config TFMagic.display = True\nnoise",
    "squares": "W_1",
    "device": "%tfdevice",
    "bench": "%tfbench -q -o timed tf.matmul(W_1, X)\ntimed",
}
#: Panels: a live widget, and a snapshot beside it.
PANELS = {
    "step": "%tfstep",
    "tweak": """%%tape --tweak W_1
Loss = tf.square(tf.matmul(W_2, tf.matmul(W_1, X)) - Y) / 2""",
    "explore": "%tfgraph -i model",
}


def cells(language: str, *names: str) -> list[str]:
    """The cells by these names, or all reports, after what they need."""
    every = REPORTS | PANELS
    chosen = [every[name] for name in names or REPORTS]
    return [f'{LOAD}\n%config TFMagic.lang = "{language}"', SETUP, *chosen]
