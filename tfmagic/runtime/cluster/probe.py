"""Asking a worker whether it is there, without TensorFlow's runtime and with an end to it.

Four questions, each only where the one before was answered: does the port take a
connection; does it greet as gRPC does; does it answer TensorFlow's own question after a
worker's status; does it run the ops of others.
"""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass
from typing import Any

__all__ = ["Answer", "Channel", "address_of", "probe"]

#: Seconds in which a worker must have answered all four questions.
PATIENCE = 3.0
#: What a client of HTTP/2 says first: its preface, and a frame of settings without any.
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
_SETTINGS = 4
_STATUS = "/tensorflow.WorkerService/GetStatus"
#: Ops come by another service, which older releases lack: TensorFlow would wait for it for ever.
_OPS = "/tensorflow.eager.EagerService/KeepAlive"
_NO_CONTEXT = b"\x09" + bytes(8)  # asked for a session that there cannot be


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; ``reason`` is empty where all is well, else ``detail`` is further word.

    ``incarnation`` is another one each time that a worker starts, ``seconds`` how long the
    answer took, ``devices`` the kind, hardware and memory (bytes) of each device there.
    """

    reason: str = ""
    detail: str = ""
    incarnation: int = 0
    seconds: float = 0.0
    devices: tuple[tuple[str, str, int], ...] = ()


def address_of(given: str) -> tuple[str, int] | None:
    """Host and port of ``grpc://host:port`` or ``[::1]:port``; None where it is neither."""
    host, sign, port = given.strip().removeprefix("grpc://").rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not sign or not host or any(c in host for c in " /@,") or not port.isdecimal():
        return None
    return (host, int(port)) if 0 < int(port) < 2**16 else None


def probe(address: str, patience: float = PATIENCE) -> Answer:
    """Ask the worker at ``address`` (``host:port``) all four questions."""
    end = time.monotonic() + patience
    place = address_of(address)
    if place is None:
        return Answer("address", address)
    refusal = _greet(place, end)
    if refusal is not None:
        return refusal
    with contextlib.closing(Channel(address)) as channel:
        answer = channel.ask(max(0.1, end - time.monotonic()))
        return answer if answer.reason else channel.takes_ops(answer, _left(end))


def _greet(place: tuple[str, int], end: float) -> Answer | None:
    """None where the port greets as a gRPC server does."""
    try:
        with socket.create_connection(place, timeout=_left(end)) as line:
            line.sendall(_GREETING)
            heard = _hear(line, 9, end)
    except socket.gaierror as error:
        return Answer("no_host", error.strerror or str(error))
    except ConnectionRefusedError:
        return Answer("refused")
    except (ConnectionResetError, BrokenPipeError):
        return Answer("closed")
    except TimeoutError:
        return Answer("no_answer")
    except OSError as error:
        return Answer("failed", error.strerror or str(error))
    if heard is None:
        return Answer("silent")
    if not heard:
        return Answer("closed")
    if len(heard) < 9 or heard[3] != _SETTINGS:
        return Answer("not_grpc", heard.decode("ascii", "replace"))
    return None


def _hear(line: socket.socket, count: int, end: float) -> bytes | None:
    """The next ``count`` bytes, fewer where the other side hangs up; None where nothing comes."""
    heard = b""
    while len(heard) < count:
        line.settimeout(_left(end))
        try:
            more = line.recv(count - len(heard))
        except TimeoutError:
            return heard or None
        if not more:
            break
        heard += more
    return heard


def _left(end: float) -> float:
    return max(0.05, end - time.monotonic())


class Channel:
    """A line of our own to one worker, over which it can be asked again and again."""

    def __init__(self, address: str) -> None:
        import grpc

        options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
        self._channel: Any = grpc.insecure_channel(address, options=options)
        self._ask = self._channel.unary_unary(_STATUS)

    def ask(self, patience: float) -> Answer:
        """The worker's status, within ``patience`` seconds."""
        import grpc

        start = time.monotonic()
        try:
            told = self._ask(b"", timeout=patience)
        except grpc.RpcError as error:
            return _refusal(error)
        except ValueError:  # the channel was closed meanwhile
            return Answer("closed")
        return _status(told, time.monotonic() - start)

    def takes_ops(self, answer: Answer, patience: float) -> Answer:
        """``answer``, where this worker also knows how to run the ops of others."""
        import grpc

        try:
            self._channel.unary_unary(_OPS)(_NO_CONTEXT, timeout=patience)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return Answer("no_worker", "no EagerService")
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return Answer("silent")
        return answer  # that it knows no such session is the right answer

    def close(self) -> None:
        """Hang up."""
        self._channel.close()


def _refusal(error: Any) -> Answer:
    name, detail = error.code().name, (error.details() or "").partition("\n")[0][:200]
    if name == "UNAVAILABLE":
        return Answer("refused" if "refused" in detail.lower() else "gone", detail)
    if name == "DEADLINE_EXCEEDED":
        return Answer("silent")
    return Answer("no_worker", f"{name}: {detail}".rstrip(": "))


def _status(told: bytes, seconds: float) -> Answer:
    """A status reply is a list of devices, each in its field 1."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.framework import device_attributes_pb2

    found = []
    try:
        for part in _fields(told):
            device = device_attributes_pb2.DeviceAttributes.FromString(part)
            found.append(device)
    except (DecodeError, IndexError):
        found = []
    if not found:
        return Answer("no_worker", "no device in its status")
    devices = tuple((d.device_type, d.physical_device_desc, d.memory_limit) for d in found)
    return Answer("", "", found[0].incarnation, seconds, devices)


def _fields(message: bytes) -> list[bytes]:
    """Every field 1 of a serialized message in which it is the only one."""
    parts, at = [], 0
    while at < len(message):
        if message[at] != 0x0A:  # field 1, of a length that follows
            raise IndexError
        size, at = _varint(message, at + 1)
        parts.append(message[at : at + size])
        at += size
    return parts


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
