"""A recording becomes JSON and back without loss; anything else is refused in one line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from tfmagic import load
from tfmagic.errors import LoadError
from tfmagic.language import Message, use
from tfmagic.model import (
    Cell,
    Failure,
    Frame,
    Gap,
    Gradient,
    GradientCall,
    Line,
    Op,
    Recording,
    Stats,
    TensorInfo,
    Value,
    VariableInfo,
    Verdict,
    from_json,
    to_json,
)
from tfmagic.model.heat import Heat
from tfmagic.model.inventory import Change, Conversion, Holding, Inventory

numbers = st.one_of(
    st.floats(),
    st.integers(-(2**40), 2**40),
    st.booleans(),
    st.text(max_size=5),
    st.complex_numbers(allow_nan=False),
)
data = st.recursive(numbers, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=6)


def recording(value: Any = 1.5, text: str = "W_1") -> Recording:
    """A recording with something in every field."""
    stats = Stats(4, 4, -1.0, 2.0, 0.5, math.inf, 1, 2, 3)
    tensor = TensorInfo(
        0,
        (2, None),
        "float32",
        "CPU:0",
        role="read",
        variable=0,
        name=text,
        value=Value(data=value, stats=stats),
        bytes=16,
    )
    verdict = Verdict(
        "rebound",
        "Loss",
        text,
        text,
        3,
        0,
        ("a", "b"),
        Message.of("verdict.rebound", source="W", text=text, line=3),
        "r",
        (0,),
    )
    gradient = Gradient(
        "Loss", text, "[0]", (2,), "float32", Value(stats=stats), 0, 0, (0,), 2.0, (1, 3), verdict
    )
    return Recording(
        ops=(
            Op(
                0,
                "MatMul",
                inputs=(0,),
                outputs=(0,),
                attrs=(("a", value), ("b", text)),
                scope="s",
                line=0,
                stack=(Frame("f", 0),),
                duration=0.1,
                call=0,
            ),
        ),
        tensors=(tensor,),
        variables=(VariableInfo(0, text, None, "float32", "", True, reads=(0,), assigned_by=(0,)),),
        lines=(Line(0, 0, 7, text),),
        cells=(Cell(0, "In [1]", text),),
        gradients=(GradientCall(0, "cell", ("Loss",), (0,), (gradient,), 0, text),),
        complete=(Gap("threads", Message.of("gap.fault", n=3, detail=text), 3),),
        failure=Failure("ValueError", text, 0),
        tensor_gradients=((0, 0),),
        seconds=1.5,
        versions=(("tensorflow", "2"),),
        said=(
            Message.plain(text),
            Message.of("gap.features", n=1, names=(Message("feature.later"), text)),
        ),
    )


def same(one: Any, other: Any) -> bool:
    """Equal, where NaN is NaN."""
    return repr(one) == repr(other)


@given(data, st.text(max_size=20))
@settings(max_examples=150, deadline=None)
def test_there_and_back(value: Any, text: str) -> None:
    before = recording(value, text)
    written = to_json(before)
    json.loads(written, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert same(from_json(written), before)


def test_load_takes_text_or_a_file(tmp_path: Any) -> None:
    before = recording()
    path = tmp_path / "r.json"
    path.write_text(before.to_json(), encoding="utf-8")
    assert load(path) == load(str(path)) == load(before.to_json()) == before


DAMAGE = {
    "nothing": "",
    "text": "hello",
    "a list": "[]",
    "another json": '{"a": 1}',
    "a newer version": '{"format": "tfmagic-recording", "version": 99, "recording": {}}',
    "no recording": '{"format": "tfmagic-recording", "version": 1}',
    "not json numbers": '{"format": "tfmagic-recording", "version": NaN}',
    "deep": "[" * 100_000,
    "unknown field": '{"format":"tfmagic-recording","version":1,"recording":{"evil":1}}',
    "wrong type": '{"format":"tfmagic-recording","version":1,"recording":{"ops":3}}',
    "dangling": '{"format":"tfmagic-recording","version":1,"recording":'
    '{"ops":[{"index":0,"type":"X","inputs":[5]}]}}',
    "misnumbered": '{"format":"tfmagic-recording","version":1,"recording":'
    '{"ops":[{"index":7,"type":"X"}]}}',
    "a class of its own": '{"format":"tfmagic-recording","version":1,"recording":'
    '{"ops":[{"index":0,"type":{"$":"os.system"}}]}}',
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_one_line(kind: str) -> None:
    with pytest.raises(LoadError) as caught:
        from_json(DAMAGE[kind])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(LoadError) as caught:
        load("nowhere/at/all.json")
    assert "nowhere" in str(caught.value)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_recording_with_a_hole_is_loaded_or_refused(draw: Any) -> None:
    document = json.loads(to_json(recording()))
    spot: Any = document["recording"]
    while True:
        keys = list(spot) if isinstance(spot, dict) else list(range(len(spot)))
        if not keys:
            break
        key = draw.draw(st.sampled_from(keys))
        if isinstance(spot[key], (dict, list)) and spot[key] and draw.draw(st.booleans()):
            spot = spot[key]
            continue
        spot[key] = draw.draw(st.sampled_from([None, 3, -1, "x", [], {}, 1e9, {"$": "nan"}, True]))
        break
    try:
        from_json(json.dumps(document))
    except LoadError as error:
        assert "\n" not in str(error)


def test_a_file_of_the_version_before_says_what_it_said_then() -> None:
    """Written under Korean by the version that kept sentences."""
    old = load(Path(__file__).with_name("version_1.json"))
    assert [gap.code for gap in old.complete] == ["functions", "python"]
    assert "tf.function 호출 1번" in old.complete[0].message and old.notes == ()
    checks = [g.check for call in old.gradients for g in call.gradients]
    assert [check.agrees for check in checks] == [True, None, None]
    assert "gradient가 없습니다" in checks[1].why and not checks[0].why
    assert "target이" in old.jacobians[1].error
    assert "ReLU에 양수 입력이" in old.verdicts[0].message and old.verdicts[0].replaces != (0, 0)
    assert "tf.nn.leaky_relu" in old.verdicts[0].repair
    assert from_json(to_json(old)) == old


def test_a_recording_kept_under_korean_reads_in_english_under_english() -> None:
    use("ko")
    try:
        text = to_json(recording())
        korean = from_json(text)
        spoken = [*korean.notes, *(gap.message for gap in korean.complete)]
    finally:
        use("en")
    english = from_json(text)
    assert english == korean
    assert "연산" not in text and any("것" in told or "니다" in told for told in spoken)
    assert english.complete[0].message.startswith("tfmagic failed to note 3 things")
    assert "gradients of the recording, W_1" in english.notes[1]


@pytest.mark.parametrize(
    "said", ['{"key":"no.such"}', '{"key":"gap.python"}', '{"key":"","values":[["text",5]]}']
)
def test_what_is_no_sentence_of_ours_is_refused(said: str) -> None:
    with pytest.raises(LoadError):
        from_json('{"format":"tfmagic-recording","version":2,"recording":{"said":[' + said + "]}}")


def test_find_and_edges() -> None:
    rec = recording()
    assert rec.find("W_1") is rec.tensors[0] and rec.find("nothing") is None
    assert rec.verdicts[0].code == "rebound"
    assert rec.variable_edges() == ()  # its only op assigns it


def inventory(value: Any) -> Inventory:
    """An inventory with something in every field."""
    holding = Holding(
        "W_1", "variable", "Variable", 1, (2, None), "float32", "CPU:0", 16, True, 4,
        Value(data=value), (1, 0, 3), ("m.w",), ("b",), Change(0.5, True, True, "tensor", (3,)), "n",
        Heat(((1.0,),), (2, 2), (0,)),
    )  # fmt: skip
    return Inventory((holding,), "m", 1, 4, 16, "In [8]", ("gone",), 2, True)


@given(data)
@settings(max_examples=50)
def test_an_inventory_and_a_conversion_become_json_and_back(value: Any) -> None:
    how = Conversion("1.5", "float", "float", "float32", (), 0.1, "float32", "no", ("x",), "e")
    for thing in (inventory(value), how):
        again = load(thing.to_json())
        assert type(again) is type(thing) and repr(again) == repr(thing)


def test_a_document_of_an_unknown_kind_is_refused() -> None:
    for kind in ('"tfmagic-cake"', "[1]", "null"):
        with pytest.raises(LoadError):
            load(f'{{"format": {kind}, "version": 1}}')
