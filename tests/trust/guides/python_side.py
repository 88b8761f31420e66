# %%
import asyncio, threading, warnings, functools, dataclasses, contextlib, sys, collections
import tensorflow as tf
from math import *
w = tf.Variable(1.5)
# %%
async def work(n):
    await asyncio.sleep(0)
    return tf.constant(float(n)) * w
await asyncio.gather(*(work(n) for n in range(3)))
# %%
async for_ = 3
# %%
async def numbers():
    for n in range(3):
        yield n * w
[x async for x in numbers()]
# %%
results = []
def run():
    with tf.GradientTape() as tape:
        y = w * w
    results.append(tape.gradient(y, w))
threads = [threading.Thread(target=run) for _ in range(3)]
[t.start() for t in threads]; [t.join() for t in threads]
results
# %%
@dataclasses.dataclass
class Point:
    x: float
    y: tf.Tensor = None
    def __add__(self, other):
        return Point(self.x + other.x, self.y)
Point(1.0) + Point(2.0, w * 2)
# %%
class Meta(type):
    def __new__(cls, name, bases, space):
        space['made'] = sorted(k for k in space if not k.startswith('__'))
        return super().__new__(cls, name, bases, space)
class Made(metaclass=Meta):
    a = 1
    def f(self): return w * self.a
Made.made, Made().f()
# %%
def fib(n):
    a, b = 0, 1
    while n:
        yield a
        a, b, n = b, a + b, n - 1
g = fib(5)
next(g), next(g)
# %%
list(g)
# %%
warnings.warn('first')
warnings.warn('second', DeprecationWarning)
# %%
def deprecated(f):
    @functools.wraps(f)
    def inner(*a, **k):
        warnings.warn(f'{f.__name__} is old', stacklevel=2)
        return f(*a, **k)
    return inner
@deprecated
def old(): return w + 1
old()
# %%
try:
    try:
        1 / 0
    except ZeroDivisionError as e:
        raise ValueError('wrapped') from e
except ValueError as e:
    cause = e.__cause__
cause
# %%
def recurse(n): return recurse(n + 1)
try:
    recurse(0)
except RecursionError as error:
    print(error)
# %%
raise KeyboardInterrupt
# %%
class Odd(Exception):
    def __str__(self):
        raise RuntimeError('no text')
raise Odd()
# %%
class Sneaky:
    def __getattr__(self, name): raise RuntimeError(name)
    def __eq__(self, other): raise RuntimeError('eq')
    __hash__ = None
sneaky = Sneaky()
y = w * 2.0
# %%
class Lazy:
    @property
    def value(self):
        print('property ran')
        return w
lazy = Lazy()
z = w * 3.0
# %%
sys.exit(1)
# %%
_
# %%
len(In), len(_ih)
# %%
print(*[1, 2], sep='\n', end='')
print('err', file=sys.stderr)
# %%
x = 5; x
# %%
x = 5; x;
# %%
%time y = w * 4
# %%
%%time
y = w * 5
# %%
%%capture cap
print('inside'); y = w * 6
# %%
cap.stdout
# %%
%%writefile note.py
value = 3
# %%
%run note.py
# %%
value
# %%
!cat note.py
# %%
%load_ext autoreload
# %%
from note import value as v2
v2
# %%
%%python
print('other python')
# %%
files = !ls
files
# %%
?w
# %%
w??
# %%
def f(): pass
f?
# %%
%xmode
# %%
%xmode Context
# %%
%precision 3
# %%
pi
# %%
%precision
# %%
%matplotlib inline
# %%
import matplotlib.pyplot as plt
plt.plot([1, 2]); plt.show()
# %%
del y
y
# %%
from IPython.display import display, HTML, clear_output
display(HTML('<b>x</b>'), w * 2)
clear_output()
display({'a': w}, display_id='d1')
# %%
from IPython.display import update_display
update_display(3, display_id='d1')
# %%
exec('made_by_exec = w * 2')
eval('made_by_exec')
# %%
lambda_ = lambda q=w: q * 2
lambda_()
# %%
def counter():
    counter.n = getattr(counter, 'n', 0) + 1
    return counter.n
[counter() for _ in range(3)]
# %%
with open('a.txt', 'w') as file: file.write('hi')
open('a.txt').read()
# %%
import logging
logging.warning('logged')
tf.get_logger().warning('tf logged')
# %%
sum(x for x in range(3)), {k: v for k, v in zip('ab', (1, 2))}, {*'ab'} == {'a', 'b'}
# %%
match w.shape.rank:
    case 0: answer = 'scalar'
    case _: answer = 'other'
answer
# %%
assert w > 5, f'w is {float(w)}'
# %%
if (n := 3) > 2: print(n)
# %%
for i in range(3):
    if i == 1: continue
    q = w * i
else:
    print('done')
# %%
global top
top = w + 2
# %%
import gc, weakref
class Held: pass
held = Held(); ref = weakref.ref(held); del held
ref() is None
# %%
sys.getrecursionlimit(), sys.gettrace(), gc.isenabled()
# %%
import signal
signal.getsignal(signal.SIGINT) is signal.default_int_handler or 'other'
# %%
tf.Variable(1.0, name='a').name, tf.Variable(1.0).name
# %%
help(len)
# %%
breakpoint_ = None
%lsmagic
# %%
%nosuchmagic
# %%
%%nosuchcell
x
# %%
'unterminated
# %%
def broken(:
    pass
# %%
    indented = w * 2
    indented
# %%


blank = 1
blank / 0
# %%
"""a docstring"""
# %%
# only a remark
# %%
x = [
    w * 2,
    w * 3,
]
x[5]
