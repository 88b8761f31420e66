"""Which workers are meant: addresses, ``TF_CONFIG``, a ClusterSpec, a resolver."""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

from tfmagic.errors import ClusterError
from tfmagic.runtime.cluster.patience import TooLong, within
from tfmagic.runtime.cluster.probe import address_of

__all__ = ["Target", "targets"]

JOB = "worker"
#: Seconds that a resolver may take; one for a cloud asks over the network.
_PATIENCE = 10.0


class Target(NamedTuple):
    """One worker to be joined."""

    job: str
    task: int
    address: str


def targets(given: Any) -> tuple[Target, ...]:
    """The workers that ``given`` stands for.

    ``"grpc://host:port,host:port"``, ``"TF_CONFIG"`` (the environment variable), a
    ``tf.train.ClusterSpec`` or its dictionary, or a cluster resolver.  Raises
    :class:`~tfmagic.errors.ClusterError` for anything else, and for what names no worker.
    """
    if isinstance(given, str):
        found = _of_environment() if given.strip() == "TF_CONFIG" else _of_text(given)
    elif hasattr(given, "cluster_spec"):
        found = _of_resolver(given)
    elif hasattr(given, "as_dict"):
        found = _of_jobs(given.as_dict())
    elif isinstance(given, dict):
        found = _of_jobs(given)
    else:
        raise ClusterError("cluster.not_a_cluster", type=type(given).__name__)
    if not found:
        raise ClusterError("cluster.no_workers")
    return found


def _of_text(given: str) -> tuple[Target, ...]:
    parts = [part.strip() for part in given.split(",") if part.strip()]
    return tuple(Target(JOB, i, _address(part)) for i, part in enumerate(parts))


def _address(given: str) -> str:
    place = address_of(given)
    if place is None:
        raise ClusterError("cluster.address", given=given[:100])
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _of_jobs(jobs: Any) -> tuple[Target, ...]:
    found = []
    for job, tasks in jobs.items():
        if not str(job).isidentifier() or not isinstance(tasks, (list, tuple, dict)):
            raise ClusterError("cluster.bad_spec", detail=f"{job!r}: {tasks!r}"[:100])
        numbered = tasks.items() if isinstance(tasks, dict) else enumerate(tasks)
        found += [Target(str(job), int(task), _address(str(where))) for task, where in numbered]
    return tuple(found)


def _of_environment() -> tuple[Target, ...]:
    """``TF_CONFIG`` without this process itself, where it is one of the tasks."""
    text = os.environ.get("TF_CONFIG", "")
    if not text.strip():
        raise ClusterError("cluster.no_tf_config")
    try:
        config = json.loads(text)
        jobs = config.get("cluster") or {}
        task = config.get("task") or {}
        own = (task.get("type"), int(task.get("index", -1)))
    except (ValueError, AttributeError, TypeError) as error:
        raise ClusterError("cluster.bad_tf_config", detail=str(error)[:200]) from None
    if not isinstance(jobs, dict):
        raise ClusterError("cluster.bad_tf_config", detail="cluster")
    return tuple(target for target in _of_jobs(jobs) if (target.job, target.task) != own)


def _of_resolver(resolver: Any) -> tuple[Target, ...]:
    name = type(resolver).__name__
    try:
        spec = within(_PATIENCE, resolver.cluster_spec)
        jobs = spec.as_dict() if spec is not None else {}
    except TooLong:
        raise ClusterError("cluster.resolver_slow", name=name, seconds=_PATIENCE) from None
    except Exception as error:  # each resolver fails in its own way
        detail = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
        raise ClusterError("cluster.resolver", name=name, detail=detail) from None
    if not jobs:
        raise ClusterError("cluster.resolver", name=name, detail="{}")
    return _of_jobs(jobs)
