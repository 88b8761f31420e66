"""The sockets of this process: kept to this machine, or cut where nobody answers any more.

TensorFlow opens its port to every network and offers no way to say otherwise, and it waits
for ever on a line whose other end has fallen silent.  Both are set right on its sockets.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys
from collections.abc import Iterator

from tfmagic.runtime.cluster.probe import address_of

__all__ = ["cut", "keep_to_this_machine"]

_FOLDERS = ("/proc/self/fd", "/dev/fd")
_BIND_TO_DEVICE = 25  # SO_BINDTODEVICE, which Python's socket module names on some builds only


def keep_to_this_machine(port: int) -> bool:
    """Have whatever listens on ``port`` in this process hear this machine alone.

    False where the system offers no way to do so (other than Linux), or nothing listens.
    """
    done = []
    for line in _sockets():
        with line:
            if _listens_on(line, port):
                done.append(_bind_to_loopback(line))
    return bool(done) and all(done)


def _bind_to_loopback(line: socket.socket) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        line.setsockopt(socket.SOL_SOCKET, _BIND_TO_DEVICE, b"lo\0")
    except OSError:
        return False
    return True


def _listens_on(line: socket.socket, port: int) -> bool:
    try:
        if not line.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return False
        return bool(line.getsockname()[1] == port)
    except (OSError, IndexError, TypeError):
        return False


def cut(address: str) -> int:
    """Hang up every line to ``address``: whoever waits on one gets an error. Answers how many."""
    place = address_of(address)
    if place is None:
        return 0
    try:
        known = {info[4][:2] for info in socket.getaddrinfo(*place, type=socket.SOCK_STREAM)}
    except OSError:
        return 0
    count = 0
    for line in _sockets():
        with line:
            if _peer(line) in known:
                with contextlib.suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)
                    count += 1
    return count


def _peer(line: socket.socket) -> tuple[str, int] | None:
    try:
        host, port, *_ = line.getpeername()
    except (OSError, ValueError, TypeError):
        return None
    return str(host).removeprefix("::ffff:"), int(port)


def _sockets() -> Iterator[socket.socket]:
    """Every internet socket of this process, TensorFlow's among them, as one of Python's."""
    folder = next((folder for folder in _FOLDERS if os.path.isdir(folder)), "")
    for name in os.listdir(folder) if folder else ():
        with contextlib.suppress(OSError, ValueError):
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                line = socket.socket(fileno=os.dup(int(name)))
                if line.family in (socket.AF_INET, socket.AF_INET6):
                    yield line
                else:
                    line.close()
