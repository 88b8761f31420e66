# %%
import tensorflow as tf
g1 = tf.random.Generator.from_seed(1)
print(g1.normal(shape=[2, 3]))
# %%
g2 = tf.random.get_global_generator()
g2.reset_from_seed(4)
print(g2.normal(shape=[2, 3]))
# %%
w = tf.Variable(2.0)
@tf.function
def noisy(x):
    return x * tf.random.normal([]) * w
[float(noisy(1.0)) for _ in range(3)]
# %%
y = noisy(w)
# %%
[float(noisy(1.0)) for _ in range(3)]
# %%
with tf.GradientTape() as tape:
    y = noisy(w)
print(y)
# %%
tape.gradient(y, w)
# %%
[float(noisy(1.0)) for _ in range(2)], float(noisy(w))
# %%
@tf.function
def from_generator(x):
    return x * g1.uniform([]) + tf.random.stateless_normal([], seed=[1, 2])
z = from_generator(w)
# %%
float(from_generator(w)), g1.state
# %%
g3 = g1.split(2)
[float(g.normal([])) for g in g3]
# %%
g4 = tf.random.Generator.from_non_deterministic_state() if False else tf.random.Generator.from_seed(9)
@tf.function
def foo():
    return g4.uniform([]), tf.random.uniform([])
foo(), foo()
# %%
tf.random.set_seed(1234)
print(tf.random.uniform([1]), tf.random.uniform([1]))
# %%
a = tf.random.normal([2], seed=1)
b = tf.random.normal([2], seed=1)
a, b
# %%
loss = tf.reduce_mean(tf.nn.dropout(tf.ones([4, 4]) * w, 0.5))
# %%
tf.random.shuffle([1, 2, 3, 4, 5])
# %%
layer = tf.keras.layers.Dropout(0.5, seed=3)
layer(tf.ones([2, 4]) * w, training=True)
# %%
tf.keras.utils.set_random_seed(5)
d = tf.keras.layers.Dense(2)
out = tf.reduce_sum(d(tf.ones([1, 3])))
out
# %%
import numpy as np, random
np.random.rand(), random.random(), tf.random.normal([1])
# %%
@tf.function
def drop(x):
    return tf.nn.dropout(x * w, 0.5)
[drop(tf.ones([4])).numpy().tolist() for _ in range(2)]
# %%
loss = tf.reduce_sum(drop(tf.ones([4])))
# %%
[drop(tf.ones([4])).numpy().tolist() for _ in range(2)]
# %%
tf.random.categorical([[0.1, 0.9]], 5), tf.random.gamma([2], [0.5])
