"""A process that forges graphs in files and has each of them shown, as ``%tfgraph FILE`` does.

It prints one line of JSON before each file and one after it, so that whoever reads knows which
file was the last where TensorFlow takes the process down::

    {"seed": 7, "how": ["cycle", "flip"]}
    {"outcome": "picture"}

``python tests/trust/forge.py FOLDER FIRST COUNT`` tries the seeds from ``FIRST`` on.
"""

from __future__ import annotations

import json
import random
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tfmagic import api
from tfmagic.errors import TfmagicError
from tfmagic.runtime.compiled import graphdef
from tfmagic.runtime.tape.graph_subject import subject_of

#: Bytes that the process may use, so that a file that asks for more is an error here alone.
MEMORY = 3 << 30
#: Seconds after which one file is a hang; a picture of one takes a hundredth of it.
PATIENCE = 20
#: Bytes beyond which a graph is not written as text, which takes fifty times as long to read.
TEXT = 1 << 17
HOSTILE = [
    "",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    '\\N\\"; rm -rf ~ #',
    "\u202e\x00\x1b[31m",
    "a/" * 3000,
    "////",
    "::::1",
    "^^^",
    "한글" * 200,
    "x" * 100_000,
]
NUMBERS = [-(2**63), -1, 0, 7, 10**6, 2**31, 2**63 - 1]
DTYPES = [0, 1, 3, 7, 20, 21, 101, 9999]


# --- what is forged ----------------------------------------------------------------------


def honest(folder: Path) -> bytes:
    """The SavedModel of a function with a loop, a branch, a call and a list."""
    module = tf.Module()
    module.w = tf.Variable([[1.0, 2.0], [3.0, 4.0]], name="w")

    @tf.function
    def inner(x: Any) -> Any:
        return tf.tanh(x @ module.w)

    @tf.function(input_signature=[tf.TensorSpec([None, 2], name="x")])
    def f(x: Any) -> Any:
        for _ in tf.range(3):
            x = inner(x) if tf.reduce_sum(x) > 1.0 else x + 1.0
        first, second = tf.split(x, 2, axis=1)
        return tf.concat([first, second, tf.constant([[0.5]] * 1)], axis=0)

    tf.saved_model.save(module, str(folder), signatures=f)
    return (folder / "saved_model.pb").read_bytes()


def spread(saved: Any) -> tuple[Any, list[Any]]:
    """The graph, and the lists of nodes in it: its own and those of its functions."""
    graph = saved.meta_graphs[0].graph_def
    return graph, [graph.node, *(f.node_def for f in graph.library.function)]


class Hang(BaseException):
    """One file took too long; nothing that mends an ``Exception`` may take it for its own."""


Mutation = Callable[[random.Random, Any], None]


def some(draw: random.Random, saved: Any) -> tuple[Any, list[Any]]:
    """A node, and the list in which it stands."""
    _, lists = spread(saved)
    nodes = draw.choice([part for part in lists if len(part)])
    return draw.choice(nodes), nodes


def doubled(draw: random.Random, saved: Any) -> None:
    node, nodes = some(draw, saved)
    nodes.add().CopyFrom(node)


def renamed(draw: random.Random, saved: Any) -> None:
    node, nodes = some(draw, saved)
    node.name = draw.choice([*HOSTILE, draw.choice(nodes).name])


def cycle(draw: random.Random, saved: Any) -> None:
    node, nodes = some(draw, saved)
    node.input.append(draw.choice(nodes).name)
    draw.choice(nodes).input.append(node.name)


def fed_by_itself(draw: random.Random, saved: Any) -> None:
    node, _ = some(draw, saved)
    node.input.insert(0, node.name + draw.choice(["", ":0", ":output:0", ":9999999999999999999"]))


def dangling(draw: random.Random, saved: Any) -> None:
    node, _ = some(draw, saved)
    if len(node.input):
        node.input[draw.randrange(len(node.input))] = draw.choice([*HOSTILE, "nobody:3"])
    node.input.append(draw.choice(HOSTILE))


def starved(draw: random.Random, saved: Any) -> None:
    del some(draw, saved)[0].input[:]


def other_op(draw: random.Random, saved: Any) -> None:
    known = ["Const", "While", "If", "PartitionedCall", "VarHandleOp", "Split", "ReadVariableOp"]
    known += ["Placeholder", "NextIteration", "Merge", "NoSuchOp", "_Arg", "IdentityN", "Identity"]
    some(draw, saved)[0].op = draw.choice([*known, *HOSTILE])


def other_place(draw: random.Random, saved: Any) -> None:
    some(draw, saved)[0].device = draw.choice(HOSTILE)


def attr(draw: random.Random, saved: Any) -> Any:
    """An attribute of a node that has some."""
    for _ in range(50):
        node, _ = some(draw, saved)
        if node.attr:
            return node.attr[draw.choice(sorted(node.attr))]
    return node.attr["T"]


def other_attr(draw: random.Random, saved: Any) -> None:
    value = attr(draw, saved)
    kind = draw.choice(["i", "s", "type", "b", "f", "func", "gone", "placeholder"])
    value.Clear()
    if kind == "i":
        value.i = draw.choice(NUMBERS)
    elif kind == "s":
        value.s = draw.choice([b"\xff\xfe\x00", *(text.encode() for text in HOSTILE)])
    elif kind == "type":
        value.type = draw.choice(DTYPES)
    elif kind == "f":
        value.f = draw.choice([float("nan"), float("inf"), -0.0])
    elif kind == "func":
        value.func.name = draw.choice(HOSTILE)
    elif kind == "placeholder":
        value.placeholder = draw.choice(HOSTILE)


def many(draw: random.Random, saved: Any) -> None:
    """An op that says it gives more tensors than there is memory."""
    node, _ = some(draw, saved)
    node.op, name = draw.choice([("Split", "num_split"), ("Unpack", "num"), ("ShapeN", "N")])
    node.attr[name].i = draw.choice(NUMBERS)


def other_shape(draw: random.Random, saved: Any) -> None:
    node, _ = some(draw, saved)
    shape = node.attr["_output_shapes"].list.shape.add() if draw.random() < 0.5 else None
    for made in [shape] if shape is not None else node.attr["_output_shapes"].list.shape:
        for _ in range(draw.choice([1, 5, 40])):
            made.dim.add().size = draw.choice(NUMBERS)


def flat_out(draw: random.Random, saved: Any) -> None:
    """A shape of a hundred thousand dimensions."""
    node, _ = some(draw, saved)
    shape = tf.compat.v1.TensorShape([1] * 1000).as_proto()
    for _ in range(7):
        shape.MergeFrom(shape)
    node.attr["shape"].shape.CopyFrom(shape)
    del node.attr["_output_shapes"].list.shape[:]
    node.attr["_output_shapes"].list.shape.add().CopyFrom(shape)


def other_constant(draw: random.Random, saved: Any) -> None:
    node, _ = some(draw, saved)
    node.op, tensor = "Const", node.attr["value"].tensor
    tensor.dtype = draw.choice(DTYPES)
    for _ in range(draw.choice([0, 1, 2, 70])):
        tensor.tensor_shape.dim.add().size = draw.choice(NUMBERS)
    tensor.tensor_content = draw.randbytes(draw.randrange(64))
    tensor.string_val.append(draw.choice(HOSTILE).encode())


def function(draw: random.Random, saved: Any) -> None:
    """A call of itself, of what calls it, of nobody."""
    graph, _ = spread(saved)
    chosen, called = (draw.choice(graph.library.function) for _ in range(2))
    node = draw.choice(chosen.node_def)
    node.op, name = draw.choice(
        [
            ("PartitionedCall", "f"),
            ("StatefulPartitionedCall", "f"),
            ("While", "body"),
            ("While", "cond"),
            ("If", "else_branch"),
        ]
    )
    node.attr[name].func.name = draw.choice([chosen, called]).signature.name


def bomb(draw: random.Random, saved: Any) -> None:
    """Functions that each call the next one often."""
    graph, _ = spread(saved)
    for level in range(25):
        made = graph.library.function.add()
        made.signature.name = f"bomb{level}"
        for turn in range(8):
            node = made.node_def.add(name=f"n{turn}", op="PartitionedCall")
            node.attr["f"].func.name = f"bomb{level + 1}"
    graph.node.add(name="fuse", op="PartitionedCall").attr["f"].func.name = "bomb0"
    saved.meta_graphs[0].ClearField("signature_def")


def chain(draw: random.Random, saved: Any) -> None:
    """Five hundred functions, each of which calls the next."""
    graph, _ = spread(saved)
    for level in range(500):
        made = graph.library.function.add()
        made.signature.name = f"chain{level}"
        made.node_def.add(name="n", op="PartitionedCall").attr["f"].func.name = f"chain{level + 1}"
    graph.node.add(name="first", op="PartitionedCall").attr["f"].func.name = "chain0"
    saved.meta_graphs[0].ClearField("signature_def")


def signature(draw: random.Random, saved: Any) -> None:
    meta = saved.meta_graphs[0]
    for name in list(meta.signature_def):
        for output in meta.signature_def[name].outputs.values():
            output.name = draw.choice(HOSTILE)
    if draw.random() < 0.3:
        meta.ClearField("signature_def")


def results(draw: random.Random, saved: Any) -> None:
    graph, _ = spread(saved)
    chosen = draw.choice(graph.library.function)
    for name in list(chosen.ret):
        chosen.ret[name] = draw.choice([*HOSTILE, "a:b:c:d", "x:-1"])


GRAPHS: list[Mutation] = [
    *(doubled, renamed, cycle, fed_by_itself, dangling, starved, other_op, other_place),
    *(other_attr, many, other_shape, flat_out, other_constant, function, bomb, chain),
    *(signature, results),
]


def flip(draw: random.Random, data: bytes) -> bytes:
    found = bytearray(data)
    for _ in range(draw.choice([1, 8, 100])):
        found[draw.randrange(len(found))] ^= 1 << draw.randrange(8)
    return bytes(found)


def cut(draw: random.Random, data: bytes) -> bytes:
    return data[: draw.randrange(len(data))]


def moved(draw: random.Random, data: bytes) -> bytes:
    start, end, to = sorted(draw.randrange(len(data)) for _ in range(3))
    return data[:start] + data[end:to] + data[start:end] + data[to:]


def noise(draw: random.Random, data: bytes) -> bytes:
    return draw.randbytes(draw.choice([0, 1, 100, 10_000]))


BYTES = [flip, cut, moved, noise]


# --- the files ---------------------------------------------------------------------------


def forged(seed: int, data: bytes, folder: Path) -> tuple[list[str], Path]:
    """How a file was forged, and where it stands: a ``.pb``, a ``.pbtxt`` or a folder.

    The mutations take turns, so that a few files meet every one.
    """
    draw = random.Random(seed)
    saved = saved_model_pb2.SavedModel.FromString(data)
    others = draw.choices(GRAPHS, k=draw.choice([0, 0, 1, 3]))
    chosen = [GRAPHS[seed % len(GRAPHS)], *others] if draw.random() < 0.75 else []
    for mutation in chosen:
        mutation(draw, saved)
    kind = draw.choice([*[".pb"] * 5, ".pbtxt", "folder", "folder"])
    if kind == ".pbtxt" and saved.ByteSize() > TEXT:
        kind = ".pb"
    place = folder if kind == "folder" else folder / f"graph{kind}"
    file = folder / "saved_model.pb" if kind == "folder" else place
    message = saved if kind == "folder" else saved.meta_graphs[0].graph_def
    content = str(message).encode() if kind == ".pbtxt" else message.SerializeToString()
    how = [kind, *(mutation.__name__ for mutation in chosen)]
    if not chosen:
        damage = draw.choice(BYTES)
        content = damage(draw, content)
        how.append(damage.__name__)
    file.write_bytes(content)
    return how, place


def shown(place: Path) -> str:
    """What became of a file: a picture, one line, or what must not be."""
    try:
        view = api.graph(subject_of(str(place), dict), place.name, budget=0.3)
        page = view.html()
    except TfmagicError as error:
        line = str(error)
        return "line" if len(line) < 300 and line.isprintable() else f"no line: {line!r}"
    except BaseException:
        return traceback.format_exc()[-3000:]
    if any(text in page for text in ("<script>alert", "<img src=x", "\x00")):
        return "not escaped"
    return "picture" if len(page) < 3_000_000 else f"{len(page)} characters"


def main(folder: Path, first: int, count: int) -> None:
    def give_up(*_: Any) -> None:
        raise Hang(f"more than {PATIENCE} seconds")

    signal.signal(signal.SIGALRM, give_up)
    graphdef.MOST = 300  # the same limit, reached sooner
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    data = honest(folder)
    for seed in range(first, first + count):
        how, place = forged(seed, data, folder)
        print(json.dumps({"seed": seed, "how": how}), flush=True)
        signal.alarm(PATIENCE)
        outcome = shown(place)
        signal.alarm(0)
        print(json.dumps({"outcome": outcome}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
