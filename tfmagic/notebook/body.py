"""Running a cell's body inside a magic, the way IPython runs a cell."""

from __future__ import annotations

import ast
from typing import Any

from IPython.core.error import UsageError

from tfmagic.language import say


def run_body(shell: Any, body: str) -> Any:
    """Run ``body`` statement by statement in the user's namespace; its last value.

    Source stays findable (``inspect.getsource``, AutoGraph) because it goes through the
    shell's own compiler and cache, and so do ``from __future__`` flags, magics and ``!``
    lines.
    """
    __tracebackhide__ = True
    transformed = shell.transform_cell(body)
    filename = shell.compile.cache(transformed, shell.execution_count, raw_code=body)
    tree = shell.transform_ast(shell.compile.ast_parse(transformed, filename=filename))
    statements = list(tree.body)
    last = statements.pop() if _ends_with_value(shell, statements) else None
    for statement in statements:
        _execute(shell, ast.Module([statement], []), filename, "exec")
    if last is None:
        return None
    return _execute(shell, ast.Expression(last.value), filename, "eval")


def _ends_with_value(shell: Any, statements: list[ast.stmt]) -> bool:
    wanted = shell.ast_node_interactivity in ("last_expr", "all", "last_expr_or_assign", "last")
    return wanted and bool(statements) and isinstance(statements[-1], ast.Expr)


def _execute(shell: Any, tree: Any, filename: str, mode: str) -> Any:
    __tracebackhide__ = True
    if any(isinstance(n, (ast.Await, ast.AsyncFor, ast.AsyncWith)) for n in _own_nodes(tree)):
        raise UsageError(say("cells.await_inside"))
    code = shell.compile(tree, filename, mode)
    if mode == "eval":
        return eval(code, shell.user_global_ns, shell.user_ns)
    exec(code, shell.user_global_ns, shell.user_ns)
    return None


def _own_nodes(tree: ast.AST) -> list[ast.AST]:
    """The nodes that run at the top level: those of functions inside do not."""
    found: list[ast.AST] = []
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        found.append(node)
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            todo.extend(ast.iter_child_nodes(node))
    return found
