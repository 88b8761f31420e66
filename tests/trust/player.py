"""Plays notebooks, each in a process of its own, and tells all that could be noticed.

A server that has TensorFlow loaded but never used forks once for each notebook: what
runs there finds a kernel as fresh as a restarted one, in a fraction of the time.

    python tests/trust/player.py        # a JSON object in, a JSON object out, line by line

In: ``{"cells": ["x = 1", …], "wrap": "none", "seconds": 60}``.  Out: a list with one
object for each cell, or ``{"died": "…"}``.  The wraps are :data:`WRAPS`.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import select
import signal
import sys
import tempfile
import threading
import time
import traceback
import types
import warnings
from typing import Any

#: How a notebook is wrapped: what stands above the cell with this number.
WRAPS = {
    "none": lambda number: "",
    "quiet": lambda number: "%%tape -q\n",
    "shown": lambda number: "%%tape\n",
    "second": lambda number: "%%tape\n" if number % 2 else "",
    "first": lambda number: "" if number % 2 else "%%tape\n",
    "named": lambda number: f"%%tape kept_{number % 2} -q\n",
    "story": lambda number: "",
}
#: The names that a wrap is allowed to bind.
OURS = re.compile(r"kept_[01]$|_i\d*$|_ii$|_iii$|_ih$|In$|_dh$|__builtin__$|__builtins__$")
#: What differs from run to run by its nature: addresses, counters, times, and what the
#: user typed, which ``_i`` holds as it was typed.
ADDRESS = re.compile(r"0x[0-9a-f]{6,}|\b1[34]\d{13}(?!\d)|(?<=__autograph_generated_file)\w+")
FOLDER = re.compile(r"(?<=player-)\w+")
COUNTED = re.compile(r"(__(?:inference|forward|backward)_\w*?)_?\d+|(?<=id=)\d+")
TAPE_LINE = re.compile(r"%%tape[^\n\\]*(\n|\\\\n|\\n)")
TIMED = re.compile(r"\d+(\.\d+)?\s?(ns|µs|μs|us|ms|s|min)(/\w+)?\b(?! loop)")
DEEPEST, WIDEST = 7, 400


def server() -> None:
    """Answer requests until there are no more."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("MPLBACKEND", "agg")
    # whoever was started in the background ignores Ctrl-C; a kernel does not
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("tensorflow", "keras", "tfmagic.notebook.extension"):
        importlib.import_module(name)
    answers = os.fdopen(os.dup(1), "w")
    for request in sys.stdin:
        print(json.dumps(in_a_fork(json.loads(request))), file=answers, flush=True)


def in_a_fork(request: dict[str, Any]) -> Any:
    """Play in a child, and end it where it takes too long."""
    seconds = request.get("seconds", 60)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        with os.fdopen(write, "w") as answer:
            try:
                json.dump(play(request["cells"], request["wrap"]), answer)
            except BaseException:
                json.dump({"died": traceback.format_exc()}, answer)
        os._exit(0)
    os.close(write)
    text, until = b"", time.monotonic() + seconds
    while True:
        ready, _, _ = select.select([read], [], [], max(0.0, until - time.monotonic()))
        part = os.read(read, 1 << 16) if ready else None
        if not part:
            break
        text += part
    os.close(read)
    if part is None:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if part is None:
        return {"died": f"more than {seconds} s"}
    return json.loads(text) if text else {"died": f"wait status {status}"}


# --- one notebook ------------------------------------------------------------------------


def play(cells: list[str], wrap: str) -> list[dict[str, Any]]:
    """Run the cells in a new shell; what could be noticed after each."""
    home = tempfile.mkdtemp(prefix="player-")
    os.environ["IPYTHONDIR"] = home
    os.chdir(home)
    shell = new_shell()
    # stays loaded in every variant: what is compared is the cell with and without its line
    shell.run_line_magic("load_ext", "tfmagic")
    if wrap == "story":
        loaded(shell).begin_story()
    seed()
    found = []
    for number, cell in enumerate(cells):
        with Captured(shell) as captured:
            result = shell.run_cell(WRAPS[wrap](number) + cell, store_history=True)
        found.append(noticed(shell, result, captured))
    found[-1]["end"] = at_the_end()
    return found


def seed() -> None:
    """The same beginning for every source of random numbers."""
    import random

    import numpy as np
    import tensorflow as tf

    random.seed(1)
    np.random.seed(2)
    tf.random.set_seed(3)


def loaded(shell: Any) -> Any:
    """The cells of the loaded extension."""
    from tfmagic.notebook import extension

    return extension._loaded[id(shell)].cells


def new_shell() -> Any:
    """A shell as bare as a kernel's."""
    from IPython.core.history import HistoryManager
    from IPython.core.interactiveshell import InteractiveShell

    HistoryManager.enabled = False
    warnings.resetwarnings()
    warnings.simplefilter("default")
    shell = InteractiveShell.instance()
    shell.colors = "nocolor"
    shell.user_module.__name__ = "__main__"
    sys.modules["__main__"] = shell.user_module
    return shell


class Captured:
    """Standard output and error down to the file descriptors, and what is displayed."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.shown: list[dict[str, Any]] = []

    def __enter__(self) -> Captured:
        from IPython.core.displaypub import CapturingDisplayPublisher

        self.publisher = self.shell.display_pub
        self.shell.display_pub = CapturingDisplayPublisher()
        self.files = [tempfile.TemporaryFile() for _ in (1, 2)]  # noqa: SIM115 - closed at exit
        self.saved = [os.dup(number) for number in (1, 2)]
        for number, file in zip((1, 2), self.files, strict=True):
            os.dup2(file.fileno(), number)
        return self

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self.texts = []
        for number, file, saved in zip((1, 2), self.files, self.saved, strict=True):
            os.dup2(saved, number)
            os.close(saved)
            file.seek(0)
            self.texts.append(file.read().decode("utf-8", "replace"))
            file.close()
        self.shown = [each["data"] for each in self.shell.display_pub.outputs]
        self.shell.display_pub = self.publisher


def noticed(shell: Any, result: Any, captured: Captured) -> dict[str, Any]:
    """Everything about one cell that its user could notice."""
    error = result.error_in_exec or result.error_before_exec
    space = {k: v for k, v in shell.user_ns.items() if not OURS.match(k)}
    print_of = Prints()
    return {
        "names": {name: print_of(value) for name, value in space.items()},
        "result": print_of(result.result),
        "stdout": plain(captured.texts[0]),
        "stderr": plain(captured.texts[1]),
        "shown": [
            {kind: plain(str(data)) for kind, data in bundle.items()} for bundle in captured.shown
        ],
        "error": error and [type(error).__qualname__, plain(str(error)), places(error)],
        "count": shell.execution_count,
        "in": shell.user_ns["In"][-1],
        "random": random_state(),
        "policy": policy(shell),
    }


def plain(text: str) -> str:
    """Without what differs from run to run."""
    text = TAPE_LINE.sub("", FOLDER.sub("", ADDRESS.sub("0x", text)))
    text = COUNTED.sub(lambda m: m[1] or "", text)
    return TIMED.sub("<time>", text)


def places(error: BaseException | None) -> list[Any]:
    """Functions and lines of the traceback and of those that it came from."""
    found: list[Any] = []
    while error is not None and len(found) < 200:
        trace = error.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            found.append([plain(os.path.basename(code.co_filename)), code.co_name, trace.tb_lineno])
            trace = trace.tb_next
        error = error.__cause__ or error.__context__
    return found


# --- values ------------------------------------------------------------------------------


class Prints:
    """Fingerprints of values: equal where no user could tell the values apart."""

    def __init__(self) -> None:
        self.seen: dict[int, int] = {}

    def __call__(self, value: Any, depth: int = 0) -> Any:
        if value is None or isinstance(value, (bool, int)):
            return ADDRESS.sub("0x", repr(value)[:200])
        if isinstance(value, (float, complex, bytes, str)):
            return plain(repr(value))[:2000]
        if id(value) in self.seen:
            return f"again {self.seen[id(value)]}"
        self.seen[id(value)] = len(self.seen)
        if depth > DEEPEST or type(value).__module__.startswith("IPython"):
            return kind(value)
        try:
            return self.of(value, depth + 1)
        except Exception as error:
            return f"{kind(value)} that raises {type(error).__name__}"

    def of(self, value: Any, depth: int) -> Any:
        array = array_of(value)
        if array is not None:
            return array
        if isinstance(value, dict):
            return [
                kind(value),
                *([self(k, depth), self(v, depth)] for k, v in first(value.items())),
            ]
        if isinstance(value, (list, tuple)):
            return [kind(value), *(self(v, depth) for v in first(value))]
        if isinstance(value, (set, frozenset)):
            return [kind(value), *sorted(json.dumps(self(v, depth)) for v in first(value))]
        if isinstance(value, type):
            return [kind(value), value.__qualname__, *self.members(vars(value), depth)]
        if isinstance(value, types.FunctionType):
            return self.function(value, depth)
        return [kind(value), *self.object(value, depth)]

    def object(self, value: Any, depth: int) -> list[Any]:
        """What is told of anything else than plain data."""
        if isinstance(value, threading.Thread):
            return [value.name, value.daemon]
        if isinstance(value, types.GeneratorType):
            return [value.__qualname__, value.gi_frame and value.gi_frame.f_lineno]
        if isinstance(value, (types.ModuleType, types.BuiltinFunctionType)):
            return [value.__name__]
        if type(value).__module__.startswith(("tensorflow.", "keras.")):
            return [self(weights_of(value), depth)]
        return list(self.members(getattr(value, "__dict__", {}), depth))

    def function(self, value: Any, depth: int) -> Any:
        cells = [c.cell_contents for c in value.__closure__ or () if not is_empty(c)]
        code = value.__code__
        return [
            "function",
            value.__qualname__,
            code.co_firstlineno,
            hashlib.sha1(code.co_code).hexdigest(),
            self(value.__defaults__, depth),
            *(self(c, depth) for c in cells),
        ]

    def members(self, members: Any, depth: int) -> Any:
        if not depth or depth > 4:
            return []
        return [[k, self(v, depth)] for k, v in first(sorted(members.items(), key=str_of_key))]


def weights_of(value: Any) -> Any:
    """What can be noticed of TensorFlow's own objects: the variables that they hold."""
    found = getattr(value, "variables", None)
    return found if isinstance(found, (list, tuple)) else None


def str_of_key(pair: Any) -> str:
    return str(pair[0])


def is_empty(cell: Any) -> bool:
    try:
        cell.cell_contents
    except ValueError:
        return True
    return False


def first(values: Any) -> list[Any]:
    return list(values)[:WIDEST]


def kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def array_of(value: Any) -> Any:
    """Tensors, variables and arrays: every bit of them, and where they live."""
    import numpy as np
    import tensorflow as tf

    if isinstance(value, (np.ndarray, np.generic)):
        return [kind(value), str(value.dtype), list(value.shape), digest(value)]
    if isinstance(value, tf.Variable):
        known = [kind(value), value.name, value.device, value.trainable]
        return [*known, str(value.dtype), digest(value.read_value().numpy())]
    if isinstance(value, tf.Tensor) and hasattr(value, "numpy"):
        if value.dtype in (tf.resource, tf.variant):
            return [kind(value), str(value.dtype), value.device]
        data = value.numpy()
        return [kind(value), str(value.dtype), value.device, list(value.shape), digest(data)]
    if isinstance(value, tf.IndexedSlices):
        return [kind(value), array_of(value.values), array_of(value.indices)]
    if type(value).__module__.startswith("keras.") and hasattr(value, "numpy"):
        return [kind(value), value.path, digest(value.numpy())]
    if isinstance(value, (tf.RaggedTensor, tf.SparseTensor)):
        return [kind(value), plain(repr(value))]
    return None


def digest(data: Any) -> str:
    import numpy as np

    array = np.asarray(data)
    if array.dtype == object:
        return repr(array.tolist())[:2000]
    return hashlib.sha1(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


# --- the state around the cell -----------------------------------------------------------


def random_state() -> Any:
    """Every source of random numbers, without drawing from any."""
    import random

    import numpy as np
    from tensorflow.python.eager import context
    from tensorflow.python.ops import stateful_random_ops

    here = context.context()
    numbers = getattr(here, "_rng", None)
    own = stateful_random_ops.global_generator
    return [
        hashlib.sha1(repr(random.getstate()).encode()).hexdigest()[:12],
        hashlib.sha1(repr(np.random.get_state()).encode()).hexdigest()[:12],
        repr(getattr(here, "_seed", None)),
        hashlib.sha1(repr(numbers.getstate()).encode()).hexdigest()[:12] if numbers else None,
        None if own is None else digest(own.state.numpy()),
    ]


def policy(shell: Any) -> dict[str, Any]:
    """Settings of TensorFlow, Python and the shell that a recorder could have left changed."""
    import gc

    import keras
    import numpy as np
    import tensorflow as tf
    from tensorflow.python import pywrap_tfe
    from tensorflow.python.eager import context, record

    here = context.context()
    return {
        "device": here.device_name,
        "device policy": repr(here.device_policy) if here._initialized else None,
        "soft placement": here._soft_device_placement,
        "jit": repr(tf.config.optimizer.get_jit()),
        "eager functions": tf.config.functions_run_eagerly(),
        "precision": keras.mixed_precision.global_policy().name,
        "floatx": keras.config.floatx(),
        "scope": here.scope_name,
        "op callbacks": len(here.op_callbacks),
        "a tape is open": not pywrap_tfe.TFE_Py_TapeSetIsEmpty(),
        "patched": [
            tf.GradientTape.gradient.__module__,
            tf.GradientTape.jacobian.__module__,
            record.record_operation.__module__,
            *patched_methods(),
            os.path.basename(signal.signal.__code__.co_filename),
        ],
        "gc": [gc.isenabled(), gc.get_threshold()],
        "recursion": sys.getrecursionlimit(),
        "interrupt": plain(repr(signal.getsignal(signal.SIGINT))),
        "trace": repr(sys.gettrace()),
        "finders": len(sys.meta_path),
        "hooks": [plain(repr(sys.excepthook)), plain(repr(sys.displayhook))],
        "filters": [len(warnings.filters), filters_version()],
        "folder": os.path.basename(os.getcwd())[:7],
        "print options": repr(sorted(np.get_printoptions().items(), key=str_of_key)),
        "threads": sorted(t.name for t in threading.enumerate() if not t.daemon),
        "show": "_get_exc_info" in vars(shell),
    }


def filters_version() -> Any:
    """How often the filters changed: with each change Python forgets which warnings it has
    shown already, and shows them once more."""
    kept, registry = warnings.filters, {}
    warnings.filters = [("ignore", None, Warning, None, 0)]
    try:
        warnings.warn_explicit("", Warning, "", 1, registry=registry)
    finally:
        warnings.filters = kept
    return registry.get("version")


def patched_methods() -> list[str]:
    """The methods of tensors and tapes that are not TensorFlow's own."""
    import tensorflow as tf
    from tensorflow.python.framework import ops

    return [
        f"{cls.__name__}.{name}"
        for owner in (ops.EagerTensor, tf.GradientTape)
        for cls in owner.__mro__
        for name, method in vars(cls).items()
        if "tfmagic" in getattr(getattr(method, "__code__", None), "co_filename", "")
    ]


def at_the_end() -> list[str]:
    """The next numbers of every source: what a state may have hidden shows here."""
    import random

    import numpy as np
    import tensorflow as tf

    drawn = tf.random.normal([2])
    return [repr(random.random()), repr(np.random.rand()), digest(drawn.numpy())]


if __name__ == "__main__":
    server()
