"""Sound trainings of many kinds: none of them is accused of anything."""

from __future__ import annotations

import linecache
from typing import Any

import pytest

import tfmagic

START = """
import numpy as np, tensorflow as tf, keras
from keras import layers
keras.utils.set_random_seed(3)
rng = np.random.default_rng(3)
x = rng.normal(size=(256, 6)).astype("float32")
w = rng.normal(size=(6, 1)).astype("float32")
y = x @ w
label = (y[:, 0] > 0).astype("int32")
"""

LOOP = """
opt = keras.optimizers.Adam(0.01)
def step(xb, yb):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(net(xb, training=True) - yb))
    weights = net.trainable_variables
    opt.apply_gradients(zip(tape.gradient(loss, weights), weights))
    return loss
"""

SOUND = {
    "a short fit of a small CNN": """
images = rng.random((64, 12, 12, 1)).astype("float32")
kind = rng.integers(0, 3, 64)
images[np.arange(64), kind * 3] += 1.0
model = keras.Sequential([keras.Input((12, 12, 1)), layers.Conv2D(4, 3, activation="relu"),
    layers.GlobalAveragePooling2D(), layers.Dense(3, activation="softmax")])
model.compile("adam", "sparse_categorical_crossentropy")
model.fit(images, kind, batch_size=8, epochs=2, verbose=0)
""",
    "one epoch": """
model = keras.Sequential([keras.Input((6,)), layers.Dense(16, activation="relu"), layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(x, y, batch_size=32, verbose=0)
""",
    "three steps": """
model = keras.Sequential([keras.Input((6,)), layers.Dense(1)])
model.compile(keras.optimizers.SGD(1e-4), "mse")
model.fit(x[:96], y[:96], batch_size=32, verbose=0)
""",
    "a slow and steady fall": """
model = keras.Sequential([keras.Input((6,)), layers.Dense(8, activation="tanh"), layers.Dense(1)])
model.compile(keras.optimizers.SGD(0.003), "mse")
model.fit(x, y, batch_size=32, epochs=8, verbose=0)
""",
    "a noise floor": """
noisy = 0.5 * x[:, :1] + rng.normal(size=(256, 1))
model = keras.Sequential([keras.Input((6,)), layers.Dense(4, activation="relu"), layers.Dense(1)])
model.compile(keras.optimizers.Adam(0.01), "mse")
model.fit(x, noisy, batch_size=32, epochs=12, verbose=0)
""",
    "a coin that nothing foretells": """
coin = rng.integers(0, 2, (256, 1))
model = keras.Sequential([keras.Input((6,)), layers.Dense(1, activation="sigmoid")])
model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
model.fit(x, 0.9 * coin + 0.05, batch_size=64, epochs=5, verbose=0)
""",
    "linear regression": """
model = keras.Sequential([keras.Input((6,)), layers.Dense(1)])
model.compile(keras.optimizers.SGD(0.1), "mse")
model.fit(x, y + 3, batch_size=64, epochs=20, verbose=0)
""",
    "a linear autoencoder": """
low = rng.normal(size=(256, 2)) @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(256, 6))
model = keras.Sequential([keras.Input((6,)), layers.Dense(2), layers.Dense(6)])
model.compile(keras.optimizers.Adam(0.01), "mse")
model.fit(low, low, batch_size=32, epochs=15, verbose=0)
""",
    "an autoencoder of more than it can hold": """
model = keras.Sequential([keras.Input((6,)), layers.Dense(3, activation="relu"), layers.Dense(6)])
model.compile(keras.optimizers.Adam(0.01), "mse")
model.fit(x, x, batch_size=32, epochs=15, verbose=0)
""",
    "dropout": """
model = keras.Sequential([keras.Input((6,)), layers.Dense(32, activation="relu"),
    layers.Dropout(0.5), layers.Dense(1, activation="sigmoid")])
model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
model.fit(x, label, batch_size=32, epochs=10, verbose=0)
""",
    "an imbalance": """
rare = (y[:, 0] > 5).astype("int32")
model = keras.Sequential([keras.Input((6,)), layers.Dense(8, activation="relu"),
    layers.Dense(1, activation="sigmoid")])
model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
model.fit(x, rare, batch_size=32, epochs=10, class_weight={0: 1.0, 1: 8.0}, verbose=0)
""",
    "light regularisation": """
l2 = keras.regularizers.L2(1e-3)
model = keras.Sequential([keras.Input((6,)), layers.Dense(16, "relu", kernel_regularizer=l2),
    layers.Dense(2, activation="softmax", kernel_regularizer=l2)])
model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
model.fit(x, label, batch_size=32, epochs=10, verbose=0)
""",
    "a recurrent net": """
series = np.sin(np.arange(400) / 5)[:, None].astype("float32")
windows = np.stack([series[i:i + 10] for i in range(256)])
model = keras.Sequential([keras.Input((10, 1)), layers.LSTM(8), layers.Dense(1)])
model.compile(keras.optimizers.Adam(0.01), "mse")
model.fit(windows, series[10:266], batch_size=32, epochs=6, verbose=0)
""",
    "a transformer's block": """
tokens = rng.integers(0, 12, (256, 8))
given = keras.Input((8,), dtype="int32")
z = layers.Embedding(12, 16)(given)
z = layers.LayerNormalization()(z + layers.MultiHeadAttention(2, 8)(z, z))
z = layers.LayerNormalization()(z + layers.Dense(16)(layers.Dense(32, "relu")(z)))
model = keras.Model(given, layers.Dense(12)(z))
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.Adam(0.005), loss)
model.fit(tokens, tokens, batch_size=32, epochs=4, verbose=0)
""",
    "batch normalisation": """
model = keras.Sequential([keras.Input((6,)), layers.BatchNormalization(),
    layers.Dense(16, activation="relu"), layers.BatchNormalization(), layers.Dense(1)])
model.compile(keras.optimizers.Adam(0.01), "mse")
model.fit(100 * x + 50, y, batch_size=32, epochs=10, verbose=0)
""",
    "a normaliser before raw numbers": """
raw = x * np.array([1, 1000, 1, 10, 1, 1]) + 200
norm = layers.Normalization()
norm.adapt(raw)
model = keras.Sequential([keras.Input((6,)), norm, layers.Dense(8, "relu"), layers.Dense(1)])
model.compile(keras.optimizers.Adam(0.02), "mse")
model.fit(raw, y, batch_size=32, epochs=10, verbose=0)
""",
    "a backbone that was trained before": """
base = keras.Sequential([keras.Input((6,)), layers.Dense(16, activation="relu")])
first = keras.Sequential([base, layers.Dense(1)])
first.compile(keras.optimizers.Adam(0.01), "mse")
first.fit(x, y, batch_size=32, epochs=10, verbose=0)
base.trainable = False
model = keras.Sequential([base, layers.Dense(1, activation="sigmoid")])
model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy")
model.fit(x, label, batch_size=32, epochs=10, verbose=0)
""",
    "a rate that is low on purpose, after training": """
model = keras.Sequential([keras.Input((6,)), layers.Dense(16, activation="relu"), layers.Dense(1)])
model.compile(keras.optimizers.Adam(0.02), "mse")
model.fit(x, y, batch_size=32, epochs=15, verbose=0)
model.compile(keras.optimizers.Adam(1e-6), "mse")
model.fit(x, y, batch_size=32, epochs=4, verbose=0)
""",
    "a variational autoencoder": """
encoder = keras.Sequential([keras.Input((6,)), layers.Dense(16, "relu"), layers.Dense(4)])
decoder = keras.Sequential([keras.Input((2,)), layers.Dense(16, "relu"), layers.Dense(6)])
opt = keras.optimizers.Adam(0.01)
weights = encoder.trainable_variables + decoder.trainable_variables
opt.build(weights)
@tf.function
def step(xb, noise):
    with tf.GradientTape() as tape:
        mean, log_var = tf.split(encoder(xb), 2, axis=1)
        made = decoder(mean + tf.exp(0.5 * log_var) * noise)
        kl = -0.5 * tf.reduce_mean(1 + log_var - mean ** 2 - tf.exp(log_var))
        loss = tf.reduce_mean((made - xb) ** 2) + 0.1 * kl
    opt.apply_gradients(zip(tape.gradient(loss, weights), weights))
    return loss
for i in range(80):
    step(x[i % 4 * 64:][:64], rng.normal(size=(64, 2)).astype("float32"))
""",
    "two nets against each other": """
gen = keras.Sequential([keras.Input((2,)), layers.Dense(8, "relu"), layers.Dense(1)])
dis = keras.Sequential([keras.Input((1,)), layers.Dense(8, "relu"), layers.Dense(1)])
og, od = keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3)
og.build(gen.trainable_variables); od.build(dis.trainable_variables)
bce = tf.nn.sigmoid_cross_entropy_with_logits
@tf.function
def step(real, z):
    with tf.GradientTape() as td, tf.GradientTape() as tg:
        fake = gen(z)
        a, b = dis(real), dis(fake)
        d = tf.reduce_mean(bce(tf.ones_like(a), a)) + tf.reduce_mean(bce(tf.zeros_like(b), b))
        g = tf.reduce_mean(bce(tf.ones_like(b), b))
    od.apply_gradients(zip(td.gradient(d, dis.trainable_variables), dis.trainable_variables))
    og.apply_gradients(zip(tg.gradient(g, gen.trainable_variables), gen.trainable_variables))
for i in range(100):
    step(rng.normal(3, 1, (32, 1)).astype("float32"), rng.normal(size=(32, 2)).astype("float32"))
""",
    "an own compiled loop": LOOP
    + """
net = keras.Sequential([keras.Input((6,)), layers.Dense(16, activation="relu"), layers.Dense(1)])
step = tf.function(step)
for i in range(120):
    step(x[i % 8 * 32:][:32], y[i % 8 * 32:][:32])
""",
    "an own eager loop": LOOP
    + """
net = keras.Sequential([keras.Input((6,)), layers.Dense(16, activation="relu"), layers.Dense(1)])
for i in range(16):
    step(x[i % 8 * 32:][:32], y[i % 8 * 32:][:32])
""",
    "all the data at every step": LOOP
    + """
net = keras.Sequential([keras.Input((6,)), layers.Dense(16, activation="relu"), layers.Dense(1)])
step = tf.function(step)
for i in range(60):
    step(x, y)
""",
    "one batch, taken once to see that it can be learned": LOOP
    + """
net = keras.Sequential([keras.Input((6,)), layers.Dense(16, activation="relu"), layers.Dense(1)])
step = tf.function(step)
xb, yb = next(iter(tf.data.Dataset.from_tensor_slices((x, y)).batch(32)))
for i in range(60):
    step(xb, yb)
""",
    "a head alone, on a body that stays": """
body = keras.Sequential([keras.Input((6,)), layers.Dense(64, activation="tanh")])
head = layers.Dense(1)
head.build((None, 64))
opt = keras.optimizers.Adam(0.02)
@tf.function
def step(xb, yb):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(head(body(xb)) - yb))
    weights = head.trainable_variables
    opt.apply_gradients(zip(tape.gradient(loss, weights), weights))
for i in range(80):
    step(x[i % 8 * 32:][:32], y[i % 8 * 32:][:32])
""",
    "a target net that follows": """
q = keras.Sequential([keras.Input((6,)), layers.Dense(16, "relu"), layers.Dense(2)])
target = keras.models.clone_model(q)
target.set_weights(q.get_weights())
opt = keras.optimizers.Adam(0.003)
@tf.function
def step(s, a, r, n):
    best = r + 0.9 * tf.reduce_max(target(n), axis=1)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(q(s) * tf.one_hot(a, 2), axis=1)
        loss = tf.reduce_mean(tf.square(value - best))
    opt.apply_gradients(zip(tape.gradient(loss, q.trainable_variables), q.trainable_variables))
for i in range(80):
    k = rng.integers(0, 256, 32)
    step(x[k], label[k], y[k, 0], x[(k + 1) % 256])
""",
    "labels in order, though each is learned": """
order = np.argsort(label, kind="stable")
model = keras.Sequential([keras.Input((6,)), layers.Dense(16, "relu"), layers.Dense(1, "sigmoid")])
model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
model.fit(x[order], label[order], batch_size=32, epochs=10, verbose=0)
""",
    "clipped gradients": """
model = keras.Sequential([keras.Input((6,)), layers.Dense(16, activation="relu"), layers.Dense(1)])
model.compile(keras.optimizers.Adam(0.01, clipnorm=1.0), "mse")
model.fit(x, y, batch_size=32, epochs=10, verbose=0)
""",
    "sinusoids that are added and stay": """
tokens = rng.integers(0, 10, (128, 8))
place = np.sin(np.arange(8)[:, None] / 10 ** (np.arange(16) / 8)).astype("float32")
given = keras.Input((8,), dtype="int32")
fixed = layers.Embedding(8, 16, trainable=False, embeddings_initializer=keras.initializers.Constant(place))
z = layers.Embedding(10, 16)(given) + fixed(tf.range(8))
model = keras.Model(given, layers.Dense(10)(z))
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.Adam(0.02), loss)
model.fit(tokens, tokens, batch_size=32, epochs=8, verbose=0)
""",
}


def recorded(source: str, name: str) -> Any:
    """What a cell with this source leaves behind."""
    filename = f"<cell {name}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    space: dict[str, Any] = {"__name__": "__main__"}
    tape = tfmagic.Tape(lambda: space)
    with tape:
        exec(compile(source, filename, "exec"), space)
    return tape.recording


@pytest.mark.parametrize("kind", SOUND)
def test_a_sound_training_is_not_accused(kind: str) -> None:
    recording = recorded(START + SOUND[kind], kind)
    assert recording.runs
    assert [v.code for run in recording.runs for v in run.verdicts] == []
