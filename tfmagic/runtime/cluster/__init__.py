"""Workers on other machines, by TensorFlow's own runtime: joined, watched, left.

TensorFlow waits for ever for a host that does not answer.  So each worker is asked from
here first, and every wait has an end.
"""

from tfmagic.runtime.cluster.state import Worker, connect, disconnect, lost, workers

__all__ = ["Worker", "connect", "disconnect", "lost", "workers"]
