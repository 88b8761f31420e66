"""``tfmagic worker``: a TensorFlow server that others can send ops to."""

from __future__ import annotations

import socket
from typing import Any

from tfmagic.errors import ClusterError
from tfmagic.runtime.cluster.lines import keep_to_this_machine

__all__ = ["HERE", "serve"]

HERE = ("127.0.0.1", "localhost", "::1")


def serve(host: str, port: int) -> tuple[Any, int]:
    """A running ``tf.distribute.Server`` and its port; 0 picks a free one.

    Where ``host`` is this machine itself, the port hears nobody else.  Raises
    :class:`~tfmagic.errors.ClusterError` where that cannot be had, or the port is taken.
    """
    import tensorflow as tf

    port = port or _free_port()
    _try_port(port)
    config = tf.compat.v1.ConfigProto()
    config.gpu_options.allow_growth = True  # two workers may share a card
    cluster = {"worker": [f"{host}:{port}"]}
    try:
        server = tf.distribute.Server(
            cluster, job_name="worker", task_index=0, config=config, start=False
        )
    except tf.errors.OpError as error:
        detail = error.message.partition("\n")[0][:200]
        raise ClusterError("cluster.port_used", port=port, detail=detail) from None
    if host in HERE and not keep_to_this_machine(port):
        raise ClusterError("cluster.no_loopback", host="0.0.0.0")
    server.start()
    return server, port


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _try_port(port: int) -> None:
    """TensorFlow says of a port that is taken only that something did not work."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except (OSError, OverflowError) as error:
            detail = getattr(error, "strerror", None) or str(error)
            raise ClusterError("cluster.port_used", port=port, detail=detail) from None
