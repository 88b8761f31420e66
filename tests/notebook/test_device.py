"""``%tfdevice``: what it shows, where it sends ops, and that it gives back what was before."""

from __future__ import annotations

import ast
import signal
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tensorflow as tf
from IPython.utils.capture import capture_output

import tfmagic
from tfmagic.errors import DeviceError
from tfmagic.language import use
from tfmagic.model.device import Device, Devices, Policy
from tfmagic.render.devices import DevicesView
from tfmagic.runtime.devices import placing, setup

WHERE = "(tf.ones([2]) + 1).device[-5:]"


@pytest.fixture(scope="module")
def split(
    new_kernel: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A kernel whose processor stands under three names."""
    with new_kernel(tmp_path_factory.mktemp("kernel") / "log") as here:
        before = here.run("%tfdevice")
        assert "not started" in before.text and "CPU:0" in before.text
        here.run("import tensorflow as tf\nimport tfmagic")
        assert "CPU:2" in here.run("%tfdevice --split CPU=3 --threads 2,1").text
        here.run("from tensorflow.python.eager import context")
        assert here.run("context.context()._initialized").text.strip() == "False"
        here.run("v = tf.Variable(tf.zeros([512, 512]))")
        # only some processors' allocators keep count: TensorFlow itself is asked
        asked = here.run("tf.config.experimental.get_memory_info('CPU:0')['current']")
        here.tells_memory = asked.text.strip().isdigit()
        yield here


# --- the table ---------------------------------------------------------------------------


def test_devices_that_share_cores_are_labelled(split: Any) -> None:
    text = split.run("%tfdevice").text
    assert text.count("shared") == 3
    assert "CPU:0, CPU:1, CPU:2 are one processor under several names" in text


def test_variables_are_counted_where_they_live(split: Any) -> None:
    code = "w = tf.Variable(tf.ones([256, 256]), name='w')\nd = tfmagic.devices().devices\n"
    show = "[(x.name[-5:], x.variables, x.variable_bytes) for x in d.devices]"
    ran = split.run("with tf.device('CPU:1'):\n    " + code + show)
    assert ran.text.strip() == "[('CPU:0', 1, 1048576), ('CPU:1', 1, 262144), ('CPU:2', 0, 0)]"
    split.run("del w, d")


def test_memory_is_told_or_the_reason_why_not(split: Any) -> None:
    row = split.run("d = tfmagic.devices().devices.devices[0]; (d.used, d.unknown)").text
    used, unknown = ast.literal_eval(row.strip())
    if split.tells_memory:
        assert used >= 512 * 512 * 4 and not unknown
    else:
        assert used is None and unknown


def test_the_plot_is_a_picture_with_the_same_figures_in_words(split: Any) -> None:
    ran = split.run("%tfdevice --plot")
    told = "data:image/svg+xml;base64," in ran.html and "Memory by device: CPU:0: " in ran.html
    assert told is split.tells_memory


def test_both_kinds_of_machine_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose allocator keeps count, and one where TensorFlow has no figures."""
    told: dict[str, Any] = {"counts": lambda _: {"current": 5, "peak": 7}, "silent": _no_figures}
    found, _ = {}, tf.zeros([1])  # before the first tensor there are no figures at all
    for kind, info in told.items():
        monkeypatch.setattr(tf.config.experimental, "get_memory_info", info)
        first = tfmagic.devices().devices.devices[0]
        found[kind] = first.used, first.peak, bool(first.unknown)
    assert found == {"counts": (5, 7, False), "silent": (None, None, True)}


def _no_figures(_: str) -> Any:
    raise ValueError("Allocator stats not available for device")


@pytest.mark.parametrize("language", ["en", "ko"])
def test_every_word_of_the_table_can_be_said(language: str) -> None:
    use(language)
    local = "/job:localhost/replica:0/task:0/device:"
    worker = "/job:worker/replica:0/task:1/device:CPU:0"
    rows = (
        Device(local + "CPU:0", "CPU", "<b>", cores=1, unknown="no <i>", limit=2**30, sharing=2),
        Device(local + "GPU:0", "GPU", "T4", "7.5", used=5, peak=2**20, variables=1, default=True),
        Device(worker, "CPU", unknown="not_started", address="host:1", alive=False),
    )
    policy = Policy(True, False, ("GPU:0",), True, 2)
    bundle = DevicesView(Devices(rows, policy, local + "GPU:0", 3), plot=True).mimebundle()
    assert "7.5" in bundle["text/plain"] and worker in bundle["text/plain"]
    assert "host:1" in bundle["text/plain"]
    assert "<b>" not in bundle["text/html"] and "<i>" not in bundle["text/html"]
    assert "data:image/svg+xml" in bundle["text/html"]


# --- the session's default ---------------------------------------------------------------


def test_the_default_holds_for_later_cells_until_auto(split: Any) -> None:
    split.run("%tfdevice cpu:1")
    assert split.run(WHERE).text.strip() == "'CPU:1'"
    assert "CPU:1 ◀ default" in split.run("%tfdevice").text
    split.run("%tfdevice CPU:2")
    assert split.run(WHERE).text.strip() == "'CPU:2'"
    split.run("%tfdevice auto")
    assert split.run(WHERE).text.strip() == "'CPU:0'"


def test_what_overrides_the_default_is_said(split: Any) -> None:
    split.run("%tfdevice CPU:1")
    said = split.run("with tf.device('CPU:2'):\n    tf.ones([2]) + 1\nv.assign_add(v);").text
    split.run("%tfdevice auto")
    assert "4 ops did not run on CPU:1: 2 on CPU:2, because tf.device says so (line 2)" in said
    assert "2 on CPU:0, where the variable or dataset lives (line 3)" in said


def test_the_default_cannot_change_inside_a_scope(split: Any) -> None:
    ran = split.run("with tf.device('CPU:1'):\n    %tfdevice CPU:2")
    assert "inside a tf.device block" in ran.error + ran.text
    assert split.run(WHERE).text.strip() == "'CPU:0'"


def test_unloading_gives_the_default_back(shell: Any) -> None:
    shell.run_line_magic("tfdevice", "CPU:0")
    assert placing.default() == tf.constant(1).device
    shell.run_line_magic("unload_ext", "tfmagic")
    assert placing.default() == ""


# --- one cell ----------------------------------------------------------------------------


def test_a_cell_runs_on_its_device_and_keeps_its_value(split: Any) -> None:
    ran = split.run("%%tfdevice CPU:2\nx = tf.ones([2]) + 1\nx.device[-5:]")
    assert ran.text.strip() == "'CPU:2'"
    assert split.run(WHERE).text.strip() == "'CPU:0'"


@pytest.mark.parametrize("ending", ["1 / 0", "raise KeyboardInterrupt"])
def test_the_device_is_given_back_after_an_exception(split: Any, ending: str) -> None:
    ran = split.run(f"%%tfdevice CPU:2\n{ending}")
    assert ran.error
    assert split.run(WHERE).text.strip() == "'CPU:0'"


@pytest.mark.parametrize(
    "first, second", [("%%tfdevice CPU:2", "%%tape"), ("%%tape", "%%tfdevice CPU:2")]
)
def test_a_recorded_cell_can_have_a_device(split: Any, first: str, second: str) -> None:
    ran = split.run(f"{first}\n{second}\ny = v * 2.0")
    assert not ran.error and "CPU:2" in ran.text
    assert split.run("y.device[-5:]").text.strip() == "'CPU:2'"


@pytest.mark.parametrize(
    "line", ["%%tfdevice CPU:0", "%tfdevice CPU:0", "%%time\n%%tfdevice CPU:0"]
)
def test_a_traceback_has_no_frame_of_ours(shell: Any, line: str) -> None:
    """An op that fails, and a signal whose handler is the cell's own."""
    shell.run_cell("import signal, tensorflow as tf\ndef ring(*_): raise LookupError('ring')")
    if line.startswith("%tf"):  # the session's default, watched in every cell
        shell.run_cell(line)
        line = ""
    fails = "tf.raw_ops.MatMul(a=[[1.0, 2.0]], b=[[1.0, 2.0]])"
    rings = "signal.signal(signal.SIGINT, ring)\nsignal.raise_signal(signal.SIGINT)"
    before = signal.getsignal(signal.SIGINT)
    try:
        for cell, error in ((fails, "InvalidArgumentError"), (rings, "LookupError")):
            with capture_output() as shown:
                shell.run_cell(f"{line}\n{cell}")
            assert error in shown.stdout and "execute_with_callbacks" not in shown.stdout
            assert "interrupt.py" not in shown.stdout and "overrides.py" not in shown.stdout
    finally:
        signal.signal(signal.SIGINT, before)
        shell.run_cell("%tfdevice -q auto")
    assert "_get_exc_info" not in vars(shell)


def test_a_cell_that_opens_a_scope_by_hand_does_not_keep_it(split: Any) -> None:
    split.run("%%tfdevice CPU:2\nscope = tf.device('CPU:1'); scope.__enter__()")
    assert split.run(WHERE).text.strip() == "'CPU:0'"


@pytest.mark.parametrize(
    "line, said",
    [
        ("%tfdevice GPU:0", "There is no device 'GPU:0'. There are: CPU:0"),
        ("%tfdevice /job:worker/task:0", "There are: CPU:0, CPU:1, CPU:2."),
        ("%tfdevice bad name", "no place for 'name'"),
        ("%tfdevice --polt", "Did you mean --plot?"),
        ("%%tfdevice CPU:7\nran = True", "There is no device 'CPU:7'"),
        ("%%tfdevice\nran = True", "%%tfdevice needs a device"),
        ("%%tfdevice CPU:1\n \n", "no cell to run"),
    ],
)
def test_a_wrong_use_is_answered_in_one_line(split: Any, line: str, said: str) -> None:
    ran = split.run(line)
    assert said in ran.text
    assert "UsageError" in ran.text and "Traceback" not in ran.text
    assert "ran" not in split.run("sorted(set(globals()) & {'ran'})").text


# --- settings ----------------------------------------------------------------------------


def test_threads_are_set_and_told(split: Any) -> None:
    assert "threads: 2 within an op, 1 between ops" in split.run("%tfdevice").text


def test_a_setting_that_is_so_already_is_no_error(split: Any) -> None:
    ran = split.run("%tfdevice --split CPU=3 --threads 2")
    assert "it is set already" in ran.text and "UsageError" not in ran.text


def test_a_setting_that_comes_too_late_gives_the_cell_to_begin_with(split: Any) -> None:
    ran = split.run("%tfdevice --split CPU=4")
    assert "--split CPU=4 comes too late" in ran.text
    assert "%load_ext tfmagic\n%tfdevice --split CPU=4" in ran.text + ran.html


@pytest.mark.parametrize(
    "line, said",
    [
        ("--split CPU", "write the device and a number"),
        ("--split CPU=0", "from 1 to 64"),
        ("--split CPU=many", "from 1 to 64"),
        ("--split TPU=2", "There is no device 'TPU'"),
        ("--limit CPU=4GB", "cannot limit the memory of a CPU"),
        ("--limit GPU:0=4GB", "There is no device 'GPU:0'"),
        ("--growth", "no GPU here"),
        ("--threads two", "--threads two: write a number"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(shell: Any, line: str, said: str) -> None:
    with capture_output() as out:
        shell.run_cell(f"%tfdevice {line}")
    assert said in out.stdout + out.stderr and "Traceback" not in out.stdout + out.stderr


@pytest.mark.parametrize(
    "given, megabytes",
    [
        ("4GB", 3814),
        ("4GiB", 4096),
        ("4gib", 4096),
        ("512MiB", 512),
        ("1.5 GiB", 1536),
        ("1T", 953674),
    ],
)
def test_sizes_are_read_in_their_units(given: str, megabytes: int) -> None:
    assert setup._megabytes("GPU:0", given) == megabytes


# --- names and scripts -------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    ["CPU:0", "cpu:0", "CPU", "/CPU:0", "/device:CPU:0", " CPU:0 ", "/job:localhost/device:CPU:0",
     "/job:localhost/replica:0/task:0/device:CPU:0", "/job:localhost/task:0", "localhost:0"],
)  # fmt: skip
def test_a_name_may_be_written_in_every_usual_way(given: str) -> None:
    assert placing.resolve(given) == "/job:localhost/replica:0/task:0/device:CPU:0"


@pytest.mark.parametrize("given", ["GPU:9", "", "CPU:0x", "'; DROP", "/job:/task:", "🚀" * 200])
def test_another_name_is_refused_in_one_line(given: str) -> None:
    with pytest.raises(DeviceError) as caught:
        placing.resolve(given)
    assert "CPU:0" in str(caught.value) and "\n" not in str(caught.value)


def test_a_block_in_a_script() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with tfmagic.device("CPU:0") as name:
            assert (tf.ones([2]) + 1).device == name
    with pytest.raises(ZeroDivisionError), tfmagic.device("CPU:0"):
        1 / 0
    with pytest.raises(DeviceError), tfmagic.device("GPU:5"):
        pass


def test_a_block_warns_of_what_overrode_it(split: Any) -> None:
    code = """
import warnings
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    with tfmagic.device("CPU:1"):
        v.assign_add(tf.ones([512, 512]))
print(seen[0].message, seen[0].filename == __import__("inspect").currentframe().f_code.co_filename)
"""
    assert "on CPU:0, where the variable or dataset lives (line 5). True" in split.run(code).printed


def test_looking_changes_nothing(shell: Any) -> None:
    shell.run_cell("import tensorflow as tf; tf.random.set_seed(1); a = tf.random.normal([2])")
    shell.run_cell("tf.random.set_seed(1)")
    before = set(shell.user_ns)
    with capture_output():
        shell.run_line_magic("tfdevice", "")
    assert set(shell.user_ns) == before
    shell.run_cell("b = tf.random.normal([2])")
    assert shell.user_ns["a"].numpy().tolist() == shell.user_ns["b"].numpy().tolist()
