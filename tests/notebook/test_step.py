"""``%tfstep`` in a shell: the lesson, one's own numbers, a Keras model, and what does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfmagic import language


@pytest.fixture
def shown(shell: Any, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The bundles that were displayed."""
    from tfmagic.notebook.magics import step

    bundles: list[dict[str, str]] = []
    monkeypatch.setattr(step, "show", lambda bundle: bundles.append(bundle()))
    return bundles


def run(shell: Any, line: str) -> Any:
    shell.run_line_magic("tfstep", line)


def test_alone_it_is_the_lessons_network(shell: Any, shown: Any) -> None:
    run(shell, "-o m")
    assert "0.32724" in shown[0]["text/plain"] and "= -0.22652" in shown[0]["text/plain"]
    assert shell.user_ns["m"].loss == pytest.approx(0.32724053)


def test_ones_own_numbers(shell: Any, shown: Any) -> None:
    import tensorflow as tf

    shell.user_ns |= {
        "A": tf.Variable([[1.0, 2.0]]),
        "B": tf.constant([[3.0]]),
        "data": np.array([[1.0], [1.0]]),
        "t": [0],
    }
    run(shell, "A, B, data, t --lr 0.1 -o m")
    model = shell.user_ns["m"]
    assert model.Y_hat.item() == 9.0 and model.lr == 0.1


def test_names_of_the_lesson_may_stand_in_any_order(shell: Any, shown: Any) -> None:
    shell.run_cell("X, Y = [[2.], [3.]], [1.]\nW_1, W_2, b_1 = [[1., 1.]], [[2.]], [0.5]")
    run(shell, "X,Y,W_1,W_2,b_1 -o m -q")
    assert shell.user_ns["m"].Y_hat.item() == 11.0 and not shown


@pytest.mark.parametrize(
    "line, sizes",
    [("--sizes 3,4,2", (3, 4, 2)), ("--sizes 100,90,10 --batch 3 --activation relu,linear", (100, 90, 10)),
     ("--bias --activation sigmoid", (2, 2, 1))],
)  # fmt: skip
def test_any_sizes(shell: Any, shown: Any, line: str, sizes: tuple[int, int, int]) -> None:
    run(shell, f"{line} -o m")
    model = shell.user_ns["m"]
    assert model.state.network.sizes == sizes and ("b_1" in model.weights) == ("--bias" in line)
    assert model.agreement.holds and shown


def test_a_keras_model(shell: Any, shown: Any) -> None:
    import keras

    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(2, use_bias=False)]
    )
    X = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    shell.user_ns |= {"model": model, "X": X, "Y": np.zeros((5, 2))}
    run(shell, "model,X,Y -o m")
    found = shell.user_ns["m"]
    assert pytest.approx(model(X).numpy(), abs=1e-6) == found.Y_hat.T
    assert found.state.network.activation == ("relu", "linear")
    run(shell, "model -o m")  # without data
    assert found.state.network.sizes == (3, 4, 2)


@pytest.mark.parametrize(
    "cell, line, said",
    [
        ("", "--siezs 1,2,3", "no option --siezs. Did you mean --sizes"),
        ("", "--sizes 1,2", "1,2 gives no sizes"),
        ("", "--sizes 0,2,1", "0,2,1 gives no sizes"),
        ("", "--sizes 2,2,1 --batch 0", "0 gives no sizes"),
        ("", "--sizes 5000,5000,1", "too large to step through: at most 1,000,000"),
        ("", "--activation swish", "swish cannot be used as an activation"),
        ("", "--lr nan", "lr holds NaN"),
        ("", "W_1,W_2,X,Y", "W_1"),
        ("W_1 = [[1.]]", "W_1", "Not given: X, Y, W_2"),
        ("a = [[1.]]", "a,a,a,a,a,a,a", "each once"),
        ("W_1 = W_2 = X = [[1.]]; Y = 'one'", "W_1,W_2,X,Y", "Y is not made of numbers"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(
    shell: Any, shown: Any, cell: str, line: str, said: str
) -> None:
    from IPython.core.error import UsageError

    if cell:
        shell.run_cell(cell)
    with pytest.raises(UsageError) as caught:
        run(shell, line)
    assert said in str(caught.value) and "\n" not in str(caught.value) and not shown


def test_shapes_that_do_not_chain_are_named_and_drawn(shell: Any, shown: Any) -> None:
    from IPython.core.error import UsageError

    shell.run_cell("X, Y = [[2.], [3.]], [1.]\nW_1, W_2 = [[1., 1.]], [[2., 3., 4.]]")
    with pytest.raises(UsageError, match=r"W_2 \(1, 3\) takes 3 values .* W_1 \(1, 2\) gives 1"):
        run(shell, "W_1,W_2,X,Y")
    assert "W_2 (1, 3) ✗ W_1 (1, 2)" in shown[0]["text/plain"]
    assert "<img" in shown[0]["text/html"]


def test_a_matrix_under_another_name_is_called_by_it_too(shell: Any, shown: Any) -> None:
    from IPython.core.error import UsageError

    shell.run_cell("X, Y = [[2.], [3.]], [1.]\nW_1, mine = [[1., 1.]], [[2., 3., 4.]]")
    with pytest.raises(UsageError, match=r"rows of W_1\. \(W_2 = mine\)$"):
        run(shell, "W_1, mine, X, Y")


DENSE = "keras.layers.Dense"
OTHERS = {
    f"keras.Sequential([keras.Input((3,)), {DENSE}(2)])": "Dense",
    f"keras.Sequential([keras.Input((3,)), {DENSE}(2), {DENSE}(2), {DENSE}(1)])": "Dense, Dense, Dense",
    f"keras.Sequential([keras.Input((3,)), {DENSE}(2), keras.layers.Dropout(0.5), {DENSE}(1)])": "Dense, Dropout, Dense",
    "keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3), keras.layers.Flatten()])": "Conv2D, Flatten",
    f"keras.Sequential([keras.Input((3,)), {DENSE}(2, 'gelu'), {DENSE}(1)])": "gelu",
    f"{DENSE}(2)": "Dense",
    "tf.Module()": "Module",
    "lambda x: x": "function",
}


@pytest.mark.parametrize("lang", ["en", "ko"])
@pytest.mark.parametrize("made", OTHERS)
def test_another_model_is_refused_with_an_offer_of_sliders(
    shell: Any, shown: Any, made: str, lang: str
) -> None:
    from IPython.core.error import UsageError

    language.use(lang)
    shell.run_cell(f"import keras, tensorflow as tf\nmodel = {made}")
    with pytest.raises(UsageError) as caught:
        run(shell, "model")
    said = str(caught.value)
    assert OTHERS[made] in said and "%%tape --tweak" in said
    assert "\n" not in said and not shown


def test_a_model_without_weights_is_asked_to_be_called(shell: Any, shown: Any) -> None:
    from IPython.core.error import UsageError

    shell.run_cell(f"import keras\nmodel = keras.Sequential([{DENSE}(2), {DENSE}(1)])")
    with pytest.raises(UsageError, match="no weights yet: call it once"):
        run(shell, "model")
    shell.run_cell("out = model(keras.ops.ones((1, 3)))")
    run(shell, "model")
    assert shown


def test_a_large_network_has_a_short_text(shell: Any, shown: Any) -> None:
    run(shell, "--sizes 100,90,10 -q -o m")
    assert len(repr(shell.user_ns["m"])) < 300 and "(90, 100), ‖·‖ =" in repr(shell.user_ns["m"])
