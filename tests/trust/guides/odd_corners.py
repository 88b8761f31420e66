# %%
import os, sys, io, signal, threading, queue, multiprocessing, concurrent.futures as cf, subprocess, tempfile, contextlib, weakref, gc, copy, pickle, types, ctypes, atexit, time, functools, itertools, operator, builtins
import numpy as np
import tensorflow as tf
w = tf.Variable([[1.0, 2.0], [3.0, 4.0]], name='w')
# %%
with cf.ThreadPoolExecutor(2) as pool:
    out = list(pool.map(lambda k: float(tf.reduce_sum(w * k)), [1., 2., 3.]))
out
# %%
q = queue.Queue()
def worker():
    while (item := q.get()) is not None:
        results.append(tf.square(item)); q.task_done()
results = []; t = threading.Thread(target=worker); t.start()
for i in range(3): q.put(tf.constant(i))
q.join(); q.put(None); t.join(); results
# %%
def boom(): raise ValueError('in a thread')
t = threading.Thread(target=boom, name='boomer'); t.start(); t.join(); y = w * 1.0
# %%
lock = threading.Lock()
with lock: y = tf.reduce_sum(w)
lock.locked()
# %%
copy.deepcopy(w), copy.copy(w * 1.0), pickle.loads(pickle.dumps((w * 1.0).numpy()))
# %%
sys.stdout.write('raw\n'); os.write(1, b'fd\n'); sys.stderr.write('err\n'); tf.print('to stderr', output_stream=sys.stderr); tf.print('out', w, output_stream=sys.stdout, summarize=1)
# %%
class Mute:
    def write(self, s): return len(s)
    def flush(self): pass
old, sys.stdout = sys.stdout, Mute()
y = w * 2.0
# %%
sys.stdout = old; print('back')
# %%
class Tee(io.TextIOBase):
    def write(self, s): kept.append(s); return len(s)
kept = []; old, sys.stdout = sys.stdout, Tee(); print('into tee', float(w[0, 0])); sys.stdout = old; kept
# %%
builtins.answer = 42; answer, [*map(operator.mul, [w, w], [1., 2.])][1]
# %%
sum = lambda *a: 'shadowed'; len = None; y = w * 1.0; sum([1])
# %%
del sum, len; id = print = type = list = None; y = tf.reduce_sum(w * w)
# %%
del id, print, type, list; list(range(2))
# %%
float = int; bool = str; z = float(tf.constant(2.7)), bool(tf.constant(True))
# %%
del float, bool; z
# %%
class T(tf.Module):
    def __getattr__(self, name): raise AttributeError('no ' + name)
    def __iter__(self): raise TypeError('not to be iterated')
    def __len__(self): raise TypeError('no length')
    def __bool__(self): raise RuntimeError('no truth')
    def __eq__(self, o): raise RuntimeError('no eq')
    def __hash__(self): return 1
    def __repr__(self): return 'T!'
tt = T(); tt.v = tf.Variable(1.0); y = tt.v * 2.0; tt
# %%
class Arr:
    def __array__(self, dtype=None, copy=None): calls.append('array'); return np.ones(2, np.float32)
    def __tf_tensor__(self, dtype=None, name=None): calls.append('tf'); return tf.ones([2])
calls = []; r = tf.add(Arr(), 1.0); r, calls
# %%
class Sub(np.ndarray): pass
np.ones(2).view(Sub) * tf.constant(2.0), tf.constant(2.0) * np.ones(2, 'float32')
# %%
class Prop:
    @property
    def handle(self): calls.append('handle'); return 1
    @property
    def values(self): calls.append('values'); return 2
    @property
    def _handle(self): calls.append('_handle'); return 3
    @property
    def _id(self): calls.append('_id'); return 4
    @property
    def numpy(self): calls.append('numpy'); return 5
    @property
    def __class__(self): calls.append('class'); return dict
calls.clear(); prop = Prop(); lst = [prop, {'a': prop}]; y = w * 1.0; calls
# %%
calls
# %%
class Watchful(dict):
    def __getitem__(self, k): calls.append(k); return super().__getitem__(k)
    def items(self): calls.append('items'); return super().items()
    def values(self): calls.append('values'); return super().values()
    def __iter__(self): calls.append('iter'); return super().__iter__()
calls.clear(); wd = Watchful(a=w); y = wd['a'] * 2.0; calls
# %%
calls
# %%
exec(compile('q1 = w * 2.0\nraise KeyError("in exec")', '<string>', 'exec'))
# %%
ns = {'w': w}; exec('def g(x):\n    return x * w\n', ns); ns['g'](3.0)
# %%
code = compile('w * 7.0', 'made_up.py', 'eval'); eval(code)
# %%
fn = types.FunctionType((lambda x: x * w).__code__, {'w': w}); fn(2.0)
# %%
functools.reduce(operator.add, itertools.accumulate([w, w, w])), functools.partial(tf.multiply, y=w)(2.0)
# %%
open('mod_a.py', 'w').write('import tensorflow as tf\nv = tf.Variable(2.0)\ndef f(x):\n    return g(x)\ndef g(x):\n    return x / v if x is not None else 1 / 0\n'); sys.path.insert(0, '.'); import mod_a; mod_a.f(4.0)
# %%
np.random.seed(5); tf.random.set_seed(5); np.random.rand(), tf.random.normal([1]), tf.random.uniform([1]), tf.random.shuffle(tf.range(5)), tf.nn.dropout(tf.ones([4]), .5)
# %%
@tf.function
def rnd(): return tf.random.normal([]), tf.random.uniform([], seed=3)
rnd(), rnd(), tf.random.normal([], seed=9)
# %%
import asyncio
async def agen():
    try:
        for i in range(3): yield w * float(i)
    finally: print('closed')
async for v in agen():
    if v[0, 0] > 0: break
v
# %%
async with asyncio.timeout(0.01): await asyncio.sleep(5)
# %%
raise BaseExceptionGroup('g', [KeyboardInterrupt(), ValueError(1)])
# %%
_, __, ___
# %%
Out[1] if 1 in Out else sorted(Out)[:3], In[1][:10], _oh is Out
# %%
%%capture --no-display cap2
print(w); w * 2
# %%
str(cap2)[:20]
# %%
%alias_magic tt time
# %%
%tt y = w * 2
# %%
_exit_code
# %%
%cd -q deep
# %%
%pwd
# %%
%time 1/0
# %%
%timeit -n1 -r1 1/0
# %%
%debug_nothing
# %%
from IPython.core.magic import register_line_cell_magic
@register_line_cell_magic
def twice(line, cell=None): return (line or cell) * 2
y = w * 1.0
# %%
%twice ab
# %%
%%twice
cell body
# %%
get_ipython().ast_node_interactivity = 'all'
# %%
w[0]; w[1]
y = 1; y
# %%
get_ipython().ast_node_interactivity = 'last_expr_or_assign'
# %%
yy = w * 2.0
# %%
get_ipython().ast_node_interactivity = 'last_expr'
get_ipython().input_transformers_post.append(lambda lines: [l.replace('MAGIC', 'w') for l in lines])
# %%
MAGIC * 3.0
# %%
get_ipython().set_custom_exc((ZeroDivisionError,), lambda self, et, ev, tb, tb_offset=None: print('custom', et.__name__))
# %%
y = w * 1.0; 1 / 0
# %%
get_ipython().events.register('post_execute', lambda: print('post', float(w[0, 0])))
# %%
y = w * 1.0
# %%
get_ipython().user_ns_hidden is not None, get_ipython().execution_count
# %%
import signal
signal.getsignal(signal.SIGINT) is signal.default_int_handler or 'other'
# %%
old = signal.signal(signal.SIGINT, lambda *a: print('x')); y = w * 2
# %%
signal.signal(signal.SIGINT, old); y = w * 3; z = signal.getsignal(signal.SIGINT)
# %%
repr(signal.getsignal(signal.SIGINT))
