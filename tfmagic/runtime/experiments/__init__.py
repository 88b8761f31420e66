"""Experiments on what was recorded: a cause is named when a run with that one thing changed shows it."""
