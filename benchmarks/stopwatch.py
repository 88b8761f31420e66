"""``%tfbench`` itself: does it claim what is not there, and find what is?

Every section is a table of shares or ratios from one run of this command; the load of the
machine is printed with each, because nothing here is true of a busy machine in general.

    python -m benchmarks.stopwatch [SECTION ...] [--pairs 200] [--tries 40] [--runs 10]

Sections: same power coverage spread queued empty gpu (default: all)
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import itertools
import multiprocessing
import os
import statistics
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.process import BaseProcess
from typing import Any

from benchmarks.rows import note
from tfmagic.analysis.bench import allowing_for_drift, kept
from tfmagic.model.bench import Bench, Timing

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

#: Seconds for each variant of a pair: what a point of a sweep is given.
BUDGET = 0.5
_NUMBERS = itertools.count()
QUIET = "as it is"


def head(title: str) -> None:
    """A section's title, with the load of the last minute."""
    print(f"\n{title}  (load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)")


def spin(turns: int) -> Callable[[int], None]:
    """A loop of Python's of a known length."""

    def run(loops: int) -> None:
        for _ in range(loops):
            for _ in range(turns):
                pass

    return run


def small_op(count: int = 1) -> Callable[[int], Any]:
    """A small TensorFlow op, eagerly, ``count`` times in a run."""
    import tensorflow as tf

    x = tf.random.normal([64, 64])

    def run(loops: int) -> Any:
        made = x
        for _ in range(loops * count):
            made = tf.matmul(x, x)
        return made

    return run


def started(work: Callable[..., None], *given: Any) -> BaseProcess:
    """``work`` in a process of its own, found by this module's name: what is ``__main__`` is
    another module once IPython has been here."""
    from benchmarks import stopwatch

    target = getattr(stopwatch, work.__name__)
    process = multiprocessing.get_context("spawn").Process(target=target, args=given, daemon=True)
    process.start()
    return process


def _burn() -> None:
    while True:
        pass


@contextmanager
def other_core_busy() -> Iterator[None]:
    """One more process that computes all the time."""
    worker = started(_burn)
    time.sleep(1.0)
    try:
        yield
    finally:
        worker.terminate()
        worker.join()


def same(options: argparse.Namespace) -> None:
    """A/A: the same work against itself; a claimed difference is false (aim: at most 5 %)."""
    head("same: A/A pairs that claim a difference (aim: at most 5 %)")
    _same(QUIET, options.pairs)
    with other_core_busy():
        _same("one core loaded", options.pairs)


def _same(name: str, pairs: int) -> None:
    works = {"small op": small_op(), "Python loop": spin(3000)}
    for label, work in works.items():
        said = [paired(work, work) for _ in range(pairs // 2)]
        claimed = sum(v.verdict in ("faster", "slower") for v in said)
        unclear = sum(v.verdict == "unclear" for v in said)
        known = [v for v in said if v.low is not None and v.high is not None]
        held = sum(v.low <= 1 <= v.high for v in known)
        print(
            f"  {name:<16} {label:<12} {claimed:>3} of {len(said)} claimed = "
            f"{claimed / len(said):.1%}, {unclear} unclear; the 99 % interval of the ratio "
            f"holds 1 in {held} of {len(known)}"
        )
        note(f"A/A, {label}, {name}: claimed", 100 * claimed / len(said), "%", most=5)


def paired(a: Callable[[int], Any], b: Callable[[int], Any]) -> Any:
    """What is said of ``b`` against ``a``, taken in turns."""
    from tfmagic.analysis.bench import compared
    from tfmagic.runtime.timer import Plan
    from tfmagic.runtime.timer.selftest import taken

    return compared(*taken([a, b], Plan(budget=BUDGET)))


def power(options: argparse.Namespace) -> None:
    """Known extra work: how often it is found (aim: at least 90 % at +5 % when idle)."""
    head("power: known extra work that is found (aim: at least 90 % at +5 %)")
    for extra in (0.02, 0.05, 0.10):
        _power(QUIET, extra, options.tries)
    with other_core_busy():
        _power("one core loaded", 0.05, options.tries)


def _power(name: str, extra: float, tries: int) -> None:
    ops = round(1 / extra)  # one more of them is the extra
    works = {
        "small op": (small_op(ops), small_op(ops + 1)),
        "Python loop": (spin(4000), spin(round(4000 * (1 + extra)))),
    }
    for label, pair in works.items():
        said = [paired(*pair).verdict for _ in range(tries)]
        found, unclear = said.count("slower"), said.count("unclear")
        print(
            f"  {name:<16} {label:<12} +{extra:<4.0%} {found:>3} of {tries} found = "
            f"{found / tries:.0%}, {unclear} unclear"
        )
        aim = {"least": 90.0} if extra >= 0.05 and name == QUIET else {}
        note(f"+{extra:.0%} of {label}, {name}: found", 100 * found / tries, "%", **aim)


def coverage(options: argparse.Namespace) -> None:
    """How often the interval of one measurement holds the median of all of them (90–97 %).

    Each is taken as a user takes it, by the stopwatch's own rule for when to stop, and two works
    take turns over the same minutes.  A machine that drifts from one measurement to the next can
    be seen through by none of them: the self-test made before says by how much, as a user's does.
    """
    from tfmagic.runtime.timer.selftest import selftest

    head("coverage: intervals that hold the median of all measurements (aim: 90 to 97 %)")
    known = selftest()
    drift = 100 * (known.drift or 0.0)
    print(f"  self-test: this machine drifts by {drift:.2f} % from one measurement to the next")
    found = _measured_in_turns(150.0 if options.pairs >= 200 else 45.0)
    for name, benches in found.items():
        with_drift = [allowing_for_drift(replace(b, selftest=known)) for b in benches]
        whole = statistics.median(t for b in benches for _, t in kept(b.timings[0]))
        for how, each in (("alone", benches), ("with the self-test", with_drift)):
            _held(f"{name}, {how}", [b.timings[0] for b in each], whole)


def _measured_in_turns(seconds: float) -> dict[str, list[Bench]]:
    """Measurements of two works, one after the other, without what a self-test said before."""
    import tensorflow as tf

    import tfmagic

    x = tf.random.normal([64, 64])
    works: dict[str, Callable[[], Any]] = {
        "small op": lambda: tf.matmul(x, x),
        "Python loop": functools.partial(spin(3000), 1),
    }
    found: dict[str, list[Bench]] = {name: [] for name in works}
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as nothing, environment(XDG_STATE_HOME=nothing):
        while time.monotonic() < end:
            for name, work in works.items():
                found[name].append(tfmagic.bench(work).bench)
    return found


def _held(name: str, timings: Sequence[Timing], whole: float) -> None:
    known = [t for t in timings if t.low is not None and t.high is not None]
    if not known:
        print(f"  {name:<32} no interval in {len(timings)} measurements")
        return
    held = sum(t.low <= whole <= t.high for t in known)
    wide = 100 * statistics.median(t.spread or 0.0 for t in known)
    share = held / len(known)
    print(f"  {name:<32} {held} of {len(known)} = {share:.0%}, half an interval ±{wide:.2f} %")
    note(f"{name}: interval holds", 100 * share, "%", least=90)


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Variables of the environment inside the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def spread(options: argparse.Namespace) -> None:
    """The figure over ten runs, and the seconds they took, side by side."""
    import tensorflow as tf

    head(f"spread: figure over {options.runs} runs, and wall time of one")
    x, y = tf.random.normal([64, 64]), tf.random.normal([512, 512])
    step = keras_step()
    cases: dict[str, Callable[[], Any]] = {
        "small op": lambda: tf.matmul(x, x),
        "512x512": lambda: tf.matmul(y, y),
        "Keras step": step,
    }
    for case, work in cases.items():
        work()
        for name, timer in TIMERS.items():
            figures, start = [], time.perf_counter()
            for _ in range(options.runs):
                figures.append(timer(work))
            wall = (time.perf_counter() - start) / options.runs
            if None in figures:
                print(f"  {case:<11} {name:<22} not installed")
                continue
            mean = statistics.mean(figures)
            aim = {"most": 2.0} if (case, name) == ("small op", "tfbench") else {}
            spread = 100 * statistics.stdev(figures) / mean
            note(name, spread, "%", group=f"Spread over {options.runs} runs, {case}", **aim)
            note(name, wall, "s", group=f"Wall time of one run, {case}")
            print(
                f"  {case:<11} {name:<22} {1e6 * mean:>10.1f} µs  "
                f"spread {spread:>5.1f}%  wall {wall:>5.2f} s"
            )


def keras_step() -> Callable[[], Any]:
    """One training step of a small Keras model."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((20,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(1)]
    )
    model.compile("sgd", "mse")
    images, labels = tf.random.normal([16, 20]), tf.random.normal([16, 1])
    return lambda: model.train_on_batch(images, labels)


def _ours(work: Callable[[], Any]) -> float:
    import tfmagic

    return tfmagic.bench(work).timings[0].median


def _ipython(work: Callable[[], Any]) -> float:
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shell.user_ns["work_"] = work
    return shell.run_line_magic("timeit", "-o -q work_()").average


def _timeit(work: Callable[[], Any]) -> float:
    timer = timeit.Timer(work)
    number, _ = timer.autorange()
    return min(timer.repeat(number=number)) / number


def _pyperf(work: Callable[[], Any]) -> float | None:
    """pyperf as one of its workers: it would start a process, and TensorFlow, for each."""
    runner = _runner()
    if runner is None:
        return None
    once = min(timeit.repeat(work, number=1, repeat=3))
    runner.args.loops = max(1, round(0.1 / max(once, 1e-9)))  # its least: 0.1 s for a value
    with contextlib.redirect_stdout(io.StringIO()):
        found = runner.bench_func(f"work {next(_NUMBERS)}", work)
    return float(found.mean())


@functools.cache
def _runner() -> Any:
    """pyperf's runner, of which there may be one in a process; None where it is missing."""
    try:
        import pyperf
    except ImportError:
        return None
    runner = pyperf.Runner(values=20, warmups=1, program_args=("stopwatch",))
    runner.parse_args(["--worker", "--quiet", "--loops=1"])
    return runner


def _tensorflow(work: Callable[[], Any]) -> float:
    """``tf.test.Benchmark`` runs a session; eager work is run where it asks for that."""
    import tensorflow as tf

    class Eager:
        def run(self, call: Callable[[], Any], feed_dict: Any = None) -> Any:
            return call()

    with contextlib.redirect_stdout(io.StringIO()):
        timed = tf.test.Benchmark().run_op_benchmark(
            Eager(), work, name="work", store_memory_usage=False
        )
    return float(timed["wall_time"])


TIMERS: dict[str, Callable[[Callable[[], Any]], float | None]] = {
    "tfbench": _ours,
    "%timeit": _ipython,
    "timeit": _timeit,
    "pyperf": _pyperf,
    "tf.test.Benchmark": _tensorflow,
}


def queued(options: argparse.Namespace) -> None:
    """Work that is only queued: the naive figure, ours, and the truth when every op waits.

    The two are taken in turns: on a busy machine a product takes now three times as long, now
    once, and a truth of another moment is none.
    """
    import tensorflow as tf

    import tfmagic

    head("queued: asynchronous CPU, the stand-in for a graphics card")
    x = tf.random.normal([1000, 1000])
    space = {"tf": tf, "x": x}
    statement = "tf.matmul(x, x)"

    def ours() -> Any:
        tf.config.experimental.set_synchronous_execution(False)
        try:
            return tfmagic.bench(statement, namespace=space, budget=0.5).timings[0]
        finally:
            tf.config.experimental.set_synchronous_execution(True)

    def truth(_: Any) -> float:
        return tfmagic.bench(statement, namespace=space, budget=0.5).timings[0].median

    _told("this process", ours, truth, options.runs)
    worker(statement, space, options.runs)


def worker(statement: str, space: dict[str, Any], runs: int) -> None:
    """The same on a worker of this machine, and with a product that is eight times the work:
    what a naive loop sees there is the sending alone, whatever the work."""
    import socket

    import tensorflow as tf

    import tfmagic

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = started(_serve, port)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.2)
    try:
        tfmagic.connect(f"grpc://127.0.0.1:{port}")
        remote = "/job:worker/replica:0/task:0/device:CPU:0"

        for size in (1000, 2000):
            space["x"] = x = tf.random.normal([size, size])

            def ours() -> Any:
                timed = tfmagic.bench(statement, namespace=space, devices=[remote], budget=0.5)
                return timed.timings[0]

            _told(f"loopback worker, {size}²", ours, lambda _, x=x: chained(remote, x), runs)
        tfmagic.disconnect()  # else TensorFlow waits for the worker at the next function
    finally:
        process.terminate()
        process.join()


def chained(device: str, x: Any) -> float:
    """Seconds of a product there: twenty more in a chain, where each needs the one before.

    The way there and back, and the wait for the answer, are in both chains and fall out.
    """
    import tensorflow as tf

    with tf.device(device):
        there = tf.identity(x) / x.shape[0] ** 0.5  # so that a chain neither grows nor fades

        def chain(length: int) -> float:
            start, made = time.perf_counter(), there
            for _ in range(length):
                made = tf.matmul(made, there)
            float(made[0, 0])
            return time.perf_counter() - start

        chain(2)
        return statistics.median((chain(25) - chain(5)) / 20 for _ in range(5))


def _serve(port: int) -> None:
    import tensorflow as tf

    server = tf.distribute.Server(
        {"worker": [f"127.0.0.1:{port}"]}, job_name="worker", task_index=0, start=True
    )
    server.join()


def _told(name: str, ours: Callable[[], Any], truth: Callable[[Any], float], runs: int) -> None:
    ratios, naive = [], []
    for _ in range(runs):
        timing = ours()
        true = truth(timing)
        ratios.append(timing.median / true)
        naive.append(true / timing.naive)
    low, _, high = statistics.quantiles(ratios)
    short = statistics.median(naive)
    off = 100 * abs(statistics.median(ratios) - 1)
    note(f"queued work, {name}: ours off the truth by", off, "%", most=10)
    note(f"queued work, {name}: the naive figure too small", short, "×", least=50)
    print(
        f"  {name:<22} naive = truth / {short:.0f}, ours = truth x "
        f"{statistics.median(ratios):.2f} (half of {runs} between {low:.2f} and {high:.2f})"
    )


def empty(options: argparse.Namespace) -> None:
    """What an empty statement costs, and that nothing is different afterwards."""
    import random

    import numpy as np
    import tensorflow as tf

    import tfmagic

    head("empty: cost of an empty statement, and what is different afterwards")
    ours = tfmagic.bench("pass").timings[0].median
    plain = min(timeit.repeat("pass", number=10**6)) / 1e6
    print(f"  one run of 'pass': {1e9 * ours:.1f} ns (timeit: {1e9 * plain:.1f} ns)")

    def drawn() -> tuple[Any, ...]:
        return (random.random(), np.random.rand(), float(tf.random.normal([])))

    def seeded() -> None:
        random.seed(1)
        np.random.seed(1)
        tf.random.set_seed(1)

    seeded()
    expected = drawn()
    seeded()
    space = {"tf": tf, "np": np, "random": random}
    names, policy = set(space), tf.config.experimental.get_device_policy()
    statement = "random.random(); np.random.rand(); y = tf.random.normal([])"
    tfmagic.bench(statement, namespace=space, budget=0.3)
    print(f"  random state as before: {drawn() == expected}")
    print(f"  namespace as before: {set(space) == names}")
    print(f"  device policy as before: {tf.config.experimental.get_device_policy() == policy}")


def gpu(options: argparse.Namespace) -> None:
    """The lesson's 100 products on a graphics card, where there is one."""
    import tensorflow as tf

    import tfmagic

    head("gpu: the lesson's products of 1000x1000 on a graphics card")
    if not tf.config.list_physical_devices("GPU"):
        print("  no GPU was measured: TensorFlow sees none here")
        return
    with tf.device("GPU:0"):
        x = tf.random.uniform([1000, 1000])
    (timing,) = tfmagic.bench(
        "tf.matmul(x, x)", namespace={"tf": tf, "x": x}, devices=["GPU:0"]
    ).timings
    print(f"  100 products: naive {1e5 * timing.naive:.2f} ms, ours {1e5 * timing.median:.2f} ms")
    print(f"  the card's own kernel times: {1e3 * kernels(x):.2f} ms")


def kernels(x: Any) -> float:
    """Seconds that 100 products take on the card, by TensorFlow's profiler."""
    import glob
    import tempfile

    import tensorflow as tf
    from tensorflow.core.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        for _ in range(100):
            made = tf.matmul(x, x)
        float(made[0, 0])
        tf.profiler.experimental.stop()
        (path,) = glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)
        space = xplane_pb2.XSpace()
        with open(path, "rb") as file:
            space.ParseFromString(file.read())
    total = 0
    for plane in space.planes:
        if plane.name.startswith("/device:GPU"):
            for line in plane.lines:
                if "Stream" in line.name:
                    total += sum(event.duration_ps for event in line.events)
    return total * 1e-12


SECTIONS = {f.__name__: f for f in (same, power, coverage, spread, queued, empty, gpu)}


def main() -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--tries", type=int, default=40)
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    for name in options.sections or SECTIONS:
        start = time.monotonic()
        SECTIONS[name](options)
        print(f"  ({time.monotonic() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
