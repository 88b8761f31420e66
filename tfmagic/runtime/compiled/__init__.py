"""Graphs: what a ``tf.function`` is traced into, what runs inside one, and graphs in files."""
