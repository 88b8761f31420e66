"""``%%tape`` over cells that train: live, and beside another run."""

from __future__ import annotations

from typing import Any

MODEL = """
import numpy as np, keras
def train(seed, rate):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.layers.Dense(4, activation="relu"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(rate), "mse")
    x = np.random.RandomState(0).rand(32, 3).astype("f")
    model.fit(x, x.sum(1), epochs=2, batch_size=8, verbose=0, shuffle=False)
"""


def _shown(shell: Any, capsys: Any, cell: str) -> str:
    capsys.readouterr()
    assert shell.run_cell(cell).success
    return str(capsys.readouterr().out)


def test_a_run_beside_one_that_was_kept(shell: Any, capsys: Any) -> None:
    shell.run_cell(MODEL)
    _shown(shell, capsys, "%%tape -q -o first\ntrain(1, 0.01)")
    same = _shown(shell, capsys, "%%tape --compare first\ntrain(1, 0.01)")
    assert "the same in all 8 steps" in same
    rate = _shown(shell, capsys, "%%tape --compare first\ntrain(1, 0.03)")
    assert "3 times" in rate and "after step 1" in rate
    seed = _shown(shell, capsys, "%%tape --compare first\ntrain(2, 0.01)")
    assert "from the start" in seed
    wrong = _shown(shell, capsys, "%%tape --compare MODEL_1\ntrain(2, 0.01)")
    assert "MODEL_1" in wrong


def test_a_cell_that_is_followed_is_the_plain_cell(shell: Any, capsys: Any) -> None:
    shell.run_cell(MODEL)
    _shown(shell, capsys, "%%tape -q --live -o followed\ntrain(1, 0.01)")
    _shown(shell, capsys, "%config TFMagic.live_training = True")
    _shown(shell, capsys, "%%tape -q -o too\ntrain(1, 0.01)")
    _shown(shell, capsys, "%config TFMagic.live_training = False")
    _shown(shell, capsys, "%%tape -q -o plain\ntrain(1, 0.01)")
    names = ("followed", "too", "plain")
    losses = [list(shell.user_ns[name].runs[0].loss) for name in names]
    assert losses[0] == losses[1] == losses[2]
