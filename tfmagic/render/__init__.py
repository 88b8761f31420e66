"""Recordings made visible: text, HTML, DOT, SVG and files, without TensorFlow."""
