"""The stopwatch: from a statement to times that can be trusted.

:mod:`statement` makes it runnable, :mod:`variant` places it on a device and compiles it,
:mod:`schedule` decides what is run when and knows neither TensorFlow nor a real clock,
:mod:`measure` puts them together.
"""

from tfmagic.runtime.timer.measure import Request, measure
from tfmagic.runtime.timer.schedule import Plan
from tfmagic.runtime.timer.statement import keras_subjects, subject

__all__ = ["Plan", "Request", "keras_subjects", "measure", "subject"]
