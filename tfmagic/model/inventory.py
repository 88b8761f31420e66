"""What a namespace, a module or a model holds, and how a value becomes a tensor."""

from __future__ import annotations

from dataclasses import dataclass

from tfmagic.model.value import UNKNOWN, Value


@dataclass(frozen=True, slots=True)
class Holding:
    """One tensor, variable, array, dataset, module, model or optimizer by its name.

    ``depth`` is its place in a tree, 0 for the outermost.  ``bytes`` and ``parameters``
    (elements of trainable variables) of a module are those of all variables in it, each
    counted once.  ``bins`` are the counts of an eight-part histogram from ``min`` to
    ``max`` of the finite elements.  ``same`` are other names of the very same object,
    ``shares`` names of others that stand on the same memory.  ``change`` is the Euclidean
    norm of the difference since the last look; None where it is not known.
    """

    name: str
    kind: str
    type: str
    depth: int = 0
    shape: tuple[int | None, ...] | None = None
    dtype: str = ""
    device: str = ""
    bytes: int | None = None
    trainable: bool | None = None
    parameters: int = 0
    value: Value = UNKNOWN
    bins: tuple[int, ...] = ()
    same: tuple[str, ...] = ()
    shares: tuple[str, ...] = ()
    change: float | None = None
    new: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything found, with totals in which each variable counts once.

    ``gone`` are the names that the last look had and this one has not, ``uncompared`` the
    number of values that were too large to be kept for comparing.
    """

    holdings: tuple[Holding, ...]
    title: str = ""
    variables: int = 0
    parameters: int = 0
    bytes: int = 0
    compared: bool = False
    gone: tuple[str, ...] = ()
    uncompared: int = 0


@dataclass(frozen=True, slots=True)
class Conversion:
    """How one value becomes a tensor.

    ``rule`` names the reason for the dtype; ``left`` are the tensors of the expression that
    became numpy in it: there the tape ends.  ``lost`` is the largest difference between
    what was given and what the tensor holds.  ``meets`` is the dtype of its product with a
    float32 tensor, or empty where TensorFlow refuses, with ``refusal`` saying why.
    """

    expression: str
    type: str
    rule: str
    dtype: str = ""
    shape: tuple[int | None, ...] | None = None
    lost: float | None = None
    meets: str = ""
    refusal: str = ""
    left: tuple[str, ...] = ()
    error: str = ""
