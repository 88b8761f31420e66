"""Frozen data: what a recording is, and nothing that needs TensorFlow to be read.

Everything here is plain, immutable and written to JSON without loss.  No object
holds a live tensor, so a recording can be kept, sent and drawn anywhere.
"""

from tfmagic.model.bench import Bench, Comparison, Machine, Timing
from tfmagic.model.derivative import Check, Hessian, Histogram, Jacobian
from tfmagic.model.gradient import Gradient, GradientCall, TapeEvent
from tfmagic.model.graph import Cluster, Edge, Graph, Node
from tfmagic.model.recording import (
    Body,
    Cell,
    Exit,
    Failure,
    Frame,
    Gap,
    Line,
    Op,
    Places,
    Recording,
    TensorInfo,
    TracedFunction,
    VariableInfo,
)
from tfmagic.model.run import BadValue, Pairing, Run, Series, Trial
from tfmagic.model.serial import FORMAT_VERSION, from_json, to_json
from tfmagic.model.trace import Frozen, Trace
from tfmagic.model.value import Stats, Value
from tfmagic.model.verdict import Probe, Repair, Tried, Verdict

__all__ = [
    "FORMAT_VERSION",
    "BadValue",
    "Bench",
    "Body",
    "Cell",
    "Check",
    "Cluster",
    "Comparison",
    "Edge",
    "Exit",
    "Failure",
    "Frame",
    "Frozen",
    "Gap",
    "Gradient",
    "GradientCall",
    "Graph",
    "Hessian",
    "Histogram",
    "Jacobian",
    "Line",
    "Machine",
    "Node",
    "Op",
    "Pairing",
    "Places",
    "Probe",
    "Recording",
    "Repair",
    "Run",
    "Series",
    "Stats",
    "TapeEvent",
    "TensorInfo",
    "Timing",
    "Trace",
    "TracedFunction",
    "Trial",
    "Tried",
    "Value",
    "VariableInfo",
    "Verdict",
    "from_json",
    "to_json",
]
