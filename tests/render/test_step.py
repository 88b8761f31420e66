"""The two layers as a picture, as text and as HTML, without TensorFlow."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tfmagic import language
from tfmagic.analysis.hand import by_hand
from tfmagic.analysis.landscape import landscape
from tfmagic.analysis.stepping import focus
from tfmagic.model.step import Network, StepState
from tfmagic.render import curves, neurons, shapes
from tfmagic.render.step import StepView


def state(activation: tuple[str, str] = ("linear", "linear"), **changed: Any) -> StepState:
    """The lesson's network, gone forward and back."""
    numbers = {
        "X": [[2.0], [3.0]],
        "Y": [[1.0]],
        "W_1": [[0.11, 0.21], [0.12, 0.08]],
        "W_2": [[0.14, 0.15]],
    } | changed
    network = Network(**{n: np.array(v) for n, v in numbers.items()}, activation=activation)
    most = len(network.backward_pieces)
    return StepState(network, by_hand(network), 0.05, network, network, forward=3, backward=most)


def large() -> StepState:
    """A network of 10,000 weights and a batch."""
    draw = np.random.default_rng(1).normal
    return state(("relu", "linear"), X=draw(size=(90, 4)), Y=draw(size=(10, 4)),
                 W_1=draw(size=(100, 90)), W_2=draw(size=(10, 100)))  # fmt: skip


def texts(found: dict[str, Any]) -> str:
    return " ".join(line for mark in found.values() for line in mark.get("lines", ()))


def test_every_mark_has_its_place_in_the_picture() -> None:
    for each in (state(), state(("sigmoid", "tanh"), b_1=[[0.1], [0.2]], b_2=[[0.3]]), large()):
        root = ElementTree.fromstring(neurons.skeleton(each.network))
        groups = {g.get("data-part"): g for g in root.iter() if g.get("data-part")}
        for part, mark in neurons.marks(each).items():
            found = groups[part].findall("{http://www.w3.org/2000/svg}text")
            assert len(found) == len(mark.get("lines", ())), part


def test_what_was_not_stepped_to_is_not_told() -> None:
    whole = state()
    for forward, known, unknown in ((0, (), ("0.85", "0.191", "0.32724")),
                                    (1, ("0.85",), ("0.191", "0.32724")),
                                    (3, ("0.85", "0.191", "0.32724"), ("-0.809",))):  # fmt: skip
        told = texts(neurons.marks(replace(whole, forward=forward, backward=0)))
        assert all(word in told for word in known) and not any(word in told for word in unknown)
    told = texts(neurons.marks(replace(whole, backward=2)))
    assert "-0.38832" in told and "-0.2265" not in told
    assert "∇" not in texts(neurons.marks(whole, hide=True))


def test_size_and_sign_are_seen() -> None:
    found = neurons.marks(state(W_1=[[0.1, -0.4], [0.2, 0.05]]))
    assert found["W_1[0,1]>"]["line"] != found["W_1[0,0]>"]["line"]
    assert found["W_1[0,1]>"]["width"] > found["W_1[1,0]>"]["width"] > found["W_1[1,1]>"]["width"]


def test_a_large_layer_is_drawn_in_part_and_says_so() -> None:
    found = neurons.marks(large())
    assert found["H_1…"]["lines"][1] == "95 more"
    assert "W_1[4,4]>" in found and "W_1[5,5]>" not in found
    assert len(neurons.filled(neurons.skeleton(large().network), found, "x")) < 60_000


def test_the_view_says_hand_and_tape() -> None:
    bundle = StepView([state()]).mimebundle()
    assert "(-0.809) · 0.14 · 2 = -0.22652" in bundle["text/plain"]
    assert "agree" in bundle["text/plain"] and "data:image/svg+xml" in bundle["text/html"]
    assert len(bundle["text/html"]) < 60_000


def test_each_way_to_the_loss_has_its_line() -> None:
    both = state(("sigmoid", "sigmoid"), W_2=[[0.4, 0.45], [0.5, 0.55]], Y=[[0.0], [1.0]])
    (row, *_) = StepView([both]).tables()[1].rows
    assert len(row.cells[2].split("\n")) == 5 and row.cells[2].count("+ ") == 2


def test_numbers_that_are_no_longer_finite_are_told() -> None:
    broken = state(W_1=[[np.inf, 1.0], [1.0, 1.0]])
    assert "no longer finite" in repr(StepView([broken]))
    assert "<svg" in curves.loss_curve([0, 1], [1.0, np.nan], 1)
    assert "<svg" in curves.loss_curve([0], [np.inf], 0)


def test_a_large_network_is_cut_to_what_can_be_read() -> None:
    bundle = StepView([large()]).mimebundle()
    assert "more" in bundle["text/plain"] and len(bundle["text/html"]) < 100_000


def test_the_loss_curve_turns_logarithmic_where_it_must() -> None:
    assert "(log)" not in curves.loss_curve([0, 1, 2], [3.0, 2.0, 1.0], 2)
    assert "(log)" in curves.loss_curve([0, 1, 2], [3000.0, 2.0, 1.0], 2)
    many = curves.loss_curve(list(range(5000)), list(np.linspace(2, 1, 5000)), 0)
    assert len(many) < 12_000


def test_the_landscape_is_the_loss_and_the_path_what_was_walked() -> None:
    first = state()
    second = replace(first, network=replace(first.network, W_1=first.network.W_1 + 0.1))
    found = landscape([first, second], 1, ("W_1", (0, 0)), ("W_2", (0, 1)), grid=5)
    assert np.array(found.path) == pytest.approx(np.array([[0.11, 0.15], [0.21, 0.15]]))
    xs, ys = (np.linspace(*span, 5) for span in found.spans)
    W_1, W_2 = second.network.W_1.copy(), second.network.W_2.copy()
    W_1[0, 0], W_2[0, 1] = xs[3], ys[1]
    assert found.losses[1, 3] == pytest.approx(
        by_hand(replace(second.network, W_1=W_1, W_2=W_2)).loss
    )
    assert "W_1[0,0]" in curves.landscape(found) and "image/png" in curves.landscape(found)


def test_each_piece_of_the_chain_rule_has_its_factor_and_its_place() -> None:
    whole = state(("sigmoid", "sigmoid"), b_1=[[0.1], [0.2]], b_2=[[0.3]])
    chosen = ("W_1", (0, 1))
    seen = {}
    for k in range(1, len(whole.network.backward_pieces) + 1):
        found = focus(replace(whole, backward=k), chosen)
        factors = [found.lines[0].terms[0][i] for i in found.factors]
        seen[found.piece] = [(f.kind, f.part) for f in factors]
        assert found.parts
    assert seen["dY_hat"] == [("error", "Y_hat[0]")]
    assert seen["dZ_2"] == [("slope", "Y_hat[0]")]
    assert seen["dW_2"] == [("input", "H_1[0]")]
    assert seen["dH_1"] == [("weight", "W_2[0,0]")]
    assert seen["dZ_1"] == [("slope", "H_1[0]")]
    assert seen["dW_1"] == [("input", "X[1]")]


@pytest.mark.parametrize("chosen", [("W_1", (1, 1)), ("W_2", (0, 1)), ("b_1", (1, 0)),
                                    ("b_2", (0, 0)), ("X", (1, 0)), ("Y", (0, 0))])  # fmt: skip
def test_any_number_can_be_looked_at_at_any_piece(chosen: Any) -> None:
    whole = state(("tanh", "linear"), b_1=[[0.1], [0.2]], b_2=[[0.3]])
    drawn = {part.rstrip("<>") for part in neurons.marks(whole)}
    for forward in (1, 2, 3):
        found = focus(replace(whole, forward=forward, backward=0), chosen)
        assert found.lines and found.parts <= drawn
    for k in range(1, len(whole.network.backward_pieces) + 1):
        found = focus(replace(whole, backward=k), chosen)
        assert found.factors and found.parts <= drawn
    assert focus(replace(whole, updated=1), chosen).lines[0].text


def test_a_number_has_as_many_digits_as_its_box_holds() -> None:
    for value, room, text in ((0.148243, 7, "0.1482"), (-0.0476789, 7, "-0.0477"), (6.01786e11, 7, "6.02e11"),
                              (-0.00057642, 7, "-5.8e-4"), (-0.00057642, 10, "-0.0005764"), (2.0, 7, "2")):  # fmt: skip
        assert neurons._brief(value, room) == text


def test_shapes_that_do_not_fit_are_drawn() -> None:
    given = {"X": (2, 1), "W_1": (2, 2), "W_2": (1, 3), "Y": (1,)}
    assert shapes.words(given) == "Ŷ = W_2 (1, 3) ✗ W_1 (2, 2) · X (2, 1)"
    bundle = shapes.picture(given, "<b>wrong</b>")
    assert "&lt;b&gt;" in bundle["text/html"] and "data:image/svg" in bundle["text/html"]
    assert "✗" in shapes.words({"X": (3,), "W_1": (2, 2), "W_2": (1, 2)})


def test_a_target_that_does_not_fit_is_drawn_behind_the_product() -> None:
    given = {"X": (2, 1), "W_1": (2, 2), "W_2": (1, 2), "Y": (3,)}
    assert shapes.words(given).endswith("· X (2, 1) = (1, 1) ✗ Y (3,)")
    svg, _ = shapes._svg(given, "")
    assert ">Y</text>" in svg and svg.count("✗") == 1
    for fits in ((1,), (), (1, 1)):
        assert "Y" not in shapes.words(given | {"Y": fits}).replace("Ŷ", "")


def test_korean_speaks_of_the_same() -> None:
    language.use("ko")
    said = repr(StepView([state()]))
    assert "손계산" in said and re.search(r"-0\.22652", said)
