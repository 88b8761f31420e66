"""Every private TensorFlow name that tfmagic leans on, in this one file.

TensorFlow promises nothing about these names.  Each stands in :data:`NAMES` with
what it is for, :func:`probe` says which of them this release has, and the rest of
the package reaches them only through the functions here.  Importing this module
imports TensorFlow.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfmagic.errors import TensorFlowMissing
from tfmagic.language import Message

try:
    import tensorflow as tf
except ImportError:
    raise TensorFlowMissing("tensorflow.missing") from None

OLDEST = (2, 16)


@dataclass(frozen=True, slots=True)
class PrivateName:
    """``module`` and ``attribute`` of a private name, and the ``feature`` it serves: the key of
    its words in ``feature.toml``.  Without one that is ``needed`` nothing can be recorded."""

    module: str
    attribute: str
    feature: str
    needed: bool = False


_FRAMEWORK, _EAGER = "tensorflow.python.framework.", "tensorflow.python.eager."
_C = "tensorflow.python.pywrap_tfe"
_OPS = _FRAMEWORK + "ops"
_RANDOM = "tensorflow.python.ops.stateful_random_ops"
_SESSION = "tensorflow.python.client.pywrap_tf_session"
_CONTEXT = _EAGER + "context"
_FUNCTION = _EAGER + "polymorphic_function.concrete_function"

NAMES = {
    "add_callback": PrivateName(_FRAMEWORK + "op_callbacks", "add_op_callback", "recording", True),
    "remove_callback": PrivateName(
        _FRAMEWORK + "op_callbacks", "remove_op_callback", "recording", True
    ),
    "context": PrivateName(_CONTEXT, "context", "recording", True),
    "eager_tensor": PrivateName(_OPS, "EagerTensor", "recording", True),
    "tensor_id": PrivateName(_OPS, "EagerTensor._id", "recording", True),
    "tensor_dtype": PrivateName(_OPS, "EagerTensor._datatype_enum", "recording", True),
    "tensor_shape": PrivateName(_OPS, "EagerTensor._shape_tuple", "recording", True),
    "tensor_size": PrivateName(_OPS, "EagerTensor._num_elements", "recording", True),
    "variable": PrivateName(
        "tensorflow.python.ops.resource_variable_ops", "BaseResourceVariable", "recording", True
    ),
    "gradient_function": PrivateName(_EAGER + "backprop", "_gradient_function", "backward"),
    "register_gradient": PrivateName(_C, "TFE_Py_RegisterGradientFunction", "backward"),
    "record_gradient": PrivateName(_EAGER + "execute", "record_gradient", "later"),
    "execute": PrivateName(_EAGER + "execute", "execute", "replay"),
    "record_operation": PrivateName(_EAGER + "record", "record_operation", "custom"),
    "could_record": PrivateName(_EAGER + "record", "could_possibly_record", "open_tapes"),
    "stop_recording": PrivateName(_EAGER + "record", "stop_recording", "unseen"),
    "call_flat": PrivateName(_FUNCTION, "ConcreteFunction._call_flat", "functions"),
    "tensor_profiler": PrivateName(_C, "TFE_Py_SetEagerTensorProfiler", "threads"),
    "view": PrivateName(_OPS, "EagerTensor._numpy_internal", "values"),
    "op_defs": PrivateName(_FRAMEWORK + "op_def_registry", "get", "attributes"),
    "tensor_methods": PrivateName(_OPS, "_EagerTensorBase", "exits"),
    "tape_push": PrivateName(_EAGER + "backprop", "GradientTape._push_tape", "tapes"),
    "tape_pop": PrivateName(_EAGER + "backprop", "GradientTape._pop_tape", "tapes"),
    "gradient_registry": PrivateName(_OPS, "_gradient_registry", "verdicts"),
    "called_function": PrivateName(_OPS, "Graph._get_function", "verdicts"),
    "async_wait": PrivateName(_CONTEXT, "async_wait", "timing"),
    "capture_threshold": PrivateName(
        "tensorflow.core.function.capture.capture_container", "_EAGER_CONST_THRESHOLD", "timing"
    ),
    "generator": PrivateName(_RANDOM, "Generator", "random"),
    "handle": PrivateName(_CONTEXT, "Context._handle", "memory"),
    "list_devices": PrivateName(_C, "TFE_ContextListDevices", "memory"),
    "device_count": PrivateName(_SESSION, "TF_DeviceListCount", "memory"),
    "device_name": PrivateName(_SESSION, "TF_DeviceListName", "memory"),
    "device_sizes": PrivateName(_SESSION, "TF_DeviceListMemoryBytes", "memory"),
    "device_end": PrivateName(_SESSION, "TF_DeleteDeviceList", "memory"),
    "kernels": PrivateName(_FRAMEWORK + "kernels", "get_registered_kernels_for_op", "placement"),
    "set_device": PrivateName(_CONTEXT, "Context._set_device", "scopes"),
    "call_function": PrivateName(_CONTEXT, "Context.call_function", "compiled"),
    "tracer": PrivateName(
        _EAGER + "polymorphic_function.tracing_compilation", "_create_concrete_function", "timing"
    ),
    "function_cache": PrivateName(
        "tensorflow.core.function.polymorphism.function_cache", "FunctionCache", "tracing"
    ),
    "get_function": PrivateName(_CONTEXT, "Context.get_function_def", "compiled"),
    "add_function": PrivateName(_CONTEXT, "Context.add_function_def", "compiled"),
    "remove_function": PrivateName(_CONTEXT, "Context.remove_function", "compiled"),
    "quick_execute": PrivateName(_EAGER + "execute", "quick_execute", "compiled"),
    "cancellable": PrivateName(_EAGER + "execute", "execute_with_cancellation", "compiled"),
    "cancellation": PrivateName(_EAGER + "cancellation", "context", "compiled"),
    "node_def": PrivateName("tensorflow.core.framework.node_def_pb2", "NodeDef", "compiled"),
    "server": PrivateName(_CONTEXT, "Context.get_server_def", "workers"),
    "new_server": PrivateName(_CONTEXT, "Context.update_server_def", "workers"),
}


def _find(name: PrivateName) -> Any:
    try:
        found: Any = importlib.import_module(name.module)
        for part in name.attribute.split("."):
            found = getattr(found, part)
        return found
    except (ImportError, AttributeError):
        return None


_found: dict[str, Any] = {key: _find(name) for key, name in NAMES.items()}


def probe() -> dict[str, bool]:
    """For every private name whether this TensorFlow has it."""
    return {key: _found[key] is not None for key in NAMES}


def has(feature: str) -> bool:
    """Whether this TensorFlow has every name that a feature stands on."""
    return all(_found[key] is not None for key, name in NAMES.items() if name.feature == feature)


def missing_features() -> tuple[Message, ...]:
    """What does not work with this TensorFlow release, each feature once."""
    codes = dict.fromkeys(NAMES[key].feature for key, have in probe().items() if not have)
    return tuple(Message(f"feature.{code}") for code in codes)


def require() -> None:
    """Raise :class:`TensorFlowMissing` where recording cannot work at all."""
    release = tuple(int(part) for part in tf.__version__.split(".")[:2])
    if release < OLDEST:
        raise TensorFlowMissing("tensorflow.too_old", found=tf.__version__, oldest="2.16")
    demand(*(key for key, name in NAMES.items() if name.needed))


def demand(*keys: str) -> None:
    """Raise :class:`TensorFlowMissing` where this TensorFlow lacks one of these names."""
    lacking = [NAMES[key] for key in keys if _found[key] is None]
    if lacking:
        names = ", ".join(f"{name.module}.{name.attribute}" for name in lacking)
        raise TensorFlowMissing("tensorflow.lacks", found=tf.__version__, names=names)


EagerTensor: Any = _found["eager_tensor"]
Variable: Any = _found["variable"]
GradientTape: Any = tf.GradientTape


#: The tensor's elements as numpy sees them, without a copy where that is possible.
view: Callable[[Any], Any] = _found["view"] or (EagerTensor and EagerTensor.numpy)


def context() -> Any:
    """TensorFlow's eager context (name scope, devices, per-thread state)."""
    return _found["context"]()


def executing_eagerly() -> bool:
    """Whether ops run now, rather than being traced into a graph."""
    return bool(context().executing_eagerly())


def thread_data() -> Any:
    """This thread's own part of the context; its ``scope_name`` is the name scope."""
    ctx = context()
    return getattr(ctx, "_thread_local_data", ctx)


def add_callback(callback: Callable[..., Any]) -> None:
    """Have ``callback`` called after every op of this thread."""
    _found["add_callback"](callback)


def remove_callback(callback: Callable[..., Any]) -> None:
    """Undo :func:`add_callback`; nothing happens where it was undone already."""
    with contextlib.suppress(ValueError, KeyError):
        _found["remove_callback"](callback)


def handed_on(outputs: Any) -> Any:
    """What a callback answers for an op that went into a graph and is to stay as it is.

    TensorFlow gives each callback what the one before it answered: beside others None would
    leave them without the op's outputs.
    """
    return outputs if len(context().op_callbacks) > 1 else None


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """What runs in the block no op callback of this thread hears, but those added in it."""
    data = thread_data()
    heard, data.op_callbacks = data.op_callbacks, []
    try:
        with _calls_of_callbacks_kept():
            yield
    finally:
        data.op_callbacks = heard


@contextlib.contextmanager
def _calls_of_callbacks_kept() -> Iterator[None]:
    """With the last callback of any thread TensorFlow takes away what calls them all."""
    if _found["execute"] is None:
        yield
        return
    module: Any = importlib.import_module(NAMES["execute"].module)
    calls_them = module.execute
    try:
        yield
    finally:
        module.execute = calls_them


@contextlib.contextmanager
def unseen() -> Iterator[None]:
    """What runs in the block no op callback of this thread hears, and no tape notes."""
    stop = _found["stop_recording"] or contextlib.nullcontext
    with unheard(), stop():
        yield


def is_heard(callback: Callable[..., Any]) -> bool:
    """Whether this thread tells ``callback`` of its ops; it may have inherited that."""
    return callback in (context().op_callbacks or ())


def is_listened_to() -> bool:
    """Whether anything hears the ops of this thread."""
    return bool(context().op_callbacks)


def set_tensor_profiler(profiler: object | None) -> None:
    """Have ``profiler.created(tensor)`` called for every eager tensor of any thread."""
    if _found["tensor_profiler"] is not None:
        _found["tensor_profiler"](profiler)


def gradient_function() -> Callable[..., Any] | None:
    """The function by which TensorFlow differentiates one op, where it can be listened to."""
    if _found["register_gradient"] is None:
        return None
    function: Callable[..., Any] | None = _found["gradient_function"]
    return function


def register_gradient_function(function: Callable[..., Any]) -> None:
    """Have TensorFlow differentiate each op through ``function``."""
    _found["register_gradient"](function)


def record_module() -> Any:
    """The module whose ``record_operation`` custom gradients and functions go through, or None."""
    if _found["record_operation"] is None:
        return None
    return importlib.import_module(NAMES["record_operation"].module)


def record_gradient(
    op_type: str, inputs: Sequence[Any], attrs: Any, outputs: Sequence[Any]
) -> None:
    """Put an op that ran earlier on the tapes that are open now."""
    demand("record_gradient")
    _found["record_gradient"](op_type, list(inputs), attrs, list(outputs))


def execute(op_type: str, count: int, inputs: Sequence[Any], attrs: Any) -> Sequence[Any]:
    """Run one op now and answer its ``count`` outputs."""
    demand("execute")
    found: Sequence[Any] = _found["execute"](op_type, count, list(inputs), attrs, context())
    return found


def read_variable(handle: Any, dtype: str) -> Any:
    """What the variable behind ``handle`` holds now."""
    attrs = ("dtype", tf.dtypes.as_dtype(dtype).as_datatype_enum)
    return execute("ReadVariableOp", 1, [handle], attrs)[0]


def add(tensor: Any, shift: Any) -> Any:
    """``tensor + shift``, in the dtype of ``tensor``."""
    return tensor + tf.cast(shift, tensor.dtype)


def record_operation(
    op_type: str, outputs: Sequence[Any], inputs: Sequence[Any], backward: Callable[..., Any]
) -> None:
    """Put an op with its own backward function on the tapes that are open now."""
    demand("record_operation")
    _found["record_operation"](op_type, list(outputs), list(inputs), backward)


def watches_variables(tape: Any) -> bool:
    """Whether a ``GradientTape`` watches the variables it meets by itself."""
    return bool(getattr(tape, "_watch_accessed_variables", True))


def tape_methods() -> dict[str, str]:
    """Methods of a ``GradientTape`` → the event that a call of them is; none where this
    release has not all of them."""
    if _found["tape_push"] is None or _found["tape_pop"] is None:
        return {}
    return {"_push_tape": "enter", "_pop_tape": "leave", "watch": "watch", "reset": "reset"}


def exit_methods(names: Iterable[str]) -> Iterator[tuple[Any, str]]:
    """``(class, method)`` for those of the names that an eager tensor's own class defines."""
    owner = _found["tensor_methods"]
    for name in names:
        if owner is not None and name in vars(owner):
            yield owner, name


def python_function(function: Any) -> Any:
    """The user's own Python function behind a ``tf.function``, or None."""
    found = getattr(function, "python_function", None)
    for _ in range(8):
        inner = getattr(found, "__wrapped__", None) or getattr(found, "func", None)
        if inner is None:
            break
        found = inner
    return found if hasattr(found, "__code__") else getattr(found, "__func__", None)


def graph_attributes(operation: Any) -> tuple[Any, ...]:
    """The attributes of an op in a graph, as running it eagerly wants them."""
    definition = op_definition(operation.type)
    found: list[Any] = []
    for attribute in definition.attr if definition is not None else ():
        value = operation.node_def.attr.get(attribute.name)
        if value is not None:
            found += [attribute.name, _attribute(value, attribute.type)]
    return tuple(found)


def result_count(function: Any) -> int:
    """How many tensors a traced function returns to its caller."""
    results = tf.nest.flatten(function.structured_outputs, expand_composites=True)
    return sum(1 for result in results if result is not None)


def called_graph(operation: Any) -> Any:
    """The graph of the ``tf.function`` that an op in a graph calls, or None."""
    find = _found["called_function"]
    if find is None or operation.type not in ("PartitionedCall", "StatefulPartitionedCall"):
        return None
    return getattr(find(operation.graph, operation.get_attr("f").name), "graph", None)


def attribute_graph(operation: Any, attribute: str, place: int = 0) -> Any:
    """The graph of the function that an attribute of an op in a graph names."""
    named = operation.get_attr(attribute)
    named = named[place] if isinstance(named, (list, tuple)) else named
    return _found["called_function"](operation.graph, named.name).graph


def variable_dtype(handle: Any) -> str:
    """The dtype of the variable behind a handle; empty for what is no variable's handle."""
    if handle.dtype != tf.resource:
        return ""
    told = getattr(getattr(handle, "_handle_data", None), "shape_and_type", None)
    return str(tf.dtypes.as_dtype(told[0].dtype).name) if told else ""


def tape_file() -> str:
    """The file in which ``GradientTape`` is defined."""
    return str(tf.GradientTape.jacobian.__code__.co_filename)


def held_by(handle: Any) -> tuple[Any, Any]:
    """Shape and dtype of what the variable behind ``handle`` holds."""
    told = handle._handle_data.shape_and_type[0]
    return tf.TensorShape(told.shape), tf.dtypes.as_dtype(told.dtype)


def copied_variable(handle: Any) -> Any:
    """A variable of our own that holds what the one behind ``handle`` holds now."""
    return tf.Variable(read_variable(handle, variable_dtype(handle)), trainable=False)


def constant_of(operation: Any) -> Any:
    """The array that a ``Const`` op in a graph holds."""
    return tf.make_ndarray(operation.node_def.attr["value"].tensor)


def _attribute(value: Any, kind: str) -> Any:
    """One attribute value of the kind that its OpDef names: ``type``, ``list(int)`` …"""
    plain = {"int": "i", "float": "f", "bool": "b", "string": "s", "type": "type"}
    if kind.startswith("list("):
        inner = kind[5:-1]
        members = getattr(value.list, plain.get(inner, inner))
        return [tf.TensorShape(m) if inner == "shape" else m for m in members]
    if kind == "shape":
        return tf.TensorShape(value.shape)
    if kind == "func":
        return value.func.name
    return value.tensor if kind == "tensor" else getattr(value, plain[kind])


# -- traced functions, as TensorFlow keeps them -------------------------------------------------

#: Enums of the dtypes that a figure can be taken of, and of a variable's handle.
FLOATS = frozenset(d.as_datatype_enum for d in (tf.float32, tf.float64, tf.float16, tf.bfloat16))
RESOURCE: int = tf.resource.as_datatype_enum


def function_definition(name: str) -> Any:
    """The ``FunctionDef`` of a function that is registered, a copy to be changed at will."""
    demand("get_function")
    return context().get_function_def(name)


def add_function(definition: Any) -> None:
    """Register a function."""
    demand("add_function")
    context().add_function_def(definition)


def remove_function(name: str) -> None:
    """Have TensorFlow forget a function that was registered."""
    with contextlib.suppress(Exception):  # a context that was made anew knows it no more
        context().remove_function(name)


def context_class() -> Any:
    """The class of TensorFlow's context, whose ``call_function`` runs every traced function."""
    return type(context())


def tracer() -> tuple[Any, Any]:
    """The module that traces functions, and its function that does; None where it has none."""
    name, found = NAMES["tracer"], _found["tracer"]
    return (importlib.import_module(name.module), found) if found is not None else (None, None)


#: What TensorFlow calls the second tracing of a function that made variables in the first.
NO_NEW_VARIABLES = 3


def function_cache() -> Any:
    """The class that keeps the traces of a function; None where this release has none."""
    found = _found["function_cache"]
    return found if hasattr(found, "lookup") and hasattr(found, "add") else None


def building_graph() -> bool:
    """Whether a function is being traced in this thread."""
    return not tf.executing_eagerly()


def call_unheard(name: str, inputs: Sequence[Any], count: int) -> tuple[Any, tuple[Any, ...]]:
    """Run a registered function as TensorFlow does, but tell no op callback of it.

    Answers its ``count`` outputs, and the attributes that it was run with.
    """
    here = context()
    attrs = tuple(x for pair in here.function_call_options.as_attrs().items() for x in pair)
    manager = _found["cancellation"]()
    given: dict[str, Any] = {"num_outputs": count, "inputs": inputs, "attrs": attrs, "ctx": here}
    if manager is None:
        return _found["quick_execute"](name, **given), attrs
    return _found["cancellable"](name, **given, cancellation_manager=manager), attrs


def tell_callbacks(op_type: str, inputs: Sequence[Any], attrs: Any, outputs: Any) -> None:
    """Tell the op callbacks of this thread that an op ran."""
    for callback in context().op_callbacks:
        callback(op_type, tuple(inputs), attrs, outputs, None)


def new_node(definition: Any, name: str, op_type: str) -> Any:
    """A new node at the end of a ``FunctionDef``."""
    return definition.node_def.add(name=name, op=op_type)


def output_refs(node: Any) -> list[tuple[str, int]]:
    """For each output of a node its name within the node (``"product:0"``) and its dtype's enum."""
    definition, found = op_definition(node.op), list[tuple[str, int]]()
    for output in definition.output_arg if definition is not None else ():
        if output.type_list_attr:
            kinds = list(node.attr[output.type_list_attr].list.type)
        else:
            times = node.attr[output.number_attr].i if output.number_attr else 1
            kinds = [output.type or node.attr[output.type_attr].type] * times
        found += [(f"{output.name}:{place}", kind) for place, kind in enumerate(kinds)]
    return found


def trace(graph: Any, name: str) -> Sequence[Any]:
    """The Python frames under which a node of a graph was made, outermost first."""
    try:
        return graph.get_operation_by_name(name).traceback or ()
    except (KeyError, ValueError):
        return ()


def inner_graph(graph: Any, name: str) -> Any:
    """The graph of a function that another graph calls, or None."""
    find = _found["called_function"]
    return getattr(find(graph, name), "graph", None) if find is not None else None


def tape_is_open() -> bool:
    """Whether a tape of the user's is recording in this thread; True where it is not told."""
    could_record = _found["could_record"]
    return could_record is None or bool(could_record())


def is_not_differentiable(op_type: str) -> bool:
    """Whether ``op_type`` is registered as having no gradient at all."""
    registry = _found["gradient_registry"]
    try:
        return registry is not None and registry.lookup(op_type) is None
    except LookupError:
        return False


def started() -> bool:
    """Whether TensorFlow has made its devices: before that, they can still be changed."""
    return bool(getattr(context(), "_initialized", True))


def device_scope() -> str:
    """The full name of the device that this thread's ops are sent to; empty for none."""
    return context().device_name or ""


def open_scope() -> tuple[str, Any]:
    """Name and parsed form of the device scope of this thread, to be restored."""
    return context().device_name, context().device_spec


def restore_scope(scope: tuple[str, Any]) -> None:
    """Make :func:`open_scope`'s answer the scope again, whatever was opened since."""
    demand("set_device")
    context()._set_device(*scope)


def _server() -> Any:
    """What this process is in a cluster of TensorFlow's; None where it is in none."""
    return context().get_server_def() if _found["server"] is not None else None


def local_task() -> str:
    """Job, replica and task of this process, as device names begin."""
    definition = _server()
    if definition is None:
        return "/job:localhost/replica:0/task:0"
    return f"/job:{definition.job_name}/replica:0/task:{definition.task_index}"


def release() -> str:
    """The release of TensorFlow that runs here."""
    return str(tf.__version__)


def set_cluster(jobs: Mapping[str, Mapping[int, str]]) -> None:
    """Have TensorFlow know the tasks of these jobs, ``{job: {task: "host:port"}}``, and no others.

    What lives on a task that stays goes on living there.  TensorFlow's public function makes
    everything anew instead when it is called twice, and the next look at an older remote
    variable then ends the process.
    """
    ctx = context()
    ctx.ensure_initialized()
    demand("server", "new_server")
    if _server() is None:
        if jobs:
            tf.config.experimental_connect_to_cluster(tf.train.ClusterSpec(jobs))
        return
    definition = copy.deepcopy(_server())
    own = [job for job in definition.cluster.job if job.name == definition.job_name]
    cluster = tf.train.ClusterSpec(jobs).as_cluster_def()
    if definition.job_name not in jobs:
        cluster.job.extend(own)
    definition.cluster.CopyFrom(cluster)
    ctx.update_server_def(definition)


def own_port() -> int:
    """The port on which TensorFlow listens in this process, or 0."""
    definition = _server()
    if definition is None:
        return 0
    for job in definition.cluster.job:
        if job.name == definition.job_name:
            port = job.tasks[definition.task_index].rpartition(":")[2]
            return int(port) if port.isdecimal() else 0
    return 0


def start_tpus(resolver: Any) -> None:
    """Make the TPUs of a resolver ready for work."""
    tf.tpu.experimental.initialize_tpu_system(resolver)


def has_kernel(op_type: str, kind: str) -> bool:
    """Whether TensorFlow can run ``op_type`` on a kind of device; True where it does not tell."""
    if _found["kernels"] is None:
        return True
    found = _found["kernels"](op_type).kernel
    return not found or any(kernel.device_type == kind for kernel in found)


def trial(task: str) -> None:
    """Multiply two small matrices on a task's processor and fetch the result, or raise."""
    with tf.device(f"{task}/device:CPU:0"):
        ones = tf.ones([2, 2])
        tf.matmul(ones, ones).numpy()


def memory_limits() -> dict[str, int]:
    """Full device name → bytes that TensorFlow may use there, where it is told.

    For a CPU the figure is a constant that means nothing.
    """
    if not has("memory") or not started():
        return {}
    held = _found["list_devices"](context()._handle)
    try:
        return {
            _found["device_name"](held, i): int(_found["device_sizes"](held, i))
            for i in range(_found["device_count"](held))
        }
    finally:
        _found["device_end"](held)


def gradients_inside(function: Any) -> list[Callable[..., Any]]:
    """The custom gradients that stand in the graph of a ``tf.function``."""
    registry = _found["gradient_registry"]
    names = {
        str(node.attr["_gradient_op_type"].s.decode())
        for node in _nodes(function)
        if "_gradient_op_type" in node.attr
    }
    found = []
    for name in sorted(names) if registry is not None else ():
        with contextlib.suppress(LookupError):
            found.append(registry.lookup(name))
    return [gradient for gradient in found if gradient is not None]


def _nodes(function: Any) -> Iterator[Any]:
    graph = function.graph.as_graph_def()
    yield from graph.node
    for inner in graph.library.function:
        yield from inner.node_def


def op_definition(op_type: str) -> Any:
    """TensorFlow's OpDef of ``op_type``, or None."""
    return _found["op_defs"](op_type) if _found["op_defs"] else None


def may_do_more(op_type: str) -> bool:
    """Whether an op may do more than compute; True where this release does not tell."""
    definition = op_definition(op_type)
    return _found["op_defs"] is None or bool(definition is not None and definition.is_stateful)


def is_async() -> bool:
    """Whether Python goes on before an op of this thread is done, on every device."""
    return bool(context().is_async())


def async_wait() -> None:
    """Wait until every op that was queued is done."""
    if _found["async_wait"] is None:
        tf.test.experimental.sync_devices()
    else:
        _found["async_wait"]()


@contextlib.contextmanager
def captures_as_arguments() -> Iterator[None]:
    """Inside the block a small tensor that a function captures is no constant of its graph."""
    if _found["capture_threshold"] is None:
        yield
        return
    name = NAMES["capture_threshold"]
    with replaced(importlib.import_module(name.module), name.attribute, -1):
        yield


def generator_states() -> list[Any]:
    """The variables behind TensorFlow's and Keras's global random generators."""
    module = importlib.import_module(NAMES["generator"].module) if _found["generator"] else None
    own = getattr(module, "global_generator", None)
    states = [] if own is None else [own.state]
    keras = sys.modules.get("keras.src.backend.common.global_state")
    seeds = keras.get_global_attribute("global_seed_generator") if keras else None
    state = getattr(getattr(seeds, "state", None), "value", None)
    return [*states, *([state] if isinstance(state, tf.Variable) else [])]


@contextlib.contextmanager
def other_op_seeds() -> Iterator[None]:
    """Inside the block the seeds of ops come from another stream than the user's."""
    here = context()
    own = getattr(here, "_rng", None)
    if own is None:
        yield
        return
    here._rng = random.Random("tfmagic")
    try:
        yield
    finally:
        here._rng = own


@contextlib.contextmanager
def session_kept() -> Iterator[None]:
    """TensorFlow's and Keras's settings of the session, the seeds and the counters of names among
    them, are afterwards what they are now; seeds that the block sets let no kernel start anew."""
    here = context()
    states = [s for name in ("STATE", "SETTINGS") if (s := _keras_globals(name)) is not None]
    before = [
        (s, dict(s), [(v, v.copy()) for v in s.values() if isinstance(v, dict)]) for s in states
    ]
    module: Any = importlib.import_module(NAMES["generator"].module) if has("random") else None
    generator = getattr(module, "global_generator", None)
    seeds = {name: getattr(here, name, None) for name in ("_seed", "_rng")}

    def seeded(seed: Any) -> None:
        here._seed, here._rng = seed, random.Random(int(seed) if seed is not None else None)

    here._set_global_seed = seeded
    try:
        yield
    finally:
        del here._set_global_seed
        for name, value in seeds.items():
            setattr(here, name, value)
        if module is not None:
            module.global_generator = generator
        for state, members, dicts in before:
            state.clear()
            state.update(members)
            for held, copy in dicts:
                held.clear()
                held.update(copy)


def _keras_globals(which: str) -> dict[str, Any] | None:
    keras = sys.modules.get("keras.src.backend.common.global_state")
    tracker = getattr(keras, f"GLOBAL_{which}_TRACKER", None)
    return None if tracker is None else vars(tracker)


@contextlib.contextmanager
def replaced(owner: Any, name: str, new: Any) -> Iterator[None]:
    """``owner.name`` is ``new`` inside the block, and what it was afterwards, unless the
    user's code has put its own there meanwhile."""
    old = getattr(owner, name)
    setattr(owner, name, new)
    try:
        yield
    finally:
        if getattr(owner, name, None) is new:
            setattr(owner, name, old)
