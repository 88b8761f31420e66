"""What an op of a type does, where TensorFlow's registration does not say it of a recording."""

from __future__ import annotations

import re

__all__ = ["ASSIGNS", "PYTHON", "READS", "SHAPES"]

#: Ops that change a variable; its handle is their first input.  They are registered as stateful
#: like those that only read it.
ASSIGNS = re.compile(
    r"Assign\w*VariableOp|Resource(?:Apply|SparseApply|Scatter|StridedSliceAssign)\w*"
)
#: Ops that read a variable through its handle and leave it as it is.
READS = frozenset({"ReadVariableOp", "ResourceGather", "ResourceGatherNd"})
#: Ops that run Python of the user's: what is done there is not seen.
PYTHON = frozenset({"EagerPyFunc", "PyFunc", "PyFuncStateless"})
#: Ops that take a tensor for its shape alone.
SHAPES = frozenset({"Shape", "ShapeN", "Size", "Rank", "VariableShape"})
