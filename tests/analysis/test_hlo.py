"""XLA's listing: which instructions run, how often, and which op they come from."""

from __future__ import annotations

from tfmagic.analysis.hlo import Instruction, instructions

LISTING = """\
HloModule a_inference_f_12, is_scheduled=true, entry_computation_layout={(f32[8,8]{1,0})->f32[]}

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%fused (p: f32[8,8]) -> f32[8,8] {
  %p = f32[8,8]{1,0} parameter(0)
  ROOT %tanh.1 = f32[8,8]{1,0} tanh(%p), metadata={op_type="Tanh" op_name="Tanh_1"}
}

%body (t: (s32[], f32[8,8])) -> (s32[], f32[8,8]) {
  %t = (s32[], f32[8,8]{1,0}) parameter(0)
  %x = f32[8,8]{1,0} get-tuple-element(%t), index=1
  %dot.1 = f32[8,8]{1,0} dot(%x, %x), lhs_contracting_dims={1}, metadata={op_type="MatMul" op_name="while/body/MatMul"}
  ROOT %r = (s32[], /*index=1*/f32[8,8]{1,0}) tuple(%i, %dot.1)
}

%goes_on (t: (s32[], f32[8,8])) -> pred[] {
  ROOT %less = pred[] compare(%i, %n), direction=LT
}

ENTRY %main.9 (x.1: f32[8,8]) -> f32[] {
  %x.1 = f32[8,8]{1,0} parameter(0)
  %while.1 = (s32[], f32[8,8]{1,0}) while(%start), condition=%goes_on, body=%body, metadata={op_type="While" op_name="while"}, backend_config={"known_trip_count":{"n":"20"}}
  %y = f32[8,8]{1,0} fusion(%x.1), kind=kLoop, calls=%fused, metadata={op_type="Tanh" op_name="Tanh_1"}
  %z = f32[8,8]{1,0} custom-call(%y, %y), custom_call_target="__onednn$matmul", metadata={op_type="MatMul" op_name="MatMul_1"}
  ROOT %total = f32[] reduce(%z, %zero), dimensions={0,1}, to_apply=%add
}
"""


def found(listing: str = LISTING) -> dict[str, Instruction]:
    return {i.opcode: i for i in instructions(listing)}


def test_an_instruction_in_a_loop_runs_as_often_as_the_loop_turns() -> None:
    every = found()
    assert every["dot"] == Instruction("dot", "MatMul", "while/body/MatMul", turns=20, looped=True)
    assert every["while"].trips == 20 and every["while"].kind == "While"
    assert (every["tanh"].turns, every["tanh"].looped) == (1, False)


def test_loops_in_loops_multiply_and_one_of_unknown_turns_makes_all_unknown() -> None:
    outer = LISTING.replace(
        "ROOT %r = ", "%w = f32[] while(%u), body=%inner\n  ROOT %r = "
    ).replace(
        "%goes_on (t", "%inner (u: f32[]) -> f32[] {\n  ROOT %l = f32[] log(%u)\n}\n\n%goes_on (t"
    )
    assert found(outer)["log"].turns is None
    told = outer.replace(
        "body=%inner", 'body=%inner, backend_config={"known_trip_count":{"n":"3"}}'
    )
    assert found(told)["log"].turns == 60


def test_calls_are_named_and_what_works_element_by_element_is_not_looked_into() -> None:
    every = found()
    assert every["custom-call"].target == "__onednn$matmul"
    assert "add" not in every and every["reduce"].turns == 1


def test_a_computation_that_two_places_call_runs_twice() -> None:
    twice = LISTING.replace(
        "  %z = f32", "  %y2 = f32[8,8]{1,0} fusion(%y), kind=kLoop, calls=%fused\n  %z = f32"
    )
    assert sum(i.opcode == "tanh" for i in instructions(twice)) == 2


def test_what_is_no_listing_has_no_instructions() -> None:
    assert instructions("") == instructions("not a listing\n  at (all)") == ()
    assert instructions("ENTRY a {\n  x = f32[] call(y), to_apply=a\n}\n")[0].opcode == "call"
