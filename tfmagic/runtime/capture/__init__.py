"""Listening while a cell runs: to ops, tapes and what leaves TensorFlow, unfelt by the cell."""
