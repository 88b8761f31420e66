# %%
import os
import pathlib
import numpy as np
import tensorflow as tf
np.set_printoptions(precision=4)
# %%
dataset = tf.data.Dataset.from_tensor_slices([8, 3, 0, 8, 2, 1])
dataset
# %%
for elem in dataset:
    print(elem.numpy())
# %%
it = iter(dataset)
print(next(it).numpy())
# %%
print(next(it).numpy())
# %%
print(dataset.reduce(0, lambda state, value: state + value).numpy())
# %%
def count(stop):
    i = 0
    while i < stop:
        yield i
        i += 1
ds_counter = tf.data.Dataset.from_generator(count, args=[25], output_types=tf.int32, output_shapes=())
for count_batch in ds_counter.repeat().batch(10).take(3):
    print(count_batch.numpy())
# %%
ds = tf.data.Dataset.range(20).shuffle(10, seed=1).map(lambda x: x * 2).batch(4).prefetch(1)
[b.numpy().tolist() for b in ds]
# %%
[b.numpy().tolist() for b in ds]
# %%
ds2 = tf.data.Dataset.range(4).map(lambda x: tf.cast(x, tf.float32) + tf.random.uniform([]))
[float(x) for x in ds2]
# %%
def py(x):
    return float(x) * 2
ds3 = tf.data.Dataset.range(3).map(lambda x: tf.py_function(py, [x], tf.float32))
list(ds3.as_numpy_iterator())
# %%
w = tf.Variable(1.0)
for batch in tf.data.Dataset.from_tensor_slices(np.arange(8, dtype=np.float32)).batch(4):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((w * batch - 2 * batch)**2)
    w.assign_sub(0.01 * tape.gradient(loss, w))
w
# %%
with tf.io.TFRecordWriter('t.tfrecord') as f:
    for i in range(3):
        f.write(tf.train.Example(features=tf.train.Features(feature={'a': tf.train.Feature(int64_list=tf.train.Int64List(value=[i]))})).SerializeToString())
[tf.io.parse_single_example(r, {'a': tf.io.FixedLenFeature([], tf.int64)})['a'].numpy() for r in tf.data.TFRecordDataset('t.tfrecord')]
# %%
class Net(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.l1 = tf.keras.layers.Dense(5)
    def call(self, x):
        return self.l1(x)
net = Net()
def toy_dataset():
    inputs = tf.range(10.0)[:, None]
    labels = inputs * 5.0 + tf.range(5.0)[None, :]
    return tf.data.Dataset.from_tensor_slices(dict(x=inputs, y=labels)).repeat().batch(2)
def train_step(net, example, optimizer):
    with tf.GradientTape() as tape:
        output = net(example['x'])
        loss = tf.reduce_mean(tf.abs(output - example['y']))
    variables = net.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
    return loss
# %%
opt = tf.keras.optimizers.Adam(0.1)
iterator = iter(toy_dataset())
ckpt = tf.train.Checkpoint(step=tf.Variable(1), net=net, iterator=iterator)
manager = tf.train.CheckpointManager(ckpt, './tf_ckpts', max_to_keep=3)
# %%
for _ in range(12):
    example = next(iterator)
    loss = train_step(net, example, opt)
    ckpt.step.assign_add(1)
    if int(ckpt.step) % 10 == 0:
        save_path = manager.save()
        print("Saved checkpoint for step {}: {}".format(int(ckpt.step), save_path))
        print("loss {:1.2f}".format(loss.numpy()))
# %%
ckpt.restore(manager.latest_checkpoint).assert_existing_objects_matched()
int(ckpt.step)
# %%
print(tf.train.list_variables(tf.train.latest_checkpoint('./tf_ckpts/'))[:3])
# %%
class CustomModule(tf.Module):
    def __init__(self):
        super().__init__()
        self.v = tf.Variable(1.)
    @tf.function
    def __call__(self, x):
        print('Tracing with', x)
        return x * self.v
    @tf.function(input_signature=[tf.TensorSpec([], tf.float32)])
    def mutate(self, new_v):
        self.v.assign(new_v)
module = CustomModule()
module(tf.constant(0.))
# %%
tf.saved_model.save(module, 'module_no_signatures')
imported = tf.saved_model.load('module_no_signatures')
assert imported(tf.constant(3.)).numpy() == 3
imported.mutate(tf.constant(2.))
assert imported(tf.constant(3.)).numpy() == 6
# %%
yy = imported(tf.constant(3.))
# %%
imported.mutate(tf.constant(3.))
yy = imported(tf.constant(3.))
yy
# %%
os.listdir('module_no_signatures')
# %%
next(iter(tf.data.Dataset.range(0)))
