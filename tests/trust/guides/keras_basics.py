# %%
import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers
keras.utils.set_random_seed(1)
# %%
x_train = np.random.random((64, 12)).astype('float32')
y_train = np.random.randint(10, size=(64,))
x_val, y_val = x_train[:16], y_train[:16]
# %%
model = keras.Sequential([keras.Input((12,)), layers.Dense(16, activation='relu'), layers.Dropout(0.2), layers.Dense(10)])
# %%
predictions = model(x_train[:1]).numpy()
predictions
# %%
tf.nn.softmax(predictions).numpy()
# %%
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
loss_fn(y_train[:1], predictions).numpy()
# %%
model.compile(optimizer='adam', loss=loss_fn, metrics=['accuracy'])
model.fit(x_train, y_train, epochs=2, verbose=2)
# %%
model.evaluate(x_val, y_val, verbose=2)
# %%
probability_model = keras.Sequential([model, layers.Softmax()])
probability_model(x_val[:2])
# %%
inputs = keras.Input(shape=(12,))
h = layers.Dense(8, activation='relu')(inputs)
h2 = layers.Dense(8, activation='relu')(h)
outputs = layers.Dense(10)(layers.add([h, h2]))
functional = keras.Model(inputs=inputs, outputs=outputs, name='functional')
functional.summary()
# %%
functional.compile(loss=loss_fn, optimizer=keras.optimizers.RMSprop(), metrics=['accuracy'])
history = functional.fit(x_train, y_train, batch_size=16, epochs=2, validation_split=0.2, verbose=0)
sorted(history.history)
# %%
class Linear(layers.Layer):
    def __init__(self, units=4):
        super().__init__()
        self.units = units
    def build(self, input_shape):
        self.w = self.add_weight(shape=(input_shape[-1], self.units), initializer='random_normal', trainable=True)
        self.b = self.add_weight(shape=(self.units,), initializer='zeros', trainable=True)
    def call(self, inputs):
        return tf.matmul(inputs, self.w) + self.b
linear = Linear()
y = linear(tf.ones((2, 2)))
print(y)
# %%
class ActivityRegularizationLayer(layers.Layer):
    def call(self, inputs):
        self.add_loss(1e-2 * tf.reduce_sum(inputs))
        return inputs
al = ActivityRegularizationLayer()
_ = al(tf.ones((2, 2)))
al.losses
# %%
class VAE(keras.Model):
    def __init__(self):
        super().__init__()
        self.enc = layers.Dense(4)
        self.dec = layers.Dense(12)
        self.seed = keras.random.SeedGenerator(7)
    def call(self, x):
        m = self.enc(x)
        z = m + keras.random.normal(tf.shape(m), seed=self.seed)
        self.add_loss(tf.reduce_mean(m**2))
        return self.dec(z)
vae = VAE()
vae.compile('adam', loss='mse')
vae.fit(x_train, x_train, epochs=1, verbose=0)
vae(x_train[:2])
# %%
lstm = keras.Sequential([layers.Embedding(20, 4), layers.LSTM(8), layers.Dense(2)])
lstm(tf.constant([[1, 2, 3]]))
# %%
gru = layers.GRU(4, return_sequences=True, return_state=True)
seq, state = gru(tf.random.normal([2, 3, 4]))
seq.shape, state
# %%
bn = layers.BatchNormalization()
with tf.GradientTape() as tape:
    l = tf.reduce_sum(bn(tf.random.normal([4, 3]), training=True)**2)
tape.gradient(l, bn.trainable_variables)
# %%
conv = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(4, 3, activation='relu'), layers.MaxPooling2D(2), layers.Flatten(), layers.Dense(3)])
loss = tf.reduce_mean(conv(tf.random.normal([2, 8, 8, 1])))
# %%
att = layers.MultiHeadAttention(num_heads=2, key_dim=2)
att(tf.random.normal([1, 3, 4]), tf.random.normal([1, 3, 4]))
# %%
class Stop(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        print('epoch', epoch, sorted(logs))
        if epoch == 1:
            self.model.stop_training = True
model.fit(x_train, y_train, epochs=5, callbacks=[Stop()], verbose=0)
# %%
opt = keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9), momentum=0.9)
acc = keras.metrics.SparseCategoricalAccuracy()
for epoch in range(2):
    for xb, yb in tf.data.Dataset.from_tensor_slices((x_train, y_train)).batch(16):
        with tf.GradientTape() as tape:
            logits = model(xb, training=True)
            loss_value = loss_fn(yb, logits)
        opt.apply_gradients(zip(tape.gradient(loss_value, model.trainable_weights), model.trainable_weights))
        acc.update_state(yb, logits)
    print(epoch, float(loss_value), float(acc.result()))
    acc.reset_state()
# %%
model.save('m.keras')
again = keras.models.load_model('m.keras')
np.testing.assert_allclose(model(x_val), again(x_val))
# %%
model.save_weights('w.weights.h5')
model.load_weights('w.weights.h5')
# %%
keras.mixed_precision.set_global_policy('mixed_float16')
mp = keras.Sequential([keras.Input((12,)), layers.Dense(4), layers.Dense(2, dtype='float32')])
mp(x_val[:1]), mp.layers[0].compute_dtype
# %%
keras.mixed_precision.set_global_policy('float32')
# %%
model.layers[0].trainable = False
len(model.trainable_weights)
# %%
model.get_layer(index=0).get_weights()[1][:3]
# %%
model.predict(x_val, verbose=0).shape
# %%
model.fit(x_train, y_train[:3])
