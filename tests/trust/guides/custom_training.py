# %%
import tensorflow as tf
import matplotlib.pyplot as plt
colors = plt.rcParams['axes.prop_cycle'].by_key()['color']
# %%
TRUE_W = 3.0
TRUE_B = 2.0
NUM_EXAMPLES = 201
x = tf.linspace(-2, 2, NUM_EXAMPLES)
x = tf.cast(x, tf.float32)
def f(x):
    return x * TRUE_W + TRUE_B
noise = tf.random.normal(shape=[NUM_EXAMPLES])
y = f(x) + noise
# %%
plt.plot(x, y, '.')
plt.show()
# %%
class MyModel(tf.Module):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.w = tf.Variable(5.0)
        self.b = tf.Variable(0.0)
    def __call__(self, x):
        return self.w * x + self.b
model = MyModel()
print("Variables:", model.variables)
assert model(3.0).numpy() == 15.0
# %%
def loss(target_y, predicted_y):
    return tf.reduce_mean(tf.square(target_y - predicted_y))
print("Current loss: %1.6f" % loss(y, model(x)).numpy())
# %%
def train(model, x, y, learning_rate):
    with tf.GradientTape() as t:
        current_loss = loss(y, model(x))
    dw, db = t.gradient(current_loss, [model.w, model.b])
    model.w.assign_sub(learning_rate * dw)
    model.b.assign_sub(learning_rate * db)
# %%
weights = []
biases = []
epochs = range(10)
def report(model, loss):
    return f"W = {model.w.numpy():1.2f}, b = {model.b.numpy():1.2f}, loss={loss:2.5f}"
def training_loop(model, x, y):
    for epoch in epochs:
        train(model, x, y, learning_rate=0.1)
        weights.append(model.w.numpy())
        biases.append(model.b.numpy())
        current_loss = loss(y, model(x))
        print(f"Epoch {epoch:2d}:")
        print("    ", report(model, current_loss))
# %%
current_loss = loss(y, model(x))
print("Starting:")
training_loop(model, x, y)
# %%
plt.plot(epochs, weights, label='Weights', color=colors[0])
plt.legend()
plt.show()
# %%
class MyModelKeras(tf.keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.w = tf.Variable(5.0)
        self.b = tf.Variable(0.0)
    def call(self, x):
        return self.w * x + self.b
keras_model = MyModelKeras()
training_loop(keras_model, x, y)
# %%
keras_model = MyModelKeras()
keras_model.compile(run_eagerly=False, optimizer=tf.keras.optimizers.SGD(learning_rate=0.1), loss=tf.keras.losses.mean_squared_error)
# %%
h = keras_model.fit(x, y, epochs=3, batch_size=50, verbose=0)
h.history
# %%
class Own(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.d = tf.keras.layers.Dense(1)
    def call(self, x):
        return self.d(x)
    def train_step(self, data):
        a, b = data
        with tf.GradientTape() as tape:
            p = self(a, training=True)
            l = self.compute_loss(y=b, y_pred=p)
        grads = tape.gradient(l, self.trainable_variables)
        self.optimizer.apply_gradients(zip(grads, self.trainable_variables))
        return {'loss': l}
own = Own()
own.compile(optimizer='adam', loss='mse')
hist = own.fit(tf.reshape(x, [-1, 1]), y, epochs=2, verbose=2)
# %%
hist.history['loss']
# %%
own.fit(tf.reshape(x, [-1, 1]), y, epochs=1, verbose=0)
# %%
own.evaluate(tf.reshape(x, [-1, 1]), y, verbose=0)
# %%
own.predict(tf.ones([2, 1]), verbose=0)
# %%
own.train_on_batch(tf.ones([2, 1]), tf.ones([2, 1]))
# %%
own.summary()
