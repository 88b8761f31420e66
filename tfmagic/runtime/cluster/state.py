"""The workers that this process has joined, and which of them still answer."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tfmagic.errors import ClusterError, DeviceError
from tfmagic.language import Message
from tfmagic.runtime import private
from tfmagic.runtime.cluster import lines
from tfmagic.runtime.cluster.patience import TooLong, all_within, within
from tfmagic.runtime.cluster.probe import PATIENCE, Answer, Channel, probe
from tfmagic.runtime.cluster.resolve import Target, targets
from tfmagic.runtime.devices import placing

__all__ = ["Worker", "connect", "disconnect", "lost", "workers"]

#: Seconds for TensorFlow to join or leave workers that answered just now.
_JOINING = 10.0
#: Seconds for TPUs to be made ready.
_TPUS = 120.0
#: Seconds between two looks at every worker, and for its answer.
_PAUSE, _LOOK = 0.5, 1.5
#: A worker that takes calls but does not answer so often in a row counts as lost.
_SILENCES = 3
_GONE = ("refused", "gone", "closed", "no_worker", "failed")


@dataclass(slots=True)
class Worker:
    """One worker; ``lost`` says why it no longer counts, and is None while it answers."""

    target: Target
    told: Answer
    channel: Channel
    lost: Answer | None = None
    silences: int = 0
    left: bool = False

    @property
    def name(self) -> str:
        """``worker:0``, as its devices begin."""
        return f"{self.target.job}:{self.target.task}"

    @property
    def prefix(self) -> str:
        """``/job:worker/replica:0/task:0``."""
        return f"/job:{self.target.job}/replica:0/task:{self.target.task}"

    def look(self, patience: float) -> None:
        """Ask it, and note where it is lost."""
        answer = self.channel.ask(patience)
        if not answer.reason:
            self.silences = 0
            if answer.incarnation == self.told.incarnation:
                self.told = answer
            else:
                self.lost = Answer("restarted")
        elif answer.reason == "silent":
            self.silences += 1
            if self.silences >= _SILENCES:
                self.lost = Answer("gone")
        elif answer.reason in _GONE:
            self.lost = answer


class _Cluster:
    """What is joined, and the thread that looks after it."""

    def __init__(self) -> None:
        self.workers: list[Worker] = []
        self.stop = threading.Event()
        self.thread: threading.Thread | None = None

    def alive(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.lost is None]

    def watch(self) -> None:
        if self.thread is None or not self.thread.is_alive():
            self.stop = threading.Event()
            self.thread = threading.Thread(
                target=self._watch, args=(self.stop,), daemon=True, name="tfmagic-workers"
            )
            self.thread.start()

    def _watch(self, stop: threading.Event) -> None:
        """Look at every worker now and then; a line to a lost one is cut, so nobody waits."""
        while not stop.wait(_PAUSE):
            for worker in self.alive():
                with contextlib.suppress(Exception):
                    worker.look(_LOOK)
            for worker in self.workers:
                if worker.lost is not None and not worker.left:
                    lines.cut(worker.target.address)

    def end(self) -> None:
        self.stop.set()
        self.thread = None


_cluster = _Cluster()


def workers() -> tuple[Worker, ...]:
    """Every worker that was joined and not left, the lost ones among them."""
    return tuple(_cluster.workers)


# --- joining -------------------------------------------------------------------------------


def connect(given: Any) -> tuple[Worker, ...]:
    """Join the workers that ``given`` stands for (see ``resolve.targets``); all that are joined.

    One that was lost and runs again is joined anew.  Nothing is joined where one of them does
    not answer: then :class:`~tfmagic.errors.ClusterError` names each, with the reason.
    """
    wanted = _numbered(targets(given))
    answers = _asked(wanted)
    kept = {w.target: w for w in _cluster.alive()}
    fresh = [
        target
        for target in wanted
        if target not in kept or kept[target].told.incarnation != answers[target].incarnation
    ]
    if fresh:
        replaced = {(target.job, target.task) for target in fresh}
        staying = [w for w in _cluster.alive() if (w.target.job, w.target.task) not in replaced]
        if len(staying) < len(_cluster.alive()):
            _join([w.target for w in staying])  # a worker that came back is another one
        _join([*(w.target for w in staying), *fresh])
        joined = [Worker(target, answers[target], Channel(target.address)) for target in fresh]
        _tried(joined, staying)
        _cluster.workers = [*staying, *joined]
        _cluster.watch()
    if hasattr(given, "tpu_hardware_feature"):
        _start_tpus(given)
    return workers()


def _start_tpus(resolver: Any) -> None:
    """TPUs compute nothing before they have been made ready; that takes a while."""
    try:
        within(_TPUS, lambda: private.start_tpus(resolver))
    except TooLong:
        raise ClusterError("cluster.too_long", seconds=_TPUS) from None
    except Exception as error:  # TensorFlow has many ways to say that it could not
        raise ClusterError("cluster.failed", detail=_first_line(error)) from None


def _numbered(wanted: Sequence[Target]) -> tuple[Target, ...]:
    """Addresses that are known keep their numbers; others get those that are free."""
    known = {w.target.address: w.target for w in _cluster.workers}
    taken = {(w.target.job, w.target.task): w.target.address for w in _cluster.alive()}
    found = []
    for target in wanted:
        same = known.get(target.address)
        if same is not None and same.job == target.job:
            target = same
        while taken.get((target.job, target.task), target.address) != target.address:
            target = target._replace(task=target.task + 1)
        taken[target.job, target.task] = target.address
        found.append(target)
    return tuple(dict.fromkeys(found))


def _asked(wanted: Sequence[Target]) -> dict[Target, Answer]:
    """The answer of each; :class:`ClusterError` that names every one without."""
    asking = [partial(probe, target.address) for target in wanted]
    answers: dict[Target, Answer] = {}
    refusals = []
    for target, answer in zip(wanted, all_within(PATIENCE + 1.0, asking), strict=True):
        if isinstance(answer, TooLong):
            answer = Answer("silent")
        elif isinstance(answer, BaseException):
            raise answer
        answers[target] = answer
        if answer.reason:
            refusals.append(Message.of("cluster.refusal", address=target.address, why=why(answer)))
    if refusals:
        raise ClusterError("cluster.unreachable", workers="; ".join(map(str, refusals)))
    return answers


def why(answer: Answer) -> Message:
    """The reason."""
    return Message.of(f"cluster.why_{answer.reason}", detail=answer.detail, seconds=PATIENCE)


def _join(wanted: Sequence[Target]) -> None:
    """Have TensorFlow know these workers and no others."""
    jobs: dict[str, dict[int, str]] = {}
    for target in wanted:
        jobs.setdefault(target.job, {})[target.task] = target.address
    try:
        within(_JOINING, lambda: private.set_cluster(jobs))
    except TooLong:
        raise ClusterError("cluster.too_long", seconds=_JOINING) from None
    except Exception as error:  # TensorFlow has many ways to say that it could not
        raise ClusterError("cluster.failed", detail=_first_line(error)) from None
    port = private.own_port()
    if port:
        lines.keep_to_this_machine(port)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0][:300]


def _tried(joined: Sequence[Worker], staying: Sequence[Worker]) -> None:
    """Each new worker multiplies two small matrices; if one cannot, all new ones are left."""
    outcomes = all_within(PATIENCE, [partial(private.trial, w.prefix) for w in joined])
    failed = [
        (worker, "…" if isinstance(outcome, TooLong) else _first_line(outcome))
        for worker, outcome in zip(joined, outcomes, strict=True)
        if isinstance(outcome, Exception)
    ]
    if failed:
        for worker, _ in failed:
            lines.cut(worker.target.address)
        with contextlib.suppress(ClusterError):
            _join([w.target for w in staying])
        listed = "; ".join(f"{worker.target.address}: {detail}" for worker, detail in failed)
        raise ClusterError("cluster.trial", workers=listed, release=private.release())


# --- losing and leaving --------------------------------------------------------------------


def lost(patience: float = 0.5) -> tuple[Worker, ...]:
    """The workers that were lost since this was asked last; TensorFlow is told to do without.

    Local work and the other workers go on.  A default device on a lost worker is given up.
    """
    if not _cluster.workers:
        return ()
    all_within(2 * patience, [partial(w.look, patience) for w in _cluster.alive()])
    gone = [worker for worker in _cluster.workers if worker.lost is not None and not worker.left]
    for worker in gone:
        lines.cut(worker.target.address)
        if placing.default().startswith(worker.prefix + "/"):
            with contextlib.suppress(DeviceError):
                placing.set_default(None)
    if gone:
        with contextlib.suppress(ClusterError):
            _join([worker.target for worker in _cluster.alive()])
    for worker in gone:  # until here the watch goes on cutting lines, so that TensorFlow ends
        worker.left = True
    return tuple(gone)


def disconnect() -> tuple[Worker, ...]:
    """Leave every worker; those that were left."""
    left, _cluster.workers = tuple(_cluster.workers), []
    _cluster.end()
    if not left:
        return ()
    if any(placing.default().startswith(worker.prefix + "/") for worker in left):
        placing.set_default(None)
    for worker in left:
        worker.channel.close()
        if worker.lost is not None:
            lines.cut(worker.target.address)
    _join([])
    return left
