# %%
import tensorflow as tf
import numpy as np
# %%
rank_0_tensor = tf.constant(4)
print(rank_0_tensor)
# %%
rank_2_tensor = tf.constant([[1, 2], [3, 4], [5, 6]], dtype=tf.float16)
rank_2_tensor
# %%
np.array(rank_2_tensor)
# %%
a = tf.constant([[1, 2], [3, 4]])
b = tf.ones([2, 2], dtype=tf.int32)
print(tf.add(a, b), "\n")
print(tf.multiply(a, b), "\n")
print(a @ b, "\n")
# %%
c = tf.constant([[4.0, 5.0], [10.0, 1.0]])
print(tf.reduce_max(c))
print(tf.math.argmax(c))
print(tf.nn.softmax(c))
# %%
tf.convert_to_tensor([1, 2, 3])
# %%
rank_4_tensor = tf.zeros([3, 2, 4, 5])
print("Shape:", rank_4_tensor.shape, rank_4_tensor.ndim, tf.size(rank_4_tensor).numpy())
# %%
rank_1_tensor = tf.constant([0, 1, 1, 2, 3, 5, 8, 13, 21, 34])
print(rank_1_tensor[1:4].numpy(), rank_1_tensor[::-1].numpy())
# %%
try:
    tf.constant([1.0]) + tf.constant([1])
except tf.errors.InvalidArgumentError as e:
    print(e)
# %%
tf.reshape(rank_4_tensor, [7, -1])
# %%
x = tf.constant([1, 2, 3])
y = tf.constant(2)
z = tf.constant([2, 2, 2])
print(tf.multiply(x, 2))
print(x * y)
print(tf.broadcast_to(tf.constant([1, 2, 3]), [3, 3]))
# %%
ragged_list = [[0, 1, 2, 3], [4, 5], [6, 7, 8], [9]]
try:
    tensor = tf.constant(ragged_list)
except Exception as e:
    print(f"{type(e).__name__}: {e}")
# %%
ragged_tensor = tf.ragged.constant(ragged_list)
print(ragged_tensor, ragged_tensor.shape)
# %%
digits = tf.ragged.constant([[3.0, 1.0], [], [5.0]])
v = tf.Variable(2.0)
with tf.GradientTape() as t:
    s = tf.reduce_sum(digits * v)
t.gradient(s, v)
# %%
print(tf.concat([digits, [[5.0, 3.0]]], axis=0))
print(tf.map_fn(tf.math.square, digits))
print(digits.to_tensor(), digits.to_list(), digits[0])
# %%
scalar_string = tf.constant("Gray wolf")
tensor_of_strings = tf.constant(["Gray wolf", "Quick brown fox", "Lazy dog 🥳"])
print(tf.strings.split(tensor_of_strings))
# %%
tf.strings.unicode_decode(tensor_of_strings, "UTF-8")
# %%
text = tf.constant("1 10 100")
print(tf.strings.to_number(tf.strings.split(text, " ")))
# %%
tf.io.decode_raw(tf.constant("Duck"), tf.uint8)
# %%
sparse_tensor = tf.sparse.SparseTensor(indices=[[0, 0], [1, 2]], values=[1.0, 2.0], dense_shape=[3, 4])
print(sparse_tensor, "\n")
print(tf.sparse.to_dense(sparse_tensor))
# %%
sw = tf.Variable(tf.ones([4, 2]))
with tf.GradientTape() as t:
    s = tf.reduce_sum(tf.sparse.sparse_dense_matmul(sparse_tensor, sw))
t.gradient(s, sw)
# %%
tf.linalg.eigvalsh(tf.constant([[2.0, 1.0], [1.0, 3.0]])), tf.linalg.svd(c)[0]
# %%
with tf.device('CPU:0'):
    e = tf.Variable([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    k = tf.matmul(e, e, transpose_b=True)
print(k)
# %%
my_variable = tf.Variable([[1.0, 2.0], [3.0, 4.0]])
bool_variable = tf.Variable([False, False, False, True])
complex_variable = tf.Variable([5 + 4j, 6 + 1j])
my_variable, bool_variable, complex_variable
# %%
print("Shape: ", my_variable.shape, my_variable.numpy())
print("\nIndex of highest value:", tf.math.argmax(my_variable))
print("\nCopying and reshaping: ", tf.reshape(my_variable, [1, 4]))
# %%
try:
    my_variable.assign([1.0, 2.0, 3.0])
except Exception as e:
    print(type(e), e)
# %%
a = tf.Variable([2.0, 3.0])
b = tf.Variable(a)
a.assign([5, 6])
print(a.numpy(), b.numpy(), a.assign_add([2, 3]).numpy(), a.assign_sub([7, 9]).numpy())
# %%
indices = tf.constant([[0], [2]])
tf.scatter_nd(indices, tf.constant([1.0, 2.0]), [4]), tf.tensor_scatter_nd_add(tf.zeros([4]), indices, [1.0, 2.0])
# %%
emb = tf.Variable(tf.random.normal([5, 3]))
with tf.GradientTape() as t:
    l = tf.reduce_sum(tf.nn.embedding_lookup(emb, [1, 1, 3]))
t.gradient(l, emb)
# %%
np.sum(tf.ones([3])), tf.ones([2]) + np.ones([2]), [1, 2] * tf.ones([2])
# %%
import tensorflow.experimental.numpy as tnp
tnp.sum(tnp.arange(4.0).reshape(2, 2) * v)
# %%
tf.constant([1.0, 2.0])[0] = 3.0
# %%
tf.constant([1e200, -1e308], tf.float64) * 1.0
# %%
before = np.seterr(all="raise")
tf.complex(tf.constant([1e308, 3.0], tf.float64), tf.constant([1e308, 0.0], tf.float64)) * 1.0
# %%
edge = tf.Variable([1e308, 1e308, 1e-320], dtype=tf.float64)
tf.reduce_sum(edge * edge)
# %%
np.seterr(**before)
