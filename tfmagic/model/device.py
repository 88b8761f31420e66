"""The places where work can run, and what decides which of them it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Device:
    """One device as TensorFlow sees it; all sizes are in bytes.

    ``name`` is what ``tf.device`` takes.  ``limit`` is the most that may be used there: the
    machine's memory for a CPU.  Where ``used`` and ``peak`` are None, ``unknown`` says why:
    ``"not_started"``, ``"remote"``, ``"dead"``, or TensorFlow's own words.  ``sharing`` is the
    number of devices that the same hardware was split into.  ``address`` is that of the worker
    of a remote device, ``alive`` whether it answers (None where nobody asked), ``round_trip`` the
    seconds that its last answer took.
    """

    name: str
    kind: str
    hardware: str = ""
    capability: str = ""
    cores: int | None = None
    used: int | None = None
    peak: int | None = None
    limit: int | None = None
    unknown: str = ""
    variables: int = 0
    variable_bytes: int = 0
    default: bool = False
    sharing: int = 1
    address: str = ""
    alive: bool | None = None
    round_trip: float | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """What TensorFlow goes by.

    ``started`` says that its devices are made: what is split or limited stays so until the
    kernel restarts.  ``soft`` is soft placement: an op that cannot run where it was sent runs
    elsewhere.  ``growth`` are the devices that take memory as they need it.  ``jit`` is
    TensorFlow's automatic compiling by XLA.  Threads are 0 where TensorFlow chooses.
    """

    started: bool
    soft: bool = True
    growth: tuple[str, ...] = ()
    jit: bool = False
    intra_threads: int = 0
    inter_threads: int = 0


@dataclass(frozen=True, slots=True)
class Devices:
    """Every device there is, and the policy.

    ``default`` is the device that the session was told to use, or empty where TensorFlow
    chooses for each op.  ``elsewhere`` counts variables on devices that are gone.
    """

    devices: tuple[Device, ...]
    policy: Policy
    default: str = ""
    elsewhere: int = 0

    def names(self) -> tuple[str, ...]:
        """The devices as ``tf.device`` takes them."""
        return tuple(device.name for device in self.devices)
