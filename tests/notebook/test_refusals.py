"""Hosts that refuse, hang, or are something else: each one line, within seconds, TensorFlow unasked."""

from __future__ import annotations

import http.server
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import pytest
import tensorflow as tf

import tfmagic
from tfmagic.errors import ClusterError
from tfmagic.language import use
from tfmagic.runtime.cluster import lines, probe
from tfmagic.runtime.cluster.resolve import Target, targets
from tfmagic.runtime.devices import placing

PATIENCE = 60.0  # seconds, on the slowest machine: left to TensorFlow, these never end


@contextmanager
def listener(answer: bytes | None, *, hang_up: bool = False) -> Iterator[str]:
    """The address of a port that takes calls and says ``answer``, or nothing at all."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def serve() -> None:
            while True:
                try:
                    line, _ = server.accept()
                except OSError:
                    return
                held.append(line)
                if answer:
                    line.recv(64)
                    line.sendall(answer)
                if hang_up:
                    line.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for line in held:
            line.close()


@contextmanager
def website() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.RequestHandlerClass.log_message = lambda *_: None  # type: ignore[method-assign,assignment]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@contextmanager
def grpc_server(status: bytes | None) -> Iterator[str]:
    """A gRPC server that is no worker; with ``status`` it answers one question as a worker does."""
    import grpc

    class Status(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            if status is None or not details.method.endswith("/GetStatus"):
                return None
            return grpc.unary_unary_rpc_method_handler(lambda request, context: status)

    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[Status()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@contextmanager
def closed_port() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{free.getsockname()[1]}"


def refusal(address: str) -> str:
    before = placing.names()
    start = time.monotonic()
    with pytest.raises(ClusterError) as caught:
        tfmagic.connect(address)
    assert time.monotonic() - start < PATIENCE
    assert placing.names() == before
    said = str(caught.value)
    assert "\n" not in said and all(each in said for each in address.split(","))
    return said


CASES = {
    "closed": (closed_port, "refuses the connection"),
    "silent": (lambda: listener(None), "says nothing within 3 s"),
    "hangs up": (lambda: listener(None, hang_up=True), "hangs up at once"),
    "some words": (lambda: listener(b"SSH-2.0-OpenSSH_9.2\r\n"), "it says 'SSH-2.0-O'"),
    "website": (website, "something else than a TensorFlow worker"),
    "other service": (lambda: grpc_server(None), "is no TensorFlow worker"),
    "empty status": (lambda: grpc_server(b""), "is no TensorFlow worker"),
    "wrong status": (lambda: grpc_server(b"\x12\x00nonsense"), "is no TensorFlow worker"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_host_that_is_no_worker_is_named_with_the_reason(case: str) -> None:
    make, said = CASES[case]
    with make() as address:
        assert said in refusal(address)


def test_a_name_that_nobody_knows() -> None:
    assert "is not known as a host" in refusal("no-such-host.invalid:2222")


def test_every_refusing_worker_is_named_at_once() -> None:
    with closed_port() as one, listener(None) as two:
        said = refusal(f"{two},{one}")
        assert f"{one} refuses" in said and f"{two} takes the connection" in said


def test_a_worker_of_another_release_is_not_joined() -> None:
    """It answers the first question, but what TensorFlow would ask next is unknown to it."""
    from tensorflow.core.framework import device_attributes_pb2

    device = device_attributes_pb2.DeviceAttributes(name="/job:worker/x", device_type="CPU")
    part = device.SerializeToString()
    with grpc_server(b"\x0a" + bytes([len(part)]) + part) as address:
        assert "or one of another release (no EagerService)" in refusal(address)


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize(
    "reason",
    ["address", "no_host", "refused", "no_answer", "failed", "silent", "closed", "not_grpc",
     "no_worker", "gone", "restarted"],
)  # fmt: skip
def test_every_reason_can_be_said(language: str, reason: str) -> None:
    from tfmagic.runtime.cluster.state import why

    use(language)
    assert str(why(probe.Answer(reason, "<detail>"))).strip()


# --- which workers are meant -------------------------------------------------------------


def test_addresses_are_read() -> None:
    both = targets("grpc://a:1, b.example:22")
    assert both == (Target("worker", 0, "a:1"), Target("worker", 1, "b.example:22"))
    assert targets("grpc://[::1]:5") == (Target("worker", 0, "[::1]:5"),)


def test_a_configuration_in_the_environment_leaves_this_process_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = {"chief": ["c:1"], "worker": ["a:1", "b:1"], "ps": ["p:1"]}
    task = {"type": "chief", "index": 0}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
    found = [(t.job, t.task) for t in targets("TF_CONFIG")]
    assert found == [("worker", 0), ("worker", 1), ("ps", 0)]


def test_a_resolver_and_a_spec_are_read() -> None:
    spec = tf.train.ClusterSpec({"worker": ["a:1"]})
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(spec)
    assert targets(spec) == targets(resolver) == (Target("worker", 0, "a:1"),)


class Failing:
    def cluster_spec(self) -> Any:
        raise RuntimeError("metadata server\nis not there")


@pytest.mark.parametrize(
    "given, said",
    [
        ("grpc://", "is not an address"),
        ("host", "is not an address"),
        ("host:0", "is not an address"),
        ("host:99999", "is not an address"),
        ("user@host:1", "is not an address"),
        (" , ", "No worker is named"),
        (3, "A int names no workers"),
        ({"worker": "a:1"}, "cannot be read"),
        ({"a b": ["a:1"]}, "cannot be read"),
        (Failing(), "Failing names no workers: RuntimeError: metadata server"),
        (tf.distribute.cluster_resolver.TFConfigClusterResolver(), "names no workers"),
    ],
)
def test_what_names_no_worker_is_refused(
    given: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ClusterError) as caught:
        targets(given)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[]", '{"cluster": 3}', '{"task": {"index": "x"}}', ""])
def test_a_broken_configuration_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ClusterError) as caught:
        targets("TF_CONFIG")
    assert "\n" not in str(caught.value)


# --- sockets -----------------------------------------------------------------------------


def test_a_line_is_cut_at_both_ends_and_others_stay() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        mine = socket.create_connection(server.getsockname())
        kept = socket.create_connection(other.getsockname())
        theirs, _ = other.accept()
        with mine, kept, theirs:
            assert lines.cut(f"127.0.0.1:{server.getsockname()[1]}") == 1
            assert mine.recv(1) == b""
            theirs.sendall(b"!")
            assert kept.recv(1) == b"!"


def test_nothing_is_cut_for_an_address_without_a_line() -> None:
    assert lines.cut("127.0.0.1:9") == lines.cut("nonsense") == lines.cut("no-such.invalid:1") == 0


# --- the command -------------------------------------------------------------------------

RESTRICTED = """
from tfmagic.runtime.cluster import lines, serve
server, port = serve.serve("127.0.0.1", 0)
found = [s.getsockopt(1, 25, 16) for s in lines._sockets() if lines._listens_on(s, port)]
print(found and all(name == b"lo\\0" for name in found))
"""


def test_a_worker_hears_this_machine_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", RESTRICTED], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "True"


def test_a_worker_says_how_to_join_it_and_ends_with_ctrl_c(start: Any) -> None:
    (worker,) = start(1)
    assert f"%tfdevice --connect grpc://{worker.address}" in worker.printed
    assert "Only this machine can reach it" in worker.printed
    worker.process.send_signal(signal.SIGINT)
    assert worker.process.wait(30) == 0


def test_a_worker_for_other_machines_warns() -> None:
    command = [sys.executable, "-m", "tfmagic", "worker", "--host", "0.0.0.0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout
        printed = "".join(process.stdout.readline() for _ in range(3))
        process.kill()
    assert "no password and no encryption" in printed


def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "tfmagic", "worker", "--port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and f"Port {port} cannot be opened" in done.stderr
