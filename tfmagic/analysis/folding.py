"""The ways to fold a graph, by name: apart, so that an option can list them and import nothing."""

from __future__ import annotations

__all__ = ["WAYS"]

#: What the user can fold by; ``"auto"`` is all of it.
WAYS = ("auto", "scope", "function", "line")
