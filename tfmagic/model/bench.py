"""What was timed, how long it took, and on which machine: plain data, with every raw time."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "MODES",
    "Bench",
    "Comparison",
    "Machine",
    "OpTime",
    "Remark",
    "SelfTest",
    "Timing",
]

#: The ways to run a statement.
MODES = ("eager", "function", "xla")


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to say about a figure: ``bench.CODE`` of the catalogue, and its values."""

    code: str
    values: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, code: str, **values: object) -> Remark:
        """``Remark.of("spoilt", n=3)``."""
        return cls(code, tuple((name, str(value)) for name, value in values.items()))


@dataclass(frozen=True, slots=True)
class OpTime:
    """Ops of one type on inputs of the same ``shapes``: ``count`` in a run, seconds for one.

    ``reason`` says why there is no time: ``"random"``, ``"python"``, ``"state"``, ``"failed"``,
    ``"interrupted"`` or ``"many"`` (too many different ops to time them all).
    """

    type: str
    shapes: str
    count: int
    seconds: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Timing:
    """One variant (device, mode, point of a sweep) and what was measured of it.

    All times are in seconds and for one run of the statement.  ``times`` are the blocks in
    the order they were taken, each the mean over ``loops`` runs; block ``i`` belongs to
    round ``rounds[i]``, in which every variant had its turn.  ``spoilt`` are the blocks that
    are left out, with the cause that was seen (``"gc"``, ``"preempted"``).

    ``median`` stands in the range ``low`` … ``high``, which would hold it in 95 % were the machine
    always as in this run, and is widened by the drift that a self-test found; ``effective`` is
    the number of independent blocks that the kept ones are worth.  ``stopped`` says why no more
    were taken: ``"precise"``, ``"time"``, ``"asked"``, ``"interrupted"`` or ``"raised"``.

    ``naive`` is the mean by ``time.time()`` around ``naive_loops`` runs without waiting for
    the device; ``latency`` one run alone, until its result is there; ``sync`` the cost of
    waiting for an idle device.  ``first`` is the very first run, ``trace`` the tracing
    before it, ``first_use`` the first op on this device.

    In the first run ``tracing`` went into tracing, and ``preparing`` into what comes before a
    traced graph runs for the first time: it is placed, optimised, and compiled where ``xla``
    does that.  ``inside`` is the part of a later run in which compiled functions run, ``calls``
    the first of these where a run is mostly that, ``method`` the method of Keras's that called.

    ``flops`` are the floating-point operations of one run, at least so many unless
    ``flops_whole``; ``peak`` is the most that the device can do in a second.  ``memory`` is
    what one run held at its peak, in bytes.  ``op_times`` are its ops, each by itself.
    """

    device: str
    mode: str = "eager"
    point: tuple[tuple[str, float], ...] = ()
    loops: int = 0
    rounds: tuple[int, ...] = ()
    times: tuple[float, ...] = ()
    spoilt: tuple[tuple[int, str], ...] = ()
    median: float | None = None
    low: float | None = None
    high: float | None = None
    effective: float = 0.0
    stopped: str = ""
    naive: float | None = None
    naive_loops: int = 0
    latency: float | None = None
    sync: float | None = None
    first_use: float | None = None
    trace: float | None = None
    first: float | None = None
    tracing: float = 0.0
    preparing: float = 0.0
    xla: bool = False
    inside: float | None = None
    calls: str = ""
    method: str = ""
    asynchronous: bool = False
    flops: float | None = None
    flops_whole: bool = True
    peak: float | None = None
    memory: int | None = None
    op_times: tuple[OpTime, ...] = ()
    problem: str = ""
    detail: str = ""
    remarks: tuple[Remark, ...] = ()

    @property
    def name(self) -> str:
        """``GPU:0 function``, as a table names the variant; without its point.

        A run that is mostly the call of a ``tf.function`` is not called eager: ``CPU:0
        tf.function``, or ``CPU:0 fit()`` where a method of Keras's calls it.
        """
        if self.mode != "eager" or not self.calls:
            return f"{self.device} {self.mode}"
        return f"{self.device} {self.method}()" if self.method else f"{self.device} tf.function"

    @property
    def spread(self) -> float | None:
        """Half the interval's width as a share of the median; None where there is none."""
        if self.median is None or self.low is None or self.high is None or not self.median:
            return None
        return (self.high - self.low) / 2 / self.median


@dataclass(frozen=True, slots=True)
class Comparison:
    """Variant ``b`` against ``a``: ``ratio`` is b's time over a's, with its interval.

    ``verdict`` is said of b: ``"faster"``, ``"slower"``, ``"same"`` or ``"unclear"``, and
    ``reason`` (a key of the catalogue under ``bench.``) says on what grounds.
    """

    a: str
    b: str
    verdict: str
    reason: str
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    pairs: int = 0
    values: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured; ``devices`` are name and model of what was used."""

    system: str = ""
    processor: str = ""
    cores: int = 0
    memory: int = 0
    python: str = ""
    tensorflow: str = ""
    load: float | None = None
    devices: tuple[tuple[str, str], ...] = ()

    def differs(self, other: Machine) -> tuple[str, ...]:
        """The fields, of those that make times incomparable, in which the two differ."""
        fields = ("system", "processor", "cores", "python", "tensorflow")
        return tuple(f for f in fields if getattr(self, f) != getattr(other, f))


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What the stopwatch can tell apart on one machine; differences are shares of the time.

    Of ``pairs`` of the same work ``claimed`` were said to differ.  In 95 % of them the two
    differed by less than ``within`` where they took turns, by less than ``between`` where one
    was measured after the other.  ``drift`` is by how much single measurements lie around the
    median of them all in 95 %: what their intervals are widened by, in quadrature.  ``found``
    are known differences with the share of tries in which they were found; from ``resolvable``
    on it is 90 %, or None.
    """

    machine: Machine = Machine()
    when: str = ""
    pairs: int = 0
    claimed: int = 0
    within: float | None = None
    between: float | None = None
    drift: float | None = None
    found: tuple[tuple[float, float], ...] = ()
    resolvable: float | None = None

    def to_json(self) -> str:
        """All of it as JSON text."""
        from tfmagic.model.serial import to_json

        return to_json(self)


@dataclass(frozen=True, slots=True)
class Bench:
    """A whole measurement: the statement, its variants, and how it was taken.

    ``budget`` is the number of seconds that each variant was given at each point, ``seconds``
    what all of it took.  ``selftest`` is what a self-test on the same machine found, or None
    where none was made.
    """

    statement: str
    setup: str = ""
    timings: tuple[Timing, ...] = ()
    machine: Machine = Machine()
    when: str = ""
    budget: float = 0.0
    seconds: float = 0.0
    transfer: bool = False
    cold: bool = False
    selftest: SelfTest | None = None
    remarks: tuple[Remark, ...] = ()

    def to_json(self) -> str:
        """All of it as JSON text, which :func:`tfmagic.load` reads back."""
        from tfmagic.model.serial import to_json

        return to_json(self)
