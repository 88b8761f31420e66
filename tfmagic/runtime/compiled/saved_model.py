"""Graphs in files: a SavedModel folder, a Keras archive, a GraphDef.

A SavedModel and a GraphDef are only read, never run; a Keras archive is loaded in Keras's
safe mode and called on zeros.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfmagic.errors import LoadError
from tfmagic.model import Recording
from tfmagic.runtime.compiled import graphdef

__all__ = ["ENDINGS", "is_saved", "read"]

ENDINGS = (".keras", ".pb", ".pbtxt")
_SAVED_MODEL = "saved_model.pb"


def is_saved(text: str) -> bool:
    """Whether ``text`` is a place in the file system, rather than an expression."""
    if not text or "\n" in text or "\0" in text or len(text) > 4096:
        return False
    path = Path(text).expanduser()
    try:
        there = path.exists()
    except OSError:
        return False
    return path.suffix.lower() in ENDINGS or (there and ("/" in text or path.is_dir()))


def read(text: str) -> Recording | Any:
    """The recording of the graph in a file or folder, or the Keras model in an archive.

    Raises :class:`~tfmagic.errors.LoadError`, one line, for what is no model.
    """
    path = Path(text).expanduser()
    try:
        there = path.exists()
    except OSError as error:  # in a folder that may not be looked into
        raise LoadError("load.no_file", path=path, detail=error.strerror or str(error)) from None
    if not there:
        raise LoadError("graph.no_file", path=path)
    if path.is_dir():
        if not (path / _SAVED_MODEL).is_file():
            raise LoadError("graph.no_saved_model", path=path)
        return _saved_model(path / _SAVED_MODEL)
    if not path.is_file():
        raise LoadError("graph.no_plain_file", path=path)
    if path.suffix.lower() == ".keras":
        return _keras(path)
    if path.suffix.lower() in (".pb", ".pbtxt"):
        return _saved_model(path) if path.name == _SAVED_MODEL else _graph_def(path)
    raise LoadError("graph.no_model", path=path, known=", ".join(ENDINGS))


def _keras(path: Path) -> Any:
    import keras

    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        raise LoadError("graph.broken_model", path=path, detail=_line(error)) from None


def _graph_def(path: Path) -> Recording:
    import tensorflow as tf
    from google.protobuf import text_format

    graph = tf.compat.v1.GraphDef()
    try:
        if path.suffix.lower() == ".pbtxt":
            text_format.Parse(path.read_text(encoding="utf-8"), graph)
        else:
            graph.ParseFromString(path.read_bytes())
    except Exception as error:
        raise LoadError("graph.broken_model", path=path, detail=_line(error)) from None
    if not graph.node:
        raise LoadError("graph.empty_model", path=path)
    return graphdef.read(graph)


def _saved_model(path: Path) -> Recording:
    """The graph of its signature, without loading it."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString(path.read_bytes())
        meta = saved.meta_graphs[0]
    except Exception as error:
        raise LoadError("graph.broken_model", path=path, detail=_line(error)) from None
    signatures = dict(meta.signature_def)
    signatures.pop("__saved_model_init_op", None)
    name = "serving_default" if "serving_default" in signatures else next(iter(signatures), "")
    outputs = [tensor.name for tensor in signatures[name].outputs.values()] if name else None
    if not meta.graph_def.node:
        raise LoadError("graph.empty_model", path=path)
    return graphdef.read(meta.graph_def, outputs=outputs)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
