"""Reading traced functions: who feeds whom, and which op is there for what.

A traced function is read from its ``FunctionDef``, the form in which TensorFlow keeps
every function: those traced before the cell and loaded ones too.  A *ref* names one
output of a node (``"dense/MatMul:product:0"``) or an argument of the function
(``"x"``).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from tfmagic.model.op_traits import ASSIGNS, READS
from tfmagic.runtime import private
from tfmagic.runtime.capture.source import is_user_file
from tfmagic.runtime.capture.structure import leaves

__all__ = ["BRANCHES", "CALLS", "LOOPS", "Function", "LayerOutput", "Trained", "maker"]

#: Ops that run other functions, and the attributes that name them.
CALLS = {"PartitionedCall": ("f",), "StatefulPartitionedCall": ("f",)}
LOOPS = ("While", "StatelessWhile")
BRANCHES = ("If", "StatelessIf", "Case", "StatelessCase")
#: Tapes put what they differentiate under these scopes.
_BACKWARD = re.compile(r"(?:^|/)(?:gradient_tape|gradients)(?:_\d+)?/")
#: The op that adds up gradients stands outside those scopes.
_SUM = "AddN"
#: Ops that a loss of several terms ends with.
_TOTALS = ("Mean", "Sum", "AddV2", "AddN", "Add", "Sub", "Mul", "RealDiv", "Neg")
#: How far behind an update its gradient is looked for.
_FAR = 2_000
_KERAS_CALL = re.compile(r"keras/(?:src/)?(?:layers/layer|engine/base_layer)\.py$")


def maker(ref: str) -> str:
    """The node (or argument) that a ref belongs to."""
    return ref.partition(":")[0].lstrip("^")


def data(node: Any) -> list[str]:
    """The refs that a node takes, control edges aside."""
    return [ref for ref in node.input if ref[0] != "^"]


class Trained(NamedTuple):
    """One variable that a function changes by a gradient.

    ``resource`` is the argument that its handle comes in by, ``gradient`` the ref of the
    gradient before clipping and optimiser, ``read`` one of its value before the step (empty where
    only functions inside read it),
    ``assign`` the node that changes it, ``loss`` the ref that was differentiated (or empty).
    """

    resource: str
    gradient: str
    read: str
    assign: str
    loss: str = ""


class LayerOutput(NamedTuple):
    """What a layer hands on: its scope, and the ref that others take."""

    layer: str
    ref: str


class Function:
    """One traced function.  ``definition`` is its own ``FunctionDef``, free to be changed."""

    def __init__(self, name: str, graph: Any = None) -> None:
        self.name = name
        #: The Python side of it, which knows the traces of its ops; None where there is none.
        self.graph = graph
        self.definition = private.function_definition(name)
        self.nodes: dict[str, Any] = {node.name: node for node in self.definition.node_def}
        self.arguments = {a.name: a.type for a in self.definition.signature.input_arg}
        self.compiled = "_XlaMustCompile" in self.definition.attr and (
            self.definition.attr["_XlaMustCompile"].b
        )

    # -- edges --------------------------------------------------------------------------

    @cached_property
    def users(self) -> dict[str, list[str]]:
        """Node or argument → the nodes that take something of it, in order."""
        found: dict[str, list[str]] = {}
        for node in self.definition.node_def:
            for ref in node.input:
                if ref[0] != "^":
                    found.setdefault(maker(ref), []).append(node.name)
        return found

    @cached_property
    def backward(self) -> frozenset[str]:
        """The nodes that belong to a gradient."""
        found = {name for name in self.nodes if _BACKWARD.search(name)}
        for node in self.definition.node_def:
            if node.op == _SUM and any(maker(ref) in found for ref in data(node)):
                found.add(node.name)
        return frozenset(found)

    def kind(self, ref: str) -> int:
        """The enum of a ref's dtype; 0 for what is no node or argument of the function."""
        name, _, output = ref.partition(":")
        if not output:
            return int(self.arguments.get(ref, 0))
        node = self.nodes.get(name)
        return dict(private.output_refs(node)).get(output, 0) if node is not None else 0

    def ancestors(self, start: Sequence[str]) -> set[str]:
        """These nodes and all that their values were computed from."""
        found, todo = set(start), list(start)
        while todo:
            node = self.nodes.get(todo.pop())
            for ref in data(node) if node is not None else ():
                name = maker(ref)
                if name not in found:
                    found.add(name)
                    todo.append(name)
        return found

    @cached_property
    def differentiated(self) -> set[str]:
        """The forward nodes that some gradient was computed from."""
        return self.ancestors(list(self.backward)) - self.backward

    def resource(self, node: Any) -> str:
        """The argument by which the variable that a node reads or changes came in, or empty."""
        first = maker(node.input[0]) if node.input else ""
        return first if self.arguments.get(first) == private.RESOURCE else ""

    # -- training -----------------------------------------------------------------------

    @cached_property
    def assignments(self) -> dict[str, list[Any]]:
        """Resource argument → the nodes that change what it holds."""
        found: dict[str, list[Any]] = {}
        for node in self.definition.node_def:
            if ASSIGNS.match(node.op):
                argument = self.resource(node)
                if argument:
                    found.setdefault(argument, []).append(node)
        return found

    @cached_property
    def reads(self) -> dict[str, list[str]]:
        """Resource argument → the nodes that read it before anything else was done to it."""
        found: dict[str, list[str]] = {}
        for node in self.definition.node_def:
            if node.op in READS and (argument := self.resource(node)):
                found.setdefault(argument, []).append(node.name)
        return found

    @cached_property
    def trained(self) -> tuple[Trained, ...]:
        """The variables that the function changes by a gradient.

        One is trained where a gradient was computed from its value and where its new value
        comes of a gradient: an optimiser's slots fail the first, moving averages the second.
        """
        if not self.backward:
            return ()
        found = []
        for resource, changes in self.changes.items():
            if resource not in self.differentiated:
                continue
            read = next(iter(self.reads.get(resource, ())), "")
            read = f"{read}:{private.output_refs(self.nodes[read])[0][0]}" if read else ""
            for node, given in changes:
                gradient = self._nearest_gradient(given)
                if gradient:
                    loss = self._differentiated_from(gradient)
                    found.append(Trained(resource, gradient, read, node, loss))
                    break
        return self._with_losses(found)

    @cached_property
    def changes(self) -> dict[str, list[tuple[str, list[str]]]]:
        """Resource argument → the nodes that change what it holds, branches among them, each with
        what the new value is computed from: refs, and resource arguments that are read for it."""
        found: dict[str, list[tuple[str, list[str]]]] = {}
        for node in self.definition.node_def:
            if (argument := self.resource(node)) and node in self.assignments.get(argument, ()):
                found.setdefault(argument, []).append((node.name, data(node)[1:]))
            for name, refs in self.called(node) if node.op in BRANCHES else ():
                inner = Function(name, self.called_graph(name))
                outside = dict(zip(inner.arguments, refs, strict=False))
                for changed, ways in inner.changes.items():
                    if self.arguments.get(outside[changed]) != private.RESOURCE:
                        continue
                    for _, given in ways:
                        behind = inner._arguments_behind(given)
                        taken = [outside[a] for a in behind if a in outside and a != changed]
                        found.setdefault(outside[changed], []).append((node.name, taken))
        return found

    @cached_property
    def thrown_away(self) -> str:
        """A node of a gradient where nothing that the function does or answers comes of any, or
        empty."""
        ends = [maker(ref) for ref in self.definition.ret.values()]
        ends += [*self.definition.control_ret.values()]
        ends += [
            n.name for n in self.definition.node_def if ASSIGNS.match(n.op) or n.op in BRANCHES
        ]
        own = self.backward - {n for n in self.backward if self.nodes[n].op == "Const"}
        learned = self.differentiated & self.reads.keys()
        if self.trained or not learned or own & self.ancestors(ends):
            return ""
        return next((n.name for n in self.definition.node_def if n.name in own), "")

    def _arguments_behind(self, start: Sequence[str]) -> list[str]:
        """The arguments that a value is computed from, the nearest first."""
        todo, seen = deque(start), dict[str, None]()
        while todo and len(seen) < _FAR:
            ref = todo.popleft()
            if ref in seen:
                continue
            seen[ref] = None
            node = self.nodes.get(maker(ref))
            given = data(node) if node is not None else []
            if node is not None and node.op == "IdentityN":
                given = [given[int(ref.rpartition(":")[2])]]
            todo.extend(given)
        return [ref for ref in seen if ref in self.arguments]

    def _with_losses(self, found: Sequence[Trained]) -> tuple[Trained, ...]:
        """The same, each with the loss that was really differentiated.

        What one call of a tape gives begins with one op that makes ones: where the terms of a sum
        were taken for losses, or two calls seem to share one, the loss is the first value on the
        way to which all that the gradients were computed from stands.
        """
        calls: dict[frozenset[str], list[Trained]] = {}
        for each in found:
            seeds, same = self._seeds.get(maker(each.gradient), frozenset()), [each]
            for known in [known for known in calls if known & seeds]:
                seeds, same = seeds | known, calls.pop(known) + same
            calls[seeds] = calls.get(seeds, []) + same
        losses = [{each.loss for each in same} for same in calls.values()]
        whole = all(
            len(each) == 1 and not self._left_out(next(iter(each)), same)
            for each, same in zip(losses, calls.values(), strict=True)
        )
        if whole and len(set().union(*losses)) == len(calls):
            return tuple(found)
        exact = dict[str, str]()
        for seeds, same in calls.items():
            total = self._whole_loss(seeds, same) if seeds else ""
            exact |= {each.resource: total or each.loss for each in same}
        return tuple(each._replace(loss=exact[each.resource]) for each in found)

    @cached_property
    def _seeds(self) -> dict[str, frozenset[str]]:
        """Backward node → the ops outside of tapes, made of nothing, that it began with."""
        found: dict[str, frozenset[str]] = {}
        for node in self.definition.node_def:
            if node.name in self.backward:
                given = [self.nodes[m] for m in map(maker, data(node)) if m in self.nodes]
                own = {n.name for n in given if not data(n) and self._only_behind(n.name)}
                before = [found.get(n.name, frozenset()) for n in given]
                found[node.name] = frozenset().union(*before) or frozenset(own)
        return found

    def _only_behind(self, name: str) -> bool:
        """Whether a node is no part of a gradient, and serves nothing else."""
        return name not in self.backward and self.backward.issuperset(self.users[name])

    def _whole_loss(self, seeds: frozenset[str], same: Sequence[Trained]) -> str:
        """The first scalar sum or mean that all forward values of these gradients lead to."""
        needed = self._needed(same)
        order = {name: place for place, name in enumerate(self.nodes)}
        end = max(order[seed] for seed in seeds)
        for node in self.definition.node_def:
            early = order[node.name] < end and node.name not in self.backward
            whole = early and node.op in _TOTALS and self._is_scalar(node.name)
            if whole and needed <= self.ancestors([node.name]):
                return f"{node.name}:{private.output_refs(node)[0][0]}"
        return ""

    def _left_out(self, loss: str, same: Sequence[Trained]) -> bool:
        """Whether these gradients take values of the trained variables that a loss does not come
        from, as they do of the other terms of a sum."""
        missing = self._needed(same) - self.ancestors([maker(loss)])
        learned = {each.resource for each in same}
        return any(self.ancestors([name]) & learned for name in missing)

    def _needed(self, same: Sequence[Trained]) -> set[str]:
        """The forward nodes, those that are given alone aside, that these gradients take."""
        back = self.ancestors([maker(each.gradient) for each in same]) & self.backward
        taken = {m for name in back for m in map(maker, data(self.nodes[name]))} - self.backward
        return {m for m in taken & self.nodes.keys() if data(self.nodes[m])}

    def _is_scalar(self, name: str) -> bool:
        try:
            tensor = self.graph.get_operation_by_name(name).outputs[0]
        except (AttributeError, KeyError, ValueError, IndexError):
            return False
        return bool(tensor.shape.rank == 0 and tensor.dtype.is_floating)

    def _nearest_gradient(self, start: Sequence[str]) -> str:
        """The first gradient behind an update, going back step by step.

        A value that was read again after an assignment is followed to what was assigned, an op
        that hands several values on (``IdentityN``) index by index, and a variable that branches
        read (gradients that are gathered over steps) to what changes it.
        """
        todo, seen = deque(start), set[str]()
        while todo and len(seen) < _FAR:
            ref = todo.popleft()
            name = maker(ref)
            if ref in seen:
                continue
            seen.add(ref)
            if name not in self.nodes:
                todo.extend(r for _, given in self.changes.get(name, ()) for r in given)
                continue
            if name in self.backward and self.kind(ref) in private.FLOATS:
                return ref
            node = self.nodes[name]
            given = data(node)
            if node.op == "ReadVariableOp":
                before = (self.nodes.get(c[1:]) for c in node.input if c[0] == "^")
                given = [
                    value
                    for assign in before
                    if assign is not None and assign.input and assign.input[0] == node.input[0]
                    for value in data(assign)[1:]
                ]
            elif node.op == "IdentityN":
                given = [given[int(ref.rpartition(":")[2])]]
            todo.extend(given)
        return ""

    def _differentiated_from(self, gradient: str) -> str:
        """The ref of the loss that a gradient is one of, or empty where it cannot be told.

        The way back from the gradient ends at an op of the tape that takes no other gradient:
        its scope is that of the op that made the loss.
        """
        first = self._roots.get(maker(gradient), "")
        if not first:
            return ""
        name = self.forward_of(first)
        refs = private.output_refs(self.nodes[name]) if name else []
        if name and self.nodes[name].op in READS and (scaled := self._multiplied_by(name)):
            return scaled
        if refs and refs[0][1] in private.FLOATS:
            return f"{name}:{refs[0][0]}"
        returned = self.metrics[0][1] if self.metrics else ""
        scope = _BACKWARD.sub("", first).rpartition("/")[0]
        return self._last_reduction(scope) or returned

    def _multiplied_by(self, read: str) -> str:
        """What a variable's value is multiplied by, as a loss is by its scale in half precision."""
        for user in self.users.get(read, ()):
            if self.nodes[user].op == "Mul" and user not in self.backward:
                return next((ref for ref in data(self.nodes[user]) if maker(ref) != read), "")
        return ""

    def forward_of(self, name: str) -> str:
        """The forward node whose scope a backward node bears, or empty."""
        scope = _BACKWARD.sub("", name).split("/")
        names = ("/".join(scope[:length]) for length in range(len(scope), 0, -1))
        named = next((n for n in names if n in self.nodes and n not in self.backward), "")
        if named or name not in self.nodes:
            return named
        # one without a scope of its own: the forward op that made what it takes
        taken = (self.nodes.get(maker(ref)) for ref in data(self.nodes[name]))
        forward = (n.name for n in taken if n is not None and n.op != "Const")
        return next((n for n in forward if n not in self.backward), "")

    @cached_property
    def _roots(self) -> dict[str, str]:
        """Backward node → the first of the tape's ops that it was computed from."""
        order = {name: place for place, name in enumerate(self.nodes)}
        found: dict[str, str] = {}
        for name in sorted(self.backward, key=order.__getitem__):
            before = [found[m] for m in map(maker, data(self.nodes[name])) if m in found]
            if before or self.nodes[name].op != "Const":
                found[name] = min(before, key=order.__getitem__, default=name)
        return found

    def _last_reduction(self, scope: str) -> str:
        """The last mean or sum in a scope that a gradient's inputs lead to: a loss by its form."""
        for node in reversed(self.definition.node_def):
            inside = node.name.rpartition("/")[0] == scope and node.name not in self.backward
            reduces = inside and node.op in ("Mean", "Sum")
            if reduces and any(maker(ref) in self.differentiated for ref in data(node)):
                return f"{node.name}:{private.output_refs(node)[0][0]}"
        return ""

    # -- layers -------------------------------------------------------------------------

    def frames(self, name: str) -> Sequence[Any]:
        """The frames of a node's trace, outermost first; none where that is not known."""
        return private.trace(self.graph, name) if self.graph is not None else ()

    def layer(self, name: str) -> str:
        """The scope of the layer that a node stands in: each call of a layer in its trace opened
        one more scope.  Without a trace it is the scope itself."""
        scope = name.split("/")[:-1]
        frames = self.frames(name)
        if not frames:
            return "/".join(scope)
        depth = sum(
            frame.name == "__call__" and bool(_KERAS_CALL.search(frame.filename))
            for frame in frames
        )
        return "/".join(scope[:depth])

    def place(self, name: str) -> tuple[tuple[str, int, str], ...]:
        """The user's frames that led to a node, innermost first: file, line, function."""
        frames = self.frames(name)
        found = [(f.filename, f.lineno, f.name) for f in frames if is_user_file(f.filename)]
        return tuple(reversed(found))

    @cached_property
    def layer_outputs(self) -> tuple[LayerOutput, ...]:
        """For each layer what it hands on to the ops outside of it."""
        found: dict[str, str] = {}
        for name, node in self.nodes.items():
            scope = name.rpartition("/")[0]
            if not scope or name in self.backward or node.op in ("Const", *READS):
                continue
            users = [u for u in self.users.get(name, ()) if u not in self.backward]
            if all(f"{user}/".startswith(f"{scope}/") for user in users):
                continue
            refs = private.output_refs(node)
            layer = self.layer(name) if refs and refs[0][1] in private.FLOATS else ""
            if layer and not all(f"{user}/".startswith(f"{layer}/") for user in users):
                found[layer] = f"{name}:{refs[0][0]}"
        return tuple(LayerOutput(layer, ref) for layer, ref in found.items())

    @cached_property
    def layer_edges(self) -> tuple[tuple[str, str], ...]:
        """Which layer takes what which other gives, other ops between them passed over."""
        known = {output.layer for output in self.layer_outputs}
        found: dict[tuple[str, str], None] = {}
        for output in self.layer_outputs:
            todo, seen = [maker(output.ref)], set[str]()
            while todo and len(seen) < _FAR:
                for user in self.users.get(todo.pop(), ()):
                    if user in seen or user in self.backward:
                        continue
                    seen.add(user)
                    layer = self.layer(user) if "/" in user else ""
                    if layer in known and layer != output.layer:
                        found[output.layer, layer] = None
                    elif layer not in known or f"{user}/".startswith(f"{output.layer}/"):
                        todo.append(user)
        return tuple(found)

    @cached_property
    def metrics(self) -> tuple[tuple[str, str], ...]:
        """The scalar floats that the function returns: what they are called there, and the ref."""
        if self.graph is None:
            return ()
        named = {
            id(value): place
            for place, value in leaves(getattr(self.graph, "structured_outputs", None))
            if getattr(getattr(value, "shape", None), "rank", None) == 0
        }
        outputs = zip(self.graph.outputs, self.definition.signature.output_arg, strict=False)
        return tuple(
            (re.sub(r"^\['(.*)'\]$", r"\1", named[id(tensor)]), self.definition.ret[output.name])
            for tensor, output in outputs
            if id(tensor) in named and output.type in private.FLOATS
        )

    def called_graph(self, name: str) -> Any:
        """The Python side of a function that this one calls, where it is known."""
        return private.inner_graph(self.graph, name) if self.graph is not None else None

    def every(self) -> Iterator[Function]:
        """The function and all that it calls, each once; a loop's condition too."""
        todo, seen = [self], {self.name}
        while todo:
            function = todo.pop()
            yield function
            for node in function.nodes.values():
                for attribute in node.attr.values():
                    for named in (attribute.func, *attribute.list.func):
                        if named.name and named.name not in seen:
                            seen.add(named.name)
                            todo.append(Function(named.name, function.called_graph(named.name)))

    def called(self, node: Any) -> Iterator[tuple[str, list[str]]]:
        """The functions that a node runs, each with the refs of the arguments it is given."""
        if node.op in CALLS:
            yield node.attr["f"].func.name, data(node)
        elif node.op in LOOPS:
            yield node.attr["body"].func.name, data(node)
        elif node.op in ("If", "StatelessIf"):
            for branch in ("then_branch", "else_branch"):
                yield node.attr[branch].func.name, data(node)[1:]
        elif node.op in BRANCHES:
            for function in node.attr["branches"].list.func:
                yield function.name, data(node)[1:]
