"""Traced functions, SavedModels, Keras archives and GraphDefs, read as recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

tf = pytest.importorskip("tensorflow")

from tfmagic import api  # noqa: E402
from tfmagic.errors import LoadError, OptionError  # noqa: E402
from tfmagic.model import Recording  # noqa: E402
from tfmagic.runtime.compiled import graphdef  # noqa: E402
from tfmagic.runtime.tape.graph_subject import subject_of  # noqa: E402

v = tf.Variable([1.0, 2.0])


@tf.function
def inner(y: Any) -> Any:
    return tf.tanh(y) * v


@tf.function
def branching(x: Any) -> Any:
    s = x
    for _ in tf.range(5):
        if tf.reduce_sum(s) > 3.0:  # noqa: SIM108 - a branch for AutoGraph
            s = s * v
        else:
            s = inner(s)
    return s


@tf.function
def counting(x: Any) -> Any:
    v.assign_add(x)


def traced(function: Any, *args: Any) -> Recording:
    names = {"f": function, "args": args, "v": v}
    found = subject_of("f(*args)", lambda: names).traced
    assert found is not None
    return found


def scopes(recording: Recording, op_type: str) -> list[str]:
    return [op.scope for op in recording.ops if op.type == op_type]


def test_bodies_of_functions_loops_and_branches_stand_inside() -> None:
    recording = traced(branching, tf.constant([1.0, 2.0]))
    assert scopes(recording, "Tanh") == ["while/body/if/else/inner()"]
    assert scopes(recording, "Mul") == ["while/body/if/then", "while/body/if/else/inner()"]
    assert scopes(recording, "Less") == ["while/test"]
    assert not scopes(recording, "Range"), "what AutoGraph left over leads nowhere"
    assert "with no values" in recording.notes[0]


def test_the_body_takes_what_the_call_was_given() -> None:
    recording = traced(branching, tf.constant([1.0, 2.0]))
    (weight,) = recording.variables
    assert (weight.name, weight.shape, weight.trainable) == ("v", (2,), True)
    users = {recording.ops[op].type for _, op in recording.variable_edges()}
    assert "Mul" in users
    (tanh,) = [op for op in recording.ops if op.type == "Tanh"]
    assert [recording.tensors[t].name for t in tanh.inputs] == ["x"]


def test_a_recording_of_a_graph_survives_json() -> None:
    recording = traced(branching, tf.constant([1.0, 2.0]))
    assert api.load(recording.to_json()) == recording


def test_a_function_is_shown_eager_and_traced_with_autographs_code() -> None:
    before = v.numpy().tolist()
    names = {"f": branching, "tf": tf}
    subject = subject_of("f(tf.constant([1., 2.]))", lambda: names)
    assert subject.recording is not None and subject.traced is not None
    assert {op.type for op in subject.recording.ops} & {"While", "If"} == set()
    assert "ag__.if_stmt" in subject.code
    pair = api.graph(subject, "f")
    text = pair.text(width=100, colour=False)
    assert text.index("Eager:") < text.index("Traced:")
    assert "ag__.if_stmt" in pair.html() and v.numpy().tolist() == before


def test_a_function_that_changes_a_variable_does_so_once() -> None:
    before = v.numpy().copy()
    recording = traced(counting, tf.constant([1.0, 1.0]))
    assert (v.numpy() == before + 1).all()
    assert recording.variables[0].assigned_by
    v.assign(before)


def test_a_function_with_a_signature_needs_no_arguments() -> None:
    signed = tf.function(lambda x: x * 2.0, input_signature=[tf.TensorSpec([None])])
    view = api.graph(signed)
    assert any(node.title == "Mul" for node in view.graph.nodes)


def test_a_saved_model_is_read_without_being_run(tmp_path: Path) -> None:
    module = tf.Module()
    module.w = tf.Variable([[1.0], [2.0]], name="w")
    module.f = tf.function(
        lambda x: tf.matmul(x, module.w), input_signature=[tf.TensorSpec([None, 2])]
    )
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=module.f)
    recording = subject_of(str(tmp_path / "saved"), dict).recording
    assert recording is not None
    assert [op.type for op in recording.ops if op.type == "MatMul"] == ["MatMul"]
    assert any(name == "w" for name, _ in recording.variable_edges())


def test_a_keras_archive_and_a_graph_def(tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.save(tmp_path / "m.keras")
    archived = subject_of(str(tmp_path / "m.keras"), dict).recording
    assert archived is not None and "MatMul" in {op.type for op in archived.ops}
    graph = branching.get_concrete_function(tf.zeros(2)).graph.as_graph_def()
    (tmp_path / "g.pb").write_bytes(graph.SerializeToString())
    (tmp_path / "g.pbtxt").write_text(str(graph))
    for name in ("g.pb", "g.pbtxt"):
        found = subject_of(str(tmp_path / name), dict).recording
        assert found is not None and "Tanh" in {op.type for op in found.ops}


def test_nodes_in_any_order_are_put_in_order(tmp_path: Path) -> None:
    graph = branching.get_concrete_function(tf.zeros(2)).graph.as_graph_def()
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend(reversed(nodes))
    (tmp_path / "g.pb").write_bytes(graph.SerializeToString())
    recording = subject_of(str(tmp_path / "g.pb"), dict).recording
    assert recording is not None
    for op in recording.ops:
        makers = [recording.tensors[t].op for t in op.inputs]
        assert all(maker is None or maker < op.index for maker in makers)


@pytest.mark.parametrize("name", ["bad.pb", "bad.keras", "bad.pbtxt", "none.pb", "folder"])
def test_what_is_no_model_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    for bad in ("bad.pb", "bad.keras", "bad.pbtxt"):
        (tmp_path / bad).write_text("hello <script>")
    with pytest.raises(LoadError) as caught:
        subject_of(str(tmp_path / name), dict)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_an_empty_graph_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty.pb").write_bytes(b"")
    with pytest.raises(LoadError, match="holds no graph"):
        subject_of(str(tmp_path / "empty.pb"), dict)


@pytest.mark.parametrize(("call", "says"), [("f", "Write the call"), ("f(1, 2)", "too many")])
def test_wrong_arguments_say_how_to_give_them(call: str, says: str) -> None:
    with pytest.raises(OptionError, match=says):
        subject_of(call, lambda: {"f": branching})


def test_a_function_that_runs_only_traced_shows_its_graph() -> None:
    @tf.function(autograph=False)
    def symbolic(x: Any) -> Any:
        x.graph
        return x * 2.0

    subject = subject_of("f(x)", lambda: {"f": symbolic, "x": tf.constant(1.0)})
    assert subject.recording is None and "AttributeError" in str(subject.note)
    assert "Mul" in api.graph(subject, "f").text()


def calling(*calls: tuple[str, str]) -> Any:
    """A GraphDef that calls the first function; each calls the function beside it twice."""
    graph = tf.compat.v1.GraphDef()
    graph.node.add(name="first", op="PartitionedCall").attr["f"].func.name = calls[0][0]
    for name, called in calls:
        function = graph.library.function.add()
        function.signature.name = name
        for turn in "ab":
            node = function.node_def.add(name=turn, op="PartitionedCall")
            node.attr["f"].func.name = called
    return graph


def test_a_function_that_calls_itself_is_left_as_one_op(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphdef, "MOST", 500)
    recording = graphdef.read(calling(("f", "f")))
    assert {op.type for op in recording.ops} == {"PartitionedCall"}
    assert "left as one op" in recording.notes[1]


def test_bodies_that_multiply_without_an_op_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphdef, "MOST", 500)
    graph = calling(*((f"f{n}", f"f{n + 1}") for n in range(30)))
    graph.library.function.add().signature.name = "f30"  # does nothing at all
    recording = graphdef.read(graph)
    assert len(recording.ops) < 100 and "left as one op" in recording.notes[1]


def test_an_op_is_not_believed_to_give_more_than_there_is_room_for() -> None:
    graph = tf.compat.v1.GraphDef()
    graph.node.add(name="s", op="Split").attr["num_split"].i = 2**62
    (op,) = graphdef.read(graph).ops
    assert len(op.outputs) <= 10_000


def test_a_shape_that_no_tensor_can_have_is_unknown() -> None:
    graph = tf.compat.v1.GraphDef()
    node = graph.node.add(name="x", op="Placeholder")
    node.attr["dtype"].type = 1
    for axes in (254, 255):
        del node.attr["_output_shapes"].list.shape[:]
        shape = node.attr["_output_shapes"].list.shape.add()
        shape.MergeFrom(tf.TensorShape([1] * axes).as_proto())
        (tensor,) = graphdef.read(graph).tensors
        assert tensor.shape == ((1,) * axes if axes == 254 else None)
