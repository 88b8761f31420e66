"""Experiments on a recording: a cause is named where the same with one thing changed shows it."""
