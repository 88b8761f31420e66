"""How often the verdict is right on cells that nobody wrote: ``python -m benchmarks.blind [SEED]``.

Sound cells are put together at random (chains of smooth ops; plain, in a function, in a
``tf.function``, in a loop, in a Keras layer), and half of them get one fault.  Right, wrong,
silent and false alarms are counted apart, and each repair that is offered is pasted and run.
No rule may be tuned on a cell of these: mend the kind, and draw others.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import linecache
import os
import random
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SMOOTH = (
    "tf.sin({v})", "tf.tanh({v} * 0.5)", "tf.exp({v} * 0.1)", "tf.nn.softplus({v})", "{v} * 1.7 + 0.3",
    "tf.square({v} + 0.2)", "tf.sigmoid({v})", "tf.math.log(tf.square({v}) + 1.5)",
    "{v} / (1.0 + tf.abs({v}))", "tf.nn.elu({v} + 0.1)", "tf.sqrt(tf.square({v}) + 0.7)",
    "tf.concat([{v}, {v} * 0.5], 0)", "tf.reshape(tf.stack([{v}, -{v}]), [-1])", "{v} - 0.3 * {v} ** 3",
)  # fmt: skip
ENDS = ("tf.reduce_sum({v} * 1.3)", "tf.reduce_mean(tf.square({v} - 0.4))", "tf.norm({v} + 2.0)",
        "tf.reduce_logsumexp({v})", "tf.reduce_mean(tf.abs({v} - 9.0))")  # fmt: skip
#: A line put into the chain, and the codes that name it.
FAULTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "round": ("tf.round({v} * 3.0)", ("no_gradient_op", "flat_op")),
    "floor": ("tf.floor({v} * 3.0) + 0.5", ("no_gradient_op", "flat_op")),
    "sign": ("tf.sign({v} + 0.01)", ("flat_op", "no_gradient_op")),
    "cast": ("tf.cast(tf.cast({v} * 10.0, tf.int32), tf.float32)", ("through_integer",)),
    "compare": ("tf.cast({v} > 0.1, tf.float32) + 0.5", ("through_integer",)),
    "argmax": ("tf.one_hot(tf.argmax({v}), 4)", ("through_integer",)),
    "argsort": ("tf.cast(tf.argsort({v}), tf.float32) + 1.0", ("through_integer",)),
    "stop": ("tf.stop_gradient({v}) * 2.0", ("stop_gradient",)),
    "numpy": ("tf.constant(np.sin({v}.numpy()))", ("left_tensorflow",)),
    "numpy_function": ("tf.ensure_shape(tf.numpy_function(np.cos, [{v}], tf.float32), {v}.shape)", ("left_tensorflow",)),
    "float": ("tf.fill([3], float(tf.reduce_sum({v})))", ("left_tensorflow",)),
    "state": ("tf.Variable({v}) * 1.5", ("state",)),
    "dead": ("tf.nn.relu({v} - 100.0)", ("dead_relu",)),
    "clip": ("tf.clip_by_value({v} + 50.0, -1.0, 1.0)", ("clipped",)),
    "maximum": ("tf.maximum({v}, 70.0)", ("clipped", "dead_relu")),
    "saturated": ("tf.sigmoid({v} * 0.0001 + 200.0)", ("saturated",)),
    "softmax_one": ("tf.reshape(tf.nn.softmax(tf.reshape({v}, [-1, 1])), [-1])", ("flat_op", "cancelled")),
    "times_zero": ("{v} * tf.zeros_like({v})", ("zero_input", "cancelled")),
    "itself": ("{v} - {v}", ("cancelled",)),
    "log": ("tf.math.log({v} - 50.0)", ("domain_edge",)),
    "sqrt_zero": ("tf.sqrt({v} * 0.0)", ("domain_edge",)),
    "acos": ("tf.acos({v} + 30.0)", ("domain_edge",)),
    "divide": ("1.0 / ({v} - {v})", ("domain_edge", "overflow", "cancelled")),
    "overflow": ("tf.exp({v} + 300.0)", ("overflow",)),
    "where": ("tf.where({v} > 1e9, tf.math.log({v} - 1e8), {v})", ("where_branch", "domain_edge")),
    "gather": ("tf.boolean_mask({v}, {v} > 1e9)", ("unused_rows",)),
    "not_chosen": ("tf.where({v} > 1e9, {v}, 0.3)", ("unused_rows",)),
}  # fmt: skip
#: Changes of the whole cell: what is replaced by what, and the codes.
CHANGES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "no_watch": ("    tape.watch(x)\n", "", ("not_watched",)),
    "not_trainable": ("tf.Variable(DATA)", "tf.Variable(DATA, trainable=False)", ("not_trainable",)),
    "whole_numbers": ("tf.Variable(DATA)", "tf.Variable([1, 2, 3])", ("not_float",)),
    "rebound": ("with tf.Grad", "x = x - 0.1\nwith tf.Grad", ("rebound",)),
    "used_up": ("g = ", "tape.gradient(loss, x)\ng = ", ("tape_used_up",)),
    "nan": ("DATA", "[0.5, float('nan'), 2.0]", ("nan_input",)),
    "another": ("loss, x)", "loss, tf.Variable([1.0, 2.0, 3.0]))", ("unused", "wrong_object")),
    "copy": ("loss, x)", "loss, tf.identity(x))", ("wrong_object", "made_later")),
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    source: str
    kind: str
    codes: tuple[str, ...]
    line: int


def chain(draw: random.Random, fault: str) -> tuple[list[str], int]:
    """Lines of a chain from ``x`` to ``loss``, and which of them is at fault (-1: none)."""
    steps = draw.sample(SMOOTH, draw.randint(1, 3))
    at = draw.randint(0, len(steps)) if fault else -1
    if fault:
        steps.insert(at, FAULTS[fault][0])
    names = ["x", *(f"h{i}" for i in range(len(steps)))]
    lines = [f"{names[i + 1]} = {step.format(v=names[i])}" for i, step in enumerate(steps)]
    return [*lines, f"loss = {draw.choice(ENDS).format(v=names[-1])}"], at


def indented(lines: list[str], by: int) -> str:
    return "".join(f"{' ' * by}{line}\n" for line in lines)


FORMS = ("plain", "function", "compiled", "loop", "layer")


def written(draw: random.Random, lines: list[str], form: str) -> tuple[str, int]:
    """The cell, and the number of its first line of the chain."""
    numbers = [round(draw.uniform(-1.4, 1.6), 2) or 0.3 for _ in range(3)]
    watched = draw.random() < 0.4
    made = "x = tf.constant(DATA)\n" if watched else "x = tf.Variable(DATA)\n"
    watch = "    tape.watch(x)\n" if watched else ""
    head = "import tensorflow as tf, numpy as np\n"
    ask = "g = tape.gradient(loss, x)\n"
    if form in ("function", "compiled"):
        mark = "@tf.function\n" if form == "compiled" else ""
        body = indented(lines, 4) + "    return loss\n"
        cell = f"{head}{mark}def f(x):\n{body}{made}with tf.GradientTape() as tape:\n{watch}    loss = f(x)\n{ask}"
    elif form == "layer":
        body = indented(lines, 8) + "        return loss\n"
        cell = (
            f"{head}class L(tf.keras.layers.Layer):\n    def call(self, x):\n{body}layer = L()\n{made}"
            f"with tf.GradientTape() as tape:\n{watch}    loss = layer(x)\n{ask}"
        )
    elif form == "loop":
        body = indented(lines, 8)
        inside = f"    with tf.GradientTape() as tape:\n{watch.replace('    ', '        ')}{body}    {ask}"
        cell = f"{head}{made}for turn in range(2):\n{inside}"
    else:
        cell = f"{head}{made}with tf.GradientTape() as tape:\n{watch}{indented(lines, 4)}{ask}"
    first = next(i for i, line in enumerate(cell.split("\n"), 1) if line.strip() == lines[0])
    return cell.replace("DATA", str(numbers)), first


def drawn(seed: int, count: int) -> list[Cell]:
    """``count`` cells, half of them sound."""
    draw, cells = random.Random(seed), list[Cell]()
    faults, changes = list(FAULTS), list(CHANGES)
    while len(cells) < count:
        form = draw.choice(FORMS)
        if len(cells) % 2:
            lines, _ = chain(draw, "")
            cells.append(Cell(written(draw, lines, form)[0], f"sound {form}", (), 0))
        elif draw.random() < 0.75:
            fault = draw.choice(faults)
            if fault in ("numpy", "float", "state") and form == "compiled":
                continue
            lines, at = chain(draw, fault)
            source, first = written(draw, lines, form)
            cells.append(Cell(source, fault, FAULTS[fault][1], first + at))
        else:
            change = draw.choice(changes)
            old, new, codes = CHANGES[change]
            lines, _ = chain(draw, "")
            source, _ = written(draw, lines, draw.choice(("plain", "function", "layer")))
            data = source[source.index("([") : source.index("])") + 1][1:]
            old, new = old.replace("DATA", data), new.replace("DATA", data)
            if old in source and not ("watch" in source and change in ("rebound", "copy")):
                cells.append(Cell(source.replace(old, new, 1), change, codes, 0))
    return cells


def run(source: str, number: int) -> tuple[Any, dict[str, Any], str]:
    import tfmagic

    name, space = f"<blind {number}>", {"__name__": "__main__"}
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    tape, error = tfmagic.Tape(lambda: space), ""
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            with tape:
                exec(compile(source, name, "exec"), space)
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
    return tape.recording, space, error


def cured(space: dict[str, Any]) -> bool:
    """Whether the cell's gradient is there, finite and not all zero."""
    import numpy as np

    found = np.asarray(space["g"]) if space.get("g") is not None else None
    return found is not None and bool(np.isfinite(found).all() and found.any())


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("seed", nargs="?", type=int, default=1)
    reader.add_argument("--count", type=int, default=320)
    reader.add_argument(
        "--show", action="store_true", help="print every cell that was told wrongly"
    )
    options = reader.parse_args()
    table, repairs = defaultdict[str, Counter[str]](Counter), Counter[str]()
    for number, cell in enumerate(drawn(options.seed, options.count)):
        recording, space, error = run(cell.source, number)
        told = [v for v in recording.verdicts if not v.fine]
        if error and "non-persistent" not in error:
            how = "unsound"  # it never came to its question
        elif not cell.codes:
            sound = cured(space)
            how = "unsound" if not sound else "false alarm" if told else "right"
        elif not told:
            how = "silent" if not cured(space) else "unsound"
        else:
            right = told[0].code in cell.codes
            lines = not cell.line or told[0].line_number == cell.line
            how = "right" if right and lines else "wrong line" if right else "wrong"
        group = cell.kind
        table[group][how] += 1
        if options.show and how not in ("right", "unsound"):
            print(f"--- {how}: {cell.kind} wants {cell.codes} {cell.line}, told",
                  [(v.code, v.line_number) for v in told[:2]], error[:80], f"\n{cell.source}")  # fmt: skip
        if told and told[0].replaces[0] and cell.codes:
            repairs["offered"] += 1
            _, again, failed = run(told[0].repaired(cell.source), number)
            good = cured(again) and not failed
            repairs["cured" if good else "not cured"] += 1
            if options.show and not good:
                print(f"--- not cured: {cell.kind} {failed[:90]}\n{told[0].repaired(cell.source)}")
    columns = ("right", "wrong", "wrong line", "silent", "false alarm", "unsound")
    print(f"{'':16}" + "".join(f"{c:>12}" for c in columns))
    for group, counts in sorted(table.items()):
        print(f"{group:16}" + "".join(f"{counts[c] or '':>12}" for c in columns))
    total: Counter[str] = sum(table.values(), Counter())
    print(f"{'all':16}" + "".join(f"{total[c]:>12}" for c in columns))
    print("repairs:", dict(repairs))


if __name__ == "__main__":
    main()
