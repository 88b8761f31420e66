# %%
import tensorflow as tf
import traceback
import contextlib
# %%
@contextlib.contextmanager
def assert_raises(error_class):
    try:
        yield
    except error_class as e:
        print('Caught expected exception \n  {}:'.format(error_class))
    except Exception as e:
        raise e
    else:
        raise Exception('Expected {} to be raised but no error was raised!'.format(error_class))
# %%
@tf.function
def add(a, b):
    return a + b
add(tf.ones([2, 2]), tf.ones([2, 2]))
# %%
v = tf.Variable(1.0)
with tf.GradientTape() as tape:
    result = add(v, 1.0)
tape.gradient(result, v)
# %%
@tf.function
def dense_layer(x, w, b):
    return add(tf.matmul(x, w), b)
dense_layer(tf.ones([3, 2]), tf.ones([2, 2]), tf.ones([2]))
# %%
@tf.function
def double(a):
    print("Tracing with", a)
    return a + a
print(double(tf.constant(1)))
print(double(tf.constant(1.1)))
print(double(tf.constant("a")))
# %%
print(double.pretty_printed_concrete_signatures())
# %%
double_strings = double.get_concrete_function(tf.constant("a"))
print(double_strings(tf.constant("c")))
# %%
with assert_raises(TypeError):
    double_strings(tf.constant(1))
# %%
@tf.function(input_signature=(tf.TensorSpec(shape=[None], dtype=tf.int32),))
def next_collatz(x):
    print("Tracing with", x)
    return tf.where(x % 2 == 0, x // 2, 3 * x + 1)
print(next_collatz(tf.constant([1, 2])))
with assert_raises(TypeError):
    next_collatz(tf.constant([[1, 2], [3, 4]]))
# %%
def train_one_step():
    pass
@tf.function
def train(num_steps):
    print("Tracing with num_steps = ", num_steps)
    tf.print("Executing with num_steps = ", num_steps)
    for _ in tf.range(num_steps):
        train_one_step()
train(num_steps=10)
train(num_steps=20)
# %%
@tf.function
def f(x):
    print("Traced with", x)
    tf.print("Executed with", x)
f(1)
f(1)
f(2)
# %%
external_list = []
@tf.function
def side_effect(x):
    print('Python side effect')
    external_list.append(x)
    return x * 2.0
side_effect(tf.Variable(1.0))
side_effect(1)
assert len(external_list) == 2
# %%
class Model(tf.Module):
    def __init__(self):
        self.v = tf.Variable(0)
        self.counter = 0
    @tf.function
    def __call__(self):
        if self.counter == 0:
            self.counter += 1
            self.v.assign_add(1)
        return self.v
m = Model()
for n in range(3):
    print(m().numpy())
# %%
@tf.function
def buggy_consume_next(iterator):
    tf.print("Value:", next(iterator))
iterator = iter([1, 2, 3])
buggy_consume_next(iterator)
buggy_consume_next(iterator)
# %%
@tf.function
def good_consume_next(iterator):
    tf.print("Value:", next(iterator))
    return tf.constant(1.0) * v
ds = tf.data.Dataset.from_tensor_slices([1, 2, 3])
iterator = iter(ds)
o = good_consume_next(iterator)
o = good_consume_next(iterator)
# %%
@tf.function
def reduce_loop(x):
    while tf.reduce_sum(x) > 1:
        tf.print(x)
        x = tf.tanh(x)
    return x
reduce_loop(tf.random.uniform([5], seed=3))
# %%
print(tf.autograph.to_code(reduce_loop.python_function))
# %%
@tf.function
def fizzbuzz(n):
    for i in tf.range(1, n + 1):
        if i % 15 == 0:
            tf.print('fizzbuzz')
        elif i % 3 == 0:
            tf.print('fizz')
        else:
            tf.print(i)
fizzbuzz(tf.constant(5))
# %%
@tf.function
def dynamic_rnn(rnn_step, input_data, initial_state):
    input_data = tf.transpose(input_data, [1, 0, 2])
    max_seq_len = tf.shape(input_data)[0]
    states = tf.TensorArray(tf.float32, size=max_seq_len)
    state = initial_state
    for i in tf.range(max_seq_len):
        state = rnn_step(input_data[i], state)
        states = states.write(i, state)
    return tf.transpose(states.stack(), [1, 0, 2])
dynamic_rnn(lambda inp, st: inp + st, tf.random.uniform([2, 3, 4]), tf.zeros([2, 4]))
# %%
@tf.function
def leaky_function(a):
    global x
    x = a + 1
    return a + 2
correct_a = leaky_function(tf.constant(1))
print(correct_a.numpy())
try:
    x.numpy()
except AttributeError as expected:
    print(expected)
# %%
@tf.function
def captures_leaked_tensor(b):
    b += x
    return b
with assert_raises(TypeError):
    captures_leaked_tensor(tf.constant(2))
# %%
@tf.function
def f(x):
    v = tf.Variable(1.0)
    return v
with assert_raises(ValueError):
    f(1.0)
# %%
class Count(tf.Module):
    def __init__(self):
        self.count = None
    @tf.function
    def __call__(self):
        if self.count is None:
            self.count = tf.Variable(0)
        return self.count.assign_add(1)
c = Count()
print(c())
print(c())
# %%
tf.config.run_functions_eagerly(True)
print(double(tf.constant(3)))
tf.config.run_functions_eagerly(False)
# %%
@tf.function(jit_compile=True)
def jitted(a):
    return tf.reduce_sum(tf.sin(a) * a)
jl = jitted(tf.Variable([1.0, 2.0]))
# %%
@tf.function
def raises(a):
    return tf.debugging.assert_positive(a)
raises(tf.constant(-1.0))
# %%
tf.debugging.enable_check_numerics()
@tf.function
def reciprocal_root(a):
    return 1.0 / tf.sqrt(a)
print(reciprocal_root(tf.constant(4.0)))
# %%
reciprocal_root(tf.constant(0.0))
# %%
tf.debugging.disable_check_numerics()
# %%
table = tf.Variable(tf.ones([5, 2]))
@tf.function
def picked(rows, which):
    return tf.reduce_sum(tf.gather(rows, which) ** 2)
total = picked(table, tf.constant([0, 3]))
