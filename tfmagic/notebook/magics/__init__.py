"""The magics, a family to a file: each parses its line, and calls the function behind it."""

from tfmagic.notebook.magics.base import Family
from tfmagic.notebook.magics.bench import BenchMagics
from tfmagic.notebook.magics.device import DeviceMagics
from tfmagic.notebook.magics.graph import GraphMagics
from tfmagic.notebook.magics.step import StepMagics
from tfmagic.notebook.magics.tape import TapeMagics
from tfmagic.notebook.magics.variables import VariableMagics

FAMILIES: tuple[type[Family], ...] = (
    TapeMagics,
    GraphMagics,
    VariableMagics,
    StepMagics,
    BenchMagics,
    DeviceMagics,
)

__all__ = ["FAMILIES", "Family"]
