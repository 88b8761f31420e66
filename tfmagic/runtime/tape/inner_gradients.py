"""Gradients that a function asked for itself, as small recordings that can be judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from math import isfinite

from tfmagic.analysis.verdicts import judged
from tfmagic.model import (
    Gradient,
    GradientCall,
    Op,
    Recording,
    Run,
    TensorInfo,
    VariableInfo,
    Verdict,
)
from tfmagic.runtime.autodiff.inner_calls import InnerGradients, InnerSource
from tfmagic.runtime.capture.log import Log
from tfmagic.runtime.tape.bodies import body
from tfmagic.runtime.tape.gaps import no_gradient
from tfmagic.runtime.tape.lines import Lines

__all__ = ["inner_verdicts"]

#: Where numbers were made up only a None is told: how large something is means nothing.
_FINE = ("ok", "expected", "vanishing", "exploding")


def inner_verdicts(
    log: Log, lines: Lines, name_of: Callable[[int], str], runs: Sequence[Run]
) -> Iterator[Verdict]:
    """What is wrong with the gradients that functions asked for, each source and cause once.

    One that in a later step of its run is neither zero nor without an end is no trouble.
    """
    learning = {
        series.name
        for run in runs
        for series in run.series
        if series.kind == "gradient" and isfinite(series.values[-1]) and any(series.values)
    }
    seen = set[tuple[str, str, str, int]]()
    for told in log.inner:
        found: tuple[Gradient, ...] = ()
        with suppress(Exception):  # what cannot be judged is not told
            found = _judged(told, lines, name_of)
        for gradient in found:
            verdict = gradient.verdict
            goes_on = gradient.value is not None and (told.made_up or gradient.source in learning)
            if verdict is None or verdict.code in _FINE or goes_on:
                continue
            key = (verdict.code, verdict.target, verdict.source, verdict.line_number)
            if key not in seen:
                seen.add(key)
                yield replace(verdict, op=None, ops=())


def _judged(
    told: InnerGradients, lines: Lines, name_of: Callable[[int], str]
) -> tuple[Gradient, ...]:
    small = _recording(told, lines, name_of)
    small = replace(small, lines=lines.lines, cells=lines.cells)
    return judged(small).gradients[0].gradients


def _name(source: InnerSource, name_of: Callable[[int], str]) -> str:
    """The user's name of a source, or TensorFlow's."""
    known = name_of(source.key) if source.key is not None else ""
    return source.label if not known or known.isdecimal() else known


def _recording(told: InnerGradients, lines: Lines, name_of: Callable[[int], str]) -> Recording:
    """The function as one call that takes its inputs and gives the target."""
    inside = told.inside
    inside.outputs = [told.target]
    opened = body(0, inside, lines.at)
    variables, handles = list[VariableInfo](), dict[int, int]()
    for source in told.sources:
        if source.key is not None and source.number is not None:
            handles[source.number] = len(variables)
            name = _name(source, name_of)
            variables.append(
                VariableInfo(
                    len(variables), name, None, source.dtype, "", source.trainable, source.label
                )
            )
    tensors = [
        replace(opened.tensors[number], id=place, op=None, role="input")
        for place, number in enumerate(inside.inputs)
    ]
    for place, number in enumerate(inside.inputs):
        if number in handles:
            tensors[place] = replace(tensors[place], role="handle", variable=handles[number])
    result = replace(opened.tensors[told.target], id=len(tensors), op=0, output=0, role="op")
    result = replace(result, name=told.name)
    call = Op(
        0, f"__inference_{told.function}_0", inputs=tuple(range(len(tensors))),
        outputs=(result.id,), function=told.function,
    )  # fmt: skip
    tensors.append(result)
    gradients = list[Gradient]()
    places = {number: place for place, number in enumerate(inside.inputs)}
    for source in told.sources:
        if not source.none and source.gradient is None:
            continue  # there was one, and it is not known
        held: int | None = None
        if source.gradient is not None and not source.none:
            held = len(tensors)
            info = source.gradient
            tensors.append(
                TensorInfo(held, info.shape, info.dtype, "", "input", value=info.value())
            )
        at = places.get(source.number) if source.number is not None else None
        variable = handles.get(source.number) if source.number is not None else None
        gradients.append(
            Gradient(
                target=told.name,
                source=_name(source, name_of),
                value=tensors[held].value if held is not None else None,
                tensor=held,
                variable=variable,
                source_tensors=(at,) if at is not None and variable is None else (),
                source_dtype=source.dtype,
            )
        )
    asked = GradientCall(0, "cell", (told.name,), (result.id,), tuple(gradients))
    return Recording(
        ops=(call,),
        tensors=tuple(tensors),
        variables=tuple(variables),
        gradients=(asked,),
        bodies=(opened,),
        no_gradient=no_gradient({op.type for op in opened.ops}),
    )
