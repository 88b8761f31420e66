# %%
import asyncio, contextlib, gc, io, os, signal, sys, threading, time, warnings
import tensorflow as tf
w = tf.Variable([[1.0, 2.0], [3.0, 4.0]], name="w")
x = tf.constant([[1.0, 2.0]])
# %%
def for_ever(t):
    return for_ever(t @ w)
try:
    for_ever(x)
except RecursionError:
    print("no more room")
y = tf.reduce_sum(x @ w)
# %%
old = sys.getrecursionlimit()
sys.setrecursionlimit(300)
y = tf.reduce_sum(x @ w)
# %%
sys.getrecursionlimit()
# %%
sys.setrecursionlimit(old)
# %%
tf.zeros([1 << 20, 1 << 20, 1 << 10])
# %%
raise MemoryError("none left")
# %%
import logging, traceback
def whole(t):
    return int(t) + 1
for attempt in (lambda: whole(x), lambda: tf.py_function(whole, [x], tf.float32), lambda: x @ x):
    try:
        attempt()
    except Exception:
        traceback.print_exc()
        logging.exception("attempt")
y = tf.reduce_sum(x @ w)
# %%
read, write = os.pipe()
child = os.fork()
if child == 0:
    os.write(write, str(sum(range(10))).encode())
    os._exit(3)
told = os.read(read, 100), os.waitpid(child, 0)[1], tf.reduce_sum(w)
del child, read, write  # numbers that are others in each run
told
# %%
go, found = threading.Event(), []
def late():
    go.wait()
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(w * w)
    found.append(tape.gradient(y, w))
thread = threading.Thread(target=late)
thread.start()
y = tf.reduce_sum(w)
# %%
go.set()
thread.join()
found
# %%
async def later(k):
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(w * k)
        await asyncio.sleep(0)
    return tape.gradient(y, w)
task = asyncio.ensure_future(later(3.0))
await asyncio.sleep(0)
y = tf.reduce_sum(w)
# %%
await task
# %%
def steps():
    with tf.GradientTape() as tape:
        y = w * 2.0
        yield y
        z = tf.reduce_sum(y * y)
        yield z
    yield tape.gradient(z, w)
g = steps()
next(g)
# %%
next(g)
# %%
next(g)
# %%
tape = tf.GradientTape()
tape.__enter__()
y = tf.reduce_sum(w * w)
# %%
y2 = y * 2.0
# %%
tape.__exit__(None, None, None)
tape.gradient(y2, w)
# %%
y = tf.reduce_sum(w)
sys.exit(3)
# %%
class Mine(BaseException): pass
with tf.GradientTape() as tape:
    y = tf.reduce_sum(w * w)
    raise Mine("in the tape")
# %%
raise GeneratorExit
# %%
calls = []
def tracer(frame, event, arg):
    if frame.f_code.co_name == "inner":
        calls.append(event)
    return tracer
def inner(t):
    return t * 2.0
sys.settrace(tracer)
y = inner(w)
sys.settrace(None)
calls
# %%
calls.clear()
sys.setprofile(tracer)
y = inner(w)
sys.setprofile(None)
calls[0]
# %%
gc.disable()
y = tf.reduce_sum(w)
# %%
gc.isenabled()
# %%
gc.enable()
gc.set_threshold(123, 4, 5)
y = w * 3.0
# %%
gc.set_threshold(700, 10, 10)
gc.freeze()
y = w * 2.0
gc.unfreeze()
# %%
warnings.simplefilter("error")
with tf.GradientTape() as tape:
    y = tf.reduce_sum(w * w)
tape.gradient(y, w)
# %%
warnings.warn("mine")
# %%
warnings.resetwarnings()
# %%
class Late(Exception): pass
def ring(*_):
    raise Late("alarm")
signal.signal(signal.SIGALRM, ring)
signal.setitimer(signal.ITIMER_REAL, 0.05)
try:
    while True:  # where it rings is another place in each run
        y = tf.reduce_sum(w)
except Late as late:
    print(late)
    del late
# %%
got = []
before = signal.signal(signal.SIGINT, lambda *_: got.append("int"))
os.kill(os.getpid(), signal.SIGINT)
y = w * 2.0
got
# %%
os.kill(os.getpid(), signal.SIGINT)
y = w * 2.0
got
# %%
signal.signal(signal.SIGINT, before)
signal.raise_signal(signal.SIGINT)
# %%
stdout, sys.stdout = sys.stdout, io.StringIO()
print("hidden")
y = tf.reduce_sum(w)
# %%
shown, sys.stdout = sys.stdout.getvalue(), stdout
shown
# %%
original = tf.reduce_sum
def mine(t):
    return original(t) + 1.0
tf.reduce_sum = mine
tf.reduce_sum(w)
# %%
tf.reduce_sum is mine
# %%
tf.reduce_sum = original
# %%
tf.config.run_functions_eagerly(True)
@tf.function
def f(t):
    print("python")
    return t * 2.0
f(w)
# %%
tf.config.run_functions_eagerly(False)
f(w), tf.config.functions_run_eagerly()
# %%
tf.debugging.enable_check_numerics()
tf.math.log(w * 0.0 - 1.0)
# %%
y = tf.reduce_sum(w * w)
tf.debugging.disable_check_numerics()
# %%
graph = tf.Graph()
with graph.as_default():
    a = tf.compat.v1.placeholder(tf.float32, [2])
    b = tf.reduce_sum(a * 2.0)
    with tf.compat.v1.Session() as session:
        out = session.run(b, {a: [1.0, 2.0]})
out
# %%
%load_ext tfmagic
y = tf.reduce_sum(w)
# %%
import importlib, tfmagic
importlib.reload(tfmagic)
y = tf.reduce_sum(w * w)
# %%
del tf
y = w * 2.0
# %%
tf
# %%
%reset -f
# %%
w
