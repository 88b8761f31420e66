"""What a namespace, a module or a model holds, and how a value becomes a tensor."""

from __future__ import annotations

from dataclasses import dataclass

from tfmagic.model.heat import Heat
from tfmagic.model.value import UNKNOWN, Value


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a value since a cell began.

    ``norm`` is the Euclidean norm of the difference, 0 where nothing changed; with
    ``sampled`` it was worked out on evenly spaced elements and scaled up.  ``new`` says
    that the name was not there, ``kind`` or ``shape`` that it held something of another
    kind or shape.  Where nothing is said, the value could not be compared.
    """

    norm: float | None = None
    sampled: bool = False
    new: bool = False
    kind: str = ""
    shape: tuple[int | None, ...] | None = None


@dataclass(frozen=True, slots=True)
class Holding:
    """One tensor, variable, array, dataset, module, model or optimizer by its name.

    ``depth`` is its place in a tree, 0 for the outermost.  ``bytes`` and ``parameters``
    (elements of trainable variables) of a module are those of all variables in it, each
    counted once.  ``bins`` are the counts of an eight-part histogram from ``min`` to
    ``max`` of the finite elements.  ``same`` are other names of the very same object,
    ``shares`` names of others that stand on the same memory.  ``change`` is None where
    nothing is there to compare with.  ``heat`` is there where one value alone is looked at.
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
    change: Change | None = None
    note: str = ""
    heat: Heat | None = None


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything found, with totals in which each variable counts once.

    ``since`` is the cell whose changes are told (``In [8]``), empty where none are.
    ``gone`` are the names that were there when it began and are not now, ``uncompared``
    the number of values for which there was no room to keep them.  ``alone`` says that
    one tensor, variable or array was looked at, ``only`` by which word it was filtered.
    """

    holdings: tuple[Holding, ...]
    title: str = ""
    variables: int = 0
    parameters: int = 0
    bytes: int = 0
    since: str = ""
    gone: tuple[str, ...] = ()
    uncompared: int = 0
    alone: bool = False
    only: str = ""

    def to_json(self) -> str:
        """The inventory as versioned JSON; :func:`tfmagic.load` reads it back."""
        from tfmagic.model.serial import to_json

        return to_json(self)


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

    def to_json(self) -> str:
        """The conversion as versioned JSON; :func:`tfmagic.load` reads it back."""
        from tfmagic.model.serial import to_json

        return to_json(self)
