"""Two layers on a real tape: the lesson's figures, a published example, random networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfmagic import TwoLayer
from tfmagic.errors import OptionError, ShapeError
from tfmagic.model.step import ACTIVATIONS

LESSON = {
    "X": [[2], [3]],
    "Y": [1],
    "W_1": [[0.11, 0.21], [0.12, 0.08]],
    "W_2": [[0.14, 0.15]],
}


@pytest.fixture
def lesson() -> TwoLayer:
    return TwoLayer(**LESSON)


# --- the lesson ----------------------------------------------------------------------------


def test_the_lessons_figures_step_by_step(lesson: TwoLayer) -> None:
    lesson.forward()
    assert lesson.hidden.ravel() == pytest.approx([0.85, 0.48])
    assert lesson.Y_hat.item() == pytest.approx(0.191)
    assert lesson.loss == pytest.approx(0.32724053, rel=1e-7)
    lesson.backward()
    assert lesson.gradients["W_1"].ravel() == pytest.approx([-0.22652, -0.33978, -0.2427, -0.36405])
    assert lesson.gradients["W_2"].ravel() == pytest.approx([-0.68765, -0.38832])
    lesson.update().forward()
    assert lesson.hidden.ravel() == pytest.approx([0.923619, 0.55887747])
    assert lesson.Y_hat.item() == pytest.approx(0.25574577)
    assert lesson.loss == pytest.approx(0.27695718, rel=1e-7)


def test_a_piece_at_a_time(lesson: TwoLayer) -> None:
    pieces = [lesson.forward(1).state.forward for _ in range(4)]
    assert pieces == [1, 2, 3, 1]  # a complete pass begins anew
    assert lesson.gradients == {}
    reached = [sorted(lesson.backward(1).gradients) for _ in range(4)]
    assert reached == [[], ["W_2"], ["W_2"], ["W_1", "W_2"]]
    lesson.update(1)
    assert lesson.weights["W_1"][0, 0] == pytest.approx(0.121326)
    assert lesson.weights["W_2"][0, 0] == pytest.approx(0.14)  # not yet
    assert lesson.loss == pytest.approx(0.32724053)
    lesson.update(1)
    assert lesson.weights["W_2"][0, 0] == pytest.approx(0.1743825)
    assert lesson.loss == pytest.approx(0.27695718) and lesson.state.step == 1


def test_an_update_does_what_is_missing_and_keeps_the_gradients_it_used(lesson: TwoLayer) -> None:
    lesson.update()
    assert lesson.gradients["W_2"].ravel() == pytest.approx([-0.68765, -0.38832])
    assert [state.loss for state in lesson.history] == pytest.approx([0.32724053, 0.27695718])


# --- a published example ---------------------------------------------------------------------


@pytest.fixture
def published() -> TwoLayer:
    """M. Mazur, A Step by Step Backpropagation Example (2015), in double precision."""
    return TwoLayer(
        X=np.array([0.05, 0.10]),
        Y=[0.01, 0.99],
        W_1=[[0.15, 0.20], [0.25, 0.30]],
        W_2=[[0.40, 0.45], [0.50, 0.55]],
        b_1=[0.35, 0.35],
        b_2=[0.60, 0.60],
        activation="sigmoid",
        lr=0.5,
        train_bias=False,
    )


def printed(value: Any, *figures: str) -> None:
    """Each number is the printed one; its last digit carries a rounding of what came before."""
    for found, figure in zip(np.ravel(value), figures, strict=True):
        assert found == pytest.approx(float(figure), abs=10 ** -len(figure.partition(".")[2]))


def test_a_published_example_figure_by_figure(published: TwoLayer) -> None:
    state = published.backward().state.passed
    printed(state.Z_1[0], "0.3775")
    printed(state.H_1, "0.593269992", "0.596884378")
    printed(state.Z_2[0], "1.105905967")
    printed(state.Y_hat, "0.75136507", "0.772928465")
    printed((state.Y_hat - published.Y) ** 2 / 2, "0.274811083", "0.023560026")
    printed(published.loss, "0.298371109")
    printed(state.dY_hat[0], "0.74136507")
    printed(state.dZ_2[0], "0.138498562")
    printed(published.gradients["W_2"][0, 0], "0.082167041")
    printed(state.dH_1[0], "0.036350306")
    printed(published.gradients["W_1"][0, 0], "0.000438568")
    factors = published.by_hand("W_1", 0, 0).terms
    printed([f.value for f in factors[0][:2]], "0.74136507", "0.186815602")
    printed(np.prod([f.value for f in factors[0][:3]]), "0.055399425")
    printed(np.prod([f.value for f in factors[1][:3]]), "-0.019049119")
    printed(factors[0][3].value, "0.241300709")
    weights = published.update().weights
    printed(weights["W_1"], "0.149780716", "0.19956143", "0.24975114", "0.29950229")
    printed(weights["W_2"], "0.35891648", "0.408666186", "0.511301270", "0.561370121")
    assert weights["b_1"].tolist() == [0.35, 0.35]


def test_the_published_example_after_many_rounds(published: TwoLayer) -> None:
    """0.0000351085 is printed for 10,000 rounds: it is the loss before the last of them.

    The loss printed after the first, 0.291027924, does not belong to the weights printed
    beside it: those give 0.291027774.
    """
    published.update()
    printed(published.loss, "0.291027774")
    published.run(9998)
    printed(published.loss, "0.0000351085")
    assert published.agreement.holds


# --- the hand calculation and the tape ---------------------------------------------------------


@settings(max_examples=500, deadline=None)
@given(
    st.tuples(*[st.integers(1, 5)] * 4),
    st.tuples(*[st.sampled_from(ACTIVATIONS)] * 2),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_tape_and_hand_agree_on_random_networks(
    shape: tuple[int, int, int, int], activation: tuple[str, str], bias: bool, seed: int
) -> None:
    inputs, hidden, outputs, samples = shape
    draw = np.random.default_rng(seed).normal
    model = TwoLayer(
        draw(size=(inputs, samples)).astype("float32"),
        draw(size=(outputs, samples)).astype("float32"),
        draw(size=(hidden, inputs)).astype("float32"),
        draw(size=(outputs, hidden)).astype("float32"),
        draw(size=hidden).astype("float32") if bias else None,
        draw(size=outputs).astype("float32") if bias else None,
        activation=activation,
    )
    assert model.agreement.holds, model.agreement
    assert model.agreement.tolerance == 1e-5


@pytest.mark.parametrize("activation", ["linear", "sigmoid", "tanh", "relu,linear"])
def test_the_gradients_are_those_of_a_tape_of_ones_own(activation: str) -> None:
    model = TwoLayer([[1.0, 2.0], [0.5, -1.0]], [[1.0, 0.0]], [[0.3, -0.2], [0.8, 0.5], [-0.4, 0.9]],
                     [[0.2, -0.7, 0.4]], b_1=[0.1, 0.2, 0.3], activation=activation)  # fmt: skip
    functions = {"linear": tf.identity, "sigmoid": tf.sigmoid, "tanh": tf.tanh, "relu": tf.nn.relu}
    first, second = (functions[name] for name in model.state.network.activation)
    W_1, W_2, b_1 = (tf.Variable(model.weights[name]) for name in ("W_1", "W_2", "b_1"))
    with tf.GradientTape() as tape:
        Y_hat = second(W_2 @ first(W_1 @ model.X + b_1[:, None]))
        Loss = tf.reduce_sum((Y_hat - model.Y) ** 2) / 2
    wanted = tape.gradient(Loss, {"W_1": W_1, "W_2": W_2, "b_1": b_1})
    found = model.backward().gradients
    assert model.loss == pytest.approx(float(Loss))
    for name, gradient in wanted.items():
        assert found[name] == pytest.approx(gradient.numpy(), rel=1e-5, abs=1e-7)
        assert found[name].shape == tuple(gradient.shape)


# --- history -------------------------------------------------------------------------------


def test_undo_goes_back_to_the_start_call_by_call(lesson: TwoLayer) -> None:
    seen = []
    acts = [
        lambda: lesson.forward(1), lesson.forward, lambda: lesson.backward(1), lesson.update,
        lambda: lesson.run(20), lambda: lesson.set(lr=0.2), lambda: lesson.set(W_1=[[1, 2], [3, 4]]),
        lambda: lesson.goto(3), lesson.step, lambda: lesson.update(1), lesson.reset,
    ]  # fmt: skip
    for act in acts:
        seen.append(lesson.state)
        act()
    for state in reversed(seen):
        assert lesson.undo().state is state
    assert lesson.undone and lesson.undo().state is seen[0]


def test_a_run_is_so_many_steps(lesson: TwoLayer) -> None:
    other = TwoLayer(**LESSON)
    lesson.run(30)
    for _ in range(30):
        other.step()
    assert len(lesson.history) == 31
    assert [s.loss for s in lesson.history] == pytest.approx(
        [s.loss for s in other.history], rel=1e-5
    )
    assert lesson.weights["W_1"] == pytest.approx(other.weights["W_1"], rel=1e-5)


def test_a_run_may_begin_amid_an_update(lesson: TwoLayer) -> None:
    other = TwoLayer(**LESSON)
    lesson.update(1).run(2)
    other.run(2)
    assert lesson.weights["W_2"] == pytest.approx(other.weights["W_2"])
    assert lesson.state.step == 2


def test_looking_back_keeps_what_came_later_until_something_is_done(lesson: TwoLayer) -> None:
    lesson.run(5).goto(2)
    assert lesson.at == 2 and len(lesson.history) == 6
    assert lesson.goto(5).state.step == 5
    lesson.goto(2).step()
    assert len(lesson.history) == 4


def test_changes_of_one_gesture_are_taken_back_together(lesson: TwoLayer) -> None:
    before = lesson.state
    for k in range(50):
        lesson.set(W_1=[[k, 0.21], [0.12, 0.08]], gesture="drag 1")
    assert lesson.undo().state is before


def test_a_change_by_hand_is_computed_anew(lesson: TwoLayer) -> None:
    lesson.backward().set(X=[[4], [6]])
    assert lesson.hidden.ravel() == pytest.approx([1.7, 0.96])
    assert lesson.gradients["W_2"] == pytest.approx((lesson.Y_hat - 1) @ lesson.hidden.T)
    lesson.set(X=[[4, 1], [6, 1]], Y=[[1, 0]])  # more samples are no other network
    assert lesson.Y_hat.shape == (1, 2)


def test_a_run_that_diverges_ends_itself(lesson: TwoLayer) -> None:
    lesson.set(lr=50.0).run(1000)
    assert lesson.diverged and lesson.state.step < 100
    assert not lesson.agreement.finite


@pytest.mark.parametrize("lr, falls", [(0.05, True), (0.0, None), (-0.05, False)])
def test_any_rate_is_taken(lesson: TwoLayer, lr: float, falls: bool | None) -> None:
    before = lesson.set(lr=lr).loss
    after = lesson.step().loss
    assert (after < before, after > before) == (falls is True, falls is False)


def test_a_long_run_of_a_large_network_keeps_a_part_of_its_states() -> None:
    model = TwoLayer(
        np.ones(100), np.ones(10), np.full((80, 100), 0.001), np.full((10, 80), 0.001), lr=1e-3
    )
    model.run(2000)
    steps = [state.step for state in model.history]
    assert len(steps) < 1500 and steps[-1] == 2000 and steps == sorted(set(steps))
    assert model.goto(1001).state.step <= 1001


# --- the same as code ----------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["linear", "sigmoid", "relu,linear"])
def test_the_code_comes_to_the_same_state(activation: str) -> None:
    model = TwoLayer(**LESSON, b_1=[0.1, 0.2], activation=activation, lr=0.1, train_bias=False)
    for act in (model.forward, model.backward, model.step, lambda: model.run(3),
                lambda: model.set(W_2=[[0.3, -1]]), model.step, lambda: model.update(1)):  # fmt: skip
        act()
        names: dict[str, Any] = {}
        exec(model.as_code(), names)
        for name, value in model.weights.items():
            assert names[name].numpy().ravel() == pytest.approx(value.ravel(), rel=1e-6)
        assert float(names["Loss"]) == pytest.approx(model.loss, rel=1e-6)
        assert names["H_1"].numpy() == pytest.approx(model.hidden, rel=1e-6)


# --- what is given -------------------------------------------------------------------------


def test_what_is_given_stays_as_it_is() -> None:
    W_1 = tf.Variable(LESSON["W_1"])
    model = TwoLayer(LESSON["X"], LESSON["Y"], W_1, LESSON["W_2"]).run(3)
    assert W_1.numpy() == pytest.approx(np.array(LESSON["W_1"]))
    with pytest.raises(ValueError, match="read-only"):
        model.weights["W_1"][0, 0] = 5


def test_precision_is_that_of_tensorflow() -> None:
    assert TwoLayer(**LESSON).loss == np.float32(TwoLayer(**LESSON).loss)
    doubles = {name: tf.constant(value, tf.float64) for name, value in LESSON.items()}
    assert TwoLayer(**doubles).weights["W_1"].dtype == np.float64


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"W_2": [[1, 2, 3]]}, "W_2 (1, 3) takes 3 values from below, but W_1 (2, 2) gives 2"),
        ({"X": [1, 2, 3]}, "W_1 (2, 2) takes 2 values from below, but X (3,) gives 3"),
        ({"Y": [1, 2]}, "Y (2,) does not fit the outputs: it must be (1, 1)"),
        ({"b_1": [1, 2, 3]}, "b_1 (3,) does not fit W_1 (2, 2): it needs one number for each"),
        ({"W_1": [1, 2]}, "W_1 (2,) is not a matrix"),
        ({"X": np.ones((2, 1, 1))}, "X (2, 1, 1) is not a matrix"),
    ],
)
def test_shapes_that_do_not_fit_are_named(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ShapeError) as caught:
        TwoLayer(**LESSON | changed)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"W_2": [[float("nan"), 1]]}, "W_2 holds NaN"),
        ({"X": "two"}, "X is not made of numbers"),
        ({"X": [[1], [2, 3]]}, "X is not made of numbers"),
        ({"X": [[1j], [2]]}, "X is not made of numbers"),
        ({"W_1": []}, "W_1 (0,) is empty"),
        (
            {"activation": "swish"},
            "swish cannot be used as an activation here. There are: linear, sigmoid",
        ),
        ({"activation": "relu,relu,relu"}, "cannot be used as an activation"),
        ({"lr": float("inf")}, "lr holds NaN or an infinity"),
        ({"lr": "fast"}, "lr is not made of numbers"),
    ],
)
def test_what_is_no_number_is_named(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError) as caught:
        TwoLayer(**LESSON | changed)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_wrong_name_or_place_is_answered_with_the_right_ones(lesson: TwoLayer) -> None:
    with pytest.raises(OptionError, match="X, Y, W_1, W_2, lr"):
        lesson.set(W_3=1)
    with pytest.raises(OptionError, match="another network"):
        lesson.set(W_1=[[1, 2]], W_2=[[1]])
    with pytest.raises(OptionError, match="W_1"):
        lesson.by_hand("W_9")
    with pytest.raises(OptionError, match="outside"):
        lesson.by_hand("W_1", 2, 0)
    with pytest.raises(OptionError, match="at least one"):
        lesson.run(0)
