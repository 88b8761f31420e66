"""What is to be said of tracing: functions traced again and again, values that it froze."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from tfmagic.model import Recording, Trace, Verdict

__all__ = ["remarks"]

#: As many tracings for the same reason are too many: a Python value or a new function each time
#: goes on for ever, of shapes there may be a few.
_FEWEST = {"value": 2, "made_anew": 2, "object": 2, "shape": 3, "dtype": 3, "structure": 3}


def remarks(recording: Recording) -> tuple[Verdict, ...]:
    """``retraced`` and ``frozen_at_trace``, each once for a function and a cause."""
    return (*_retraced(recording), *_frozen(recording))


def _retraced(recording: Recording) -> Iterator[Verdict]:
    every: dict[tuple[str, int, bool], list[Trace]] = {}
    for trace in recording.traces:
        if not trace.inside:
            every.setdefault((trace.function, trace.made, trace.own), []).append(trace)
    for traces in every.values():
        again: dict[tuple[str, str], list[Trace]] = {}
        for trace in traces:
            if trace.reason == "made_anew" and not trace.own:
                continue  # each Keras model has functions of its own
            again.setdefault((trace.reason, trace.argument), []).append(trace)
        for (reason, argument), same in again.items():
            if reason in _FEWEST and len(same) >= _FEWEST[reason]:
                yield _told(recording, traces, same, reason, argument)


def _told(
    recording: Recording, traces: Sequence[Trace], same: Sequence[Trace], reason: str, argument: str
) -> Verdict:
    last = same[-1]
    line = recording.lines[last.line] if last.line is not None else None
    seen = dict.fromkeys((same[0].before, *(trace.now for trace in same)))
    return Verdict(
        code="retraced",
        target=last.function,
        source=argument,
        line=line.text if line is not None else "",
        line_number=last.line_number,
        cell=line.cell if line is not None else 0,
        path=tuple(value for value in seen if value),
        mended=_as_tensor(recording, last) if reason == "value" else "",
        values=(
            ("reason", reason),
            ("times", str(len(traces))),
            ("seconds", f"{sum(trace.seconds for trace in traces):.6f}"),
            ("own", "yes" if last.own else ""),
        ),
    )


def _frozen(recording: Recording) -> Iterator[Verdict]:
    gradients = (g.verdict for call in recording.gradients for g in call.gradients)
    frozen = (v.source for v in gradients if v is not None and v.code == "frozen_at_trace")
    known = {source.rpartition(".")[2] for source in frozen}
    for told in dict.fromkeys(recording.frozen):
        if told.name.rpartition(".")[2] in known:
            continue  # the gradient that it stopped tells of it
        line = recording.lines[told.line] if told.line is not None else None
        yield Verdict(
            code="frozen_at_trace",
            target=told.function,
            source=told.name,
            line=line.text if line is not None else "",
            line_number=told.line_number,
            cell=line.cell if line is not None else 0,
            path=tuple(value for value in (told.before, told.now) if value),
            values=(("kind", told.kind),),
        )


# --- the line that mends it ------------------------------------------------------------------


def _as_tensor(recording: Recording, trace: Trace) -> str:
    """The call with a tensor in place of the Python number, as far as the source shows both the
    call and the function's parameters; not code that was tried."""
    if trace.line is None or not _is_number(trace.now):
        return ""
    source = recording.cells[recording.lines[trace.line].cell].source
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return ""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and _covers(node, trace)
            and _name(node.func) == trace.function
        ):
            given = _given(node, trace, tree)
            if given is not None:
                old = ast.unparse(given)
                kind = ", tf.float32" if _computes(tree, trace) else ""
                return ast.unparse(node).replace(old, f"tf.constant({old}{kind})", 1)
    return ""


def _computes(tree: ast.Module, trace: Trace) -> bool:
    """Whether a function only computes with a whole number, and so may take it as a float; one
    that counts turns or picks an element must not."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == trace.function:
            uses, sums = (
                [n for part in ast.walk(node) for n in parts(part) if _name(n) == trace.argument]
                for parts in (ast.iter_child_nodes, _operands)
            )
            named = [use for use in uses if isinstance(use, ast.Name)]
            return bool(sums) and len(named) == len(sums)
    return False


def _operands(node: ast.AST) -> list[ast.expr]:
    return [node.left, node.right] if isinstance(node, ast.BinOp) else []


def _is_number(told: str) -> bool:
    try:
        return isinstance(ast.literal_eval(told), (int, float)) and told not in ("True", "False")
    except (SyntaxError, ValueError):
        return False


def _covers(node: ast.Call, trace: Trace) -> bool:
    return node.lineno <= trace.line_number <= (node.end_lineno or node.lineno)


def _name(node: ast.AST) -> str:
    return str(getattr(node, "attr", getattr(node, "id", "")))


def _given(call: ast.Call, trace: Trace, tree: ast.Module) -> ast.expr | None:
    """What the call gives for the argument."""
    for word in call.keywords:
        if word.arg == trace.argument:
            return word.value
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == trace.function:
            names = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
            names = names[1:] if names[:1] == ["self"] else names
            place = names.index(trace.argument) if trace.argument in names else len(call.args)
            if place < len(call.args):
                return call.args[place]
    return None
