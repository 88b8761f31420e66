# %%
import tensorflow as tf
import matplotlib as mpl
import matplotlib.pyplot as plt
mpl.rcParams['figure.figsize'] = (8, 6)
# %%
x = tf.Variable(2.0)
y = tf.Variable(3.0)
with tf.GradientTape() as t:
    x_sq = x * x
    with t.stop_recording():
        y_sq = y * y
    z = x_sq + y_sq
grad = t.gradient(z, {'x': x, 'y': y})
print('dz/dx:', grad['x'])
print('dz/dy:', grad['y'])
# %%
reset = True
with tf.GradientTape() as t:
    y_sq = y * y
    if reset:
        t.reset()
    z = x * x + y_sq
grad = t.gradient(z, {'x': x, 'y': y})
print('dz/dx:', grad['x'], grad['y'])
# %%
with tf.GradientTape() as t:
    y_sq = y**2
    z = x**2 + tf.stop_gradient(y_sq)
t.gradient(z, {'x': x, 'y': y})
# %%
@tf.custom_gradient
def clip_gradients(y):
    def backward(dy):
        print('backward runs')
        return tf.clip_by_norm(dy, 0.5)
    return y, backward
v = tf.Variable(2.0)
with tf.GradientTape() as t:
    output = clip_gradients(v * v)
print(t.gradient(output, v))
# %%
out = clip_gradients(v * 3.0)
# %%
class MyModule(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec(None)])
    def call_custom_grad(self, x):
        return clip_gradients(x)
model = MyModule()
# %%
with tf.GradientTape() as t:
    output = model.call_custom_grad(v)
print(t.gradient(output, v))
# %%
loss = model.call_custom_grad(v)
# %%
tf.saved_model.save(model, 'saved_model', options=tf.saved_model.SaveOptions(experimental_custom_gradients=True))
loaded = tf.saved_model.load('saved_model')
with tf.GradientTape() as t:
    output = loaded.call_custom_grad(v)
print(t.gradient(output, v))
# %%
x0 = tf.constant(0.0)
x1 = tf.constant(0.0)
with tf.GradientTape() as tape0, tf.GradientTape() as tape1:
    tape0.watch(x0)
    tape1.watch(x1)
    y0 = tf.math.sin(x0)
    y1 = tf.nn.sigmoid(x1)
    y = y0 + y1
    ys = tf.reduce_sum(y)
# %%
tape0.gradient(ys, x0).numpy()
# %%
tape1.gradient(ys, x1).numpy()
# %%
x = tf.Variable(1.0)
with tf.GradientTape() as t2:
    with tf.GradientTape() as t1:
        y = x * x * x
    dy_dx = t1.gradient(y, x)
d2y_dx2 = t2.gradient(dy_dx, x)
print('dy_dx:', dy_dx.numpy())
print('d2y_dx2:', d2y_dx2.numpy())
# %%
x = tf.random.normal([7, 5])
layer = tf.keras.layers.Dense(10, activation=tf.nn.relu)
with tf.GradientTape() as t2:
    with tf.GradientTape(watch_accessed_variables=False) as t1:
        t1.watch(x)
        y = layer(x)
        out = tf.reduce_sum(layer(x)**2)
    g1 = t1.gradient(out, x)
    g1_mag = tf.norm(g1)
dg1_mag = t2.gradient(g1_mag, layer.trainable_variables)
[var.shape for var in dg1_mag]
# %%
x = tf.linspace(-10.0, 10.0, 20 + 1)
delta = tf.Variable(0.0)
with tf.GradientTape() as tape:
    y = tf.nn.sigmoid(x + delta)
dy_dx = tape.jacobian(y, delta)
dy_dx.shape
# %%
x = tf.random.normal([7, 5])
layer1 = tf.keras.layers.Dense(8, activation=tf.nn.elu)
layer2 = tf.keras.layers.Dense(6, activation=tf.nn.elu)
with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
    tape.watch(x)
    y = layer2(layer1(x))
jb = tape.batch_jacobian(y, x)
print(jb.shape)
# %%
with tf.GradientTape() as t2:
    with tf.GradientTape() as t1:
        loss = tf.reduce_mean(layer2(layer1(x))**2)
    g = t1.gradient(loss, layer1.kernel)
h = t2.jacobian(g, layer1.kernel)
print(h.shape)
eye_eps = tf.eye(40) * 1e-3
newton = tf.linalg.solve(tf.reshape(h, [40, 40]) + eye_eps, tf.reshape(g, [40, 1]))
newton.shape
# %%
@tf.recompute_grad
def heavy(t):
    print('heavy runs')
    return tf.sin(t) * t
u = tf.Variable(0.5)
hl = heavy(u)
# %%
with tf.GradientTape() as t:
    hl = heavy(u)
t.gradient(hl, u)
