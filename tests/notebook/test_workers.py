"""A kernel with two workers: work on each, one that dies, one that hangs, leaving and coming back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

LONG = """
def long(pid, sign):
    import os
    with tf.device("/job:worker/task:0"):
        x = tf.random.normal([1000, 1000])
        for _ in range(100):
            x = x @ x * 0.001
        os.kill(pid, sign)
        return float(x[0, 0])
"""
SETUP = f"""
import tensorflow as tf, tfmagic
{LONG}
here = tf.Variable([1.0, 2.0])
"""
ON_EACH = """
v = []
for i in range(2):
    with tf.device(f"/job:worker/task:{i}"):
        v.append(tf.Variable(3.0 + i))
"""


@pytest.fixture
def kernel(new_kernel: Callable[..., Any], tmp_path: Any) -> Iterator[Any]:
    with new_kernel(tmp_path / "log") as here:
        here.run(SETUP)
        yield here


@pytest.fixture
def pair(kernel: Any, start: Callable[..., list[Any]]) -> tuple[Any, list[Any]]:
    """A kernel that has joined two workers, with a variable on each."""
    workers = start(2)
    said = kernel.run(f"%tfdevice --connect {','.join(w.address for w in workers)}").text
    assert "2 workers joined: worker:0 (" in said
    assert not kernel.run(ON_EACH).error
    return kernel, workers


def test_a_variable_a_tape_and_a_cell_on_each_worker(pair: Any) -> None:
    kernel, workers = pair
    table = kernel.run("%tfdevice").text
    assert all(f"/job:worker/replica:0/task:{i}/device:CPU:0" in table for i in range(2))
    assert all(worker.address in table for worker in workers)
    assert table.count("1 (4 B)") == 2 and "not told by workers" in table
    for i in range(2):
        ran = kernel.run(f"%%tape\nwith tf.device('/job:worker/task:{i}'):\n    y = v[{i}] ** 2")
        assert f"worker:{i}/CPU:0" in ran.text and f"∇ = {6 + 2 * i}" in ran.text
        ran = kernel.run(f"%%tfdevice worker:{i}\n(v[{i}] * 2).device")
        assert f"task:{i}" in ran.text
    code = "with tf.GradientTape() as t:\n    y = v[0] * v[1]\n[float(g) for g in t.gradient(y, v)]"
    assert kernel.run(code).text.strip() == "[4.0, 3.0]"


def test_a_bench_on_each_worker_tells_trip_dispatch_and_work_apart(pair: Any) -> None:
    kernel, _ = pair
    kernel.run("x = tf.random.normal([50, 50])")
    ran = kernel.run("%tfbench -o timed --budget 0.3 -d worker:0/CPU:0,worker:1/CPU:0 x @ x")
    assert not ran.error and "worker:0/CPU:0" in ran.text and "worker:1/CPU:0" in ran.text
    assert "there and back for a single number" in ran.text


def test_a_worker_that_dies_in_the_middle_of_a_bench(pair: Any) -> None:
    kernel, workers = pair
    kernel.run(
        f"""
calls, x = 0, tf.random.normal([50, 50])
def dies():
    global calls
    calls += 1
    if calls == 40:
        __import__("os").kill({workers[0].pid}, 9)
    return x @ x
"""
    )
    ran = kernel.run("%tfbench -d worker:0/CPU:0 dies()")
    assert f"worker:0 ({workers[0].address})" in ran.text and "there is lost" in ran.text
    ran = kernel.run("%tfbench --budget 0.3 -d worker:1/CPU:0 x @ x")
    assert "worker:1/CPU:0" in ran.text and not ran.error
    assert kernel.run("float(v[1])").text.strip() == "4.0"


def test_a_large_value_on_a_worker_is_not_fetched_for_the_recording(pair: Any) -> None:
    kernel, _ = pair
    kernel.run("%%tape -q\nwith tf.device('/job:worker/task:0'):\n    b = tf.ones([400, 400]) * 2")
    code = "[(o.type, tfmagic.last.tensors[o.outputs[0]].value.absent) for o in tfmagic.last.ops]"
    assert kernel.run(code).text.strip() == "[('Fill', 'remote'), ('Mul', 'remote')]"
    shown = kernel.run("%tfdevice --why").text
    assert "tf.device says worker:0/CPU:0" in shown


def test_a_worker_that_dies_in_the_middle_of_a_cell(pair: Any) -> None:
    kernel, workers = pair
    kernel.run("%tfdevice worker:0/CPU:0")
    ran = kernel.run(f"long({workers[0].pid}, 9)")
    assert ran.error
    assert f"worker:0 ({workers[0].address})" in ran.text and "there is lost" in ran.text
    assert "so does worker:1" in ran.text and "TensorFlow chooses the device" in ran.text
    ran = kernel.run("float(v[1]), here.numpy().tolist(), (here + 1).device[-5:]")
    assert ran.text.strip() == "(4.0, [1.0, 2.0], 'CPU:0')"
    assert "does not answer" in kernel.run("%tfdevice").text
    assert kernel.run("float(v[0])").error and kernel.run("1 + 1").text.strip() == "2"


@pytest.mark.parametrize("magic", ["%%tape", "%%tape --check T", "%%tfgraph"])
def test_a_worker_that_dies_in_the_middle_of_a_recorded_cell(pair: Any, magic: str) -> None:
    kernel, workers = pair
    dies = f"with tf.GradientTape() as t:\n    y = v[0] ** 2\nlong({workers[0].pid}, 9)"
    ran = kernel.run(f"{magic}\n{dies}")
    assert ran.error and f"worker:0 ({workers[0].address})" in ran.text
    assert "there is lost" in ran.text and "could not draw" not in ran.text
    assert "Pow" in ran.text  # what ran before is shown
    ran = kernel.run("%%tape\nz = v[1] * here[0]")
    assert not ran.error and "Mul" in ran.text


def test_a_worker_that_dies_as_the_last_of_a_recorded_cell(pair: Any) -> None:
    kernel, workers = pair
    kernel.run("%tape on")
    dies = f"import os\nwith tf.device('/job:worker/task:0'):\n    y = v[0] ** 2\nos.kill({workers[0].pid}, 9)\nkept = 7"
    ran = kernel.run(dies)
    assert not ran.error and "Pow" in ran.text
    ran = kernel.run("z = v[1] * here[0]\nkept")
    assert not ran.error and "Mul" in ran.text and "7" in ran.text
    assert "ended" in kernel.run("%tape off").text


def test_a_worker_that_died_between_cells_is_named_and_can_come_back(
    pair: Any, start: Callable[..., list[Any]]
) -> None:
    kernel, workers = pair
    workers[0].kill()
    assert "worker:0 (" in kernel.run("here.numpy()").text
    assert "worker:0" not in kernel.run("here.numpy()").text  # said once
    start(1, port=workers[0].port)
    assert "2 workers joined" in kernel.run(f"%tfdevice --connect {workers[0].address}").text
    assert kernel.run("%%tfdevice worker:0\nfloat(tf.ones([2])[0] + 1)").text.strip() == "2.0"
    assert kernel.run("float(v[1])").text.strip() == "4.0"
    assert kernel.run("float(v[0])").error


def test_a_worker_that_hangs_is_given_up(pair: Any) -> None:
    kernel, workers = pair
    stop = "__import__('signal').SIGSTOP"
    ran = kernel.run(f"long({workers[0].pid}, {stop})")
    assert ran.error and f"worker:0 ({workers[0].address}) no longer answers" in ran.text
    assert kernel.run("float(v[1])").text.strip() == "4.0"


def test_leaving_and_joining_again_never_ends_the_kernel(pair: Any) -> None:
    kernel, workers = pair
    assert "2 workers left" in kernel.run("%tfdevice --disconnect").text
    assert "task:" not in kernel.run("%tfdevice").text
    assert "No worker is joined." in kernel.run("%tfdevice --disconnect").text
    assert kernel.run("float(v[0])").error
    kernel.run(f"%tfdevice --connect grpc://{workers[1].address}")
    assert kernel.run("float(v[0])").error and kernel.run("float(v[1])").error
    assert kernel.run("here.numpy().tolist()").text.strip() == "[1.0, 2.0]"
    assert kernel.run("%%tfdevice worker:0\nfloat(tf.ones([2])[0])").text.strip() == "1.0"


def test_joining_leaves_a_cell_and_its_random_numbers_alone(kernel: Any, start: Any) -> None:
    (worker,) = start(1)
    kernel.run("tf.random.set_seed(7); a = tf.random.normal([2]).numpy(); tf.random.set_seed(7)")
    kernel.run("before = {n for n in globals() if n[0] != '_'} | {'before'}")
    kernel.run(f"%tfdevice -q --connect {worker.address}")
    assert kernel.run("{n for n in globals() if n[0] != '_'} - before").text.strip() == "set()"
    assert kernel.run("bool((tf.random.normal([2]).numpy() == a).all())").text.strip() == "True"


def test_a_spec_and_a_script_join_in_the_same_way(kernel: Any, start: Any) -> None:
    (worker,) = start(1)
    kernel.run(f"spec = tf.train.ClusterSpec({{'helpers': {{3: '{worker.address}'}}}})")
    assert "helpers:3" in kernel.run("%tfdevice --connect spec").text
    assert "/job:helpers/replica:0/task:3" in kernel.run("tfmagic.connect(spec)").text
    assert kernel.run("tfmagic.disconnect().devices.names()").text.count("device:") == 1


def test_the_port_of_the_kernel_itself_hears_this_machine_alone(kernel: Any, start: Any) -> None:
    (worker,) = start(1)
    kernel.run(f"%tfdevice -q --connect {worker.address}")
    code = """
from tfmagic.runtime import private
from tfmagic.runtime.cluster import lines
mine = [s for s in lines._sockets() if lines._listens_on(s, private.own_port())]
[s.getsockopt(1, 25, 16) for s in mine]
"""
    answer = kernel.run(code).text
    assert "b'lo\\x00'" in answer and "b''" not in answer
