"""Look inside TensorFlow from a notebook."""
__version__ = "0.1.0"
