# %%
import tensorflow as tf
from tensorflow.keras import layers
import time
tf.keras.utils.set_random_seed(2)
# %%
def make_generator():
    return tf.keras.Sequential([layers.Input((8,)), layers.Dense(16, use_bias=False), layers.BatchNormalization(), layers.LeakyReLU(), layers.Dense(4, activation='tanh')])
def make_discriminator():
    return tf.keras.Sequential([layers.Input((4,)), layers.Dense(8), layers.Dropout(0.3), layers.Dense(1)])
generator, discriminator = make_generator(), make_discriminator()
# %%
noise = tf.random.normal([1, 8])
generated = generator(noise, training=False)
decision = discriminator(generated)
print(decision)
# %%
cross_entropy = tf.keras.losses.BinaryCrossentropy(from_logits=True)
def discriminator_loss(real, fake):
    return cross_entropy(tf.ones_like(real), real) + cross_entropy(tf.zeros_like(fake), fake)
def generator_loss(fake):
    return cross_entropy(tf.ones_like(fake), fake)
g_opt, d_opt = tf.keras.optimizers.Adam(1e-4), tf.keras.optimizers.Adam(1e-4)
# %%
@tf.function
def train_step(images):
    noise = tf.random.normal([16, 8])
    with tf.GradientTape() as gen_tape, tf.GradientTape() as disc_tape:
        fake = generator(noise, training=True)
        real_out, fake_out = discriminator(images, training=True), discriminator(fake, training=True)
        gl, dl = generator_loss(fake_out), discriminator_loss(real_out, fake_out)
    gg = gen_tape.gradient(gl, generator.trainable_variables)
    dg = disc_tape.gradient(dl, discriminator.trainable_variables)
    g_opt.apply_gradients(zip(gg, generator.trainable_variables))
    d_opt.apply_gradients(zip(dg, discriminator.trainable_variables))
    return gl, dl
# %%
data = tf.data.Dataset.from_tensor_slices(tf.random.normal([32, 4])).batch(16)
for epoch in range(2):
    for batch in data:
        gl, dl = train_step(batch)
    print(epoch, float(gl), float(dl))
# %%
gl, dl = train_step(tf.ones([16, 4]))
# %%
gl
# %%
generator(noise, training=False)
# %%
class WGAN(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.g, self.d = make_generator(), make_discriminator()
    def compile(self, go, do):
        super().compile()
        self.go, self.do = go, do
    def call(self, x):
        return self.d(x)
    def penalty(self, real, fake):
        a = tf.random.uniform([tf.shape(real)[0], 1])
        mixed = a * real + (1 - a) * fake
        with tf.GradientTape() as t:
            t.watch(mixed)
            out = self.d(mixed, training=True)
        g = t.gradient(out, mixed)
        return tf.reduce_mean((tf.norm(g, axis=1) - 1.0)**2)
    def train_step(self, real):
        with tf.GradientTape() as t:
            fake = self.g(tf.random.normal([tf.shape(real)[0], 8]), training=True)
            loss = tf.reduce_mean(self.d(fake)) - tf.reduce_mean(self.d(real)) + 10.0 * self.penalty(real, fake)
        self.do.apply_gradients(zip(t.gradient(loss, self.d.trainable_variables), self.d.trainable_variables))
        return {'loss': loss}
wgan = WGAN()
wgan.compile(tf.keras.optimizers.Adam(), tf.keras.optimizers.Adam())
wgan.fit(data, epochs=2, verbose=0).history
# %%
content = tf.Variable(tf.random.uniform([1, 4, 4, 3]))
opt = tf.keras.optimizers.Adam(0.02)
@tf.function
def style_step(image):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.image.total_variation(image)) + tf.reduce_sum(image**2)
    opt.apply_gradients([(tape.gradient(loss, image), image)])
    image.assign(tf.clip_by_value(image, 0.0, 1.0))
for n in range(3):
    style_step(content)
content
# %%
def fgsm(model, image, label):
    with tf.GradientTape() as tape:
        tape.watch(image)
        loss = cross_entropy(label, model(image))
    return tf.sign(tape.gradient(loss, image))
fgsm(discriminator, tf.ones([1, 4]), tf.ones([1, 1]))
# %%
strategy = tf.distribute.MirroredStrategy(['CPU:0'])
print(strategy.num_replicas_in_sync)
# %%
with strategy.scope():
    dm = tf.keras.Sequential([layers.Input((4,)), layers.Dense(1)])
    dm.compile('sgd', 'mse')
dm.fit(tf.ones([8, 4]), tf.ones([8, 1]), epochs=1, verbose=0).history['loss']
# %%
with strategy.scope():
    mv = tf.Variable(1.0)
    def replica_fn(x):
        mv.assign_add(0.5, ) if False else None
        return x * mv
out = strategy.run(replica_fn, args=(tf.constant(2.0),))
print(out)
# %%
@tf.function
def dist_step(x):
    return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(replica_fn, args=(x,)), axis=None)
dist_step(tf.constant(3.0))
# %%
@tf.function
def run_episode(state):
    rewards = tf.TensorArray(tf.float32, size=0, dynamic_size=True)
    for t in tf.range(4):
        # turns side by side would draw in any order, without us too
        tf.autograph.experimental.set_loop_options(parallel_iterations=1)
        logits = generator(state)[:, :2]
        action = tf.random.categorical(logits, 1)[0, 0]
        rewards = rewards.write(t, tf.cast(action, tf.float32))
        state = state + 0.1
    return rewards.stack()
run_episode(tf.zeros([1, 8]))
# %%
total = tf.reduce_sum(run_episode(tf.zeros([1, 8])))
# %%
run_episode(tf.zeros([1, 8]))
# %%
assert time.time() > 0
1 / 0
